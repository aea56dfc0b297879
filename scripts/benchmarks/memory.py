"""Whether the memory of a batch job grows with the number of users.

    python scripts/benchmarks/memory.py [--users 100000,1000000] [--items 20000] [--n 10] [--workers 1]

An untrained model with planted tastes and 1,000 users of its own is served to so many users: the job is given ids,
most of them unknown, which get the general list, or with `--known` a model that knows them all and their histories,
whose own size then grows. Each job has a process of its own. The peak is told as a whole, and beyond what the process
held when model and ids were there; bytes written beside it, so that it can be seen that they are not what is held.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from measuring import forget_peak, peak_mib
from rich.console import Console
from tables import Sheet
from untrained import Shape, untrained

from recgan.batch import run_batch

OWN, HISTORY = 1000, 20


def measured(users: int, items: int, n: int, known: bool, workers: int) -> dict[str, Any]:
    """One job, in a process of its own."""
    model = untrained(Shape(items, users if known else OWN, 32, history=HISTORY))
    ids = pd.Series(range(users), name="user_id")
    model.recommend_batch(ids[:4096], n)
    with tempfile.TemporaryDirectory() as work:
        before, began, used = forget_peak(), time.perf_counter(), time.process_time()
        shards = max(1, users // 50_000)
        result = run_batch(model, Path(work) / "lists", ids, n, shards, workers=workers, progress=False)
        seconds, processor = time.perf_counter() - began, time.process_time() - used
        written = sum(path.stat().st_size for path in (Path(work) / "lists").iterdir())
    peak = peak_mib()
    return {
        "peak": peak,
        "beyond": max(0.0, peak - before),  # the system counts pages in batches
        "rows": result.rows,
        "seconds": seconds,
        "processor": processor,
        "written": written / 2**20,
    }


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--users", default="100000,1000000", help="numbers of users")
    add("--items", type=int, default=20_000, help="size of the catalogue")
    add("--n", type=int, default=10, help="length of the lists")
    add("--workers", type=int, default=1, help="with more than one, the driver's memory is measured")
    add("--known", action="store_true", help="the model knows all users and their histories")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options, rows, first = parsed(arguments), [], 0.0
    for users in map(int, options.users.split(",")):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measured, (users, options.items, options.n, options.known, options.workers))
        first = first or found["peak"]
        cells = [f"{users:,}", f"{found['rows']:,}", f"{found['written']:,.0f}", f"{found['peak']:,.0f}"]
        cells += [f"{found['beyond']:,.0f}", f"{found['peak'] / first - 1:+.1%}"]
        rows.append([*cells, f"{found['seconds']:,.0f}", f"{found['processor']:,.0f}"])
        print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    columns = [
        "users",
        "rows",
        "MiB written",
        "peak MiB",
        "beyond model and ids",
        "against the first",
        "s",
        "processor",
    ]
    table = Sheet(f"Memory of a batch job, {options.items:,} items, lists of {options.n}", columns, rows)
    print(table.markdown()) if options.table == "markdown" else table.show(Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())

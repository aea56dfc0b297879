"""How long one user's list takes from a warm model, and how long a model takes to load.

    python scripts/benchmarks/serving.py [--items 20000] [--dim 64] [--requests 500] [--table markdown]

Untrained models with planted tastes, every kind of encoder and linear block, with and without the discriminator as
second stage. Requests of different users with 50 items each, lists of ten, one after the other. Wall time has whatever
else the machine does in it; processor time is that of all threads. Loading, too, is timed on the clock and in the
processor, in a process of its own in which torch is there already: `import recgan`, then `Recommender.load`; medians.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from tables import Sheet
from untrained import Shape, untrained

import recgan

USERS, WARM, LOADS = 2000, 20, 5
QUANTILES = (50, 95, 99)
LOADING = """
import sys, time, torch
clock, used = time.perf_counter(), time.process_time()
import recgan
recgan.Recommender
between = time.perf_counter() - clock, time.process_time() - used
recgan.Recommender.load(sys.argv[1])
print(*between, time.perf_counter() - clock, time.process_time() - used)
"""


def latencies(model: recgan.Recommender, requests: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of every request on the clock and in the processor, (requests,) each."""
    for user in range(WARM):
        model.recommend(user)
    wall, processor = np.empty(requests), np.empty(requests)
    for number in range(requests):
        clock, used = time.perf_counter(), time.process_time()
        model.recommend(number % USERS)
        wall[number], processor[number] = time.perf_counter() - clock, time.process_time() - used
    return 1e3 * wall, 1e3 * processor


def loading(model: recgan.Recommender) -> np.ndarray:
    """Seconds on the clock and in the processor until recgan is imported, and until a saved model is there, (4,)."""
    with tempfile.TemporaryDirectory() as work:
        model.save(Path(work) / "model")
        call = [sys.executable, "-c", LOADING, str(Path(work) / "model")]
        told = [subprocess.run(call, capture_output=True, text=True, check=True).stdout for _ in range(LOADS)]
    return np.median([[float(one) for one in line.split()] for line in told], axis=0)


def measured(shape: Shape, requests: int) -> list[str]:
    """A row of the table."""
    model = untrained(shape)
    wall, processor = latencies(model, requests)
    cells = [f"{value:.2f}" for times in (wall, processor) for value in np.percentile(times, QUANTILES)]
    return [
        shape.encoder,
        shape.linear,
        "yes" if shape.judge else "no",
        *cells,
        *(f"{value:.2f}" for value in loading(model)),
    ]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--items", type=int, default=20_000, help="size of the catalogue")
    add("--dim", type=int, default=64, help="length of the item vectors")
    add("--requests", type=int, default=500, help="of every model")
    add("--encoders", default="bag,sequence")
    add("--linear", default="dense,factors,sparse")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parsed(arguments)
    rows = []
    for encoder in options.encoders.split(","):
        for linear in options.linear.split(","):
            for judge in (False, True):
                shape = Shape(options.items, USERS, options.dim, encoder, linear, judge)
                rows.append(measured(shape, options.requests))
                print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    columns = ["encoder", "linear block", "second stage", *(f"p{q} ms" for q in QUANTILES)]
    columns += [*(f"p{q} ms, processor" for q in QUANTILES), "import s", "processor", "and load s", "processor"]
    table = Sheet(f"One user's list, {options.items:,} items, D = {options.dim}", columns, rows, left=(1, 2))
    print(table.markdown()) if options.table == "markdown" else table.show(Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())

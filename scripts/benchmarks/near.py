"""What an approximate search gains, and what it costs, beside the exact one.

    python scripts/benchmarks/near.py [--items 100000,1000000] [--dim 64] [--kinds ivf,hnsw] [--table markdown]

Untrained models with planted tastes. Every size and kind has a process of its own: it builds the index, then exact and
approximate search take turns over the same users, lists of ten. Users a second are those of the best round, the ratio
is the median over the rounds; recall is what `info()["search"]` tells (of the 100 candidates, held-out users), and
"lists" the share of the ten items that both searches list. Memory is the peak beyond the model while the index is
built; building is timed in the processor.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from measuring import forget_peak, peak_mib
from rich.console import Console
from tables import NOTHING, Sheet
from untrained import Shape, untrained

import recgan

USERS, ASKED, ROUNDS = 2000, 400, 5


def rate(model: recgan.Recommender) -> tuple[float, np.ndarray]:
    """Seconds for the users asked, and their items."""
    began = time.perf_counter()
    items = model.recommend_batch(range(ASKED))["item_id"].to_numpy()
    return time.perf_counter() - began, items


def measured(items: int, dim: int, kind: str, recall: float) -> dict[str, Any]:
    """One size and kind, in a process of its own."""
    exact = untrained(Shape(items, USERS, dim))
    wanted = rate(exact)[1]
    before, used = forget_peak(), time.process_time()
    near = exact.with_search(kind, recall)
    building, mib = time.process_time() - used, peak_mib() - before
    found = rate(near)[1]
    seconds = np.array([(rate(exact)[0], rate(near)[0]) for _ in range(ROUNDS)])
    return {
        "told": near.info()["search"],
        "same": len(set(zip(np.arange(len(found)) // 10, found, strict=True)) & _pairs(wanted)) / len(wanted),
        "rates": (ASKED / seconds.min(axis=0)).tolist(),
        "ratio": float(np.median(seconds[:, 0] / seconds[:, 1])),
        "building": building,
        "mib": mib,
    }


def _pairs(items: np.ndarray) -> set[tuple[Any, Any]]:
    return set(zip(np.arange(len(items)) // 10, items, strict=True))


def row(items: int, kind: str, found: dict[str, Any]) -> list[str]:
    """A row of the table."""
    told = found["told"]
    cells = [f"{items:,}", kind, f"{told['recall']:.3f}", str(told["effort"]), f"{found['same']:.3f}"]
    cells += [f"{rate:,.0f}" for rate in found["rates"]]
    return [*cells, f"{found['ratio']:.1f}", f"{found['building']:,.0f}", f"{found['mib']:,.0f}"]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--items", default="100000,1000000", help="sizes of the catalogue")
    add("--dim", type=int, default=64, help="length of the item vectors")
    add("--kinds", default="ivf,hnsw")
    add("--recall", type=float, default=0.95, help="that is asked for")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options, rows = parsed(arguments), []
    for items in map(int, options.items.split(",")):
        for kind in options.kinds.split(","):
            try:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    found = pool.apply(measured, (items, options.dim, kind, options.recall))
            except recgan.ConfigError as error:  # it does not come as near with any effort
                print(error, file=sys.stderr)
                rows.append([f"{items:,}", kind, *[NOTHING] * 8])
                continue
            rows.append(row(items, kind, found))
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    columns = ["items", "search", "recall@100", "effort", "lists@10 as exact", "exact users/s", "users/s", "ratio"]
    columns += ["build s, processor", "MiB while building"]
    table = Sheet(f"Approximate search, D = {options.dim}, recall asked {options.recall}", columns, rows, left=(1,))
    print(table.markdown()) if options.table == "markdown" else table.show(Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())

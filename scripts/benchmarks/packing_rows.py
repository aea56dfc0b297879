"""What it costs to read interactions: into memory, or packed on disk.

    python scripts/benchmarks/packing_rows.py [--rows 3e7] [--users 3e6] [--items 1e6] [--table markdown]

Rows with a time are written as Parquet shards in random order, user by user, or shuffled; each way of reading has a
process of its own. The peak is that of the process, libraries included; what is mapped from disk counts where it was
touched and the system has not written it back.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import forget_peak, peak_mib
from tables import Sheet, show

from recgan.interactions import read_interactions
from recgan.packing import packed

SHARD = 1_000_000


def written(folder: Path, rows: int, users: int, items: int, grouped: bool) -> None:
    """Shards of random interactions, every user's rows together or not."""
    for number, start in enumerate(range(0, rows, SHARD)):
        random = np.random.default_rng([0, number])
        n = min(SHARD, rows - start)
        who = (start + np.sort(random.integers(0, n, n))) * users // rows if grouped else random.integers(0, users, n)
        columns = {"user_id": who, "item_id": random.integers(0, items, n), "timestamp": random.integers(0, 10**9, n)}
        pd.DataFrame(columns).to_parquet(folder / f"part-{number:05}.parquet", index=False)


def measured(folder: Path, way: str) -> tuple[int, float, float]:
    """Rows, processor seconds and peak MiB of one way of reading."""
    forget_peak()
    began = time.process_time()
    found = len(packed(folder).liked.items) if way == "packed" else len(read_interactions(folder))
    return found, time.process_time() - began, peak_mib()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("--rows", 3e7), ("--users", 3e6), ("--items", 1e6)):
        parser.add_argument(name, type=float, default=usual)
    parser.add_argument("--table", choices=["rich", "markdown"], default="rich")
    options = parser.parse_args(arguments)
    cells, alone = [], multiprocessing.get_context("spawn")
    for grouped in (True, False):
        with tempfile.TemporaryDirectory() as place:
            written(Path(place), *(int(getattr(options, name)) for name in ("rows", "users", "items")), grouped)
            for way in ("packed", "into memory"):
                with alone.Pool(1) as pool:
                    rows, seconds, peak = pool.apply(measured, (Path(place), way))
                order = "user by user" if grouped else "shuffled"
                cells.append([order, way, f"{rows:,}", f"{seconds:.1f}", f"{rows / seconds:,.0f}", f"{peak:,.0f}"])
    columns = ["files", "read", "rows", "s", "rows a second", "peak MiB"]
    show([Sheet("Reading interactions", columns, cells, (1,))], options.table, width=100)
    return 0


if __name__ == "__main__":
    sys.exit(main())

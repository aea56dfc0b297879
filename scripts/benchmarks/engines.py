"""One batch job by every engine that is installed: one hash of who gets what at which place, and of all files.

    python scripts/benchmarks/engines.py [--users 20000] [--items 2000] [--n 20] [--table markdown]

An untrained model with planted tastes; most users are unknown. Seconds hold the start of an engine's own processes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tables import Sheet, show
from untrained import Shape, untrained

import recgan
from recgan.batch import read_batch, run_batch
from recgan.batch.job import table_hash
from recgan.schema import ITEM, RANK, USER

ENGINES = {"local": "recgan", "ray": "ray", "spark": "pyspark"}
OWN = 1000


def hashed(folder: Path) -> tuple[str, str]:
    """SHA-256 of user, item and rank, and of all files."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != ".lock"]
    whole = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
    return table_hash(read_batch(folder)[[USER, ITEM, RANK]]), whole


def row(model: recgan.Recommender, place: Path, engine: str, users: int, n: int) -> list[str]:
    """What one engine makes, and how long it takes."""
    began = time.perf_counter()
    result = run_batch(model, place, range(users), n, 8, engine=engine, workers=2, progress=False)
    seconds = time.perf_counter() - began
    return [engine, f"{result.rows:,}", *(digest[:32] for digest in hashed(place)), f"{seconds:.1f}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job by every engine, and print; 1 where their lists differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--n", type=int, default=20, help="length of the lists")
    parser.add_argument("--table", choices=["rich", "markdown"], default="rich")
    options = parser.parse_args(arguments)
    model = untrained(Shape(options.items, OWN, 32))
    there = [engine for engine, library in ENGINES.items() if find_spec(library) is not None]
    with tempfile.TemporaryDirectory() as work:
        rows = [row(model, Path(work) / engine, engine, options.users, options.n) for engine in there]
    columns = ["engine", "rows", "SHA-256 of user, item, rank", "of all files", "s"]
    show([Sheet(f"{options.users:,} users, {options.items:,} items", columns, rows)], options.table, 140)
    return int(len({tuple(one[1:4]) for one in rows}) != 1)


if __name__ == "__main__":
    sys.exit(main())

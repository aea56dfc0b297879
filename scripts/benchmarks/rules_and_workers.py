"""What rules cost a batch job, and what a second worker gains.

    python scripts/benchmarks/rules_and_workers.py [--items 20000] [--n 10] [--rounds 5] [--table markdown]

An untrained model with planted tastes, one of 20 categories an item; 4,096 users, one thread. All rules take turns,
round by round, so that what else the machine does meets all alike. A row tells the users a second of the processor in
the best round and, as median over the rounds, what is left of the speed without rules. Workers: the same job by one
process and by two, started anew, on the clock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from tables import Sheet
from untrained import Shape, untrained

import recgan
from recgan.batch import run_batch

USERS = 4096
RULES: dict[str, dict[str, Any]] = {
    "none": {},
    "at most 3 of every category": {"max_per_category": 3},
    "at most 2 of one category": {"max_per_category": {"taste 1": 2}},
    "at least 2 of one category": {"min_per_category": {"taste 1": 2}},
    "at most 2 new items": {"max_new": 2},
    "at least 2 new items": {"min_new": 2},
    "2 pinned items": {"pinned": [0, 1]},
    "calibration .5": {"calibration": 0.5},
}


def costs(model: recgan.Recommender, n: int, rounds: int) -> np.ndarray:
    """Seconds of the processor, (rounds, rules)."""
    seconds = np.empty((rounds, len(RULES)))
    for rules in RULES.values():
        model.recommend_batch(range(256), n, rules=rules)
    for one in range(rounds):
        for place, rules in enumerate(RULES.values()):
            began = time.process_time()
            model.recommend_batch(range(USERS), n, rules=rules)
            seconds[one, place] = time.process_time() - began
    return seconds


def gain(model: recgan.Recommender, n: int, users: int, rounds: int) -> np.ndarray:
    """Seconds on the clock of a job by one process and by two, (rounds, 2)."""
    seconds = np.empty((rounds, 2))
    with tempfile.TemporaryDirectory() as work:
        model.save(Path(work) / "model")
        for one in range(rounds):
            for workers in (1, 2):
                began = time.perf_counter()
                out = Path(work) / f"{one}-{workers}"
                run_batch(Path(work) / "model", out, range(users), n, 8, workers=workers, progress=False)
                seconds[one, workers - 1] = time.perf_counter() - began
    return seconds


def sheet(seconds: np.ndarray, items: int, n: int) -> Sheet:
    """A row a rule."""
    left = np.median(seconds[:, :1] / seconds, axis=0)
    rows = [
        [name, f"{USERS / best:,.0f}", f"{share:.2f}"]
        for name, best, share in zip(RULES, seconds.min(axis=0), left, strict=True)
    ]
    columns = ["rule", "users a second of the processor", "of the speed without"]
    return Sheet(f"What rules cost, {items:,} items, lists of {n}", columns, rows)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--items", type=int, default=20_000, help="size of the catalogue")
    add("--n", type=int, default=10, help="length of the lists")
    add("--rounds", type=int, default=5)
    add("--users", type=int, default=100_000, help="of the job that one and two workers do; 0 for none")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parsed(arguments)
    model = untrained(Shape(options.items, USERS, linear="dense"))
    table = sheet(costs(model, options.n, options.rounds), options.items, options.n)
    print(table.markdown()) if options.table == "markdown" else table.show(Console())
    if options.users:
        one, two = gain(model, options.n, options.users, max(1, options.rounds // 2)).min(axis=0)
        print(f"{options.users:,} users: one worker {one:.1f} s, two {two:.1f} s, {one / two:.2f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())

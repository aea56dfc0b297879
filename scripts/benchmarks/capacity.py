"""What a hundred million users and ten million items take: machines, hours, memory and money, from measured rates.

    python scripts/benchmarks/capacity.py [--users 1e8] [--items 1e7] [--rows 2e9] [--sample 2e7] [--cores 32]
        [--epochs 1] [--dollars 0.05] [--table markdown]

Rates are read from the results of `scale.py` (its largest size) and `near.py` (its largest set of vectors), which were
measured on this project's machine, one thread each. What was not measured at this size is an extrapolation, and every
row says from what: work on rows grows with the rows, on users with the users, tables of vectors with the items. How
much of every further core is of use is an assumption (`--efficiency`), as is the price of a core's hour.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tables import Sheet, show

RESULTS = Path(__file__).parent / "results"
GIB = 2.0**30
DIM, LOW_PASS, FACTORS, NEIGHBOURS = 128, 128, 32, 50
"""Columns of the generator's tables, of the linear blocks of a large catalogue, and entries of a sparse row."""
COPIES = 10
"""Tables of item vectors while validation is asked: two each as trained, averaged, best so far and measured, and
Adam's means of both."""
ROW_BYTES, FILE_BYTES, LISTED = 4 + 8, 2, 10
"""Bytes of a row on disk (item, time), copies of it while validation hides some, and items of a list."""


@dataclass(frozen=True)
class Rates:
    """What was measured, in seconds of one core.

    Args:
        reading: of a row, from Parquet to numbers on disk.
        closed: of the closed forms, for a row of the sample.
        user: of one user in one epoch of the ranking phase.
        second: of game and second stage, for an item of the catalogue: they search it.
        listed: of one user's list by approximate search.
        built: of an item in the index of that search.
        index_bytes: of an item in it.
    """

    reading: float
    closed: float
    user: float
    second: float
    listed: float
    built: float
    index_bytes: float

    @classmethod
    def measured(cls, scale: Mapping[str, Any], near: Mapping[str, Any]) -> Rates:
        """The rates of the largest training and of the largest approximate search."""
        run = max(scale["runs"], key=lambda one: one["interactions"])
        items, users = (int(float(one)) for one in run["size"].split("x")[1:])
        seconds = {name: stage["processor"] for name, stage in run["stages"].items()}
        on_disk = [one for one in scale["runs"] if one["sampled"]]
        read = max(on_disk, key=lambda one: one["interactions"])
        found = max((row for row in near["rows"] if row["table"] == "alone"), key=lambda row: row["items"])
        served = max((row for row in near["rows"] if row["table"] == "lists"), key=lambda row: row["items"])
        return cls(
            reading=read["stages"]["reading"]["processor"] / read["interactions"],
            closed=seconds["closed forms"] / run["interactions"],
            user=run["epoch_seconds"] / users,
            second=(seconds["game"] + seconds["second stage"]) / items,
            listed=1.0 / served["rates"][1] + 1.0 / found["rates"][1],
            built=found["building"] / found["items"],
            index_bytes=found["told"]["memory"] * 2**20 / found["items"],
        )


def stages(rates: Rates, asked: argparse.Namespace) -> list[tuple[str, float, str, bool]]:
    """What is done, the core hours that it takes, from what they follow, and whether several machines share it."""
    hours = {
        "read Parquet shards": (rates.reading * asked.rows, "a row", False),
        "closed forms of a sample, with their search": (rates.closed * asked.sample, "a row of the sample", False),
        "ranking phase": (rates.user * asked.users * asked.epochs, "a user and epoch", True),
        "game and second stage": (rates.second * asked.items, "an item", False),
        "refit": (rates.user * asked.users * asked.epochs / 2, "a user and half the epochs", True),
        "index": (rates.built * asked.items, "an item", False),
        "lists for all users": (rates.listed * asked.users, "a list and a search among as many items", True),
    }
    return [(name, seconds / 3600, told, shared) for name, (seconds, told, shared) in hours.items()]


def memory(rates: Rates, asked: argparse.Namespace) -> list[tuple[str, float, str]]:
    """What lies in memory or on disk, in GiB, and how that follows."""
    table = 4.0 * DIM * asked.items
    closed = 4.0 * asked.items * (2 * LOW_PASS + FACTORS + 2 * NEIGHBOURS)
    ids = 24.0 * (asked.users + asked.items) + 16.0 * asked.users
    return [
        ("training: item tables", COPIES * table / GIB, f"{COPIES} tables of {DIM} columns in float32"),
        ("training: linear blocks", closed / GIB, f"{LOW_PASS} columns twice, {FACTORS}, {NEIGHBOURS} neighbours"),
        ("training: ids and offsets", ids / GIB, "24 bytes an id with its hash, 16 a user"),
        ("training: sample of the rows", 100.0 * asked.sample / GIB, "100 bytes a row"),
        ("disk: rows as numbers", FILE_BYTES * ROW_BYTES * asked.rows / GIB, "12 bytes a row, twice"),
        ("serving: vectors", 4.0 * asked.items * (DIM + LOW_PASS + FACTORS) / GIB, "float32, all columns"),
        ("serving: index", rates.index_bytes * asked.items / GIB, "as measured"),
        ("serving: lists on disk", 20.0 * LISTED * asked.users / GIB, f"{LISTED} rows of 20 bytes before compression"),
    ]


def sheets(rates: Rates, asked: argparse.Namespace) -> list[Sheet]:
    """Hours and money of every stage, and memory."""
    rows, clock = [], 0.0
    for name, hours, told, shared in stages(rates, asked):
        machines = asked.machines if shared else 1
        passed = hours / (machines * asked.cores * asked.efficiency) if shared else hours
        clock += passed
        money = passed * machines * asked.cores * asked.dollars
        rows.append([name, f"{hours:,.1f}", str(machines), f"{passed:,.1f}", f"{money:,.0f}", told])
    total = sum(float(row[4].replace(",", "")) for row in rows)
    rows.append(["together", "", "", f"{clock:,.1f}", f"{total:,.0f}", ""])
    size = f"{asked.users:.0e} users, {asked.items:.0e} items, {asked.rows:.0e} rows, machines of {asked.cores} cores"
    held = [[name, f"{gib:,.1f}", told] for name, gib, told in memory(rates, asked)]
    trained = sum(gib for name, gib, _ in memory(rates, asked) if name.startswith("training"))
    held.append(["training, together", f"{trained:,.1f}", "memory of each machine"])
    return [
        Sheet(f"Hours: {size}", ["stage", "core hours", "machines", "hours", "dollars", "grows with"], rows, (5,)),
        Sheet("GiB", ["what", "GiB", "how it follows"], held, (2,)),
    ]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--users", type=float, default=1e8)
    add("--items", type=float, default=1e7)
    add("--rows", type=float, default=2e9, help="interactions")
    add("--sample", type=float, default=2e7, help="rows_in_memory")
    add("--epochs", type=float, default=1.0, help="of the ranking phase")
    add("--machines", type=int, default=4, help="that share what can be shared")
    add("--cores", type=int, default=32, help="of a machine")
    add("--efficiency", type=float, default=0.6, help="share of the further cores that is of use")
    add("--dollars", type=float, default=0.05, help="price of a core for an hour")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute and print."""
    asked = parsed(arguments)
    found = [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("scale", "near")]
    show(sheets(Rates.measured(*found), asked), asked.table, width=150)
    return 0


if __name__ == "__main__":
    sys.exit(main())

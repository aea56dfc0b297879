"""A measurement that is repeated over splits: its options, its rows as JSON, and the table of their means."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from results import settled
from tables import Sheet, show


@dataclass(frozen=True)
class Row:
    """What one way of doing it reached on one split."""

    name: str
    seed: int
    values: Mapping[str, float]


def parser(description: str | None, default: str, what: str) -> argparse.ArgumentParser:
    """The options that such measurements share; `default` is the data set, `what` it must have."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets")
    add("--set", default=default, help=f"data set with {what}")
    add("--share", type=float, default=1.0, help="share of the users that is read, others for every seed")
    add("--seeds", type=int, default=1, help="how many splits and trainings")
    add("--epochs", type=int, help="most epochs of recgan's ranking phase")
    add("--out", type=Path, required=True, help="JSON file of the rows")
    add("--stored", action="store_true", help="print what the file holds")
    add("--table", choices=["rich", "markdown"], default="rich")
    options.set_defaults(quick=False)
    return options


def run(options: argparse.Namespace, title: str, rows: Callable[[argparse.Namespace], Iterator[Row]]) -> int:
    """Measure or read, write, and print the means with their deviations over the splits."""

    def measured(asked: argparse.Namespace) -> dict[str, Any]:
        found = []
        for row in rows(asked):
            told = ", ".join(f"{name} {value:.4f}" for name, value in row.values.items())
            print(f"{row.name}, seed {row.seed}: {told}", file=sys.stderr, flush=True)
            found.append(asdict(row))
        named = ("set", "share", "seeds", "epochs")
        return {**{name: getattr(asked, name) for name in named}, "rows": found}

    result = settled(options, measured)
    show([_sheet(title, result)], options.table, 140)
    return 0


def _sheet(title: str, result: Mapping[str, Any]) -> Sheet:
    rows = result["rows"]
    columns = list(rows[0]["values"])
    cells = []
    for name in dict.fromkeys(row["name"] for row in rows):
        table = np.array([[row["values"][column] for column in columns] for row in rows if row["name"] == name])
        cells.append([name, *(_cell(column) for column in table.T)])
    what = f"{title}: {result['set']}, {result['share']:.0%} of its users, {result['seeds']} splits"
    return Sheet(what, ["", *columns], cells)


def _cell(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ({np.std(values, ddof=1):.4f})"

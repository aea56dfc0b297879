"""What the generator gives beyond accuracy, one subject a subcommand.

    python scripts/benchmarks/generator.py SUBJECT --data DIR --set ml-1m [--seeds 3] [--out FILE] [--table markdown]

DIR holds a folder for every data set. Closed forms and the ranking phase are run once a seed; everything that is
compared starts from there. What is finished lies in a folder beside the result: a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import adversary_tables
import adversary_worth
import calibrated_lists
import dial_curves
import mood_lists
import uncertainty_fifths
from forks import SETS
from results import settled
from tables import Sheet, show

HERE = Path(__file__).parent
WIDTH = 200
"""Columns of the tables where the output is no terminal."""
SUBJECTS: dict[str, tuple[Callable[[argparse.Namespace], dict[str, Any]], Callable[[dict[str, Any]], list[Sheet]]]] = {
    "adversary": (adversary_worth.measured, adversary_tables.sheets),
    "moods": (mood_lists.measured, mood_lists.sheets),
    "calibration": (calibrated_lists.measured, calibrated_lists.sheets),
    "dial": (dial_curves.measured, dial_curves.sheets),
    "uncertainty": (uncertainty_fifths.measured, uncertainty_fifths.sheets),
}
"""Name of a subcommand: what measures it, and what makes tables of the result."""


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("subject", choices=list(SUBJECTS))
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets")
    add("--set", choices=list(SETS), required=True, help="data set")
    add("--seeds", type=int, default=3, help="how many")
    add("--out", type=Path, help="JSON file of the result; results/SUBJECT-SET.json")
    add("--redo", action="store_true", help="measure again what is finished")
    add("--stored", action="store_true", help="measure nothing: the tables of the result that is there")
    add("--table", choices=["rich", "markdown"], default="rich")
    add("--quick", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out = options.out or HERE / "results" / f"{options.subject}-{options.set}.json"
    options.work = options.out.with_name(f"{options.out.name}.work")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    options = parsed(arguments)
    measured, sheets = SUBJECTS[options.subject]
    show(sheets(settled(options, measured)), options.table, WIDTH)
    return 0


if __name__ == "__main__":
    sys.exit(main())

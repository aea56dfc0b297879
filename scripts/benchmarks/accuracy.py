"""How accurate recgan is beside tuned rivals, on six protocols and on data of your own.

    python scripts/benchmarks/accuracy.py PROTOCOL --data DIR [--seeds 3] [--models recgan,EASE] [--table markdown]

DIR holds a folder for every data set; for `own` and `own-latest` it is your data set, `interactions.parquet` with
user_id, item_id and, for the latter, timestamp, and settings and results are kept in it too. Every model is fitted in a
process of its own. Rivals are tuned on a validation part, one hyper-parameter after the other, and their settings are
kept in `settings/PROTOCOL.json`; recgan has its defaults, its seeds give the mean and the deviation. p-values are of
paired sign flips over the users, against the best rival; a user counts once, with the mean over the seeds. Published
values stand beside, measured by others.

What is finished lies in a folder beside the result, so that a benchmark that was stopped goes on where it was;
it is done again when the code behind it changes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import results
import rivals
import tables
from jobs import JobError, Outcome, outcome, run
from measuring import Job, tune, write_json
from protocols import OWN, PROTOCOLS, Protocol
from rich.console import Console

HERE = Path(__file__).parent
BUDGET = 900.0
RESAMPLES = 9999
WIDTH = 160
"""Columns of the tables where the output is no terminal."""


class Benchmark:
    """One run of a protocol.

    Args:
        protocol: what is measured.
        options: of the command line.
    """

    def __init__(self, protocol: Protocol, options: argparse.Namespace) -> None:
        self.protocol, self.options = protocol, options
        home: Path = options.data if protocol.folder == OWN else HERE
        self.out: Path = options.out or home / "results" / f"{protocol.name}.json"
        self.work = self.out.with_name(f"{self.out.name}.work")
        self.kept: Path = options.settings or home / "settings" / f"{protocol.name}.json"
        self.console = Console(stderr=True)
        self.settings = self._read_settings()
        self.notes: list[str] = []
        self.outcomes: dict[str, list[Outcome]] = {}

    def run(self) -> dict[str, Any]:
        """Measure all models, and write and return the result."""
        for model in self._models():
            try:
                self.outcomes[model] = list(self._measured(model))
            except JobError as error:
                self._note(f"{error}: it is left out")
        result = results.plain(self._result())
        write_json(self.out, result)
        return result

    def _models(self) -> list[str]:
        """The models that are asked for, as far as they exist."""
        wanted = self.options.models or [*self.protocol.rivals, *self.protocol.ours]
        there = [name for name in wanted if name in self.protocol.ours or rivals.find(name) is not None]
        for name in wanted:
            if name not in there:
                self._note(f"{name}: no such model here, it is left out")
        return there

    def _measured(self, model: str) -> Iterator[Outcome]:
        kind = rivals.find(model)
        if self.options.retune:
            self.settings.pop(model, None)
        for seed in self._seeds(kind):
            params = self._tuned(model, seed if self.protocol.split_varies else 0) if kind is not None else {}
            job = Job(self.protocol.name, str(self.options.data), model, seed, params, self._quick(kind))
            found = outcome(job, self.work, redo=self.options.redo, here=self.options.here)
            values = "  ".join(f"{name} {found.values[name].mean():.4f}" for name in self.protocol.metrics)
            fact = "finished before" if found.resumed else f"fitted in {found.facts['fit_seconds']:.1f} s"
            self.console.print(f"{model}, seed {seed}: {values}  ({fact})", highlight=False, soft_wrap=True)
            yield found

    def _quick(self, kind: type | None) -> bool:
        return bool(self.options.quick and kind is None)

    def _seeds(self, kind: type | None) -> range:
        """One run where nothing is random."""
        fixed = kind is not None and not rivals.seeded(kind) and not self.protocol.split_varies
        return range(1 if fixed else self.options.seeds or self.protocol.seeds)

    def _tuned(self, model: str, split: int) -> dict[str, Any]:
        """The setting of a rival, from the file where it is there already."""
        of_splits = self.settings.setdefault(model, {})
        if str(split) not in of_splits:
            first = of_splits.get("0")
            budget = self.options.budget * (1.0 if first is None else rivals.LATER_SHARE)
            start = None if first is None else _tuples(first["params"])
            job = Job(self.protocol.name, str(self.options.data), model, split, start, budget=budget)
            path = self.work / f"tuning-{model}-{split}.json"
            run(tune, job, path, here=self.options.here)
            of_splits[str(split)] = json.loads(path.read_text(encoding="utf-8"))
            write_json(self.kept, self._read_settings() | {model: of_splits})
        return _tuples(of_splits[str(split)]["params"])

    def _read_settings(self) -> dict[str, Any]:
        return json.loads(self.kept.read_text(encoding="utf-8")) if self.kept.exists() else {}

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.console.print(text, highlight=False, soft_wrap=True)

    def _result(self) -> dict[str, Any]:
        protocol, found = self.protocol, self.outcomes
        resamples = 99 if self.options.quick else RESAMPLES
        table = results.rows(protocol, found, self.settings, resamples)
        names = {"Users that training knew": True, "Users unknown before": False} if protocol.groups else {}
        groups = {name: results.rows(protocol, found, self.settings, resamples, known) for name, known in names.items()}
        return {
            "protocol": protocol.name,
            "title": protocol.title,
            "metrics": protocol.metrics,
            "tuning_metric": protocol.tuning_metric,
            "quick": self.options.quick,
            "rows": table,
            "best_rival": results.best_rivals(table, protocol.metrics),
            "published": results.published(protocol),
            "groups": groups,
            "recgan": results.inside(protocol, found, table),
            "notes": self.notes,
            "environment": results.environment(),
        }


def _tuples(params: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("protocol", choices=list(PROTOCOLS))
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets, or your own data set")
    add("--out", type=Path, help="JSON file of the result; results/PROTOCOL.json")
    add("--settings", type=Path, help="JSON file of the rivals' settings; settings/PROTOCOL.json")
    add("--seeds", type=int, help="how many; that of the protocol")
    add("--models", type=lambda text: text.split(","), help="names with commas between; those of the protocol")
    add("--retune", action="store_true", help="search the settings of these rivals again")
    add("--redo", action="store_true", help="measure again what is finished")
    add("--budget", type=float, default=BUDGET, help="seconds for the search of one rival's setting")
    add("--table", choices=["rich", "markdown"], default="rich")
    add("--quick", action="store_true", help=argparse.SUPPRESS)
    add("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def show(result: dict[str, Any], protocol: Protocol, style: str) -> None:
    """Print the tables and the notes."""
    tables.show(tables.sheets(result, protocol), style, WIDTH)
    for note in result["notes"]:
        print(f"Note: {note}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a model failed."""
    options = parsed(arguments)
    protocol = PROTOCOLS[options.protocol]
    result = Benchmark(protocol, options).run()
    show(result, protocol, options.table)
    return int(any("ended with" in note for note in result["notes"]))


if __name__ == "__main__":
    sys.exit(main())

"""What training costs as the data grow, and what it is worth against a planted optimum.

    python scripts/benchmarks/scale.py --out FILE [--sizes 1e5x1e4x1e4,1e6x1e5x1e5] [--ordered] [--settings '{...}']

A size is interactions x items x users. One process writes the data as Parquet shards, another one trains on them; the
result is written after each size, and sizes that are in the file already are not trained again. With
`--settings '{"rows_in_memory": 1000000}'` larger data stay on disk. The optimum knows the groups of every user, which
nobody can tell from a short history for sure; the inferred optimum has them from the history by Bayes' rule, and knows
the items' groups. An exponent is the slope of the logarithm of the processor seconds, or
of the memory, against that of the interactions, between a size and the one before.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from measuring import forget_peak, peak_mib, write_json
from planting import Planted, held_out
from results import environment, plain
from tables import Sheet, show

import recgan
from recgan.progress import Progress
from recgan.schema import ITEM, RANK, USER
from recgan.training.closed import strengthened
from recgan.training.data import read_data
from recgan.training.fitting import seeded
from recgan.training.run import Run

METRICS, N_LISTED = ("ndcg@10", "recall@20"), 20
OPTIMA = ("optimum", "inferred optimum")
ASKED, SHARD = 2000, 1_000_000
"""Users who are asked, and rows of a Parquet file."""
Found = TypeVar("Found")


class Clocked(Run):
    """A run that notes the processor seconds and the peak memory of every stage."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.costs: dict[str, dict[str, float]] = {}

    def _timed(self, name: str, stage: Callable[[], Found]) -> Found:
        forget_peak()
        before, wall = time.process_time(), time.perf_counter()
        found = super()._timed(name, stage)
        self.costs[name] = spent(before, wall)
        print(f"  {name}: {self.costs[name]}", file=sys.stderr, flush=True)
        return found


def spent(before: float, wall: float) -> dict[str, float]:
    """Seconds of the processor and of the clock since then, and the peak memory."""
    seconds = {"processor": time.process_time() - before, "wall": time.perf_counter() - wall}
    return {name: round(value, 2) for name, value in seconds.items()} | {"peak_mib": peak_mib()}


@dataclass(frozen=True)
class Asked:
    """Who is asked after a training, and for what.

    Args:
        truth: the held-out rows.
        histories: rows of the users who are asked, without those.
        popular: what popularity lists to them.
    """

    truth: pd.DataFrame
    histories: pd.DataFrame
    popular: pd.DataFrame


def written(planted: Planted, folder: Path) -> Asked:
    """The planted rows as Parquet shards, but for those that are asked for."""
    train, truth = held_out(planted.frame(), ASKED, planted.seed)
    parts = range(0, len(train), SHARD)
    for number, start in enumerate(parts):
        part = train.iloc[start : start + SHARD]
        part.to_parquet(folder / f"part-{number:05}-of-{len(parts):05}.parquet", index=False)
    some = train[train[USER].isin(truth[USER])]
    popular = recgan.baselines.Popular().fit(train).recommend_batch(truth[USER], N_LISTED)
    return Asked(truth, some, popular)


def measured(planted: Planted, folder: Path, asked: Asked, settings: dict[str, Any]) -> dict[str, Any]:
    """One training, in a process of its own."""
    config = recgan.Config(**{"progress": False, **settings})
    before, wall = time.process_time(), time.perf_counter()
    with Progress(False) as progress, seeded(config.seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = strengthened(read_data(folder, None, None, None, config), config)
        costs = {"reading": spent(before, wall)}
        run = Clocked(data, config, progress, wall)
        model = run.recommender()
    total = spent(before, wall)
    costs |= run.costs
    total["peak_mib"] = max(one["peak_mib"] for one in costs.values())
    info = model.info()
    epochs = len(info["ranking"]["curve"])
    kept = ("encoder", "plan", "ablation", "weights", "ranking", "dense", "factors", "sparse", "sparse_settings")
    return {
        "interactions": info["data"]["interactions"],
        "sampled": None if data.everyone is None else {"users": len(data.users), "rows": len(data.whole.items)},
        "epochs": epochs,
        "epoch_seconds": costs["ranking phase"]["processor"] / max(1, epochs),
        "total": total,
        "stages": costs,
        "values": values(planted, model, asked),
        "info": {name: info[name] for name in kept},
    }


def values(planted: Planted, model: Any, asked: Asked) -> dict[str, dict[str, float]]:
    """Metrics of the model, of popularity and of the planted optima."""
    lists = {"model": model.recommend_batch(asked.truth[USER], N_LISTED), "popular": asked.popular}
    found = {name: dict(recgan.evaluate(one, asked.truth, METRICS)) for name, one in lists.items()}
    return found | optima(planted, asked)


def optima(planted: Planted, asked: Asked) -> dict[str, dict[str, float]]:
    """Metrics of the lists that are best for who knows the groups of the users, and for who infers them."""
    histories = {int(user): rows.to_numpy() for user, rows in asked.histories.groupby(USER)[ITEM]}  # type: ignore[call-overload]
    found = {}
    for name, infer in (("optimum", False), ("inferred optimum", True)):
        best = [
            _list(user, planted.best(user, histories[user], N_LISTED, infer=infer))
            for user in map(int, asked.truth[USER])
        ]
        found[name] = dict(recgan.evaluate(pd.concat(best, ignore_index=True), asked.truth, METRICS))
    return found


def _list(user: int, items: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {USER: user, ITEM: items, RANK: range(1, len(items) + 1), "score": -1.0 * pd.RangeIndex(len(items))}
    )


def sized(text: str) -> tuple[int, int, int]:
    """Interactions, items and users of a size as it is written: "1e5x1e4x1e4"."""
    interactions, items, users = (int(float(one)) for one in text.split("x"))
    return interactions, items, users


def sheet(runs: Sequence[dict[str, Any]]) -> list[Sheet]:
    """What every size cost, and what it is worth."""
    stages = list(runs[0]["stages"])
    columns = ["size", *stages, "total", "exponent", "s an epoch", "epochs", "peak MiB", "exponent"]
    costs, worth = [], []
    for place, run in enumerate(runs):
        before = runs[place - 1] if place else None
        seconds = [f"{run['stages'][stage]['processor']:,.1f}" for stage in stages]
        total, peak = (f"{run['total'][name]:,.0f}" for name in ("processor", "peak_mib"))
        grown = [_exponent(before, run, name) for name in ("processor", "peak_mib")]
        epoch = [f"{run['epoch_seconds']:,.2f}", str(run["epochs"])]
        costs.append([run["size"], *seconds, total, grown[0], *epoch, peak, grown[1]])
        cells = [f"{run['values'][name][metric]:.4f}" for metric in METRICS for name in run["values"]]
        found = run["values"]
        share = [f"{found['model'][metric] / found[one][metric]:.0%}" for metric in METRICS for one in OPTIMA]
        worth.append([run["size"], *cells, *share])
    names = [f"{metric} {name}" for metric in METRICS for name in runs[0]["values"]]
    told = [f"{metric} of {one}" for metric in METRICS for one in OPTIMA]
    return [
        Sheet("Processor seconds of the stages, and memory", columns, costs),
        Sheet("Held-out items", ["size", *names, *told], worth),
    ]


def _exponent(before: dict[str, Any] | None, run: dict[str, Any], name: str) -> str:
    if before is None or before["interactions"] == run["interactions"]:
        return "-"
    grown = math.log(run["total"][name] / before["total"][name])
    return f"{grown / math.log(run['interactions'] / before['interactions']):.2f}"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="JSON file of the result")
    add("--sizes", default="1e5x1e4x1e4,1e6x1e5x1e5", help="interactions x items x users, smallest first")
    add("--ordered", action="store_true", help="the order of the rows tells what comes next")
    add("--settings", type=json.loads, default={}, help="settings of the training as JSON, such as time_limit")
    add("--seed", type=int, default=0)
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parsed(arguments)
    result = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"runs": []}
    asked = {"ordered": options.ordered, "seed": options.seed, "settings": options.settings}
    for size in options.sizes.split(","):
        stored = next((run for run in result["runs"] if run["size"] == size and run["asked"] == asked), None)
        if stored is not None and set(OPTIMA) <= stored["values"].keys():
            continue
        planted = Planted(*sized(size), ordered=options.ordered, seed=options.seed)
        with tempfile.TemporaryDirectory() as folder:
            place, alone = Path(folder), multiprocessing.get_context("spawn")
            with alone.Pool(1) as pool:
                some = pool.apply(written, (planted, place))
            with alone.Pool(1) as pool:
                if stored is None:
                    found = pool.apply(measured, (planted, place, some, options.settings))
                    result["runs"].append(plain({"size": size, "asked": asked, **found}))
                else:
                    stored["values"] |= pool.apply(optima, (planted, some))
        write_json(options.out, {**result, "environment": environment()})
    wanted = options.sizes.split(",")
    runs = [run for run in result["runs"] if run["asked"] == asked and run["size"] in wanted]
    show(sheet(sorted(runs, key=lambda run: wanted.index(run["size"]))), options.table, width=200)
    return 0


if __name__ == "__main__":
    sys.exit(main())

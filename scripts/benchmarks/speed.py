"""How long recgan takes to be as good as a rival at its best, beside the time that the rival takes.

    python scripts/benchmarks/speed.py PROTOCOL --data DIR [--models EASE,IALS] [--table markdown]

PROTOCOL is one of `accuracy.py`, whose settings of the rivals are read. Everybody learns from the same part and is
judged on the same validation users, at most as many as recgan reads, by the metric that the rivals were tuned for.
A rival's time is one training up to its best validation value, measured after every epoch or after some numbers of
iterations; the search for its setting is told beside, in seconds of the clock when it was made. recgan has its
defaults, and what it does to choose settings and weights counts. Measuring does not. Everybody has one thread and a
process of its own; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rivals
from jobs import key, run
from measuring import QUICK, Job, write_json
from planting import Planted, held_out
from protocols import OURS, PROTOCOLS, load
from results import environment, plain
from tables import NOTHING, Sheet, metric_name, show
from watching import best, first, recgan_curve, rival_curve

import recgan
from recgan.schema import USER

HERE = Path(__file__).parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
RIVALS = ("EASE", "IALS", "BPR", "MultVAE", "Transitions", "SASRec")
"""Those of a protocol that are measured where nothing else is asked for."""


def measure(job: Job, path: Path) -> None:
    """Train a model, and write its curve."""
    protocol, config = PROTOCOLS[job.protocol], recgan.Config(progress=False, **(QUICK if job.quick else {}))
    task = load(protocol, Path(job.data), job.seed)
    holdout = limited(task.validation, config.max_validation_users, job.seed)
    kind = rivals.find(job.model)
    _warm(kind)
    if kind is None:
        config = config.changed(seed=job.seed)
        curve = recgan_curve(config, task.train, holdout, protocol.tuning_metric, **(job.params or {}))
    else:
        params = {**(job.params or {}), **({"seed": job.seed} if rivals.seeded(kind) else {})}
        curve = rival_curve(kind, params, task.train, holdout, protocol.tuning_metric)
    users = holdout.truth[USER].nunique()
    write_json(path, {"job": asdict(job), "users": users, "points": curve.points})


def _warm(kind: Any) -> None:
    """Import what a training imports, by a small one."""
    train, truth = held_out(Planted(600, 40, 60, ordered=True).frame(), 30, seed=0)
    holdout = recgan.Holdout(train[train[USER].isin(truth[USER])], truth)
    if kind is None:
        recgan_curve(recgan.Config(progress=False, **QUICK), train, holdout, "ndcg@10")
    else:
        rival_curve(kind, {}, train, holdout, "ndcg@10")


def limited(holdout: recgan.Holdout, most: int, seed: int) -> recgan.Holdout:
    """At most so many users of a holdout, at random."""
    users = np.sort(holdout.truth[USER].unique())
    kept = np.random.default_rng(seed).permutation(users)[:most]
    history, truth = (part[part[USER].isin(kept)].reset_index(drop=True) for part in (holdout.history, holdout.truth))
    return recgan.Holdout(history, truth)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """What recgan and all rivals took, and the ratios of their times."""
    protocol = PROTOCOLS[options.protocol]
    kept = options.settings or HERE / "settings" / f"{protocol.name}.json"
    settings = json.loads(kept.read_text(encoding="utf-8"))
    wanted = options.models or [name for name in RIVALS if name in protocol.rivals and name in settings]
    found = {name: _found(options, name, settings[name]["0"]["params"])["points"] for name in wanted}
    most = max(best(points)["value"] for points in found.values())
    ours = _found(options, OURS, {"enough": most} if options.until_reached else {})
    rows = [compared(name, settings[name]["0"], points, ours["points"]) for name, points in found.items()]
    told = {"protocol": protocol.name, "title": protocol.title, "metric": protocol.tuning_metric}
    return {**told, "users": ours["users"], "rows": rows, "recgan": ours["points"], "threads": 1}


def _found(options: argparse.Namespace, model: str, params: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own found out, or has found out before."""
    job = Job(options.protocol, str(options.data), model, 0, params, options.quick)
    path = options.out.with_name(f"{options.out.name}.work") / f"{model}-{key(job)}.json"
    if not path.exists():
        run(measure, job, path, here=options.here)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    last = found["points"][-1]
    print(f"{model}: {last['processor']:.1f} s, {best(found['points'])['value']:.4f}", file=sys.stderr, flush=True)
    return found


def compared(name: str, setting: dict[str, Any], rival: list[dict[str, Any]], ours: list[dict[str, Any]]) -> Any:
    """A row: a rival at its best, and when recgan was as good."""
    top = best(rival)
    reached = first(ours, top["value"])
    ratio = None if reached is None else reached["processor"] / top["processor"]
    search = {key: setting[key] for key in ("params", "seconds", "tried", "finished")}
    searched = None if reached is None else reached["processor"] / (top["processor"] + setting["seconds"])
    told = {"best": top, "reached": reached, "ratio": ratio, "ratio_with_search": searched}
    return {"rival": name, "search": search, **told, "points": rival}


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """The ratios, and the way of recgan."""
    metric = metric_name(result["metric"])
    columns = ["rival", f"best {metric}", "at", "s", "search s", "tried", "recgan there at", "s", "ratio"]
    columns += ["with search"]
    cells = []
    for row in result["rows"]:
        top, there, search = row["best"], row["reached"], row["search"]
        ratios = [f"{row[name] or 0:.2f}" for name in ("ratio", "ratio_with_search")]
        own = [NOTHING] * 4 if there is None else [there["step"], f"{there['processor']:.1f}", *ratios]
        spent = [f"{top['value']:.4f}", top["step"], f"{top['processor']:.1f}"]
        cells.append([row["rival"], *spent, f"{search['seconds']:.0f}", str(search["tried"]), *own])
    points = [[one["step"], f"{one['processor']:.1f}", f"{one['value']:.4f}"] for one in _told(result["recgan"])]
    title = f"{result['title']}: processor seconds to a rival's best value on {result['users']:,} validation users"
    return [
        Sheet(title, columns, cells, left=(2, 6)),
        Sheet("The way of recgan, as far as it is a better one", ["after", "s", metric], points),
    ]


def _told(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points that are better than all before them, and the last one."""
    highest = pd.Series([point["value"] for point in points]).cummax().shift(fill_value=-1.0)
    return [one for one, before in zip(points, highest, strict=True) if one["value"] > before or one is points[-1]]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("protocol", choices=list(PROTOCOLS))
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets")
    add("--out", type=Path, help="JSON file of the result; results/speed-PROTOCOL.json")
    add("--settings", type=Path, help="JSON file of the rivals' settings; settings/PROTOCOL.json")
    add("--models", type=lambda text: text.split(","), help="rivals with commas between")
    add("--until-reached", action="store_true", help="end recgan's training where it is as good as every rival")
    add("--table", choices=["rich", "markdown"], default="rich")
    add("--quick", action="store_true", help=argparse.SUPPRESS)
    add("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out = options.out or HERE / "results" / f"speed-{options.protocol}.json"
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parsed(arguments)
    if not options.here:
        os.environ.update(dict.fromkeys(THREADS, "1"))
    result = plain({**measured(options), "quick": options.quick, "environment": environment()})
    write_json(options.out, result)
    show(sheets(result), options.table, width=160)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""From the values of single users to rows that can be compared, and all of it as JSON."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jobs import Outcome
from measuring import KNOWN, write_json
from protocols import LABELS, OURS_REFIT, Protocol

from recgan.report.comparing import judged
from recgan.schema import USER

PACKAGES = ("recgan", "numpy", "pandas", "scipy", "scikit-learn", "torch", "pytorch-lightning", "faiss-cpu", "implicit")
Row = dict[str, Any]


def rows(
    protocol: Protocol,
    outcomes: Mapping[str, Sequence[Outcome]],
    settings: Mapping[str, Mapping[str, Any]],
    n_resamples: int,
    known: bool | None = None,
) -> list[Row]:
    """A row a model: means over the users, deviation over the seeds, p-value against the best rival, costs.

    Args:
        protocol: what was measured.
        outcomes: model to its outcomes, one a seed.
        settings: rival to its tuning, by split.
        n_resamples: of intervals and p-values.
        known: only the users that training knew, or only the others; None for all.
    """
    frames = {model: [_of(one.values, known) for one in found] for model, found in outcomes.items()}
    means = {model: pd.concat(found).groupby(level=0).mean() for model, found in frames.items()}
    if not any(map(len, means.values())):
        return []
    table = judged(means, protocol.metrics, [model for model in means if model not in protocol.ours], n_resamples)
    found = []
    for model, users in means.items():
        records = table[table["model"] == model].to_dict("records")
        values = {record["metric"]: _value(record, frames[model]) for record in records}
        costs = _costs(outcomes[model], settings.get(model, {}))
        found.append({**_named(model, protocol), "users": len(users), "metrics": values, **costs})
    return found


def _of(values: pd.DataFrame, known: bool | None) -> pd.DataFrame:
    chosen = values if known is None else values[values[KNOWN] == known]
    return chosen.drop(columns=KNOWN).set_index(USER)


def _named(model: str, protocol: Protocol) -> Row:
    kind = "recgan" if model in protocol.ours else "rival"
    return {"model": model, "label": LABELS.get(model, model), "kind": kind}


def _value(row: Mapping[Any, Any], frames: Sequence[pd.DataFrame]) -> Row:
    of_seeds = [float(frame[row["metric"]].mean()) for frame in frames]
    deviation = float(np.std(of_seeds, ddof=1)) if len(of_seeds) > 1 else None
    told = {"mean": row["mean"], "deviation": deviation, "of_seeds": of_seeds}
    return {**told, "low": row["low"], "high": row["high"], "p_value": _finite(row["p_value"])}


def _costs(found: Sequence[Outcome], tuning: Mapping[str, Any]) -> Row:
    """Means over the seeds; memory is the most, tuning the sum over all splits."""
    seeds = [one.job.seed for one in found]
    fit, serve = (float(np.mean([one.facts[name] for one in found])) for name in ("fit_seconds", "serve_seconds"))
    spent = round(sum(one["seconds"] for one in tuning.values()), 1) if tuning else None
    peak = max(one.facts["peak_mib"] for one in found)
    seconds = {"fit": round(fit, 2), "serve": round(serve, 2), "tuning": spent}
    return {"seeds": seeds, "seconds": seconds, "peak_mib": peak, "tuning": dict(tuning)}


def best_rivals(table: Sequence[Row], metrics: Sequence[str]) -> dict[str, str]:
    """The best rival in every metric: what the p-values are about."""
    contenders = [row for row in table if row["kind"] == "rival"]
    if not contenders:
        return {}
    best = {}
    for metric in metrics:
        means = {row["model"]: row["metrics"][metric]["mean"] for row in contenders}
        best[metric] = max(means, key=lambda model: means[model])
    return best


def published(protocol: Protocol) -> list[Row]:
    """What others have published, as rows."""
    return [
        {"model": name, "label": f"{name} (published)", "kind": "published", "metrics": _means(values)}
        for name, values in protocol.published.items()
    ]


def _means(values: Mapping[str, float]) -> Row:
    return {metric: {"mean": value} for metric, value in values.items()}


def inside(protocol: Protocol, outcomes: Mapping[str, Sequence[Outcome]], table: Sequence[Row]) -> list[Row]:
    """What every training of recgan says of itself, with the time to the best rival's value where it can be told."""
    best = best_rivals(table, protocol.metrics).get(protocol.tuning_metric)
    tuning = next((row["tuning"] for row in table if row["model"] == best), {})
    told = []
    for model in protocol.ours:
        for one in outcomes.get(model, ()):
            info = one.facts["info"]
            split = str(one.job.seed if protocol.split_varies else 0)
            comparable = info["config"]["metric"] == protocol.tuning_metric and split in tuning
            shared = comparable and protocol.shares_validation and model != OURS_REFIT
            reach = reached(info, tuning[split]["value"]) if shared else None
            told.append({"model": model, "seed": one.job.seed, **info, "reached_best_rival": reach})
    return told


def reached(info: Mapping[str, Any], value: float) -> Row | None:
    """When the ranking phase first served the validation users as well as a value; None where it never did.

    The seconds are those of the closed forms and an equal share of the ranking phase for every epoch.
    """
    curve, spent = info["ranking"]["curve"], info["stage_seconds"]
    for number, point in enumerate(curve, start=1):
        if point["metric"] >= value:
            seconds = spent["closed forms"] + spent["ranking phase"] * number / len(curve)
            return {"value": value, "epoch": number, "seconds": round(seconds, 1)}
    return None


def environment() -> Row:
    """Where it was measured."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": {package: _version(package) for package in PACKAGES},
        "revision": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", ":/recgan")),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def plain(content: Any) -> Any:
    """The same with what JSON knows: NaN and infinities become null."""
    if isinstance(content, Mapping):
        return {str(name): plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return _finite(content)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def settled(options: argparse.Namespace, measured: Callable[[argparse.Namespace], dict[str, Any]]) -> dict[str, Any]:
    """The result that is there, where `--stored` asks for it; else what is measured, plain and written to `--out`."""
    if options.stored:
        return json.loads(options.out.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    result: dict[str, Any] = plain({**measured(options), "quick": options.quick, "environment": environment()})
    write_json(options.out, result)
    return result

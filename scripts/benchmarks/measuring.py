"""What happens in a process of its own: one search for a setting, or one model fitted, served and judged."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import rivals
from protocols import OURS_METADATA, OURS_REFIT, PROTOCOLS, Protocol, Task, load

import recgan
from recgan.batch.files import whole_file
from recgan.schema import ITEM, USER

QUICK = {
    "embedding_dim": 16,
    "hidden_dim": 32,
    "noise_dim": 4,
    "n_draws": 4,
    "epochs": 1,
    "game_steps": 0,
    "n_candidates": 20,
}
KNOWN = "known"
"""Column of the values: whether training saw the user."""


@dataclass(frozen=True)
class Job:
    """One thing to do.

    Args:
        protocol: its name.
        data: the folder that holds the data sets.
        model: recgan's row or the rival.
        seed: of the split, or of the training where the split is fixed.
        params: the rival's setting; where it is searched, the setting to begin at.
        quick: few epochs: a test that it runs, no measurement.
        budget: seconds of a search.
    """

    protocol: str
    data: str
    model: str
    seed: int
    params: dict[str, Any] | None = field(default_factory=dict)
    quick: bool = False
    budget: float = 0.0


def write_json(path: Path, content: Any) -> None:
    """Write a file that is there entirely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def tune(job: Job, path: Path) -> None:
    """Search the setting of a rival and write what was found."""
    protocol = PROTOCOLS[job.protocol]
    task = load(protocol, Path(job.data), job.seed)
    kind = rivals.find(job.model)
    found = rivals.tuned(kind, task, protocol, seed=job.seed, budget=job.budget, start=job.params)
    write_json(path, {**asdict(found), "budget": round(job.budget, 1)})


def measure(job: Job, path: Path) -> None:
    """Fit a model, serve the test users, and write their values beside what is known of the run."""
    protocol = PROTOCOLS[job.protocol]
    task = load(protocol, Path(job.data), job.seed)
    begun = time.perf_counter()
    model = _fitted(job, task)
    fitted = time.perf_counter()
    lists = _served(model, task, protocol.depth)
    served = time.perf_counter()
    facts = {"fit_seconds": round(fitted - begun, 2), "serve_seconds": round(served - fitted, 2)}
    facts |= {"peak_mib": peak_mib(), "threads": os.environ.get("OMP_NUM_THREADS")}
    values = _values(lists, task, protocol)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path.with_suffix(".parquet")) as unfinished:
        values.to_parquet(unfinished, index=False)
    write_json(path, {"job": asdict(job), **facts, **_told(model)})  # last: it says that all is there


def peak_mib() -> float:
    """Most memory that this process has held; the system's own count, because `ru_maxrss` starts at the parent's."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    held = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return round(int(held or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024, 1)


def forget_peak() -> float:
    """Let `peak_mib` begin anew at what this process holds now, where the system can; what it says then."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_mib()


def _fitted(job: Job, task: Task) -> Any:
    kind = rivals.find(job.model)
    if kind is not None:
        seed = {"seed": job.seed} if rivals.seeded(kind) else {}
        return kind(**(job.params or {}), **seed).fit(task.fit)
    tables = {"items": task.items, "users": task.users} if job.model == OURS_METADATA else {}
    refit = job.model == OURS_REFIT
    rows, validation = (task.whole, None) if refit else (task.fit, task.given)
    config = recgan.Config(**(QUICK if job.quick else {}))
    return recgan.train(rows, **tables, validation=validation, config=config, seed=job.seed)


def _served(model: Any, task: Task, depth: int) -> pd.DataFrame:
    """The lists of all users of the truth; items that the model cannot know are no part of a history."""
    history = task.test.history[task.test.history[ITEM].isin(model.items)]
    return model.recommend_batch(task.test.truth[USER].drop_duplicates(), depth, histories=history)


def _values(lists: pd.DataFrame, task: Task, protocol: Protocol) -> pd.DataFrame:
    values = pd.DataFrame(recgan.evaluate(lists, task.test.truth, protocol.metrics, per_user=True))
    return values.assign(**{KNOWN: values[USER].isin(task.fit[USER])})


def _told(model: Any) -> dict[str, Any]:
    """What recgan says about its training; nothing for a rival."""
    if not isinstance(model, recgan.Recommender):
        return {}
    info = model.info()
    kept = ("ablation", "weights", "alarms", "encoder", "seconds", "stage_seconds", "ranking", "config")
    told = {name: info[name] for name in kept if name in info}
    told["game"] = {name: value for name, value in info["game"].items() if name != "pictures"}
    return {"info": told}

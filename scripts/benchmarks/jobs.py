"""Jobs in processes of their own, and what remains of them: a job that is finished is not done again."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import rivals
from measuring import Job, measure
from protocols import PROTOCOLS, fingerprint

import recgan

PACKAGE = Path(recgan.__file__).parent
SHARED = ("linear", "histories", "popularity", "ranking", "splits", "metrics")
"""Modules that decide a rival's values, besides its own."""


class JobError(Exception):
    """A process ended without a result."""


@dataclass(frozen=True)
class Outcome:
    """What is left of a finished measurement.

    Args:
        job: what was done.
        values: user_id, the metrics of each test user, and whether training knew the user.
        facts: seconds, memory, and what recgan says about its training.
        resumed: whether it had been finished before.
    """

    job: Job
    values: pd.DataFrame
    facts: dict[str, Any]
    resumed: bool


def outcome(job: Job, folder: Path, *, redo: bool = False, here: bool = False) -> Outcome:
    """The result of a measurement, from the folder where it is there already.

    Args:
        job: what to do.
        folder: of the results.
        redo: measure again in any case.
        here: in this process; its memory is then not the model's.

    Raises:
        JobError: when the process ended without a result.
    """
    path = folder / f"{job.model}-{job.seed}-{key(job)}.json"
    resumed = path.exists() and not redo
    if not resumed:
        run(measure, job, path, here=here)
    facts = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(job, pd.read_parquet(path.with_suffix(".parquet")), facts, resumed)


def run(what: Callable[[Job, Path], None], job: Job, path: Path, *, here: bool = False) -> None:
    """Do a job in a process of its own, whose peak memory is then its own.

    Raises:
        JobError: when the process ended without a result.
    """
    if here:
        what(job, path)
        return
    process = multiprocessing.get_context("spawn").Process(target=what, args=(job, path))
    process.start()
    try:
        process.join()
    finally:
        if process.is_alive():
            process.terminate()
            process.join()
    if process.exitcode or not path.exists():
        raise JobError(f"{job.model}: {what.__name__} ended with exit code {process.exitcode}")


def key(job: Job) -> str:
    """What a result depends on: the job, the data, and the code that makes it."""
    digest = hashlib.sha256(json.dumps({**asdict(job), "data": ""}, sort_keys=True).encode())
    protocol = PROTOCOLS[job.protocol]
    digest.update(repr(protocol.metrics).encode() + inspect.getsource(protocol.cut).encode())
    digest.update(fingerprint(protocol, Path(job.data)).encode())
    for path in sources(job.model):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def sources(model: str) -> list[Path]:
    """The source files behind a row: all of the package for recgan, its own and the shared ones for a rival."""
    kind = rivals.find(model)
    if kind is None:
        return sorted(PACKAGE.rglob("*.py"))
    own: set[Path] = set()
    waiting = [Path(inspect.getfile(kind))]
    while waiting:
        path = waiting.pop()
        if path not in own:
            own.add(path)
            waiting.extend(_imported(path))
    rooms = [path for name in SHARED for path in ((PACKAGE / name).rglob("*.py"), PACKAGE.glob(f"{name}.py"))]
    return sorted(own.union(*rooms))


def _imported(path: Path) -> Iterator[Path]:
    """The networks, losses and modules of the baselines that another one imports, but for the search over a grid."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "recgan.networks":
            yield from (PACKAGE / "networks").glob("*.py")
        elif isinstance(node, ast.ImportFrom) and node.module == "recgan":
            yield from (file for file in (PACKAGE / f"{alias.name}.py" for alias in node.names) if file.exists())
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recgan.baselines"):
            names = [*(node.module or "").split(".")[2:], *(alias.name for alias in node.names)]
            files = (PACKAGE / "baselines" / f"{name}.py" for name in names if name != "tuning")
            yield from (file for file in files if file.exists())

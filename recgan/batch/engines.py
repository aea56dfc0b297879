"""What makes the shards: this process, several beside it, or a cluster; every engine writes the same files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from recgan.batch.assignment import assigned
from recgan.batch.files import TEMPORARY
from recgan.batch.folders import Folder
from recgan.batch.job import Job
from recgan.batch.records import remove
from recgan.batch.shards import write_shard
from recgan.errors import ConfigError

Engine = Literal["local", "ray", "spark"]
Tick = Callable[[int], None]
LIBRARIES = {"ray": "ray", "spark": "pyspark"}
OWN = 16_000
"""Items whose scores take as long as what a user takes whatever the catalogue."""
WORTH_A_WORKER = 3_000_000_000
"""Scores, a user's own included, for which another process is worth the two seconds in which it starts."""


def check_engine(engine: Any, workers: Any) -> None:
    """Refuse an engine that is unknown or not installed, and a number of workers that is none.

    Raises:
        ConfigError: saying what to choose or to install.
    """
    if engine not in ("local", *LIBRARIES):
        raise ConfigError(f"engine: 'local', 'ray' or 'spark', not {engine!r}")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int | np.integer) or workers < 1):
        raise ConfigError(f"workers: a whole number of at least 1, or None, not {workers!r}")
    if engine in LIBRARIES and find_spec(LIBRARIES[engine]) is None:
        raise ConfigError(f"engine={engine!r}: {LIBRARIES[engine]} is not installed; pip install 'recgan[{engine}]'")


def make_shards(
    job: Job, shards: Sequence[int], folder: Folder, tick: Tick, engine: Engine = "local", workers: int | None = None
) -> None:
    """Make some shards of a job.

    Args:
        job: what is asked.
        shards: which ones.
        folder: where they shall lie; locked.
        tick: called with the number of users that are done since the last call.
        engine: "local", "ray" or "spark".
        workers: how many work at the same time; None for as many as are there and pay.

    Raises:
        RecganError: when a worker failed or was killed; whole shards stay.
    """
    if not shards:
        return
    workers = None if workers is None else int(workers)
    if engine == "local":
        workers = _local_workers(job, shards, workers)
        if workers == 1:
            for shard in shards:
                write_shard(job, shard, folder, tick)
            return
    try:
        with assigned(job, folder) as assignment:
            import_module(f"recgan.batch.{engine}").run(assignment, shards, workers, tick)
    finally:
        remove(folder, TEMPORARY)


def _local_workers(job: Job, shards: Sequence[int], workers: int | None) -> int:
    if workers is None:
        users = sum(stop - start for start, stop in map(job.bounds, shards))
        workers = min(_cores(), 1 + users * (len(job.model.items) + OWN) // WORTH_A_WORKER)
    return min(workers, len(shards))


def _cores() -> int:
    """Cores that this process may use; one where there are no workers beside it."""
    if os.name != "posix":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

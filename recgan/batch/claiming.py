"""Whose folder it is: a batch folder belongs to one job, and one run at a time works in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from filelock import FileLock, Timeout

from recgan.batch.files import JOB, LOCK, MODEL, PART, SHARDS, TEMPORARY, read_json, remove, write_json
from recgan.batch.job import KIND, Job, differences
from recgan.errors import ConfigError, RecganError


def is_batch(folder: str | PathLike[str]) -> bool:
    """Whether a folder holds a batch job, finished or not."""
    job = read_json(Path(folder) / JOB)
    return job.get("kind") == KIND and isinstance(job.get("n_shards"), int) and {"model", "arguments"} <= job.keys()


def check_place(folder: Path) -> None:
    """Refuse a folder that holds something else than a batch job.

    Raises:
        ConfigError: naming what is there.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder")
    foreign = [path.name for path in folder.iterdir() if path.name != LOCK and not TEMPORARY.fullmatch(path.name)]
    if foreign and not is_batch(folder):
        raise ConfigError(f"{folder}: holds {min(foreign)!r} and is no batch job; choose a new or an empty folder")


def check_same(job: Job, folder: Path) -> None:
    """Refuse a folder that holds another batch job.

    Raises:
        ConfigError: naming what differs.
    """
    there = read_json(folder / JOB)
    if there and (found := differences(there, job.described)):
        raise ConfigError(
            f"{folder}: holds another batch job: {', '.join(found)}; choose another folder, or restart=True "
            "(--restart) to remove its shards"
        )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell in one message that a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise RecganError(f"{folder}: cannot be written: {error}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this run, made where it is missing.

    Raises:
        ConfigError: when another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{folder}: another run is at work here; wait for its end") from None
    try:
        yield
    finally:
        lock.release()


def claim(job: Job, folder: Path, restart: bool) -> None:
    """Make a folder this job's own, without what broken runs have left there.

    Args:
        job: what is asked.
        folder: where; locked.
        restart: whether shards that are there are removed first.
    """
    check_place(folder)
    if restart:
        remove(folder, PART, SHARDS)
        (folder / JOB).unlink(missing_ok=True)  # the last one, so that a kill in between is no foreign folder
    check_same(job, folder)
    remove(folder, TEMPORARY, MODEL)
    if not (folder / JOB).exists():
        write_json(folder / JOB, job.described)

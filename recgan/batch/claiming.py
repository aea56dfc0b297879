"""Whose folder it is: a batch folder belongs to one job, and one run at a time works in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recgan.batch.files import JOB, LOCK, MODEL, PART, SHARDS, TEMPORARY
from recgan.batch.folders import Folder, folder_of
from recgan.batch.job import KIND, Job, differences
from recgan.batch.records import read_json, remove, write_json
from recgan.errors import ConfigError, RecganError
from recgan.remote import Place


def is_batch(place: Place) -> bool:
    """Whether a folder holds a batch job, finished or not."""
    return holds_job(folder_of(place))


def holds_job(folder: Folder) -> bool:
    """Whether a folder holds a batch job, finished or not."""
    job = read_json(folder, JOB)
    return job.get("kind") == KIND and isinstance(job.get("n_shards"), int) and {"model", "arguments"} <= job.keys()


def check_place(folder: Folder) -> None:
    """Refuse a folder that holds something else than a batch job.

    Raises:
        ConfigError: naming what is there.
    """
    own = (LOCK, *(name for name in folder.names() if TEMPORARY.fullmatch(name) or MODEL.fullmatch(name)))
    foreign = [name for name in folder.names() if name not in own]
    if foreign and not holds_job(folder):
        raise ConfigError(f"{folder}: holds {foreign[0]!r} and is no batch job; choose a new or an empty folder")


def check_same(job: Job, folder: Folder) -> None:
    """Refuse a folder that holds another batch job.

    Raises:
        ConfigError: naming what differs.
    """
    there = read_json(folder, JOB)
    if there and (found := differences(there, job.described)):
        raise ConfigError(
            f"{folder}: holds another batch job: {', '.join(found)}; choose another folder, or restart=True "
            "(--restart) to remove its shards"
        )


@contextmanager
def writing(folder: Folder) -> Iterator[None]:
    """Tell in one message that a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise RecganError(f"{folder}: cannot be written: {error}") from error


def claim(job: Job, folder: Folder, restart: bool) -> None:
    """Make a folder this job's own, without what broken runs have left there.

    Args:
        job: what is asked.
        folder: where; locked.
        restart: whether shards that are there are removed first.
    """
    check_place(folder)
    if restart:
        remove(folder, PART, SHARDS)
        folder.remove(JOB)  # the last one, so that a kill in between is no foreign folder
    check_same(job, folder)
    remove(folder, TEMPORARY, MODEL)
    if JOB not in folder.names():
        write_json(folder, JOB, job.described)

"""What a worker is sent, once: everything of a job but the model, which it reads from a folder itself."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from recgan.batch.failure import Failure
from recgan.batch.folders import Folder, LocalFolder
from recgan.batch.job import Job, searching
from recgan.batch.preparing import load_sealed, seal_of
from recgan.batch.shards import write_shard
from recgan.errors import ArtifactError
from recgan.ranking import Search
from recgan.recommender import Recommender


@dataclass(frozen=True)
class Assignment:
    """The work of all workers of a job.

    Args:
        model: path or URL of the model folder; every worker can read it.
        seal: hash of the seal of that folder.
        folder: where the shards shall lie; every worker can write there.
        asked: the fields of the Job, without its model and the model's folder.
    """

    model: Path | str
    seal: str
    folder: Folder
    asked: dict[str, Any]

    def job(self) -> Job:
        """The job, with the model that this process reads once.

        Raises:
            ArtifactError: when the model folder no longer holds the model with which the job began.
        """
        model = _model(self.model, self.seal, self.asked["search"])
        return Job(model, self.model, **self.asked)

    def attempt(self, shard: int) -> int | Failure:
        """Make one shard; the number of its users, or why it could not be made."""
        try:
            return int(write_shard(self.job(), shard, self.folder, lambda users_done: None)["users"])
        except Exception as error:
            return Failure.of(error)


@contextmanager
def assigned(job: Job, folder: Folder) -> Iterator[Assignment]:
    """The assignment of a job, with a model that stays as it is until the block ends.

    A model that was handed over in memory is written beside the shards. Of one in a folder of this machine the files
    are linked there where that can be done, so that whoever replaces it does not disturb the job.

    Args:
        job: what is asked.
        folder: where the shards shall lie; locked.

    Yields:
        The assignment.
    """
    folder = folder.absolute()
    asked = {field.name: getattr(job, field.name) for field in fields(job) if field.name not in ("model", "folder")}
    name = f".model.{uuid.uuid4().hex}.tmp"
    try:
        if job.folder is None:
            with tempfile.TemporaryDirectory() as work:
                _as_searched(job).save(Path(work) / "model")
                seal = seal_of(Path(work) / "model")
                model = folder.put(Path(work) / "model", name)
        else:
            model, seal = _linked(job.folder, folder, name), job.described["model"]
        yield Assignment(model, seal, folder, asked)
    finally:
        folder.remove(name)


def _as_searched(job: Job) -> Recommender:
    """The model with the index that the job asks for where it has it: item changes leave another one than a new one."""
    near = job.model._ranker.near
    return job.model if near is not None and near.asked == job.search else job.model.with_search(None)


def _linked(model: Path | str, folder: Folder, name: str) -> Path | str:
    if not isinstance(model, Path) or not isinstance(folder, LocalFolder):
        return model
    try:
        return folder.link(model, name)
    except OSError:
        return model


@lru_cache(maxsize=1)
def _model(folder: Path | str, seal: str, search: Search | None) -> Recommender:
    model, found = load_sealed(folder)
    if found != seal:
        raise ArtifactError(
            f"{folder}: holds another model than when the job began; finished shards are kept: put that model back and "
            "run the job again, or begin anew with restart=True (--restart)"
        )
    return searching(model, search)

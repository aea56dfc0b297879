"""One shard: written whole with a sidecar that says what it holds, verified, and read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from recgan.artifact import file_hash
from recgan.batch import formats
from recgan.batch.files import part_name, sidecar_name
from recgan.batch.folders import Folder
from recgan.batch.job import Job, json_hash, schema_of
from recgan.batch.records import read_json, write_json

CHUNK_USERS = 4096
CHUNK_ROWS = 1 << 20
"""Most users, and most rows, that are in memory at once."""


def write_shard(job: Job, shard: int, folder: Folder, tick: Callable[[int], None]) -> dict[str, Any]:
    """Make the lists of one shard, a chunk of users at a time in one thread, and write them and then the sidecar.

    Args:
        job: what is asked.
        shard: which shard.
        folder: where the files shall lie; it exists.
        tick: called with the number of users that are done since the last call.

    Returns:
        The sidecar: model, arguments, users, users_sha256, rows, fallback_users, sha256; and an approximate search's
        recall.
    """
    name = part_name(shard, job.n_shards, job.format)
    start, end = job.bounds(shard)
    step = max(1, min(CHUNK_USERS, CHUNK_ROWS // max(1, min(job.n, len(job.model.items)))))
    rows = fallback = 0
    with one_thread(), folder.whole(name) as temporary:
        with formats.writer(temporary, job.format, job.schema) as file:
            for first in range(start, end, step):
                last = min(first + step, end)
                lists, unknown = job.table(first, last)
                file.write_table(lists)
                rows, fallback = rows + len(lists), fallback + unknown
                tick(last - first)
        sha256 = file_hash(temporary)
    sidecar = {**job.expected(shard), "rows": rows, "fallback_users": fallback, "sha256": sha256}
    if job.search is not None:
        sidecar["recall"] = job.server.info()["search"]["recall"]
    write_json(folder, sidecar_name(name), sidecar)
    return sidecar


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread, so that the last bits of a score do not hang on the number of cores."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def verified(job: Job, shard: int, folder: Folder) -> dict[str, Any] | None:
    """The sidecar of a shard that is there, whole and of this job; None where it is not."""
    name = part_name(shard, job.n_shards, job.format)
    sidecar = read_json(folder, sidecar_name(name))
    same = all(sidecar.get(key) == value for key, value in job.expected(shard).items())
    return sidecar if same and folder.sha256(name) == sidecar.get("sha256", "") else None


def read_shard(folder: Folder, shard: int, job: dict[str, Any]) -> pa.Table | None:
    """The lists of a shard; None where it is missing, damaged or of another job than `job.json` says."""
    form = job["arguments"].get("format", "parquet")
    name = part_name(shard, job["n_shards"], form)
    sidecar = read_json(folder, sidecar_name(name))
    same = (sidecar.get("model"), sidecar.get("arguments")) == (job["model"], json_hash(job["arguments"]))
    content = folder.read(name) if same else None
    if content is None or hashlib.sha256(content).hexdigest() != sidecar.get("sha256"):
        return None
    return formats.read(content, form, schema_of(job.get("columns", [])))

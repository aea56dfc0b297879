"""What all shards of a job hold together: told when they are there, estimated before."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recgan.batch import formats
from recgan.batch.files import MANIFEST, part_name
from recgan.batch.folders import Folder
from recgan.batch.job import Job
from recgan.batch.records import read_json, write_json

BLOCKS, BLOCK_USERS = 5, 200
"""A sample for an estimate: so many blocks of so many users."""


def write_manifest(job: Job, sidecars: Sequence[dict[str, Any]], folder: Folder) -> None:
    """Write `shards.json`, which stands beside the shards when all of them are there and verify.

    Args:
        job: what is asked.
        sidecars: of all shards, in their order.
        folder: where the shards lie.
    """
    files = [part_name(shard, job.n_shards, job.format) for shard in range(job.n_shards)]
    shards = [
        {"file": file, "bytes": folder.size(file), **{name: one[name] for name in ("users", "rows", "sha256")}}
        for file, one in zip(files, sidecars, strict=True)
    ]
    totals = {name: sum(shard[name] for shard in shards) for name in ("users", "rows", "bytes")}
    fallback = sum(one["fallback_users"] for one in sidecars)
    found = {"model": job.described["model"], "fallback_users": fallback, **totals, "shards": shards}
    if read_json(folder, MANIFEST) != found:
        write_json(folder, MANIFEST, found)


def estimated(job: Job, sidecars: Sequence[dict[str, Any] | None], folder: Folder) -> tuple[int, int]:
    """About how many rows and bytes all shards will hold, from those that are there or from a sample of the users.

    Args:
        job: what is asked.
        sidecars: of the shards that are there and verify, None for the others.
        folder: where they lie.

    Returns:
        Rows and bytes.
    """
    there = [(shard, one) for shard, one in enumerate(sidecars) if one is not None and one["users"]]
    if there:
        users, rows = (sum(one[name] for _, one in there) for name in ("users", "rows"))
        size = sum(folder.size(part_name(shard, job.n_shards, job.format)) for shard, _ in there)
    else:
        users, rows, size = _sampled(job)
    factor = len(job.users) / max(1, users)
    return round(rows * factor), round(size * factor)


def _sampled(job: Job) -> tuple[int, int, int]:
    """Users, rows and bytes of a sample, without what every file has once."""
    edges = np.linspace(0, len(job.users), BLOCKS + 1).astype(int)
    blocks = [(start, min(stop, start + BLOCK_USERS)) for start, stop in pairwise(edges.tolist()) if start < stop]
    tables = [job.table(start, stop)[0] for start, stop in blocks]
    sample = pa.concat_tables([job.schema.empty_table(), *tables])
    users = sum(stop - start for start, stop in blocks)
    return users, sample.num_rows, _size(sample, job.format) - _size(sample.slice(0, 0), job.format)


def _size(table: pa.Table, form: str) -> int:
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "sample"
        with formats.writer(path, form, table.schema) as file:
            file.write_table(table)
        return path.stat().st_size

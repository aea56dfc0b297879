"""Files of a batch folder: their names, and how each is written whole or not at all."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

JOB = "job.json"
LOCK = ".lock"
MANIFEST = "shards.json"
PART = re.compile(r"part-\d{5,}-of-\d{5,}\.(parquet|csv|jsonl|json)")
SHARDS = re.compile(re.escape(MANIFEST))
TEMPORARY = re.compile(r"\.(part-\d{5,}-of-\d{5,}\.(parquet|csv|jsonl|json)|(job|shards)\.json)\.[0-9a-f]{32}\.tmp")
MODEL = re.compile(r"\.model\.[0-9a-f]{32}\.tmp")
"""Folder of a model that was handed over in memory, while workers need it."""


def part_name(shard: int, n_shards: int, form: str) -> str:
    """Name of the file with the lists of a shard in one of the formats.

    Example:
        >>> part_name(3, 8, "parquet")
        'part-00003-of-00008.parquet'
    """
    return f"part-{shard:05d}-of-{n_shards:05d}.{form}"


def sidecar_name(part: str) -> str:
    """Name of the file that says what a shard holds."""
    return str(Path(part).with_suffix(".json"))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file beside a path, which takes its place when the block ends without an error.

    Args:
        path: where the file shall stand; until then an older one stays there.

    Yields:
        The path to write to.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

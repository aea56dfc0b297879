"""Files of a batch folder: their names, and how each is written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

JOB = "job.json"
LOCK = ".lock"
MANIFEST = "shards.json"
PART = re.compile(r"part-\d{5,}-of-\d{5,}\.(parquet|csv|jsonl|json)")
SHARDS = re.compile(re.escape(MANIFEST))
TEMPORARY = re.compile(r"\.(part-\d{5,}-of-\d{5,}\.(parquet|csv|jsonl|json)|(job|shards)\.json)\.[0-9a-f]{32}\.tmp")
MODEL = re.compile(r"\.model\.[0-9a-f]{32}\.tmp")
"""Folder of a model that was handed over in memory, while workers need it."""


def part_path(folder: Path, shard: int, n_shards: int, form: str) -> Path:
    """Where the lists of a shard lie in one of the formats."""
    return folder / f"part-{shard:05d}-of-{n_shards:05d}.{form}"


def sidecar_path(part: Path) -> Path:
    """Where it says what a shard holds."""
    return part.with_suffix(".json")


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


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; an empty one where there is no such file or it holds anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def remove(folder: Path, *patterns: re.Pattern[str]) -> None:
    """Remove the plain files of a folder, and the folders of models, whose whole name fits one of the patterns."""
    for path in sorted(folder.iterdir()):
        if any(pattern.fullmatch(path.name) for pattern in patterns):
            if not path.is_dir():
                path.unlink(missing_ok=True)
            elif MODEL.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

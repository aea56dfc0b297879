"""JSON files of a batch folder, and what is removed from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from recgan.batch.folders import Folder


def write_json(folder: Folder, name: str, value: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with folder.whole(name) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(folder: Folder, name: str) -> dict[str, Any]:
    """A JSON object from a file; an empty one where there is no such file or it holds anything else."""
    try:
        value = json.loads((folder.read(name) or b"").decode())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def remove(folder: Folder, *patterns: re.Pattern[str]) -> None:
    """Remove what lies in a folder under a name that fits one of the patterns as a whole."""
    for name in folder.names():
        if any(pattern.fullmatch(name) for pattern in patterns):
            folder.remove(name)

"""What a batch folder holds."""

from __future__ import annotations

from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    """Its files but the lock, by name; not those of a folder in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock" and path.is_file()}

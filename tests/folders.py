"""What a batch folder holds."""

from __future__ import annotations

from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    """Its files but the lock, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}

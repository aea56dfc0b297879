"""How the parts of a model become files and come back."""

from __future__ import annotations

import json
from typing import Any

from recgan.storage.parts import WEIGHTS, Parts
from recgan.storage.reading import load
from recgan.storage.writing import save

__all__ = ["WEIGHTS", "Parts", "copied", "load", "save"]


def copied(value: dict[str, Any]) -> dict[str, Any]:
    """A deep copy of JSON values."""
    copy: dict[str, Any] = json.loads(json.dumps(value))
    return copy

"""Who had what, in which order."""

from __future__ import annotations

from recgan.histories.rows import Strength, offsets_of, ordered_and_weighed, slices
from recgan.histories.table import DAY, Histories, weights_of_both
from recgan.histories.tastes import fingerprint, tastes

__all__ = [
    "DAY",
    "Histories",
    "Strength",
    "fingerprint",
    "offsets_of",
    "ordered_and_weighed",
    "slices",
    "tastes",
    "weights_of_both",
]

"""Popularity with a half-life: a bias of stage one, and the rival called Popular."""

from __future__ import annotations

import numpy as np

from recgan.histories import Histories

HALF_LIVES: tuple[float | None, ...] = (None, 365.0, 90.0, 30.0, 7.0, 3.0, 1.0)
"""Half-lives in days that validation chooses from; None never forgets."""


def decayed_counts(histories: Histories, half_life: float | None) -> np.ndarray:
    """Interactions of every item, those of older days counting less.

    Args:
        histories: interactions.
        half_life: days after which an interaction counts half, measured from the newest one; None counts all alike.

    Returns:
        Counts, (N,) float64.
    """
    return np.asarray(np.bincount(histories.items, histories.decay(half_life), minlength=histories.n_items))


def log_popularity(histories: Histories, half_life: float | None) -> np.ndarray:
    """Standardised logarithm of the decayed counts, (N,) float32."""
    counts = decayed_counts(histories, half_life)
    floor = counts[counts > 0].min(initial=1.0)
    values = np.log(counts + min(1.0, floor))
    return np.asarray((values - values.mean()) / (values.std() or 1.0), np.float32)

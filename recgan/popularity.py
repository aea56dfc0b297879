"""Popularity with a half-life: a bias of stage one, and the rival called Popular."""

from __future__ import annotations

import numpy as np

from recgan.histories import Histories

HALF_LIVES: tuple[float | None, ...] = (None, 365.0, 90.0, 30.0, 7.0, 3.0, 1.0)
"""Half-lives in days that validation chooses from; None never forgets."""

PRIOR = 10.0
"""Interactions that are spread as all were before the decayed ones are counted."""


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
    """Standardised logarithm of the counts and one more, or of the decayed counts and PRIOR, (N,) float32."""
    counts = np.asarray(histories.counts() + 1.0)
    if half_life is not None:
        counts = decayed_counts(histories, half_life) + PRIOR * counts / counts.sum()
    values = np.log(counts)
    return np.asarray((values - values.mean()) / (values.std() or 1.0), np.float32)

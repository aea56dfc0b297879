"""Rows of a table: what they count, how they are ordered, and how many are read at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from recgan.schema import WEIGHT, order_column

PORTION = 1 << 22
"""Rows of a large table that are read at once."""


@dataclass(frozen=True)
class Strength:
    """What the weight of an event is worth: `(weight / mean) ** power`, one rule for all that learns from it.

    Args:
        mean: weight of the usual training event, above 0.
        power: chosen on validation; at 0 all events are worth the same.

    Example:
        >>> Strength(mean=2.0, power=0.5).of(np.array([2.0, 8.0]))
        array([1., 2.], dtype=float32)
    """

    mean: float = 1.0
    power: float = 0.0

    def of(self, weights: np.ndarray) -> np.ndarray:
        """Strengths of positive weights, (rows,) float32."""
        return np.asarray((weights / self.mean) ** self.power, np.float32)


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Where pieces of these lengths begin and end when they stand one behind the other, (U + 1,) int64."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def slices(n_rows: int) -> list[slice]:
    """Slices of so many rows, each of which can be held in memory whatever lies on disk."""
    return [slice(start, min(start + PORTION, n_rows)) for start in range(0, n_rows, PORTION)]


def ordered_and_weighed(frame: pd.DataFrame) -> tuple[str | None, np.ndarray | None, np.ndarray | None]:
    """The column that orders the rows of a frame, its values, float64, and the weights, float32; None where missing."""
    column = order_column(frame)
    times = None if column is None else frame[column].to_numpy(np.float64)
    return column, times, frame[WEIGHT].to_numpy(np.float32) if WEIGHT in frame.columns else None

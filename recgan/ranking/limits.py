"""What bounds a list besides relevance: classes of which it may or must hold some, and pinned items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recgan.histories import Histories

ABSENT = -1
"""Item number that fills the end of a short list."""

WORD = 64


@dataclass(frozen=True)
class Classes:
    """How many items of a class a list may hold, and must.

    Args:
        members: which item belongs to which of C classes, (N, C) bool.
        most: a list holds at most so many, (C,) int64.
        least: a list holds at least so many, where they are to be had, (C,) int64.
    """

    members: np.ndarray
    most: np.ndarray
    least: np.ndarray

    @cached_property
    def words(self) -> np.ndarray:
        """The classes of every item as bits, (N, W) uint64 with W the classes by 64, rounded up."""
        return packed(self.members)

    @cached_property
    def wanted(self) -> np.ndarray:
        """The classes of which a list must hold some, as numbers, (M,) int64."""
        return np.flatnonzero(self.least)


@dataclass(frozen=True)
class Pins:
    """Items with a place of their own in the lists of B users.

    Args:
        items: item numbers, (B, P) int64, by ascending place; -1 behind a user's last one.
        places: from 0, (B, P) int64; whatever where no item is.
    """

    items: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, items: np.ndarray, places: np.ndarray) -> Pins:
        """Pins from item numbers in any order, -1 for none."""
        places = np.where(items == ABSENT, np.iinfo(np.int64).max, places)
        order = places.argsort(axis=1, kind="stable")
        return cls(np.take_along_axis(items, order, 1), np.take_along_axis(places, order, 1))

    def take(self, users: np.ndarray) -> Pins:
        """The pins of some of the users."""
        return Pins(self.items[users], self.places[users])

    def table(self, n_items: int) -> Histories:
        """The pinned items as a table."""
        return Histories.from_lists([row[row != ABSENT] for row in self.items], n_items)


def packed(flags: np.ndarray) -> np.ndarray:
    """Flags (..., C) bool as bits, (..., W) uint64.

    Example:
        >>> packed(np.array([[True, False, True]])).tolist()
        [[5]]
    """
    missing = -flags.shape[-1] % WORD
    bits = np.packbits(np.pad(flags, [(0, 0)] * (flags.ndim - 1) + [(0, missing)]), axis=-1, bitorder="little")
    return np.ascontiguousarray(bits).view("<u8").astype(np.uint64)

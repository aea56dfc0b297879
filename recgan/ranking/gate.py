"""Which candidates may stand at the next place of a list, by the rules, and what is missing among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recgan.ranking.limits import ABSENT, Classes, Pins, packed

NO_CLASSES = Classes(np.zeros((1, 0), bool), np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Pool:
    """What B lists are made from.

    Args:
        numbers: item numbers, (B, M) int64, -1 where none stands: first those that are weighed, then the others by
            descending relevance, last the pinned items.
        relevance: (B, M) float64, -inf where none stands.
        general: which candidates are known to be better than every item that is no candidate and could stand where they
            stand, (B, M) bool; the others are so only among those that fill a minimum.
        head: how many are weighed.
        n_pins: how many columns of pinned items there are.
        whole: no item but the candidates is left for a list, (B,) bool.
        helped: nor one that fills a minimum, (B,) bool.
    """

    numbers: np.ndarray
    relevance: np.ndarray
    general: np.ndarray
    head: int
    n_pins: int
    whole: np.ndarray
    helped: np.ndarray

    def take(self, rows: np.ndarray) -> Pool:
        """The candidates of some of the users."""
        arrays = (self.numbers, self.relevance, self.general, self.whole, self.helped)
        numbers, relevance, general, whole, helped = (array[rows] for array in arrays)
        return Pool(numbers, relevance, general, self.head, self.n_pins, whole, helped)


class Gate:
    """The rules over B growing lists, place by place.

    Args:
        classes: how many items of a class a list may and must hold, or None.
        pins: of the B users, or None; the last columns of the pool.
        pool: the candidates.
        n: length of the lists.
        early: for whom minima are filled from the first place on instead of as late as possible, (B,) bool.
    """

    def __init__(self, classes: Classes | None, pins: Pins | None, pool: Pool, n: int, early: np.ndarray) -> None:
        n_users, width = pool.numbers.shape
        self.head, self.chosen = pool.head, np.zeros(n_users, np.int64)
        self.stuck, self.lacks_help = np.zeros(n_users, bool), np.zeros(n_users, bool)
        self._pool, self._n, self._early, self._first_pin = pool, n, early, width - pool.n_pins
        self._places = np.empty((n_users, 0), np.int64) if pins is None else pins.places
        self._pinned = pool.numbers[:, self._first_pin :] != ABSENT
        self._next = np.zeros(n_users, np.int64)
        self._classes = classes or NO_CLASSES
        self._items = np.where(pool.numbers == ABSENT, 0, pool.numbers) if classes else np.zeros_like(pool.numbers)
        self._words = self._classes.words[self._items]  # (B, M, W)
        self._helps = self._classes.members[:, self._classes.wanted][self._items]  # (B, M, Q)
        members = self._classes.members[self._items[:, self._first_pin :]] & self._pinned[..., None]
        self._held = members.sum(axis=1)  # (B, C); of the pinned items from the start, wherever they stand
        self._beyond = (members & (self._places >= n)[..., None]).sum(axis=1)

    @property
    def full(self) -> np.ndarray:
        """The classes of which a list holds as many as it may, as bits, (B, W) uint64."""
        return packed(self._held >= self._classes.most)

    @property
    def short(self) -> np.ndarray:
        """How many items of the wanted classes are missing, (B, Q) int64."""
        wanted = self._classes.wanted
        return np.asarray(np.maximum(0, self._classes.least[wanted] - (self._held - self._beyond)[:, wanted]))

    def admitted(self, step: int, free: np.ndarray) -> np.ndarray:
        """Which candidates may stand at a place, (B, M) bool, of those that are free, (B, M) bool.

        None where the list is at its end, or where more candidates are needed to tell: the user is then stuck.
        """
        open_ = free & ~((self._words & self.full[:, None]) != 0).any(axis=2)
        open_[:, self._first_pin :] = False
        forced, helping = self._forced(step), self._helping(open_)
        helps, helped = helping.any(axis=1), self._pool.helped | self._pool.whole
        open_ = np.where((forced & helps)[:, None], helping, open_ & self._pool.general)
        lacks_help = forced & ~helps & ~helped
        lacks = lacks_help | ~(open_.any(axis=1) | self._pool.whole)
        due = self._due(step, ~(open_.any(axis=1) | lacks))
        self.lacks_help |= lacks_help & ~due & ~self.stuck
        self.stuck |= lacks & ~due
        open_[due] = False
        open_[due, self._first_pin + self._next[due]] = True
        open_[self.stuck] = False
        return np.asarray(open_)

    def add(self, columns: np.ndarray, there: np.ndarray) -> None:
        """Put a candidate (B,) into every list where one is left, (B,) bool."""
        rows = np.arange(len(columns))
        pinned, members = columns >= self._first_pin, self._classes.members[self._items[rows, columns]]
        ahead = np.flatnonzero(there & pinned)
        ahead = ahead[self._places[ahead, self._next[ahead]] >= self._n]
        self._beyond[ahead] -= members[ahead]
        self.chosen += there
        self._next += there & pinned
        self._held += members & (there & ~pinned)[:, None]

    def _forced(self, step: int) -> np.ndarray:
        """Whose minima need every place that is left, (B,) bool."""
        missing = self.short.sum(axis=1)
        to_come = self._pinned & (self._places < self._n) & (np.arange(self._pool.n_pins) >= self._next[:, None])
        left = self._n - step - to_come.sum(axis=1)
        return np.asarray((missing > 0) & (self._early | (missing >= left)))

    def _helping(self, open_: np.ndarray) -> np.ndarray:
        """Which candidates fill a minimum, (B, M) bool."""
        return np.asarray(open_ & (self._helps & (self.short > 0)[:, None]).any(axis=2))

    def _due(self, step: int, ended: np.ndarray) -> np.ndarray:
        """Whose next place is a pinned item's: it has come, or nothing else is left, (B,) bool."""
        due = np.zeros(len(ended), bool)
        rows = np.flatnonzero(self._next < self._pinned.sum(axis=1))
        due[rows] = ended[rows] | (self._places[rows, self._next[rows]] <= step)
        return due & ~self.stuck

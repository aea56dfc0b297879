"""Who had what, in which order: every user's items as one compressed table of numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recgan.histories.rows import Strength, offsets_of, ordered_and_weighed, slices
from recgan.schema import ITEM, TIMESTAMP, USER
from recgan.vocabulary import UNKNOWN, Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True)
class Histories:
    """The item numbers of U users, oldest first, stored one behind the other.

    Args:
        offsets: where each user's items begin and end, (U + 1,) int64.
        items: item numbers, (rows,) int64; int32 where they lie on disk.
        n_items: size N of the catalogue.
        times: time of every row in seconds (or its position), (rows,) float64; None when there is no order.
        clock: whether the times can be compared between users (seconds), or only within one (positions).
        weights: what every row counts, (rows,) float32, above 0; None: all alike.
    """

    offsets: np.ndarray
    items: np.ndarray
    n_items: int
    times: np.ndarray | None = None
    clock: bool = False
    weights: np.ndarray | None = None

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, users: Vocabulary, items: Vocabulary) -> Histories:
        """Histories of the known users and items of a frame; rows with an unknown one are left out.

        Args:
            frame: user_id, item_id and, where they exist, timestamp or position, and weight; any row order.
            users: numbers of the users, U of them.
            items: numbers of the items, N of them.

        Returns:
            Histories of all U users, rows of equal time in the order of the frame.

        Example:
            >>> frame = pd.DataFrame({"user_id": [1, 2, 1], "item_id": ["a", "b", "c"], "position": [1, 0, 0]})
            >>> histories = Histories.from_frame(frame, Vocabulary([1, 2]), Vocabulary(["a", "b", "c"]))
            >>> histories.of(0).tolist()
            [2, 0]
        """
        user, item = users.numbers(frame[USER]), items.numbers(frame[ITEM])
        column, times, weights = ordered_and_weighed(frame)
        known = (user != UNKNOWN) & (item != UNKNOWN)
        keys = (user[known],) if times is None else (times[known], user[known])
        order = np.flatnonzero(known)[np.lexsort(keys)]
        offsets = offsets_of(np.bincount(user[known], minlength=len(users)))
        times, weights = (None if one is None else one[order] for one in (times, weights))
        return cls(offsets, item[order], len(items), times, column == TIMESTAMP, weights)

    @classmethod
    def from_lists(cls, lists: list[np.ndarray], n_items: int) -> Histories:
        """Histories of B users from B arrays of item numbers, each oldest first."""
        offsets = offsets_of(np.array([len(one) for one in lists], np.int64))
        items = np.concatenate([np.empty(0, np.int64), *lists]).astype(np.int64)
        return cls(offsets, items, n_items)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def ordered(self) -> bool:
        """Whether the rows carry a time."""
        return self.times is not None

    @property
    def newest(self) -> float:
        """The last time of a row; minus infinity without rows or times."""
        return -np.inf if self.times is None else float(self.times.max(initial=-np.inf))

    @property
    def oldest(self) -> float:
        """The first time of a row; infinity without rows or times."""
        return np.inf if self.times is None else float(self.times.min(initial=np.inf))

    @property
    def lengths(self) -> np.ndarray:
        """Number of items of every user, (U,) int64."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """User number of every row, (rows,) int64."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def pairs(self) -> np.ndarray:
        """One number for the user and item of every row, (rows,) int64."""
        return np.asarray(self.rows * self.n_items + self.items)

    @property
    def places(self) -> np.ndarray:
        """Place of every row in its user's history, from 0 for the oldest, (rows,) int64."""
        return np.asarray(np.arange(len(self.items)) - np.repeat(self.offsets[:-1], self.lengths))

    def counts(self) -> np.ndarray:
        """Number of rows of every item, (N,) int64."""
        counts = np.zeros(self.n_items, np.int64)
        for some in slices(len(self.items)):
            counts += np.bincount(self.items[some], minlength=self.n_items)
        return counts

    def decay(self, half_life: float | None, some: slice = slice(None)) -> np.ndarray:
        """Weight of every row by its age before the newest one.

        Args:
            half_life: days after which a row counts half; None, or without times, all count alike.
            some: which rows are asked for.

        Returns:
            Weights in (0, 1], (rows,) float64.
        """
        if half_life is None or self.times is None or not len(self.times):
            return np.ones(len(self.items[some]))
        return np.asarray(np.exp2((self.times[some] - self.newest) / DAY / half_life))

    def ranks(self, keys: np.ndarray) -> np.ndarray:
        """Rank of every row by its key (rows,) among the rows of its user, from 0 for the smallest, (rows,) int64."""
        ranks = np.empty(len(keys), np.int64)
        ranks[np.lexsort((keys, self.rows))] = self.places
        return ranks

    def groups(self, users: np.ndarray, window: int, most_items: int) -> list[np.ndarray]:
        """Some users in groups of similar length, so that little is padded.

        Args:
            users: user numbers, (B,) int64.
            window: most items that are read of a history.
            most_items: of a group, padding counted; one user may have more.

        Returns:
            User numbers of every group, from short histories to long ones.
        """
        lengths = np.minimum(self.offsets[users + 1] - self.offsets[users], window)
        order = np.argsort(lengths, kind="stable")
        users, lengths = users[order], lengths[order]
        groups, start = [], 0
        while start < len(users):
            ahead = lengths[start : start + most_items]
            size = max(1, int((np.arange(1, len(ahead) + 1) * ahead <= most_items).sum()))
            groups.append(users[start : start + size])
            start += size
        return groups

    def of(self, user: int) -> np.ndarray:
        """Item numbers of one user, oldest first, (length,) int64."""
        return np.asarray(self.items[self.offsets[user] : self.offsets[user + 1]], np.int64)

    def take(self, users: np.ndarray) -> Histories:
        """The histories of some users, in the order given, repeats allowed.

        Args:
            users: user numbers, (B,) int64.

        Returns:
            Histories of B users.
        """
        users = np.asarray(users, np.int64)
        lengths = self.offsets[users + 1] - self.offsets[users]
        offsets = offsets_of(lengths)
        where = np.arange(offsets[-1]) + np.repeat(self.offsets[users] - offsets[:-1], lengths)
        times = None if self.times is None else self.times[where]
        weights = None if self.weights is None else self.weights[where]
        return Histories(
            offsets, self.items[where].astype(np.int64, copy=False), self.n_items, times, self.clock, weights
        )

    def spread(self, users: np.ndarray, n_users: int) -> Histories:
        """The same rows as those of other users.

        Args:
            users: number of each of the B users among those, ascending, (B,) int64.
            n_users: how many there are; the others have no rows.
        """
        lengths = np.zeros(n_users, np.int64)
        lengths[users] = self.lengths
        return replace(self, offsets=offsets_of(lengths))

    def joined(self, other: Histories) -> Histories:
        """Every user's items followed by those of another table, without times; rows without a weight count 1."""
        order = np.argsort(np.concatenate([self.rows, other.rows]), kind="stable")
        items = np.concatenate([self.items, other.items])[order]
        weights = weights_of_both(self, other)
        weights = None if weights is None else weights[order]
        return Histories(offsets_of(self.lengths + other.lengths), items, self.n_items, weights=weights)

    def part(self, kept: np.ndarray) -> Histories:
        """The same users with only some rows: those marked in `kept`, (rows,) bool, or so numbered, user by user."""
        offsets = offsets_of(np.bincount(self.rows[kept], minlength=len(self)))
        times = None if self.times is None else self.times[kept]
        weights = None if self.weights is None else self.weights[kept]
        return Histories(offsets, self.items[kept], self.n_items, times, self.clock, weights)

    def distinct(self) -> Histories:
        """The same users with every item once, where it is newest."""
        keys = self.pairs[::-1]
        newest = np.zeros(len(keys), bool)
        newest[len(keys) - 1 - np.unique(keys, return_index=True)[1]] = True
        return self if newest.all() else self.part(newest)

    def strengthened(self, rule: Strength) -> Histories:
        """The same with strengths in the place of raw weights; without weights where the rule makes all alike."""
        if self.weights is None or not rule.power:
            return replace(self, weights=None)
        return replace(self, weights=rule.of(self.weights))

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """Which items stand in their user's history: item numbers (U, K) int64, negative for none -> (U, K) bool."""
        wanted = np.arange(len(self))[:, None] * self.n_items + numbers
        return np.isin(wanted, self.pairs) & (numbers >= 0)

    def matrix(self) -> csr_matrix:
        """The users' items as ones, (U, N) float32; an item that stands twice counts once."""
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self.items), np.float32)
        matrix = csr_matrix((ones, self.items.copy(), self.offsets.copy()), shape=(len(self), self.n_items))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix

    def sums(self, table: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Sums of a table's rows over the users' distinct items.

        Args:
            table: a row an item, (N, R) float32.
            weights: of the users, (U,) float32, by which the rows are multiplied; None for 1.

        Returns:
            (U, R) float32.

        Example:
            >>> Histories.from_lists([np.array([2, 0, 2])], 3).sums(np.eye(3, dtype=np.float32)).tolist()
            [[1.0, 0.0, 1.0]]
        """
        if len(self) == 1:  # many times faster than a sparse matrix of one row, and the same to the bit
            rows = table[np.unique(self.items)]
            return np.asarray((rows if weights is None else rows * weights[0]).sum(axis=0, dtype=np.float32)[None])
        matrix = self.matrix()
        if weights is not None:
            matrix.data = np.repeat(weights, np.diff(matrix.indptr))
        return np.asarray(matrix @ table, np.float32)

    def weighted(self) -> csr_matrix:
        """The users' items as their weights, (U, N) float32; those of an item that stands twice are added up."""
        from scipy.sparse import csr_matrix

        if self.weights is None:
            return self.matrix()
        shape = (len(self), self.n_items)
        matrix = csr_matrix((self.weights.copy(), self.items.copy(), self.offsets.copy()), shape=shape)
        matrix.sum_duplicates()
        return matrix

    def window(self, users: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The newest items of some users, padded on the right.

        Args:
            users: user numbers, (B,) int64.
            length: the most items a user.

        Returns:
            Item numbers, (B, L) int64, oldest first, and a mask, (B, L) bool, True where an item stands; L is the
            longest of the lengths met, at most `length`, at least 1. Padding is told by the mask alone.
        """
        where, mask = self._places(users, length)
        items = np.zeros(mask.shape, np.int64)
        items[mask] = self.items[where[mask]]
        return items, mask

    def window_weights(self, users: np.ndarray, length: int) -> np.ndarray:
        """Weights of the items of `window`, (B, L) float32; 0 where none stands, else 1 without weights."""
        where, mask = self._places(users, length)
        weights = mask.astype(np.float32)
        if self.weights is not None:
            weights[mask] = self.weights[where[mask]]
        return weights

    def _places(self, users: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the newest items of some users, and where there is one, (B, L) each."""
        kept = np.minimum(self.offsets[users + 1] - self.offsets[users], length)
        column = np.arange(max(1, int(kept.max(initial=0))))
        return (self.offsets[users + 1] - kept)[:, None] + column, column < kept[:, None]


def weights_of_both(first: Histories, second: Histories) -> np.ndarray | None:
    """Weights of the rows of one table and then of another, 1 where only the other has any; None without any."""
    if first.weights is None and second.weights is None:
        return None
    return np.concatenate(
        [np.ones(len(one.items), np.float32) if one.weights is None else one.weights for one in (first, second)]
    )

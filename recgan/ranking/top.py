"""The largest scores of every row without sorting a row; with a stated rule for ties.

The k-th largest of the maxima of groups of items bounds the k-th largest score from below. Few groups reach the bound,
and only what is in them is looked at and sorted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recgan.ranking.blocks import ABSENT

GROUPS = 32
"""Groups of items, by the k best that are wanted."""
LOWEST = np.float32(-3.0e38)
EMPTY = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Pairs:
    """Users with items that may be among their k best, user by user.

    Args:
        rows: the user's row, ascending, (P,) int64.
        items: item numbers, (P,) int64.
        values: scores or keys that are ordered like them, (P,).
    """

    rows: np.ndarray
    items: np.ndarray
    values: np.ndarray

    def take(self, kept: np.ndarray) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.rows[kept], self.items[kept], self.values[kept])

    @classmethod
    def joined(cls, parts: list[Pairs]) -> Pairs:
        """All pairs of some parts, user by user."""
        if len(parts) == 1:
            return parts[0]
        rows = np.concatenate([part.rows for part in parts])
        order = np.argsort(rows.astype(np.uint16) if len(rows) and rows.max() < 1 << 16 else rows, kind="stable")
        items, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("items", "values"))
        return cls(rows[order], items[order], values[order])


def top_items(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest scores of every row; equal ones by ascending item number.

    Args:
        scores: (B, N) float32; -inf where an item must not be listed.
        k: how many.

    Returns:
        Item numbers (B, min(k, N)) int64 and scores, descending; -1 where only -inf was left.

    Example:
        >>> top_items(np.array([[1.0, 3.0, 3.0, -np.inf]], np.float32), 4)[0].tolist()
        [[1, 2, 0, -1]]
    """
    k = min(k, scores.shape[1])
    if not k or not len(scores):
        return np.full((len(scores), k), ABSENT, np.int64), np.full((len(scores), k), -np.inf, np.float32)
    groups = Groups.of(scores, k)
    bound = np.maximum(largest(groups.maxima, k).min(axis=1), LOWEST)
    return lists(groups.reaching(bound), len(scores), k)


@dataclass(frozen=True)
class Groups:
    """A block of scores, cut into groups of items: item i stands in group i modulo G; what fills no group is alone.

    Args:
        cube: scores, or keys that are ordered like them, (B, size, G).
        alone: those of the last items, fewer than the size of a group, (B, rest).
        maxima: of the groups and, behind them, of those alone, (B, G + rest).
    """

    cube: np.ndarray
    alone: np.ndarray
    maxima: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, k: int) -> Groups:
        """Groups of the scores (B, m) that are fit for the k best."""
        n_users, n_items = scores.shape
        size = max(1, n_items // (GROUPS * max(1, k)))
        whole = n_items // size * size
        cube, alone = scores[:, :whole].reshape(n_users, size, whole // size), scores[:, whole:]
        maxima = scores if size == 1 else np.concatenate([cube.max(axis=1), alone], axis=1)
        return cls(cube, alone, maxima)

    def reaching(self, bound: np.ndarray, first: int = 0) -> Pairs:
        """The pairs whose scores reach the bound of their row, (B,); `first` is the number of the first item."""
        (_, size, n_groups), rest = self.cube.shape, self.alone.shape[1]
        flat = np.flatnonzero(self.maxima >= bound[:, None])
        rows = flat // (n_groups + rest)
        groups = flat - rows * (n_groups + rest)
        if size == 1:
            return Pairs(rows, groups + first, self.maxima.ravel()[flat])
        if rest:
            lonely = groups >= n_groups
            single = Pairs(
                rows[lonely], groups[lonely] + (size - 1) * n_groups + first, self.maxima.ravel()[flat[lonely]]
            )
            rows, groups = rows[~lonely], groups[~lonely]
        members = self.cube[rows, :, groups]  # (H, size)
        hit = np.flatnonzero(members >= bound[rows][:, None])
        group = hit // size
        items = groups[group] + (hit - group * size) * n_groups + first
        found = Pairs(rows[group], items, members.ravel()[hit])
        return Pairs.joined([found, single]) if rest else found


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """The k largest of every row, in no order, or all where there are fewer."""
    place = values.shape[1] - k
    return values if place <= 0 else np.partition(values, place, axis=1)[:, place:]


def lists(pairs: Pairs, n_rows: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best pairs of every row, by score and then by item: numbers and scores, (n_rows, k) each.

    One integer holds both in their order: the bits of a float grow with it, once those of negative ones are flipped.
    """
    bits = _flipped((pairs.values + np.float32(0.0)).view(np.int32))  # + 0: no negative zero
    keys = padded(pairs.rows, (-bits.astype(np.int64) << 32) + pairs.items, n_rows, k, EMPTY)
    keys.sort(axis=1)
    keys = keys[:, :k]
    there = keys != EMPTY
    scores = _flipped((-(keys >> 32)).astype(np.int32)).view(np.float32)
    return np.where(there, keys & 0xFFFFFFFF, ABSENT), np.where(there, scores, np.float32(-np.inf))


def padded(rows: np.ndarray, values: np.ndarray, n_rows: int, least: int, empty: int) -> np.ndarray:
    """What belongs to every row (P,), ascending, as a table (n_rows, at least `least`) filled up with `empty`."""
    first = np.searchsorted(rows, np.arange(n_rows + 1))
    table = np.full((n_rows, max(least, int(np.diff(first).max(initial=0)))), empty, values.dtype)
    table[rows, np.arange(len(rows)) - first[rows]] = values
    return table


def _flipped(bits: np.ndarray) -> np.ndarray:
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)

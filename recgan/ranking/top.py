"""The largest scores of every row, and of a whole catalogue, without sorting a row; with a stated rule for ties.

The k-th largest of the maxima of groups of items bounds the k-th largest score from below. Few scores reach the bound,
and only those are sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from recgan.ranking.blocks import ABSENT

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS, BLOCK = 1 << 21, 1 << 14
"""Scores, and items, that are held at once: few enough to stay in a processor's cache."""
GROUPS = 8
"""Groups of items, by the k best that are wanted."""
LOWEST = np.float32(-3.0e38)
EMPTY = np.iinfo(np.int64).max
Mask = Callable[[np.ndarray, slice, int], None]
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


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
    bound = _largest(_maxima(scores, k), k).min(axis=1)
    return _lists(_reaching(scores, bound), len(scores), k)


def scan(
    columns: np.ndarray, queries: np.ndarray, k: int, extra: csr_matrix | None = None, mask: Mask | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k items with the largest inner products, found by reading every item.

    In one thread that takes about as long as the matrix product.

    Args:
        columns: item vectors, (N, Q) float32, finite.
        queries: (B, Q) float32, finite.
        k: how many.
        extra: what is added to the inner products, (B, N) sparse float32.
        mask: called with scores (b, m), the slice of the B users and the first of the m items; sets in place what
            must not come to -inf.

    Returns:
        Item numbers (B, min(k, N)) int64 and scores, float32, descending, equal ones by ascending number; -1 and -inf
        behind the end of a short list.

    Example:
        >>> scan(np.eye(3, dtype=np.float32), np.array([[0.1, 0.9, 0.5]], np.float32), 2)[0].tolist()
        [[1, 2]]
    """
    k = min(k, len(columns))
    numbers = np.full((len(queries), k), ABSENT, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    vectors, step = torch.from_numpy(columns), CELLS // min(BLOCK, max(1, len(columns)))
    for start in range(0, len(queries) if k else 0, step):
        users = slice(start, min(start + step, len(queries)))
        added = None if extra is None else extra[users]
        pairs = _shortlist(vectors, torch.from_numpy(queries[users]), k, added, mask, users)
        numbers[users], scores[users] = _lists(pairs, users.stop - start, k)
    return numbers, scores


def _shortlist(
    vectors: torch.Tensor,
    queries: torch.Tensor,
    k: int,
    extra: csr_matrix | None,
    mask: Mask | None,
    users: slice,
) -> Pairs:
    """Every pair that may be among the k best of its user, user by user: users, items and scores, (P,) each.

    The items are read in blocks; what is known of the k-th best so far decides what of a block is kept.
    """
    maxima = np.empty((len(queries), 0), np.float32)
    kept: list[Pairs] = []
    for first in range(0, len(vectors), BLOCK):
        block = slice(first, min(first + BLOCK, len(vectors)))
        scores = (queries @ vectors[block].T).numpy()
        if extra is not None:
            scores += (extra if len(vectors) <= BLOCK else extra[:, block]).toarray()
        if mask is not None:
            mask(scores, users, first)
        maxima = _largest(np.concatenate([maxima, _maxima(scores, k)], axis=1), k)
        bound = maxima.min(axis=1) if maxima.shape[1] == k else np.full(len(maxima), -np.inf, np.float32)
        kept.append(_reaching(scores, bound, first))
    return kept[0] if len(kept) == 1 else _joined(kept)


def _maxima(scores: np.ndarray, k: int) -> np.ndarray:
    """Maxima of groups of items, (B, G)."""
    n_items = scores.shape[1]
    size = max(1, n_items // (GROUPS * k))
    n_groups = n_items // size
    if size == 1:
        return scores
    grouped = scores[:, : size * n_groups].reshape(len(scores), size, n_groups).max(axis=1)
    return np.concatenate([grouped, scores[:, size * n_groups :]], axis=1)


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """The k largest of every row, in no order, or all where there are fewer."""
    place = values.shape[1] - k
    return values if place <= 0 else np.partition(values, place, axis=1)[:, place:]


def _reaching(scores: np.ndarray, bound: np.ndarray, first: int = 0) -> Pairs:
    """The finite scores (B, m) that reach the bound of their row (B,), row by row."""
    flat = np.flatnonzero(scores >= np.maximum(bound, LOWEST)[:, None])
    rows = flat // scores.shape[1]
    return rows, flat - rows * scores.shape[1] + first, scores.ravel()[flat]


def _joined(parts: list[Pairs]) -> Pairs:
    rows, items, values = (np.concatenate(some) for some in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    return rows[order], items[order], values[order]


def _lists(pairs: Pairs, n_rows: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best pairs of every row, by score and then by item: numbers and scores, (n_rows, k) each.

    One integer holds both in their order: the bits of a float grow with it, once those of negative ones are flipped.
    """
    rows, items, values = pairs
    first = np.searchsorted(rows, np.arange(n_rows + 1))
    keys = np.full((n_rows, max(k, int(np.diff(first).max(initial=0)))), EMPTY)
    bits = _flipped((values + np.float32(0.0)).view(np.int32))  # + 0: no negative zero
    keys[rows, np.arange(len(rows)) - first[rows]] = (-bits.astype(np.int64) << 32) + items
    keys.sort(axis=1)
    keys = keys[:, :k]
    there = keys != EMPTY
    scores = _flipped((-(keys >> 32)).astype(np.int32)).view(np.float32)
    return np.where(there, keys & 0xFFFFFFFF, ABSENT), np.where(there, scores, np.float32(-np.inf))


def _flipped(bits: np.ndarray) -> np.ndarray:
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)

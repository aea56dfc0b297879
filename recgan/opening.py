"""The order in which strangers, of whom nothing is known, are shown what is popular."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from recgan.histories import Histories
from recgan.popularity import row_weights

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEFT = 0.7
"""What is left of a user for the next items when one was chosen that the user has."""

DEPTH, BLOCK = 200, 10
"""Items that are chosen, and of how many at a time the most popular stands first: the cover is that of a whole list."""

MOST_ROWS = 1 << 22
"""Rows of the histories that are looked at, those of random users where there are more."""


def opening(histories: Histories, popularity: np.ndarray, half_life: float | None = None) -> np.ndarray:
    """What an item's popularity gains or loses for strangers, so that few of them get a list without a hit.

    The most popular items are liked by the same people. So the first items are the greedy cover of the histories, in
    which every item that a user has leaves `LEFT` of what the user counts (with 0 it is the cover of Nemhauser, Wolsey
    and Fisher, Mathematical Programming 1978, with 1 the popular list). They take the values of the most popular ones.

    Args:
        histories: interactions of N items.
        popularity: value of every item, (N,) float32.
        half_life: days after which an interaction counts half; None counts all alike.

    Returns:
        (N,) float32; 0 for all but the first items and those that stood in their places.

    Example:
        >>> lists = [[0, 1], [0, 1], [0, 1], [0], [2], [2]]
        >>> histories = Histories.from_lists([np.array(one) for one in lists], 3)
        >>> opening(histories, np.array([2.0, 1.0, 0.5], np.float32)).tolist()
        [0.0, 0.0, 0.0]
        >>> cover(histories.matrix(), 3, left=0.0).tolist()
        [0, 2]
    """
    order = cover(_sampled(histories, half_life), min(DEPTH, histories.n_items))
    blocks = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
    first = [block[np.lexsort((block, -popularity[block]))] for block in blocks]
    chosen = np.concatenate([np.empty(0, np.int64), *first])
    usual = np.argsort(-popularity, kind="stable")
    others = usual[~np.isin(usual, chosen)]
    values = np.empty_like(popularity)
    values[np.concatenate([chosen, others])] = popularity[usual]
    return np.asarray(values - popularity, np.float32)


def cover(matrix: csr_matrix, most: int, left: float = LEFT) -> np.ndarray:
    """Items one after the other, each that which those count most for who have it and few of the items before.

    Args:
        matrix: what every pair counts, (U, N), not negative.
        most: how many items.
        left: what is left of a user with every item that the user has, from 0 to 1.

    Returns:
        Item numbers, at most so many, int64; none that counts for nobody.
    """
    by_item, gains = matrix.tocsc(), np.asarray(matrix.sum(axis=0), np.float64).ravel()
    least = 1e-9 * max(1.0, matrix.data.max(initial=0.0))
    count, chosen = np.ones(matrix.shape[0]), list[int]()
    while len(chosen) < most and gains.max() > least:
        best = int(gains.argmax())
        chosen.append(best)
        users = by_item.indices[by_item.indptr[best] : by_item.indptr[best + 1]]
        theirs = matrix[users]
        lost = np.repeat((1.0 - left) * count[users], np.diff(theirs.indptr))
        gains -= np.bincount(theirs.indices, theirs.data * lost, len(gains))
        gains[best] = -np.inf
        count[users] *= left
    return np.array(chosen, np.int64)


def _sampled(histories: Histories, half_life: float | None) -> csr_matrix:
    """What every pair counts, (U, N), of as many random users as may be looked at."""
    counted = replace(histories, weights=row_weights(histories, half_life))
    share = MOST_ROWS / max(1, len(histories.items))
    if share < 1.0:
        some = np.random.default_rng(0).permutation(len(histories))[: int(share * len(histories))]
        counted = counted.take(np.sort(some))
    return counted.weighted()

"""Sparse rows from counts: what is had together, and what follows what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recgan.histories import Histories
from recgan.linear.blocks import SparseRows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ENTRIES = 8_000_000
"""Most entries of the rows together, where `keep` is left open."""

PAIRS, LONGEST = 1_000_000_000, 5000
"""Most pairs of items of one user, those of all users together, that `neighbours` counts; and most items of a user, as
who has everything tells of no pair."""

STEPS = 100_000_000
"""Most pairs that `transition_counts` counts: of more interactions it looks less far ahead."""

BLOCK = 1024


def neighbours(
    histories: Histories,
    *,
    user_power: float = 0.65,
    from_power: float = 0.5,
    to_power: float = 0.35,
    shrinkage: float = 0.0,
    keep: int | None = None,
) -> SparseRows:
    """Co-occurrence counts for histories without order, with the sizes of users and items divided out.

    The cost of a user is the square of the history's length; where all that is too much, the longest histories are cut.

    `sum over users of 1[i and j] / n_u^user_power`, divided by `(n_i + shrinkage)^from_power` and
    `(n_j + shrinkage)^to_power`; the linear filter of GF-CF (Shen et al., CIKM 2021) has the powers 1, .5 and .5, the
    cosine 0, .5 and .5.

    Args:
        histories: training interactions.
        user_power: how strongly the length of a user's history is divided out.
        from_power: how strongly the popularity of the item in the history is divided out.
        to_power: how strongly the popularity of the listed item is divided out.
        shrinkage: counts added to both items.
        keep: largest entries kept a row; None follows from the number of items.

    Returns:
        The block, with at most N x keep entries.
    """
    from scipy.sparse import vstack

    histories = within(histories, PAIRS)
    left = normalised(histories, 0.0, from_power, shrinkage).T.tocsr()
    right = normalised(histories, user_power, to_power, shrinkage)
    keep = keep or kept_entries(histories.n_items)
    blocks = []
    for start in range(0, histories.n_items, BLOCK):
        part = (left[start : start + BLOCK] @ right).tocsr()
        rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr)) + start
        part.data[rows == part.indices] = 0.0
        blocks.append(largest(part, keep))
    return SparseRows(vstack(blocks, format="csr"))


def within(histories: Histories, most_pairs: int) -> Histories:
    """The histories, the longest of them cut to as many items as leave so many pairs: the newest, or random ones.

    Args:
        histories: interactions of U users.
        most_pairs: sum of the squares of the lengths that is allowed.

    Returns:
        The same object where nothing is cut.
    """
    lengths = histories.lengths
    longest = int(lengths.max(initial=1))

    def fits(most: int) -> bool:
        return float(np.square(np.minimum(lengths, most), dtype=np.float64).sum()) <= most_pairs

    if longest <= LONGEST and fits(longest):
        return histories
    low, high = 1, min(longest, LONGEST) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    rows = np.arange(len(histories.items))
    keys = -rows if histories.ordered else np.random.default_rng(0).random(len(rows))
    return histories.part(histories.ranks(keys) < low)


def normalised(histories: Histories, user_power: float, item_power: float, shrinkage: float = 0.0) -> csr_matrix:
    """Interactions, by weight, over powers of the counts of users and items.

    Args:
        histories: interactions of U users over N items.
        user_power: how strongly the length of a user's history is divided out.
        item_power: how strongly the popularity of an item is divided out.
        shrinkage: counts added to every item.

    Returns:
        Weights, (U, N) sparse float32.
    """
    matrix = histories.weighted()
    users = np.maximum(matrix.getnnz(axis=1), 1.0) ** -user_power
    items = np.maximum(matrix.getnnz(axis=0) + shrinkage, 1.0) ** -item_power
    matrix.data = (np.repeat(users, np.diff(matrix.indptr)) * items[matrix.indices] * matrix.data).astype(np.float32)
    return matrix


def transition_counts(
    histories: Histories,
    *,
    reach: int = 30,
    gap_decay: float = 0.9,
    user_power: float = 0.0,
    half_life: float | None = None,
) -> csr_matrix:
    """Decayed counts of what comes within `reach` steps after an item.

    `T[i, j] = sum over users and gaps g of gap_decay^(g - 1) w_j 1[i g steps before j] / n_u^user_power`, where w_j is
    the weight of the later event.

    Args:
        histories: training interactions, oldest first.
        reach: longest gap in steps; shorter where that would be more than `STEPS` pairs.
        gap_decay: weight lost with every step of the gap, in (0, 1].
        user_power: how strongly the length of a user's history is divided out.
        half_life: days after which a transition counts half, measured from the newest interaction; None: all alike.

    Returns:
        Counts, (N, N) sparse float64, from the earlier item (row) to the later one.
    """
    from scipy.sparse import csr_matrix

    items, users = histories.items, histories.rows
    weight = np.maximum(histories.lengths, 1)[users] ** -float(user_power) * histories.decay(half_life)
    if histories.weights is not None:
        weight = weight * histories.weights
    parts = [csr_matrix((histories.n_items, histories.n_items), dtype=np.float64)]
    reach = min(reach, max(1, STEPS // max(1, len(items))))
    for gap in range(1, min(reach, int(histories.lengths.max(initial=0)) - 1) + 1):
        same = users[gap:] == users[:-gap]
        pairs = (items[:-gap][same], items[gap:][same])
        parts.append(csr_matrix((weight[gap:][same] * gap_decay ** (gap - 1), pairs), shape=parts[0].shape))
    return _sum(parts)


def transitions(
    histories: Histories,
    *,
    backward: float = 0.2,
    shrinkage: float = 60.0,
    from_power: float = 0.7,
    to_power: float = 0.3,
    history_decay: float = 0.6,
    keep: int | None = None,
    counts: csr_matrix | None = None,
) -> SparseRows:
    """Shrunk, directed transition counts, with the popularity of both items divided out.

    `(T[i, j] + backward T[j, i]) / ((n_i + shrinkage)^from_power (n_j + shrinkage)^to_power)`.

    Args:
        histories: training interactions, oldest first.
        backward: weight of a transition read against time, in [0, 1].
        shrinkage: counts added to both items.
        from_power: how strongly the popularity of the earlier item is divided out.
        to_power: how strongly the popularity of the later item is divided out.
        history_decay: weight lost by a history item with every newer one, in (0, 1].
        keep: largest entries kept a row; None follows from the number of items.
        counts: T from `transition_counts`; None for its defaults.

    Returns:
        The block, with at most N x keep entries.
    """
    from scipy.sparse import vstack

    forward = transition_counts(histories) if counts is None else counts
    behind, keep = forward.T.tocsr(), keep or kept_entries(histories.n_items)
    popularity = histories.counts() + shrinkage
    blocks = []
    for start in range(0, histories.n_items, BLOCK):
        both = (forward[start : start + BLOCK] + backward * behind[start : start + BLOCK]).tocsr()
        rows = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr)) + start
        both.data = both.data / (popularity[rows] ** from_power * popularity[both.indices] ** to_power)
        both.data[rows == both.indices] = 0.0
        blocks.append(largest(both.astype(np.float32), keep))
    return SparseRows(vstack(blocks, format="csr"), history_decay)


def kept_entries(n_items: int) -> int:
    """Entries a row, from 20 for huge catalogues to 400 for small ones, so that the whole stays within ENTRIES."""
    return int(np.clip(ENTRIES // n_items, 20, 400))


def _sum(parts: list[csr_matrix]) -> csr_matrix:
    """The sum, by halves: every entry is merged log(parts) times instead of once a part."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return _sum(parts[:middle]) + _sum(parts[middle:])


def largest(matrix: csr_matrix, keep: int) -> csr_matrix:
    """The `keep` largest positive entries of every row; of equal ones those of the smaller columns."""
    from scipy.sparse import csr_matrix

    least = np.zeros(matrix.shape[0], matrix.dtype)
    for row in np.flatnonzero(np.diff(matrix.indptr) > keep):
        least[row] = np.partition(matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]], -keep)[-keep]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    some = np.flatnonzero((matrix.data >= least[rows]) & (matrix.data > 0))
    order = some[np.lexsort((matrix.indices[some], -matrix.data[some], rows[some]))]
    first = np.searchsorted(rows[order], rows[order])
    kept = order[np.arange(len(order)) - first < keep]
    return csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape)

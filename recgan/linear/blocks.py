"""The two shapes of the linear block.

`LowRank` scores a history by an inner product of R columns, so it lives beside the generated vectors in one search.
`SparseRows` keeps the strongest neighbours of every item and never forms a dense N x N matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from recgan.histories import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class LowRank:
    """Scores `sum over the history of fold[h]`, times `columns[i]`.

    Args:
        fold: maps a history to a query, (N, R) float32.
        columns: what the query is compared with, (N, R) float32.
    """

    fold: np.ndarray
    columns: np.ndarray

    def leading(self, rank: int) -> LowRank:
        """The block of the first `rank` columns."""
        return LowRank(*(np.ascontiguousarray(part[:, :rank]) for part in (self.fold, self.columns)))

    def queries(self, histories: Histories) -> np.ndarray:
        """Queries of B users, (B, R) float32: the sum of the fold rows of their distinct items, by weight."""
        if histories.weights is None:
            return histories.sums(self.fold)
        return np.asarray(histories.weighted() @ self.fold, np.float32)

    def scores(self, histories: Histories) -> np.ndarray:
        """Scores of every item for B users, (B, N) float32."""
        return np.asarray(self.queries(histories) @ self.columns.T, np.float32)


@dataclass(frozen=True)
class SparseRows:
    """Scores `sum over the history of decay ** age(h) * rows[h, i]`; the newest item has age 0.

    Args:
        rows: the strongest neighbours of every item, (N, N) sparse float32, non-negative.
        decay: how much less an item counts for every newer one, in (0, 1]; 1 where there is no order.
    """

    rows: csr_matrix
    decay: float = 1.0

    @cached_property
    def sorted_rows(self) -> csr_matrix:
        """The rows in ascending order of the columns, in which single entries are found quickly."""
        return self.rows.sorted_indices()

    def weight(self, age: np.ndarray) -> np.ndarray:
        """What an item counts that is so many places older than the newest, any shape, float32."""
        return np.asarray(np.power(self.decay, np.minimum(age, 200)), np.float32)

    def weights(self, histories: Histories) -> csr_matrix:
        """Weight of every history item, (B, N) sparse float32; a repeated item keeps its newest weight."""
        from scipy.sparse import csr_matrix

        shape = (len(histories), histories.n_items)
        if self.decay == 1.0:
            return histories.weighted()
        age = np.repeat(histories.offsets[1:], histories.lengths) - 1 - np.arange(len(histories.items))
        keys = histories.pairs
        newest = np.zeros(len(keys), bool)
        newest[len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]] = True
        weights = self.weight(age[newest])
        if histories.weights is not None:
            weights = weights * histories.weights[newest]
        return csr_matrix((weights, (histories.rows[newest], histories.items[newest])), shape=shape)

    def scores(self, histories: Histories) -> csr_matrix:
        """Scores of the neighbours for B users, (B, N) sparse float32; items without an entry score 0."""
        return (self.weights(histories) @ self.rows).tocsr()

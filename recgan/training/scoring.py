"""What one block alone lists for the validation users: from all its scores, or by search in a large catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from recgan.histories import Histories
from recgan.linear import Factors, LowRank, SparseRows
from recgan.ranking import ABSENT, Blocks, Catalogue, Query, top_items
from recgan.ranking.top import Pairs, lists

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WHOLE = 30_000
"""Catalogues up to this size are scored whole."""


class Scores(Protocol):
    """What a block says of every item for some users."""

    def best(self, k: int) -> np.ndarray:
        """Item numbers of the k best that are not blocked, equal ones by number, (B, k) int64, -1 behind the end."""

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """Scores of some items, (B, K) int64 -> (B, K) float32."""


Scorer = Callable[[Query], Scores]


class ByColumns:
    """Of a block whose scores are inner products with its columns.

    Args:
        columns: one row an item, (N, R) float32.
        queries: maps a query to what the columns are multiplied with, (B, R) float32.
    """

    def __init__(self, columns: np.ndarray, queries: Callable[[Query], np.ndarray]) -> None:
        self.columns = columns
        self._queries = queries
        self._catalogue = Catalogue(columns)

    def __call__(self, query: Query) -> Scores:
        """Scores for the users of a query."""
        wanted = self._queries(query)
        if len(self.columns) <= WHOLE:
            return _Whole(np.asarray(wanted @ self.columns.T, np.float32), query)
        return _Columns(self._catalogue, np.asarray(wanted, np.float32), query)


def by_block(block: LowRank | Factors) -> ByColumns:
    """Of a closed form with columns."""
    return ByColumns(block.columns, lambda query: block.queries(query.histories))


def by_rows(block: SparseRows) -> Scorer:
    """Of a closed form with sparse rows."""

    def scorer(query: Query) -> Scores:
        scores = block.scores(query.histories)
        return _Whole(scores.toarray(), query) if scores.shape[1] <= WHOLE else _Rows(scores, query)

    return scorer


def by_values(values: np.ndarray) -> Scorer:
    """Of what scores items alike for all users, (N,) float32."""
    order = np.lexsort((np.arange(len(values)), -values))
    return lambda query: _Same(values, order, query)


def by_parts(blocks: Blocks) -> dict[str, Scorer]:
    """Of every part of stage one, unweighted, by its name in Weights."""

    def wanted(query: Query) -> np.ndarray:
        return blocks.wanted(query, blocks.conditions(query.histories))

    scorers: dict[str, Scorer] = {"generated": ByColumns(blocks.generator.item_vectors().numpy(), wanted)}
    if blocks.dense is not None:
        scorers["dense"] = by_block(blocks.dense)
    if blocks.factors is not None:
        scorers["factors"] = by_block(blocks.factors)
    if blocks.sparse is not None:
        scorers["sparse"] = by_rows(blocks.sparse)
    scorers["popularity"] = by_values(blocks.popularity)
    return scorers


@dataclass(frozen=True)
class _Whole:
    scores: np.ndarray
    query: Query

    def best(self, k: int) -> np.ndarray:
        return top_items(self.query.mask(self.scores.copy()), k)[0]

    def at(self, numbers: np.ndarray) -> np.ndarray:
        return np.take_along_axis(self.scores, numbers, 1)


@dataclass(frozen=True)
class _Columns:
    catalogue: Catalogue
    wanted: np.ndarray
    query: Query

    def best(self, k: int) -> np.ndarray:
        return self.catalogue.best(self.wanted, k, None, lambda users: self.query.take(users).mask)[0]

    def at(self, numbers: np.ndarray) -> np.ndarray:
        return self.catalogue.scores(self.wanted, numbers)


@dataclass(frozen=True)
class _Rows:
    scores: csr_matrix
    query: Query

    def best(self, k: int) -> np.ndarray:
        """The largest entries, and where there are too few of them the first of the items that score 0."""
        (n_users, n_items), k = self.scores.shape, min(k, self.scores.shape[1])
        rows = np.repeat(np.arange(n_users), np.diff(self.scores.indptr))
        listed = Histories(self.scores.indptr.astype(np.int64), self.scores.indices.astype(np.int64), n_items)
        free = ~_held(self.query.blocked, rows, listed.items)
        found = Pairs(rows[free], listed.items[free], self.scores.data[free])
        short = np.flatnonzero(np.bincount(found.rows, minlength=n_users) < k)
        taken = listed.lengths[short] + self.query.blocked.lengths[short]
        numbers = np.arange(min(n_items, k + int(taken.max(initial=0))))
        rows, items = np.repeat(short, len(numbers)), np.tile(numbers, len(short))
        free = ~(_held(self.query.blocked, rows, items) | _held(listed, rows, items))
        others = Pairs(rows[free], items[free], np.zeros(int(free.sum()), np.float32))
        return lists(Pairs.joined([found, others]), n_users, k)[0]

    def at(self, numbers: np.ndarray) -> np.ndarray:
        rows = np.repeat(np.arange(len(numbers)), numbers.shape[1])
        return np.asarray(self.scores[rows, numbers.ravel()], np.float32).reshape(numbers.shape)


@dataclass(frozen=True)
class _Same:
    values: np.ndarray
    order: np.ndarray
    query: Query

    def best(self, k: int) -> np.ndarray:
        blocked, k = self.query.blocked, min(k, len(self.values))
        head = self.order[: k + int(blocked.lengths.max(initial=0))]
        numbers = np.broadcast_to(head, (len(blocked), len(head)))
        gone = blocked.holds(numbers)
        free = np.argsort(gone, axis=1, kind="stable")[:, :k]
        return np.where(np.take_along_axis(gone, free, 1), ABSENT, head[free])

    def at(self, numbers: np.ndarray) -> np.ndarray:
        return np.asarray(self.values[numbers])


def _held(table: Histories, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Which of some pairs stand in a table, (P,) bool."""
    return np.isin(rows * table.n_items + items, table.pairs)

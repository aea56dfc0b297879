"""From blocks of scores to a ranked list: stage one finds K candidates, stage two re-orders them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from recgan.histories import Histories
from recgan.index import ItemIndex
from recgan.ranking.arranging import arranged
from recgan.ranking.blocks import ABSENT, CELLS, Blocks, Judge, Query
from recgan.ranking.catalogue import Catalogue
from recgan.ranking.gate import Pool
from recgan.ranking.near import Exact, Near, depths
from recgan.ranking.ruling import Ruling

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORTH = 8
"""Items by the depth of a search, from which on an approximate search is asked at all."""
AT_ONCE = 128
"""Users of one portion, at least: as many as share one reading of the item vectors."""
NEAREST = 100
"""Items that an approximate search is asked for at least: what it finds hangs on that, and a list shall begin as a
shorter one."""
SCORED_WHOLE = 1_000_000
"""Catalogues up to this size are scored whole: as exact as FAISS's flat search, and measured to be faster."""


class Ranker:
    """Ranks the catalogue for users in two stages.

    Args:
        blocks: the parts of stage one.
        judge: the second stage; used where its weight is not zero.
        n_candidates: K, the candidates that are re-ordered; independent of the list's length.
        near: an approximate search for stage one; None for the exact one.
    """

    def __init__(
        self, blocks: Blocks, judge: Judge | None, n_candidates: int, near: Near | Exact | None = None
    ) -> None:
        self.blocks = blocks
        self.judge = judge
        self.n_candidates = n_candidates
        self.near = near

    @cached_property
    def index(self) -> ItemIndex:
        """The search over the blocks' columns, built when first needed."""
        return ItemIndex(self.blocks.columns)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The search that reads every item."""
        return Catalogue(self.blocks.columns)

    def rank(self, query: Query, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Ranked lists of B users.

        Args:
            query: what is asked.
            n: length of the lists.

        Returns:
            Item numbers (B, n) int64, -1 behind the end of a short list, and scores (B, n) float64, non-increasing
            where `explore` is 0 and there are no rules.
        """
        n_items = len(self.blocks.columns)
        numbers = np.full((len(query.histories), n), ABSENT, np.int64)
        scores = np.full((len(query.histories), n), -np.inf)
        load = query.histories.lengths + query.blocked.lengths
        order = np.argsort(load, kind="stable")
        chunk = max(AT_ONCE, min(512, CELLS // max(n_items, 1)))
        for start in range(0, len(order), chunk):
            rows = order[start : start + chunk]
            found, relevance = self._rank_chunk(query.take(rows), n)
            width = min(n, found.shape[1])
            numbers[rows, :width], scores[rows, :width] = found[:, :width], relevance[:, :width]
        return numbers, scores

    def _rank_chunk(self, query: Query, n: int) -> tuple[np.ndarray, np.ndarray]:
        wanted = self.blocks.wanted(query, self.blocks.conditions(query.histories, query.stated))
        if query.popularity:
            query = replace(query, costs=self._costs(query, wanted))
        if query.classes is not None or query.pins is not None:
            return self._ruled(query, wanted, n)
        numbers, scores, _, _ = self._found(query, wanted, max(n, self._least(query)))
        return self._arranged(query, numbers, scores, n)

    def _least(self, query: Query) -> int:
        """Candidates that are looked for however short the list is."""
        if self._judges or query.explore or query.rules.calibration:
            return self.n_candidates
        return self.n_searched if isinstance(self.near, Near) else 0

    @property
    def n_searched(self) -> int:
        """Candidates that an approximate search has to find."""
        return self.n_candidates if self._judges else min(NEAREST, self.n_candidates)

    def _costs(self, query: Query, wanted: np.ndarray) -> np.ndarray:
        """What one deviation of the log popularity costs each user, (B,) float32; excluded items change nothing."""
        asked = query if query.seen is None else replace(query, blocked=query.seen)
        scores = self.candidates(asked, wanted, self.n_candidates)[1].astype(np.float64)
        there = np.isfinite(scores)
        n = np.maximum(there.sum(axis=1), 1)
        mean = np.where(there, scores, 0.0).sum(axis=1) / n
        spread = np.sqrt(np.square(np.where(there, scores - mean[:, None], 0.0)).sum(axis=1) / n)
        return np.asarray(query.popularity * spread, np.float32)

    @property
    def _judges(self) -> bool:
        return self.judge is not None and self.blocks.weights.discriminator != 0.0

    def _found(self, query: Query, wanted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The k best or more after the second stage, scores, the shift of those behind it, and who has no more."""
        asked, most = query, 0
        if self._judges and query.seen is not None:
            asked, most = replace(query, blocked=query.seen), int(query.blocked.lengths.max(initial=0))
        numbers, scores = self.candidates(asked, wanted, k + most)
        whole = (numbers != ABSENT).sum(axis=1) < k + most
        numbers, scores, shift = self._judged(asked, numbers, scores)
        if asked is not query:
            numbers, scores = _without(query.blocked, numbers, scores)
        return numbers, scores, shift, whole

    def _ruled(self, query: Query, wanted: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        pinned, values = np.empty((len(wanted), 0), np.int64), np.empty((len(wanted), 0))
        if query.pins is not None:
            pinned, seen = query.pins.items, query.blocked if query.seen is None else query.seen
            values = np.where(pinned == ABSENT, -np.inf, self.scores(query, np.where(pinned == ABSENT, 0, pinned)))
            blocked = query.blocked.joined(query.pins.table(len(self.blocks.columns)))
            query = replace(query, blocked=blocked, seen=seen)
        numbers, scores, shift, whole = self._found(query, wanted, max(n, self.n_candidates) + 1)
        head = min(self.n_candidates, numbers.shape[1])
        numbers, relevance = np.concatenate([numbers, pinned], axis=1), np.concatenate([scores, values], axis=1)
        pool = Pool(numbers, relevance, np.ones(numbers.shape, bool), head, pinned.shape[1], whole, whole)

        def search(asked: Query, users: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            found, values = self.candidates(asked, wanted[users], k)
            return found, values + shift[users]

        return Ruling(query, self.blocks, pool, search, n).lists()

    def candidates(self, query: Query, wanted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best of stage one: exactly, or those that the approximate search finds; always k where there are k.

        Args:
            query: what is asked of B users.
            wanted: wanted vectors, (B, D) float32.
            k: how many.

        Returns:
            Item numbers (B, <= k) int64 and scores, descending; -1 and -inf behind the end of a short list.
        """
        if isinstance(self.near, Near) and query.allowed is None:
            return self._near(self.near, query, wanted, k)
        return self._exact(query, wanted, k)

    def _exact(self, query: Query, wanted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if len(self.blocks.columns) <= SCORED_WHOLE or query.allowed is not None:
            return self._score_whole(query, wanted, k)
        return self._search(self.index, query, wanted, k, k + int(query.blocked.lengths.max(initial=0)))

    def _near(self, near: Near, query: Query, wanted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What the approximate search finds; who is asked for much of the catalogue, or gets too little, exactly."""
        n_items = len(self.blocks.columns)
        k = min(k, n_items)
        numbers = np.full((len(wanted), k), ABSENT, np.int64)
        scores = np.full((len(wanted), k), -np.inf, np.float32)
        blocked = np.diff(query.blocked.matrix().indptr)  # distinct items
        depth = depths(k + blocked)
        for one in np.unique(depth[depth * WORTH <= n_items]):
            users = np.flatnonzero(depth == one)
            numbers[users], scores[users] = self._search(near, query.take(users), wanted[users], k, int(one))
        short = np.flatnonzero((numbers != ABSENT).sum(axis=1) < np.minimum(k, n_items - blocked))
        if len(short):
            numbers[short], scores[short] = self._exact(query.take(short), wanted[short], k)
        return numbers, scores

    def _score_whole(self, query: Query, wanted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        queries, sparse = self.blocks.queries(query, wanted), self.blocks.sparse_scores(query.histories)
        return self.catalogue.best(queries, k, sparse, lambda users: query.take(users).mask)

    def _search(
        self, index: ItemIndex | Near, query: Query, wanted: np.ndarray, k: int, depth: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best of search and neighbours, whose scores are not negative: as exact as the index."""
        queries = self.blocks.queries(query, wanted)
        scores, numbers = index.search(queries, depth)
        if isinstance(index, Near):
            scores = np.where(numbers == ABSENT, scores, self.catalogue.scores(queries, numbers))
        sparse = self.blocks.sparse_scores(query.histories)
        if sparse is not None:
            numbers, scores = self._unite(queries, numbers, scores, sparse)
        blocked = query.blocked.holds(numbers)
        scores = np.where(blocked | (numbers == ABSENT), -np.inf, scores)
        order = np.lexsort((numbers, -scores), axis=1)[:, :k]
        scores = np.take_along_axis(scores, order, 1)
        return np.where(np.isfinite(scores), np.take_along_axis(numbers, order, 1), ABSENT), scores

    def _unite(
        self, queries: np.ndarray, numbers: np.ndarray, scores: np.ndarray, sparse: csr_matrix
    ) -> tuple[np.ndarray, np.ndarray]:
        support = Histories(sparse.indptr.astype(np.int64), sparse.indices.astype(np.int64), sparse.shape[1])
        extra, there = support.window(np.arange(len(support)), sparse.shape[1])
        dense = np.einsum("bq,bkq->bk", queries, self.blocks.columns[extra])
        values = np.zeros(extra.shape, np.float32)
        values[there] = sparse.data
        new = np.where(there, dense + values, -np.inf)
        old = np.where(support.holds(numbers), -np.inf, scores)
        return (
            np.concatenate([np.where(np.isfinite(old), numbers, ABSENT), np.where(there, extra, ABSENT)], axis=1),
            np.concatenate([old, new], axis=1).astype(np.float32),
        )

    def _judged(
        self, query: Query, numbers: np.ndarray, scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first K in the order of the second stage, the others below them in their own; and by how much shifted."""
        shift = np.zeros((len(scores), 1))
        if self.judge is None or not self._judges:
            return numbers, scores, shift
        k = min(self.n_candidates, numbers.shape[1])
        head, tail = scores[:, :k], scores[:, k:].astype(np.float64)
        head = head + self.blocks.weights.discriminator * self.judge.corrections(query, numbers[:, :k], head)
        first, head = _ordered(numbers[:, :k], head, np.lexsort((numbers[:, :k], -head), axis=1))
        if tail.shape[1]:
            lowest = np.where(np.isfinite(head), head, np.inf).min(axis=1, keepdims=True)
            below = np.nextafter(lowest.astype(np.float64), -np.inf)
            top = np.maximum(tail[:, :1], -1e30)
            shift = np.where(top > below, below - top, 0.0)
            tail = np.where(top > below, below + (tail - top), tail)
        return np.concatenate([first, numbers[:, k:]], axis=1), np.concatenate([head, tail], axis=1), shift

    def _arranged(self, query: Query, numbers: np.ndarray, scores: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The first K in the order that the dial and the rules want."""
        if not (query.explore or query.rules.calibration):
            return numbers, scores
        k = min(self.n_candidates, numbers.shape[1])
        order = arranged(query, self.blocks, numbers[:, :k], scores[:, :k], n)
        first, head = _ordered(numbers[:, :k], scores[:, :k], order)
        return np.concatenate([first, numbers[:, k:]], axis=1), np.concatenate([head, scores[:, k:]], axis=1)

    def scores(self, query: Query, items: np.ndarray) -> np.ndarray:
        """Relevance of the same K items for B users, without any filter.

        Args:
            query: what is asked; only histories and profiles are read.
            items: item numbers, (B, K) int64.

        Returns:
            (B, K) float32, the scores that a list shows for its first `n_candidates` items.
        """
        wanted = self.blocks.wanted(query, self.blocks.conditions(query.histories, query.stated))
        queries = self.blocks.queries(query, wanted)
        scores = np.einsum("bq,bkq->bk", queries, self.blocks.columns[items])
        sparse = self.blocks.sparse_scores(query.histories)
        if sparse is not None:
            scores = scores + sparse[np.arange(len(items))[:, None], items].toarray()
        weight = self.blocks.weights.discriminator
        if self.judge is not None and weight:
            scores = scores + weight * self.judge.corrections(query, items, scores)
        return np.asarray(scores, np.float32)


def _ordered(numbers: np.ndarray, scores: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.take_along_axis(numbers, order, 1), np.take_along_axis(scores, order, 1)


def _without(blocked: Histories, numbers: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lists without what is blocked; what follows moves up."""
    scores = np.where(blocked.holds(numbers), -np.inf, scores)
    order = np.argsort(~np.isfinite(scores), axis=1, kind="stable")
    numbers, scores = _ordered(numbers, scores, order)
    return np.where(np.isfinite(scores), numbers, ABSENT), scores

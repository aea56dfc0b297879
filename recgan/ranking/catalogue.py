"""Exact search by reading every item."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from recgan.halves import fast
from recgan.ranking.blocks import ABSENT
from recgan.ranking.rough import Mask, RoughPass
from recgan.ranking.threads import each
from recgan.ranking.top import LOWEST, Groups, Pairs, largest, lists, padded

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS, BLOCK = 1 << 22, 1 << 15
"""Scores, and items, that are held at once by a thread: few enough to stay in a processor's cache."""
MANY = 64
"""Items by the k best from which on a rough pass is worth it."""
GATHERED = 1 << 18
"""Numbers of item vectors that are gathered at once."""
Masks = Callable[[np.ndarray], Mask]


class Catalogue:
    """Item vectors that are searched by reading all of them, in as many threads as torch may use.

    Portions of the users go to the threads. Where the processor has fast products of bfloat16, these tell which items
    can be among the k best, and only the scores of those are computed in float32.

    Args:
        columns: item vectors, (N, Q) float32, finite.

    Example:
        >>> catalogue = Catalogue(np.eye(3, dtype=np.float32))
        >>> catalogue.best(np.array([[0.1, 0.9, 0.5]], np.float32), 2)[0].tolist()
        [[1, 2]]
    """

    def __init__(self, columns: np.ndarray) -> None:
        self._columns = np.ascontiguousarray(columns)  # of others `take` makes a copy every time

    @cached_property
    def _rough(self) -> RoughPass:
        return RoughPass(self._columns, BLOCK)

    def best(
        self, queries: np.ndarray, k: int, extra: csr_matrix | None = None, masks: Masks | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k items with the largest scores.

        Args:
            queries: (B, Q) float32, finite.
            k: how many.
            extra: what is added to the inner products, (B, N) sparse float32.
            masks: for users (b,) a function that is called with scores (b, m), float32 or int16, and the number of the
                first of the m items; it sets in place what must not come to the lowest value.

        Returns:
            Item numbers (B, min(k, N)) int64 and scores, float32, descending, equal ones by ascending number; -1 and
            -inf behind the end of a short list.
        """
        k = min(k, len(self._columns))
        numbers = np.full((len(queries), k), ABSENT, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)

        def work(users: np.ndarray) -> None:
            numbers[users], scores[users] = self._portion(queries, k, extra, masks, users)

        step = max(1, CELLS // min(BLOCK, max(1, len(self._columns))))
        starts = range(0, len(queries) if k else 0, step)
        each(work, [np.arange(first, min(first + step, len(queries))) for first in starts])
        return numbers, scores

    def _portion(
        self, queries: np.ndarray, k: int, extra: csr_matrix | None, masks: Masks | None, users: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if extra is not None or len(self._columns) < MANY * k or not fast():
            return lists(self._read(queries, k, extra, masks, users), len(users), k)
        pairs, answered = self._rough.pairs(queries[users], k, None if masks is None else masks(users))
        pairs = self._exact(queries[users], pairs.take(answered[pairs.rows]))
        numbers, scores = lists(pairs, len(users), k)
        if not answered.all():
            others = users[~answered]
            numbers[~answered], scores[~answered] = lists(self._read(queries, k, None, masks, others), len(others), k)
        return numbers, scores

    def _read(
        self, queries: np.ndarray, k: int, extra: csr_matrix | None, masks: Masks | None, users: np.ndarray
    ) -> Pairs:
        """Every pair that may be among the k best of its user, from all exact scores.

        The items are read in blocks; what is known of the k-th best so far decides what of a block is kept.
        """
        wanted, n_items = torch.from_numpy(queries[users]), len(self._columns)
        mask, added = None if masks is None else masks(users), None if extra is None else extra[users]
        best, kept = np.empty((len(users), 0), np.float32), []
        for first in range(0, n_items, BLOCK):
            block = slice(first, min(first + BLOCK, n_items))
            scores = (wanted @ torch.from_numpy(self._columns[block]).T).numpy()
            if added is not None:
                scores += (added if n_items <= BLOCK else added[:, block]).toarray()
            if mask is not None:
                mask(scores, first)
            groups = Groups.of(scores, k)
            best = largest(np.concatenate([best, groups.maxima], axis=1), k)
            bound = best.min(axis=1) if best.shape[1] == k else np.full(len(best), LOWEST)
            kept.append(groups.reaching(np.maximum(bound, LOWEST), first))
        return Pairs.joined(kept)

    def scores(self, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Inner products of queries (B, Q) with items (B, K), (B, K) float32; one does not hang on the others."""
        values = np.empty(items.shape, np.float32)
        step = max(1, GATHERED // max(1, items.shape[1] * queries.shape[1]))
        for first in range(0, len(items), step):
            some = slice(first, first + step)
            vectors = self._columns.take(items[some], axis=0)
            np.einsum("bkq,bq->bk", vectors, queries[some], out=values[some])
        return values

    def _exact(self, queries: np.ndarray, pairs: Pairs) -> Pairs:
        """The pairs with their inner products."""
        counts = np.bincount(pairs.rows, minlength=len(queries))
        items = padded(pairs.rows, pairs.items, len(queries), 1, 0)
        values = self.scores(queries, items)
        there = np.arange(items.shape[1]) < counts[:, None]
        return Pairs(pairs.rows, pairs.items, values[there])

"""From blocks of scores to a ranked list: stage one finds K candidates, stage two re-orders them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from recgan.features import ItemTraits, pair_features
from recgan.histories import Histories
from recgan.index import ItemIndex
from recgan.linear import LowRank, SparseRows
from recgan.networks import Discriminator, Generator

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ABSENT = -1
"""Item number that fills the end of a short list."""

SCORED_WHOLE = 100_000
"""Catalogues up to this size are scored whole, which is as exact as a search and faster."""

CELLS = 1 << 24
"""Most scores held at once."""


@dataclass(frozen=True)
class Query:
    """What is asked for B users.

    Args:
        histories: the condition of the B users.
        blocked: items that must not be listed, a table like the histories.
        profiles: user features, (B, P) float32.
        allowed: items that may be listed, (N,) bool, or a table with a row a user; None for all of them.
        explore: 0 for the accurate list, up to 1 for the adventurous one.
        keys: what the randomness of `explore` hangs on, one a user, (B,) uint64.
    """

    histories: Histories
    blocked: Histories
    profiles: np.ndarray
    allowed: np.ndarray | Histories | None = None
    explore: float = 0.0
    keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))

    def take(self, users: np.ndarray) -> Query:
        """The same question for some of the users."""
        allowed = self.allowed.take(users) if isinstance(self.allowed, Histories) else self.allowed
        keys = self.keys[users] if len(self.keys) else self.keys
        blocked = self.blocked.take(users)
        return Query(self.histories.take(users), blocked, self.profiles[users], allowed, self.explore, keys)

    def mask(self, scores: np.ndarray) -> np.ndarray:
        """Set what must not be listed to minus infinity, in place: (B, N) float32."""
        scores[self.blocked.rows, self.blocked.items] = -np.inf
        if isinstance(self.allowed, Histories):
            refused = np.ones(scores.shape, bool)
            refused[self.allowed.rows, self.allowed.items] = False
            scores[refused] = -np.inf
        elif self.allowed is not None:
            scores[:, ~self.allowed] = -np.inf
        return scores


@dataclass(frozen=True)
class Weights:
    """What each part counts, chosen on validation data; `unknown` is the generated block's share without a history."""

    generated: float = 1.0
    dense: float = 0.0
    sparse: float = 0.0
    popularity: float = 0.0
    discriminator: float = 0.0
    unknown: float = 1.0


@dataclass(frozen=True)
class Blocks:
    """The parts whose scores add up to the relevance of stage one.

    Args:
        generator: the generator, in evaluation mode.
        dense: the linear block as columns, or None.
        sparse: the linear block as rows, or None.
        popularity: standardised log popularity, (N,) float32.
        weights: what each part counts.
        noise: the noise bank, (S, Z) float32.
        window: most history items that the encoder reads.
    """

    generator: Generator
    dense: LowRank | None
    sparse: SparseRows | None
    popularity: np.ndarray
    weights: Weights
    noise: np.ndarray
    window: int

    @cached_property
    def columns(self) -> np.ndarray:
        """Every item as one vector of the search, (N, Q) float32: generated, linear and popularity columns."""
        with torch.no_grad():
            generated = self.generator.item_vectors().numpy()
        dense = [self.dense.columns] if self.dense is not None and self.weights.dense else []
        return np.ascontiguousarray(np.concatenate([generated, *dense, self.popularity[:, None]], axis=1))

    def conditions(self, histories: Histories) -> torch.Tensor:
        """Conditions of B users, (B, C) float32."""
        items, mask = histories.window(np.arange(len(histories)), self.window)
        with torch.no_grad():
            conditions: torch.Tensor = self.generator.condition(torch.from_numpy(items), torch.from_numpy(mask))
        return conditions

    def queries(self, histories: Histories, wanted: np.ndarray) -> np.ndarray:
        """Queries of B users in the space of `columns`, (B, Q) float32, for wanted vectors (B, D)."""
        parts = [self.weights.generated * wanted]
        if self.dense is not None and self.weights.dense:
            parts.append(self.weights.dense * self.dense.queries(histories))
        parts.append(np.full((len(wanted), 1), self.weights.popularity, np.float32))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def sparse_scores(self, histories: Histories) -> csr_matrix | None:
        """Weighted scores of the linear block's rows, (B, N) sparse float32, or None without them."""
        if self.sparse is None or not self.weights.sparse:
            return None
        return self.sparse.scores(histories) * np.float32(self.weights.sparse)

    def wanted(self, query: Query, conditions: torch.Tensor) -> np.ndarray:
        """Wanted vectors, (B, D) float32: noise-free, or moved towards one draw of z by `explore`."""
        share = np.where(query.histories.lengths, 1.0, max(self.weights.unknown, query.explore)).astype(np.float32)
        with torch.no_grad():
            wanted = self.generator.wanted(conditions)
            if query.explore:
                draws = torch.from_numpy(self.noise[query.keys.astype(np.int64) % len(self.noise)])
                moved = self.generator.wanted(conditions, draws[:, None])[:, 0]
                mixed = torch.lerp(wanted, moved, query.explore)
                wanted = self.generator.scale * torch.nn.functional.normalize(mixed, dim=1)
            return wanted.numpy() * share[:, None]


@dataclass(frozen=True)
class Judge:
    """The discriminator as second stage, with what its pair features need."""

    discriminator: Discriminator
    traits: ItemTraits

    def corrections(
        self, query: Query, conditions: torch.Tensor, candidates: np.ndarray, relevance: np.ndarray
    ) -> np.ndarray:
        """What the discriminator adds to the relevance of K candidates, (B, K) float32; 0 where none stands."""
        present = candidates != ABSENT
        numbers = np.where(present, candidates, 0)
        features = torch.from_numpy(self.features(query, numbers, present, relevance))
        vectors = torch.from_numpy(self.traits.vectors[numbers])
        with torch.no_grad():
            logits = self.discriminator(conditions, vectors, features).numpy()
        return np.where(present, logits, 0.0).astype(np.float32)

    def features(self, query: Query, numbers: np.ndarray, present: np.ndarray, relevance: np.ndarray) -> np.ndarray:
        """Pair features and, as the last one, the relevance of stage one, (B, K, F) float32."""
        pairs = pair_features(self.traits, query.histories, query.profiles, numbers)
        relevance = np.where(present, relevance, 0.0)
        return np.concatenate([pairs, relevance[..., None]], axis=-1).astype(np.float32)


class Ranker:
    """Ranks the catalogue for users in two stages.

    Args:
        blocks: the parts of stage one.
        judge: the second stage; used where its weight is not zero.
        n_candidates: K, the candidates that the second stage re-orders; independent of the list's length.
    """

    def __init__(self, blocks: Blocks, judge: Judge | None, n_candidates: int) -> None:
        self.blocks = blocks
        self.judge = judge
        self.n_candidates = n_candidates

    @cached_property
    def index(self) -> ItemIndex:
        """The search over the blocks' columns, built when first needed."""
        return ItemIndex(self.blocks.columns)

    def rank(self, query: Query, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Ranked lists of B users.

        Args:
            query: what is asked.
            n: length of the lists.

        Returns:
            Item numbers (B, n) int64, -1 behind the end of a short list, and scores (B, n) float32, non-increasing
            where `explore` is 0.
        """
        n_items = len(self.blocks.columns)
        numbers = np.full((len(query.histories), n), ABSENT, np.int64)
        scores = np.full((len(query.histories), n), -np.inf, np.float32)
        load = query.histories.lengths + query.blocked.lengths
        order = np.argsort(load, kind="stable")
        chunk = max(1, min(512, CELLS // max(n_items, 1)))
        for start in range(0, len(order), chunk):
            rows = order[start : start + chunk]
            found, relevance = self._rank_chunk(query.take(rows), n)
            width = min(n, found.shape[1])
            numbers[rows, :width], scores[rows, :width] = found[:, :width], relevance[:, :width]
        return numbers, scores

    def _rank_chunk(self, query: Query, n: int) -> tuple[np.ndarray, np.ndarray]:
        conditions = self.blocks.conditions(query.histories)
        wanted = self.blocks.wanted(query, conditions)
        numbers, scores = self.candidates(query, wanted, max(n, self.n_candidates))
        return self._second_stage(query, conditions, numbers, scores)

    def candidates(self, query: Query, wanted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best of stage one, exactly.

        Args:
            query: what is asked of B users.
            wanted: wanted vectors, (B, D) float32.
            k: how many.

        Returns:
            Item numbers (B, <= k) int64 and scores, descending; -1 and -inf behind the end of a short list.
        """
        whole = len(self.blocks.columns) <= SCORED_WHOLE or query.allowed is not None
        return (self._score_whole if whole else self._search)(query, wanted, k)

    def _score_whole(self, query: Query, wanted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        queries = self.blocks.queries(query.histories, wanted)
        scores = (torch.from_numpy(queries) @ torch.from_numpy(self.blocks.columns).T).numpy()
        sparse = self.blocks.sparse_scores(query.histories)
        if sparse is not None:
            entries = sparse.tocoo()
            scores[entries.row, entries.col] += entries.data
        return top_items(query.mask(scores), k)

    def _search(self, query: Query, wanted: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best of search and neighbours; exact, because the neighbours' scores are not negative."""
        queries = self.blocks.queries(query.histories, wanted)
        scores, numbers = self.index.search(queries, k + int(query.blocked.lengths.max(initial=0)))
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

    def _second_stage(
        self, query: Query, conditions: torch.Tensor, numbers: np.ndarray, scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        k = min(self.n_candidates, numbers.shape[1])
        head, tail = scores[:, :k].copy(), scores[:, k:]
        weight = self.blocks.weights.discriminator
        if self.judge is not None and weight:
            head += weight * self.judge.corrections(query, conditions, numbers[:, :k], head)
        shown = head + _gumbel(query, numbers[:, :k]) * query.explore if query.explore else head
        order = np.lexsort((numbers[:, :k], -shown), axis=1)
        head = np.take_along_axis(head, order, 1)
        if tail.shape[1]:
            lowest = np.where(np.isfinite(head), head, np.inf).min(axis=1, keepdims=True)
            tail = tail + np.minimum(lowest - np.maximum(tail[:, :1], -1e30), 0.0)
        first = np.take_along_axis(numbers[:, :k], order, 1)
        return np.concatenate([first, numbers[:, k:]], axis=1), np.concatenate([head, tail], axis=1)

    def scores(self, query: Query, items: np.ndarray) -> np.ndarray:
        """Relevance of the same K items for B users, without any filter.

        Args:
            query: what is asked; only histories and profiles are read.
            items: item numbers, (B, K) int64.

        Returns:
            (B, K) float32, the scores that a list shows for its first `n_candidates` items.
        """
        conditions = self.blocks.conditions(query.histories)
        queries = self.blocks.queries(query.histories, self.blocks.wanted(query, conditions))
        scores = np.einsum("bq,bkq->bk", queries, self.blocks.columns[items])
        sparse = self.blocks.sparse_scores(query.histories)
        if sparse is not None:
            scores = scores + sparse[np.arange(len(items))[:, None], items].toarray()
        weight = self.blocks.weights.discriminator
        if self.judge is not None and weight:
            scores = scores + weight * self.judge.corrections(query, conditions, items, scores)
        return np.asarray(scores, np.float32)


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
    values, numbers = (part.numpy() for part in torch.topk(torch.from_numpy(scores), k, dim=1))
    if 0 < k < scores.shape[1]:
        _settle_ties(scores, values, numbers)
    order = np.lexsort((numbers, -values), axis=1)
    values, numbers = np.take_along_axis(values, order, 1), np.take_along_axis(numbers, order, 1)
    return np.where(np.isfinite(values), numbers, ABSENT), values


def _settle_ties(scores: np.ndarray, values: np.ndarray, numbers: np.ndarray) -> None:
    """Of the items that tie at the edge of the list keep those with the smallest numbers, in place."""
    edge = values.min(axis=1)
    tied = (scores == edge[:, None]).sum(axis=1) > (values == edge[:, None]).sum(axis=1)
    for row in np.flatnonzero(tied & np.isfinite(edge)):
        at_edge = values[row] == edge[row]
        numbers[row, at_edge] = np.flatnonzero(scores[row] == edge[row])[: at_edge.sum()]


def _gumbel(query: Query, numbers: np.ndarray) -> np.ndarray:
    """Standard Gumbel noise that hangs on the user's key and the item alone, (B, K) float32."""
    mixed = query.keys[:, None] ^ (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    uniform = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.asarray(-np.log(-np.log(np.clip(uniform, 1e-12, 1.0 - 1e-12))), np.float32)

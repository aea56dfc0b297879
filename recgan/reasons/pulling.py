"""What each item of a history pulls: how much of the relevance of some items would be gone without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recgan.ranking import ABSENT, Query, Ranker
from recgan.reasons import parts
from recgan.reasons.judged import judged

GENERATED, DISCRIMINATOR = "generated", "discriminator"
CELLS = 1 << 23
"""Most numbers that are held at once of a part."""

NAMED = 2
"""Most items of a history that a reason names."""


@dataclass(frozen=True)
class Pulls:
    """What the items of B histories pull.

    Args:
        history: distinct item numbers, oldest first, (B, L) int64.
        there: where one stands, (B, L) bool.
        names: of the P parts of the relevance, as in `Weights`.
        values: relevance of K items less the relevance without one item of the history, by part, (B, L, K, P) float32.
    """

    history: np.ndarray
    there: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray

    def shares(self) -> np.ndarray:
        """Shares of the history's items in what pulls, (B, L, K) float64; their sum over L is 1, or 0 for none."""
        pulled = np.maximum(self.values.sum(axis=3, dtype=np.float64), 0.0)
        return np.asarray(pulled / np.maximum(pulled.sum(axis=1, keepdims=True), 1e-30))


def pulls(ranker: Ranker, query: Query, items: np.ndarray) -> Pulls:
    """Leave every item of each history out once, and see what the relevance of K items loses.

    That is exact for every part: for the linear blocks an item's own contribution; for the generator, the least squares
    and the discriminator the difference to a user who had everything but this item. What hangs on the length of a
    history alone, such as the weight of popularity, stays as it is: it is no item's doing.

    Args:
        ranker: of the model.
        query: of B users, each with a history; only histories, profiles and what is stated are read. An item that a
            history holds twice counts where it is newest.
        items: item numbers, (B, K) int64.

    Returns:
        The pulls.
    """
    blocks, weights = ranker.blocks, ranker.blocks.weights
    asked = parts.Asked.of(query.histories.distinct(), items, query.stated)
    found = {GENERATED: parts.generated(blocks, asked)}
    if blocks.dense is not None and weights.dense:
        found["dense"] = parts.dense(blocks.dense, weights.dense, asked)
    if blocks.factors is not None and weights.factors:
        found["factors"] = parts.factors(blocks.factors, weights.factors, asked)
    if blocks.sparse is not None and weights.sparse:
        found["sparse"] = parts.sparse(blocks.sparse, weights.sparse, asked)
    if ranker.judge is not None and weights.discriminator:
        scores, lost = (np.sum(both, axis=0) for both in zip(*found.values(), strict=True))
        popular = blocks.fading_weights(asked.histories.lengths)[1] * blocks.popularity[items]
        popular = popular if blocks.bias is None else popular + blocks.bias[items]
        relevance = scores + popular, lost
        found[DISCRIMINATOR] = judged(ranker.judge, weights.discriminator, asked, query.profiles, relevance)
    values = np.stack([lost for _, lost in found.values()], axis=-1)
    return Pulls(asked.history, asked.there, tuple(found), values)


def strongest(ranker: Ranker, query: Query, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items of each history that pull most, for many users.

    Args:
        ranker: of the model.
        query: of B users.
        items: item numbers, (B, K) int64; -1 where none stands.

    Returns:
        Item numbers, (B, K, 2) int64, the strongest first, -1 where nothing pulls; and their shares, (B, K, 2) float64.
    """
    numbers = np.full((*items.shape, NAMED), ABSENT, np.int64)
    shares = np.zeros(numbers.shape)
    for users, columns in _portions(ranker, query, items):
        looked_at = items[users, columns]
        found = pulls(ranker, query.take(users), np.maximum(looked_at, 0))
        numbers[users, columns], shares[users, columns] = _first(found, looked_at != ABSENT)
    return numbers, shares


def _portions(ranker: Ranker, query: Query, items: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Users of similar history length and columns of their items, so that little is held at once."""
    lengths = query.histories.lengths
    users, most = np.flatnonzero(lengths), int(lengths.max(initial=1))
    wide = ranker.blocks.columns.shape[1] + (0 if ranker.judge is None else ranker.judge.traits.categories.shape[1])
    step = max(1, min(items.shape[1], CELLS // (16 * most)))
    for group in query.histories.groups(users, most, max(1, CELLS // (wide + 16 * step))):
        for start in range(0, items.shape[1], step):
            yield group, slice(start, start + step)


def _first(found: Pulls, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The strongest of each history, of equal ones the newest, (B, K, 2), and their shares."""
    pulled = found.shares()[:, ::-1]
    order = np.argsort(-pulled, axis=1, kind="stable")[:, :NAMED]  # (B, <= 2, K)
    shares = np.take_along_axis(pulled, order, 1)
    numbers = np.take_along_axis(found.history[:, ::-1, None], order, 1)
    there = (shares > 0.0) & asked[:, None]
    numbers, shares = np.where(there, numbers, ABSENT), np.where(there, shares, 0.0)
    lacking = ((0, 0), (0, 0), (0, NAMED - numbers.shape[1]))
    return np.pad(numbers.transpose(0, 2, 1), lacking, constant_values=ABSENT), np.pad(
        shares.transpose(0, 2, 1), lacking
    )

"""The exploration dial: some places of a list leave the accurate order for what is new, unlike and by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recgan.ranking.blocks import ABSENT, Blocks, Query

BLOCK = 10
"""Of every so many places the last ones are explored first: what stands there counts least."""


@dataclass(frozen=True)
class Dial:
    """What counts at an explored place, in deviations of the user's relevance over the candidates.

    One list has three ends: unlike items, rare items, other items at every visit. A place that is given up for one of
    them is free for the others too, so all three count at the same places, and the places above stay accurate.

    Args:
        luck: width of the uniform noise, which hangs on user, item and seed.
        popularity: cost of one deviation of the log popularity.
        likeness: cost of the largest likeness to an item above.
        ramp: places over which the strength rises to its full value.
        least: strength just above explore = 0; it is twice that at 1.
    """

    luck: float = 0.65
    popularity: float = 1.2
    likeness: float = 4.0
    ramp: float = 2.4
    least: float = 0.43

    def strengths(self, explore: float, n: int) -> np.ndarray:
        """How much the first n places leave the accurate order, (n,) float64, for explore in (0, 1]."""
        place = np.arange(n) % BLOCK + 1.0
        rise = np.clip((place - BLOCK * (1.0 - explore)) / self.ramp, 0.0, 1.0)
        return np.asarray(rise * self.least * (1.0 + explore))


def explored(
    query: Query, blocks: Blocks, numbers: np.ndarray, relevance: np.ndarray, n: int, dial: Dial | None = None
) -> np.ndarray:
    """The order in which an adventurous list of n shows its candidates, chosen one place after the other.

    Args:
        query: says how far to explore, and what chance hangs on.
        blocks: know how popular and how alike items are.
        numbers: item numbers of the candidates, (B, K) int64, -1 where none stands.
        relevance: of the candidates, (B, K) float32, descending; -inf where none stands.
        n: places that are chosen; the other candidates follow in their order.
        dial: None for the default.

    Returns:
        Columns, (B, K) int64; every row is a permutation.
    """
    dial, rows = dial or Dial(), np.arange(len(numbers))
    safe, free = np.where(numbers == ABSENT, 0, numbers), np.isfinite(relevance)
    merit = _standardised(relevance, free)
    spice = dial.luck * (chance(query.keys, safe) - 0.5) - dial.popularity * blocks.popularity[safe]
    items, alike = blocks.space[safe], np.zeros(numbers.shape)  # (B, K, Q)
    place = np.broadcast_to(n + np.arange(numbers.shape[1]), numbers.shape).copy()
    for step, strength in enumerate(dial.strengths(query.explore, min(n, numbers.shape[1]))):
        value = np.where(free, merit + strength * (spice - dial.likeness * alike), -np.inf)
        best = value.argmax(axis=1)
        there = free[rows, best]
        place[rows[there], best[there]] = step
        free[rows, best] = False
        alike = np.maximum(alike, np.einsum("bkq,bq->bk", items, items[rows, best]))
    return place.argsort(axis=1, kind="stable")


def chance(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) that hang on the user's key (B,) uint64 and the item (B, K) alone, (B, K) float64."""
    mixed = keys[:, None] ^ (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _standardised(relevance: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Relevance below the best in deviations over the candidates that stand, (B, K) float64; 0 where none stands."""
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    values = np.where(there, relevance, 0.0).astype(np.float64)
    mean = values.sum(axis=1, keepdims=True) / count
    spread = np.sqrt((np.where(there, values - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    return np.where(there, values - mean, 0.0) / np.where(spread > 0.0, spread, 1.0)

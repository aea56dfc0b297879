"""Lists that are chosen one place after the other: the exploration dial and calibrated categories."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recgan.ranking.blocks import ABSENT, Blocks, Query
from recgan.ranking.calibrating import Calibration
from recgan.ranking.gate import Gate

DIVERGENCE = 5.0
"""What one nat of divergence from the user's categories counts against one deviation of relevance."""

BELOW = -1e9
"""What the best candidate is worth that is not weighed: less than any that is."""

BLOCK = 10
"""Of every so many places the last ones are explored first: what stands there counts least."""


@dataclass(frozen=True)
class Dial:
    """What counts at an explored place, in deviations of the user's relevance over the candidates.

    One list has three ends: unlike items, rare items, other items at every visit. A place that is given up for one of
    them is free for the others too, so all three count at the same places, little at the first and most at the last.
    Rarity costs next to nothing at first, so its weight grows fastest with the dial.

    Args:
        luck: width of the uniform noise at explore = 1, which hangs on user, item and seed.
        popularity: cost of one deviation of the log popularity at explore = 1.
        likeness: cost of the mean likeness to the items above at explore = 1.
        floor: share of the strength that the first place has.
        curve: power with which the strength rises from the first place to the last of every ten.
        power: of explore, with which luck and likeness grow.
        rarity: of explore, with which the cost of popularity grows.
    """

    luck: float = 1.0
    popularity: float = 1.15
    likeness: float = 4.6
    floor: float = 0.05
    curve: float = 2.0
    power: float = 0.9
    rarity: float = 0.45

    def turned(self, explore: float) -> Dial:
        """What counts at explore in [0, 1]."""
        grown = explore**self.power
        popularity = self.popularity * explore**self.rarity
        return replace(self, luck=self.luck * grown, popularity=popularity, likeness=self.likeness * grown)

    def strengths(self, n: int) -> np.ndarray:
        """How much the first n places leave the accurate order, (n,) float64 in [0, 1]."""
        return np.asarray(self.floor + (1.0 - self.floor) * (np.arange(n) % BLOCK / (BLOCK - 1)) ** self.curve)

    def calibrations(self, weight: float, n: int) -> np.ndarray:
        """How much calibrated categories count at the first n places, (n,) float64 in [0, 1]: more further down."""
        place = np.arange(n) % BLOCK + 1.0
        return np.asarray(np.minimum(1.0, weight * place / ((BLOCK + 1) / 2)))


class Spice:
    """What the candidates of B growing lists gain by luck, by being rare, and by being unlike the items above them.

    Args:
        query: what chance hangs on, and how far to explore.
        blocks: know how popular and how alike items are.
        numbers: item numbers of the candidates, (B, K) int64, any where none stands.
        dial: what each counts.
    """

    def __init__(self, query: Query, blocks: Blocks, numbers: np.ndarray, dial: Dial) -> None:
        dial = dial.turned(query.explore)
        self.own = dial.luck * (chance(query.keys, numbers) - 0.5) - dial.popularity * blocks.popularity[numbers]
        self.space = blocks.space
        self.items = self.space[numbers] * blocks.contrast  # (B, K, Q)
        self.alike = np.zeros(numbers.shape)
        self.above = 0
        self.likeness = dial.likeness

    def gains(self) -> np.ndarray:
        """What every candidate gains, in deviations of relevance, (B, K) float64."""
        return np.asarray(self.own - self.likeness * self.alike / max(self.above, 1))

    def add(self, items: np.ndarray) -> None:
        """Put an item (B,) into every list."""
        self.alike += np.einsum("bkq,bq->bk", self.items, self.space[items])
        self.above += 1


class Values:
    """What every candidate of B growing lists is worth at the next place.

    Args:
        query: says how far to explore, what chance hangs on, and how much calibration counts.
        blocks: know how popular and how alike items are.
        numbers: item numbers of the candidates, (B, K) int64, any where none stands.
        relevance: of the candidates, (B, K) float32; -inf where none stands.
        head: so many candidates are weighed; the others follow in their order.
        n: places that are chosen.
        dial: what each counts.
    """

    def __init__(
        self, query: Query, blocks: Blocks, numbers: np.ndarray, relevance: np.ndarray, head: int, n: int, dial: Dial
    ) -> None:
        first, weight = numbers[:, :head], query.rules.calibration
        self.merit = _standardised(relevance[:, :head], np.isfinite(relevance[:, :head]))
        self.strengths, self.weights = dial.strengths(n), dial.calibrations(weight, n)
        self.spice = Spice(query, blocks, first, dial) if query.explore else None
        self.mix = Calibration(query.histories, blocks.votes, first) if weight else None
        self.all = np.empty(numbers.shape)
        self.all[:, head:] = BELOW - np.arange(numbers.shape[1] - head)

    def at(self, step: int) -> np.ndarray:
        """Relevance, less what the dial and the rules cost at a place, (B, K) float64; overwritten by the next call."""
        weight = self.weights[step] if self.mix is None else self.weights[step] * self.mix.told
        value = (1.0 - weight) * self.merit
        if self.spice is not None:
            value += self.strengths[step] * self.spice.gains()
        if self.mix is not None:
            value -= weight * DIVERGENCE * self.mix.costs()
        self.all[:, : value.shape[1]] = value
        return self.all

    def add(self, items: np.ndarray, there: np.ndarray) -> None:
        """Put an item (B,) into every list where one is left, (B,) bool."""
        if self.spice is not None:
            self.spice.add(items)
        if self.mix is not None:
            self.mix.add(items, there)


def arranged(
    query: Query,
    blocks: Blocks,
    numbers: np.ndarray,
    relevance: np.ndarray,
    n: int,
    dial: Dial | None = None,
    gate: Gate | None = None,
) -> np.ndarray:
    """The order in which a list of n shows its candidates, chosen one place after the other.

    At every place it is the candidate with the largest sum of relevance, less what likeness and popularity cost at the
    strength of the dial there, less the divergence from the user's categories at the weight of the rules. Both count
    more further down the list, where a place given up costs less.

    Args:
        query: says how far to explore, what chance hangs on, and how much calibration counts.
        blocks: know how popular and how alike items are.
        numbers: item numbers of the candidates, (B, K) int64, -1 where none stands.
        relevance: of the candidates, (B, K) float32, descending; -inf where none stands.
        n: places that are chosen; the other candidates follow in their order.
        dial: None for the default.
        gate: which candidates may stand at a place; None for all of them.

    Returns:
        Columns, (B, K) int64; every row is a permutation.
    """
    rows, (n_users, width) = np.arange(len(numbers)), numbers.shape
    safe, free = np.where(numbers == ABSENT, 0, numbers), np.isfinite(relevance)
    place = np.broadcast_to(n + np.arange(width), (n_users, width)).copy()
    most = min(n, width)
    values = Values(query, blocks, safe, relevance, width if gate is None else gate.head, most, dial or Dial())
    for step in range(most):
        admitted = free if gate is None else gate.admitted(step, free)
        best = np.where(admitted, values.at(step), -np.inf).argmax(axis=1)
        there = admitted[rows, best]
        place[rows[there], best[there]] = step
        free[rows[there], best[there]] = False
        values.add(safe[rows, best], there)
        if gate is not None:
            gate.add(best, there)
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

"""What a ranking is made of: the question, the blocks whose scores add up, and the judge of the second stage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from recgan.features import ItemTraits, likeness_space, pair_features
from recgan.histories import Histories, Strength
from recgan.linear import Factors, LowRank, SparseRows
from recgan.networks import Discriminator, Generator, PreferenceEncoder
from recgan.ranking.limits import ABSENT as ABSENT
from recgan.ranking.limits import Classes, Pins
from recgan.rules import Rules

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS = 1 << 24
"""Most scores held at once."""

CATEGORY_SHARE = 0.6
"""Of the likeness of two items with categories, where a list shall be of unlike ones."""


@dataclass(frozen=True)
class Query:
    """What is asked for B users.

    Args:
        histories: the condition of the B users.
        blocked: items that must not be listed, a table like the histories.
        profiles: user features, (B, P) float32.
        allowed: items that may be listed, (N,) or (B, N) bool, or a table with a row a user; None for all of them.
        unlimited: who may have any item, whatever the table of `allowed` says, (B,) bool; None for nobody.
        explore: 0 for the accurate list, up to 1 for the adventurous one.
        keys: what the randomness of `explore` hangs on, one a user, (B,) uint64.
        rules: what a list must observe besides relevance.
        noise: a draw of the noise a user, (B, Z) float32, for what one draw wants; None for the noise-free vectors.
        classes: how many items of a class a list may and must hold, or None.
        pins: items with a place of their own, all of which may be listed, or None.
        seen: the blocked items without those that the caller excluded, where there are such; None for all of them. The
            second stage compares as if nothing were excluded, so that to exclude more moves nothing else.
        stated: 1 for a category that the user says to like, (B, Q) float32; None where nobody says any.
        popularity: what one deviation of an item's log popularity costs, in deviations of the user's best scores.
        costs: the same in scores, (B,) float32, which the ranker finds; None for nothing.
    """

    histories: Histories
    blocked: Histories
    profiles: np.ndarray
    allowed: np.ndarray | Histories | None = None
    unlimited: np.ndarray | None = None
    explore: float = 0.0
    keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    rules: Rules = field(default_factory=Rules)
    noise: np.ndarray | None = None
    classes: Classes | None = None
    pins: Pins | None = None
    seen: Histories | None = None
    stated: np.ndarray | None = None
    popularity: float = 0.0
    costs: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """Of whom there is a history or something stated, (B,) bool; the others are strangers."""
        had = self.histories.lengths > 0
        return had if self.stated is None else had | self.stated.any(axis=1)

    def take(self, users: np.ndarray) -> Query:
        """The same question for some of the users."""
        if len(users) == len(self.histories) == 1:
            return self
        allowed = self.allowed
        if isinstance(allowed, Histories):
            allowed = allowed.take(users)
        elif allowed is not None and allowed.ndim == 2:
            allowed = allowed[users]
        keys = self.keys[users] if len(self.keys) else self.keys
        noise = None if self.noise is None else self.noise[users]
        return replace(
            self,
            histories=self.histories.take(users),
            blocked=self.blocked.take(users),
            profiles=self.profiles[users],
            allowed=allowed,
            unlimited=None if self.unlimited is None else self.unlimited[users],
            keys=keys,
            noise=noise,
            pins=None if self.pins is None else self.pins.take(users),
            seen=None if self.seen is None else self.seen.take(users),
            stated=None if self.stated is None else self.stated[users],
            costs=None if self.costs is None else self.costs[users],
        )

    def mask(self, scores: np.ndarray, first: int = 0) -> np.ndarray:
        """Set what must not be listed to the lowest value, in place.

        Args:
            scores: (B, M) of the items from `first` on, float32 (minus infinity) or integers that stand for scores.
            first: number of the first item.
        """
        lowest = -np.inf if scores.dtype.kind == "f" else np.iinfo(scores.dtype).min
        items = slice(first, first + scores.shape[1])
        scores[_inside(self.blocked, items)] = lowest
        if isinstance(self.allowed, Histories):
            refused = np.ones(scores.shape, bool)
            refused[_inside(self.allowed, items)] = False
            if self.unlimited is not None:
                refused[self.unlimited] = False
            scores[refused] = lowest
        elif self.allowed is not None and self.allowed.ndim == 2:
            scores[~self.allowed[:, items]] = lowest
        elif self.allowed is not None:
            scores[:, ~self.allowed[items]] = lowest
        return scores


def _inside(table: Histories, items: slice) -> tuple[np.ndarray, np.ndarray]:
    """Rows and places of a table's entries among some items."""
    if (items.start, items.stop) == (0, table.n_items):
        return table.rows, table.items
    there = (table.items >= items.start) & (table.items < items.stop)
    return table.rows[there], table.items[there] - items.start


@dataclass(frozen=True)
class Weights:
    """What each part counts, chosen on validation data.

    `unknown` is the generated block's share without a history. The two that are called short count in addition while
    a history is short: half as much where it has `fade` items, as `fading` says.
    """

    generated: float = 1.0
    dense: float = 0.0
    factors: float = 0.0
    sparse: float = 0.0
    popularity: float = 0.0
    discriminator: float = 0.0
    unknown: float = 1.0
    short_generated: float = 0.0
    short_popularity: float = 0.0
    fade: float = 10.0


def fading(lengths: np.ndarray, fade: float) -> np.ndarray:
    """How much is left of what counts for short histories: `fade / (fade + length)`, (B,) int64 -> (B, 1) float32.

    Example:
        >>> fading(np.array([0, 10, 30]), 10.0).tolist()
        [[1.0], [0.5], [0.25]]
    """
    return np.asarray(fade / (fade + lengths[:, None]), np.float32)


@dataclass(frozen=True)
class Blocks:
    """The parts whose scores add up to the relevance of stage one.

    Args:
        generator: the generator, in evaluation mode.
        dense: the linear block as columns, or None.
        factors: the block of least squares, or None.
        sparse: the linear block as rows, or None.
        popularity: standardised log popularity, (N,) float32.
        weights: what each part counts.
        noise: the noise bank, (S, Z) float32.
        window: most history items that the encoder reads.
        categories: unit rows of the items' categories, (N, Q) float32; Q may be 0.
        preferences: the encoder of stated categories, or None.
        strength: what the weights of a history's events are worth.
        bias: what is added to the scores of new items, (N,) float32; None where there are none.
        opening: what the items' popularity gains or loses for strangers, (N,) float32; None for nothing. It gives way
            to the dial, which makes lists unlike in its own way.
    """

    generator: Generator
    dense: LowRank | None
    factors: Factors | None
    sparse: SparseRows | None
    popularity: np.ndarray
    weights: Weights
    noise: np.ndarray
    window: int
    categories: np.ndarray
    preferences: PreferenceEncoder | None = None
    strength: Strength = field(default_factory=Strength)
    bias: np.ndarray | None = None
    opening: np.ndarray | None = None

    @cached_property
    def columns(self) -> np.ndarray:
        """Every item as one vector of the search, (N, Q) float32: generated, linear and constant columns."""
        with torch.no_grad():
            generated = self.generator.item_vectors().numpy()
        closed = [block.columns for block, _ in self._closed()]
        shown = None if self.opening is None else self.popularity + self.opening
        constant = [part[:, None] for part in (self.popularity, shown, self.bias) if part is not None]
        return np.ascontiguousarray(np.concatenate([generated, *closed, *constant], axis=1))

    @property
    def constant(self) -> np.ndarray:
        """What every item scores whoever asks and is no stranger, (N,) float32."""
        popular = self.weights.popularity * self.popularity
        return np.asarray(popular if self.bias is None else popular + self.bias)

    def _closed(self) -> list[tuple[LowRank | Factors, float]]:
        """The blocks that are columns of the search and count something, with their weights."""
        both = ((self.dense, self.weights.dense), (self.factors, self.weights.factors))
        return [(block, weight) for block, weight in both if block is not None and weight]

    def conditions(self, histories: Histories, stated: np.ndarray | None = None) -> torch.Tensor:
        """Conditions of B users, (B, C) float32, and of what they state, (B, Q) float32."""
        items, mask = histories.window(np.arange(len(histories)), self.window)
        with torch.no_grad():
            conditions: torch.Tensor = self.generator.condition(torch.from_numpy(items), torch.from_numpy(mask))
            if stated is not None and self.preferences is not None:
                lengths = torch.from_numpy(histories.lengths)
                conditions = self.preferences(conditions, torch.from_numpy(stated), lengths)
        return conditions

    def queries(self, query: Query, wanted: np.ndarray) -> np.ndarray:
        """Queries of B users in the space of `columns`, (B, Q) float32, for wanted vectors (B, D)."""
        closed = [weight * block.queries(query.histories) for block, weight in self._closed()]
        generated, popularity = self.fading_weights(query.histories.lengths)
        share = np.zeros((len(wanted), 1), np.float32)
        if self.opening is not None:  # of a stranger one column counts, so that what is equal stays equal
            share = np.where(query.known, 0.0, 1.0 - query.explore).astype(np.float32)[:, None]
        costs = 0.0 if query.costs is None else query.costs[:, None]
        constant = [(1.0 - share) * popularity - costs]
        if self.opening is not None:
            constant.append(share * popularity)
        if self.bias is not None:
            constant.append(np.ones((len(wanted), 1), np.float32))
        return np.concatenate([generated * wanted, *closed, *constant], axis=1).astype(np.float32)

    def fading_weights(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the generated block and popularity count for histories of such lengths (B,), (B, 1) float32 each."""
        weights, fade = self.weights, fading(lengths, self.weights.fade)
        generated = np.float32(weights.generated) + np.float32(weights.short_generated) * fade
        return generated, np.float32(weights.popularity) + np.float32(weights.short_popularity) * fade

    def sparse_scores(self, histories: Histories) -> csr_matrix | None:
        """Weighted scores of the linear block's rows, (B, N) sparse float32, or None without them."""
        if self.sparse is None or not self.weights.sparse:
            return None
        return self.sparse.scores(histories) * np.float32(self.weights.sparse)

    def wanted(self, query: Query, conditions: torch.Tensor) -> np.ndarray:
        """Wanted vectors, (B, D) float32: noise-free, or those of the query's draws of the noise."""
        share = np.where(query.known, 1.0, self.weights.unknown).astype(np.float32)
        with torch.no_grad():
            if query.noise is None:
                wanted = self.generator.wanted(conditions)
            else:
                wanted = self.generator.wanted(conditions, torch.from_numpy(query.noise)[:, None])[:, 0]
            return wanted.numpy() * share[:, None]

    @cached_property
    def votes(self) -> np.ndarray:
        """One vote an item, shared equally among its categories, (N, Q) float64; zeros for an item without any."""
        votes = (self.categories > 0).astype(np.float64)
        return np.asarray(votes / np.maximum(votes.sum(axis=1, keepdims=True), 1.0))

    @cached_property
    def space(self) -> np.ndarray:
        """Unit rows in which items are alike that please the same people and share categories, (N, Q) float32."""
        with torch.no_grad():
            return likeness_space(self.generator.centred_vectors().numpy(), self.categories)

    @cached_property
    def contrast(self) -> np.ndarray:
        """What every column of `space` counts where items shall be unlike, of categories more, (Q,) float32."""
        weights = np.ones(self.space.shape[1], np.float32)
        if n_categories := self.categories.shape[1]:
            weights[:-n_categories], weights[-n_categories:] = 2.0 * (1.0 - CATEGORY_SHARE), 2.0 * CATEGORY_SHARE
        return weights


@dataclass(frozen=True)
class Judge:
    """The discriminator as second stage, with what its pair features need."""

    discriminator: Discriminator
    traits: ItemTraits

    def corrections(self, query: Query, candidates: np.ndarray, relevance: np.ndarray) -> np.ndarray:
        """What the discriminator adds to the relevance of K candidates, (B, K) float32; 0 where none stands."""
        present = candidates != ABSENT
        numbers = np.where(present, candidates, 0)
        features = torch.from_numpy(self.features(query, numbers, present, relevance))
        with torch.no_grad():
            logits = self.discriminator(features).numpy()
        return np.where(present, logits, 0.0).astype(np.float32)

    def features(self, query: Query, numbers: np.ndarray, present: np.ndarray, relevance: np.ndarray) -> np.ndarray:
        """Pair features and, as the last one, the relevance of stage one, (B, K, F) float32."""
        pairs = pair_features(self.traits, query.histories, query.profiles, numbers)
        relevance = np.where(present, relevance, 0.0)
        return np.concatenate([pairs, relevance[..., None]], axis=-1).astype(np.float32)

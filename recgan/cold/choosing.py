"""The settings of the tower: items that are known are hidden, and ranked by their content as if they were new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from recgan import metrics
from recgan.cold.smoothing import Smoother
from recgan.cold.tower import Settings, Tower, kin, unit
from recgan.histories import Histories
from recgan.ranking import CELLS, Blocks, Query, top_items

PENALTIES = (3.0, 1.0, 10.0, 30.0, 100.0)
SCALES = (1.0, 0.3, 0.0)
KINS = (0.0, 0.5, 1.0)
POPULARITIES = (0.0, 0.25, 0.5, 1.0)
"""Tried for one deviation of the predicted popularity, in deviations of a user's scores."""
HANDICAPS = (-8.0, -6.0, -5.0, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0)
"""Tried for the scores of new items, in deviations of a user's scores."""
LOSS = 0.003
"""Share of the learned items' NDCG that new ones may cost."""
FOLDS, MIXED = 10, 4
"""Parts into which the items are dealt, and how many of these are ranked among all the others."""
MOST_USERS, K = 1000, 20


@dataclass(frozen=True)
class Scores:
    """Scores of V users for the N learned items.

    Args:
        plain: as the model serves them, (V, N) float32.
        hidden: of each item by its content, as if it were new, (V, N) float32.
        popularity: predicted likewise, (N,) float32.
    """

    plain: np.ndarray
    hidden: np.ndarray
    popularity: np.ndarray

    @property
    def unit(self) -> float:
        """Deviation of a user's scores."""
        return float(self.hidden.std(axis=1).mean()) or 1.0

    def new(self, settings: Settings) -> np.ndarray:
        """What each item would score if it were new, (V, N) float32."""
        return np.asarray(self.hidden + (settings.popularity * self.popularity + settings.handicap), np.float32)


class Chooser:
    """Tries settings of the tower on users whose held-out items are known.

    Args:
        items: table of the N learned items.
        counts: their interactions, (N,).
        blocks: of the model.
        query: of the validation users.
        truth: their held-out items.
        seed: of the folds.
    """

    def __init__(
        self, items: pd.DataFrame, counts: np.ndarray, blocks: Blocks, query: Query, truth: Histories, seed: int
    ) -> None:
        asked = np.flatnonzero(truth.lengths)[: max(1, min(MOST_USERS, CELLS // len(items)))]
        self.query, self.truth = query.take(asked), truth.take(asked)
        self.counts, self.blocks = counts, blocks
        self.fold = np.random.default_rng(seed).permutation(np.arange(len(items)) % FOLDS)
        reader = Tower.of(items, Settings()).reader
        self.groups = reader.groups
        self.features = cache(lambda scales: reader.read(items, dict(scales)))
        self.kin = cache(lambda scales: kin(self.features(scales), self.features(scales), alone=False))
        wanted = blocks.wanted(self.query, blocks.conditions(self.query.histories))
        queries, width = blocks.queries(self.query, wanted), wanted.shape[1]
        self.wanted = queries[:, :width]
        self.vectors = np.asarray(blocks.columns[:, :width])
        self.linear = np.asarray(queries[:, width:] @ blocks.columns[:, width:].T, np.float32)
        sparse = blocks.sparse_scores(self.query.histories)
        self.sparse = None if sparse is None else sparse.toarray()

    def scores(self, settings: Settings) -> Scores:
        """What the model says of every item, and what it would say if it knew its content alone."""
        scales = tuple(sorted(settings.scales.items()))
        smoother, shares = Smoother(self.features(scales), self.counts, settings.penalty), self.kin(scales)
        width = self.vectors.shape[1]
        values = np.concatenate([self.vectors, self.linear.T, self.blocks.popularity[:, None]], axis=1)
        left_out = smoother.left_out(values)
        left_out += shares @ (values - left_out) * np.float32(settings.kin)
        plain = self.wanted @ self.vectors.T + self.linear
        hidden = self.wanted @ unit(left_out[:, :width]).T + left_out[:, width:-1].T
        if self.sparse is not None:
            plain, hidden = plain + self.sparse, hidden + (shares @ self.sparse.T).T
        return Scores(plain, hidden, left_out[:, -1])

    def among_new(self, scores: np.ndarray) -> float:
        """NDCG of held-out items among those that are hidden together, averaged over the folds."""
        parts = [self.truth.part(self.fold[self.truth.items] == fold) for fold in range(FOLDS)]
        hidden = (np.where(self.fold == fold, scores, np.float32(-np.inf)) for fold in range(FOLDS))
        return float(np.mean([self._ndcg(one, truth) for one, truth in zip(hidden, parts, strict=True)]))

    def among_learned(self, scores: Scores, settings: Settings | None) -> float:
        """NDCG of held-out items that are known where others are hidden, or with None not even listed."""
        new = np.float32(-np.inf) if settings is None else scores.new(settings)
        parts = [self.truth.part(self.fold[self.truth.items] != fold) for fold in range(MIXED)]
        mixed = (np.where(self.fold == fold, new, scores.plain) for fold in range(MIXED))
        return float(np.mean([self._ndcg(one, truth) for one, truth in zip(mixed, parts, strict=True)]))

    def _ndcg(self, scores: np.ndarray, truth: Histories) -> float:
        """Mean over the users who have a truth; the scores are written to."""
        asked = np.flatnonzero(truth.lengths)
        if not len(asked):
            return 0.0
        numbers = top_items(self.query.mask(scores)[asked], K)[0]
        truth = truth.take(asked)
        return float(metrics.RANKING["ndcg"](truth.holds(numbers), truth.lengths, K).mean())

    def choose(self) -> tuple[Settings, dict[str, Any]]:
        """The best settings, one after the other, and what they are worth; JSON values."""
        best = Settings(scales=dict.fromkeys(self.groups, 1.0))
        value = self._value(best)
        for change in self._changes():
            for settings in change(best):
                if settings != best and (tried := self._value(settings)) > value:
                    best, value = settings, tried
        scores = self.scores(best)
        best = max(self._popularities(scores, best), key=lambda one: self.among_new(scores.new(one)))
        best, kept = self._handicapped(scores, best)
        chance = np.random.default_rng(0).random(scores.plain.shape, np.float32)
        told = {**vars(best), "scales": dict(best.scales), "learned items keep": kept}
        values = {"content": scores.new(best), "chance": chance, "interactions": scores.plain}
        return best, told | {f"ndcg@{K} by {name}": self.among_new(value) for name, value in values.items()}

    def _handicapped(self, scores: Scores, best: Settings) -> tuple[Settings, float]:
        """The smallest handicap that costs the learned items next to nothing, and the share that they keep."""
        whole = self.among_learned(scores, None) or 1.0
        tried = [replace(best, handicap=step * scores.unit) for step in HANDICAPS]
        kept = {one.handicap: self.among_learned(scores, one) / whole for one in tried}
        cheap = [one for one in tried if kept[one.handicap] >= 1.0 - LOSS]
        chosen = max(cheap or tried[:1], key=lambda one: one.handicap)
        return chosen, kept[chosen.handicap]

    def _value(self, settings: Settings) -> float:
        scores = self.scores(settings)
        return max(self.among_new(scores.new(one)) for one in self._popularities(scores, settings)[:2])

    def _changes(self) -> list[Callable[[Settings], list[Settings]]]:
        def penalties(best: Settings) -> list[Settings]:
            return [replace(best, penalty=penalty) for penalty in PENALTIES]

        def scaled(group: str) -> Callable[[Settings], list[Settings]]:
            return lambda best: [replace(best, scales=_set(best.scales, group, scale)) for scale in SCALES]

        def kins(best: Settings) -> list[Settings]:
            return [replace(best, kin=share) for share in KINS]

        return [*map(scaled, self.groups), penalties, kins, *map(scaled, self.groups)]

    @staticmethod
    def _popularities(scores: Scores, best: Settings) -> list[Settings]:
        return [replace(best, popularity=step * scores.unit) for step in POPULARITIES]


def _set(scales: Mapping[str, float], group: str, scale: float) -> dict[str, float]:
    return {**scales, group: scale}

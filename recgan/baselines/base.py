"""What the baselines share: hyper-parameters in, `fit`, then the calls of every recommender."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from recgan.baselines import tuning
from recgan.errors import ConfigError, DataError
from recgan.histories import Histories, Strength, tastes
from recgan.interactions import by_taste, read_interactions
from recgan.items import read_items
from recgan.ranking import ABSENT, CELLS, Query, top_items
from recgan.schema import ITEM, USER
from recgan.serving import BaseRecommender
from recgan.splits import Holdout
from recgan.tables import Source
from recgan.vocabulary import Vocabulary

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class TrainingData:
    """Interactions as numbers.

    Args:
        users: numbers of the U users.
        items: numbers of the N items; those without interactions stand at the end.
        histories: interactions of the users.
        disliked: what must never be listed to them; None for nothing.
    """

    users: Vocabulary
    items: Vocabulary
    histories: Histories
    disliked: Histories | None = None

    @classmethod
    def read(cls, interactions: Source, items: Source | None) -> TrainingData:
        """Read interactions and, where given, the items that the catalogue holds besides."""
        frame = read_interactions(interactions)
        users, catalogue = Vocabulary.of(frame[USER]), Vocabulary.of(by_taste(frame)[0][ITEM])
        if not len(catalogue):
            raise DataError("interactions: no row has a weight above 0, so nobody likes anything")
        if items is not None:
            ids = read_items(items)[ITEM]
            if not catalogue.same_type(ids):
                raise DataError(
                    f"items: ids such as {ids.tolist()[0]!r}, but {frame[ITEM].tolist()[0]!r} in the interactions: no "
                    "id would match; convert one of them, for example with .astype(str)"
                )
            catalogue = catalogue.extended(ids)
        liked, disliked = tastes(frame, users, catalogue)
        return cls(users, catalogue, liked.strengthened(Strength()), disliked)


class Baseline(BaseRecommender, ABC):
    """A classic: `fit` it, then `recommend` and `recommend_batch` work as on a Recommender.

    A user without any known item gets the most popular items, whatever the baseline, because a row of equal scores
    would be an arbitrary list. `explore` has to be 0: there is no generator to explore with.
    """

    grid: ClassVar[Mapping[str, Sequence[Any]]]
    """The values that `tune` tries, by hyper-parameter."""

    tuning: pd.DataFrame | None = None
    """The settings that `tune` tried: one row a setting, its metric and its seconds; None without `tune`."""

    @property
    def params(self) -> dict[str, Any]:
        """The hyper-parameters, ready to be given to the constructor again."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.params.items())})"

    if TYPE_CHECKING:

        def __init__(self, **params: Any) -> None: ...

    else:

        def __getattr__(self, name: str) -> Any:
            if name in ("_users", "_items", "_histories", "_profiles"):
                raise ConfigError(f"{type(self).__name__}: not fitted yet, call fit(interactions) first")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def fit(self, interactions: Source, items: Source | None = None) -> Self:
        """Learn from interactions; ratings are not looked at, nor are weights but for dislikes, which are never listed.

        Args:
            interactions: a frame with user_id, item_id, or a path for `read_interactions`.
            items: a table with item_id; its items join the catalogue.

        Returns:
            The baseline itself.

        Raises:
            DataError: when a table is not usable.
            ConfigError: when a library is missing.
            TrainingError: when the training diverged.
        """
        data = TrainingData.read(interactions, items)
        return self._fit(data, self._prepare(data.histories))

    @classmethod
    def tune(
        cls,
        train: Source,
        validation: Holdout,
        items: Source | None = None,
        metric: str = "ndcg@10",
        grid: Mapping[str, Sequence[Any]] | None = None,
    ) -> Self:
        """Fit every setting of a grid, and keep the one that serves the validation users best.

        Args:
            train: interactions to fit.
            validation: users with the history that is served and the truth that is looked for, from a split.
            items: a table with item_id; its items join the catalogue.
            metric: a ranking metric with its k, as for `evaluate`.
            grid: hyper-parameter to the values tried, all combinations of them; None: `grid` of the class.

        Returns:
            The best baseline, fitted; of equals the first. Its `tuning` holds all settings tried.

        Raises:
            ConfigError: when the metric or the grid is no such thing, or a library is missing.
            DataError: when a table is not usable.
            TrainingError: when the training diverged under every setting.
        """
        return tuning.search(cls, TrainingData.read(train, items), validation, metric, grid)

    @classmethod
    def _grid_for(cls, histories: Histories) -> Mapping[str, Sequence[Any]]:
        """The default grid, where some values need what the data lacks."""
        return cls.grid

    @classmethod
    def _prepare(cls, histories: Histories) -> Any:
        """What all settings need, so that a grid computes it once: by default the matrix, (U, N) float32."""
        return histories.matrix()

    def _fit(self, data: TrainingData, prepared: Any) -> Self:
        self._popularity = data.histories.counts().astype(np.float32)
        self._learn(data.histories, prepared)
        super().__init__(data.users, data.items, data.histories, disliked=data.disliked)
        return self

    @abstractmethod
    def _learn(self, histories: Histories, prepared: Any) -> None:
        """Learn from the histories and what `_prepare` made of them."""

    @abstractmethod
    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        """Scores of the catalogue for users with these histories and numbers, a new array, (B, N) float32."""

    def _rank(self, query: Query, numbers: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        name = type(self).__name__
        if query.explore:
            raise ConfigError(f"explore: 0 for {name}, which has no generator to explore with, not {query.explore!r}")
        found = np.full((len(numbers), n), ABSENT, np.int64)
        scores = np.full((len(numbers), n), -np.inf, np.float32)
        block = max(1, CELLS // len(self._items))
        for start in range(0, len(numbers), block):
            rows = np.arange(start, min(start + block, len(numbers)))
            part = query.take(rows)
            dense = self._scores(part.histories, numbers[rows])
            dense[part.histories.lengths == 0] = self._popularity
            found[rows], scores[rows] = top_items(part.mask(dense), n)
        return found, scores


def number_above_zero(name: str, value: Any, *, or_zero: bool = False) -> float:
    """The value, a finite number above 0 (or 0 itself); a ConfigError says otherwise."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        raise ConfigError(f"{name}: a number {'of at least' if or_zero else 'above'} 0, not {value!r}")
    return float(value)


def share(name: str, value: Any, *, or_zero: bool = False) -> float:
    """The value, a number above 0 (or 0 itself) and at most 1; a ConfigError says otherwise."""
    if number_above_zero(name, value, or_zero=or_zero) > 1.0:
        raise ConfigError(f"{name}: a number of at most 1, not {value!r}")
    return float(value)


def below_one(name: str, value: Any) -> float:
    """The value, a number of at least 0 and below 1; a ConfigError says otherwise."""
    if number_above_zero(name, value, or_zero=True) >= 1.0:
        raise ConfigError(f"{name}: a number below 1, not {value!r}")
    return float(value)


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """The value, a whole number of at least `least`; a ConfigError says otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"{name}: a whole number of at least {least}, not {value!r}")
    return int(value)

"""Items that come, go and change, without training."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd

from recgan import changes
from recgan.generative import Generative
from recgan.preferences import Reader, Statement
from recgan.schema import ITEM
from recgan.serving import id_series, refuse_repeats
from recgan.storage import Parts
from recgan.tables import Source


class Growing(Generative):
    """A recommender whose catalogue can be changed; every change is a new model, and the old one stays as it is."""

    @property
    @abstractmethod
    def _parts(self) -> Parts:
        """All that the model is made of."""

    @abstractmethod
    def _with(self, parts: Parts) -> Self:
        """The same model of other parts."""

    @cached_property
    def _reader(self) -> Reader:
        """What users state is understood in the categories that were learned; others come behind them."""
        learned = list(self._learned_categories)
        flags = self._category_flags
        others = [name for name in flags.columns if name not in set(learned)]
        return Reader(self._items, flags.reindex(columns=[*learned, *others], fill_value=0))

    def _stated(self, users: list[Any], preferences: Any) -> Statement:
        said = super()._stated(users, preferences)
        return replace(said, categories=said.categories[:, : len(self._learned_categories)])

    @property
    def _learned_categories(self) -> tuple[str, ...]:
        tower = self._parts.tower
        return super()._learned_categories if tower is None else tower.category_names

    @property
    def new_items(self) -> pd.Series:
        """Ids of the items that are known by their content alone, in the order in which they came."""
        tower = self._parts.tower
        learned = len(self._items) if tower is None else tower.learned
        return self._items.ids(np.arange(learned, len(self._items)))

    def add_items(self, items: Source) -> Self:
        """A model with more items, which can be listed at once; this one stays as it is.

        What the model would have learned of an item is predicted from its content by ridge regression on the items
        that it has learned; `info()["content"]` tells how well. Lists of the items that were there keep their order.

        Args:
            items: as in `train`: item_id and content, a frame or a path. Columns that the model has not learned are
                ignored; those that are missing count as unknown.

        Returns:
            The new model.

        Raises:
            ConfigError: when the model was trained without content of items.
            DataError: for an item that is known already or stands there twice, ids of the other type, an item of whose
                content the model knows nothing, or a column that holds something else than in training.
        """
        return self._with(changes.added(self._parts, items, self._config))

    def remove_items(self, ids: Any) -> Self:
        """A model without some items, in lists and in histories; this one stays as it is.

        What they told of their users is gone with them: an item that is only out of stock is better left out of
        `items=`, or named in `exclude=`.

        Args:
            ids: ids of items of the catalogue.

        Returns:
            The new model.

        Raises:
            UnknownItemError: for an item outside the catalogue.
            DataError: when an item is named twice, or less than two would be left.
        """
        series = id_series(ids, ITEM)
        refuse_repeats(series, "items")
        numbers = np.array([self._one_item(one) for one in series.tolist()], np.int64)
        return self._with(changes.removed(self._parts, numbers, self._config))

    def update_items(self, items: Source) -> Self:
        """A model that knows other content of some of its items; this one stays as it is.

        What was learned of an item from its interactions stays; what was predicted of a new item is predicted again.

        Args:
            items: item_id and the columns that change, a frame or a path.

        Returns:
            The new model.

        Raises:
            ConfigError: when the model was trained without content of items.
            DataError: for an item that is unknown or stands there twice, or as in `add_items`.
        """
        return self._with(changes.updated(self._parts, items, self._config))

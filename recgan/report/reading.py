"""What the report reads from a model: names of items, counts and histories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recgan.recommender import Recommender
from recgan.report.theme import plain
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, TITLE, YEAR


@dataclass(frozen=True)
class Catalogue:
    """The N items in words and numbers.

    Args:
        ids: the caller's ids, in the order of the item numbers.
        names: title with year, or the id where no title is known.
        categories: categories of every item, in their order; empty where none is known.
        counts: interactions of every item, (N,) int64.
    """

    ids: pd.Index
    names: list[str]
    categories: list[list[str]]
    counts: np.ndarray

    @classmethod
    def of(cls, model: Recommender) -> Catalogue:
        """The catalogue of a model; its item table may lack every column but item_id."""
        table = model.item_table
        titles = _column(table, TITLE)
        years = _column(table, YEAR)
        names = [_name(item, *rest) for item, *rest in zip(model.items, titles, years, strict=True)]
        categories = [_split(value) for value in _column(table, CATEGORIES)]
        return cls(pd.Index(model.items), names, categories, model._histories.counts())

    def numbers(self, ids: Any) -> np.ndarray:
        """Item numbers of the catalogue's own ids, (K,) int64."""
        return np.asarray(self.ids.get_indexer(pd.Index(ids)), np.int64)

    @property
    def by_popularity(self) -> np.ndarray:
        """Item numbers, the most popular first, (N,) int64."""
        return np.argsort(-self.counts, kind="stable")


def _column(table: pd.DataFrame, name: str) -> list[Any]:
    if name not in table.columns:
        return [None] * len(table)
    return [None if missing else value for value, missing in zip(table[name], table[name].isna(), strict=True)]


def _name(item: Any, title: Any, year: Any) -> str:
    text = plain("" if title is None else title)
    if not text:
        return plain(item)
    known = isinstance(year, (int, float, np.number)) and np.isfinite(year)
    told = f"({int(year)})" if known else ""
    return text if not told or text.endswith(told) else f"{text} {told}"


def _split(value: Any) -> list[str]:
    names = [plain(name) for name in str(value or "").split(CATEGORY_SEPARATOR)]
    return list(dict.fromkeys(name for name in names if name))


def example_users(model: Recommender, most: int = 4) -> list[Any]:
    """Ids of users with short to long histories, spread over all users who have one."""
    lengths = model._histories.lengths
    able = np.flatnonzero(lengths)
    order = able[np.argsort(lengths[able], kind="stable")]
    places = np.unique((np.linspace(0.25, 0.95, most) * max(0, len(order) - 1)).astype(np.int64))
    return list(model.users.iloc[order[places[: len(order)]]])


def history(model: Recommender, user: Any) -> np.ndarray:
    """Item numbers of a known user, newest first where the model knows an order, (length,) int64."""
    items = model._histories.of(model._one_user(user))
    return items[::-1] if model._histories.ordered else items

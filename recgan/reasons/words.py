"""Reasons in words: one English sentence that tells why an item is in a list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, ITEM, TITLE

NO_HISTORY = "No history yet: popular with others"
POPULAR = "Popular with others"
UNTOLD = "Something else: nothing in the history points here"
PINNED = "Placed here by a rule"

BESIDE = 0.5
"""The second item is named where it pulls at least this much of what the first one pulls."""

MOST_SHARED = 3
"""Most categories in a sentence."""

WITH_YEAR = re.compile(r"\(\d{4}\)$")
"""A title that ends in a year, which shares its brackets with a share."""

MOST_LETTERS = 60
"""A longer title is cut."""


class Words:
    """Names of the items and of what they have in common.

    Args:
        items: the item table, by item number: item_id, and title and categories where they are known.

    Example:
        >>> films = pd.DataFrame({"item_id": [7, 8, 9], "title": ["Kolya (1996)", "Delicatessen", ""]})
        >>> words = Words(films.assign(categories=["Comedy", "Comedy|Sci-Fi", "Comedy|Drama"]))
        >>> words.sentence(2, [0, 1], [0.34, 0.21])
        'Because of Kolya (1996, 34 %) and Delicatessen (21 %): Comedy'
        >>> words.sentence(1, [2, 0], [0.8, 0.2])
        'Because of item 9 (80 %): Comedy'
    """

    def __init__(self, items: pd.DataFrame) -> None:
        titles = [""] * len(items) if TITLE not in items.columns else items[TITLE].tolist()
        self._names = [_name(title, one) for title, one in zip(titles, items[ITEM].tolist(), strict=True)]
        lists = [None] * len(items) if CATEGORIES not in items.columns else items[CATEGORIES].tolist()
        self._categories = [_split(one) for one in lists]

    def common(self, item: int, others: Iterable[int]) -> list[str]:
        """Categories of an item that one of the others has, too, in the item's order; all are numbers."""
        known = {name for other in others for name in self._categories[other]}
        return [name for name in self._categories[item] if name in known]

    def sentence(self, item: int, because: Sequence[int], shares: Sequence[float]) -> str:
        """Why an item is listed: the one or two items of the history that pull most, and what they have in common.

        Args:
            item: its number.
            because: numbers of history items, the strongest first, at least one.
            shares: of these in all that pulls, each in (0, 1].

        Returns:
            A line without end.
        """
        n = 2 if len(because) > 1 and shares[1] >= BESIDE * shares[0] else 1
        named = [_with_share(self._names[one], share) for one, share in zip(because[:n], shares[:n], strict=True)]
        common = self.common(item, because[:n])[:MOST_SHARED]
        return f"Because of {' and '.join(named)}" + (f": {', '.join(common)}" if common else "")


def as_stated(categories: Sequence[str]) -> str:
    """What is told of an item that has categories which a user without a history has stated.

    Example:
        >>> as_stated(["Comedy", "Drama"])
        'You said that you like Comedy, Drama'
    """
    return f"You said that you like {', '.join(map(_plain, categories[:MOST_SHARED]))}"


def reasons_of(
    words: Words, items: np.ndarray, because: np.ndarray, shares: np.ndarray, otherwise: np.ndarray
) -> list[str]:
    """A sentence a row.

    Args:
        words: of the item table.
        items: item numbers, (R,) int64.
        because: the history items that pull most, (R, M) int64, -1 for none.
        shares: of these, (R, M) float64.
        otherwise: what is told of a row for which there is nothing in the history, (R,) text.

    Returns:
        R lines.
    """
    rows = zip(
        items.tolist(), because.tolist(), shares.tolist(), (because >= 0).sum(axis=1).tolist(), otherwise, strict=True
    )
    return [
        words.sentence(item, first[:known], share[:known]) if known else str(other)
        for item, first, share, known, other in rows
    ]


def _name(title: Any, one: Any) -> str:
    text = _plain(title) if isinstance(title, str) else ""
    if not text:
        return _plain(one) or repr(one) if isinstance(one, str) else f"item {one}"
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1].rstrip()}…"


def _with_share(name: str, share: float) -> str:
    told = f"{max(1, round(100 * share))} %"
    return f"{name[:-1]}, {told})" if WITH_YEAR.search(name) else f"{name} ({told})"


def _split(categories: Any) -> tuple[str, ...]:
    names = categories.split(CATEGORY_SEPARATOR) if isinstance(categories, str) else []
    return tuple(filter(None, map(_plain, names)))


def _plain(text: str) -> str:
    """A text on one line, without what no file or terminal shows."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())

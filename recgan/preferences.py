"""What users say of themselves instead of showing it: categories and items that they like, and what they avoid."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from recgan.errors import ConfigError, DataError
from recgan.histories import Histories
from recgan.rules import Id
from recgan.schema import refuse_other_keys, shown
from recgan.vocabulary import UNKNOWN, Vocabulary


class Preferences(BaseModel):
    """What one user states.

    Args:
        categories: that the user likes; they move the condition of the generator.
        items: that the user likes, as if they were the newest of the history; like these they are not listed.
        avoid: items, and categories of which no item is listed.

    Example:
        >>> Preferences.of({"categories": ["Drama"], "avoid": ["Horror", 5]})
        Preferences(categories=('Drama',), items=(), avoid=('Horror', 5))
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    categories: tuple[str, ...] = ()
    items: tuple[Id, ...] = ()
    avoid: tuple[Id, ...] = ()

    @field_validator("categories", "items", "avoid", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            raise ValueError(f"a list is expected, not {shown(value)}")
        return tuple(one.item() if isinstance(one, np.generic) else one for one in value)

    @classmethod
    def of(cls, preferences: Preferences | Mapping[str, Any]) -> Preferences:
        """The preferences that are given as such or as a mapping.

        Raises:
            ConfigError: for an unknown key or a bad value.
        """
        if isinstance(preferences, Preferences):
            return preferences
        if not isinstance(preferences, Mapping):
            raise ConfigError(f"preferences: a dictionary, not {type(preferences).__name__}")
        try:
            return cls.model_validate(dict(preferences))
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            raise ConfigError(f"preferences: {name}: {first['msg']}; there is {', '.join(cls.model_fields)}") from None


def of_users(preferences: Any, users: Sequence[Any]) -> list[Preferences]:
    """What each user states: the same for all, or {user_id: preferences} with nothing of those who are not there.

    Raises:
        ConfigError: when it is neither.

    Example:
        >>> [one.categories for one in of_users({7: {"categories": ["Drama"]}}, [7, 8])]
        [('Drama',), ()]
    """
    if isinstance(preferences, Mapping) and preferences and not set(preferences) <= set(Preferences.model_fields):
        strange = [name for name in preferences if isinstance(name, str)]
        if not all(isinstance(one, Mapping | Preferences) for one in preferences.values()):
            raise ConfigError(
                f"preferences: {shown(strange[0] if strange else next(iter(preferences)))} is no key of theirs; give "
                f"{', '.join(Preferences.model_fields)}, or {{user_id: preferences}}"
            )
        refuse_other_keys(preferences, users, "preferences")
        return [Preferences.of(preferences.get(user, {})) for user in users]
    return [Preferences.of(preferences)] * len(users)


@dataclass(frozen=True)
class Statement:
    """What B users state, as numbers.

    Args:
        liked: items that they like, a table with a row a user.
        avoided: items that must not be listed, likewise.
        categories: 1 for a category that the user likes, (B, Q) float32.
    """

    liked: Histories
    avoided: Histories
    categories: np.ndarray

    @property
    def told(self) -> np.ndarray:
        """Who says to like something, (B,) bool."""
        return np.asarray((self.liked.lengths > 0) | self.categories.any(axis=1))

    def take(self, rows: np.ndarray) -> Statement:
        """What some of the users state."""
        return Statement(self.liked.take(rows), self.avoided.take(rows), self.categories[rows])


class Reader:
    """Finds what users state in a catalogue.

    Args:
        items: numbers of the N items.
        flags: which item has which category, a column each, (N, Q).
    """

    def __init__(self, items: Vocabulary, flags: pd.DataFrame) -> None:
        self.items = items
        self.names = {name: place for place, name in enumerate(flags.columns)}
        self.members = [np.flatnonzero(flags[name].to_numpy()) for name in flags.columns]

    def read(self, preferences: Sequence[Preferences]) -> Statement:
        """What B users state.

        Raises:
            DataError: for a category that no item has, an id of the wrong type, or something to avoid that is neither.
        """
        stated = np.zeros((len(preferences), len(self.names)), np.float32)
        for row, one in enumerate(preferences):
            stated[row, [self._place(name) for name in one.categories]] = 1.0
        liked = [self._known(one.items) for one in preferences]
        avoided = [np.concatenate([np.empty(0, np.int64), *self._avoided(one.avoid)]) for one in preferences]
        n_items = len(self.items)
        return Statement(Histories.from_lists(liked, n_items), Histories.from_lists(avoided, n_items), stated)

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise DataError(f"preferences: no item has the category {shown(name)}{self._nearest(name)}")
        return self.names[name]

    def _nearest(self, name: str) -> str:
        if not self.names:
            return "; the model knows no categories: train it with items that have some"
        near = difflib.get_close_matches(name, list(self.names), 1)
        return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(list(self.names)[:10])}"

    def _known(self, ids: Sequence[Id]) -> np.ndarray:
        if not ids:
            return np.empty(0, np.int64)
        series = pd.Series(list(ids))
        if not self.items.same_type(series):
            raise DataError(f"preferences: items: ids such as {shown(ids[0])} are of another type than the catalogue's")
        numbers = self.items.numbers(series)
        if (numbers == UNKNOWN).any():
            first = series[numbers == UNKNOWN].tolist()[0]
            warnings.warn(
                f"preferences: items outside the catalogue, such as {shown(first)}, are ignored", stacklevel=2
            )
        return np.unique(numbers[numbers != UNKNOWN])

    def _avoided(self, words: Sequence[Id]) -> Iterator[np.ndarray]:
        for word in words:
            if word in self.names:
                yield self.members[self.names[str(word)]]
                continue
            number = int(self.items.numbers([word])[0])
            if number != UNKNOWN:
                yield np.array([number], np.int64)
            elif isinstance(word, str) or not self.items.same_type(pd.Series([word])):
                raise DataError(
                    f"preferences: avoid: {shown(word)} is neither a category nor an item{self._nearest(str(word))}"
                )

"""Rules of a list beyond relevance."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recgan.errors import ConfigError

Id = int | str
Places = tuple[Id, ...] | dict[int, Id]


class Rules(BaseModel):
    """What a list must observe besides relevance.

    No rule brings in an item that was seen, excluded or not allowed, repeats one, or pads a list. At every place stands
    the best item that the rules leave open, of the whole catalogue. Where that cannot be had, the list is filled as far
    as possible: a maximum always holds and may shorten it, a minimum is filled as far as there are items. Places are
    filled one after the other, each by the best item that helps: where items have several categories, another choice
    above could now and then fill more. Pinned items count towards both, and stand even where there are more of a
    category than may be. Lists of different length are prefixes of each other unless there is a minimum, which is about
    the whole list.

    Args:
        calibration: how much the mix of categories follows the user's own: 0 not at all, 1 whatever it costs (Steck,
            RecSys 2018). It does nothing for items without categories and for users without a history.
        max_per_category: at most so many items of a category, the same for all or {category: number}.
        min_per_category: at least so many, {category: number}; taken as far down the list as possible.
        min_new: at least so many new items.
        max_new: at most so many new items.
        new_below: an item is new that has fewer interactions than this in the model.
        pinned: items with a place of their own: ids, which stand first in this order, or {place: id}, places from 1; or
            {user_id: either of the two}. One that is not allowed, excluded or seen already is left out for that user
            (of ids, the next ones move up); one that is not in the catalogue is left out with a warning. Where a list
            ends above a place, the item is its last one. `score` is its relevance, wherever it stands.

    Example:
        >>> Rules(calibration=0.5, max_per_category={"Drama": 3})
        Rules(calibration=0.5, max_per_category={'Drama': 3})
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    calibration: float = Field(0.0, ge=0.0, le=1.0)
    max_per_category: int | dict[str, int] | None = None
    min_per_category: dict[str, int] = Field(default_factory=dict)
    min_new: int = Field(0, ge=0)
    max_new: int | None = Field(None, ge=0)
    new_below: int = Field(5, ge=1)
    pinned: Any = None

    def __repr_args__(self) -> Any:
        return [(name, getattr(self, name)) for name in type(self).model_fields if name in self.model_fields_set]

    @field_validator("max_per_category", "min_per_category", "min_new", "max_new", "new_below", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return {name: _plain(one) for name, one in value.items()} if isinstance(value, Mapping) else _plain(value)

    @field_validator("max_per_category", "min_per_category")
    @classmethod
    def _counts(cls, value: Any) -> Any:
        if any(one < 0 for one in (value.values() if isinstance(value, dict) else [value or 0])):
            raise ValueError("numbers of at least 0")
        return value

    @field_validator("pinned", mode="before")
    @classmethod
    def _settled(cls, value: Any) -> Any:
        if value is None or (isinstance(value, Mapping) and not value):
            return None
        if isinstance(value, Mapping) and not any(map(_is_id, value.values())):
            return {_plain(user): _places(one) for user, one in value.items()}
        return _places(value)

    @model_validator(mode="after")
    def _possible(self) -> Rules:
        if self.max_new is not None and self.min_new > self.max_new:
            raise ValueError(f"min_new is {self.min_new} and max_new {self.max_new}")
        for name, least in self.min_per_category.items():
            most = self.most_of(name)
            if most is not None and least > most:
                raise ValueError(f"{name}: min_per_category is {least} and max_per_category {most}")
        return self

    def most_of(self, category: str) -> int | None:
        """How many items of a category a list may hold; None where there is no such rule."""
        most = self.max_per_category
        return most.get(category) if isinstance(most, dict) else most

    @property
    def pinned_by_user(self) -> dict[Id, Places] | None:
        """The pinned items of each user; None where all users have the same."""
        by_user = isinstance(self.pinned, dict) and not _is_id(next(iter(self.pinned.values())))
        return self.pinned if by_user else None

    @classmethod
    def of(cls, rules: Rules | Mapping[str, Any] | None) -> Rules:
        """The rules that are given as such, as a mapping, or not at all.

        Raises:
            ConfigError: for an unknown rule or a bad value.
        """
        if isinstance(rules, Rules):
            return rules
        if rules is not None and not isinstance(rules, Mapping):
            raise ConfigError(f"rules: recgan.Rules, a dictionary or None, not {type(rules).__name__}")
        try:
            return cls.model_validate(dict(rules or {}))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            told = f"{name}: {first['msg']}" if name else first["msg"]
            raise ConfigError(f"rules: {told}; there is {', '.join(cls.model_fields)}") from None


def _places(value: Any) -> Places:
    """Pinned items as plain ids in their order, or by place from 1."""
    if isinstance(value, Mapping):
        if not all(_is_whole(place) and place >= 1 for place in value):
            raise ValueError("places are whole numbers of at least 1")
        placed = {int(place): _plain(one) for place, one in sorted(value.items())}
        ids = tuple(placed.values())
    elif isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise ValueError("ids, {place: id}, or {user_id: either}")
    else:
        placed, ids = None, tuple(_plain(one) for one in value)
    if not all(map(_is_id, ids)):
        raise ValueError("ids are whole numbers or text")
    if len(set(ids)) < len(ids):
        raise ValueError("an item is pinned twice")
    return ids if placed is None else placed


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or _is_whole(value)


def _plain(value: Any) -> Any:
    """A NumPy number as Python's own; anything else as it is."""
    return int(value) if _is_whole(value) else value

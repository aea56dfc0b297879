"""Rules, which speak of categories and ids, as classes and places of item numbers."""

from __future__ import annotations

import warnings
from itertools import repeat

import numpy as np
import pandas as pd

from recgan.errors import ConfigError, DataError
from recgan.histories import Histories
from recgan.ranking import ABSENT, Classes, Pins, Query
from recgan.rules import Places, Rules
from recgan.schema import refuse_other_keys
from recgan.vocabulary import UNKNOWN, Vocabulary


def classes_of(rules: Rules, categories: pd.DataFrame, counts: np.ndarray) -> Classes | None:
    """What lists may and must hold of categories and of new items.

    Args:
        rules: of the lists.
        categories: which item has which category, (N, Q) of 0 and 1, a column a category.
        counts: interactions of the items, (N,) int64.

    Returns:
        The classes that are bounded; None where there are none.

    Raises:
        ConfigError: for a category that no item has.
    """
    per_category = rules.max_per_category
    named = [*rules.min_per_category, *(per_category if isinstance(per_category, dict) else ())]
    if named or per_category is not None:
        _check_categories(named, categories)
    names = list(map(str, categories)) if isinstance(per_category, int) else sorted(set(named))
    unbounded = len(counts)
    members = [categories[name].to_numpy() > 0 for name in names]
    most = [unbounded if rules.most_of(name) is None else rules.most_of(name) for name in names]
    least = [rules.min_per_category.get(name, 0) for name in names]
    if rules.min_new or rules.max_new is not None:
        members.append(_new(rules, counts))
        most.append(unbounded if rules.max_new is None else rules.max_new)
        least.append(rules.min_new)
    if not members:
        return None
    return Classes(np.stack(members, axis=1), np.array(most, np.int64), np.array(least, np.int64))


def _check_categories(named: list[str], categories: pd.DataFrame) -> None:
    if not len(categories.columns):
        raise ConfigError("rules: the model knows no categories; train it with items= that have a column categories")
    unknown = [name for name in named if name not in categories.columns]
    if unknown:
        known = ", ".join(map(repr, categories.columns[:20])) + ", ..." * (len(categories.columns) > 20)
        raise ConfigError(f"rules: no item has the category {unknown[0]!r}; there is {known}")


def _new(rules: Rules, counts: np.ndarray) -> np.ndarray:
    new = counts < rules.new_below
    if rules.min_new and not new.any():
        warnings.warn(
            f"rules: min_new: there is no new item, every one has at least new_below={rules.new_below} interactions",
            stacklevel=5,
        )
    return np.asarray(new)


def pins_of(rules: Rules, users: pd.Series, items: Vocabulary, query: Query) -> Pins | None:
    """The pinned items of B users that may be listed.

    Args:
        rules: of the lists.
        users: ids of the users, (B,).
        items: numbers of the items.
        query: says what must not be listed.

    Returns:
        The pins; None where there are none.

    Raises:
        DataError: for ids of the wrong type.
    """
    if rules.pinned is None:
        return None
    by_user = rules.pinned_by_user
    refuse_other_keys(by_user or (), users.tolist(), "pinned")
    rows: list[Places] = (
        [rules.pinned] * len(users) if by_user is None else [by_user.get(u, ()) for u in users.tolist()]
    )
    lengths = np.array([len(row) for row in rows], np.int64)
    ids = [one for row in rows for one in (row.values() if isinstance(row, dict) else row)]
    numbers = np.full((len(rows), int(lengths.max(initial=0))), ABSENT, np.int64)
    places = np.full(numbers.shape, ABSENT, np.int64)
    there = np.arange(numbers.shape[1]) < lengths[:, None]
    numbers[there] = _numbers(ids, items)
    places[there] = [place for row in rows for place in (row if isinstance(row, dict) else repeat(ABSENT, len(row)))]
    if not there.any():
        return None
    numbers[~_listable(numbers, query)] = ABSENT
    moving_up = (numbers != ABSENT).cumsum(axis=1) - 1
    return Pins.of(numbers, np.where(places == ABSENT, moving_up, places - 1))


def check_pinned(rules: Rules, items: Vocabulary) -> None:
    """Refuse pinned ids of the wrong type, and warn of those that are not in the catalogue."""
    by_user = rules.pinned_by_user
    rows = [] if rules.pinned is None else [rules.pinned] if by_user is None else list(by_user.values())
    ids = [one for row in rows for one in (row.values() if isinstance(row, dict) else row)]
    if unknown := [one for one, number in zip(ids, _numbers(ids, items), strict=True) if number == UNKNOWN]:
        warnings.warn(
            f"rules: {len(unknown)} of {len(ids)} pinned items are not in the catalogue, such as {unknown[0]!r}; "
            "they are left out",
            stacklevel=5,
        )


def _numbers(ids: list[int | str], items: Vocabulary) -> np.ndarray:
    if ids and not items.same_type(ids):
        raise DataError(f"rules: pinned ids such as {ids[0]!r}, the catalogue has ids such as {items.ids([0])[0]!r}")
    return items.numbers(ids) if ids else np.empty(0, np.int64)


def _listable(numbers: np.ndarray, query: Query) -> np.ndarray:
    """Which of some items (B, P) may be listed for their user, (B, P) bool; not those that are none."""
    there = (numbers != ABSENT) & ~query.blocked.holds(numbers)
    if isinstance(query.allowed, Histories):
        unlimited = np.zeros(len(numbers), bool) if query.unlimited is None else query.unlimited
        return np.asarray(there & (query.allowed.holds(numbers) | unlimited[:, None]))
    return there if query.allowed is None else np.asarray(there & query.allowed[np.maximum(numbers, 0)])

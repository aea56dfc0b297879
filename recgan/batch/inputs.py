"""What a batch job is given as tables: users, lists of items for all users or for each, pinned items."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recgan.errors import DataError
from recgan.foreign import as_frame
from recgan.items import read_users
from recgan.preferences import Preferences
from recgan.schema import ITEM, USER, require_columns, shown
from recgan.serving import id_list, lists_of
from recgan.tables import Source, load_table, plain_ids, plain_numbers

PLACE, PREFERENCE, VALUE = "place", "preference", "value"
KINDS = {"category": "categories", "item": "items", "avoid": "avoid"}
"""What a table of preferences calls them, and what `recgan.preferences.Preferences` does."""
Lists = list[Any] | dict[Any, list[Any]]


def read_lists(source: Source, label: str) -> pd.DataFrame:
    """Read and check a table of items: item_id for all users, or user_id and item_id; and place, if they have any.

    Args:
        source: a frame, or the path or URL of a table.
        label: what it is for, in messages about a frame.

    Returns:
        item_id and, where they are there, user_id and place; in the order of the table.

    Raises:
        DataError: all that is wrong with the table in one report.
    """
    frame, problems = load_table(source, None, (USER, ITEM), label)
    require_columns(frame, (ITEM,), problems)
    checked = {name: plain_ids(frame[name], problems) for name in (ITEM, USER) if name in frame.columns}
    if PLACE in frame.columns:
        checked[PLACE] = plain_numbers(frame[PLACE], problems)
    problems.raise_if_any()
    return pd.DataFrame(checked)


def pinned_of(frame: pd.DataFrame) -> Any:
    """Pinned items as `recgan.Rules` takes them.

    Raises:
        DataError: for a place that two items have.

    Example:
        >>> pinned_of(pd.DataFrame({"user_id": [7, 8, 7], "item_id": [1, 2, 3], "place": [2, 1, 1]}))
        {7: {2: 1, 1: 3}, 8: {1: 2}}
    """
    if USER in frame.columns:
        return {user: pinned_of(some.drop(columns=USER)) for user, some in frame.groupby(USER, sort=False)}
    if PLACE not in frame.columns:
        return frame[ITEM].tolist()
    if frame[PLACE].duplicated().any():
        raise DataError(f"pinned: two items at place {frame[PLACE][frame[PLACE].duplicated()].iloc[0]}")
    return dict(zip(frame[PLACE].tolist(), frame[ITEM].tolist(), strict=True))


def all_ids(lists: Lists | None) -> list[Any]:
    """Every id of some lists.

    Example:
        >>> all_ids({7: [1, 2], 8: [3]}), all_ids([1, 2]), all_ids(None)
        ([1, 2, 3], [1, 2], [])
    """
    return [one for some in lists.values() for one in some] if isinstance(lists, dict) else lists or []


def settled_users(users: Any) -> Any:
    """Ids of users, read where they come as a table."""
    users = as_frame(users)
    return read_users(users)[USER] if isinstance(users, str | os.PathLike | pd.DataFrame) else users


def settled_lists(ids: Any, name: str) -> Lists | None:
    """Item ids for all users, or by user, in a form that can be read again and again; read where they are a table.

    Args:
        ids: ids, {user_id: ids}, a frame or a path for `read_lists`, or None.
        name: of the argument, for messages.

    Raises:
        DataError: when they are no such thing.
    """
    if ids is None:
        return None
    if isinstance(ids, Mapping):
        return {user: id_list(some, f"{name}[{user!r}]") for user, some in ids.items()}
    ids = as_frame(ids)
    if isinstance(ids, str | os.PathLike | pd.DataFrame):
        return lists_of(read_lists(ids, name))
    return id_list(ids, name)


def read_preferences(source: Source) -> pd.DataFrame:
    """Read and check a table of what users state.

    Args:
        source: a frame, or the path or URL of a table with preference (category, item or avoid), value and, where they
            are not those of all users, user_id.

    Returns:
        preference and value, text or integers, and user_id where it is there; in the order of the table.

    Raises:
        DataError: all that is wrong with the table in one report.
    """
    frame, problems = load_table(source, None, (USER,), "preferences")
    if require_columns(frame, (PREFERENCE, VALUE), problems):
        strange = ~frame[PREFERENCE].isin(list(KINDS))
        if strange.any():
            told = shown(frame[PREFERENCE][strange].iloc[0])
            problems.add(f"column {PREFERENCE!r} holds {told}, not {', '.join(KINDS)}", np.flatnonzero(strange))
        empty = frame[VALUE].isna().to_numpy()
        if empty.any():
            problems.add(f"column {VALUE!r} is empty", np.flatnonzero(empty))
    if USER in frame.columns:
        frame = frame.assign(**{USER: plain_ids(frame[USER], problems)})
    problems.raise_if_any()
    return frame


def settled_preferences(preferences: Any, items: pd.Series) -> dict[Any, Any] | None:
    """What users state, in a form that can be read again and again; read where it is a table.

    Args:
        preferences: as `recommend_batch` takes them, a frame or a path for `read_preferences`, or None.
        items: ids of the catalogue, whose type the values of a table take on.

    Returns:
        The same for all users, or {user_id: what that user states}.

    Raises:
        DataError: when a table cannot be used.
    """
    if isinstance(preferences, str | os.PathLike | pd.DataFrame):
        frame = read_preferences(preferences)
        integers = items.dtype.kind in "iu"
        if USER in frame.columns:
            return {user: _stated(some, integers) for user, some in frame.groupby(USER, sort=False)}
        return _stated(frame, integers)
    if isinstance(preferences, Preferences):
        return _written(preferences)
    if isinstance(preferences, Mapping):
        return {name: _written(one) if isinstance(one, Preferences) else one for name, one in preferences.items()}
    return preferences  # type: ignore[no-any-return]  # what is none is refused when it is looked at


def _written(preferences: Preferences) -> dict[str, list[Any]]:
    """As a dictionary of what is stated, so that either way of writing them makes the same job."""
    return {name: list(values) for name, values in preferences.model_dump().items() if values}


def _stated(frame: pd.DataFrame, integers: bool) -> dict[str, list[Any]]:
    """The preferences of one user; where item ids are integers, what reads like one is one."""
    found: dict[str, list[Any]] = {}
    for kind, value in zip(frame[PREFERENCE].tolist(), frame[VALUE].tolist(), strict=True):
        whole = integers and kind != "category" and str(value).removeprefix("-").isdecimal()
        found.setdefault(KINDS[kind], []).append(int(value) if whole else str(value))
    return found

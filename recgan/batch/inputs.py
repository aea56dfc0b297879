"""What a batch job is given as tables: users, lists of items for all users or for each, pinned items."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

from recgan.errors import DataError
from recgan.foreign import as_frame
from recgan.items import read_users
from recgan.schema import ITEM, USER, require_columns
from recgan.serving import _id_list
from recgan.tables import Source, load_table, plain_ids, plain_numbers

PLACE = "place"
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


def lists_of(frame: pd.DataFrame) -> Lists:
    """Item ids for all users, or by user.

    Example:
        >>> lists_of(pd.DataFrame({"user_id": [7, 8, 7], "item_id": [1, 2, 3]}))
        {7: [1, 3], 8: [2]}
    """
    if USER not in frame.columns:
        return frame[ITEM].tolist()
    return {user: some.tolist() for user, some in frame.groupby(USER, sort=False)[ITEM]}


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
        return {user: _id_list(some, f"{name}[{user!r}]") for user, some in ids.items()}
    ids = as_frame(ids)
    if isinstance(ids, str | os.PathLike | pd.DataFrame):
        return lists_of(read_lists(ids, name))
    return _id_list(ids, name)

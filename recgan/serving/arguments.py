"""What callers hand over, checked: lengths, ids, histories."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from recgan.errors import ConfigError, DataError
from recgan.foreign import as_frame, as_ids
from recgan.interactions import checked
from recgan.schema import ITEM, USER, Problems, check_ids, shown
from recgan.tables import decoded, read_table


def check_n(n: Any) -> int:
    """A length of a list: a whole number of at least 0."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise ConfigError(f"n: a whole number of at least 0, not {n!r}")
    return int(n)


def check_explore(explore: Any) -> float:
    """How far the dial is turned: a number from 0 to 1."""
    if isinstance(explore, bool) or not isinstance(explore, (int, float, np.number)) or not 0.0 <= explore <= 1.0:
        raise ConfigError(f"explore: a number from 0 to 1, not {explore!r}")
    return float(explore)


def check_explain(explain: Any) -> bool:
    """Whether reasons are asked for: True or False."""
    if not isinstance(explain, bool | np.bool_):
        raise ConfigError(f"explain: True or False, not {explain!r}")
    return bool(explain)


def check_histories(histories: Any) -> pd.DataFrame:
    """Histories from a frame or a path, all problems of the table in one message."""
    histories = as_frame(histories)
    if not isinstance(histories, (str, os.PathLike, pd.DataFrame)):
        raise DataError(f"histories: a frame or a path, not {type(histories).__name__}")
    if not isinstance(histories, pd.DataFrame) or len(histories):
        histories = read_table(histories)
    return checked(histories.reset_index(drop=True), Problems("histories"))


def id_series(ids: Any, name: str) -> pd.Series:
    """Ids of one type, none null, (k,)."""
    ids = as_frame(ids)
    if isinstance(ids, pd.DataFrame):
        ids = id_column(ids, name)
    _refuse_single(ids, name)
    values = ids if isinstance(ids, (pd.Series, pd.Index, np.ndarray)) else list(as_ids(ids))
    series = decoded(pd.Series(values, name=name, dtype=None if len(values) else "int64"))
    if isinstance(ids, pd.Series):
        series = series.reset_index(drop=True)
    if len(series):
        problems = Problems("ids")
        check_ids(series, problems)
        problems.raise_if_any()
    return series


def id_column(frame: pd.DataFrame, name: str) -> pd.Series:
    """The user column of a frame where users are asked for, else its item column."""
    column = USER if name == USER else ITEM
    if column not in frame.columns:
        raise DataError(f"{name}: a frame without the column {column!r}; it has {', '.join(map(repr, frame.columns))}")
    return frame[column]


def by_user(ids: Any) -> Any:
    """Item ids by user where a frame says whose they are; all else as it is."""
    frame = as_frame(ids)
    return lists_of(frame) if isinstance(frame, pd.DataFrame) and {USER, ITEM} <= set(frame.columns) else ids


def lists_of(frame: pd.DataFrame) -> list[Any] | dict[Any, list[Any]]:
    """Item ids for all users, or by user.

    Example:
        >>> lists_of(pd.DataFrame({"user_id": [7, 8, 7], "item_id": [1, 2, 3]}))
        {7: [1, 3], 8: [2]}
    """
    if USER not in frame.columns:
        return frame[ITEM].tolist()
    users = id_series(frame[USER], USER)
    return {user: some.tolist() for user, some in frame[ITEM].reset_index(drop=True).groupby(users, sort=False)}


def id_list(ids: Any, name: str) -> list[Any]:
    """Ids as a list; a single value is refused."""
    _refuse_single(ids, name)
    return ids.tolist() if isinstance(ids, (pd.Series, pd.Index, np.ndarray)) else list(as_ids(ids))


def _refuse_single(ids: Any, name: str) -> None:
    n_dims = getattr(ids, "ndim", 1)
    if n_dims > 1:
        raise DataError(f"{name}: a list of ids, not an array of {n_dims} dimensions")
    if isinstance(ids, (str, bytes)) or not n_dims or not isinstance(ids, Iterable):
        raise DataError(f"{name}: a list of ids, not the single value {shown(ids)}")


def refuse_repeats(ids: pd.Series, name: str = "users") -> None:
    """Refuse users, or items, that are asked for more than once."""
    if not _distinct(ids):
        repeated = ids[ids.duplicated()]
        raise DataError(f"{name}: {len(repeated)} asked for more than once, such as {shown(repeated.tolist()[0])}")


def _distinct(ids: pd.Series) -> bool:
    """Whether no id comes twice; integers are sorted, which takes a quarter of the memory of a table of hashes."""
    if ids.dtype.kind not in "iu":
        return bool(ids.is_unique)
    ordered = np.sort(ids.to_numpy())
    return bool((ordered[1:] != ordered[:-1]).all())


def unknown_users(ids: list[Any]) -> str:
    """The message about users whom a model does not know."""
    named = ", ".join(shown(one) for one in ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    return f"unknown user{'s' * (len(ids) > 1)} {named}: give a history, or choose on_unknown='fallback' or 'skip'"

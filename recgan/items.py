"""What is known about items and users besides their interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, ITEM, TITLE, USER, YEAR, Problems, require_columns
from recgan.tables import Source, load_table, plain_ids, plain_numbers

ITEM_COLUMNS = (ITEM, TITLE, CATEGORIES, YEAR)


def read_items(source: Source, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read and check a table of items.

    Args:
        source: a frame of pandas, polars, Arrow or SciPy (`recgan.foreign` tells how; never written to), or the path of
            a CSV or TSV file (also .gz), a Parquet file or a folder of Parquet files.
        columns: names in the table to canonical names, such as `{"name": "title"}`.

    Returns:
        One row an item, in the order of the table: item_id; title (text, "" where unknown), categories (text joined by
        `|`, "" where unknown) and year (float64, NaN where unknown) where given; then every other column as it is.

    Raises:
        DataError: all that is wrong with the table in one report; among it an item that is there twice.

    Example:
        >>> import pandas as pd
        >>> read_items(pd.DataFrame({"item_id": [3, 1], "title": ["Heat", None], "genres": [["Action", "Crime"], []]}))
           item_id title    categories
        0        3  Heat  Action|Crime
        1        1
    """
    frame, problems = load_table(source, columns, ITEM_COLUMNS, "items")
    return _checked(frame, ITEM, ITEM_COLUMNS, problems)


def read_users(source: Source, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read and check a table of users.

    Args:
        source: a frame of pandas, polars, Arrow or SciPy (`recgan.foreign` tells how; never written to), or the path of
            a CSV or TSV file (also .gz), a Parquet file or a folder of Parquet files.
        columns: names in the table to canonical names, such as `{"uid": "user_id"}`.

    Returns:
        One row a user, in the order of the table: user_id, then every other column as it is.

    Raises:
        DataError: all that is wrong with the table in one report; among it a user that is there twice.

    Example:
        >>> import pandas as pd
        >>> read_users(pd.DataFrame({"age": [24, 53], "uid": ["ann", "bob"]}))
          user_id  age
        0     ann   24
        1     bob   53
    """
    frame, problems = load_table(source, columns, (USER,), "users")
    return _checked(frame, USER, (USER,), problems)


def _checked(frame: pd.DataFrame, key: str, first: tuple[str, ...], problems: Problems) -> pd.DataFrame:
    require_columns(frame, (key,), problems)
    checked = {name: _checked_column(frame[name], problems) for name in first if name in frame.columns}
    problems.raise_if_any()
    repeated = checked[key].duplicated().to_numpy()
    if repeated.any():
        some = str(checked[key].to_numpy()[repeated][0])[:40]
        problems.add(f"column {key!r} holds {some!r} more than once: keep one row each", np.flatnonzero(repeated))
    problems.raise_if_any()
    others = {name: frame[name] for name in frame.columns if name not in checked}
    for values in (checked | others).values():
        check_kept(values, problems)
    problems.raise_if_any()
    return pd.DataFrame(checked | others)


def check_kept(values: pd.Series, problems: Problems) -> None:
    """Note a column that a saved model could not hold, before anything is trained."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "biufmM":
        return
    try:
        table = pa.Table.from_pandas(values.to_frame(), preserve_index=False)
        parquet.write_table(table.slice(0, 0), pa.BufferOutputStream())  # some kinds Arrow has and Parquet has not
    except (ValueError, TypeError, NotImplementedError, OverflowError) as error:
        told = str(error).partition("\n")[0][:200]
        name = f"column {values.name!r}"
        problems.add(f"{name} cannot be kept in a model ({told}): give it values of one kind, or drop it")


def _checked_column(values: pd.Series, problems: Problems) -> pd.Series:
    if values.name == TITLE:
        return values.astype(object).where(values.notna(), "").astype(str)
    if values.name == CATEGORIES:
        return _joined(values, problems)
    if values.name == YEAR:
        unknown = values.isna()
        known = plain_numbers(values.astype(object).where(~unknown, 0), problems)
        return known.where(~unknown).astype(np.float64) if known.dtype != object else values
    return plain_ids(values, problems)


def _joined(values: pd.Series, problems: Problems) -> pd.Series:
    if pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty"):
        told = values.astype(object).where(values.notna(), "")
        plain = {text: CATEGORY_SEPARATOR.join(_trimmed(str(text).split(CATEGORY_SEPARATOR))) for text in told.unique()}
        return told.map(plain).astype(str)
    names = [_names(value) for value in values]
    torn = [row for row, row_names in enumerate(names) if any(CATEGORY_SEPARATOR in name for name in row_names)]
    if torn:
        problems.add(f"column {values.name!r} holds lists with a {CATEGORY_SEPARATOR!r} inside a name", torn)
    joined = [CATEGORY_SEPARATOR.join(_trimmed(row_names)) for row_names in names]
    return pd.Series(joined, name=values.name, dtype=str)


def _trimmed(names: list[str]) -> list[str]:
    """Names without spaces around them, and without empty ones."""
    return [name.strip() for name in names if name.strip()]


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split(CATEGORY_SEPARATOR) if value else []
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple | np.ndarray):
        return [str(name) for name in value if not pd.isna(name)]
    return [] if pd.isna(value) else [str(value)]

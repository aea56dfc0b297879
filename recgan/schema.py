"""Names of columns, and the checks that every table passes on its way in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recgan.errors import DataError

USER = "user_id"
ITEM = "item_id"
RATING = "rating"
WEIGHT = "weight"
EVENT = "event"
TIMESTAMP = "timestamp"
POSITION = "position"
RANK = "rank"
SCORE = "score"
REASON = "reason"
TITLE = "title"
YEAR = "year"
CATEGORIES = "categories"
CATEGORY_SEPARATOR = "|"


class Problems:
    """Collects what is wrong with one table, so that one error can tell it all.

    Args:
        table: name of the table in the message.

    Example:
        >>> problems = Problems("ratings.csv")
        >>> problems.add("column 'rating' holds text", rows=[3, 8])
        >>> problems.raise_if_any()
        Traceback (most recent call last):
        ...
        recgan.errors.DataError: ratings.csv: column 'rating' holds text (rows 3, 8)
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self.found: list[str] = []

    def add(self, what: str, rows: Iterable[int] = ()) -> None:
        """Note one problem and the row numbers (0-based, without the header) where it shows."""
        self.found.append(what + _rows(rows))

    def raise_if_any(self) -> None:
        """Raise one DataError with everything noted so far.

        Raises:
            DataError: when at least one problem was noted.
        """
        if len(self.found) == 1:
            raise DataError(f"{self.table}: {self.found[0]}")
        if self.found:
            raise DataError("\n".join([f"{self.table}: {len(self.found)} problems", *(f"  - {p}" for p in self.found)]))


def _rows(rows: Iterable[int], most: int = 5) -> str:
    numbers = [int(row) for row in rows]
    if not numbers:
        return ""
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    word = "row" if len(numbers) == 1 else "rows"
    return f" ({word} {', '.join(map(str, numbers[:most]))}{more})"


def require_columns(frame: pd.DataFrame, columns: Iterable[str], problems: Problems) -> bool:
    """Note the columns that the frame lacks; True when none is missing."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        has = ", ".join(map(repr, map(str, frame.columns))) or "no column"
        problems.add(f"column{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))} missing; the table has {has}")
    return not missing


def check_ids(ids: pd.Series, problems: Problems) -> None:
    """Note ids that are null, of mixed types, or of a type that is no id (float, bool, list).

    Args:
        ids: one id column, any length; the accepted types are integers and text.
        problems: where to note what is wrong.
    """
    name = f"column {ids.name!r}"
    null = ids.isna().to_numpy()
    if null.any():
        problems.add(f"{name} has {int(null.sum())} null id(s): drop or fill them", np.flatnonzero(null))
    kind = pd.api.types.infer_dtype(ids, skipna=True)
    if kind not in ("integer", "string", "empty"):
        kind = "float" if kind in ("floating", "mixed-integer-float") else kind
        problems.add(f"{name} holds {kind} values: ids are all integers or all text; convert them first")
    elif kind == "string" and ids.dtype == object:
        torn = [row for row, one in enumerate(ids) if isinstance(one, str) and not _is_unicode(one)]
        if torn:
            problems.add(
                f"{name} holds text that is no Unicode, such as {shown(ids.iloc[torn[0]])}: mend it first", torn
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no file can hold
        return False
    return True


def shown(value: object, most: int = 60) -> str:
    """A value for a message: its repr, cut where it is long."""
    told = repr(value)
    return told if len(told) <= most else f"{told[:most]}... ({len(told):,} characters)"


def refuse_other_keys(given: Collection[Any], ids: Sequence[Any], name: str) -> None:
    """Refuse users by whom something is given where none of them has the type, integer or text, of the ids."""
    if not given or not len(ids) or ids[0] is None:
        return
    text = isinstance(ids[0], str)
    if not any(isinstance(user, str) == text for user in given):
        told = f"{name}: is given by users such as {shown(next(iter(given)))}, but the ids are such as {shown(ids[0])}"
        raise DataError(f"{told}; 5 and '5' never match, convert one of them")


def check_numbers(values: pd.Series, problems: Problems) -> None:
    """Note values that are text, NaN or infinite.

    Args:
        values: one number column, any length.
        problems: where to note what is wrong.
    """
    name = f"column {values.name!r}"
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    missing = values.isna().to_numpy()
    text = np.isnan(numbers) & ~missing
    if text.any():
        first = values.to_numpy()[text][0]
        problems.add(f"{name} holds text such as {str(first)[:40]!r} where a number belongs", np.flatnonzero(text))
    if missing.any():
        problems.add(f"{name} has missing values (NaN)", np.flatnonzero(missing))
    if np.isinf(numbers).any():
        problems.add(f"{name} has infinite values", np.flatnonzero(np.isinf(numbers)))


def order_column(frame: pd.DataFrame) -> str | None:
    """The column that orders a user's rows: timestamp, else position, else None."""
    return next((column for column in (TIMESTAMP, POSITION) if column in frame.columns), None)

"""The caller's ids on one side, row numbers 0..n-1 on the other."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from recgan.errors import DataError
from recgan.schema import Problems, check_ids, shown

UNKNOWN = -1


class Vocabulary:
    """A two-way map between the caller's ids and consecutive numbers.

    Ids come back in the dtype in which they came in; 5 never matches "5".

    Args:
        ids: distinct ids, (n,), all integers or all text, in the order of their numbers.

    Raises:
        DataError: when ids are null, repeated, of mixed types or of a type that is no id.

    Example:
        >>> items = Vocabulary(["film-7", "film-3"])
        >>> items.numbers(["film-3", "film-9"])
        array([ 1, -1])
        >>> items.ids([0]).tolist()
        ['film-7']
    """

    def __init__(self, ids: Any, name: str = "ids") -> None:
        series = pd.Series(ids, name=name).reset_index(drop=True)
        problems = Problems("vocabulary")
        check_ids(series, problems)
        problems.raise_if_any()
        self._index = pd.Index(series)
        self._integers = pd.api.types.is_integer_dtype(self._index.dtype)
        if not self._index.is_unique:
            repeated = self._index[self._index.duplicated()][0]
            raise DataError(f"vocabulary: the {name} hold {shown(repeated)} more than once")

    @classmethod
    def of(cls, ids: pd.Series) -> Vocabulary:
        """The sorted distinct values of one id column.

        Args:
            ids: id column, (rows,).

        Returns:
            A vocabulary whose numbers follow the sorted order of the ids.
        """
        distinct = ids.drop_duplicates().sort_values(kind="stable")
        return cls(distinct, str(ids.name))

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, some_id: object) -> bool:
        return bool(self.numbers([some_id])[0] != UNKNOWN)

    @property
    def all_ids(self) -> pd.Series:
        """Every id in the order of its number, (n,), in the caller's dtype."""
        return pd.Series(self._index, name=self._index.name)

    def numbers(self, ids: Any) -> np.ndarray:
        """Numbers of some ids.

        Args:
            ids: ids, (k,), repeats allowed.

        Returns:
            Numbers, (k,) int64, -1 where an id is unknown.
        """
        wanted = pd.Index(ids)
        if not self.same_type(wanted) or (len(wanted) == 1 and not isinstance(wanted[0], Hashable)):
            return np.full(len(wanted), UNKNOWN, np.int64)
        return np.asarray(self._index.get_indexer(wanted), np.int64)

    def number(self, one: int | str) -> int:
        """Number of one id, -1 where it is unknown; the same as `numbers` says, in a hundredth of the calls."""
        if isinstance(one, str) == self._integers:
            return UNKNOWN
        try:
            return int(self._index.get_loc(one))  # type: ignore[arg-type]  # ids are distinct, so it is a number
        except (KeyError, OverflowError):
            return UNKNOWN

    def same_type(self, ids: Any) -> bool:
        """Whether some ids are of this vocabulary's type, integers or text; 5 and "5" never match."""
        return bool(self._integers == (pd.api.types.infer_dtype(pd.Index(ids), skipna=False) == "integer"))

    def ids(self, numbers: Any) -> pd.Series:
        """Ids of some numbers, (k,), in the caller's dtype."""
        return pd.Series(self._index.take(np.asarray(numbers, np.int64)))

    def array(self, numbers: np.ndarray) -> Any:
        """Ids of some numbers, (k,), as an array of the caller's dtype."""
        return self._index.array.take(numbers)

    def extended(self, ids: pd.Series) -> Vocabulary:
        """A new vocabulary with the unknown ones among some ids appended at the end.

        Raises:
            DataError: when the ids are of the other type, or too large for this one's integers.
        """
        new = ids[self.numbers(ids) == UNKNOWN].drop_duplicates()
        if len(new) and not self.same_type(new):
            raise DataError(
                f"{ids.name}: holds ids such as {shown(new.tolist()[0])}, the known ones are of the other type"
            )
        appended = new.astype(self._index.dtype)
        if appended.tolist() != new.tolist():
            raise DataError(f"{ids.name}: holds ids too large for {self._index.dtype}")
        return Vocabulary(pd.concat([self.all_ids, appended]), str(self._index.name))

"""Tables of other makes as frames: whatever offers an Arrow stream, such as polars, and SciPy's sparse matrices."""

from __future__ import annotations

import os
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa

from recgan.errors import DataError
from recgan.schema import ITEM, USER, WEIGHT


@runtime_checkable
class ArrowTable(Protocol):
    """A table with Arrow's C stream interface: a polars DataFrame, a pyarrow Table, a DuckDB relation."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The stream."""


@runtime_checkable
class SparseTable(Protocol):
    """A SciPy sparse matrix or array: users are rows, items are columns, weights are values."""

    shape: tuple[int, ...]

    def tocsr(self, copy: bool = False) -> Any:
        """The same in compressed rows."""


Frame = pd.DataFrame | ArrowTable | SparseTable
Source = Frame | str | os.PathLike[str]
"""What every function takes that reads a table: a frame of pandas, polars, Arrow or SciPy, or a path or URL."""


def as_frame(source: Any) -> Any:
    """A table of another make as a frame; anything else, such as a path or a list of ids, as it is.

    Text, numbers and times keep their types, categoricals become their values, lists become arrays; a null is None or
    NaN, so that integers with nulls become float64, as they do from a Parquet file. Of a sparse matrix every entry that
    is not zero becomes a row: its row number as user_id, its column number as item_id (int64 both) and its value as
    weight, sorted by user and item; entries that stand twice are added up.

    Args:
        source: never written to; a stream that can be read once is used up.

    Returns:
        A frame, or the argument itself.

    Raises:
        DataError: for a table that is broken, or a sparse array that has not two dimensions.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> as_frame(csr_matrix([[0, 3], [1, 0]]))
           user_id  item_id  weight
        0        0        1       3
        1        1        0       1
        >>> as_frame(pa.table({"item_id": [7]}))["item_id"].tolist(), as_frame("ratings.csv")
        ([7], 'ratings.csv')
    """
    if isinstance(source, pd.DataFrame | pd.Series | pd.Index | np.ndarray | str | os.PathLike):
        return source
    if isinstance(source, ArrowTable) and not _is_column(source):
        return _of_arrow(source)
    return _of_sparse(source) if isinstance(source, SparseTable) else source


def as_ids(ids: Any) -> Any:
    """A column of Arrow as a list; anything else as it is."""
    return ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else ids


def _is_column(source: object) -> bool:
    return isinstance(source, pa.ChunkedArray) or hasattr(source, "to_list")


def _of_arrow(source: Any) -> pd.DataFrame:
    """The frame of a table; polars' `to_arrow` avoids types that its stream has and pyarrow cannot convert."""
    try:
        table = (
            source.to_arrow() if hasattr(source, "to_arrow") else pa.RecordBatchReader.from_stream(source).read_all()
        )
        columns = [_decoded(column) for column in table.columns]
        frame: pd.DataFrame = pa.table(columns, names=table.column_names).to_pandas()
    except (pa.ArrowException, ValueError) as error:
        told = " ".join(str(error).split())[:300]
        raise DataError(f"a {type(source).__name__} cannot be read as an Arrow table: {told}") from error
    return frame


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of a dictionary column."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _of_sparse(source: SparseTable) -> pd.DataFrame:
    if len(source.shape) != 2:
        raise DataError(f"a sparse array of {len(source.shape)} dimensions: users and items need two")
    rows = source.tocsr(copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    users = np.repeat(np.arange(rows.shape[0], dtype=np.int64), np.diff(rows.indptr))
    weights = rows.data.astype(np.int64) if rows.data.dtype == bool else rows.data
    return pd.DataFrame({USER: users, ITEM: rows.indices.astype(np.int64), WEIGHT: weights})

"""One reader for every table: a frame, a CSV or TSV file, a Parquet file or a folder of them."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from recgan.errors import ConfigError, DataError
from recgan.foreign import Source as Source
from recgan.foreign import as_frame
from recgan.parquet import UNREADABLE, exists, is_parquet, read_parquet, unreadable
from recgan.remote import Place, fetched, is_url
from recgan.schema import (
    CATEGORIES,
    EVENT,
    ITEM,
    POSITION,
    RATING,
    TIMESTAMP,
    TITLE,
    USER,
    WEIGHT,
    YEAR,
    Problems,
    check_ids,
    check_numbers,
)

INTERACTION_COLUMNS = (USER, ITEM, RATING, WEIGHT, TIMESTAMP, POSITION)
OTHER_SPELLINGS = {
    USER: ("user", "uid"),
    ITEM: ("item", "iid", "movieid", "productid"),
    TIMESTAMP: ("ts", "time", "eventtime", "datetime"),
    CATEGORIES: ("category", "genres"),
    YEAR: ("releaseyear",),
    EVENT: ("eventtype", "action", "behavior", "behaviour"),
}
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
NO_NUMBERS = ("date", "datetime", "datetime64", "timedelta", "timedelta64", "time", "period", "interval", "complex")
INDEX = "__index_level_"  # how pandas names an unnamed index in a Parquet file
NO_FLOAT = r"^[+-]?0[0-9]|^\+|^-?[0-9]{17,}$"


def read_table(
    source: Source, columns: Mapping[str, str] | None = None, wanted: Sequence[str] = INTERACTION_COLUMNS
) -> pd.DataFrame:
    """Read any table as a frame with canonical column names.

    Columns of a CSV file become int64 where every value survives the round trip ("0054890" and "5.0" stay text);
    columns that are no ids become float64 where every value is a number. A frame or Parquet file keeps its types.

    Args:
        source: a frame of pandas, polars, Arrow or SciPy (see `recgan.foreign`), or the path or URL of a CSV or TSV
            file (also .gz), of a Parquet file or of a folder of these.
        columns: names in the table to canonical names.
        wanted: canonical names for which well-known other spellings (userId, movieId, ts, ...) are accepted.

    Returns:
        A new frame with a fresh index; its content is not checked.

    Raises:
        DataError: when the table cannot be read.
    """
    frame, problems = load_table(source, columns, wanted)
    problems.raise_if_any()
    return frame


def load_table(
    source: Source, columns: Mapping[str, str] | None, wanted: Sequence[str], label: str = "table"
) -> tuple[pd.DataFrame, Problems]:
    """Read any table; what is wrong so far is noted in the Problems, for the caller to add to and raise."""
    source = as_frame(source)
    if isinstance(source, pd.DataFrame):
        problems = Problems(label)
        names = canonical_names(source.columns, columns, wanted, problems)
        frame = source.set_axis(names, axis=1)
    elif isinstance(source, str | os.PathLike):
        frame, problems = _read_place(source, columns, wanted)
    else:
        raise ConfigError(f"{label}: expected a frame or a path, found {type(source).__name__}")
    if frame.empty:
        problems.add("the table has no rows")
        problems.raise_if_any()
    return without_codes(frame.reset_index(drop=True)), problems


def without_codes(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the values of categorical, dictionary-coded and sparse columns in the place of their codes."""
    coded = frame.columns[[_is_coded(dtype) for dtype in frame.dtypes]]
    return frame.assign(**{name: decoded(frame[name]) for name in coded})


def decoded(values: pd.Series) -> pd.Series:
    """The values of a categorical, dictionary-coded or sparse column; any other column as it is."""
    if not _is_coded(values.dtype):
        return values
    if isinstance(values.dtype, pd.ArrowDtype):
        plain = pa.chunked_array(pa.array(values)).cast(values.dtype.pyarrow_dtype.value_type).to_pandas()
        return pd.Series(plain.to_numpy(), index=values.index, name=values.name)
    return pd.Series(np.asarray(values), index=values.index, name=values.name)


def _is_coded(dtype: Any) -> bool:
    arrow = isinstance(dtype, pd.ArrowDtype) and pa.types.is_dictionary(dtype.pyarrow_dtype)
    return arrow or isinstance(dtype, pd.CategoricalDtype | pd.SparseDtype)


def plain_ids(ids: pd.Series, problems: Problems) -> pd.Series:
    """The checked id column: integers as a NumPy integer type, text as it came.

    Args:
        ids: one id column, (rows,).
        problems: where to note what is wrong.

    Returns:
        The ids, (rows,); unchanged when something is wrong with them.
    """
    found = len(problems.found)
    check_ids(ids, problems)
    if len(problems.found) > found or pd.api.types.infer_dtype(ids, skipna=True) != "integer":
        return ids
    if isinstance(ids.dtype, np.dtype) and ids.dtype != object:
        return ids
    try:
        return pd.Series(ids.to_numpy(dtype=getattr(ids.dtype, "numpy_dtype", np.int64)), name=ids.name)
    except OverflowError:
        problems.add(f"column {ids.name!r} holds integers beyond 64 bits: convert them to text first")
        return ids


def plain_numbers(values: pd.Series, problems: Problems) -> pd.Series:
    """The checked number column as a NumPy number type, (rows,); numbers given as text are converted."""
    found = len(problems.found)
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in NO_NUMBERS:
        problems.add(f"column {values.name!r} holds {kind} values where numbers belong")
        return values
    check_numbers(values, problems)
    if len(problems.found) > found:
        return values
    numbers = pd.to_numeric(values)
    if isinstance(numbers.dtype, np.dtype) and numbers.dtype.kind in "iuf":
        return numbers
    return pd.Series(numbers.to_numpy(dtype=np.float64), name=values.name)


class FileProblems(Problems):
    """Problems of a part of a file: row numbers are those of the file.

    Args:
        table: name of the file.
        rows: numbers in the file of the rows that are there, (rows,).
    """

    def __init__(self, table: str, rows: np.ndarray) -> None:
        super().__init__(table)
        self.rows = rows

    def add(self, what: str, rows: Iterable[int] = ()) -> None:
        """Note one problem and the rows where it shows, as they are numbered here."""
        super().add(what, [int(self.rows[row]) for row in rows])


def canonical_names(
    names: Iterable[Any], columns: Mapping[str, str] | None, wanted: Sequence[str], problems: Problems
) -> list[str]:
    """Names of columns with the canonical ones in the place of their other spellings.

    Args:
        names: of a table.
        columns: names in the table to canonical names.
        wanted: canonical names that are looked for.
        problems: where to note what does not fit.
    """
    given = dict(columns or {})
    names = list(names)
    for name in [name for name in given if name not in names]:
        has = ", ".join(map(repr, map(str, names)))
        problems.add(f"columns= names {name!r}, which is not in the table; it has {has}")
    names = [given.get(name, str(name)) for name in names]
    for canonical in [name for name in wanted if name not in names]:
        fits = [name for name in names if name not in given.values() and _fits(name, canonical)]
        if len(fits) == 1:
            names[names.index(fits[0])] = canonical
        elif fits:
            both = ", ".join(map(repr, fits))
            problems.add(f"{canonical!r} could be any of the columns {both}: choose with columns=")
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.add(f"column {name!r} is there {names.count(name)} times")
        problems.raise_if_any()
    return names


def _fits(name: Any, canonical: str) -> bool:
    plain = str(name).lower().replace("_", "").replace("-", "").replace(" ", "")
    return plain == canonical.replace("_", "") or plain in OTHER_SPELLINGS.get(canonical, ())


def _read_place(
    source: Place, columns: Mapping[str, str] | None, wanted: Sequence[str]
) -> tuple[pd.DataFrame, Problems]:
    with fetched(source) as path:
        try:
            table, problems = _read_path(path)
        except DataError as error:
            raise DataError(str(error).replace(str(path), str(source)) if is_url(source) else str(error)) from error
        problems.table = str(source) if is_url(source) else problems.table
        table = table.rename_columns(canonical_names(table.column_names, columns, wanted, problems))
        return (table if is_parquet(path) else _typed(table)).to_pandas(ignore_metadata=True), problems


def _read_path(path: Path) -> tuple[pa.Table, Problems]:
    kind = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    if not exists(path):
        raise DataError(f"{str(path)[:300]}: there is no such file or folder")
    if not is_parquet(path) and kind.lower() not in DELIMITERS:
        raise DataError(f"{path}: unknown kind of file; use .csv, .tsv (either also .gz), .parquet or a folder of them")
    try:
        if is_parquet(path):
            table = read_parquet(path)
            return table.drop_columns([n for n in table.column_names if n.startswith(INDEX)]), Problems(str(path))
        return _read_csv(path, DELIMITERS[kind.lower()])
    except (*UNREADABLE, csv.Error) as error:
        raise unreadable(path, error) from error


def _read_csv(path: Path, delimiter: str) -> tuple[pa.Table, Problems]:
    with _opened(path) as lines:
        header = next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])
    if not header:
        raise DataError(f"{path}: the file is empty")
    try:
        table = _parse_csv(path, delimiter, header)
        problems = Problems(str(path))
        if _spans_lines(table):
            _check_quotes(path, delimiter, problems)
        return table, problems
    except pa.ArrowInvalid as error:
        if "CSV parse error" not in str(error):
            raise
    broken: list[Any] = []
    table = _parse_csv(path, delimiter, header, broken)
    rows = [row.number - 2 for row in broken]
    problems = FileProblems(str(path), np.delete(np.arange(len(table) + len(rows)), rows))
    fields = ", ".join(map(str, sorted({row.actual_columns for row in broken})))
    Problems.add(problems, f"broken lines: {len(header)} fields expected, found {fields}", rows)
    return table, problems


def _opened(path: Path) -> IO[str]:
    """The text of a file, packed or not, with its line breaks as they are."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _spans_lines(table: pa.Table) -> bool:
    """Whether a value holds a line break."""
    return any(pc.any(pc.match_substring(column, "\n")).as_py() for column in table.columns)


def _check_quotes(path: Path, delimiter: str, problems: Problems) -> None:
    """A quote that closes in the middle of a value, or never, has swallowed the lines up to there."""
    with _opened(path) as lines:
        reader, read = csv.reader(lines, delimiter=delimiter, strict=True), -1
        row: list[str] | None = []
        while row is not None:
            before = reader.line_num
            try:
                row = next(reader, None)
            except csv.Error:
                if reader.line_num > before + 1:
                    problems.add("a quote is opened and never closed: what follows became one value", [max(0, read)])
                    return
            read += bool(row)


def _parse_csv(path: Path, delimiter: str, header: list[str], broken: list[Any] | None = None) -> pa.Table:
    def leave_out(row: pa_csv.InvalidRow) -> str:
        if broken is not None:
            broken.append(row)
        return "skip"

    text = dict.fromkeys(header, pa.string())
    return pa_csv.read_csv(
        str(path),
        read_options=pa_csv.ReadOptions(use_threads=broken is None),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            invalid_row_handler=None if broken is None else leave_out,
        ),
        convert_options=pa_csv.ConvertOptions(column_types=text, null_values=[""], strings_can_be_null=True),
    )


def _typed(table: pa.Table) -> pa.Table:
    kept = (TITLE, CATEGORIES)
    columns = [
        column if name in kept else _parsed(column, is_id=name in (USER, ITEM))
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(columns, names=table.column_names)


def _parsed(text: pa.ChunkedArray, *, is_id: bool) -> pa.ChunkedArray:
    if is_id and text.null_count:
        return text
    whole = _cast(text, pa.int64())
    if whole is not None and pc.all(pc.equal(whole.cast(pa.string()), text)).as_py() is not False:
        return whole
    number = None if is_id else _cast(text, pa.float64())
    if number is None or pc.any(pc.match_substring_regex(text, NO_FLOAT)).as_py():
        return text
    return number


def _cast(text: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return None

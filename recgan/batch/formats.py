"""In what form a shard is written: Parquet, CSV, or a JSON object a line; all of them read back to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from recgan.errors import ConfigError

Format = Literal["parquet", "csv", "jsonl"]
FORMATS = ("parquet", "csv", "jsonl")


class Writer(Protocol):
    """Takes tables of one schema until its block ends."""

    def __enter__(self) -> Writer: ...

    def __exit__(self, *_: Any) -> bool | None: ...

    def write_table(self, table: pa.Table) -> None:
        """Write some more rows."""


class JsonLines:
    """A writer of one JSON object a row.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write_table(self, table: pa.Table) -> None:
        """Write some more rows."""
        columns = [
            [f'"{name}": {json.dumps(value)}' for value in table[name].to_pylist()] for name in table.schema.names
        ]
        self._file.writelines(f"{{{', '.join(row)}}}\n" for row in zip(*columns, strict=True))


def check_format(form: Any) -> None:
    """Refuse a format that is unknown.

    Raises:
        ConfigError: naming those that are known.
    """
    if form not in FORMATS:
        raise ConfigError(f"format: 'parquet', 'csv' or 'jsonl', not {form!r}")


def writer(path: Path, form: str, schema: pa.Schema) -> Writer:
    """A writer of a file in one of the formats."""
    if form == "csv":
        return pyarrow.csv.CSVWriter(path, schema)  # type: ignore[no-any-return]
    return JsonLines(path) if form == "jsonl" else pq.ParquetWriter(path, schema)


def read(content: bytes, form: str, schema: pa.Schema) -> pa.Table:
    """The rows of a file.

    Args:
        content: of the whole file.
        form: its format.
        schema: of the rows.

    Returns:
        A table.
    """
    source = pa.BufferReader(content)
    if form == "parquet":
        return pq.read_table(source)
    if not content:
        return schema.empty_table()
    if form == "csv":
        types = pyarrow.csv.ConvertOptions(column_types=schema)
        return pyarrow.csv.read_csv(
            source, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True), convert_options=types
        )
    return pyarrow.json.read_json(
        source, parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, newlines_in_values=False)
    )

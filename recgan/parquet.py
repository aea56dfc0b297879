"""Parquet files and folders of them: whole, or portion by portion."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recgan.errors import DataError

SUFFIXES = (".parquet", ".pq")
PART = re.compile(r"(\d+)-of-(\d+)$")
"""Number and count in the name of a part of a table."""

UNREADABLE = (pa.ArrowException, OSError, EOFError, UnicodeDecodeError)


def exists(path: Path) -> bool:
    """Whether there is such a file or folder."""
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False


def is_parquet(path: Path) -> bool:
    """Whether a path is a Parquet file by its name, or a folder."""
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or those of a folder and the folders in it by their names; hidden ones are left alone.

    Raises:
        DataError: when a folder holds none, or lacks one that the names of the others count.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and not file.is_dir())
    files = [file for file in files if not any(part[0] in "._" for part in file.relative_to(path).parts)]
    if not files:
        raise DataError(f"{path}: the folder holds no .parquet file")
    for folder in sorted({file.parent for file in files}):
        _check_whole(folder, [file for file in files if file.parent == folder])
    return files


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file, or all files of a folder one behind the other.

    Raises:
        DataError: when one cannot be read, is missing, or has other columns than the first.
    """
    files = parquet_files(path)
    parts = [_read_part(file) for file in files]
    schema = parts[0].schema
    for file, part in zip(files, parts, strict=True):
        if set(part.column_names) != set(schema.names):
            raise DataError(f"{file}: its columns are not those of {files[0]}")
        try:
            schema = pa.unify_schemas([schema, part.schema], promote_options="permissive")
        except UNREADABLE as error:
            raise DataError(f"{file}: its types do not go with those of {files[0]}: {error}") from error
    return pa.concat_tables(parts, promote_options="permissive")


def row_count(files: Sequence[Path]) -> int:
    """Rows of some files together, as their footers tell.

    Raises:
        DataError: when one cannot be read.
    """
    return sum(_metadata(file).num_rows for file in files)


def names_in(file: Path) -> list[str]:
    """Names of a file's columns."""
    return list(_metadata(file).schema.to_arrow_schema().names)


def portions(file: Path, columns: Sequence[str], most: int) -> Iterator[tuple[int, pa.Table]]:
    """Some columns of a file, so many rows at once.

    Args:
        file: a Parquet file.
        columns: names.
        most: rows of a portion.

    Yields:
        Number of a portion's first row in the file, and the portion.

    Raises:
        DataError: when a row group cannot be read; it names file and group.
    """
    first, group = 0, -1
    try:
        with pq.ParquetFile(file) as opened:
            for group in range(opened.num_row_groups):
                for batch in opened.iter_batches(most, row_groups=[group], columns=list(columns)):
                    yield first, pa.Table.from_batches([batch])
                    first += len(batch)
    except UNREADABLE as error:
        raise unreadable(file, error, f"row group {group}: " if group >= 0 else "") from error


def unreadable(path: Path, error: Exception, where: str = "") -> DataError:
    """What is told of a file that cannot be read."""
    return DataError(f"{path}: cannot be read: {where}{' '.join(str(error).split())[:300]}")


def _check_whole(folder: Path, files: Sequence[Path]) -> None:
    """Where names count, as in `log-00002-of-00005.parquet`, every part is there."""
    series: dict[tuple[str, int], set[int]] = {}
    for file in files:
        if match := PART.search(file.stem):
            series.setdefault((file.stem[: match.start()], int(match[2])), set()).add(int(match[1]))
    for (name, total), numbers in sorted(series.items()):
        first = min(1, min(numbers))
        if missing := sorted(set(range(first, first + total)) - numbers):
            whose = f"{folder}: of {total} parts" + f" of {name!r}" * (len(series) > 1)
            raise DataError(f"{whose} {len(missing)} are missing, such as number {missing[0]}")


def _read_part(file: Path) -> pa.Table:
    try:
        return pq.read_table(file, partitioning=None)
    except UNREADABLE as error:
        raise unreadable(file, error) from error


def _metadata(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except UNREADABLE as error:
        raise unreadable(file, error) from error

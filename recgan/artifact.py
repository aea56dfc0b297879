"""A folder that is written whole or not at all, and read only when every byte is the one that was written."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recgan.errors import ArtifactError

FORMAT = 1
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
MOST_MANIFEST, MOST_HEADER = 1 << 23, 1 << 20
"""Largest manifest, and largest header of a file of arrays, that is looked at, in bytes."""
EXPANSION, ALWAYS = 64, 1 << 26
"""A table may be so many times as large in memory as its file, and always so many bytes."""
TEMPORARY, ABANDONED = ".new", 3600.0
"""End of a temporary folder's name, and seconds after which its writer is taken to be dead."""


def write_folder(folder: str | Path, fill: Callable[[Path], None], manifest: Mapping[str, Any]) -> None:
    """Write a folder beside its place, seal it with hashes, and move it there in one rename.

    Args:
        folder: where it shall stand; an older artifact there is replaced, anything else is refused.
        fill: writes the files into the folder that it is given.
        manifest: what else the manifest shall say; JSON values.

    Raises:
        ArtifactError: when the place holds something that is no artifact, or cannot be written.
    """
    target = Path(folder).resolve()  # behind a link, which stays
    ours = all((target / name).is_file() for name in (MANIFEST, SEAL))  # others have a manifest too
    if target.exists() and not ours and (not target.is_dir() or any(target.iterdir())):
        raise ArtifactError(f"{target}: exists and is no recgan artifact; choose another folder or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=TEMPORARY, dir=target.parent))
    except OSError as error:
        raise ArtifactError(f"{target}: cannot be written: {error}") from error
    try:
        temporary.chmod(0o755)
        fill(temporary)
        _seal(temporary, manifest)
        _replace(temporary, target)
    except (OSError, ValueError, TypeError, NotImplementedError) as error:  # Arrow has its own kinds of the latter
        raise ArtifactError(f"{target}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
    text = json.dumps({"format": FORMAT, **manifest, "files": files}, indent=1, allow_nan=False)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    (folder / SEAL).write_text(hashlib.sha256(text.encode()).hexdigest() + "\n", encoding="ascii")
    for path in folder.iterdir():
        path.chmod(0o644)
    for path in [*folder.iterdir(), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, target: Path) -> None:
    """Two renames where something stands; whoever reads between them, or after a crash there, finds the old one."""
    retired = _retired(target)
    if target.exists():
        shutil.rmtree(retired, ignore_errors=True)
        target.rename(retired)
    try:
        temporary.rename(target)
    except OSError:
        if retired.exists() and not target.exists():
            retired.rename(target)
        raise
    _sync(target.parent)
    shutil.rmtree(retired, ignore_errors=True)
    _remove_leftovers(target)


def _retired(target: Path) -> Path:
    """Where an artifact stands while it is being replaced."""
    return target.with_name(f".{target.name}.old")


def _remove_leftovers(target: Path) -> None:
    """Temporary folders of writers that were killed long ago."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*{TEMPORARY}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def standing(folder: str | Path) -> Path:
    """The folder, or the one that it was about to replace when a writer was killed between two renames.

    Args:
        folder: where an artifact was written.

    Returns:
        An existing folder where there is one, else the folder itself.
    """
    target = Path(folder).resolve()
    return target if target.exists() or not _retired(target).is_dir() else _retired(target)


def identity(folder: str | Path) -> tuple[Any, ...]:
    """What tells the artifact that stands there from one that replaces it; the same as long as none does."""
    root = standing(folder)
    try:
        there = root.stat()
        return str(root), there.st_dev, there.st_ino, there.st_ctime_ns, _bytes(root / SEAL, most=200)
    except (OSError, ArtifactError):
        return (str(root),)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a folder whose files all carry the hashes that it names.

    Args:
        folder: an artifact.

    Returns:
        What `write_folder` was given, with `format` and `files`.

    Raises:
        ArtifactError: naming the file that is missing, foreign, linked or changed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ArtifactError(f"{root}: no such model folder")
    text = _bytes(root / MANIFEST, most=MOST_MANIFEST)
    if hashlib.sha256(text).hexdigest() != _bytes(root / SEAL, most=200).decode("ascii", "replace").strip():
        raise ArtifactError(f"{root / MANIFEST}: does not match {SEAL}; the file was changed or cut short")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{root / MANIFEST}: is no JSON: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ArtifactError(f"{root / MANIFEST}: does not describe a recgan artifact")
    if manifest.get("format") != FORMAT:
        raise ArtifactError(f"{root / MANIFEST}: format {manifest.get('format')!r}, this version reads {FORMAT}")
    for name, expected in manifest["files"].items():
        _verify(root, str(name), expected)
    return manifest


def _verify(root: Path, name: str, expected: object) -> None:
    path = root / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise ArtifactError(f"{path}: is missing or no plain file of the folder")
    if file_hash(path) != expected:
        raise ArtifactError(f"{path}: does not match its SHA-256; the file was changed or cut short")


def _bytes(path: Path, most: int) -> bytes:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > most:
            raise ArtifactError(f"{path}: is missing, a link, no plain file, or larger than {most} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    except SafetensorError as error:  # what the disk says, in other words
        raise OSError(str(error)) from error


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays from safetensors.

    Raises:
        ArtifactError: when the file is damaged.
    """
    from safetensors.numpy import load_file

    return _arrays(path, load_file)


def map_arrays(path: Path) -> dict[str, np.ndarray]:
    """Named arrays of safetensors that stay in their file, of which what is looked at is read; otherwise the same."""
    from safetensors.torch import load_file

    def mapped(path: Path) -> dict[str, np.ndarray]:
        return {name: tensor.numpy() for name, tensor in load_file(path).items()}

    return _arrays(path, mapped)


def _arrays(path: Path, read: Callable[[Path], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError

    try:
        header = _header_bytes(path)
        if header > MOST_HEADER:
            raise ArtifactError(f"{path}: its header says that it has {header} bytes, more than is safe")
        return read(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error


def first_byte(path: Path, name: str) -> int:
    """Where an array begins in a file of arrays that can be loaded."""
    header = _header_bytes(path)
    with path.open("rb") as file:
        file.seek(8)
        places = json.loads(file.read(header))
    return 8 + header + int(places[name]["data_offsets"][0])


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(8), "little")


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Write a frame as Parquet, plain where packed it would look like a bomb to `load_table`."""
    table.to_parquet(path, index=False)
    if table.memory_usage(deep=True).sum() <= ALWAYS:
        return
    try:
        _read_safely(path)
    except ArtifactError:
        table.to_parquet(path, index=False, compression=None, use_dictionary=False)


def save_tables(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    """Write frames with the same columns, at least one, as one Parquet file, one behind the other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for table in tables:
            rows = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, rows.schema)
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()


def load_table(path: Path) -> pd.DataFrame:
    """Read a frame from Parquet, unless it would be many times as large as its file.

    Raises:
        ArtifactError: when the file is damaged or a bomb.
    """
    import pyarrow as pa

    try:
        table, schema = _read_safely(path)
        frame: pd.DataFrame = table.cast(schema).to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path}: cannot be read: {' '.join(str(error).split())[:300]}") from error
    return frame


def _read_safely(path: Path) -> tuple[Any, Any]:
    """An Arrow table that is not many times as large as its file, text as codes, and the schema of the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    most = EXPANSION * path.stat().st_size + ALWAYS
    schema = pq.read_schema(path)
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        _check_size(path, _declared(file.metadata), most)
        table = file.read()
    _check_size(path, sum(_spread_out(table[name]) for name in texts), most)
    return table, schema


def _check_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise ArtifactError(f"{path}: unpacks to {size} bytes, more than is safe ({most})")


def _declared(metadata: Any) -> int:
    """Bytes that the columns of a Parquet file take in memory, text as one number a row."""
    columns = [
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    ]
    return sum(max(_width(column) * column.num_values, column.total_uncompressed_size) for column in columns)


def _width(column: Any) -> int:
    """Bytes of a value in memory; of text those of its code."""
    return {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4}.get(column.physical_type, 8)


def _spread_out(texts: Any) -> int:
    """Bytes of a dictionary-coded text column when every row has its own copy."""
    import pyarrow.compute as pc

    sizes = (pc.take(pc.binary_length(chunk.dictionary), chunk.indices) for chunk in texts.chunks)
    return sum(pc.sum(size.cast("int64")).as_py() or 0 for size in sizes)

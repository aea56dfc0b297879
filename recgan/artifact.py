"""A folder that is written whole or not at all, and read only when every byte is the one that was written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recgan.errors import ArtifactError

FORMAT = 1
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"


def write_folder(folder: str | Path, fill: Callable[[Path], None], manifest: Mapping[str, Any]) -> None:
    """Write a folder beside its place, seal it with hashes, and move it there in one rename.

    Args:
        folder: where it shall stand; an older artifact there is replaced, anything else is refused.
        fill: writes the files into the folder that it is given.
        manifest: what else the manifest shall say; JSON values.

    Raises:
        ArtifactError: when the place holds something that is no artifact, or cannot be written.
    """
    target = Path(folder).absolute()
    if target.exists() and not (target / MANIFEST).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ArtifactError(f"{target}: exists and is no recgan artifact; choose another folder or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise ArtifactError(f"{target}: cannot be written: {error}") from error
    try:
        temporary.chmod(0o755)
        fill(temporary)
        _seal(temporary, manifest)
        _replace(temporary, target)
    except OSError as error:
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
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _replace(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(retired / "artifact")
    try:
        temporary.rename(target)
    except OSError:
        (retired / "artifact").rename(target)
        raise
    finally:
        shutil.rmtree(retired, ignore_errors=True)


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
    text = _bytes(root / MANIFEST, most=1 << 26)
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
        if path.is_symlink() or path.stat().st_size > most:
            raise ArtifactError(f"{path}: is a link or too large")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays from safetensors.

    Raises:
        ArtifactError: when the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, np.ndarray] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    return arrays

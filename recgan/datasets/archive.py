"""Take single files out of a zip archive that nobody vouches for."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from recgan.errors import DataError

MOST_BYTES = 2_000_000_000
MOST_RATIO = 100
CHUNK = 1 << 20


def extract(archive: Path, members: Iterable[str], folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write the wanted members of a zip archive into a folder, each under its bare file name.

    Nothing else of the archive is read. Size and compression ratio are capped both as declared and as counted while
    reading, so a zip bomb ends early.

    Args:
        archive: path of the zip archive.
        members: full names of the wanted members.
        folder: an existing folder.
        most_bytes: cap on the bytes of all members together.

    Raises:
        DataError: when the archive is damaged or hostile (absolute paths, `..`, links, bombs), or lacks a member.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            _check_names(opened.infolist())
            left = most_bytes
            for member in members:
                left -= _write(opened, member, folder / PurePosixPath(member).name, left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive.name}: damaged archive: {error}") from error
    except DataError as error:
        raise DataError(f"{archive.name}: {error}") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _check_names(infos: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for info in infos:
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or ":" in name.split("/")[0]:
            raise DataError(f"member {name!r} points outside the archive; nothing was extracted")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"member {name!r} is a link; nothing was extracted")
        if name in seen:
            raise DataError(f"member {name!r} is there twice; nothing was extracted")
        seen.add(name)


def _write(opened: zipfile.ZipFile, member: str, target: Path, left: int) -> int:
    try:
        info = opened.getinfo(member)
    except KeyError:
        raise DataError(f"member {member!r} is missing") from None
    cap = min(left, info.compress_size * MOST_RATIO)
    if info.file_size > cap:
        raise DataError(f"member {member!r} unpacks to {info.file_size} bytes, more than is safe ({cap})")
    written = 0
    with opened.open(info) as packed, target.open("xb") as out:
        while chunk := packed.read(CHUNK):
            written += len(chunk)
            if written > cap:
                raise DataError(f"member {member!r} unpacks to more bytes than is safe ({cap})")
            out.write(chunk)
    return written

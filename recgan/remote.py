"""Places that are no paths: URLs of object stores and other file systems, through fsspec."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from recgan.errors import ConfigError

Place = str | os.PathLike[str]
LOCAL = "file://"


def is_url(place: object) -> bool:
    """Whether a place is a URL of another file system than this machine's.

    Example:
        >>> is_url("s3://bucket/lists"), is_url("file:///lists"), is_url("lists")
        (True, False, False)
    """
    return isinstance(place, str) and "://" in place and not place.startswith(LOCAL)


def local_path(place: Place) -> Path:
    """A path of this machine; `file://` is left out and `~` is the user's home."""
    text = os.fspath(place)
    return Path(text.removeprefix(LOCAL)).expanduser()


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it.

    Credentials are taken from where the file system's package looks for them, or from fsspec's configuration.

    Raises:
        ConfigError: when the protocol is unknown or its package is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{url}: cannot be reached: {error}") from error
    return system, str(path).rstrip("/")


@contextmanager
def fetched(place: Place) -> Iterator[Path]:
    """A file or a folder as a path of this machine; what lies elsewhere is copied until the block ends.

    Args:
        place: a path or a URL.

    Yields:
        A path; of nothing, where there is nothing.

    Raises:
        ConfigError: when it cannot be reached.
    """
    if not is_url(place):
        yield local_path(place)
        return
    system, path = file_system(str(place))
    with tempfile.TemporaryDirectory() as work:
        target = Path(work) / PurePosixPath(path).name
        try:
            if system.isdir(path):
                target.mkdir()
                for one in system.ls(path, detail=False):
                    if system.isfile(one):
                        system.get_file(one, str(target / PurePosixPath(one).name))
            elif system.exists(path):
                system.get_file(path, str(target))
        except OSError as error:
            raise ConfigError(f"{place}: cannot be read: {error}") from error
        yield target

"""Where shards lie: a folder of this machine or an object store; either way a file is there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from filelock import FileLock, Timeout

from recgan.artifact import file_hash
from recgan.batch.files import LOCK, MODEL, whole_file
from recgan.errors import ConfigError
from recgan.remote import Place, file_system, is_url, local_path


class Folder(Protocol):
    """A batch folder; every name is that of a file in it."""

    @property
    def place(self) -> Path | str:
        """Its path or URL."""

    def names(self) -> list[str]:
        """What lies in it, sorted; nothing where there is no such folder."""

    def make(self) -> None:
        """Make it where it is missing."""

    def read(self, name: str) -> bytes | None:
        """Content of a file; None where there is none."""

    def size(self, name: str) -> int:
        """Bytes of a file."""

    def sha256(self, name: str) -> str | None:
        """SHA-256 of a file, in hexadecimal; None where there is none."""

    def whole(self, name: str) -> Any:
        """A block that yields a path to write to; when it ends without an error, the file stands under its name."""

    def remove(self, name: str) -> None:
        """Remove a file, or a model with its folder, where it is there."""

    def put(self, source: Path, name: str) -> Path | str:
        """Copy a folder into this one; where it lies."""

    def absolute(self) -> Folder:
        """The same folder, from wherever it is looked at."""

    def locked(self) -> Any:
        """A block in which no other run holds the folder, as far as the file system can tell."""


def folder_of(place: Place) -> Folder:
    """The folder at a path or a URL."""
    return RemoteFolder(str(place).rstrip("/")) if is_url(place) else LocalFolder(local_path(place))


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine, or one that all machines of a cluster see."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def place(self) -> Path:
        """Its path."""
        return self.path

    def names(self) -> list[str]:
        """What lies in it, sorted; nothing where there is no such folder."""
        if not self.path.exists():
            return []
        if not self.path.is_dir():
            raise ConfigError(f"{self}: is no folder")
        return sorted(path.name for path in self.path.iterdir())

    def make(self) -> None:
        """Make it where it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """Content of a file; None where there is none."""
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return (self.path / name).stat().st_size

    def sha256(self, name: str) -> str | None:
        """SHA-256 of a file, in hexadecimal; None where there is none."""
        return file_hash(self.path / name) if (self.path / name).is_file() else None

    @contextmanager
    def whole(self, name: str) -> Iterator[Path]:
        """Write beside, sync, rename."""
        with whole_file(self.path / name) as temporary:
            yield temporary

    def remove(self, name: str) -> None:
        """Remove a file, or a folder of a model, where it is there."""
        path = self.path / name
        if not path.is_dir():
            path.unlink(missing_ok=True)
        elif MODEL.fullmatch(name):
            shutil.rmtree(path, ignore_errors=True)

    def put(self, source: Path, name: str) -> Path:
        """Copy a folder into this one; its path."""
        target = self.path.absolute() / name
        shutil.copytree(source, target)
        return target

    def link(self, source: Path, name: str) -> Path:
        """Link the files of a folder into a new one of this folder; its path."""
        target = self.path.absolute() / name
        target.mkdir()
        for file in source.iterdir():
            os.link(file, target / file.name)
        return target

    def absolute(self) -> LocalFolder:
        """The same folder, from wherever it is looked at."""
        return LocalFolder(self.path.absolute())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this run.

        Raises:
            ConfigError: when another run holds it.
        """
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(f"{self}: another run is at work here; wait for its end") from None
        try:
            yield
        finally:
            lock.release()


@dataclass(frozen=True)
class RemoteFolder:
    """A prefix of an object store, or a folder of another file system, through fsspec.

    A file is written on this machine first and then put there as one object, which stores show whole or not at all.
    There is no lock: two runs of one job write equal bytes, and of two different jobs the later one to begin refuses.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def place(self) -> str:
        """Its URL."""
        return self.url

    def names(self) -> list[str]:
        """What lies in it, sorted; nothing where there is no such folder."""
        system, path = file_system(self.url)
        system.invalidate_cache()
        try:
            found = system.ls(path, detail=False)
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise ConfigError(f"{self}: is no folder") from None
        return sorted({PurePosixPath(one.rstrip("/")).name for one in found if one.rstrip("/") != path})

    def make(self) -> None:
        """Make it where it is missing; stores know no empty folders."""
        system, path = file_system(self.url)
        system.makedirs(path, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """Content of a file; None where there is none."""
        system, path = file_system(self.url)
        try:
            return bytes(system.cat_file(f"{path}/{name}"))
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int:
        """Bytes of a file."""
        system, path = file_system(self.url)
        return int(system.size(f"{path}/{name}"))

    def sha256(self, name: str) -> str | None:
        """SHA-256 of a file, in hexadecimal, read from the store; None where there is none."""
        system, path = file_system(self.url)
        try:
            with system.open(f"{path}/{name}", "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    @contextmanager
    def whole(self, name: str) -> Iterator[Path]:
        """Write on this machine, then put the object."""
        system, path = file_system(self.url)
        with tempfile.TemporaryDirectory() as work:
            temporary = Path(work) / name
            yield temporary
            try:
                system.put_file(str(temporary), f"{path}/{name}")
            except Exception as error:  # every store has errors of its own
                raise OSError(f"{name}: {error}") from error

    def remove(self, name: str) -> None:
        """Remove a file, or all of a model, where it is there."""
        system, path = file_system(self.url)
        if system.isfile(f"{path}/{name}"):
            system.rm_file(f"{path}/{name}")
        elif MODEL.fullmatch(name) and system.exists(f"{path}/{name}"):
            system.rm(f"{path}/{name}", recursive=True)

    def put(self, source: Path, name: str) -> str:
        """Copy a folder into this one; its URL."""
        system, path = file_system(self.url)
        system.makedirs(f"{path}/{name}", exist_ok=True)
        for file in sorted(source.iterdir()):
            system.put_file(os.fspath(file), f"{path}/{name}/{file.name}")
        return f"{self.url}/{name}"

    def absolute(self) -> RemoteFolder:
        """The same folder."""
        return self

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nothing is held."""
        yield

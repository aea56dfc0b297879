"""Run a batch job shard by shard: what is there and verifies is kept, everything else is made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recgan.batch.claiming import check_place, check_same, claim, writing
from recgan.batch.engines import Engine, check_engine, make_shards
from recgan.batch.files import MANIFEST, part_name
from recgan.batch.folders import Folder, folder_of
from recgan.batch.formats import Format
from recgan.batch.job import Job
from recgan.batch.preparing import prepare
from recgan.batch.shards import verified, write_shard
from recgan.batch.totals import estimated, write_manifest
from recgan.errors import ConfigError, RecganError
from recgan.progress import Progress
from recgan.ranking import Asked, Search
from recgan.recommender import Recommender
from recgan.remote import Place
from recgan.rules import Rules
from recgan.serving import OnUnknown


@dataclass(frozen=True)
class BatchResult:
    """What a run of a batch job did.

    Args:
        folder: where the shards lie, a path or a URL.
        done: shards that this run wrote; in a dry run, that it would write.
        skipped: shards that were there already and verify.
        rows: rows of all shards that are there.
        users: users of the whole job.
        fallback_users: those among the shards that are there whom the model does not know: they got the general list.
        recall: of an approximate search, measured against the exact one; None for the exact one.
        expected_rows: in a dry run, about how many rows all shards will have.
        expected_bytes: in a dry run, about how large they will be together.
    """

    folder: Path | str
    done: tuple[int, ...]
    skipped: tuple[int, ...]
    rows: int
    users: int
    fallback_users: int
    recall: float | None = None
    expected_rows: int | None = None
    expected_bytes: int | None = None


def score_shard(
    model: Recommender | Place,
    users: Any,
    shard: int,
    n_shards: int,
    folder: Place,
    n: int = 10,
    *,
    histories: Any = None,
    items: Any = None,
    exclude: Any = None,
    filter_seen: bool = True,
    on_unknown: OnUnknown = "fallback",
    explore: float = 0.0,
    popularity: float | None = None,
    rules: Rules | Mapping[str, Any] | None = None,
    preferences: Any = None,
    explain: bool = False,
    seed: int = 0,
    format: Format = "parquet",
    model_version: bool = False,
    search: Asked | None = None,
    recall: float = 0.95,
    search_memory: float | None = None,
) -> Path | str:
    """Write the lists of one shard: equal arguments, equal rows, wherever it runs and however often.

    The users are cut into contiguous slices in their order. The file holds user_id, item_id, rank, score (+ reason,
    model_version where asked for) and appears whole or not at all; a JSON file beside it, written after it, says what
    it holds, with its SHA-256.

    Args:
        model: a Recommender or a model folder, a path or a URL.
        users: of all shards: ids, or a table with user_id (a frame, a path or a URL); None for the users of
            `histories`, or without these for all known users.
        shard: which shard, 0..n_shards-1.
        n_shards: shards into which the users are cut.
        folder: where the file shall lie, a path or a URL; made where it is missing.
        n: most items in a list.
        histories: a frame user_id, item_id (+ timestamp | position), or its path or URL, as in
            `Recommender.recommend_batch`.
        items: ids of the only items that may be listed, or {user_id: ids}, or a table with item_id (and user_id).
        exclude: ids of items that must not be listed, or {user_id: ids}, or a table with item_id (and user_id).
        filter_seen: whether items of the history are left out.
        on_unknown: "fallback", "skip" or "raise".
        explore: 0 for the accurate list, up to 1 for the adventurous one.
        popularity: correction of the popularity bias, as in `Recommender.recommend`.
        rules: what the lists must observe besides relevance, `recgan.Rules` or a dictionary.
        preferences: what users state, as in `Recommender.recommend_batch`, or a table with preference (category, item
            or avoid), value and, where they are not those of all, user_id.
        explain: whether a column `reason` says why each item is listed, as in `Recommender.recommend_batch`.
        seed: of what is random at explore > 0.
        format: of the shards: "parquet", "csv", or "jsonl" (a JSON object a line).
        model_version: whether a column `model_version` says with which model the list was made: the first digits of the
            model's hash in `job.json`.
        search: "auto", "ivf-pq", "ivf" or "hnsw" for an approximate search, as in `Recommender.with_search`, whose
            index every worker builds; None for the model's own, whose index lies in its folder, or the exact one.
        recall: the share of the exact search's candidates that it has to find; what it reaches stands in the sidecars.
        search_memory: MiB that its index may take beside the model.

    Returns:
        The path or URL of the shard, such as `part-00003-of-00008.parquet`.

    Raises:
        RecganError: as `run_batch`.
    """
    options = _options(items, exclude, filter_seen, on_unknown, explore, popularity, rules, preferences, explain, seed)
    asked = None if search is None else Search(search, recall, search_memory)
    job = prepare(model, users, n, n_shards, histories, options, format, model_version, asked)
    if isinstance(shard, bool) or not isinstance(shard, int) or not 0 <= shard < n_shards:
        raise ConfigError(f"shard: a whole number from 0 to {n_shards - 1}, not {shard!r}")
    target, name = folder_of(folder), part_name(shard, n_shards, format)
    with writing(target):
        target.make()
        write_shard(job, shard, target, lambda users_done: None)
    return target.place / name if isinstance(target.place, Path) else f"{target.place}/{name}"


def run_batch(
    model: Recommender | Place,
    folder: Place,
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
    popularity: float | None = None,
    rules: Rules | Mapping[str, Any] | None = None,
    preferences: Any = None,
    explain: bool = False,
    seed: int = 0,
    format: Format = "parquet",
    model_version: bool = False,
    search: Asked | None = None,
    recall: float = 0.95,
    search_memory: float | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    restart: bool = False,
    dry_run: bool = False,
    progress: bool = True,
) -> BatchResult:
    """Write lists for many users as Parquet shards; kill it anywhere and call it again, it takes up where it was.

    Shards that are there and verify (same model, users and arguments, and the SHA-256 of the file) are kept. Memory
    does not grow with the number of lists.

    Args:
        model: a Recommender or a model folder, a path or a URL.
        folder: where the shards shall lie, a path or a URL: new, empty, or that of the same job.
        users: ids, or a table with user_id (a frame, a path or a URL); None for the users of `histories`, or without
            these for all known users.
        n: most items in a list.
        n_shards: shards into which the users are cut, in their order.
        histories: a frame user_id, item_id (+ timestamp | position), or its path or URL, as in
            `Recommender.recommend_batch`.
        items: ids of the only items that may be listed, or {user_id: ids}, or a table with item_id (and user_id).
        exclude: ids of items that must not be listed, or {user_id: ids}, or a table with item_id (and user_id).
        filter_seen: whether items of the history are left out.
        on_unknown: "fallback", "skip" or "raise".
        explore: 0 for the accurate list, up to 1 for the adventurous one.
        popularity: correction of the popularity bias, as in `Recommender.recommend`.
        rules: what the lists must observe besides relevance, `recgan.Rules` or a dictionary.
        preferences: what users state, as in `Recommender.recommend_batch`, or a table with preference (category, item
            or avoid), value and, where they are not those of all, user_id.
        explain: whether a column `reason` says why each item is listed, as in `Recommender.recommend_batch`.
        seed: of what is random at explore > 0.
        format: of the shards: "parquet", "csv", or "jsonl" (a JSON object a line).
        model_version: whether a column `model_version` says with which model the list was made: the first digits of the
            model's hash in `job.json`.
        search: "auto", "ivf-pq", "ivf" or "hnsw" for an approximate search, as in `Recommender.with_search`, whose
            index every worker builds; None for the model's own, whose index lies in its folder, or the exact one.
        recall: the share of the exact search's candidates that it has to find; what it reaches stands in the sidecars.
        search_memory: MiB that its index may take beside the model.
        engine: what makes the shards: processes of this machine ("local"), or a cluster whose machines share the
            folders of model and shards ("ray", "spark"); the files are the same.
        workers: how many work at the same time, each with its own copy of the model and one thread; None for one a
            core of this machine ("local", fewer for few users) or of the cluster. A single local one is this process.
        restart: first remove the shards that another job, or this one, has left in the folder; no other file.
        dry_run: check everything and say what would be done, write nothing.
        progress: whether progress may be told on stderr: a bar on a terminal, else a line now and then.

    Returns:
        A BatchResult.

    Raises:
        ConfigError: for a bad argument, a folder that holds something else, or another job without restart.
        DataError: for users or histories that cannot be used.
        UnknownUserError: for an unknown user under on_unknown="raise"; nothing is written then.
        ArtifactError: when the model folder is missing, damaged or foreign.
        RecganError: when the folder cannot be written, or a worker was killed; whole shards stay, a rerun goes on.
    """
    check_engine(engine, workers)
    target = folder_of(folder)
    with writing(target):
        check_place(target)
    options = _options(items, exclude, filter_seen, on_unknown, explore, popularity, rules, preferences, explain, seed)
    asked = None if search is None else Search(search, recall, search_memory)
    job = prepare(model, users, n, n_shards, histories, options, format, model_version, asked)
    if dry_run:
        return _planned(job, target, restart)
    with writing(target):
        target.make()
        with target.locked(), Progress(progress) as bar:
            claim(job, target, restart)
            return _run(job, target, bar, engine, workers)


def _options(
    items: Any,
    exclude: Any,
    filter_seen: bool,
    on_unknown: str,
    explore: float,
    popularity: float | None,
    rules: Any,
    preferences: Any,
    explain: bool,
    seed: int,
) -> dict[str, Any]:
    return {
        "items": items,
        "exclude": exclude,
        "filter_seen": filter_seen,
        "on_unknown": on_unknown,
        "explore": explore,
        "popularity": popularity,
        "rules": Rules.of(rules),
        "preferences": preferences,
        "explain": explain,
        "seed": seed,
    }


def _planned(job: Job, folder: Folder, restart: bool) -> BatchResult:
    if not restart:
        check_same(job, folder)
    found = [None if restart else verified(job, shard, folder) for shard in range(job.n_shards)]
    lacking = tuple(shard for shard, sidecar in enumerate(found) if sidecar is None)
    rows, size = estimated(job, found, folder)
    return replace(_result(job, folder, lacking, found), expected_rows=rows, expected_bytes=size)


def _run(job: Job, folder: Folder, bar: Progress, engine: Engine, workers: int | None) -> BatchResult:
    sidecars = [verified(job, shard, folder) for shard in range(job.n_shards)]
    lacking = tuple(shard for shard, sidecar in enumerate(sidecars) if sidecar is None)
    there = sum(sidecar["users"] for sidecar in sidecars if sidecar is not None)
    if lacking:
        folder.remove(MANIFEST)
    make_shards(job, lacking, folder, bar.steps("users", len(job.users), there), engine, workers)
    found = [verified(job, shard, folder) if one is None else one for shard, one in enumerate(sidecars)]
    whole = [one for one in found if one is not None]
    if len(whole) < len(found):
        raise RecganError(
            f"{folder}: shard {found.index(None)} was written and does not verify; see that the disk is sound and that "
            "all workers write into this folder, then run the job again"
        )
    check_same(job, folder)
    write_manifest(job, whole, folder)
    return _result(job, folder, lacking, whole)


def _result(job: Job, folder: Folder, done: tuple[int, ...], sidecars: Sequence[dict[str, Any] | None]) -> BatchResult:
    skipped = tuple(shard for shard in range(job.n_shards) if shard not in done)
    rows, fallback = (sum(one[name] for one in sidecars if one is not None) for name in ("rows", "fallback_users"))
    recall = min((one["recall"] for one in sidecars if one is not None and "recall" in one), default=None)
    return BatchResult(folder.place, done, skipped, rows, len(job.users), fallback, recall)

"""`recgan recommend` and `recgan batch`."""

from __future__ import annotations

import time
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.cli.data import FormatOption
from recgan.cli.ids import many_ids, matched, one_id, preferences_of
from recgan.cli.making import ModelArgument, users_in
from recgan.cli.output import Format, note, show
from recgan.cli.rules import (
    CalibrationOption,
    LeastOption,
    MaxNewOption,
    MinNewOption,
    MostOption,
    NewBelowOption,
    matched_lists,
    rules_of,
)
from recgan.errors import UnknownUserError

if TYPE_CHECKING:
    import pandas as pd

    from recgan.batch import BatchResult
    from recgan.recommender import Recommender


class OnUnknown(StrEnum):
    """What an unknown user gets."""

    fallback = "fallback"
    skip = "skip"
    refuse = "raise"


class Engine(StrEnum):
    """What runs the shards."""

    local = "local"
    ray = "ray"
    spark = "spark"


class Search(StrEnum):
    """An approximate search."""

    auto = "auto"
    ivf_pq = "ivf-pq"
    ivf = "ivf"
    hnsw = "hnsw"


class Shape(StrEnum):
    """How shards are written."""

    parquet = "parquet"
    csv = "csv"
    jsonl = "jsonl"


WORTH_TELLING = 10.0
"""Seconds after which it is said how many they were."""

LengthOption = Annotated[int, typer.Option("--n", "-n", min=0, help="Most items in a list.")]
UserArgument = Annotated[str | None, typer.Argument(help="A user's id; may be left out with --history.")]
ExcludeOption = Annotated[list[str] | None, typer.Option(help="Items that must not be listed: ID or ID,ID.")]
HistoryOption = Annotated[
    list[str] | None, typer.Option(help="ID,ID: what the user had, oldest first, instead of what the model knows.")
]
UnknownOption = Annotated[
    OnUnknown, typer.Option(help="What an unknown user gets: the general list, nothing, or an error.")
]
ExploreOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="0: the accurate list; 1: adventurous.")]
PopularityOption = Annotated[float | None, typer.Option(help="Above 0, such as 0.5: rarer items.")]
SeedOption = Annotated[int, typer.Option(help="Of what is random at explore > 0.")]
ExplainOption = Annotated[bool, typer.Option("--explain", help="Add a column that says why each item is listed.")]
SeenOption = Annotated[bool, typer.Option("--keep-seen", help="Do not leave out what the user had.")]


def recommend(
    model: ModelArgument,
    user: UserArgument = None,
    n: LengthOption = 10,
    exclude: ExcludeOption = None,
    history: HistoryOption = None,
    explore: ExploreOption = 0.0,
    popularity: PopularityOption = None,
    seed: SeedOption = 0,
    pin: Annotated[list[str] | None, typer.Option(help="Items that stand first: ID or ID,ID.")] = None,
    calibration: CalibrationOption = 0.0,
    max_per_category: MostOption = None,
    min_per_category: LeastOption = None,
    min_new: MinNewOption = 0,
    max_new: MaxNewOption = None,
    new_below: NewBelowOption = 5,
    on_unknown: UnknownOption = OnUnknown.refuse,
    category: Annotated[list[str] | None, typer.Option(help="A category that the user likes.")] = None,
    like: Annotated[list[str] | None, typer.Option(help="Items that the user likes: ID or ID,ID.")] = None,
    avoid: Annotated[list[str] | None, typer.Option(help="An item, or a category of which nothing is listed.")] = None,
    explain: ExplainOption = False,
    form: FormatOption = Format.table,
) -> None:
    """The best items for one user."""
    if user is None and not history and not category and not like:
        raise typer.BadParameter("give a USER, a --history, a --category or what they --like", param_hint="'USER'")
    from recgan.recommender import Recommender

    loaded = Recommender.load(model)
    lists = _recommended(
        loaded,
        None if user is None else one_id(user, loaded.users),
        n,
        history=many_ids(history or [], loaded.items, "--history"),
        exclude=many_ids(exclude or [], loaded.items, "--exclude"),
        explore=explore,
        popularity=popularity,
        rules=rules_of(
            calibration,
            max_per_category,
            min_per_category,
            min_new,
            max_new,
            new_below,
            pinned=many_ids(pin or [], loaded.items, "--pin"),
        ),
        preferences=preferences_of(category, like, avoid, loaded.items),
        seed=seed,
        on_unknown=on_unknown.value,
        explain=explain,
    )
    if lists.attrs["fallback_users"]:
        note(f"user {user} is unknown: this is the general list")
    show(with_titles(lists, loaded.item_table), form)


def batch(
    model: Annotated[str, typer.Argument(help="Model folder, or its URL.")],
    out: Annotated[str, typer.Option(help="Folder of the shards, or its URL: new, empty, or that of the same job.")],
    users: Annotated[str | None, typer.Option(help="Table with the users' user_id; else all known users.")] = None,
    histories: Annotated[
        str | None, typer.Option(help="Table user_id, item_id (+ timestamp): instead of what the model knows.")
    ] = None,
    items: Annotated[
        str | None, typer.Option(help="Table item_id of what may be listed; with user_id: for these users.")
    ] = None,
    exclude: Annotated[
        str | None, typer.Option(help="Table item_id of what must not be listed; with user_id: for these users.")
    ] = None,
    keep_seen: SeenOption = False,
    n: LengthOption = 10,
    shards: Annotated[int, typer.Option(min=1, help="Files into which the users are cut.")] = 8,
    explore: ExploreOption = 0.0,
    popularity: PopularityOption = None,
    seed: SeedOption = 0,
    preferences: Annotated[
        str | None,
        typer.Option(help="Table preference (category, item, avoid), value; with user_id: of these users."),
    ] = None,
    pinned: Annotated[
        str | None, typer.Option(help="Table item_id (+ place, from 1; + user_id) of what stands first, or there.")
    ] = None,
    calibration: CalibrationOption = 0.0,
    max_per_category: MostOption = None,
    min_per_category: LeastOption = None,
    min_new: MinNewOption = 0,
    max_new: MaxNewOption = None,
    new_below: NewBelowOption = 5,
    on_unknown: UnknownOption = OnUnknown.fallback,
    engine: Annotated[
        Engine, typer.Option(help="What makes the shards: this machine, or a cluster that reads and writes there.")
    ] = Engine.local,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many work at the same time; else one a core, where that pays.")
    ] = None,
    form: Annotated[Shape, typer.Option("--format", help="Of the shards.")] = Shape.parquet,
    model_version: Annotated[
        bool, typer.Option("--model-version", help="Add a column that says with which model a list was made.")
    ] = False,
    reason: Annotated[bool, typer.Option("--reason", help="Add a column that says why each item is listed.")] = False,
    search: Annotated[
        Search | None,
        typer.Option(help="Search large catalogues approximately: in cells (ivf-pq, ivf), a graph (hnsw), or auto."),
    ] = None,
    search_memory: Annotated[
        float | None, typer.Option(help="MiB that the index of the search may take beside the model.")
    ] = None,
    recall: Annotated[float, typer.Option(help="Share of the exact search's candidates that it has to find.")] = 0.95,
    restart: Annotated[bool, typer.Option("--restart", help="First remove the shards that are there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
) -> None:
    """Lists for many users, as Parquet, CSV or JSON files.

    Kill it anywhere and run it again: shards that are there and whole are kept, the others are made. Tables are CSV or
    Parquet files; they, the model and the shards may lie in an object store: s3://bucket/lists.
    """
    from recgan.batch import run_batch

    tables = {"users": users, "histories": histories, "items": items, "exclude": exclude, "pinned": pinned}
    tables["preferences"] = preferences
    asked = _read_asked(model, {name: table for name, table in tables.items() if table is not None})
    rules = rules_of(
        calibration, max_per_category, min_per_category, min_new, max_new, new_below, asked.pop("pinned", None)
    )
    options: dict[str, Any] = {"on_unknown": on_unknown.value, "engine": engine.value, "workers": workers}
    options |= {"format": form.value, "model_version": model_version, "explore": explore, "seed": seed}
    options |= {"explain": reason, "filter_seen": not keep_seen, "restart": restart, "dry_run": dry_run, **asked}
    options |= {"search": search and search.value, "recall": recall, "search_memory": search_memory}
    options["popularity"] = popularity
    start = time.monotonic()
    result = run_batch(model, out, n=n, n_shards=shards, rules=rules, **options)
    _tell(result, dry_run, time.monotonic() - start)


def _recommended(model: Recommender, user: int | str | None, n: int, **options: Any) -> pd.DataFrame:
    try:
        return model.recommend(user, n, **options)
    except UnknownUserError:
        raise UnknownUserError(
            f"unknown user {user!r}: the model knows {len(model.users):,} users, such as {model.users.iloc[0]}; "
            "--history ID,ID tells what the user had, --on-unknown fallback gives the general list"
        ) from None


def with_titles(lists: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Lists with the titles of their items, where the model knows any, and without a user who has no name."""
    if lists["user_id"].isna().any():
        lists = lists.drop(columns="user_id")
    return titled(lists, items, "item_id", "title")


def titled(frame: pd.DataFrame, items: pd.DataFrame, ids: str, name: str) -> pd.DataFrame:
    """A frame with the titles of a column of item ids beside it, where the model knows any."""
    if "title" not in items:
        return frame
    titles = items.set_index("item_id")["title"].fillna("").reindex(frame[ids])
    names = list(frame.columns)
    names.insert(names.index(ids) + 1, name)
    return frame.assign(**{name: titles.to_numpy()})[names]


def _read_asked(model: str, tables: dict[str, str]) -> dict[str, Any]:
    """What the files say, under the names of `run_batch`, with ids in the type of the model's."""
    if not tables:
        return {}
    from recgan.batch.inputs import pinned_of, read_lists
    from recgan.batch.preparing import load_sealed

    known = load_sealed(model)[0]
    asked: dict[str, Any] = {}
    for name, table in tables.items():
        if name == "users":
            asked[name] = users_in(table, known, strict="histories" not in tables)
        elif name == "histories":
            asked[name] = _read_histories(table, known)
        elif name == "preferences":
            asked[name] = _read_preferences(table, known)
        else:
            frame = matched_lists(read_lists(table, name), known, table)
            asked[name] = pinned_of(frame) if name == "pinned" else frame
    return asked


def _read_histories(table: str, known: Recommender) -> pd.DataFrame:
    from recgan.interactions import read_interactions

    given = read_interactions(table)
    own = matched(given["user_id"], known.users, table, strict=False)
    return given.assign(user_id=own, item_id=matched(given["item_id"], known.items, table))


def _read_preferences(table: str, known: Recommender) -> pd.DataFrame:
    from recgan.batch.inputs import read_preferences

    frame = read_preferences(table)
    if "user_id" not in frame.columns:
        return frame
    return frame.assign(user_id=matched(frame["user_id"], known.users, table, strict=False))


def _tell(result: BatchResult, dry_run: bool, seconds: float) -> None:
    written = f"{len(result.done)} {'to write' if dry_run else 'written'}, {len(result.skipped)} already there"
    size = "" if result.expected_bytes is None else f"; {_size(result.expected_rows or 0, result.expected_bytes)}"
    print(f"{result.folder}: {result.users:,} users, {result.rows:,} rows; shards: {written}{size}")
    if unknown := result.fallback_users:
        note(f"{unknown:,} unknown user{'s' * (unknown != 1)} got the general list")
    if result.recall is not None:
        note(f"approximate search: finds {result.recall:.1%} of the exact search's candidates, measured")
    if seconds >= WORTH_TELLING and not dry_run:
        note(f"it took {timedelta(seconds=round(seconds))}")


def _size(rows: int, size: int) -> str:
    return f"about {rows:,} rows and {size / 1e6:,.1f} MB in the end"

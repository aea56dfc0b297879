"""Check what a batch job is given, before the first list is made."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recgan.artifact import SEAL
from recgan.batch.formats import check_format
from recgan.batch.inputs import all_ids, settled_lists, settled_preferences, settled_users
from recgan.batch.job import KIND, GivenHistories, Job, columns_of, json_hash, table_hash
from recgan.errors import ArtifactError, ConfigError, UnknownUserError
from recgan.ranking import Search
from recgan.recommender import Recommender
from recgan.remote import fetched, is_url, local_path
from recgan.schema import ITEM, USER, WEIGHT, order_column
from recgan.serving import check_histories, id_series, refuse_repeats, unknown_users


def prepare(
    model: Any,
    users: Any,
    n: Any,
    n_shards: Any,
    histories: Any,
    options: Mapping[str, Any],
    form: str = "parquet",
    model_version: bool = False,
    search: Search | None = None,
) -> Job:
    """Check everything that a batch job is given, before the first list is made.

    Args:
        model: a Recommender or a model folder.
        users: ids, or a table with user_id; None for the users of `histories`, or without these for all known users.
        n: most items in a list.
        n_shards: shards into which the users are cut.
        histories: a frame user_id, item_id (+ timestamp | position), the path of such a table, or None.
        options: items, exclude, filter_seen, on_unknown, explore, popularity, rules, preferences, explain, seed.
        form: format of the shards.
        model_version: whether a column says with which model the list was made.
        search: an approximate search; None for that of the model, which is exact unless it was handed over with one.

    Returns:
        The job.

    Raises:
        ConfigError: for a bad argument.
        DataError: for users or histories that cannot be used.
        UnknownUserError: for an unknown user under on_unknown="raise".
        ArtifactError: when the model folder is missing, damaged or foreign.
    """
    _check_shape(n_shards, form)
    recommender, source, model_hash = _loaded(model)
    near = recommender._ranker.near
    search = search if near is None or search is not None else near.asked
    options = {**options, **{name: settled_lists(options[name], name) for name in ("items", "exclude")}}
    options["preferences"] = settled_preferences(options["preferences"], recommender.items)
    for name in ("items", "exclude"):
        recommender._numbers_of(all_ids(options[name]), name)
    if options["preferences"] is not None:
        stated = options["preferences"]
        recommender._stated(list(stated) if isinstance(stated, Mapping) else [None], stated)
    histories = None if histories is None else check_histories(histories)
    recommender.recommend_batch([], n, histories=histories, **options)  # checks the arguments
    ids = _users(recommender, settled_users(users), histories)
    if options["on_unknown"] == "raise":
        _refuse_unknown(recommender, ids, histories, options["preferences"])
    described: dict[str, Any] = {
        "kind": KIND,
        "model": model_hash,
        "users": table_hash(ids.to_frame()),
        "n_users": len(ids),
        "n_shards": int(n_shards),
        "columns": columns_of(ids, recommender.items, explain=options["explain"], model_version=model_version),
        "arguments": {**_arguments(n, histories, options), "format": form, "model_version": bool(model_version)},
    }
    if search is not None:
        described["arguments"]["search"] = {name: value for name, value in vars(search).items() if value is not None}
    given = None if histories is None else GivenHistories.of(histories, ids)
    how = (int(n), options, int(n_shards), form, bool(model_version))
    return Job(recommender, source, ids, given, *how, described, search)


def _check_shape(n_shards: Any, form: Any) -> None:
    if isinstance(n_shards, bool) or not isinstance(n_shards, int | np.integer) or n_shards < 1:
        raise ConfigError(f"n_shards: a whole number of at least 1, not {n_shards!r}")
    check_format(form)


def load_sealed(folder: Path | str) -> tuple[Recommender, str]:
    """A model and the hash of its seal, both of one and the same folder.

    Args:
        folder: path or URL of a model folder.

    Returns:
        The recommender and a SHA-256.

    Raises:
        ArtifactError: when it is missing, damaged or foreign, or was replaced while it was read.
    """
    with fetched(folder) as path:
        seal, recommender = seal_of(path), _load(path, folder)
        if seal_of(path) != seal:
            raise ArtifactError(f"{folder}: was replaced while it was read; try again")
        return recommender, seal


def _load(path: Path, folder: Path | str) -> Recommender:
    try:
        return Recommender.load(path)
    except ArtifactError as error:
        raise ArtifactError(str(error).replace(str(path), str(folder))) from error


def _loaded(model: Any) -> tuple[Recommender, Path | str | None, str]:
    if isinstance(model, Recommender):
        with tempfile.TemporaryDirectory() as work:
            model.with_search(None).save(Path(work) / "model")  # what is searched how is the job's, not the model's
            return model, None, seal_of(Path(work) / "model")
    if not isinstance(model, str | os.PathLike):
        raise ConfigError(f"model: a Recommender or a model folder, not {type(model).__name__}")
    folder = str(model) if is_url(model) else local_path(model).absolute()
    recommender, seal = load_sealed(folder)
    return recommender, folder, seal


def seal_of(folder: Path) -> str:
    """SHA-256 of the seal of a model folder, "" where there is none."""
    seal = folder / SEAL
    return hashlib.sha256(seal.read_bytes()).hexdigest() if seal.is_file() else ""


def _users(model: Recommender, users: Any, histories: Any) -> pd.Series:
    if users is None:
        ids = model.users if histories is None else pd.Series(histories[USER].unique())
    else:
        ids = id_series(users, USER)
    refuse_repeats(ids)
    return ids.rename(USER).reset_index(drop=True)


def _refuse_unknown(model: Recommender, ids: pd.Series, histories: pd.DataFrame | None, stated: Any) -> None:
    """Refuse users of whom nothing is known: no history in the catalogue, and no statement."""
    known = ids.isin(model.users)
    if histories is not None:
        there = histories[ITEM].isin(model.items)
        known = known.mask(ids.isin(histories[USER]), ids.isin(histories[USER][there]))
    unknown = ids[~known].tolist()
    if unknown and stated is not None:
        told = model._stated(unknown, stated).told.tolist()
        unknown = [user for user, something in zip(unknown, told, strict=True) if not something]
    if unknown:
        raise UnknownUserError(unknown_users(unknown))


def _arguments(n: Any, histories: pd.DataFrame | None, options: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: _plain(options[name]) for name in ("filter_seen", "on_unknown", "popularity", "explain", "seed")}
    hashed: dict[str, str | None] = {name: _ids_hash(options[name]) for name in ("items", "exclude")}
    stated = options["preferences"]
    hashed["preferences"] = None if stated is None else json_hash(sorted(map(repr, stated.items())))
    hashed["histories"] = None
    if histories is not None:
        order = order_column(histories)
        heeded = [name for name in (USER, ITEM, order, WEIGHT) if name in histories.columns]
        hashed["histories"] = table_hash(histories[heeded])
    rules = options["rules"].model_dump()
    hashed["pinned"] = None if rules["pinned"] is None else json_hash(_pinned_text(rules["pinned"]))
    del rules["pinned"]
    return {"n": int(n), "explore": float(options["explore"]), "rules": rules, **plain, **hashed}


def _pinned_text(pinned: Any) -> list[str]:
    """One text for equal pinned items, in whatever order the users stand."""
    return sorted(map(repr, pinned.items())) if isinstance(pinned, Mapping) else list(map(repr, pinned))


def _ids_hash(ids: Any) -> str | None:
    """One hash for equal sets of ids, in whatever order they are."""
    if ids is None:
        return None
    if isinstance(ids, Mapping):
        return json_hash(sorted([repr(_plain(user)), sorted(set(some))] for user, some in ids.items()))
    return json_hash(sorted(set(ids)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

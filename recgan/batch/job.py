"""What a batch job is asked for: its users, arguments and model, each with a hash by which a rerun knows them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recgan.artifact import SEAL
from recgan.errors import ArtifactError, ConfigError, UnknownUserError
from recgan.interactions import read_interactions
from recgan.recommender import Recommender
from recgan.schema import ITEM, RANK, SCORE, USER, order_column
from recgan.serving import _id_series, _refuse_repeats, _unknown_users

KIND = "recgan batch"
HASHED_ROWS = 1 << 16
"""Rows of a table that are hashed at once; part of the hash."""


@dataclass(frozen=True)
class GivenHistories:
    """The histories that were given for some of the users, rows grouped in the order of the users.

    Args:
        frame: user_id, item_id and, where it exists, timestamp or position.
        offsets: where each user's rows begin and end, (U + 1,) int64.
    """

    frame: pd.DataFrame
    offsets: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame, users: pd.Series) -> GivenHistories:
        """The rows of the users, each user's in the order of the frame."""
        place = pd.Index(users).get_indexer(pd.Index(frame[USER]))
        order = np.argsort(place, kind="stable")
        offsets = np.searchsorted(place[order], np.arange(len(users) + 1))
        return cls(frame.take(order), offsets)

    def between(self, start: int, stop: int) -> pd.DataFrame | None:
        """The rows of the users start..stop-1; None where there is none."""
        rows = self.frame.iloc[self.offsets[start] : self.offsets[stop]]
        return None if rows.empty else rows


@dataclass(frozen=True)
class Job:
    """One batch job, checked and ready to be served.

    Args:
        model: serves the lists.
        folder: the model's folder; None when it was handed over in memory.
        users: ids of the users, (U,), each once.
        histories: histories given for some of them, or None.
        n: most items in a list.
        options: the other arguments of `Recommender.recommend_batch`.
        n_shards: shards into which the users are cut.
        described: what is asked, as JSON values: kind, model, users, n_users, n_shards, arguments.
    """

    model: Recommender
    folder: Path | None
    users: pd.Series
    histories: GivenHistories | None
    n: int
    options: dict[str, Any]
    n_shards: int
    described: dict[str, Any]

    def bounds(self, shard: int) -> tuple[int, int]:
        """First user of a shard, and of the next one; the shards' sizes differ by one at most."""
        return shard * len(self.users) // self.n_shards, (shard + 1) * len(self.users) // self.n_shards

    def expected(self, shard: int) -> dict[str, Any]:
        """What the sidecar of a shard of this job says about model, arguments and users."""
        start, stop = self.bounds(shard)
        ids = self.users.iloc[start:stop]
        return {
            "model": self.described["model"],
            "arguments": json_hash(self.described["arguments"]),
            "users": stop - start,
            "users_sha256": table_hash(ids.to_frame()),
        }

    def served(self, start: int, stop: int) -> pd.DataFrame:
        """Lists of the users start..stop-1."""
        given = None if self.histories is None else self.histories.between(start, stop)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="histories: ")  # told once, by `prepare`
            return self.model.recommend_batch(self.users.iloc[start:stop], self.n, histories=given, **self.options)

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of every shard: integer ids keep their type, other ids are text."""
        ids = [(USER, _arrow_type(self.users)), (ITEM, _arrow_type(self.model.items))]
        return pa.schema([*ids, (RANK, pa.int64()), (SCORE, pa.float64())])


def prepare(model: Any, users: Any, n: Any, n_shards: Any, histories: Any, options: Mapping[str, Any]) -> Job:
    """Check everything that a batch job is given, before the first list is made.

    Args:
        model: a Recommender or a model folder.
        users: ids; None for the users of `histories`, or without these for all known users.
        n: most items in a list.
        n_shards: shards into which the users are cut.
        histories: a frame user_id, item_id (+ timestamp | position), the path of such a table, or None.
        options: items, exclude, filter_seen, on_unknown, explore, rules, seed.

    Returns:
        The job.

    Raises:
        ConfigError: for a bad argument.
        DataError: for users or histories that cannot be used.
        UnknownUserError: for an unknown user under on_unknown="raise".
        ArtifactError: when the model folder is missing, damaged or foreign.
    """
    if isinstance(n_shards, bool) or not isinstance(n_shards, int | np.integer) or n_shards < 1:
        raise ConfigError(f"n_shards: a whole number of at least 1, not {n_shards!r}")
    recommender, source, model_hash = _loaded(model)
    options = {**options, **{name: _settled(options[name], name) for name in ("items", "exclude")}}
    if isinstance(histories, str | os.PathLike):
        histories = read_interactions(Path(histories))
    recommender.recommend_batch([], n, histories=histories, **options)  # checks the arguments
    ids = _users(recommender, users, histories)
    if options["on_unknown"] == "raise":
        _refuse_unknown(recommender, ids, histories)
    described = {
        "kind": KIND,
        "model": model_hash,
        "users": table_hash(ids.to_frame()),
        "n_users": len(ids),
        "n_shards": int(n_shards),
        "arguments": _arguments(n, histories, options),
    }
    given = None if histories is None else GivenHistories.of(histories, ids)
    return Job(recommender, source, ids, given, int(n), options, int(n_shards), described)


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What two descriptions of jobs disagree in, in words."""
    there, asked = ({**one, **one.get("arguments", {})} for one in (there, asked))
    found = []
    for name in [name for name in asked if name != "arguments" and there.get(name) != asked[name]]:
        hashed = name in ("model", "users", "histories", "items", "exclude")
        told = f"{name} is {there.get(name)!r} there and {asked[name]!r} here"
        found.append(f"{'a ' * (name == 'model')}different {name}" if hashed else told)
    return found


def json_hash(value: Any) -> str:
    """SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def table_hash(frame: pd.DataFrame) -> str:
    """SHA-256 of the values of a frame, whatever its dtypes and its index; 5 and "5" differ."""
    digest = hashlib.sha256()
    for start in range(0, len(frame), HASHED_ROWS):
        part = frame.iloc[start : start + HASHED_ROWS]
        columns = [part[name].tolist() for name in part.columns]
        digest.update(json.dumps(columns, default=str).encode())
    return digest.hexdigest()


def load_sealed(folder: Path) -> tuple[Recommender, str]:
    """A model and the hash of its seal, both of one and the same folder.

    Args:
        folder: a model folder.

    Returns:
        The recommender and a SHA-256.

    Raises:
        ArtifactError: when it is missing, damaged or foreign, or was replaced while it was read.
    """
    seal, recommender = _seal(folder), Recommender.load(folder)
    if _seal(folder) != seal:
        raise ArtifactError(f"{folder}: was replaced while it was read; try again")
    return recommender, seal


def _loaded(model: Any) -> tuple[Recommender, Path | None, str]:
    if isinstance(model, Recommender):
        with tempfile.TemporaryDirectory() as work:
            model.save(Path(work) / "model")
            return model, None, _seal(Path(work) / "model")
    if not isinstance(model, str | os.PathLike):
        raise ConfigError(f"model: a Recommender or a model folder, not {type(model).__name__}")
    folder = Path(model).expanduser().absolute()
    recommender, seal = load_sealed(folder)
    return recommender, folder, seal


def _seal(folder: Path) -> str:
    seal = folder / SEAL
    return hashlib.sha256(seal.read_bytes()).hexdigest() if seal.is_file() else ""


def _settled(ids: Any, name: str) -> list[Any] | dict[Any, list[Any]] | None:
    """Item ids, or item ids by user, in a form that can be read again and again."""
    if ids is None:
        return None
    if isinstance(ids, Mapping):
        return {user: _id_series(some, f"{name}[{user!r}]").tolist() for user, some in ids.items()}
    return _id_series(ids, name).tolist()


def _users(model: Recommender, users: Any, histories: Any) -> pd.Series:
    if users is None:
        ids = model.users if histories is None else pd.Series(histories[USER].unique())
    else:
        ids = _id_series(users, USER)
    _refuse_repeats(ids)
    return ids.rename(USER).reset_index(drop=True)


def _refuse_unknown(model: Recommender, ids: pd.Series, histories: pd.DataFrame | None) -> None:
    known = ids.isin(model.users)
    if histories is not None:
        known |= ids.isin(histories[USER])
    if not known.all():
        raise UnknownUserError(_unknown_users(ids[~known].tolist()))


def _arguments(n: Any, histories: pd.DataFrame | None, options: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: _plain(options[name]) for name in ("filter_seen", "on_unknown", "seed")}
    hashed: dict[str, str | None] = {name: _ids_hash(options[name]) for name in ("items", "exclude")}
    hashed["histories"] = None
    if histories is not None:
        order = order_column(histories)
        hashed["histories"] = table_hash(histories[[USER, ITEM, *([order] if order else [])]])
    rules = options["rules"].model_dump()
    return {"n": int(n), "explore": float(options["explore"]), "rules": rules, **plain, **hashed}


def _ids_hash(ids: Any) -> str | None:
    """One hash for equal sets of ids, in whatever order they are."""
    if ids is None:
        return None
    if isinstance(ids, Mapping):
        return json_hash(sorted([repr(_plain(user)), sorted(set(some))] for user, some in ids.items()))
    return json_hash(sorted(set(ids)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _arrow_type(ids: pd.Series) -> pa.DataType:
    if pd.api.types.infer_dtype(ids) != "integer" and not pd.api.types.is_integer_dtype(ids.dtype):
        return pa.string()
    if ids.dtype == object:
        return pa.int64()
    return pa.Schema.from_pandas(ids.iloc[:0].to_frame()).field(0).type

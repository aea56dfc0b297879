"""What a batch job is asked for: its users, arguments and model, each with a hash by which a rerun knows them."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recgan.ranking import Search
from recgan.recommender import Recommender
from recgan.schema import ITEM, RANK, REASON, SCORE, USER

KIND = "recgan batch"
MODEL_VERSION = "model_version"
VERSION_DIGITS = 12
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
        folder: path or URL of the model's folder; None when it was handed over in memory.
        users: ids of the users, (U,), each once.
        histories: histories given for some of them, or None.
        n: most items in a list.
        options: the other arguments of `Recommender.recommend_batch`.
        n_shards: shards into which the users are cut.
        format: of the shards, "parquet", "csv" or "jsonl".
        model_version: whether a column says with which model the list was made.
        described: what is asked, as JSON values: kind, model, users, n_users, n_shards, columns, arguments.
        search: an approximate search, or None for the exact one.
    """

    model: Recommender
    folder: Path | str | None
    users: pd.Series
    histories: GivenHistories | None
    n: int
    options: dict[str, Any]
    n_shards: int
    format: str
    model_version: bool
    described: dict[str, Any]
    search: Search | None = None

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
            warnings.filterwarnings("ignore", message="(histories|rules): ")  # told once, by `prepare`
            return self.server.recommend_batch(self.users.iloc[start:stop], self.n, histories=given, **self.options)

    def table(self, start: int, stop: int) -> tuple[pa.Table, int]:
        """Lists of the users start..stop-1 as they are written, and how many users got the general list."""
        lists = self.served(start, stop)
        unknown = len(lists.attrs["fallback_users"])
        if self.model_version:
            lists = lists.assign(**{MODEL_VERSION: self.described["model"][:VERSION_DIGITS]})
        return pa.Table.from_pandas(lists, schema=self.schema, preserve_index=False), unknown

    @cached_property
    def server(self) -> Recommender:
        """The model with the search that is asked for, whose index is built when the first list is made."""
        return searching(self.model, self.search)

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns of every shard."""
        return schema_of(self.described["columns"])


def searching(model: Recommender, search: Search | None) -> Recommender:
    """A model with this search: itself, where it has it already."""
    near = model._ranker.near
    return model if search is None or (near is not None and near.asked == search) else model.with_search(**vars(search))


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What two descriptions of jobs disagree in, in words."""
    there, asked = ({**one, **one.get("arguments", {})} for one in (there, asked))
    found = []
    told_elsewhere = ("arguments", "columns")
    names = [name for name in dict.fromkeys([*asked, *there]) if name not in told_elsewhere]
    for name in [name for name in names if there.get(name) != asked.get(name)]:
        hashed = name in ("model", "users", "histories", "items", "exclude", "pinned")
        told = f"{name} is {there.get(name)!r} there and {asked.get(name)!r} here"
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


def columns_of(users: pd.Series, items: pd.Series, *, explain: bool, model_version: bool) -> list[list[str]]:
    """Names and types of the columns of a shard: integer ids keep their type, other ids are text."""
    ids = [[USER, str(_arrow_type(users))], [ITEM, str(_arrow_type(items))]]
    more = [[name, "string"] for name, there in ((REASON, explain), (MODEL_VERSION, model_version)) if there]
    return [*ids, [RANK, "int64"], [SCORE, "double"], *more]


def schema_of(columns: Iterable[Iterable[str]]) -> pa.Schema:
    """Columns as Arrow knows them."""
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns])


def _arrow_type(ids: pd.Series) -> pa.DataType:
    if pd.api.types.infer_dtype(ids) != "integer" and not pd.api.types.is_integer_dtype(ids.dtype):
        return pa.string()
    if ids.dtype == object:
        return pa.int64()
    return pa.Schema.from_pandas(ids.iloc[:0].to_frame()).field(0).type

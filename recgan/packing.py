"""Interactions that are larger than memory: Parquet files as one table of numbers on disk, read where it lies."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recgan.errors import DataError
from recgan.histories import Histories, Strength, offsets_of, ordered_and_weighed, slices
from recgan.interactions import by_taste, checked
from recgan.parquet import exists, is_parquet, names_in, parquet_files, portions, row_count
from recgan.schema import ITEM, TIMESTAMP, USER, Problems
from recgan.tables import INTERACTION_COLUMNS, FileProblems, canonical_names, without_codes
from recgan.vocabulary import UNKNOWN, Vocabulary

ROWS, SORTED = 1 << 20, 1 << 22
"""Rows of a file that are read at once, and rows of some users that are sorted at once; one user may have more."""
SMALL = 2**31
"""Numbers below it are kept in 32 bits."""


@dataclass(frozen=True)
class Packed:
    """A table of interactions as numbers.

    Args:
        users: numbers of the U users.
        items: numbers of the N items that somebody likes.
        liked: what the users like, oldest first.
        disliked: what they dislike; None where nobody dislikes a known item.
        unliked: user_id and item_id of the dislikes of items that nobody likes, which have no number.
    """

    users: Vocabulary
    items: Vocabulary
    liked: Histories
    disliked: Histories | None
    unliked: pd.DataFrame


def rows_on_disk(source: Any) -> int:
    """Rows of a Parquet file or a folder of them; 0 for everything else, which is read into memory anyway."""
    if not isinstance(source, str | os.PathLike) or not exists(Path(source)) or not is_parquet(Path(source)):
        return 0
    return row_count(parquet_files(Path(source)))


def packed(path: str | os.PathLike[str]) -> Packed:
    """Read interactions as `read_interactions` does, of several rows of a pair the latest one, but leave them on disk.

    The files may be in any order, and the rows in them; it is faster where a user's rows stand together. What memory
    holds are the ids and some rows. What is written goes where temporary files do (TMPDIR), and is gone with the
    process.

    Args:
        path: a Parquet file, or a folder of them with the same columns.

    Returns:
        The table; the arrays of its histories lie on disk.

    Raises:
        DataError: when a file cannot be read, differs from the others, or holds what is no interaction; the message
            names the file and the rows.
    """
    files = parquet_files(Path(path))
    n_rows = row_count(files)
    if not n_rows:
        raise DataError(f"{path}: the table has no rows")
    users, items = _ids(files)
    with _scratch() as folder:
        rows = _Rows.of(files, n_rows, users, items, folder)
        liked, disliked = rows.sorted(folder)
    kept, unliked = np.flatnonzero(liked.counts()), rows.unliked
    if len(kept) < len(items):  # of some items every liked row was overridden by a later dislike
        before, place = items, np.full(len(items), UNKNOWN, np.int64)
        items, place[kept] = Vocabulary(before.ids(kept), ITEM), np.arange(len(kept))
        liked = _renumbered(liked, place, len(kept))
        if disliked is not None:
            there = place[disliked.items] != UNKNOWN
            gone = users.ids(disliked.rows[~there]), before.ids(disliked.items[~there])
            unliked = pd.concat([unliked, pd.DataFrame({USER: gone[0], ITEM: gone[1]})], ignore_index=True)
            disliked = _renumbered(disliked.part(there), place, len(kept))
    disliked = disliked if disliked is not None and len(disliked.items) else None
    return Packed(users, items, liked, disliked, unliked)


def without(histories: Histories, gone: Histories, until: float) -> Histories:
    """The histories without some rows, on disk.

    Args:
        histories: of U users, on disk.
        gone: items that are left out, of the same users, every item of a user once in the histories.
        until: rows of this time and later are left out too; infinity for none.
    """
    with _scratch() as folder:
        kept = _Table.like(histories, folder, "kept")
        for users in _portions(histories.offsets):
            some = histories.take(users)
            there = ~np.isin(some.pairs, gone.take(users).pairs)
            if some.times is not None:
                there &= some.times < until
            kept.append(some.part(there))
        return kept.histories(histories.n_items, histories.clock)


def strengthened(histories: Histories, rule: Strength) -> Histories:
    """The same with strengths in the place of raw weights, on disk; without weights where the rule makes all alike."""
    if histories.weights is None or not rule.power:
        return replace(histories, weights=None)
    with _scratch() as folder:
        weights = _array(folder, "weights", np.float32, len(histories.items))
        for some in slices(len(weights)):
            weights[some] = rule.of(histories.weights[some])
        return replace(histories, weights=weights)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder whose files can be read as long as they are open, and are gone then, whatever ends the process."""
    folder = Path(tempfile.mkdtemp(prefix="recgan-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _array(folder: Path, name: str, kind: Any, n_rows: int) -> np.ndarray:
    """An array on disk, (rows,), all of whose room is there."""
    if not n_rows:
        return np.empty(0, kind)
    path, size = folder / name, n_rows * np.dtype(kind).itemsize
    try:
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):  # else a full disk ends the process when a page is written
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
    except OSError as error:
        told = f"{folder.parent}: cannot hold {size / 2**30:.1f} GiB of rows ({error.strerror})"
        raise DataError(f"{told}; make room, or set TMPDIR to a folder on a larger disk") from error
    found = np.asarray(np.memmap(path, kind, "r+", shape=(n_rows,)))
    with suppress(OSError):  # where an open file may have no name: a process that is killed leaves nothing
        path.unlink()
    return found


def _number_type(n: int) -> type[np.signedinteger[Any]]:
    return np.int32 if n < SMALL else np.int64


def _portions(offsets: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers of consecutive users who together have so few rows that they can be sorted in memory."""
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + SORTED, side="right")) - 1
        last = min(max(last, first + 1), len(offsets) - 1)
        yield np.arange(first, last)
        first = last


def _renumbered(histories: Histories, place: np.ndarray, n_items: int) -> Histories:
    for some in slices(len(histories.items)):
        histories.items[some] = place[histories.items[some]]
    return replace(histories, n_items=n_items)


def _frames(files: list[Path]) -> Iterator[pd.DataFrame]:
    """The interactions of all files, some rows at once, checked."""
    first: tuple[set[Any], list[Any]] | None = None
    for file in files:
        problems, names = Problems(str(file)), names_in(file)
        called = dict(zip(names, canonical_names(names, None, INTERACTION_COLUMNS, problems), strict=True))
        problems.raise_if_any()
        columns = [name for name in names if called[name] in INTERACTION_COLUMNS]
        for start, table in portions(file, columns, ROWS):
            frame = table.rename_columns([called[name] for name in columns]).to_pandas(ignore_metadata=True)
            rows = np.arange(start, start + len(frame))
            frame = checked(without_codes(frame), FileProblems(str(file), rows))
            frame = frame.assign(**{name: _signed(frame[name]) for name in (USER, ITEM)})
            like = set(frame.columns), [frame[name].dtype.kind for name in (USER, ITEM)]
            first = first or like
            if like != first:
                raise DataError(f"{file}: its columns, or the types of its ids, are not those of {files[0]}")
            yield frame


def _signed(ids: pd.Series) -> pd.Series:
    """Whole numbers of one type in all files, but for unsigned ones that may be beyond."""
    return ids.astype(np.int64) if ids.dtype.kind in "iu" and ids.dtype != np.uint64 else ids


class _Distinct:
    """The distinct ones of ids that come portion by portion."""

    def __init__(self) -> None:
        self.parts: list[pd.Series] = []
        self.least = ROWS

    def add(self, ids: pd.Series) -> None:
        self.parts.append(ids.drop_duplicates())
        if sum(map(len, self.parts)) > 2 * self.least:
            self.parts = [pd.concat(self.parts).drop_duplicates()]
            self.least = max(ROWS, len(self.parts[0]))

    def vocabulary(self, name: str) -> Vocabulary:
        return Vocabulary.of(pd.concat(self.parts).rename(name))


def _ids(files: list[Path]) -> tuple[Vocabulary, Vocabulary]:
    """All users, and the items that somebody likes."""
    users, items = _Distinct(), _Distinct()
    for frame in _frames(files):
        users.add(frame[USER])
        items.add(by_taste(frame)[0][ITEM])
    return users.vocabulary(USER), items.vocabulary(ITEM)


@dataclass(frozen=True)
class _Rows:
    """The rows of all files as numbers, on disk, grouped by user and in the order of the files.

    Args:
        offsets: where each user's rows begin and end, (U + 1,) int64.
        columns: item numbers, and where they exist times and weights, by name, (rows,) each.
        n_items: N.
        clock: whether the times are seconds.
        unliked: user_id and item_id of the rows whose item nobody likes.
    """

    offsets: np.ndarray
    columns: dict[str, np.ndarray]
    n_items: int
    clock: bool
    unliked: pd.DataFrame

    @classmethod
    def of(cls, files: list[Path], n_rows: int, users: Vocabulary, items: Vocabulary, folder: Path) -> _Rows:
        place, clock = 0, False
        columns: dict[str, np.ndarray] = {}
        counts, unliked = np.zeros(len(users), np.int64), []
        for frame in _frames(files):
            order, times, weights = ordered_and_weighed(frame)
            named = {"user": users.numbers(frame[USER]), "item": items.numbers(frame[ITEM])}
            named |= {name: some for name, some in (("time", times), ("weight", weights)) if some is not None}
            if not columns:
                kinds = {"user": _number_type(len(users)), "item": _number_type(len(items))}
                make = partial(_array, folder, n_rows=n_rows)
                columns = {name: make(name, kind=kinds.get(name, some.dtype)) for name, some in named.items()}
                clock = order == TIMESTAMP
            for name, some in named.items():
                columns[name][place : place + len(frame)] = some
            counts += np.bincount(named["user"], minlength=len(users))
            unliked.append(frame.loc[named["item"] == UNKNOWN, [USER, ITEM]])
            place += len(frame)
        offsets = offsets_of(counts)
        grouped = _grouped(columns, offsets, folder)
        return cls(offsets, grouped, len(items), clock, pd.concat(unliked, ignore_index=True).drop_duplicates())

    def sorted(self, folder: Path) -> tuple[Histories, Histories | None]:
        """What everybody likes and dislikes, oldest first, of every pair the latest row; None without weights."""
        raw = Histories(self.offsets, **self._named())
        liked = _Table.like(raw, folder, "liked")
        disliked = None if raw.weights is None else _Table.like(raw, folder, "disliked")
        for users in _portions(self.offsets):
            some = raw.take(users)
            some = some.part(some.items != UNKNOWN)
            some = some if some.times is None else some.part(np.lexsort((some.times, some.rows)))
            some = some.part(~pd.Series(some.pairs).duplicated(keep="last").to_numpy())
            likes = np.ones(len(some.items), bool) if some.weights is None else some.weights > 0
            liked.append(some.part(likes))
            if disliked is not None:
                disliked.append(some.part(~likes))
        hated = None if disliked is None else disliked.histories(self.n_items, clock=False)
        return liked.histories(self.n_items, self.clock), hated and replace(hated, times=None, weights=None)

    def _named(self) -> dict[str, Any]:
        found = {"items": self.columns["item"], "n_items": self.n_items, "clock": self.clock}
        return found | {"times": self.columns.get("time"), "weights": self.columns.get("weight")}


def _grouped(columns: dict[str, np.ndarray], offsets: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """The columns with the rows of each user together, in their order."""
    users = columns.pop("user")
    if all((np.diff(users[max(0, some.start - 1) : some.stop]) >= 0).all() for some in slices(len(users))):
        return columns
    found = {name: _array(folder, f"{name}-grouped", some.dtype, len(some)) for name, some in columns.items()}
    ahead = offsets[:-1].copy()
    for some in slices(len(users)):
        order = np.argsort(users[some], kind="stable")
        own, starts, counts = np.unique(users[some][order], return_index=True, return_counts=True)
        where = np.arange(len(order)) + np.repeat(ahead[own] - starts, counts)
        ahead[own] += counts
        for name, column in columns.items():
            found[name][where] = column[some][order]
    return found


class _Table:
    """Histories that are appended to on disk, one portion of users after the other.

    Args:
        columns: arrays that hold as many rows as may come, by the names of `Histories`.
    """

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.columns = columns
        self.lengths: list[np.ndarray] = []
        self.n_rows = 0

    @classmethod
    def like(cls, histories: Histories, folder: Path, name: str) -> _Table:
        """A table with room for the rows of some histories."""
        found = {"items": histories.items, "times": histories.times, "weights": histories.weights}
        there = {one: some for one, some in found.items() if some is not None}
        return cls({one: _array(folder, f"{name}-{one}", some.dtype, len(some)) for one, some in there.items()})

    def append(self, some: Histories) -> None:
        rows = slice(self.n_rows, self.n_rows + len(some.items))
        for name, column in self.columns.items():
            column[rows] = getattr(some, name)
        self.lengths.append(some.lengths)
        self.n_rows = rows.stop

    def histories(self, n_items: int, clock: bool) -> Histories:
        offsets = offsets_of(np.concatenate([np.empty(0, np.int64), *self.lengths]))
        kept = {name: column[: self.n_rows] for name, column in self.columns.items()}
        return Histories(offsets, n_items=n_items, clock=clock, **kept)

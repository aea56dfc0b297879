"""Approximate search whose recall against the exact one is measured before it serves anybody."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from recgan.errors import ConfigError
from recgan.index import Kind, NearIndex, index_bytes
from recgan.ranking.catalogue import Catalogue

ONE_SIDED = 1.645
"""Deviations of a mean below which it lies with a probability of 5 %."""
LEAST_SCALE = 1e-3
"""Of a column that queries hardly use, by that of the one they use most."""


DEEPER: dict[Kind, tuple[int, ...]] = {"ivf-pq": (4, 16)}
"""Items by those that are wanted that an index is asked for, to be scored: the first that does; else 1."""
LITTLE = 0.002
"""What twice the effort must gain, or more items are scored instead."""
MIB = 1 << 20
STILL_THERE = 0.5
"""Share of the items that cells must know already to be kept."""
Asked = Literal["auto", "ivf-pq", "ivf", "hnsw"]


@dataclass(frozen=True)
class Search:
    """What approximate search is asked for.

    Args:
        kind: "auto", "ivf-pq", "ivf" or "hnsw".
        recall: the share of the best candidates that it has to find, above 0 and at most 1.
        memory: MiB that its index may take beside the model; None for as many as it needs.

    Raises:
        ConfigError: for another kind, recall or memory.
    """

    kind: Asked
    recall: float = 0.95
    memory: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Asked):
            raise ConfigError(f"search: {', '.join(map(repr, get_args(Asked)))} or None, not {self.kind!r}")
        if not _number(self.recall) or not 0.0 < self.recall <= 1.0:
            raise ConfigError(f"recall: a number above 0 and at most 1, not {self.recall!r}")
        if self.memory is not None and not (_number(self.memory) and 0.0 < self.memory < np.inf):
            raise ConfigError(f"memory: MiB, a number above 0, or None, not {self.memory!r}")

    def fits(self, kind: Kind, n_items: int, width: int) -> bool:
        """Whether an index of a kind of so many items and columns takes no more memory than there may be."""
        return self.memory is None or index_bytes(kind, n_items, width) <= self.memory * MIB


@dataclass(frozen=True)
class Exact:
    """The exact search, where "auto" found nothing better.

    Args:
        asked: what was asked for.
        measured: kind, recall, asked, memory (MiB), seconds; JSON values.
    """

    asked: Search
    measured: dict[str, Any]


@dataclass(frozen=True)
class Near:
    """An approximate search that comes as near as it was asked to.

    Args:
        asked: what it was asked for.
        index: of the item vectors.
        effort: with which is searched.
        deeper: items by those that are wanted that it is asked for.
        measured: kind, recall, asked, k, users, effort, deeper, memory (MiB), seconds; JSON values.
    """

    asked: Search
    index: NearIndex
    effort: int
    deeper: int
    measured: dict[str, Any]

    @classmethod
    def built(cls, columns: np.ndarray, queries: np.ndarray, asked: Search, kind: Kind, k: int) -> Near:
        """Build the index, look for the least effort on every other query, and measure the recall on the rest.

        The effort is the least at which the recall of other users too reaches what is asked, with 95 % probability.

        Args:
            columns: item vectors, (N, Q) float32.
            queries: of users, (B, Q) float32, at least two.
            asked: what is wanted.
            kind: of the index.
            k: candidates that are compared with those of the exact search.

        Raises:
            ConfigError: when the index does not come as near with any effort, takes too much memory, or there are too
                few queries.
        """
        if len(queries) < 2:
            raise ConfigError("search: at least two users with a history are needed to measure its recall")
        if not asked.fits(kind, *columns.shape):
            needed = index_bytes(kind, *columns.shape) / MIB
            raise ConfigError(f"search: {kind!r} takes {needed:.1f} MiB here, memory allows for {asked.memory}")
        began, used = time.monotonic(), np.sqrt(np.square(queries, dtype=np.float64).mean(axis=0))
        scale = np.maximum(used, LEAST_SCALE * max(float(used.max()), 1e-30)).astype(np.float32)
        index = NearIndex(columns, kind, scale)
        seconds = time.monotonic() - began
        found = cls(asked, index, 1, 1, {"seconds": round(seconds, 1)})
        return found._tuned(queries, Catalogue(columns).best(queries, k)[0])

    def _tuned(self, queries: np.ndarray, exact: np.ndarray) -> Near:
        """The same with the least effort that does for every other query, and the recall of the rest."""
        for deeper in DEEPER.get(self.index.kind, (1,)):
            found, reached = replace(self, deeper=deeper)._least(queries[::2], exact[::2])
            if reached >= self.asked.recall:
                return found._measured(queries[1::2], exact[1::2])
        raise ConfigError(
            f"search: {self.index.kind!r} finds {reached:.3f} of the {exact.shape[1]} best candidates at most, "
            f"{self.asked.recall} are asked for; ask for less, take 'ivf', or leave search out: the exact search needs "
            "no index"
        )

    def _least(self, queries: np.ndarray, exact: np.ndarray) -> tuple[Near, float]:
        """The same with the least effort that does, and the recall of some queries; or where more would be in vain."""
        found = replace(self, effort=1)
        reached, gained = found._shares(queries, exact), 1.0
        while surely(reached) < self.asked.recall and found.effort < self.index.most:
            if gained < LITTLE and self.deeper < max(DEEPER.get(self.index.kind, (1,))):
                break
            found, before = replace(found, effort=min(2 * found.effort, self.index.most)), reached.mean()
            reached = found._shares(queries, exact)
            gained = reached.mean() - before
        return found, float(reached.mean())

    def _shares(self, queries: np.ndarray, exact: np.ndarray) -> np.ndarray:
        return shares(self.search(queries, exact.shape[1])[1], exact)

    def _measured(self, queries: np.ndarray, exact: np.ndarray) -> Near:
        """The same with the recall that it has for some queries."""
        recall = self._shares(queries, exact).mean().item()
        facts: dict[str, Any] = {"kind": self.index.kind, "recall": round(recall, 4), "asked": self.asked.recall}
        facts |= {"k": exact.shape[1], "users": len(exact), "effort": self.effort, "deeper": self.deeper}
        facts["memory"] = round(index_bytes(self.index.kind, len(self.index), self.index.width) / MIB, 1)
        return replace(self, measured={**facts, "seconds": self.measured["seconds"]})

    def changed(self, columns: np.ndarray, origin: np.ndarray, queries: np.ndarray, k: int) -> Near | None:
        """The same search of other items, in the cells that are there.

        Args:
            columns: item vectors, (N, Q) float32; a column that the index does not have is behind the others.
            origin: number of each one's vector in this index, (N,) int64; -1 for one that is not in it.
            queries: of users, (B, Q) float32.
            k: candidates that are compared with those of the exact search.

        Returns:
            The search with its recall measured anew; None where that is below what is asked, it takes more memory
            than there may be, or the index cannot be changed.
        """
        fits = self.asked.fits(self.index.kind, *columns.shape) and self.index.takes(columns.shape[1])
        if len(queries) < 2 or not fits or np.mean(origin >= 0) < STILL_THERE:
            return None
        began = time.monotonic()
        index = self.index.changed(columns, origin)
        facts = {"seconds": round(time.monotonic() - began, 1)}
        found = replace(self, index=index, measured=facts)
        found = found._measured(queries, Catalogue(columns).best(queries, k)[0])
        return found if found.measured["recall"] >= self.asked.recall else None

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The index's scores, and numbers, of the k best that are found and of what else must be scored to know them.

        Args:
            queries: (B, Q) float32, finite.
            k: how many.

        Returns:
            As `NearIndex.search`, (B, K) with k <= K where there are so many items.
        """
        return self.index.search(queries, self.deeper * k, self.effort)


def shares(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Share of every exact list's items that is found, from (B, k) item numbers each, -1 for none, (<= B,) float64.

    Users whose exact list is empty have no share; where nobody has one, it is 1.
    """
    there = exact >= 0
    hits = [np.isin(best[some], own).mean() for best, some, own in zip(exact, there, found, strict=True) if some.any()]
    return np.array(hits or [1.0], np.float64)


def surely(values: np.ndarray) -> float:
    """What the mean of such values reaches with a probability of 95 %."""
    return float(values.mean() - ONE_SIDED * values.std() / np.sqrt(len(values)))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def depths(needed: np.ndarray) -> np.ndarray:
    """How deep to search for so many items, (B,) int64: powers of two, which do not hang on who else is asked for."""
    return np.asarray(1 << np.ceil(np.log2(np.maximum(needed, 1))).astype(np.int64))

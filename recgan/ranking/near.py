"""Approximate search whose recall against the exact one is measured before it serves anybody."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from recgan.errors import ConfigError
from recgan.histories import Histories
from recgan.index import Kind, NearIndex
from recgan.ranking.blocks import Blocks, Query
from recgan.ranking.catalogue import Catalogue

ONE_SIDED = 1.645
"""Deviations of a mean below which it lies with a probability of 5 %."""
LEAST_SCALE = 1e-3
"""Of a column that queries hardly use, by that of the one they use most."""
MEASURED_ON, AT_ONCE = 512, 64
"""Most users on whom a search is tuned, one half, and its recall measured, the other; and users read at once."""


@dataclass(frozen=True)
class Search:
    """What approximate search is asked for.

    Args:
        kind: "ivf" or "hnsw".
        recall: the share of the best candidates that it has to find, above 0 and at most 1.

    Raises:
        ConfigError: for another kind or recall.
    """

    kind: Kind
    recall: float = 0.95

    def __post_init__(self) -> None:
        if self.kind not in ("ivf", "hnsw"):
            raise ConfigError(f"search: 'ivf', 'hnsw' or None, not {self.kind!r}")
        if isinstance(self.recall, bool) or not isinstance(self.recall, int | float) or not 0.0 < self.recall <= 1.0:
            raise ConfigError(f"recall: a number above 0 and at most 1, not {self.recall!r}")


@dataclass(frozen=True)
class Near:
    """An approximate search that comes as near as it was asked to.

    Args:
        asked: what it was asked for.
        index: of the item vectors, scaled.
        scale: of the vectors' columns, by which queries are divided, (Q,) float32.
        effort: with which is searched.
        measured: kind, recall, asked, k, users, effort, seconds; JSON values.
    """

    asked: Search
    index: NearIndex
    scale: np.ndarray
    effort: int
    measured: dict[str, Any]

    @classmethod
    def of(cls, blocks: Blocks, histories: Histories, asked: Search, k: int) -> Near:
        """An approximate search of a model's stage one, measured on users from all over the histories."""
        users = np.flatnonzero(histories.lengths)
        users = users[np.unique(np.linspace(0, len(users) - 1, min(len(users), MEASURED_ON)).astype(np.int64))]
        rows = [np.empty((0, blocks.columns.shape[1]), np.float32)]
        for start in range(0, len(users), AT_ONCE):
            part = histories.take(users[start : start + AT_ONCE])
            query = Query(part, part, np.empty((len(part), 0), np.float32))
            rows.append(blocks.queries(query, blocks.wanted(query, blocks.conditions(part))))
        return cls.built(blocks.columns, np.concatenate(rows), asked, k)

    @classmethod
    def built(cls, columns: np.ndarray, queries: np.ndarray, asked: Search, k: int) -> Near:
        """Build the index, look for the least effort on every other query, and measure the recall on the rest.

        The effort is the least at which the recall of other users too reaches what is asked, with 95 % probability.

        Args:
            columns: item vectors, (N, Q) float32.
            queries: of users, (B, Q) float32, at least two.
            asked: what is wanted.
            k: candidates that are compared with those of the exact search.

        Raises:
            ConfigError: when the index does not come as near with any effort, or there are too few queries.
        """
        if len(queries) < 2:
            raise ConfigError("search: at least two users with a history are needed to measure its recall")
        began, used = time.monotonic(), np.sqrt(np.square(queries, dtype=np.float64).mean(axis=0))
        scale = np.maximum(used, LEAST_SCALE * max(float(used.max()), 1e-30)).astype(np.float32)
        index = NearIndex(columns * scale, asked.kind)
        seconds = time.monotonic() - began
        exact, scaled = Catalogue(columns).best(queries, k)[0], queries / scale
        effort, reached = 1, shares(index.search(scaled[::2], k, 1)[1], exact[::2])
        while surely(reached) < asked.recall and effort < index.most:
            effort = min(2 * effort, index.most)
            reached = shares(index.search(scaled[::2], k, effort)[1], exact[::2])
        if reached.mean() < asked.recall:
            raise ConfigError(
                f"search: {asked.kind!r} finds {reached.mean():.3f} of the {k} best candidates at most, "
                f"{asked.recall} are asked for; ask for less, take 'ivf', or leave search out: the exact search needs "
                "no index"
            )
        found = shares(index.search(scaled[1::2], k, effort)[1], exact[1::2])
        facts = {"kind": asked.kind, "recall": round(found.mean().item(), 4), "asked": asked.recall}
        facts |= {"k": exact.shape[1], "users": len(exact[1::2]), "effort": effort, "seconds": round(seconds, 1)}
        return cls(asked, index, scale, effort, facts)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the k best that are found; see `NearIndex.search`."""
        return self.index.search(queries / self.scale, k, self.effort)


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


def depths(needed: np.ndarray) -> np.ndarray:
    """How deep to search for so many items, (B,) int64: powers of two, which do not hang on who else is asked for."""
    return np.asarray(1 << np.ceil(np.log2(np.maximum(needed, 1))).astype(np.int64))

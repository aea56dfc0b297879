"""Which search a model's first stage gets, and what becomes of it when the items change."""

from __future__ import annotations

import numpy as np

from recgan.errors import ConfigError
from recgan.histories import Histories
from recgan.index import Kind
from recgan.ranking.blocks import Blocks, Query
from recgan.ranking.near import Exact, Near, Search

MEASURED_ON, AT_ONCE = 512, 64
"""Most users on whom a search is tuned, one half, and its recall measured, the other; and users read at once."""
BY_SPEED: tuple[Kind, ...] = ("ivf-pq", "ivf")
"""What "auto" tries, the fastest first; a graph was never faster than these."""
SMALL = 100_000
"""Items up to which the exact search is as fast as any."""
COMPARED = 1 << 16
"""Item vectors that are compared at once."""


def chosen(blocks: Blocks, histories: Histories, asked: Search, k: int) -> Near | Exact:
    """A search of a model's stage one, measured on users from all over the histories.

    Args:
        blocks: of the model.
        histories: of its users.
        asked: what is wanted; "auto" for the first of `BY_SPEED` that comes as near within the memory, else, or where
            there are few items or users, the exact search.
        k: candidates that are compared with those of the exact search.

    Raises:
        ConfigError: when a kind is asked for that does not come as near, or takes too much memory.
    """
    columns, queries = blocks.columns, sample(blocks, histories)
    if asked.kind != "auto":
        return Near.built(columns, queries, asked, asked.kind, k)
    for kind in BY_SPEED if len(columns) > SMALL and len(queries) > 1 else ():
        if asked.fits(kind, *columns.shape):
            try:
                return Near.built(columns, queries, asked, kind, k)
            except ConfigError:  # it does not come as near
                continue
    return Exact(asked, {"kind": "exact", "recall": 1.0, "asked": asked.recall, "memory": 0.0, "seconds": 0.0})


def kept(
    near: Near | Exact, before: Blocks, blocks: Blocks, histories: Histories, origin: np.ndarray, k: int
) -> Near | Exact:
    """The search of a model whose items have changed: in the cells that are there, or else chosen anew.

    Args:
        near: the search of the model before.
        before: its blocks.
        blocks: what they are now.
        histories: of the users now.
        origin: number that each item had before, (N,) int64; -1 for a new one.
        k: candidates that are compared with those of the exact search.

    Returns:
        A search as near as was asked for.

    Raises:
        ConfigError: when it is built anew and does not come as near as the kind that was asked for.
    """
    if isinstance(near, Near):
        stayed = same(before.columns, blocks.columns, origin)
        if before.columns.shape == blocks.columns.shape and np.array_equal(stayed, np.arange(len(stayed))):
            return near
        found = near.changed(blocks.columns, stayed, sample(blocks, histories), k)
        if found is not None:
            return found
    return chosen(blocks, histories, near.asked, k)


def sample(blocks: Blocks, histories: Histories) -> np.ndarray:
    """Queries of users from all over the histories who have any, (B, Q) float32."""
    users = np.flatnonzero(histories.lengths)
    users = users[np.unique(np.linspace(0, len(users) - 1, min(len(users), MEASURED_ON)).astype(np.int64))]
    rows = [np.empty((0, blocks.columns.shape[1]), np.float32)]
    for start in range(0, len(users), AT_ONCE):
        part = histories.take(users[start : start + AT_ONCE])
        query = Query(part, part, np.empty((len(part), 0), np.float32))
        rows.append(blocks.queries(query, blocks.wanted(query, blocks.conditions(part))))
    return np.concatenate(rows)


def same(before: np.ndarray, columns: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Where the vector of each item stood before, (N,) int64; -1 where it is new or another one.

    Args:
        before: item vectors, (M, Q) float32.
        columns: item vectors now, (N, R) float32; columns behind the Q first ones count as 0 before.
        origin: number that each item had before, (N,) int64; -1 for a new one.
    """
    width = before.shape[1]
    if columns.shape[1] < width:
        return np.full(len(columns), -1, np.int64)
    there = np.flatnonzero(origin >= 0)
    equal = [
        (columns[some, :width] == before[origin[some]]).all(axis=1) & ~columns[some, width:].any(axis=1)
        for some in np.array_split(there, len(there) // COMPARED + 1)
    ]
    found = np.full(len(columns), -1, np.int64)
    stayed = there[np.concatenate(equal)]
    found[stayed] = origin[stayed]
    return found

"""The users that are asked for, and what is known of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from recgan.errors import ConfigError, UnknownUserError
from recgan.histories import Histories, weights_of_both
from recgan.preferences import Statement
from recgan.ranking import Query
from recgan.serving.arguments import unknown_users


@dataclass(frozen=True)
class Audience:
    """The B users that are asked for.

    Args:
        ids: the caller's ids, (B,).
        numbers: their numbers, (B,) int64, -1 for a user that the model has not seen.
        histories: what is known of them.
        fallback: whether nothing is known and the unconditional list is served, (B,) bool.
        said: what they state of themselves; None where they were not asked.
        disliked: what must never be listed to them; None for nothing.
    """

    ids: pd.Series
    numbers: np.ndarray
    histories: Histories
    fallback: np.ndarray
    said: Statement | None = None
    disliked: Histories | None = None

    def take(self, rows: np.ndarray) -> Audience:
        """Some of the users."""
        ids = self.ids.iloc[rows].reset_index(drop=True)
        said = None if self.said is None else self.said.take(rows)
        disliked = None if self.disliked is None else self.disliked.take(rows)
        return Audience(ids, self.numbers[rows], self.histories.take(rows), self.fallback[rows], said, disliked)


def apply_policy(audience: Audience, on_unknown: str) -> Audience:
    """Refuse the unknown users, leave them out, or keep them for the unconditional list."""
    if on_unknown not in ("fallback", "skip", "raise"):
        raise ConfigError(f"on_unknown: 'fallback', 'skip' or 'raise', not {on_unknown!r}")
    if on_unknown == "raise" and audience.fallback.any():
        raise UnknownUserError(unknown_users(audience.ids[audience.fallback].tolist()))
    if on_unknown == "skip":
        return audience.take(np.flatnonzero(~audience.fallback))
    return audience


def telling(audience: Audience, said: Statement) -> Audience:
    """The users with the items that they say to like behind their histories; who says something is not unknown."""
    own, liked = audience.histories, said.liked
    new = ~np.isin(liked.pairs, own.pairs)
    histories = own.joined(liked.part(new)) if new.any() else own
    return replace(audience, histories=histories, fallback=audience.fallback & ~said.told, said=said)


def preferring(query: Query, said: Statement) -> Query:
    """The question with what is avoided blocked, and the categories that are liked."""
    seen = query.blocked if query.seen is None else query.seen
    blocked = query.blocked.joined(said.avoided)
    stated = said.categories if said.categories.any() else None
    return replace(query, blocked=blocked, seen=seen, stated=stated)


def with_empty(histories: Histories) -> Histories:
    """The histories with an empty one behind the last."""
    offsets = np.append(histories.offsets, histories.offsets[-1])
    return replace(histories, offsets=offsets)


def empty(histories: Histories) -> Histories:
    """Empty histories of as many users."""
    return Histories(np.zeros(len(histories) + 1, np.int64), np.empty(0, np.int64), histories.n_items)


def concatenated(first: Histories, second: Histories) -> Histories:
    """The users of two tables, without times; where only one has weights, the rows of the other weigh 1."""
    offsets = np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]])
    items = np.concatenate([first.items, second.items])
    return Histories(offsets, items, first.n_items, weights=weights_of_both(first, second))


def keys_of(audience: Audience, seed: int) -> np.ndarray:
    """One key a user for what is random: it hangs on the id, or without one on the history, and on the seed."""
    keys = np.empty(len(audience.ids), np.uint64)
    for b, user in enumerate(audience.ids.tolist()):
        text = repr(user) if user is not None else audience.histories.of(b).tobytes().hex()
        digest = hashlib.blake2b(f"{seed}|{text}".encode(), digest_size=8).digest()
        keys[b] = int.from_bytes(digest, "little")
    return keys

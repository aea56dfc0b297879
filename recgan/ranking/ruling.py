"""Lists under rules: maxima and minima of classes, pinned items, and the whole catalogue to fill them from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recgan.histories import Histories
from recgan.ranking.arranging import arranged
from recgan.ranking.blocks import ABSENT, Blocks, Query
from recgan.ranking.gate import NO_CLASSES, Gate, Pool

Search = Callable[[Query, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
Lists = tuple[np.ndarray, np.ndarray]
MORE = 16
"""Candidates that are looked for beyond the length of the list, once those at hand do not suffice."""


class Ruling:
    """Makes lists of B users under the rules of a query.

    Args:
        query: what is asked; pinned items are blocked.
        blocks: know how popular and how alike items are.
        pool: the first candidates.
        search: the k best items of stage one for some of the users: query, numbers of the users and k -> item numbers
            and scores, (B, <= k), with the scores that stand behind the weighed candidates.
        n: length of the lists.
    """

    def __init__(self, query: Query, blocks: Blocks, pool: Pool, search: Search, n: int) -> None:
        self.query, self.blocks, self.pool, self.search, self.n = query, blocks, pool, search, n
        self.numbers = np.full((len(pool.numbers), n), ABSENT, np.int64)
        self.scores = np.full((len(pool.numbers), n), -np.inf)
        self.short = np.full(len(pool.numbers), np.iinfo(np.int64).max)

    def lists(self) -> Lists:
        """Item numbers (B, n) int64, -1 behind the end of a list, and scores (B, n) float64."""
        everybody = np.arange(len(self.pool.numbers))
        self._make(everybody, early=False)
        classes = self.query.classes
        if classes is not None and len(classes.wanted) and (classes.most < len(classes.members)).any():
            self._make(everybody[self.short > 0], early=True)
        return self.numbers, self.scores

    def _make(self, users: np.ndarray, early: bool) -> None:
        """Make lists of some users, in rounds: who is stuck gets more candidates and begins again."""
        pool = self.pool.take(users)
        while len(users):
            query = self.query.take(users)
            gate = Gate(query.classes, query.pins, pool, self.n, np.full(len(users), early))
            order = arranged(query, self.blocks, pool.numbers, pool.relevance, self.n, gate=gate)
            self._keep(users, pool, gate, order)
            stuck = np.flatnonzero(gate.stuck)
            pool, users = self._widened(users, pool, gate, stuck), users[stuck]

    def _keep(self, users: np.ndarray, pool: Pool, gate: Gate, order: np.ndarray) -> None:
        """Keep the lists that are done and miss less of a minimum than those before."""
        short = gate.short.sum(axis=1)
        rows = np.flatnonzero(~gate.stuck & (short < self.short[users]))
        columns = order[rows, : self.n]
        behind = np.arange(columns.shape[1]) >= gate.chosen[rows, None]
        self.numbers[users[rows], : columns.shape[1]] = np.where(behind, ABSENT, pool.numbers[rows[:, None], columns])
        self.scores[users[rows], : columns.shape[1]] = np.where(behind, -np.inf, pool.relevance[rows[:, None], columns])
        self.short[users[rows]] = short[rows]

    def _widened(self, users: np.ndarray, pool: Pool, gate: Gate, stuck: np.ndarray) -> Pool:
        """The pool of who is stuck, with the best items that could stand where no candidate could."""
        for help_ in (False, True):
            rows = stuck[gate.lacks_help[stuck] == help_]
            if len(rows):
                pool = self._searched(users, pool, gate, rows, help_)
        return pool.take(stuck)

    def _searched(self, users: np.ndarray, pool: Pool, gate: Gate, rows: np.ndarray, help_: bool) -> Pool:
        query = self.query.take(users[rows])
        allowed = self._could_stand(query, gate, rows, help_)
        known = pool.numbers[rows] if help_ else np.where(pool.general[rows], pool.numbers[rows], ABSENT)
        there = known != ABSENT
        allowed[np.nonzero(there)[0], known[there]] = False
        k = self.n + MORE
        numbers, scores = self.search(replace(query, allowed=allowed), users[rows], k)
        return extended(pool, rows, numbers, scores, general=not help_, whole=(numbers != ABSENT).sum(axis=1) < k)

    def _could_stand(self, query: Query, gate: Gate, rows: np.ndarray, help_: bool) -> np.ndarray:
        """Which items of the catalogue the rules leave open, or of them those that fill a minimum, (B, N) bool."""
        classes, n_items = self.query.classes or NO_CLASSES, query.histories.n_items
        could = np.ones((len(rows), n_items), bool)
        if self.query.classes is not None:
            full = gate.full[rows]
            for word in range(classes.words.shape[1]):
                could &= (classes.words[:, word] & full[:, [word]]) == 0
        if help_:
            short = (gate.short[rows] > 0).astype(np.float32)
            could &= short @ classes.members[:, classes.wanted].T.astype(np.float32) > 0
        if isinstance(query.allowed, Histories):
            given = np.zeros(could.shape, bool)
            given[query.allowed.rows, query.allowed.items] = True
            if query.unlimited is not None:
                given[query.unlimited] = True
            return could & given
        return could if query.allowed is None else could & query.allowed


def extended(
    pool: Pool, rows: np.ndarray, numbers: np.ndarray, scores: np.ndarray, general: bool, whole: np.ndarray
) -> Pool:
    """A pool in which some of the users have more candidates.

    Args:
        pool: of B users.
        rows: the numbers of R of them.
        numbers: of further items, (R, k) int64, -1 where none stands; an item that is there already replaces that one.
        scores: theirs, (R, k) float32.
        general: whether they are better than all others that could stand, not just than those that fill a minimum.
        whole: whether there are no further ones, (R,) bool.

    Returns:
        The pool, its candidates behind the weighed ones by descending relevance, equal ones by item number.
    """
    head, last = pool.head, pool.numbers.shape[1] - pool.n_pins
    more = np.full((len(pool.numbers), numbers.shape[1]), ABSENT, np.int64)
    relevance = np.full(more.shape, -np.inf)
    more[rows], relevance[rows] = numbers, scores
    tail = pool.numbers[:, head:last]
    users = np.arange(len(more))[:, None] << 32
    twice = np.isin(users + tail, (users + more)[more != ABSENT]) & (tail != ABSENT)
    further = np.concatenate([np.where(twice, ABSENT, tail), more], axis=1)
    theirs = np.concatenate([np.where(twice, -np.inf, pool.relevance[:, head:last]), relevance], axis=1)
    known = np.concatenate([pool.general[:, head:last] & ~twice, np.full(more.shape, general)], axis=1)
    order = np.lexsort((further, -theirs), axis=1)

    def between(all_: np.ndarray, new: np.ndarray) -> np.ndarray:
        return np.concatenate([all_[:, :head], np.take_along_axis(new, order, 1), all_[:, last:]], axis=1)

    ended = np.zeros(len(more), bool)
    ended[rows] = whole
    return replace(
        pool,
        numbers=between(pool.numbers, further),
        relevance=between(pool.relevance, theirs),
        general=between(pool.general, known),
        whole=pool.whole | (ended & general),
        helped=pool.helped | (ended & (not general)),
    )

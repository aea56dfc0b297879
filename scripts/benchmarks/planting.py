"""Interactions of any size whose structure is known, so that accuracy can be checked against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from recgan.histories import offsets_of
from recgan.schema import ITEM, POSITION, USER

NOISE, STAY, ZIPF = 0.2, 0.7, 0.8
"""Share of rows that follow popularity alone, chance that the next item is of the same group, slope of popularity."""
GROUP, TASTES = 100, 2
"""Items of a group, about, and groups that a user likes."""
SKEW, LONGEST, SHORTEST = 1.0, 2000, 3
"""Deviation of the logarithm of the lengths of histories, and their bounds."""


@dataclass(frozen=True)
class Planted:
    """Users who like some groups of items, or with `ordered` walk from group to group.

    Without order an item is drawn from one of the user's groups, the first twice as often as the second; with it from
    the group of the one before or from the group that follows that one. A share `NOISE` is drawn from all items. Within
    a group and among all, popularity falls as a power of the rank.

    Args:
        interactions: rows, about; repeated pairs are left out.
        n_items: N.
        n_users: U.
        ordered: whether the order tells what comes next.
        seed: of everything random.
    """

    interactions: int
    n_items: int
    n_users: int
    ordered: bool = False
    seed: int = 0

    @property
    def n_groups(self) -> int:
        """G."""
        return max(2, self.n_items // GROUP)

    @cached_property
    def group(self) -> np.ndarray:
        """Group of every item, (N,) int64."""
        return np.random.default_rng([self.seed, 1]).integers(0, self.n_groups, self.n_items)

    @cached_property
    def popularity(self) -> np.ndarray:
        """Chance of every item to be drawn from all, (N,) float64."""
        rank = np.random.default_rng([self.seed, 2]).permutation(self.n_items)
        weight = (rank + 10.0) ** -ZIPF
        return np.asarray(weight / weight.sum())

    @cached_property
    def share(self) -> np.ndarray:
        """Chance of every item to be drawn from its group, (N,) float64."""
        return np.asarray(self.popularity / np.bincount(self.group, self.popularity)[self.group])

    @cached_property
    def members(self) -> tuple[np.ndarray, np.ndarray]:
        """Items in the order of their groups, (N,), and where the groups begin and end, (G + 1,)."""
        order = np.argsort(self.group, kind="stable")
        return order, offsets_of(np.bincount(self.group, minlength=self.n_groups))

    @cached_property
    def tastes(self) -> np.ndarray:
        """Groups that every user likes, or the one that a walk begins in, (U, TASTES) int64."""
        return np.random.default_rng([self.seed, 3]).integers(0, self.n_groups, (self.n_users, TASTES))

    @cached_property
    def lengths(self) -> np.ndarray:
        """Draws of every user, (U,) int64."""
        drawn = np.random.default_rng([self.seed, 4]).lognormal(0.0, SKEW, self.n_users)
        mean = self.interactions / self.n_users
        return np.asarray(np.clip(drawn * mean / np.exp(SKEW**2 / 2), SHORTEST, LONGEST).astype(np.int64))

    def frame(self) -> pd.DataFrame:
        """All rows, user by user: user_id, item_id and, where there is an order, position; int64."""
        random = np.random.default_rng([self.seed, 5])
        users = np.repeat(np.arange(self.n_users), self.lengths)
        places = np.arange(len(users)) - np.repeat(offsets_of(self.lengths)[:-1], self.lengths)
        groups = self._walked(random) if self.ordered else self._liked(users, random)
        items = self._drawn(groups, random)
        _, first = np.unique(users * self.n_items + items, return_index=True)
        rows = np.sort(first)
        columns = {USER: users[rows], ITEM: items[rows], POSITION: places[rows]}
        return pd.DataFrame(columns if self.ordered else {name: columns[name] for name in (USER, ITEM)})

    def _liked(self, users: np.ndarray, random: np.random.Generator) -> np.ndarray:
        second = random.random(len(users)) < 1 / 3
        return self.tastes[users, second.astype(np.int64)]

    def _walked(self, random: np.random.Generator) -> np.ndarray:
        """The group of every row of a walk: that of the row before, or the next one."""
        moves = random.random(int(self.lengths.sum())) >= STAY
        starts = offsets_of(self.lengths)[:-1]
        moves[starts] = False
        steps = np.cumsum(moves)
        steps -= np.repeat(steps[starts], self.lengths)
        return np.asarray((np.repeat(self.tastes[:, 0], self.lengths) + steps) % self.n_groups)

    def _drawn(self, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """An item of each group by popularity, or of all; groups without items give any."""
        order, offsets = self.members
        total = np.concatenate([[0.0], np.cumsum(self.popularity[order])])
        low, high = total[offsets[groups]], total[offsets[groups + 1]]
        any_item = (random.random(len(groups)) < NOISE) | (low == high)
        low, high = np.where(any_item, 0.0, low), np.where(any_item, total[-1], high)
        place = np.searchsorted(total, low + random.random(len(groups)) * (high - low), side="right") - 1
        return np.asarray(order[np.clip(place, 0, self.n_items - 1)])

    def chances(self, user: int, newest: int) -> tuple[np.ndarray, np.ndarray]:
        """Groups from which the next item of a user comes, and how often from each, (k,) each."""
        if not self.ordered:
            return self.tastes[user], np.array([2.0, 1.0]) / 3.0
        group = self.group[newest]
        return np.array([group, (group + 1) % self.n_groups]), np.array([STAY, 1.0 - STAY])

    def inferred(self, history: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Groups of a history without order, and how often the next item comes from each by Bayes' rule, (k,) each.

        Every pair of groups, the same twice too, is as likely as any other before the history is seen; all groups that
        are not in it are alike. Items that were drawn twice count once.

        Args:
            history: items of a user whose groups are not known.
        """
        groups, place = np.unique(self.group[history], return_inverse=True)
        inside = np.vstack([place == one for one in range(len(groups))] + [np.zeros(len(history), bool)])
        first, second = 2.0 * inside[:, None] / 3.0, 1.0 * inside[None] / 3.0
        chance = NOISE * self.popularity[history] + (1.0 - NOISE) * self.share[history] * (first + second)
        alike = np.append(np.ones(len(groups)), self.n_groups - len(groups))
        likely = np.log(chance).sum(axis=2)
        weight = np.exp(likely - likely.max()) * alike[:, None] * alike
        weight /= weight.sum()
        return groups, (2.0 * weight.sum(axis=1) + weight.sum(axis=0))[:-1] / 3.0

    def best(self, user: int, history: np.ndarray, n: int, *, infer: bool = False) -> np.ndarray:
        """The items that come next with the largest true probability, without the history, (n,) int64.

        Args:
            user: number of the user, whose groups are known.
            history: items of the user, oldest first; with an order the group of the newest one counts, which now and
                then is none of the walk.
            n: length of the list.
            infer: without an order: the groups of the user are not known, but inferred from the history; the groups of
                the items and what is popular in each are known.
        """
        groups, shares = self.inferred(history) if infer and not self.ordered else self.chances(user, history[-1])
        order, offsets = self.members
        near = [order[offsets[group] : offsets[group + 1]] for group in groups]
        some = np.setdiff1d(np.concatenate([*near, self.popular[: n + len(history)]]), history)
        value = NOISE * self.popularity[some]
        for group, share in zip(groups, shares, strict=True):
            value = value + (1.0 - NOISE) * share * self.share[some] * (self.group[some] == group)
        return some[np.lexsort((some, -value))[:n]]

    @cached_property
    def popular(self) -> np.ndarray:
        """All items, those that are drawn most often first, (N,) int64."""
        return np.argsort(-self.popularity, kind="stable")


def held_out(frame: pd.DataFrame, n_users: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows without the last one of some users, and those rows.

    Args:
        frame: of `Planted`, whose rows stand user by user.
        n_users: most users who are asked.
        seed: of who is asked.
    """
    users = frame[USER].to_numpy()
    last = np.flatnonzero(np.append(users[1:] != users[:-1], True))
    able = last[np.bincount(users)[users[last]] >= 3]
    asked = np.sort(np.random.default_rng(seed).permutation(able)[:n_users])
    kept = np.ones(len(frame), bool)
    kept[asked] = False
    truth = frame.iloc[asked]
    truth = truth[truth[ITEM].isin(frame[ITEM].to_numpy()[kept])]
    return frame[kept].reset_index(drop=True), truth.reset_index(drop=True)

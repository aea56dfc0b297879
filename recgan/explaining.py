"""Why: a sentence for every row of a list, and the whole account for one item."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from recgan.errors import ConfigError
from recgan.generative import MOOD, NAME, Generative
from recgan.ranking import ABSENT, Judge, Query
from recgan.reasons import NO_HISTORY, PINNED, POPULAR, UNTOLD, Words, as_stated, pulls, reasons_of, strongest
from recgan.schema import CATEGORY_SEPARATOR, ITEM

SHARE, BLOCK, SHARED, REALISM = "share", "block", "shared", "realism"
LISTED, MOODS = 10, 4
"""Items a mood and moods a user among which the mood of an item is looked for: what `moods` shows by default."""

COMPARED = 1000
"""Most random items of the catalogue with which the realism of one is compared."""


class Explaining(Generative):
    """A recommender that tells why; a subclass brings the parts of the model."""

    _judge: Judge | None

    def explain(self, user_id: Any = None, item_id: Any = None, *, history: Any = None) -> pd.DataFrame:
        """Which items of the history pull an item into the list: what its relevance would lose without each of them.

        The weights of the parts stay those of the whole history, although they hang on its length where that is short.

        Args:
            user_id: a known user; may be left out when a history is given.
            item_id: an item of the catalogue, listed or not.
            history: item ids, oldest first, or a frame with item_id; replaces the stored history.

        Returns:
            A frame item_id (of the history, those that pull), share (float64, descending, sums to 1), block (the part
            of the relevance through which it pulls most: "generated", "dense", "factors", "sparse", "discriminator")
            and shared (categories that both items have, joined by "|"). Empty where nothing of the history pulls.

            `frame.attrs` holds "shared": category of the item to the sum of the shares of the reasons that have it,
            the largest first; "mood" (int) and "name": the one of the user's lists from `moods(user_id)` that the item
            stands in, or whose vector is nearest to it, None where there are no lists; and "realism" (float): share of
            the items outside the history (of 1,000 random ones, where there are more) that look less real than this one
            to the discriminator of the game, each in a slate with those items of the history that are most like it;
            .5 is what a random item has. None without a history or
            where no game was played.

        Raises:
            ConfigError: when neither user nor history is given.
            UnknownUserError: for an unknown user without a history.
            UnknownItemError: for an item outside the catalogue.
        """
        if user_id is None and history is None:
            raise ConfigError("explain: give a user_id, a history, or both")
        number = self._one_item(item_id)
        if history is None:
            self._one_user(user_id)
        audience = self._known([user_id]) if history is None else self._one(user_id, history)
        query = self._query(audience, items=None, exclude=None, filter_seen=True)
        frame, shared = self._account(query, number)
        frame.attrs |= {SHARED: shared, **self._mood_of(query, number), REALISM: self._realism(query, number)}
        return frame

    def _account(self, query: Query, number: int) -> tuple[pd.DataFrame, dict[str, float]]:
        """The reasons of one item, the strongest first, and how much of them has each of its categories."""
        found = pulls(self._ranker, query, np.array([[number]]))
        shares = found.shares()[0, :, 0]
        order = [place for place in np.lexsort((-np.arange(len(shares)), -shares)) if shares[place] > 0.0]
        reasons, parts = found.history[0, order], found.values[0, order, 0].argmax(axis=1)
        common = [self._words.common(number, [one]) for one in reasons.tolist()]
        columns = {
            SHARE: shares[order],
            BLOCK: pd.Series([found.names[part] for part in parts], dtype=str),
            SHARED: pd.Series([CATEGORY_SEPARATOR.join(names) for names in common], dtype=str),
        }
        weighed: dict[str, float] = {}
        for names, share in zip(common, shares[order].tolist(), strict=True):
            weighed |= {name: weighed.get(name, 0.0) + share for name in names}
        descending = dict(sorted(weighed.items(), key=lambda pair: -pair[1]))
        return pd.DataFrame({ITEM: self._items.ids(reasons).reset_index(drop=True), **columns}), descending

    def _mood_of(self, query: Query, number: int) -> dict[str, Any]:
        """The mood that lists an item, else the one whose vector is nearest to it."""
        moods, named = self._find_moods(query, LISTED, MOODS)
        if not moods:
            return {MOOD: None, NAME: None}
        nearness = [(number in mood.numbers, float(mood.vector @ self._vectors[number])) for mood in moods]
        place = max(range(len(moods)), key=lambda one: nearness[one])
        return {MOOD: place, NAME: named[place]}

    def _realism(self, query: Query, number: int) -> float | None:
        """Share of random items that look less real than this one, each together with what is most like it."""
        history = np.unique(query.histories.of(0))
        drawn = np.random.default_rng(self._config.seed).permutation(len(self._items))
        others = drawn[(drawn != number) & ~np.isin(drawn, history)][:COMPARED]
        if self._judge is None or not len(history) or not len(others):
            return None
        slates = self._with_their_like(np.append(others, number), history[history != number])
        centred, there = self._blocks.generator.centred_vectors()[slates], torch.ones(slates.shape)
        condition = self._blocks.conditions(query.histories).expand(len(slates), -1)
        with torch.no_grad():
            logits = self._judge.discriminator.realism(condition, centred, there).numpy()
        if np.ptp(logits) == 0.0:
            return None
        return float(np.mean(logits[:-1] < logits[-1]) + 0.5 * np.mean(logits[:-1] == logits[-1]))

    def _with_their_like(self, items: np.ndarray, history: np.ndarray) -> np.ndarray:
        """Slates (M, <= slate_size) of items (M,), each with those of a history (H,) that are most like it."""
        space, most = self._blocks.space, self._config.slate_size - 1
        likest = np.argsort(-(space[items] @ space[history].T), axis=1, kind="stable")[:, :most]
        return np.concatenate([items[:, None], history[likest]], axis=1)

    def _reasons(self, query: Query, numbers: np.ndarray) -> list[str]:
        because, shares = strongest(self._ranker, query, numbers)
        popular = self._blocks.popularity[numbers] > 0.0
        told = np.where(popular, POPULAR, UNTOLD).astype(object)
        told[query.histories.lengths == 0] = NO_HISTORY
        if query.stated is not None:
            self._tell_stated(told, query.stated * (query.histories.lengths == 0)[:, None], numbers)
        if query.pins is not None:
            pinned = (numbers[:, :, None] == query.pins.items[:, None]).any(axis=2)
            because[pinned], told[pinned] = ABSENT, PINNED
        rows = numbers != ABSENT
        return reasons_of(self._words, numbers[rows], because[rows], shares[rows], told[rows])

    def _tell_stated(self, told: np.ndarray, stated: np.ndarray, numbers: np.ndarray) -> None:
        """Write down which items (B, n) have a category that users have stated, (B, Q)."""
        learned = list(self._learned_categories)
        flags, names = self._category_flags.reindex(columns=learned, fill_value=0).to_numpy() > 0, np.array(learned)
        for user in np.flatnonzero(stated.any(axis=1)):
            both = flags[numbers[user]] & (stated[user] > 0)
            told[user] = [as_stated(names[row].tolist()) if row.any() else NO_HISTORY for row in both]

    @cached_property
    def _words(self) -> Words:
        return Words(self._item_table)

"""What only a generator can give: moods, uncertainty, ideal items, and the gaps of a catalogue."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from recgan import moods as taste
from recgan.attributes import AttributeDecoder
from recgan.bounds import check_pinned, classes_of, pins_of
from recgan.config import Config
from recgan.draws import unlike, wanted_vectors
from recgan.errors import ConfigError, DataError
from recgan.features import category_flags
from recgan.fidelity import spread
from recgan.gaps import Gap, Settings, Survey, find_gaps, gap_table, survey
from recgan.index import ItemIndex
from recgan.preferences import Statement
from recgan.ranking import Blocks, Classes, Query, Ranker
from recgan.rules import Rules
from recgan.schema import RANK, USER
from recgan.serving import BaseRecommender, check_n, id_series, refuse_repeats

MOOD, NAME, UNCERTAINTY = "mood", "name", "uncertainty"
NEAREST, GAP = "nearest_item_id", "gap"
MOST_ASKED = 20_000
"""Most users who are asked for gaps, unless they are named."""

DRAWS = 64
"""Draws of the noise whose spread is the uncertainty, and among which moods are found."""


class Generative(BaseRecommender):
    """A recommender that draws the vectors which a user wants; a subclass brings the parts of the model."""

    _item_table: pd.DataFrame
    _blocks: Blocks
    _config: Config
    _ranker: Ranker
    _checked = Rules()
    _bounded: tuple[Rules, Classes | None] = (Rules(), None)

    def _ruled(self, query: Query, users: pd.Series, rules: Rules) -> Query:
        if rules is not self._checked:
            check_pinned(rules, self._items)
            self._checked = rules
        asked = rules.model_copy(update={"pinned": None, "calibration": 0.0})
        bounded = self._bounded
        if bounded[0] != asked:
            bounded = self._bounded = asked, classes_of(asked, self._category_flags, self._histories.counts())
        return replace(query, classes=bounded[1], pins=pins_of(rules, users, self._items, query))

    def _stated(self, users: list[Any], preferences: Any) -> Statement:
        said = super()._stated(users, preferences)
        if said.categories.any() and self._blocks.preferences is None:
            raise ConfigError(
                "preferences: this model has not learned what stated categories mean: it was trained by an older "
                "version, interrupted, or on too little; train it anew, or state items"
            )
        return said

    @cached_property
    def _category_flags(self) -> pd.DataFrame:
        return category_flags(self._item_table)

    @property
    def _learned_categories(self) -> tuple[str, ...]:
        """Names of the categories that users can state, in the order of what is stated."""
        return tuple(map(str, self._category_flags.columns))

    def moods(
        self,
        user_id: Any = None,
        n: int = 10,
        moods: int = 4,
        *,
        history: Any = None,
        items: Any = None,
        exclude: Any = None,
        filter_seen: bool = True,
    ) -> pd.DataFrame:
        """Several coherent lists for one user, each a mode of the user's taste.

        Moods are draws of the noise which together explain the history and cover its categories.

        Args:
            user_id: a known user; may be left out when a history is given.
            n: most items in a list.
            moods: how many lists, from 1 to 64.
            history: item ids, oldest first, or a frame with item_id; replaces the stored history.
            items: ids of the only items that may be listed.
            exclude: ids of items that must not be listed.
            filter_seen: whether items of the history are left out.

        Returns:
            A frame user_id, mood (0.., int64, the one that explains most of the history first), name (what sets it
            apart from the user's other moods), item_id, rank (1.., int64), score (relevance under the mood, float64);
            an item stands in one mood only. `frame.attrs["share"]` is the share of the history (without one, of the
            draws) that each mood explains best, a list of floats.

        Raises:
            ConfigError: for a bad n or number of moods, or neither user nor history.
            UnknownUserError: for an unknown user without a history.
        """
        n, moods = check_n(n), _check_moods(moods)
        if user_id is None and history is None:
            raise ConfigError("moods: give a user_id, a history, or both")
        if history is None:
            self._one_user(user_id)
        audience = self._known([user_id]) if history is None else self._one(user_id, history)
        query = self._query(audience, items=items, exclude=exclude, filter_seen=filter_seen)
        found, named = self._find_moods(query, n, moods)
        parts = [
            self._mood_frame(audience.ids, place, *pair) for place, pair in enumerate(zip(found, named, strict=True))
        ]
        empty = self._mood_frame(audience.ids, 0, taste.EMPTY, "")
        frame = pd.concat(parts, ignore_index=True) if parts else empty
        frame.attrs["share"] = [mood.share for mood in found]
        return frame

    def _find_moods(self, query: Query, n: int, moods: int) -> tuple[list[taste.Mood], list[str]]:
        found = taste.find_moods(self._ranker, query, n, moods, DRAWS, self._config.seed)
        return found, taste.names(found, self._item_table, self._blocks.space, query.histories.of(0))

    def _mood_frame(self, ids: pd.Series, place: int, mood: taste.Mood, name: str) -> pd.DataFrame:
        frame = self._frame(ids, mood.numbers[None], mood.scores[None])
        frame.insert(1, MOOD, np.full(len(frame), place, np.int64))
        frame.insert(2, NAME, pd.Series([name] * len(frame), dtype=str))
        return frame

    def uncertainty(self, users: Any = None) -> pd.DataFrame:
        """How far apart the vectors lie that the generator draws for a user.

        Args:
            users: ids of known users; None for all.

        Returns:
            A frame user_id, uncertainty (mean 1 - cosine over the pairs of 64 draws, float64, >= 0), in the order
            asked for. Where it is small the generator is sure: it falls with the length of the history, and measured on
            unseen users of MovieLens the surest are served best, also among equally long histories.

        Raises:
            DataError: when a user is asked for twice.
            UnknownUserError: for an unknown user.
        """
        ids = self.users if users is None else id_series(users, USER)
        refuse_repeats(ids)
        numbers = self._many_users(ids)
        apart = np.empty(len(numbers))
        for start in range(0, len(numbers), 1024):
            part = self._histories.take(numbers[start : start + 1024])
            apart[start : start + 1024] = spread(wanted_vectors(self._blocks, part, DRAWS, self._config.seed))
        return pd.DataFrame({USER: ids.reset_index(drop=True), UNCERTAINTY: apart})

    def ideal_items(self, user_id: Any, n: int = 3, *, items: Any = None) -> pd.DataFrame:
        """The items that the generator would make for a user, whether or not there are any like them.

        Args:
            user_id: a known user.
            n: how many; the first is the most typical draw over the noise, each next one the least like those before.
            items: ids of the items on offer, whether seen or not; None for the whole catalogue.

        Returns:
            A frame user_id, rank (1.., int64), categories (text joined by `|`, "" where they cannot be told), then
            every number (float64) and `terms` (text) that the item vectors tell better than chance, then
            nearest_item_id (on offer) and gap (1 - cosine to it, float64). `frame.attrs["accuracy"]` says what the
            decoder of every attribute is worth, see `AttributeDecoder.accuracy`; it is empty where the item table has
            no attribute.

        Raises:
            ConfigError: for a bad n.
            DataError: when none of `items` is in the catalogue.
            UnknownUserError: for an unknown user.
        """
        number, n, offered = self._one_user(user_id), check_n(n), self._offered(items)
        history = self._histories.take(np.array([number]))
        draws = wanted_vectors(self._blocks, history, max(n, DRAWS), self._config.seed)[0]
        draws = draws[unlike(draws, n)]
        cosines, nearest = ItemIndex(self._vectors[offered]).search(draws, 1)
        frame = pd.DataFrame({USER: self._users.ids(np.full(len(draws), number)), RANK: np.arange(1, len(draws) + 1)})
        frame = pd.concat([frame.reset_index(drop=True), self._attributes.decode(draws)], axis=1)
        frame[NEAREST] = self._items.ids(offered[nearest[:, 0]]).to_numpy()
        frame[GAP] = np.clip(1.0 - cosines[:, 0].astype(np.float64), 0.0, 2.0)
        frame.attrs["accuracy"] = self._attributes.accuracy
        return frame

    def gaps(
        self, users: Any = None, items: Any = None, *, alpha: float = 0.01, n_permutations: int = 999, seed: int = 0
    ) -> pd.DataFrame:
        """Kinds of items that users want and that are not there.

        Two kinds of gaps are told apart. "withdrawn": items that the model knows but that are not on offer lie together
        more than items of the same popularity left out at random; calibrated, with a p-value. "never filled": a region
        of wanted vectors lies far from every item, for wanted vectors and for items; a hint, without a p-value.

        Args:
            users: ids of the users who are asked; None for all who have a history, 20,000 random ones where there are
                more.
            items: ids of the items on offer; None for the whole catalogue. An item that is not on offer still counts
                in the histories.
            alpha: probability of reporting anything withdrawn where it was withdrawn at random.
            n_permutations: random withdrawals that the real one is compared with.
            seed: of these.

        Returns:
            A frame, one row a gap, the most wanted first: rank (1.., int64), kind, users (int64: those with a wanted
            vector in the gap, which for "withdrawn" means that its nearest item is missing), share (of the users
            asked), demand (share of all wanted vectors), p_value (NaN where there is none), categories (those that
            stand out, joined by `|`), then numbers (mean) and `terms` as in `ideal_items`, gap (mean 1 - cosine to the
            nearest item on offer), missing_items and nearest_items (lists of ids; the latter are on offer) and
            nearest_gaps (1 - cosine to these). No row
            where nothing is missing that chance would not leave out. `frame.attrs` tells n_users, n_items, n_offered,
            alpha, p_value (of all that is missing; None where less than two items are) and the decoders' accuracy.

        Raises:
            ConfigError: for a bad alpha, or too few permutations for it.
            DataError: when a user is asked twice, nobody is asked, or none of `items` is in the catalogue.
            UnknownUserError: for an unknown user.
        """
        return self._find_gaps(self._survey(users, items), Settings(alpha, n_permutations, seed))[1]

    def _find_gaps(self, found: Survey, settings: Settings) -> tuple[list[Gap], pd.DataFrame]:
        gaps, p_value = find_gaps(found, self._vectors, self._histories.counts(), settings)
        frame = gap_table(gaps, found, self._vectors, self._items, self._attributes)
        frame.attrs |= {"n_users": len(found.wanted), "n_items": len(self._items), "n_offered": len(found.offered)}
        frame.attrs |= {"alpha": settings.alpha, "p_value": p_value, "accuracy": self._attributes.accuracy}
        return gaps, frame

    def _survey(self, users: Any, items: Any) -> Survey:
        offered = self._offered(items)
        if users is None:
            able = np.flatnonzero(self._histories.lengths)
            asked = np.sort(np.random.default_rng(self._config.seed).permutation(able)[:MOST_ASKED])
        else:
            ids = id_series(users, USER)
            refuse_repeats(ids)
            asked = self._many_users(ids)
        if not len(asked):
            raise DataError("users: nobody is asked" + " who has a history" * (users is None))
        return survey(self._blocks, self._histories.take(asked), offered)

    def _offered(self, items: Any) -> np.ndarray:
        """Numbers of the items on offer, ascending, (A,) int64."""
        if items is None:
            return np.arange(len(self._items))
        offered = np.unique(self._item_numbers(items, "items"))
        if not len(offered):
            raise DataError("items: none of them is in the catalogue, so nothing is on offer")
        return offered

    @cached_property
    def _attributes(self) -> AttributeDecoder:
        return AttributeDecoder.fit(self._item_table, self._vectors)

    @cached_property
    def _vectors(self) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(self._blocks.generator.item_vectors().numpy())


def _check_moods(moods: Any) -> int:
    if isinstance(moods, bool) or not isinstance(moods, (int, np.integer)) or not 1 <= moods <= DRAWS:
        raise ConfigError(f"moods: a whole number from 1 to {DRAWS}, not {moods!r}")
    return int(moods)

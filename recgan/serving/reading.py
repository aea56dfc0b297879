"""From the caller's ids to a question in numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from recgan.errors import DataError, UnknownItemError, UnknownUserError
from recgan.foreign import as_frame
from recgan.histories import Histories, Strength, offsets_of, tastes
from recgan.interactions import checked
from recgan.preferences import Reader, Statement, of_users
from recgan.ranking import Query
from recgan.schema import ITEM, USER, Problems, refuse_other_keys, shown
from recgan.serving.arguments import by_user, check_histories, id_list, id_series, refuse_repeats, unknown_users
from recgan.serving.audience import Audience, concatenated, empty, with_empty
from recgan.vocabulary import UNKNOWN, Vocabulary


class Reading:
    """What is known of users and items, and how a call becomes a question.

    Args:
        users: numbers of the U known users.
        items: numbers of the N items of the catalogue.
        histories: interactions of the known users.
        profiles: features of the known users, (U, P) float32; P may be 0.
        disliked: what must never be listed to the known users; None for nothing.
    """

    def __init__(
        self,
        users: Vocabulary,
        items: Vocabulary,
        histories: Histories,
        profiles: np.ndarray | None = None,
        disliked: Histories | None = None,
    ) -> None:
        self._users = users
        self._items = items
        self._histories = histories
        self._profiles = np.zeros((len(users), 0), np.float32) if profiles is None else profiles
        self._disliked = disliked

    @property
    def _strength(self) -> Strength:
        """What the weights of a given history are worth."""
        return Strength()

    @property
    def users(self) -> pd.Series:
        """Ids of the known users, (U,), in the caller's dtype."""
        return self._users.all_ids

    @property
    def items(self) -> pd.Series:
        """Ids of the catalogue's items, (N,), in the caller's dtype."""
        return self._items.all_ids

    def _query(self, audience: Audience, *, items: Any, exclude: Any, filter_seen: bool) -> Query:
        seen = audience.histories if filter_seen else self._nothing(audience)
        if audience.disliked is not None:
            seen = seen.joined(audience.disliked)
        items, exclude = by_user(items), by_user(exclude)
        allowed, unlimited = (None, None) if items is None else self._allowed(audience, items)
        return Query(
            histories=audience.histories,
            blocked=seen if exclude is None else seen.joined(self._table(audience, exclude, "exclude")),
            profiles=self._profiles_of(audience.numbers),
            allowed=allowed,
            unlimited=unlimited,
            seen=None if exclude is None else seen,
        )

    def _stated(self, users: list[Any], preferences: Any) -> Statement:
        """What users with these ids state, in numbers of the catalogue."""
        return self._reader.read(of_users(preferences, users))

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._items, pd.DataFrame(index=range(len(self._items))))

    def _alone(self, user_id: Any) -> Audience:
        """One user without a history of its own; what `_known` does for many, with less that is done once a call."""
        if type(user_id) not in (int, str) or not str(user_id).isascii():
            return self._known([user_id])
        return self._stored(pd.Series([user_id], name=USER), np.array([self._users.number(user_id)]))

    def _known(self, users: Any) -> Audience:
        ids = self.users if users is None else id_series(users, USER)
        refuse_repeats(ids)
        return self._stored(ids, self._users.numbers(ids))

    def _stored(self, ids: pd.Series, numbers: np.ndarray) -> Audience:
        unknown = numbers == UNKNOWN
        stored = with_empty(self._histories) if unknown.any() else self._histories
        rows = np.where(unknown, len(self._users), numbers)
        disliked = None if self._disliked is None else with_empty(self._disliked).take(rows)
        return Audience(ids, numbers, stored.take(rows), unknown, disliked=disliked)

    def _one(self, user_id: Any, history: Any) -> Audience:
        """One user, known or not, with a history of item ids or a frame."""
        history = as_frame(history)
        if isinstance(history, pd.DataFrame):
            rows = check_histories(history.assign(**{USER: 0}))
        else:
            rows = checked(pd.DataFrame({USER: 0, ITEM: id_series(history, ITEM)}), Problems("histories"))
        ids = pd.Series([None], name=USER) if user_id is None else id_series([user_id], USER)
        numbers = self._users.numbers(ids)
        given, disliked = self._read(rows, Vocabulary([0]))
        lost = _nothing_left(given, disliked) & (len(rows) > 0)
        stored = None if self._disliked is None else self._stored(ids, numbers).disliked
        return Audience(ids, numbers, given, lost, disliked=_refused(given, disliked, stored))

    def _given(self, users: Any, histories: Any) -> Audience:
        """Some users; where the frame has rows of one, they replace the stored history; stored dislikes stay."""
        frame = check_histories(histories)
        owners = Vocabulary(frame[USER].drop_duplicates(), USER) if len(frame) else Vocabulary([])
        ids = owners.all_ids if users is None else id_series(users, USER)
        stored = self._known(ids)
        place = owners.numbers(ids)
        source = np.where(place != UNKNOWN, place + len(ids), np.arange(len(ids)))
        given, refused = self._read(frame, owners)
        joined = concatenated(stored.histories, given).take(source)
        told = None if refused is None else concatenated(empty(stored.histories), refused).take(source)
        disliked = _refused(joined, told, stored.disliked)
        lost = _nothing_left(given, refused)
        fallback = np.where(place == UNKNOWN, stored.fallback, np.append(lost, False)[place])
        return Audience(stored.ids, stored.numbers, joined, fallback, disliked=disliked)

    def _read(self, frame: pd.DataFrame, users: Vocabulary) -> tuple[Histories, Histories | None]:
        """Histories of the users of a frame, and what they dislike, if anything."""
        unknown = self._items.numbers(frame[ITEM]) == UNKNOWN
        if unknown.all() and len(frame) and not self._items.same_type(frame[ITEM]):
            raise DataError(
                f"histories: item ids are such as {shown(frame[ITEM].tolist()[0])}, the catalogue's such as "
                f"{shown(self.items.tolist()[0])}; convert one of them"
            )
        if unknown.any():
            first = frame[ITEM][unknown].tolist()[0]
            warnings.warn(
                f"histories: {int(unknown.sum())} of {len(frame)} rows have an item outside the catalogue, such as "
                f"{shown(first)}; they are ignored",
                stacklevel=5,
            )
        liked, disliked = tastes(frame, users, self._items)
        return liked.distinct().strengthened(self._strength), disliked

    def _profiles_of(self, numbers: np.ndarray) -> np.ndarray:
        known = np.where(numbers == UNKNOWN, 0, numbers)
        if len(self._profiles) == 0:
            return np.zeros((len(numbers), self._profiles.shape[1]), np.float32)
        return np.where((numbers == UNKNOWN)[:, None], np.float32(0.0), self._profiles[known])

    @staticmethod
    def _nothing(audience: Audience) -> Histories:
        return with_empty(audience.histories.take(np.empty(0, np.int64))).take(np.zeros(len(audience.ids), np.int64))

    def _allowed(self, audience: Audience, items: Any) -> tuple[np.ndarray | Histories, np.ndarray | None]:
        """Items that may be listed, (N,) bool or a table with a row a user, and who may have any, (B,) bool."""
        if isinstance(items, Mapping):
            return self._table(audience, items, "items"), ~np.array(
                [user in items for user in audience.ids.tolist()], bool
            )
        allowed = np.zeros(len(self._items), bool)
        allowed[self._item_numbers(items, "items")] = True
        return allowed, None

    def _table(self, audience: Audience, ids: Any, name: str) -> Histories:
        """Item numbers of every user, from ids for all of them or {user_id: ids}; none for a user who is not there."""
        n_users, n_items = len(audience.ids), len(self._items)
        if not isinstance(ids, Mapping):
            numbers = self._item_numbers(ids, name)
            return Histories(np.arange(n_users + 1) * len(numbers), np.tile(numbers, n_users), n_items)
        users = audience.ids.tolist()
        refuse_other_keys(ids, users, name)
        given = [(b, id_list(ids[user], f"{name}[{user!r}]")) for b, user in enumerate(users) if user in ids]
        owners = np.repeat([b for b, _ in given], [len(some) for _, some in given]).astype(np.int64)
        numbers = self._numbers_of([one for _, some in given for one in some], name)
        known = numbers != UNKNOWN
        return Histories(offsets_of(np.bincount(owners[known], minlength=n_users)), numbers[known], n_items)

    def _item_numbers(self, ids: Any, name: str) -> np.ndarray:
        """Numbers of the known ones among some item ids; ids of the other type are refused, unknown ones left out."""
        numbers = self._numbers_of(ids, name)
        return np.asarray(numbers[numbers != UNKNOWN])

    def _numbers_of(self, ids: Any, name: str) -> np.ndarray:
        """Numbers of item ids, -1 for unknown ones; ids of the other type are refused."""
        series = id_series(ids, name)
        numbers: np.ndarray = self._items.numbers(series)
        if len(series) and not self._items.same_type(series):
            raise DataError(
                f"{name}: holds {pd.api.types.infer_dtype(series)} ids such as {shown(series.tolist()[0])}, the "
                f"catalogue {pd.api.types.infer_dtype(self.items)} ids such as {shown(self.items.tolist()[0])}"
            )
        return numbers

    def _one_item(self, item_id: Any) -> int:
        number = int(self._items.numbers([item_id])[0])
        if number == UNKNOWN:
            raise UnknownItemError(f"item {shown(item_id)} is not in the catalogue of {len(self._items)} items")
        return number

    def _many_users(self, ids: pd.Series) -> np.ndarray:
        """Numbers of known users, (k,) int64."""
        numbers = self._users.numbers(ids)
        if (numbers == UNKNOWN).any():
            raise UnknownUserError(unknown_users(ids[numbers == UNKNOWN].tolist()))
        return np.asarray(numbers)

    def _one_user(self, user_id: Any) -> int:
        number = int(self._users.numbers([user_id])[0])
        if number == UNKNOWN:
            raise UnknownUserError(unknown_users([user_id]))
        return number


def _refused(liked: Histories, *disliked: Histories | None) -> Histories | None:
    """What some users dislike by several tables, but for what they like in their history by now."""
    told = [one for one in disliked if one is not None]
    if not told:
        return None
    together = told[0] if len(told) == 1 else told[0].joined(told[1])
    return together.part(~np.isin(together.pairs, liked.pairs))


def _nothing_left(liked: Histories, disliked: Histories | None) -> np.ndarray:
    """Of whose history no item is in the catalogue, (B,) bool."""
    return np.asarray((liked.lengths == 0) & (True if disliked is None else disliked.lengths == 0))

"""The calls that every recommender answers: ids in, filters applied, one frame out."""

from __future__ import annotations

import hashlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from recgan.errors import ConfigError, DataError, UnknownItemError, UnknownUserError
from recgan.foreign import as_frame, as_ids
from recgan.histories import Histories, Strength, offsets_of, tastes
from recgan.interactions import checked
from recgan.preferences import Reader, Statement, of_users
from recgan.ranking import ABSENT, Query
from recgan.rules import Rules
from recgan.schema import ITEM, RANK, REASON, SCORE, USER, Problems, check_ids, shown
from recgan.tables import read_table
from recgan.vocabulary import UNKNOWN, Vocabulary

OnUnknown = Literal["fallback", "skip", "raise"]


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


class BaseRecommender(ABC):
    """What Recommender and the baselines share; a subclass only ranks item numbers.

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

    @abstractmethod
    def _rank(self, query: Query, numbers: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Item numbers (B, <= n), -1 behind the end of a short list, and scores, for users with these numbers."""

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

    def recommend(
        self,
        user_id: Any = None,
        n: int = 10,
        *,
        history: Any = None,
        items: Any = None,
        exclude: Any = None,
        filter_seen: bool = True,
        on_unknown: OnUnknown = "fallback",
        explore: float = 0.0,
        popularity: float | None = None,
        rules: Rules | Mapping[str, Any] | None = None,
        preferences: Any = None,
        explain: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """The best items for one user.

        Args:
            user_id: the caller's id; may be left out when a history or preferences are given.
            n: most items in the list.
            history: item ids, oldest first, or a frame with item_id; replaces the stored history.
            items: ids of the only items that may be listed.
            exclude: ids of items that must not be listed.
            filter_seen: whether items of the history are left out.
            on_unknown: what an unknown user without history gets: the unconditional list ("fallback"), an empty
                frame ("skip") or an UnknownUserError ("raise").
            explore: 0 for the accurate list, up to 1 for the adventurous one.
            popularity: correction of the popularity bias: what one deviation of an item's log popularity costs, in
                deviations of the user's best scores; above 0 for rarer items (from .3 to 1.1 is sensible), below 0 for
                more popular ones, None for the list as it was trained. Scores are those after the correction.
            rules: what the lists must observe besides relevance, `Rules` or a dictionary.
            preferences: what the user states, `recgan.preferences.Preferences` or a dictionary with some of
                categories (that they like), items (that they like) and avoid (categories and items).
            explain: whether a column says why each item is listed; only a Recommender knows.
            seed: of what is random at explore > 0.

        Returns:
            A frame user_id, item_id, rank (1.., int64), score (float64), best first; with `explain` also reason, an
            English sentence, see `recommend_batch`.

        Raises:
            ConfigError: for a bad n, explore, rule or on_unknown, or neither user nor history nor preferences.
            DataError: for preferences that the catalogue does not know.
            UnknownUserError: for an unknown user under on_unknown="raise".
        """
        if user_id is None and history is None:
            if preferences is None:
                raise ConfigError("recommend: give a user_id, a history, preferences, or several of them")
            history = []
        options = {"items": items, "exclude": exclude, "filter_seen": filter_seen, "on_unknown": on_unknown}
        options |= {"explore": explore, "popularity": popularity, "rules": rules}
        options |= {"preferences": preferences, "explain": explain, "seed": seed}
        audience = self._alone(user_id) if history is None else self._one(user_id, history)
        return self._serve(audience, n, **options)

    def recommend_batch(
        self,
        users: Any = None,
        n: int = 10,
        *,
        histories: Any = None,
        items: Any = None,
        exclude: Any = None,
        filter_seen: bool = True,
        on_unknown: OnUnknown = "fallback",
        explore: float = 0.0,
        popularity: float | None = None,
        rules: Rules | Mapping[str, Any] | None = None,
        preferences: Any = None,
        explain: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """The best items for many users.

        Args:
            users: ids or a frame with user_id; None for the users of `histories`, or without these for all known users.
            n: most items in a list.
            histories: user_id, item_id and, where they exist, timestamp or position, a frame (of pandas, polars,
                Arrow or SciPy) or a path; its users' stored histories are replaced.
            items: ids of the only items that may be listed, or {user_id: ids}.
            exclude: ids of items that must not be listed, or {user_id: ids}.
            filter_seen: whether items of the history are left out.
            on_unknown: "fallback", "skip" or "raise", as in `recommend`.
            explore: 0 for the accurate list, up to 1 for the adventurous one.
            popularity: as in `recommend`.
            rules: what the lists must observe besides relevance, `Rules` or a dictionary.
            preferences: what all of them state, as in `recommend`, or {user_id: what that user states}.
            explain: whether a column says why each item is listed; only a Recommender knows.
            seed: of what is random at explore > 0.

        Returns:
            A frame user_id, item_id, rank (1.., int64), score (float64); users in the order asked for, each best
            first. `frame.attrs["fallback_users"]` names the users that got the unconditional list.

            With `explain` also reason, such as "Because of Kolya (1996, 34 %) and Delicatessen (1991, 21 %): Comedy":
            the one or two items of the history without which the item's relevance would lose most, as in
            `Recommender.explain`, each with its share in all that pulls, and up to three categories that the item
            shares with them. What a user without a history has stated, what a rule pinned, and what nothing pulls in is
            told as such.

        Raises:
            ConfigError: for a bad n, explore, rule or on_unknown.
            DataError: when a user is asked for twice, ids are of the wrong type, or for preferences that the catalogue
                does not know.
            UnknownUserError: for an unknown user under on_unknown="raise".
        """
        audience = self._known(users) if histories is None else self._given(users, histories)
        options = {"items": items, "exclude": exclude, "filter_seen": filter_seen, "on_unknown": on_unknown}
        options |= {"explore": explore, "popularity": popularity, "rules": rules}
        options |= {"preferences": preferences, "explain": explain, "seed": seed}
        return self._serve(audience, n, **options)

    def _serve(
        self,
        audience: Audience,
        n: int,
        *,
        items: Any,
        exclude: Any,
        filter_seen: bool,
        on_unknown: str,
        explore: float,
        popularity: float | None,
        rules: Rules | Mapping[str, Any] | None,
        preferences: Any,
        explain: bool,
        seed: int,
    ) -> pd.DataFrame:
        n, explore, rules, explain = _check_n(n), _check_explore(explore), Rules.of(rules), _check_explain(explain)
        if preferences is not None:
            audience = _telling(audience, self._stated(audience.ids.tolist(), preferences))
        audience = _apply_policy(audience, on_unknown)
        query = self._query(audience, items=items, exclude=exclude, filter_seen=filter_seen)
        if audience.said is not None:
            query = _preferring(query, audience.said)
        if rules != Rules():
            query = replace(self._ruled(query, audience.ids, rules), rules=rules)
        if popularity is not None:
            query = replace(query, popularity=self._check_popularity(popularity))
        if explore:
            query = replace(query, explore=explore, keys=_keys(audience, seed))
        numbers, scores = self._rank(query, audience.numbers, min(n, len(self._items)))
        frame = self._frame(audience.ids, numbers, scores)
        if explain:
            frame[REASON] = pd.Series(self._reasons(query, numbers), dtype=str)
        fallback = audience.ids[audience.fallback].tolist() if audience.fallback.any() else []
        frame.attrs["fallback_users"] = fallback
        return frame

    def _query(self, audience: Audience, *, items: Any, exclude: Any, filter_seen: bool) -> Query:
        seen = audience.histories if filter_seen else self._nothing(audience)
        if audience.disliked is not None:
            seen = seen.joined(audience.disliked)
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

    def _ruled(self, query: Query, users: pd.Series, rules: Rules) -> Query:
        """The question for these users with what the rules ask for."""
        raise ConfigError(f"rules: none for {type(self).__name__}, whose lists are what its scores say, not {rules!r}")

    def _reasons(self, query: Query, numbers: np.ndarray) -> list[str]:
        """Why each item of the lists (B, n) is there, a line for every one that stands."""
        raise ConfigError(f"explain: {type(self).__name__} tells no reasons; a Recommender does")

    def _check_popularity(self, popularity: Any) -> float:
        """The correction, which a model has to know."""
        raise ConfigError(f"popularity: no correction for {type(self).__name__}, only for a Recommender")

    def _frame(self, ids: pd.Series, numbers: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
        rows, columns = np.nonzero(numbers != ABSENT)
        return pd.DataFrame(
            {
                USER: ids.array.take(rows),
                ITEM: self._items.array(numbers[rows, columns]),
                RANK: columns.astype(np.int64) + 1,
                SCORE: scores[rows, columns].astype(np.float64),
            },
            copy=False,
        )

    def _alone(self, user_id: Any) -> Audience:
        """One user without a history of its own; what `_known` does for many, with less that is done once a call."""
        if type(user_id) not in (int, str) or not str(user_id).isascii():
            return self._known([user_id])
        return self._stored(pd.Series([user_id], name=USER), np.array([self._users.number(user_id)]))

    def _known(self, users: Any) -> Audience:
        ids = self.users if users is None else _id_series(users, USER)
        _refuse_repeats(ids)
        return self._stored(ids, self._users.numbers(ids))

    def _stored(self, ids: pd.Series, numbers: np.ndarray) -> Audience:
        unknown = numbers == UNKNOWN
        stored = _with_empty(self._histories) if unknown.any() else self._histories
        rows = np.where(unknown, len(self._users), numbers)
        disliked = None if self._disliked is None else _with_empty(self._disliked).take(rows)
        return Audience(ids, numbers, stored.take(rows), unknown, disliked=disliked)

    def _one(self, user_id: Any, history: Any) -> Audience:
        """One user, known or not, with a history of item ids or a frame."""
        history = as_frame(history)
        rows = history if isinstance(history, pd.DataFrame) else pd.DataFrame({ITEM: _id_series(history, ITEM)})
        ids = pd.Series([user_id], name=USER)
        given, disliked = self._read(_check_histories(rows.assign(**{USER: 0})), Vocabulary([0]))
        return Audience(ids, self._users.numbers(ids), given, np.zeros(1, bool), disliked=disliked)

    def _given(self, users: Any, histories: Any) -> Audience:
        """Some users; where the frame has rows of one, they replace what is stored."""
        frame = _check_histories(histories)
        owners = Vocabulary(frame[USER].drop_duplicates(), USER) if len(frame) else Vocabulary([])
        ids = owners.all_ids if users is None else _id_series(users, USER)
        stored = self._known(ids)
        place = owners.numbers(ids)
        source = np.where(place != UNKNOWN, place + len(ids), np.arange(len(ids)))
        given, refused = self._read(frame, owners)
        joined = _concatenated(stored.histories, given).take(source)
        disliked = None
        if stored.disliked is not None or refused is not None:
            parts = ((stored.disliked, stored.histories), (refused, given))
            disliked = _concatenated(*(_empty(of) if one is None else one for one, of in parts)).take(source)
        return Audience(stored.ids, stored.numbers, joined, stored.fallback & (place == UNKNOWN), disliked=disliked)

    def _read(self, frame: pd.DataFrame, users: Vocabulary) -> tuple[Histories, Histories | None]:
        """Histories of the users of a frame, and what they dislike, if anything."""
        unknown = self._items.numbers(frame[ITEM]) == UNKNOWN
        if unknown.any():
            first = frame[ITEM][unknown].tolist()[0]
            warnings.warn(
                f"histories: {int(unknown.sum())} of {len(frame)} rows have an item outside the catalogue, such as "
                f"{shown(first)}; they are ignored",
                stacklevel=5,
            )
        liked, disliked = tastes(frame, users, self._items)
        return liked.strengthened(self._strength), disliked

    def _profiles_of(self, numbers: np.ndarray) -> np.ndarray:
        known = np.where(numbers == UNKNOWN, 0, numbers)
        if len(self._profiles) == 0:
            return np.zeros((len(numbers), self._profiles.shape[1]), np.float32)
        return np.where((numbers == UNKNOWN)[:, None], np.float32(0.0), self._profiles[known])

    @staticmethod
    def _nothing(audience: Audience) -> Histories:
        return _with_empty(audience.histories.take(np.empty(0, np.int64))).take(np.zeros(len(audience.ids), np.int64))

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
        given = [
            (b, _id_list(ids[user], f"{name}[{user!r}]")) for b, user in enumerate(audience.ids.tolist()) if user in ids
        ]
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
        series = _id_series(ids, name)
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

    def _one_user(self, user_id: Any) -> int:
        number = int(self._users.numbers([user_id])[0])
        if number == UNKNOWN:
            raise UnknownUserError(_unknown_users([user_id]))
        return number


def _apply_policy(audience: Audience, on_unknown: str) -> Audience:
    if on_unknown not in ("fallback", "skip", "raise"):
        raise ConfigError(f"on_unknown: 'fallback', 'skip' or 'raise', not {on_unknown!r}")
    if on_unknown == "raise" and audience.fallback.any():
        raise UnknownUserError(_unknown_users(audience.ids[audience.fallback].tolist()))
    if on_unknown == "skip":
        return audience.take(np.flatnonzero(~audience.fallback))
    return audience


def _telling(audience: Audience, said: Statement) -> Audience:
    """The users with the items that they say to like behind their histories; who says something is not unknown."""
    own, liked = audience.histories, said.liked
    new = ~np.isin(liked.rows * liked.n_items + liked.items, own.rows * own.n_items + own.items)
    histories = own.joined(liked.part(new)) if new.any() else own
    return replace(audience, histories=histories, fallback=audience.fallback & ~said.told, said=said)


def _preferring(query: Query, said: Statement) -> Query:
    """The question with what is avoided blocked, and the categories that are liked."""
    seen = query.blocked if query.seen is None else query.seen
    blocked = query.blocked.joined(said.avoided)
    stated = said.categories if said.categories.any() else None
    return replace(query, blocked=blocked, seen=seen, stated=stated)


def _unknown_users(ids: list[Any]) -> str:
    named = ", ".join(shown(one) for one in ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    return f"unknown user{'s' * (len(ids) > 1)} {named}: give a history, or choose on_unknown='fallback' or 'skip'"


def _check_n(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise ConfigError(f"n: a whole number of at least 0, not {n!r}")
    return int(n)


def _check_explore(explore: Any) -> float:
    if isinstance(explore, bool) or not isinstance(explore, (int, float, np.number)) or not 0.0 <= explore <= 1.0:
        raise ConfigError(f"explore: a number from 0 to 1, not {explore!r}")
    return float(explore)


def _check_explain(explain: Any) -> bool:
    if not isinstance(explain, bool | np.bool_):
        raise ConfigError(f"explain: True or False, not {explain!r}")
    return bool(explain)


def _check_histories(histories: Any) -> pd.DataFrame:
    if isinstance(histories, (str, os.PathLike)):
        histories = read_table(histories)
    histories = as_frame(histories)
    if not isinstance(histories, pd.DataFrame):
        raise DataError(f"histories: a frame or a path, not {type(histories).__name__}")
    return checked(histories.reset_index(drop=True), Problems("histories"))


def _id_series(ids: Any, name: str) -> pd.Series:
    ids = as_frame(ids)
    if isinstance(ids, pd.DataFrame):
        ids = _id_column(ids, name)
    values = ids if isinstance(ids, (pd.Series, pd.Index, np.ndarray)) else _id_list(ids, name)
    series = pd.Series(values, name=name, dtype=None if len(values) else "int64")
    if isinstance(ids, pd.Series):
        series = series.reset_index(drop=True)
    if len(series):
        problems = Problems("ids")
        check_ids(series, problems)
        problems.raise_if_any()
    return series


def _id_column(frame: pd.DataFrame, name: str) -> pd.Series:
    """The user column of a frame where users are asked for, else its item column."""
    column = USER if name == USER else ITEM
    if column not in frame.columns:
        raise DataError(f"{name}: a frame without the column {column!r}; it has {', '.join(map(repr, frame.columns))}")
    return frame[column]


def _id_list(ids: Any, name: str) -> list[Any]:
    if isinstance(ids, (str, bytes, int)):
        raise DataError(f"{name}: a list of ids, not the single value {ids!r}")
    return ids.tolist() if isinstance(ids, (pd.Series, pd.Index, np.ndarray)) else list(as_ids(ids))


def _refuse_repeats(ids: pd.Series) -> None:
    if not ids.is_unique:
        repeated = ids[ids.duplicated()]
        raise DataError(f"users: {len(repeated)} asked for more than once, such as {shown(repeated.tolist()[0])}")


def _with_empty(histories: Histories) -> Histories:
    """The histories with an empty one behind the last."""
    offsets = np.append(histories.offsets, histories.offsets[-1])
    return replace(histories, offsets=offsets)


def _empty(histories: Histories) -> Histories:
    """Empty histories of as many users."""
    return Histories(np.zeros(len(histories) + 1, np.int64), np.empty(0, np.int64), histories.n_items)


def _concatenated(first: Histories, second: Histories) -> Histories:
    """The users of two tables, without times; where only one has weights, the rows of the other weigh 1."""
    offsets = np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]])
    items = np.concatenate([first.items, second.items])
    if first.weights is None and second.weights is None:
        return Histories(offsets, items, first.n_items)
    weights = [np.ones(len(one.items), np.float32) if one.weights is None else one.weights for one in (first, second)]
    return Histories(offsets, items, first.n_items, weights=np.concatenate(weights))


def _keys(audience: Audience, seed: int) -> np.ndarray:
    """One key a user for what is random: it hangs on the id, or without one on the history, and on the seed."""
    keys = np.empty(len(audience.ids), np.uint64)
    for b, user in enumerate(audience.ids.tolist()):
        text = repr(user) if user is not None else audience.histories.of(b).tobytes().hex()
        digest = hashlib.blake2b(f"{seed}|{text}".encode(), digest_size=8).digest()
        keys[b] = int.from_bytes(digest, "little")
    return keys

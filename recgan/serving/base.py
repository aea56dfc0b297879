"""The calls that every recommender answers: ids in, filters applied, one frame out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from recgan.errors import ConfigError, RecganError
from recgan.ranking import ABSENT, Query
from recgan.rules import Rules
from recgan.schema import ITEM, RANK, REASON, SCORE, USER, shown
from recgan.serving.arguments import check_explain, check_explore, check_n
from recgan.serving.audience import Audience, apply_policy, keys_of, preferring, telling
from recgan.serving.reading import Reading

OnUnknown = Literal["fallback", "skip", "raise"]


class BaseRecommender(Reading, ABC):
    """What Recommender and the baselines share; a subclass only ranks item numbers."""

    @abstractmethod
    def _rank(self, query: Query, numbers: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Item numbers (B, <= n), -1 behind the end of a short list, and scores, for users with these numbers."""

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
        n, explore, rules, explain = check_n(n), check_explore(explore), Rules.of(rules), check_explain(explain)
        if preferences is not None:
            audience = telling(audience, self._stated(audience.ids.tolist(), preferences))
        audience = apply_policy(audience, on_unknown)
        query = self._query(audience, items=items, exclude=exclude, filter_seen=filter_seen)
        if audience.said is not None:
            query = preferring(query, audience.said)
        if rules != Rules():
            query = replace(self._ruled(query, audience.ids, rules), rules=rules)
        if popularity is not None:
            query = replace(query, popularity=self._check_popularity(popularity))
        if explore:
            query = replace(query, explore=explore, keys=keys_of(audience, seed))
        numbers, scores = self._rank(query, audience.numbers, min(n, len(self._items)))
        frame = self._frame(audience.ids, numbers, scores)
        if explain:
            frame[REASON] = pd.Series(self._reasons(query, numbers), dtype=str)
        fallback = audience.ids[audience.fallback].tolist() if audience.fallback.any() else []
        frame.attrs["fallback_users"] = fallback
        return frame

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
        users, items = ids.array.take(rows), self._items.array(numbers[rows, columns])
        values = scores[rows, columns].astype(np.float64)
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values))[0])
            user, item = shown(pd.Series(users).tolist()[first]), shown(pd.Series(items).tolist()[first])
            raise RecganError(
                f"the score of item {item} for user {user} is {values[first]}: no list is made of that; load the model "
                "again, and if it comes back, report it with the model's info()"
            )
        return pd.DataFrame({USER: users, ITEM: items, RANK: columns.astype(np.int64) + 1, SCORE: values}, copy=False)

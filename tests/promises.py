"""What every recommender promises for any question, as properties. Each takes a Subject and hypothesis's `data`."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st
from planted import planted
from threadpoolctl import threadpool_limits

from recgan.errors import ConfigError, DataError, UnknownUserError
from recgan.vocabulary import Vocabulary

N_ITEMS = 24
EVERYTHING = 30
"""A user who has seen every item."""
STRANGERS = [900, 901, 902]
GAP = 1e-5
"""Relative gap of two scores below which rounding may exchange them."""


def crowd() -> pd.DataFrame:
    """Thirty users in three groups, one who has seen everything, and three items that always come together."""
    frame = planted(n_users=30, n_items=N_ITEMS - 2, n_groups=3, noise=0.1, seed=0)
    together = [frame.loc[frame["item_id"] == 0].assign(item_id=item) for item in (N_ITEMS - 2, N_ITEMS - 1)]
    full = pd.DataFrame({"user_id": EVERYTHING, "item_id": range(N_ITEMS)})
    frame = pd.concat([frame, *together, full]).drop_duplicates(["user_id", "item_id"])
    frame = frame.sort_values(["user_id", "item_id"], ignore_index=True)
    return frame.assign(position=frame.groupby("user_id").cumcount())


@dataclass(frozen=True)
class Question:
    """One call of `recommend_batch`."""

    users: list[Any]
    n: int
    options: dict[str, Any] = field(default_factory=dict)

    def ask(self, model: Any, **changed: Any) -> pd.DataFrame:
        asked = {"users": self.users, "n": self.n, **self.options, **changed}
        return model.recommend_batch(asked.pop("users"), asked.pop("n"), **asked)


@dataclass(frozen=True)
class Subject:
    """A fitted recommender and the interactions that it was fitted on."""

    model: Any
    frame: pd.DataFrame
    explores: bool = False

    @cached_property
    def seen(self) -> dict[Any, set[Any]]:
        return self.frame.groupby("user_id")["item_id"].agg(set).to_dict()

    @cached_property
    def scale(self) -> float:
        """Largest score of the whole catalogue: what rounding is small beside, also where a score is near nought."""
        return float(self.model.recommend_batch(n=N_ITEMS, filter_seen=False)["score"].abs().max())

    def allowed(self, question: Question, user: Any) -> set[Any]:
        """What may be listed, by the words of the documentation."""
        items, exclude = (question.options.get(name) for name in ("items", "exclude"))
        if isinstance(items, dict):
            items = items.get(user)
        if isinstance(exclude, dict):
            exclude = exclude.get(user)
        left = set(range(N_ITEMS)) if items is None else set(items) & set(range(N_ITEMS))
        if question.options.get("filter_seen", True):
            left -= self.seen.get(user, set())
        return left - set(exclude or ())


ITEM_LISTS = st.lists(st.integers(-1, N_ITEMS), max_size=N_ITEMS)
USERS = st.lists(st.sampled_from([*range(EVERYTHING + 1), *STRANGERS]), min_size=1, max_size=8, unique=True)


@st.composite
def questions(draw: Any, *, explores: bool = False) -> Question:
    """Any users known and unknown, any length, any filters."""
    per_user = st.dictionaries(st.sampled_from([*range(EVERYTHING + 1), *STRANGERS]), ITEM_LISTS, max_size=4)
    options = {
        "items": draw(st.none() | ITEM_LISTS | per_user),
        "exclude": draw(st.none() | ITEM_LISTS | per_user),
        "filter_seen": draw(st.booleans()),
        "on_unknown": draw(st.sampled_from(["fallback", "skip"])),
    }
    if explores:
        options["explore"] = draw(st.sampled_from([0.0, 0.3, 1.0]))
        options["seed"] = draw(st.integers(0, 3))
    return Question(draw(USERS), draw(st.integers(0, N_ITEMS + 3)), options)


def by_user(lists: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    return {user: part.reset_index(drop=True) for user, part in lists.groupby("user_id", sort=False)}


def same(subject: Subject, one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal lists, but for items whose scores differ by rounding."""
    gap = GAP * subject.scale
    assert one[["user_id", "rank"]].equals(other[["user_id", "rank"]])
    for user, left in by_user(one).items():
        right = by_user(other)[user]
        np.testing.assert_allclose(left["score"], right["score"], rtol=0, atol=gap)
        for place in np.flatnonzero(left["item_id"] != right["item_id"]):
            rivals = left["score"].drop(index=place)
            tied = np.isclose(rivals, left["score"][place], rtol=0, atol=2 * gap).any()
            assert tied or place == len(left) - 1, (user, place)


def ask_any(subject: Subject, data: Any, explores: bool | None = None) -> Question:
    return data.draw(questions(explores=subject.explores if explores is None else explores))


# --- the lists themselves ---


def a_list_is_as_long_as_it_can_be(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    lengths = question.ask(subject.model).groupby("user_id").size()
    for user in question.users:
        known = user not in STRANGERS or question.options["on_unknown"] == "fallback"
        wanted = min(question.n, len(subject.allowed(question, user))) if known else 0
        assert lengths.get(user, 0) == wanted, user


def no_item_comes_twice(subject: Subject, data: Any) -> None:
    assert not ask_any(subject, data).ask(subject.model).duplicated(["user_id", "item_id"]).any()


def nothing_forbidden_is_listed(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    for user, part in by_user(question.ask(subject.model)).items():
        assert set(part["item_id"]) <= subject.allowed(question, user)


def scores_are_finite_and_fall(subject: Subject, data: Any) -> None:
    for part in by_user(ask_any(subject, data, explores=False).ask(subject.model)).values():
        assert np.isfinite(part["score"]).all()
        assert part["score"].is_monotonic_decreasing


def ranks_count_from_one(subject: Subject, data: Any) -> None:
    for part in by_user(ask_any(subject, data).ask(subject.model)).values():
        assert part["rank"].tolist() == list(range(1, len(part) + 1))


def equal_scores_stand_by_the_order_of_the_catalogue(subject: Subject, data: Any) -> None:
    for part in by_user(ask_any(subject, data, explores=False).ask(subject.model)).values():
        tied = np.diff(part["score"]) == 0
        assert (np.diff(part["item_id"])[tied] > 0).all()


# --- one question and another ---


def a_longer_list_begins_with_the_shorter(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    shorter, longer = (question.ask(subject.model, n=n) for n in (question.n, question.n + 1))
    pd.testing.assert_frame_equal(shorter, longer[longer["rank"] <= question.n].reset_index(drop=True))


def many_are_served_as_each_alone(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    together = by_user(question.ask(subject.model))
    for user in question.users:
        alone = question.ask(subject.model, users=[user])
        if user in together:
            same(subject, together[user], alone)
        else:
            assert alone.empty


def lists_come_in_the_order_asked_for(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    lists = question.ask(subject.model)
    order = lists["user_id"].drop_duplicates().tolist()
    assert order == [user for user in question.users if user in order]
    shuffled = data.draw(st.permutations(question.users))
    again = by_user(question.ask(subject.model, users=shuffled))
    assert list(again) == [user for user in shuffled if user in again]
    for user, part in by_user(lists).items():
        same(subject, part, again[user])


def shards_join_to_the_whole(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    cut = data.draw(st.integers(0, len(question.users)))
    parts = [question.ask(subject.model, users=users) for users in (question.users[:cut], question.users[cut:])]
    same(subject, question.ask(subject.model), pd.concat(parts, ignore_index=True))


def threads_change_nothing(subject: Subject, data: Any) -> None:
    question, threads, found = ask_any(subject, data), torch.get_num_threads(), []
    for number in (1, 2):
        try:
            torch.set_num_threads(number)
            with threadpool_limits(number):
                found.append(question.ask(subject.model))
        finally:
            torch.set_num_threads(threads)
    same(subject, *found)


def the_same_question_has_the_same_answer(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    pd.testing.assert_frame_equal(question.ask(subject.model), question.ask(subject.model))


def excluding_more_removes_it_and_moves_nothing_else(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data, explores=False)
    more = set(data.draw(ITEM_LISTS))
    old = question.options["exclude"]
    if isinstance(old, dict):
        wider: Any = {user: [*old.get(user, []), *more] for user in question.users}
    else:
        wider = [*(old or []), *more]
    whole = question.ask(subject.model, n=N_ITEMS)
    kept = whole[~whole["item_id"].isin(more)].reset_index(drop=True)
    left = question.ask(subject.model, n=N_ITEMS, exclude=wider)
    assert left["user_id"].tolist() == kept["user_id"].tolist()
    for user, part in by_user(left).items():
        before = by_user(kept)[user]
        score = dict(zip(before["item_id"], before["score"], strict=True))
        steps = np.diff([score[item] for item in part["item_id"]])
        assert set(part["item_id"]) == set(before["item_id"])
        assert (steps <= 2 * GAP * subject.scale).all(), user


# --- users and histories ---


def strangers_are_served_by_policy_and_named(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    unknown = [user for user in question.users if user in STRANGERS]
    assert question.ask(subject.model, on_unknown="fallback").attrs["fallback_users"] == unknown
    skipped = question.ask(subject.model, on_unknown="skip")
    assert not set(skipped["user_id"]) & set(STRANGERS)
    assert skipped.attrs["fallback_users"] == []
    if unknown:
        with pytest.raises(UnknownUserError, match=str(unknown[0])):
            question.ask(subject.model, on_unknown="raise")


def given_histories_serve_like_stored_ones(subject: Subject, data: Any) -> None:
    question = ask_any(subject, data)
    users = [user for user in question.users if user not in STRANGERS]
    told = subject.frame[subject.frame["user_id"].isin(users)].sample(frac=1, random_state=data.draw(st.integers(0, 9)))
    options = {name: value for name, value in question.options.items() if name != "on_unknown"}
    given = subject.model.recommend_batch(users, question.n, histories=told, **options)
    same(subject, subject.model.recommend_batch(users, question.n, **options), given)


def a_given_history_is_its_own_seen_list(subject: Subject, data: Any) -> None:
    history = data.draw(st.lists(st.integers(0, N_ITEMS - 1), max_size=N_ITEMS, unique=True))
    lists = subject.model.recommend(data.draw(st.sampled_from([None, 3, 900])), N_ITEMS, history=history)
    assert set(lists["item_id"]) == set(range(N_ITEMS)) - set(history)
    assert np.isfinite(lists["score"]).all()


def any_ids_come_back_as_they_came(subject: Subject, data: Any) -> None:
    """With the same model under other names: every id keeps value and dtype, every list keeps its places."""
    kind = data.draw(st.sampled_from(["int32", "int64", "uint64", "text", "uuid", "long"]))
    sizes = [int(subject.frame[name].nunique()) for name in ("user_id", "item_id")]
    users, items = (names(data, kind, size) for size in sizes)
    renamed = copy.copy(subject.model)
    renamed._users, renamed._items = Vocabulary(users, "user_id"), Vocabulary(items, "item_id")
    n = data.draw(st.integers(0, 6))
    lists, plain = renamed.recommend_batch(n=n), subject.model.recommend_batch(n=n)
    assert lists["item_id"].tolist() == items.iloc[plain["item_id"]].tolist()
    assert lists["user_id"].tolist() == users.iloc[plain["user_id"]].tolist()
    assert (lists["user_id"].dtype, lists["item_id"].dtype) == (users.dtype, items.dtype)


def names(data: Any, kind: str, size: int) -> pd.Series:
    """That many distinct ids of a kind, in any order."""
    if kind in ("int32", "int64", "uint64"):
        limits = np.iinfo(kind)
        numbers = st.integers(int(limits.min), int(limits.max))
        return pd.Series(data.draw(st.lists(numbers, min_size=size, max_size=size, unique=True)), dtype=kind)
    text = {"text": st.text(), "uuid": st.uuids().map(str), "long": st.integers(0, 9**9).map(lambda i: f"{i}" * 2000)}
    return pd.Series(data.draw(st.lists(text[kind], min_size=size, max_size=size, unique=True)), dtype="str")


# --- what is refused ---


def bad_lengths_are_refused(subject: Subject, data: Any) -> None:
    wrong = data.draw(st.integers(max_value=-1) | st.floats() | st.text() | st.booleans() | st.none())
    with pytest.raises(ConfigError, match="n: a whole number"):
        subject.model.recommend_batch([0], n=wrong)


def mixed_and_float_ids_are_refused(subject: Subject, data: Any) -> None:
    wrong = data.draw(st.sampled_from([[1, "1"], [1.5], [None, 2], [True], [float("nan")], [b"1"], [[1]], [1, 2.0]]))
    for ask in ({"users": wrong}, {"users": [1], "items": wrong}, {"users": [1], "exclude": {1: wrong}}):
        with pytest.raises(DataError):
            subject.model.recommend_batch(**ask)


def text_ids_never_match_numbers(subject: Subject, data: Any) -> None:
    user = str(data.draw(st.integers(0, EVERYTHING)))
    assert subject.model.recommend(user, on_unknown="skip").empty
    with pytest.raises(DataError, match="ids such as"):
        subject.model.recommend(1, items=["3"])


PROMISES = (
    a_list_is_as_long_as_it_can_be,
    no_item_comes_twice,
    nothing_forbidden_is_listed,
    scores_are_finite_and_fall,
    ranks_count_from_one,
    equal_scores_stand_by_the_order_of_the_catalogue,
    a_longer_list_begins_with_the_shorter,
    many_are_served_as_each_alone,
    lists_come_in_the_order_asked_for,
    shards_join_to_the_whole,
    threads_change_nothing,
    the_same_question_has_the_same_answer,
    excluding_more_removes_it_and_moves_nothing_else,
    strangers_are_served_by_policy_and_named,
    given_histories_serve_like_stored_ones,
    a_given_history_is_its_own_seen_list,
    any_ids_come_back_as_they_came,
    bad_lengths_are_refused,
    mixed_and_float_ids_are_refused,
    text_ids_never_match_numbers,
)

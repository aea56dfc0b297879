"""What every recommender must do. Each check takes `fit(frame) -> recommender`; run all of CONTRACT.

`remembered(fit)` fits each frame once, for recommenders that are slow to train; only determinism fits twice.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import checkerboard, planted, shuffled

from recgan.baselines import Baseline, Popular
from recgan.errors import ConfigError, DataError, UnknownUserError
from recgan.evaluation import evaluate
from recgan.splits import Split, split_ratio

Fit = Callable[[pd.DataFrame], Any]
COLUMNS = ["user_id", "item_id", "rank", "score"]


def remembered(fit: Fit) -> Fit:
    known: dict[Any, Any] = {}

    @functools.wraps(fit)
    def once(frame: pd.DataFrame) -> Any:
        key = (int(pd.util.hash_pandas_object(frame).sum()), tuple(map(str, frame.dtypes)))
        if key not in known:
            known[key] = fit(frame)
        return known[key]

    return once


def frame_of_groups() -> pd.DataFrame:
    return planted(n_users=60, n_items=40, n_groups=4, noise=0.1, seed=0)


def matrix_of(frame: pd.DataFrame) -> np.ndarray:
    """Users by items, ones and zeros."""
    return pd.crosstab(frame["user_id"], frame["item_id"]).clip(upper=1).to_numpy(np.float64)


def scores_of(model: Any, histories: pd.DataFrame | None = None) -> np.ndarray:
    """Users by items, as the lists tell them."""
    lists = model.recommend_batch(histories=histories, n=10**6, filter_seen=False)
    return lists.pivot(index="user_id", columns="item_id", values="score").to_numpy()


def fresh(model: Baseline, **changed: Any) -> Baseline:
    """An unfitted baseline with the same parameters, but for those changed."""
    return type(model)(**{**model.params, **changed})


def finds_what_is_planted_and_nothing_in_noise(fit: Fit) -> None:
    """Groups are found well above popularity; where they are scrambled, popularity is all there is."""
    frame = planted(n_users=200, n_items=60, n_groups=4, noise=0.1, seed=3)
    noise = shuffled(frame, seed=4)
    assert _precision(fit, frame) > 2.5 * _precision(Popular().fit, frame)
    assert abs(_precision(fit, noise) - _precision(Popular().fit, noise)) < 0.03


def _precision(fit: Fit, frame: pd.DataFrame) -> float:
    split = split_ratio(frame, seed=1)
    lists = fit(split.train).recommend_batch(histories=split.validation.history, n=5)
    return evaluate(lists, split.validation.truth, "precision@5")["precision@5"]


def tune_keeps_the_best(kind: type[Baseline], grid: dict[str, list[Any]], split: Split) -> tuple[Baseline, float]:
    """Every combination is tried and the best one kept; returns it and its value."""
    best = kind.tune(split.train, split.validation, grid=grid)
    assert list(best.tuning) == [*best.params, "ndcg@10", "seconds"]
    assert len(best.tuning) == len(list(itertools.product(*grid.values())))
    lists = best.recommend_batch(histories=split.validation.history)
    value = evaluate(lists, split.validation.truth, "ndcg@10")["ndcg@10"]
    assert value == best.tuning["ndcg@10"].max()
    same_lists(kind(**best.params).fit(split.train).recommend_batch(n=5), best.recommend_batch(n=5))
    return best, value


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(user_id="u" + frame["user_id"].astype(str), item_id="i" + frame["item_id"].astype(str))


def same_lists(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal, but for items whose scores tie within rounding."""
    assert one[["user_id", "rank"]].equals(other[["user_id", "rank"]])
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-4, atol=1e-5)
    moved = one[(one["item_id"] != other["item_id"]).to_numpy()]
    for row in moved.itertuples():
        rivals = one[(one["user_id"] == row.user_id) & (one["rank"] != row.rank)]["score"]
        last = one[one["user_id"] == row.user_id]["rank"].max()
        assert row.rank == last or np.isclose(rivals, row.score, rtol=1e-4, atol=1e-5).any(), row


def seen_by(frame: pd.DataFrame, user: Any) -> set[Any]:
    return set(frame.loc[frame["user_id"] == user, "item_id"])


def finds_the_checkerboard(fit: Fit) -> None:
    lists = fit(checkerboard(20)).recommend_batch(n=1)
    assert lists["user_id"].tolist() == lists["item_id"].tolist() == list(range(20))


def gives_the_documented_frame(fit: Fit) -> None:
    lists = fit(frame_of_groups()).recommend_batch(n=5)
    assert list(lists) == COLUMNS
    assert lists["rank"].dtype == np.int64
    assert lists["score"].dtype == np.float64
    assert np.isfinite(lists["score"]).all()
    assert lists.groupby("user_id")["score"].is_monotonic_decreasing.all()
    assert (lists["rank"] == lists.groupby("user_id").cumcount() + 1).all()
    assert lists["user_id"].drop_duplicates().tolist() == list(range(60))
    assert lists.attrs["fallback_users"] == []


def batch_equals_single(fit: Fit) -> None:
    model = fit(frame_of_groups())
    users = [7, 3, 59]
    singles = pd.concat([model.recommend(user, 6) for user in users], ignore_index=True)
    same_lists(model.recommend_batch(users, 6), singles)


def lists_have_their_exact_length(fit: Fit) -> None:
    frame = frame_of_groups()
    model = fit(frame)
    for n in (1, 7, 40, 1000):
        lengths = model.recommend_batch(n=n).groupby("user_id").size()
        left = 40 - frame.groupby("user_id")["item_id"].nunique()
        assert (lengths == left.clip(upper=n)).all()


def longer_lists_begin_with_shorter_ones(fit: Fit) -> None:
    model = fit(frame_of_groups())
    longer = model.recommend_batch(n=12)
    same_lists(model.recommend_batch(n=4), longer[longer["rank"] <= 4].reset_index(drop=True))


def never_lists_what_was_seen_or_twice(fit: Fit) -> None:
    frame = frame_of_groups()
    lists = fit(frame).recommend_batch(n=1000)
    assert not lists.duplicated(["user_id", "item_id"]).any()
    assert lists.merge(frame, on=["user_id", "item_id"]).empty


def lists_what_was_seen_if_told_to(fit: Fit) -> None:
    lists = fit(frame_of_groups()).recommend_batch([0, 1], n=1000, filter_seen=False)
    assert lists.groupby("user_id")["item_id"].nunique().tolist() == [40, 40]


def obeys_exclude_and_items(fit: Fit) -> None:
    frame = frame_of_groups()
    model = fit(frame)
    everything = set(range(40))
    lists = model.recommend_batch([0, 1], n=1000, exclude=[2, 3])
    for user in (0, 1):
        assert set(lists.loc[lists["user_id"] == user, "item_id"]) == everything - {2, 3} - seen_by(frame, user)
    one = model.recommend(5, n=1000, items=[2, 3, 4, 5, 6])
    assert set(one["item_id"]) == {2, 3, 4, 5, 6} - seen_by(frame, 5)
    both = model.recommend_batch([0, 1], n=1000, items={0: [1, 2, 3]}, exclude={0: [2], 1: [7]}, filter_seen=False)
    assert set(both.loc[both["user_id"] == 0, "item_id"]) == {1, 3}
    assert set(both.loc[both["user_id"] == 1, "item_id"]) == everything - {7}
    assert model.recommend(0, items=[]).empty


def keeps_the_type_of_ids(fit: Fit) -> None:
    numbers = frame_of_groups()
    text = as_text(numbers)
    for frame, user in ((numbers, 4), (text, "u4")):
        lists = fit(frame).recommend(user, 5)
        assert lists["item_id"].dtype == frame["item_id"].dtype
        assert lists["user_id"].tolist() == [user] * 5
        assert set(lists["item_id"]) <= set(frame["item_id"])
    assert fit(text).recommend_batch(n=2)["user_id"].dtype == text["user_id"].dtype


def knows_what_to_do_with_unknown_users(fit: Fit) -> None:
    model = fit(frame_of_groups())
    lists = model.recommend_batch([999, 3], n=4)
    assert lists["user_id"].tolist() == [999] * 4 + [3] * 4
    assert lists.attrs["fallback_users"] == [999]
    assert model.recommend_batch([999, 3], n=4, on_unknown="skip")["user_id"].unique().tolist() == [3]
    assert model.recommend("3", on_unknown="skip").empty
    with pytest.raises(UnknownUserError, match="999"):
        model.recommend_batch([999, 3], on_unknown="raise")
    with pytest.raises(ConfigError, match="on_unknown"):
        model.recommend(3, on_unknown="guess")


def tells_why_or_says_that_it_cannot(fit: Fit) -> None:
    """With `explain` every row has a reason, and nothing else changes; a baseline refuses."""
    model = fit(frame_of_groups())
    if isinstance(model, Baseline):
        for ask in (model.recommend_batch, lambda **options: model.recommend(3, **options)):
            with pytest.raises(ConfigError, match=f"explain: {type(model).__name__} tells no reasons"):
                ask(explain=True)
        assert list(model.recommend(3, explain=False)) == COLUMNS
        return
    lists = model.recommend_batch([999, 3, 4], 5, explain=True)
    assert list(lists) == [*COLUMNS, "reason"]
    assert lists[COLUMNS].equals(model.recommend_batch([999, 3, 4], 5))
    assert (lists["reason"].str.len() > 0).all()
    assert lists["reason"].tolist()[5:10] == model.recommend(3, 5, explain=True)["reason"].tolist()


def takes_lengths_from_zero(fit: Fit) -> None:
    model = fit(frame_of_groups())
    empty, full = model.recommend_batch(n=0), model.recommend_batch(n=1)
    assert list(empty) == COLUMNS
    assert empty.empty
    assert empty.dtypes.equals(full.dtypes)
    assert model.recommend_batch([], n=3).empty
    for wrong in (-1, 2.5, "3", True, None):
        with pytest.raises(ConfigError, match="n: a whole number"):
            model.recommend(0, n=wrong)


def refuses_repeated_users(fit: Fit) -> None:
    with pytest.raises(DataError, match="more than once"):
        fit(frame_of_groups()).recommend_batch([3, 4, 3])


def gives_nothing_to_who_has_everything(fit: Fit) -> None:
    frame = frame_of_groups()
    frame = pd.concat([frame, pd.DataFrame({"user_id": 100, "item_id": range(40)})], ignore_index=True)
    lists = fit(frame).recommend_batch([100, 0], n=5)
    assert lists["user_id"].tolist() == [0] * 5


def repeats_itself(fit: Fit) -> None:
    anew = getattr(fit, "__wrapped__", fit)
    first, second = (anew(frame_of_groups()).recommend_batch(n=10) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def given_histories_equal_stored_ones(fit: Fit) -> None:
    frame = frame_of_groups()
    model = fit(frame)
    same_lists(model.recommend_batch(histories=frame, n=8), model.recommend_batch(n=8))
    items = frame.loc[frame["user_id"] == 6, "item_id"]
    same_lists(model.recommend(6, 8, history=items.tolist()), model.recommend(6, 8))


def given_histories_replace_stored_ones(fit: Fit) -> None:
    frame = frame_of_groups()
    model = fit(frame)
    lists = model.recommend_batch([6, 77], n=1000, histories=pd.DataFrame({"user_id": [6, 77], "item_id": [1, 2]}))
    assert set(lists.loc[lists["user_id"] == 6, "item_id"]) == set(range(40)) - {1}
    assert set(lists.loc[lists["user_id"] == 77, "item_id"]) == set(range(40)) - {2}
    assert lists.attrs["fallback_users"] == []
    alone = model.recommend(history=[1], n=3)
    assert len(alone) == 3
    assert alone["user_id"].isna().all()


def ignores_unknown_items_with_a_warning(fit: Fit) -> None:
    model = fit(frame_of_groups())
    with pytest.warns(UserWarning, match="outside the catalogue"):
        lists = model.recommend(history=[1, 12345], n=1000)
    assert set(lists["item_id"]) == set(range(40)) - {1}


CONTRACT = (
    finds_the_checkerboard,
    gives_the_documented_frame,
    batch_equals_single,
    lists_have_their_exact_length,
    longer_lists_begin_with_shorter_ones,
    never_lists_what_was_seen_or_twice,
    lists_what_was_seen_if_told_to,
    obeys_exclude_and_items,
    keeps_the_type_of_ids,
    knows_what_to_do_with_unknown_users,
    tells_why_or_says_that_it_cannot,
    takes_lengths_from_zero,
    refuses_repeated_users,
    gives_nothing_to_who_has_everything,
    repeats_itself,
    given_histories_equal_stored_ones,
    given_histories_replace_stored_ones,
    ignores_unknown_items_with_a_warning,
)

"""Popularity bias: shares, groups and coefficients, against loops and hand-made cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import recgan
from recgan import bias

COUNTS = arrays.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 50))


def frame(pairs, ranked=False):
    table = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    return table.assign(rank=table.groupby("user_id").cumcount() + 1) if ranked else table


@given(COUNTS)
def test_gini_is_the_mean_difference(counts):
    expected = np.abs(counts[:, None] - counts).mean() / (2 * counts.mean()) if counts.sum() else 0.0
    assert bias.gini(counts) == pytest.approx(expected)


@given(COUNTS)
def test_head_and_tail_hold_a_fifth_of_the_interactions(counts):
    part, total = bias.parts(counts), counts.sum()
    without = [counts[counts > counts[part == 0].min()].sum(), counts[part == 2].sum()]
    assert counts[part == 0].sum() >= 0.2 * total - 1e-6
    assert without[0] <= 0.2 * total + 1e-6
    assert without[1] <= 0.2 * total + 1e-6
    for number in range(3):
        for other in range(number):
            if (part == number).any() and (part == other).any():
                assert counts[part == number].max() < counts[part == other].min()


def test_tail_is_that_of_the_metric():
    random = np.random.default_rng(0)
    counts = random.geometric(0.1, 50) - 1
    lists = random.permuted(np.tile(np.arange(50), (20, 1)), axis=1)[:, :10]
    from recgan import metrics

    np.testing.assert_allclose((bias.parts(counts)[lists] == 2).mean(axis=1), metrics.long_tail(lists, counts, 10))


def test_groups_are_fifths():
    values = np.random.default_rng(0).permutation(100).astype(float)
    group = bias.groups(values)
    assert np.bincount(group).tolist() == [20, 60, 20]
    assert values[group == 0].max() < values[group == 1].min()
    assert bias.groups(np.zeros(1)).tolist() == [1]


def world(n_users=50, n_items=40, seed=0):
    """Half the users like hits, the others like what is rare."""
    random = np.random.default_rng(seed)
    pairs = []
    for user in range(n_users):
        odds = 1.0 / (1.0 + np.arange(n_items)) ** (1.5 if user % 2 else 0.2)
        pairs += [(user, f"i{item}") for item in random.choice(n_items, 8, replace=False, p=odds / odds.sum())]
    return frame(pairs)


def test_against_loops():
    train = world()
    lists = frame(
        [(user, f"i{(user * 7 + place) % 40}") for user in range(0, 50, 3) for place in range(5)], ranked=True
    )
    truth = frame([(user, f"i{(user * 7 + 2) % 40}") for user in range(0, 30, 3)])
    found = recgan.popularity_bias(lists, train, truth=truth, k=4).set_index("group")
    popular = train["item_id"].value_counts()
    part = dict(zip(popular.index, bias.parts(popular.to_numpy()), strict=True))
    users = lists["user_id"].unique()
    past = {user: train["item_id"][train["user_id"] == user] for user in users}
    now = {user: lists["item_id"][(lists["user_id"] == user) & (lists["rank"] <= 4)] for user in users}
    level = pd.Series({user: np.log1p(popular[ids]).mean() for user, ids in past.items()})
    chosen = {"all": users, "niche": level.nsmallest(3).index, "mainstream": level.nlargest(3).index}
    assert found["users"].tolist() == [17, 3, 11, 3]
    for group, some in chosen.items():
        row = found.loc[group]
        for name, ids in (("history", past), ("lists", now)):
            for number, one in enumerate(bias.PARTS):
                shares = [np.mean([part.get(item, 2) == number for item in ids[user]]) for user in some]
                assert row[f"{name}_{one}"] == pytest.approx(np.mean(shares))
        mean = [np.mean([popular.reindex(ids[user]).fillna(0).mean() for user in some]) for ids in (past, now)]
        assert row["lift"] == pytest.approx(mean[1] / mean[0] - 1)
    assert found.loc["all", "ndcg@4"] == pytest.approx(recgan.evaluate(lists, truth, "ndcg@4")["ndcg@4"])
    assert found.loc["all", "effective_items"] == pytest.approx(
        recgan.evaluate(lists, truth, "effective_items@4")["effective_items@4"]
    )


def test_lists_like_the_history_have_no_bias():
    train = world()
    same = train.assign(rank=train.groupby("user_id").cumcount() + 1)
    found = recgan.popularity_bias(same, train, k=8)
    np.testing.assert_allclose(found[["lift", "deviation"]], 0.0, atol=1e-12)
    niche, mainstream = (found.set_index("group").loc[name] for name in ("niche", "mainstream"))
    assert niche["history_tail"] > mainstream["history_tail"]


def test_rows_given_twice_count_once():
    train = world()
    lists = frame([(user, "i1") for user in range(50)], ranked=True)
    pd.testing.assert_frame_equal(
        recgan.popularity_bias(lists, pd.concat([train, train])), recgan.popularity_bias(lists, train)
    )


def test_the_same_hits_for_all_are_told():
    train = world()
    hits = train["item_id"].value_counts().index[:3]
    lists = frame([(user, item) for user in range(50) for item in hits], ranked=True)
    found = recgan.popularity_bias(lists, train, k=3).set_index("group")
    assert found.loc["all", "lists_head"] == 1.0
    assert found.loc["all", "gini"] == pytest.approx(1 - 3 / train["item_id"].nunique())
    assert found.loc["niche", "deviation"] > found.loc["mainstream", "deviation"]
    assert found.loc["niche", "lift"] > found.loc["mainstream", "lift"] > 0


def test_histories_of_their_own_and_users_without_any():
    train = world()
    lists = frame([("new", "i1"), ("nobody", "i2")], ranked=True)
    past = frame([("new", "i0"), ("new", "i39")])
    with pytest.raises(recgan.DataError, match="user_id"):
        recgan.popularity_bias(lists, train, history=past)
    train["user_id"] = train["user_id"].astype(str)
    found = recgan.popularity_bias(lists, train, history=past)
    assert found["users"].tolist() == [1, 1]
    assert found["group"].tolist() == ["all", "mixed"]


def test_nobody_is_an_empty_table():
    train = world()
    none = frame([(1, "i1")], ranked=True).iloc[:0]
    assert len(recgan.popularity_bias(none.astype({"user_id": "int64", "item_id": str}), train)) == 0


@pytest.mark.parametrize("k", [0, 1.5, True])
def test_bad_k(k):
    with pytest.raises(recgan.ConfigError, match="k must be"):
        recgan.popularity_bias(frame([(1, "i1")], ranked=True), world(), k=k)


def test_bad_tables_are_named():
    train = world()
    lists = frame([(1, "i1")], ranked=True)
    with pytest.raises(recgan.DataError, match="history"):
        recgan.popularity_bias(lists, train, history=train[["user_id"]])
    with pytest.raises(recgan.DataError, match="train"):
        recgan.popularity_bias(lists, train[["item_id"]])

"""A kind of item taken off the shelf is found and named; the same number of random items is not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from planted import planted, shuffled

import recgan
from recgan.draws import unlike
from recgan.errors import ConfigError, DataError, UnknownUserError
from recgan.gaps import Settings, Survey, find_gaps
from recgan.gaps.holes import withdrawal_test

N_ITEMS, N_GROUPS = 96, 8
COLUMNS = [
    *("rank", "kind", "users", "share", "demand", "p_value", "categories", "year", "gap"),
    *("missing_items", "nearest_items", "nearest_gaps"),
]


def catalogue() -> pd.DataFrame:
    table = pd.DataFrame({"item_id": range(N_ITEMS)})
    table["categories"] = [f"group {i % N_GROUPS}" for i in range(N_ITEMS)]
    table["year"] = [1950.0 + 10.0 * (i % N_GROUPS) for i in range(N_ITEMS)]
    return table


@pytest.fixture(scope="module")
def frame():
    return planted(n_users=240, n_items=N_ITEMS, n_groups=N_GROUPS, noise=0.2, seed=0)


@pytest.fixture(scope="module")
def model(frame, small_config):
    return recgan.train(frame, catalogue(), config=small_config)


def without(*items: int) -> list[int]:
    return [item for item in range(N_ITEMS) if item not in items]


@pytest.mark.parametrize("group", range(4))
def test_a_niche_taken_away_is_found_and_named(model, group):
    niche = list(range(group, N_ITEMS, N_GROUPS))
    found = model.gaps(items=without(*niche))
    assert found.columns.tolist() == COLUMNS
    assert found["kind"].tolist() == ["withdrawn"]
    gap = found.iloc[0]
    assert gap["categories"].split("|")[0] == f"group {group}"
    assert set(gap["missing_items"]) <= set(niche)
    assert len(gap["missing_items"]) > len(niche) // 2
    assert not set(gap["nearest_items"]) & set(niche)
    assert gap["nearest_gaps"] == sorted(gap["nearest_gaps"])
    assert gap["p_value"] <= 0.01
    assert 15 <= gap["users"] <= 60  # 30 of the 240 users are of the group
    assert gap["share"] == gap["users"] / 240
    assert abs(gap["year"] - 1950 - 10 * group) < 10


def test_it_names_the_users_own_niche_when_only_they_are_asked(model):
    users = [user for user in range(240) if user % N_GROUPS in (2, 3)]
    found = model.gaps(users, without(*range(2, N_ITEMS, N_GROUPS)))
    assert found["categories"].str.split("|").str[0].tolist() == ["group 2"]
    assert found.loc[0, "share"] > 0.4
    assert found.attrs["n_users"] == len(users)


def test_two_niches_are_two_gaps(model):
    away = [i for i in range(N_ITEMS) if i % N_GROUPS in (1, 6)]
    found = model.gaps(items=without(*away))
    assert sorted(found["categories"].str.split("|").str[0]) == ["group 1", "group 6"]
    assert found["demand"].is_monotonic_decreasing
    assert found["rank"].tolist() == [1, 2]


def test_nothing_taken_away_is_no_gap(model):
    found = model.gaps()
    assert found.empty
    assert found.attrs["n_offered"] == N_ITEMS
    full = model.gaps(items=without(*range(0, N_ITEMS, N_GROUPS)))
    assert found.dtypes.equals(full.dtypes)
    assert json.loads(json.dumps(full.attrs)) == full.attrs


@pytest.mark.parametrize("seed", range(8))
def test_random_items_of_equal_popularity_are_no_gap(model, frame, seed):
    """Every item of a niche is replaced by a random one of the next eight in popularity."""
    random = np.random.default_rng(seed)
    order = frame["item_id"].value_counts().index.to_numpy()
    place = np.flatnonzero(order % N_GROUPS == seed)
    others = {int(order[(at + random.integers(-8, 9)) % N_ITEMS]) for at in place}
    assert model.gaps(items=without(*others)).empty


def test_where_nothing_belongs_together_nothing_is_found(frame, small_config):
    model = recgan.train(shuffled(frame, seed=2), catalogue(), config=small_config)
    for group in range(N_GROUPS):
        assert model.gaps(items=without(*range(group, N_ITEMS, N_GROUPS))).empty


def test_a_catalogue_without_attributes_still_has_its_gap(frame, small_config):
    model = recgan.train(frame, config=small_config)
    found = model.gaps(items=without(*range(0, N_ITEMS, N_GROUPS)))
    assert (len(found), found.loc[0, "categories"]) == (1, "")
    assert all(item % N_GROUPS == 0 for item in found.loc[0, "missing_items"])
    assert found.attrs["accuracy"] == {}


def test_a_withdrawn_item_still_counts_in_the_histories(model):
    some = model.gaps(items=without(*range(0, N_ITEMS, N_GROUPS)))
    drawn = model.ideal_items(0, 4, items=without(*range(0, N_ITEMS, N_GROUPS)))
    assert some.loc[0, "users"] > 0
    own = drawn["categories"].str.startswith("group 0")
    assert own.iloc[0]
    assert own.mean() >= 0.5


def test_bad_input(model):
    with pytest.raises(UnknownUserError, match="999"):
        model.gaps([999])
    with pytest.raises(DataError, match="more than once"):
        model.gaps([3, 3])
    with pytest.raises(DataError, match="nobody is asked"):
        model.gaps([])
    with pytest.raises(DataError, match="nothing is on offer"):
        model.gaps(items=[10**6])
    with pytest.raises(ConfigError, match="alpha between 0 and 1"):
        model.gaps(alpha=0.0)
    with pytest.raises(ConfigError, match="at least 99 permutations, not 20"):
        model.gaps(n_permutations=20)


def test_one_user_one_item_missing_and_nearly_all_items_missing(model):
    assert model.gaps([5], without(4)).empty
    assert list(model.gaps([5], [0])) == COLUMNS


def synthetic(seed: int = 0, apart: int = 0) -> tuple[Survey, np.ndarray, np.ndarray]:
    """Ten kinds of thirty items, and 300 users with four wishes each near the kinds; some want what nobody makes."""
    random = np.random.default_rng(seed)
    kind = np.repeat(np.eye(12)[:10], 30, axis=0)
    items = kind + 0.25 * random.standard_normal(kind.shape)
    own = np.eye(12)[random.integers(0, 10, 300)]
    own[:apart] = np.eye(12)[11]
    wanted = np.repeat(own, 4, axis=0) + 0.15 * random.standard_normal((1200, 12))
    items, wanted = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (items, wanted))
    cosines = wanted @ items.T
    shape = (300, 4)
    gap = 1.0 - cosines.max(axis=1).reshape(shape)
    demand = np.exp(10 * cosines).sum(axis=0)
    everything = np.arange(300)
    found = Survey(
        wanted.reshape(*shape, 12).astype(np.float32),
        demand / demand.sum(),
        cosines.argmax(axis=1).reshape(shape),
        gap,
        everything,
        gap,
    )
    return found, items.astype(np.float32), random.integers(1, 100, 300)


def offering(found: Survey, offered: np.ndarray) -> Survey:
    return Survey(found.wanted, found.demand, found.nearest, found.gap, offered, found.offered_gap)


def test_the_p_value_is_uniform_for_random_withdrawals():
    found, items, counts = synthetic()
    random = np.random.default_rng(1)
    smallest = []
    for seed in range(120):
        kept = np.sort(random.permutation(300)[25:])
        smallest.append(withdrawal_test(offering(found, kept), items, counts, Settings(0.05, 99, seed)).min())
    low = np.mean(np.array(smallest) <= 0.1)
    assert 0.1 - 3 * (0.09 / 120) ** 0.5 < low < 0.1 + 3 * (0.09 / 120) ** 0.5
    assert 0.35 < np.mean(np.array(smallest) <= 0.5) < 0.65


def test_a_kind_hidden_among_random_items_is_picked_out():
    found, items, counts = synthetic()
    others = np.random.default_rng(2).choice(np.arange(30, 300), 40, replace=False)
    kept = np.setdiff1d(np.arange(300), np.concatenate([np.arange(30), others]))
    gaps, _ = find_gaps(offering(found, kept), items, counts, Settings())
    assert [gap.kind for gap in gaps] == ["withdrawn"]
    assert set(gaps[0].missing) >= set(range(30))
    assert len(gaps[0].missing) <= 32


def test_what_has_never_been_there_is_told_apart():
    found, items, counts = synthetic(apart=30)
    gaps, _ = find_gaps(found, items, counts, Settings())
    assert [(gap.kind, gap.users.tolist(), gap.missing.tolist()) for gap in gaps] == [
        ("never filled", list(range(30)), [])
    ]
    assert np.isnan(gaps[0].p_value)
    assert gaps[0].demand == 0.1
    assert find_gaps(*synthetic(apart=0), Settings()) == ([], None)


def test_all_wishes_alike():
    found, items, counts = synthetic()
    same = np.repeat(found.wanted[:1, :1], 300, axis=0).repeat(4, axis=1)
    gap = np.full((300, 4), 0.2)
    alike = Survey(same, found.demand, np.zeros((300, 4), np.int64), gap, np.arange(10, 300), gap)
    gaps, _ = find_gaps(alike, items, counts, Settings())
    assert {gap.kind for gap in gaps} <= {"withdrawn"}


def test_most_of_a_large_catalogue_missing(monkeypatch):
    monkeypatch.setattr("recgan.gaps.holes.PAIRS", 500)
    found, items, counts = synthetic()
    kept = np.sort(np.random.default_rng(3).permutation(300)[:60])
    assert withdrawal_test(offering(found, kept), items, counts, Settings(0.05, 99)).min() > 0.05
    kept = np.arange(30, 300)
    p_values = withdrawal_test(offering(found, kept), items, counts, Settings(0.05, 99))
    assert (p_values < 1.0).sum() <= 500 // 30
    assert p_values.min() == 0.01


def test_only_so_many_users_are_asked(model, monkeypatch):
    monkeypatch.setattr("recgan.generative.MOST_ASKED", 90)
    found = model.gaps(items=without(*range(0, N_ITEMS, N_GROUPS)))
    assert found.attrs["n_users"] == 90


def test_unlike_starts_with_the_middle_and_never_repeats():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((20, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = unlike(vectors, 20)
    assert sorted(order.tolist()) == list(range(20))
    assert order[0] == int((vectors @ vectors.mean(axis=0)).argmax())
    assert unlike(np.repeat(vectors[:1], 6, axis=0), 3).tolist() == [0, 1, 2]
    assert unlike(vectors[:0], 3).tolist() == []

"""Pair features: what the second stage reads of a user and a candidate."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import recgan
from recgan import features
from recgan.config import Config
from recgan.features import (
    COMPARED,
    FEATURES,
    ItemTraits,
    category_flags,
    category_matrix,
    likeness_space,
    pair_features,
    user_profiles,
    year_scale,
    years_on,
)
from recgan.histories import Histories
from recgan.splits import Holdout
from recgan.training.data import read_data


def test_features_that_nobody_has_are_nought():
    """numpy's einsum over no column at all may read what lies in memory behind its operands."""
    behind = np.full(100, np.nan, np.float32)
    for users, items in itertools.product(itertools.product((0, 4), repeat=2), itertools.product((0, 4), repeat=3)):
        empty = as_strided(behind, (3, 0), users), as_strided(behind, (3, 5, 0), items)
        assert (features._products(*empty) == np.zeros((3, 5), np.float32)).all()


def test_products_are_those_of_each_pair():
    random = np.random.default_rng(0)
    users, items = random.normal(size=(3, 4)), random.normal(size=(3, 5, 4))
    expected = [[user @ item for item in row] for user, row in zip(users, items, strict=True)]
    np.testing.assert_allclose(features._products(users, items), expected)


def test_features_of_known_pairs():
    histories = Histories(np.array([0, 2, 2]), np.array([0, 1]), 3)
    items = pd.DataFrame({"categories": ["a", "a|b", "b"], "year": [1990, 1992, 2000]})
    vectors = np.eye(3, dtype=np.float32)
    profiles = np.zeros((2, 0), np.float32)
    traits = ItemTraits.of(histories, items, category_matrix(items)[0], vectors, profiles)
    found = pair_features(traits, histories, profiles, np.array([[1, 2], [1, 2]]))
    assert found.shape == (2, 2, len(FEATURES))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0, :, 5:8], [[1.0, 0.5, 1.0], [0.0, 0.0, 0.0]])  # nearest, mean, newest
    np.testing.assert_array_equal(found[1, :, 5:10], 0.0)  # nothing is like no history
    assert (found[0, 0, 8:10] > found[0, 1, 8:10]).all()  # two of a, one of b


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def told(traits: ItemTraits, history: np.ndarray, profile: np.ndarray, item: int) -> dict[str, float]:
    """The features of one pair, by their names."""
    had, newest = np.unique(history), history[-COMPARED:]
    likeness = traits.vectors[newest] @ traits.vectors[item]
    mean = {name: getattr(traits, name)[had].sum(axis=0) / max(1, len(history)) for name in ("popularity", "year")}
    taste = traits.categories[had].sum(axis=0) / max(1, len(history))
    apart = traits.popularity[item] - mean["popularity"], traits.year[item] - mean["year"] * (traits.year[item] != 0)
    values = [traits.popularity[item], apart[0], abs(apart[0]), traits.trend[item], np.log(1 + len(history))]
    values += [likeness.max(), likeness.mean(), likeness[-1]] if len(history) else [0.0] * 3
    values += [unit(taste) @ traits.categories[item], taste @ traits.categories[item], apart[1], abs(apart[1])]
    return dict(zip(FEATURES, [*values, profile @ traits.audience[item]], strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([0, 3]), st.sampled_from([0, 2]))
def test_pair_features_are_those_of_every_pair_alone(seed, n_users, n_categories, n_profiles):
    random, n_items = np.random.default_rng(seed), 230
    year = random.normal(size=n_items) * (random.random(n_items) < 0.7)
    arrays = [random.normal(size=n_items), random.normal(size=n_items)]
    categories = unit(random.random((n_items, n_categories)) * (random.random((n_items, n_categories)) < 0.5))
    rest = [categories, year, random.normal(size=(n_items, n_profiles)), unit(random.normal(size=(n_items, 4)))]
    traits = ItemTraits(*(array.astype(np.float32) for array in arrays + rest))
    lists = [random.permutation(n_items)[: random.choice([0, 1, 9, 199, 200, 201, 230])] for _ in range(n_users)]
    profiles = random.normal(size=(n_users, n_profiles)).astype(np.float32)
    candidates = np.stack([random.permutation(n_items)[:4] for _ in lists])
    found = pair_features(traits, Histories.from_lists(lists, n_items), profiles, candidates)
    assert found.dtype == np.float32
    for user, row in enumerate(candidates):
        for place, item in enumerate(row):
            wanted = told(traits, lists[user], profiles[user], item)
            np.testing.assert_allclose(found[user, place], list(wanted.values()), atol=2e-5)


def histories_of(lists, **others) -> Histories:
    return Histories(np.cumsum([0, *map(len, lists)]), np.concatenate(lists), 4, **others)


def test_popularity_and_trend_are_standardised_logs_of_counts():
    lists = [np.array([0, 1, 2]), np.array([0, 1]), np.array([0, 3, 0, 0, 1])]
    times = np.array([1.0, 2.0, 9.0, 3.0, 4.0, 5.0, 8.0, 6.0, 7.0, 0.0])
    counts, recent = np.log([6, 4, 2, 2]), np.log([1, 1, 2, 1])  # the newest tenth is one row, of item 2
    for clock in (True, False):
        histories = histories_of(lists, times=times, clock=clock)
        nothing = np.zeros((3, 0), np.float32)
        traits = ItemTraits.of(histories, pd.DataFrame(index=range(4)), nothing, nothing, nothing)
        popularity = (counts - counts.mean()) / counts.std()
        np.testing.assert_allclose(traits.popularity, popularity, rtol=1e-6)
        trend = (recent - recent.mean()) / recent.std() - popularity
        np.testing.assert_allclose(traits.trend, trend if clock else np.zeros(4), rtol=1e-6)
        assert traits.audience.shape == (4, 0)
        assert traits.year.tolist() == [0.0] * 4


def test_trend_is_nought_without_times_and_items_alike_are_all_usual():
    histories = histories_of([np.arange(4), np.arange(4)])
    nothing = np.zeros((2, 0), np.float32)
    traits = ItemTraits.of(histories, pd.DataFrame(index=range(4)), nothing, nothing, nothing)
    assert traits.trend.tolist() == traits.popularity.tolist() == [0.0] * 4


def test_the_audience_of_an_item_is_the_shrunk_mean_of_its_users():
    profiles = np.array([[1.0, 5.0], [3.0, -5.0]], np.float32)
    nothing = np.zeros((4, 0), np.float32)
    histories = histories_of([np.array([0, 1]), np.array([1, 2])])
    traits = ItemTraits.of(histories, pd.DataFrame(index=range(4)), nothing, nothing, profiles)
    sums, counts = np.array([[1, 5], [4, 0], [3, -5], [0, 0]]), np.array([[1], [2], [1], [0]])
    shrunk = sums / (counts + 20.0)
    np.testing.assert_allclose(traits.audience, shrunk - shrunk.mean(axis=0), rtol=1e-6)


def test_rarer_categories_weigh_more():
    items = pd.DataFrame({"categories": ["a|b", "a", None, "a|c||"]})
    matrix, names = category_matrix(items)
    weights = np.log(4 / np.array([3.0, 1.0, 1.0]) + 1.0)
    flags = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]])
    assert names == ["a", "b", "c"]
    np.testing.assert_allclose(matrix, unit(flags * weights), rtol=1e-6)
    assert category_flags(items).to_numpy().tolist() == flags.tolist()
    without, none = category_matrix(items[[]])
    assert (without.shape, none) == ((4, 0), [])


def test_items_are_alike_by_taste_and_by_category():
    vectors, categories = np.array([[0.6, 0.8], [1.0, 0.0]], np.float32), np.array([[0.0], [1.0]], np.float32)
    wanted = [[0.6, 0.8, 0.0], [0.5**0.5, 0.0, 0.5**0.5]]
    np.testing.assert_allclose(likeness_space(vectors, categories), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("years", "scale"),
    [([1990, 2000, None], (1995.0, 5.0)), ([1990, 1990, "?"], (1990.0, 1.0)), ([None, None, "?"], (0.0, 1.0))],
)
def test_years_are_standardised_over_those_that_are_known(years, scale):
    items = pd.DataFrame({"year": years})
    assert year_scale(items) == scale
    known = pd.to_numeric(items["year"], errors="coerce")
    assert years_on(items, *scale).tolist() == ((known - scale[0]) / scale[1]).fillna(0.0).tolist()
    assert year_scale(items[[]]) == (0.0, 1.0)


TABLE = {
    "numbers": [1.0, 2.0, 6.0, 100.0],
    "whole": pd.array([1, 2, None, 50], dtype="Int64"),
    "flag": pd.array([True, False, None, True], dtype="boolean"),
    "endless": [1.0, np.inf, 3.0, 9.0],
    "text": ["x", None, "y", "z"],
    "lists": [["p"], ["q"], ["p"], ["p"]],
    "unknown": [None, np.nan, None, 3.0],
    "same": ["s", "s", "s", "t"],
}
STANDARD = {
    "numbers": [[-2 / 14**0.5 * 3**0.5, -1 / 14**0.5 * 3**0.5, 3 / 14**0.5 * 3**0.5]],
    "whole": [[-1.0, 1.0, 0.0]],
    "flag": [[1.0, -1.0, 0.0]],
    "endless": [[-1.0, 0.0, 1.0]],
    "text": [[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]],
    "lists": [[0.5**0.5, -(2.0**0.5), 0.5**0.5], [-(0.5**0.5), 2.0**0.5, -(0.5**0.5)]],
    "unknown": [[0.0, 0.0, 0.0]],
    "same": [],
}


@pytest.mark.parametrize("name", TABLE)
def test_profiles_are_standardised_over_the_users_of_the_training(name):
    """User 4 is in the table alone, 5 among the users alone: nothing of them moves the others."""
    table = pd.DataFrame({"user_id": [1, 2, 3, 4], name: TABLE[name]}).iloc[[2, 0, 3, 1]]
    found = user_profiles(table, pd.Series([1, 2, 3, 5]))
    np.testing.assert_allclose(found, np.reshape([[*row, 0.0] for row in STANDARD[name]], (-1, 4)).T, atol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("asked", [[3], [2, 1], [9, 1], []])
def test_profiles_of_some_users_are_those_that_they_have_among_all(name, asked):
    table = pd.DataFrame({"user_id": [1, 2, 3, 4], name: TABLE[name]})
    ids = pd.Series([1, 2, 3, 9])
    rows = [ids.tolist().index(one) for one in asked]
    some = user_profiles(table, ids, pd.Series(asked, dtype=np.int64))
    np.testing.assert_array_equal(some, user_profiles(table, ids)[rows])


def test_a_number_that_all_users_of_the_training_have_tells_nothing_of_the_others():
    table = pd.DataFrame({"user_id": np.arange(102), "price": [0.1] * 100 + [0.2, 0.1]})
    found = user_profiles(table, table["user_id"][:100], pd.Series([100, 101]))
    np.testing.assert_allclose(found, [[0.1], [0.0]], atol=1e-6)


@pytest.mark.parametrize(("n_values", "n_columns"), [(1, 0), (2, 2), (50, 50), (51, 0)])
def test_texts_with_few_values_are_columns(n_values, n_columns):
    ids = pd.Series(np.arange(102))
    table = pd.DataFrame({"user_id": ids, "text": [f"v{user % n_values:02}" for user in ids]})
    found = user_profiles(table, ids)
    assert found.shape == (102, n_columns)
    assert not n_columns or (found.argmax(axis=1) == ids % n_values).all()


def test_without_a_table_nobody_has_a_profile():
    ids = pd.Series([1, 2])
    assert user_profiles(None, ids).shape == (2, 0)
    assert user_profiles(None, ids, pd.Series([7])).shape == (1, 0)
    assert user_profiles(pd.DataFrame({"user_id": [1]}), ids).shape == (2, 0)


def test_validation_users_are_described_on_the_scale_of_the_training(interactions, small_config):
    """Those of the caller's holdout have one value of a text and no number: no column of their own, and no NaN."""
    users = pd.DataFrame({"user_id": sorted(set(interactions.user_id))})
    users = users.assign(text=np.where(users.user_id < 40, "x", "y"), age=np.where(users.user_id < 40, np.nan, 3.0))
    some, rest = interactions[interactions.user_id < 40], interactions[interactions.user_id >= 30]
    holdout = Holdout(some[some.item_id % 3 > 0], some[some.item_id % 3 == 0])
    data = read_data(rest, None, users, holdout, small_config)
    assert data.profiles.shape == (len(set(rest.user_id)), 3)
    found = data.validation.query.profiles
    assert found.shape == (40, 3)
    np.testing.assert_array_equal(found, np.broadcast_to(data.profiles[0], (40, 3)))  # of user 30, who is in both


def test_a_flag_stays_content_where_an_item_is_not_described(interactions, small_config):
    items = pd.DataFrame({"item_id": range(59), "premium": [number % 2 == 0 for number in range(59)]})
    model = recgan.train(interactions, items, config=small_config.changed(epochs=1, game_steps=0))
    assert model.item_table["premium"].tolist()[:58] == [1.0, 0.0] * 29
    assert model.item_table["premium"].isna().sum() == 1
    added = model.add_items(pd.DataFrame({"item_id": [1000], "premium": [True]}))
    assert added.recommend(0, n=60, filter_seen=False)["item_id"].isin([1000]).any()


def test_described_items_are_found_by_their_number_however_large_the_ids_are():
    """Beside 2^53 neighbours are one float; tables of unsigned and signed ids are not merged by floats."""
    ids = 9_007_199_254_740_993 + np.array([-1, 0, 2])
    frame = pd.DataFrame({"user_id": [1, 2, 1], "item_id": ids.astype(np.uint64)})
    items = pd.DataFrame({"item_id": np.append(ids[[1, 0]], 7), "title": ["b", "a", "new"]})
    data = read_data(pd.concat([frame, frame.assign(user_id=3)]), items, None, None, Config())
    assert data.item_table["item_id"].tolist() == ids.tolist()
    assert data.item_table["title"].tolist()[:2] == ["a", "b"]
    assert pd.isna(data.item_table["title"][2])
    assert data.others["title"].tolist() == ["new"]

"""Stated preferences: how they are read, what they change, and that the encoder learns what categories mean."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import planted

import recgan
from recgan.errors import ConfigError, DataError
from recgan.histories import Histories
from recgan.networks import PreferenceEncoder
from recgan.preferences import Preferences, of_users
from recgan.training import preferences
from recgan.training.preferences import draw, fit_preferences, some_of, typical

N_ITEMS, N_GROUPS = 60, 4
ITEMS = pd.DataFrame({"item_id": range(N_ITEMS), "categories": [f"group {item % N_GROUPS}" for item in range(N_ITEMS)]})
"""Users of the planted data like items of one group, and a group is a category."""


@pytest.fixture(scope="module")
def model(small_config):
    return recgan.train(planted(200, N_ITEMS, N_GROUPS, noise=0.1, seed=0), ITEMS, config=small_config)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


# --- what may be stated ---


def test_an_id_of_the_other_type_that_is_to_be_avoided_is_refused(small_config):
    frame = planted(40, N_ITEMS, N_GROUPS, noise=0.1, seed=0)
    model = recgan.train(frame.assign(item_id=frame["item_id"].astype(str)), config=small_config.changed(epochs=0))
    with pytest.raises(DataError, match="avoid: 21 is neither a category nor an item"):
        model.recommend(0, preferences={"avoid": [21]})
    assert "21" not in model.recommend(0, N_ITEMS, preferences={"avoid": ["21"]})["item_id"].tolist()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"category": ["group 1"]}, "category"),
        ({"categories": "group 1"}, "a list"),
        ({"categories": [3]}, "categories"),
        ({"items": 3}, "a list"),
        ({"avoid": [1.5]}, "avoid"),
        (["group 1"], "a dictionary"),
        ({0: ["group 1"]}, "no key"),
    ],
)
def test_what_are_no_preferences(model, bad, told):
    with pytest.raises(ConfigError, match=told):
        model.recommend(0, preferences=bad)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"categories": ["grop 1"]}, "did you mean 'group 1'"),
        ({"avoid": ["grop 1"]}, "neither a category nor an item"),
        ({"items": ["5"]}, "another type"),
    ],
)
def test_what_the_catalogue_does_not_know(model, bad, told):
    with pytest.raises(DataError, match=told):
        model.recommend(0, preferences=bad)


def test_items_outside_the_catalogue_are_ignored_with_a_warning(model):
    with pytest.warns(UserWarning, match="12345"):
        lists = model.recommend(preferences={"items": [12345, 3]}, n=5)
    same(lists, model.recommend(preferences={"items": [3]}, n=5))
    same(model.recommend(0, preferences={"avoid": [12345]}), model.recommend(0))


def test_the_same_for_all_or_for_each():
    drama = {"categories": ["Drama"]}
    assert of_users(drama, [1, 2]) == [Preferences.of(drama)] * 2
    assert of_users({2: drama}, [1, 2]) == [Preferences(), Preferences.of(drama)]
    assert of_users({}, [1]) == [Preferences()]


# --- what they do ---


def test_nothing_stated_changes_nothing(model):
    same(model.recommend_batch(preferences={}), model.recommend_batch())
    unknown = model.recommend_batch([999, 0], preferences={0: {"categories": ["group 1"]}})
    assert unknown.attrs["fallback_users"] == [999]


def test_avoided_items_and_categories_are_not_listed(model):
    lists = model.recommend_batch(n=N_ITEMS, preferences={"avoid": ["group 1", 2]})
    assert not (lists["item_id"] % N_GROUPS == 1).any()
    assert not (lists["item_id"] == 2).any()
    rest = model.recommend_batch(n=N_ITEMS)
    kept = rest[(rest["item_id"] % N_GROUPS != 1) & (rest["item_id"] != 2)]
    same(lists[["user_id", "item_id"]], kept[["user_id", "item_id"]])


def test_liked_items_are_the_newest_of_the_history(model):
    own = model.recommend(history=[4, 8, 12], n=8)
    same(model.recommend(history=[4, 8], preferences={"items": [12]}, n=8), own)
    same(model.recommend(history=[4, 8, 12], preferences={"items": [8]}, n=8), own)


def test_preferences_alone_are_enough(model):
    lists = model.recommend(preferences={"categories": ["group 2"]}, n=5)
    assert len(lists) == 5
    assert lists.attrs["fallback_users"] == []
    with pytest.raises(ConfigError, match="preferences"):
        model.recommend()


def test_a_batch_is_many_single_ones(model):
    stated = {0: {"categories": ["group 2"]}, 1: {"items": [9], "avoid": [5]}, 999: {"categories": ["group 0"]}}
    batch = model.recommend_batch([0, 1, 2, 999], preferences=stated, n=6)
    single = [model.recommend(user, preferences=stated.get(user), n=6) for user in (0, 1, 2, 999)]
    same(batch[["user_id", "item_id", "rank"]], pd.concat(single)[["user_id", "item_id", "rank"]])
    skipped = model.recommend_batch([998, 0, 999], preferences=stated, n=6, on_unknown="skip")
    assert skipped["user_id"].unique().tolist() == [0, 999]


@pytest.mark.parametrize("group", range(N_GROUPS))
def test_stated_categories_are_what_a_stranger_gets(model, group):
    plain = model.recommend(history=[], n=10)
    stated = model.recommend(preferences={"categories": [f"group {group}"]}, n=10)
    shares = [(lists["item_id"] % N_GROUPS == group).mean() for lists in (plain, stated)]
    assert shares[1] >= 0.9
    assert shares[0] < shares[1]


def test_a_loaded_model_listens_as_the_saved_one(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    stated = {"categories": ["group 3"], "avoid": ["group 0"]}
    same(loaded.recommend_batch(preferences=stated), model.recommend_batch(preferences=stated))


def test_a_model_without_categories_says_so(interactions, small_config):
    plain = recgan.train(interactions, config=small_config.changed(epochs=1, game_steps=0))
    with pytest.raises(DataError, match="knows no categories"):
        plain.recommend(0, preferences={"categories": ["Drama"]})
    assert 7 not in plain.recommend(0, n=60, preferences={"avoid": [7]})["item_id"].tolist()


def test_a_model_that_has_not_learned_categories_says_so(model):
    older = recgan.Recommender(**{**vars_of(model), "blocks": without_preferences(model)})
    with pytest.raises(ConfigError, match="train it anew"):
        older.recommend(0, preferences={"categories": ["group 1"]})


def vars_of(model):
    names = ("users", "items", "histories", "profiles", "item_table", "blocks", "judge", "config", "report")
    return {name: getattr(model, f"_{name}") for name in names}


def without_preferences(model):
    from dataclasses import replace

    return replace(model._blocks, preferences=None)


def test_classics_take_items_and_avoid_them(interactions):
    rival = recgan.baselines.EASE().fit(interactions)
    same(rival.recommend(history=[4], preferences={"items": [8]}), rival.recommend(history=[4, 8]))
    assert 7 not in rival.recommend(0, n=60, preferences={"avoid": [7]})["item_id"].tolist()
    with pytest.raises(DataError, match="knows no categories"):
        rival.recommend(0, preferences={"categories": ["Drama"]})


# --- how they are learned ---


def histories_of(lists: list[list[int]]) -> Histories:
    return Histories.from_lists([np.array(one, np.int64) for one in lists], N_ITEMS)


FLAGS = np.eye(N_GROUPS, dtype=np.float32)[np.arange(N_ITEMS) % N_GROUPS]


@given(st.lists(st.lists(st.integers(0, N_ITEMS - 1), min_size=4, max_size=30, unique=True), min_size=1, max_size=8))
@settings(max_examples=50)
def test_what_is_kept_stated_and_wanted_are_parts_of_a_history(lists):
    histories = histories_of(lists)
    sample = draw(histories, FLAGS, np.random.default_rng(0))
    for user, own in enumerate(lists):
        kept, wanted = sample.histories.of(user).tolist(), sample.targets[user][sample.mask[user]].tolist()
        assert set(kept) <= set(own)
        assert wanted
        assert set(wanted) <= set(own) - set(kept)
        groups = {item % N_GROUPS for item in set(own) - set(kept) - set(wanted)}
        assert set(np.flatnonzero(sample.stated[user]).tolist()) <= groups


def test_typical_categories_are_those_that_others_have_less_of():
    everybody = [0, 4, 8]  # group 0
    histories = histories_of([[*everybody, 1, 5], [*everybody, 2, 6], [*everybody, 3, 7]])
    assert typical(histories, FLAGS, 1).tolist() == np.eye(N_GROUPS, dtype=bool)[1:].tolist()


def test_some_are_stated_of_those_that_are_typical():
    flags = np.random.default_rng(0).random((500, 9)) < 0.5
    chosen = some_of(flags, np.random.default_rng(1))
    assert not (chosen.astype(bool) & ~flags).any()
    assert set(chosen.sum(1)[flags.sum(1) >= 3].tolist()) == {1.0, 2.0, 3.0}


def test_the_encoder_begins_at_nothing_and_listens_to_what_is_stated():
    torch.manual_seed(0)
    encoder = PreferenceEncoder(5, 7, 11)
    condition, stated = torch.randn(3, 7), torch.eye(5)[:3]
    lengths = torch.tensor([0, 1, 100])
    torch.testing.assert_close(encoder(condition, stated, lengths), condition, rtol=0, atol=0)
    encoder(condition, stated, lengths).square().sum().backward()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1)
    stated[2] = 0.0
    moved = encoder(condition, stated, lengths)
    assert torch.equal(moved[2], condition[2])
    assert not torch.equal(moved[0], condition[0])
    encoder.zero_grad()
    moved.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_nothing_is_learned_from_nothing(model):
    blocks, histories = model._blocks, model._histories
    assert fit_preferences(blocks, histories, np.zeros((N_ITEMS, 0), np.float32), 0) is None
    assert fit_preferences(blocks, histories_of([[1, 2, 3]]), FLAGS, 0) is None


def test_the_same_seed_learns_the_same(model):
    states = [fit_preferences(model._blocks, model._histories, FLAGS, 5).state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_stated_category_is_a_reason(model):
    lists = model.recommend(preferences={"categories": ["group 2"]}, n=20, explain=True)
    liked = lists["item_id"] % N_GROUPS == 2
    assert set(lists["reason"][liked]) == {"You said that you like group 2"}
    assert not lists["reason"][~liked].str.contains("You said").any()
    shown = model.recommend(history=[4, 8], preferences={"categories": ["group 2"]}, explain=True)
    assert not shown["reason"].str.contains("You said").any()


def test_a_sample_of_everything_is_the_whole_catalogue(model, monkeypatch):
    blocks, histories = model._blocks, model._histories
    drawn = draw(histories.take(np.arange(20)), FLAGS, np.random.default_rng(0))
    first = dataclasses.replace(drawn, targets=drawn.targets[:, :1], mask=drawn.mask[:, :1])
    vectors = blocks.generator.item_vectors()
    encoder = PreferenceEncoder(FLAGS.shape[1], blocks.generator.mean.in_features, 8)
    whole = preferences._loss(blocks, encoder, first, vectors)
    monkeypatch.setattr(preferences, "WHOLE", 0)
    monkeypatch.setattr(torch, "randint", lambda n_items, size: torch.arange(n_items))
    torch.testing.assert_close(preferences._loss(blocks, encoder, first, vectors), whole)

"""New events in a trained model: what is exact, what stays, what is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted import planted

import recgan
from recgan import linear
from recgan.errors import ArtifactError, ConfigError, DataError
from recgan.histories import Histories, Strength
from recgan.opening import opening
from recgan.training.closed import refits
from recgan.training.module import ConditionalGAN
from recgan.training.updating import _Known, _rows
from recgan.vocabulary import Vocabulary


def parts(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What comes before an update and after it: new rows of known users, and two users who are new."""
    later = np.random.default_rng(5).random(len(frame)) < 0.2
    new = frame["user_id"].isin([3, 7])
    return frame[~later & ~new], frame[later | new]


@pytest.fixture(scope="module")
def frame():
    return planted(n_users=80, n_items=40, n_groups=4, noise=0.1, seed=0)


@pytest.fixture(scope="module")
def old(frame, small_config):
    return recgan.train(parts(frame)[0], config=small_config.changed(epochs=4, game_steps=0))


@pytest.fixture(scope="module")
def new(frame, old):
    return recgan.update(old, parts(frame)[1])


def test_closed_forms_are_those_of_all_events(frame, old, new):
    both = pd.concat(parts(frame))
    histories = Histories.from_frame(both, Vocabulary(new.users, "user_id"), Vocabulary(new.items, "item_id"))
    np.testing.assert_array_equal(new._histories.items, histories.items)
    np.testing.assert_array_equal(new._histories.offsets, histories.offsets)
    fits = refits(old.info(), old.info()["config"]["seed"])
    np.testing.assert_array_equal(new._blocks.popularity, fits["popularity"](histories))
    first = opening(histories, new._blocks.popularity, old.info()["half_life"])
    np.testing.assert_array_equal(new._blocks.opening, first)
    weights = old.info()["weights"]
    assert any(weights[name] for name in ("dense", "factors", "sparse"))
    for name in ("dense", "factors"):
        if weights[name]:
            np.testing.assert_array_equal(getattr(new._blocks, name).columns, fits[name](histories).columns)
    if weights["sparse"]:
        assert (new._blocks.sparse.rows != fits["sparse"](histories).rows).nnz == 0
    np.testing.assert_array_equal(new._judge.traits.popularity.argsort()[-1:], histories.counts().argsort()[-1:])


def test_the_settings_of_training_are_found_again(frame, old):
    """Where nothing is new, the refitted blocks are those that training made."""
    first = parts(frame)[0]
    again = recgan.update(old, first)
    pd.testing.assert_frame_equal(again.recommend_batch(n=8), old.recommend_batch(n=8), rtol=1e-4)


def test_the_low_pass_filter_of_large_catalogues_is_found_again(old):
    """A report with a rank instead of a regularisation is of such a filter, not of EASE."""
    report = {name: value for name, value in old.info().items() if name not in ("regularisation", "user_power")}
    for powers in ({}, {"user_power": 0.3, "item_power": 0.1}):  # models of before have none
        found = refits({**report, "rank": 3, **powers}, 0)["dense"](old._histories)
        wanted = linear.low_pass(old._histories, rank=3, seed=0, **(powers or {"user_power": 0.5, "item_power": 0.5}))
        np.testing.assert_array_equal(found.columns, wanted.columns)
        assert found.columns.shape[1] == 3


def test_the_filter_of_models_of_before_is_the_plain_one(old):
    report = {name: value for name, value in old.info().items() if name not in ("user_power", "growth")}
    assert {"user_power", "growth"} <= old.info().keys()
    found = refits(report, 0)["dense"](old._histories)
    wanted = linear.ease(linear.spectrum(old._histories), report["regularisation"])
    np.testing.assert_array_equal(found.columns, wanted.columns)


def test_a_search_is_built_anew_with_what_it_was_asked_for(frame, old):
    searching = old.with_search("ivf", 0.8, 90.0)
    newer = recgan.update(searching, parts(frame)[1])
    near = newer._ranker.near
    assert (near.asked.kind, near.asked.recall, near.asked.memory) == ("ivf", 0.8, 90.0)
    assert newer.info()["search"]["recall"] >= 0.8
    exact = recgan.update(old, parts(frame)[1])
    assert "search" not in exact.info()
    columns = exact._blocks.columns
    found = near.index.search(columns, 1, near.index.most)[0][:, 0]
    np.testing.assert_allclose(found, (columns @ columns.T).max(axis=1), rtol=1e-4)  # of the new vectors


def test_ctrl_c_while_fine_tuning_leaves_the_generator(frame, old, new, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ConditionalGAN, "training_step", interrupted)
    with pytest.warns(UserWarning, match="fine-tuning was interrupted: the generator is what it was"):
        found = recgan.update(old, parts(frame)[1], fine_tune=True)
    assert found.item_vectors().equals(old.item_vectors())
    assert found.recommend_batch(n=5).equals(new.recommend_batch(n=5))


def test_new_users_are_known_and_nothing_seen_is_listed(frame, old, new):
    assert set(new.users) == set(frame["user_id"])
    assert new.users.tolist()[: len(old.users)] == old.users.tolist()
    lists = new.recommend_batch(n=40, on_unknown="raise")
    assert lists.merge(frame, on=["user_id", "item_id"]).empty
    own = new.recommend(3, 3)["item_id"] % 4 == 3 % 4
    assert own.mean() > 0.6
    assert new.info()["updates"] == [{"interactions": len(parts(frame)[1]), "new_users": 2, "fine_tuned": False}]
    assert new.info()["data"]["users"] == 80


def test_the_old_model_stays_and_the_generator_with_it(frame, old, new):
    before = old.recommend_batch(n=5)
    tuned = recgan.update(old, parts(frame)[1], fine_tune=True)
    assert old.recommend_batch(n=5).equals(before)
    assert "updates" not in old.info()
    assert new.item_vectors().equals(old.item_vectors())
    assert not tuned.item_vectors().equals(old.item_vectors())
    assert tuned.info()["updates"][0]["fine_tuned"] is True


def test_an_updated_model_can_be_saved_and_updated_again(frame, new, tmp_path):
    new.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    assert loaded.recommend_batch(n=5).equals(new.recommend_batch(n=5))
    more = pd.DataFrame({"user_id": [99, 3], "item_id": [7, 8]})
    third, fourth = (recgan.update(one, more) for one in (new, loaded))
    assert third.recommend_batch(n=5).equals(fourth.recommend_batch(n=5))
    assert [one["new_users"] for one in third.info()["updates"]] == [2, 1]


def test_events_find_their_place_in_time(small_config):
    frame = planted(30, 20, 2, 0.0, 0, ordered=True)
    model = recgan.train(frame, config=small_config.changed(epochs=1, game_steps=0))
    own = model._histories.of(0)
    times = frame.loc[frame["user_id"] == 0].set_index("item_id")["timestamp"]
    again, late = int(own[0]), int(np.setdiff1d(np.arange(20), own)[0])
    rows = pd.DataFrame({"user_id": 0, "item_id": [again, late], "timestamp": [times.max() + 9, times.min() - 9]})
    changed = recgan.update(model, rows)._histories
    assert changed.of(0).tolist() == [late, *own[1:].tolist(), again]
    assert changed.clock
    with pytest.raises(DataError, match="'timestamp' missing"):
        recgan.update(model, rows.drop(columns="timestamp"))


def test_without_a_clock_new_events_come_last(small_config):
    frame = planted(30, 20, 2, 0.0, 0, ordered=True).rename(columns={"timestamp": "position"})
    model = recgan.train(frame, config=small_config.changed(epochs=1, game_steps=0))
    own = model._histories.of(0)
    others = np.setdiff1d(np.arange(20), own)[:2].tolist()
    rows = pd.DataFrame({"user_id": [0, 0], "item_id": others, "position": [2, 1]})
    assert recgan.update(model, rows)._histories.of(0).tolist() == [*own.tolist(), *others[::-1]]
    last = recgan.update(model, rows.drop(columns="position"))._histories
    assert last.of(0).tolist() == [*own.tolist(), *others]


def test_likes_become_dislikes_and_back(old):
    user, item = int(old.users[0]), int(old.items[old._histories.of(0)[0]])
    change = pd.DataFrame({"user_id": [user], "item_id": [item], "weight": [-1.0]})
    disliking = recgan.update(old, change)
    assert item not in disliking._histories.of(0)
    assert item not in set(disliking.recommend(user, 40, filter_seen=False)["item_id"])
    liking = recgan.update(disliking, change.assign(weight=1.0))
    assert item in liking._histories.of(0)
    assert liking._disliked is None


def test_weights_are_read_by_the_rule_of_the_training(small_config):
    own = planted(60, 40, 4, 0.0, 0).assign(weight=9.0)
    other = planted(60, 40, 4, 0.0, 1).assign(user_id=lambda frame: (frame["user_id"] + 1) % 60, weight=1.0)
    both = pd.concat([own, other]).drop_duplicates(["user_id", "item_id"], ignore_index=True)
    model = recgan.train(both, config=small_config.changed(epochs=1, game_steps=0))
    rule = model._blocks.strength
    assert rule.power > 0
    rows = pd.DataFrame({"user_id": [200, 200], "item_id": [3, 7], "weight": [9.0, 1.0]})
    weights = recgan.update(model, rows)._histories.weights
    np.testing.assert_allclose(weights[-2:], (np.array([9.0, 1.0]) / rule.mean) ** rule.power, rtol=1e-5)
    np.testing.assert_array_equal(weights[:-2], model._histories.weights)
    assert recgan.update(model, rows.drop(columns="weight"))._histories.weights[-2:].tolist() == [1.0, 1.0]


def test_what_cannot_be_updated(frame, old):
    with pytest.warns(UserWarning, match=r"1 of 2 rows have one of 1 items .* such as 777; they are left out"):
        some = recgan.update(old, pd.DataFrame({"user_id": [1, 1], "item_id": [777, 2]}))
    assert 777 not in set(some.items)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recgan.update(old, pd.DataFrame({"user_id": [1], "item_id": [2]}))
    with pytest.raises(DataError, match="knows none of the items"):
        recgan.update(old, pd.DataFrame({"user_id": [1], "item_id": [777]}))
    with pytest.raises(DataError, match="user_id holds ids such as 'a', the model knows ids such as 0"):
        recgan.update(old, pd.DataFrame({"user_id": ["a"], "item_id": [2]}))
    with pytest.raises(ConfigError, match="a Recommender, not str"):
        recgan.update("model", frame)
    nameless = recgan.update(old, frame)
    del nameless._report["factors_settings"]
    with pytest.raises(ArtifactError, match=r"how its closed forms were fitted .*factors_settings"):
        recgan.update(nameless, frame)


@pytest.mark.parametrize("lists", [[], [[2, 1]]])
def test_new_positions_stand_behind_all_that_are_there_also_where_nobody_is_left(lists):
    places = np.concatenate([np.empty(0), *map(np.arange, map(len, lists))])
    histories = Histories.from_lists([np.array(one) for one in lists], 4)
    histories = replace(histories, times=places)
    users, items = Vocabulary(np.arange(len(lists)), "user_id"), Vocabulary(np.arange(4), "item_id")
    known = _Known(users, items, _rows(histories, 1), histories, Strength())
    came = pd.DataFrame({"user_id": [9, 0, 9, 9], "item_id": [1, 3, 0, 2], "position": [5, 2, 7, 6]})
    users, found, _ = known.joined(came)
    numbers = users.numbers(pd.Series([9, 0]))
    assert [found.of(user).tolist() for user in numbers] == [[1, 2, 0], [*(lists[0] if lists else []), 3]]
    assert np.sort(found.times).tolist() == ([0.0, 1.0, 3.0, 4.0, 5.0, 6.0] if lists else [1.0, 2.0, 3.0, 4.0])

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import recgan
from recgan.errors import ConfigError, DataError, UnknownItemError, UnknownUserError


def ids(frame: pd.DataFrame) -> list:
    return frame["item_id"].tolist()


def test_the_frame(model, interactions):
    lists = model.recommend_batch(n=7)
    assert lists.columns.tolist() == ["user_id", "item_id", "rank", "score"]
    assert lists.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64"]
    assert lists.groupby("user_id")["rank"].apply(list).map(lambda r: r == list(range(1, 8))).all()
    assert lists["user_id"].drop_duplicates().tolist() == model.users.tolist()
    assert (lists.groupby("user_id")["score"].diff().dropna() <= 1e-9).all()
    assert np.isfinite(lists["score"]).all()
    seen = set(zip(interactions["user_id"], interactions["item_id"], strict=True))
    assert not seen & set(zip(lists["user_id"], lists["item_id"], strict=True))


def test_one_is_the_same_as_many(model):
    many = model.recommend_batch(n=9)
    for user in model.users[:20]:
        one = model.recommend(user, 9)
        two = many[many["user_id"] == user].reset_index(drop=True)
        assert ids(one) == ids(two)
        np.testing.assert_allclose(one["score"], two["score"], rtol=1e-4, atol=1e-5)


def test_users_come_back_in_the_order_asked_for(model):
    asked = [7, 3, 100, 4]
    assert model.recommend_batch(asked, 2)["user_id"].drop_duplicates().tolist() == asked
    assert model.recommend_batch(np.array(asked), 2).equals(model.recommend_batch(pd.Series(asked), 2))


def test_a_given_history_replaces_the_stored_one(model):
    stored = model.recommend(3, 10)
    history = [int(i) for i in model._items.ids(model._histories.of(3))]
    assert ids(model.recommend(3, 10, history=history)) == ids(stored)
    assert ids(model.recommend(history=history, n=10)) == ids(stored)
    other = model.recommend(3, 10, history=history[:2])
    assert ids(other) != ids(stored)
    assert not set(history[:2]) & set(ids(other))
    frame = pd.DataFrame({"user_id": [3] * len(history), "item_id": history})
    assert ids(model.recommend_batch(histories=frame)) == ids(stored)
    assert model.recommend(history=history)["user_id"].isna().all()


def test_a_given_history_may_be_a_file(model, tmp_path):
    frame = pd.DataFrame({"user_id": [3, 3, 200], "item_id": [0, 1, 4]})
    frame.to_csv(tmp_path / "histories.csv", index=False)
    lists = model.recommend_batch(histories=str(tmp_path / "histories.csv"), n=3)
    assert lists.equals(model.recommend_batch(histories=frame, n=3))


def test_histories_of_users_never_seen(model):
    frame = pd.DataFrame({"user_id": ["new", "newer", "new"], "item_id": [0, 1, 4]})
    lists = model.recommend_batch(histories=frame, n=3)
    assert lists["user_id"].drop_duplicates().tolist() == ["new", "newer"]
    assert lists.attrs["fallback_users"] == []
    assert ids(lists[lists["user_id"] == "new"]) == ids(model.recommend(history=[0, 4], n=3))
    both = model.recommend_batch(["newer", "nobody"], histories=frame, n=3)
    assert both.attrs["fallback_users"] == ["nobody"]


def test_times_order_a_given_history(model):
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": [5, 9], "timestamp": [2, 1]})
    assert model._given(None, frame).histories.of(0).tolist() == [9, 5]
    frame["timestamp"] = ["2024-03-02", "2024-03-01T12:00"]
    assert model._given(None, frame).histories.of(0).tolist() == [9, 5]


def test_unknown_items_of_a_history_are_ignored_with_one_warning(model):
    with pytest.warns(UserWarning, match=r"2 of 3 rows .* such as 998") as caught:
        lists = model.recommend(history=[998, 4, 999], n=5)
    assert len(caught) == 1
    assert ids(lists) == ids(model.recommend(history=[4], n=5))


def test_unknown_users_by_policy(model):
    lists = model.recommend_batch([1, 9999], 4)
    assert lists.attrs["fallback_users"] == [9999]
    assert ids(lists[lists["user_id"] == 9999]) == ids(model.recommend(history=[], n=4))
    assert model.recommend_batch([9999, 1], 4, on_unknown="skip")["user_id"].unique().tolist() == [1]
    assert model.recommend(9999, on_unknown="skip").empty
    with pytest.raises(UnknownUserError, match="9999"):
        model.recommend(9999, on_unknown="raise")
    with pytest.raises(ConfigError, match="on_unknown"):
        model.recommend(1, on_unknown="guess")
    assert model.recommend("1", 3).attrs["fallback_users"] == ["1"]


def test_filters(model):
    plain = ids(model.recommend(2, 10))
    assert ids(model.recommend(2, 8, exclude=plain[:2])) == plain[2:]
    assert ids(model.recommend_batch([2, 3], 8, exclude={2: plain[:2]}))[:8] == plain[2:]
    assert ids(model.recommend_batch([2, 3], 8, exclude={2: plain[:2]}))[8:] == ids(model.recommend(3, 8))
    assert ids(model.recommend(2, 10, items=plain[3:6])) == plain[3:6]
    assert ids(model.recommend_batch([2, 3], 10, items={2: plain[3:6]}))[:3] == plain[3:6]
    assert model.recommend(2, items=[]).empty
    everything = model.recommend(2, 1000, filter_seen=False)
    assert sorted(ids(everything)) == sorted(model.items)
    assert len(model.recommend(2, 1000)) == len(model.items) - len(model._histories.of(2))
    assert ids(model.recommend(2, 10, exclude=[12345])) == plain


def test_ids_of_the_wrong_type_are_refused_in_filters(model):
    for options in ({"exclude": ["3"]}, {"items": ["3"]}, {"exclude": {2: ["3"]}}):
        with pytest.raises(DataError, match="string ids such as '3'"):
            model.recommend_batch([2], **options)
    for single in (3, np.int64(3), 3.0, "3"):
        with pytest.raises(DataError, match="exclude: a list of ids, not the single value"):
            model.recommend(2, exclude=single)
    with pytest.raises(DataError, match="exclude: a list of ids, not an array of 2 dimensions"):
        model.recommend(2, exclude=np.ones((2, 2), np.int64))


@pytest.mark.parametrize("name", ["exclude", "items", "preferences"])
def test_what_is_given_by_users_of_another_type_is_refused(model, name):
    given = {"items": [3]} if name == "preferences" else [3]
    with pytest.raises(DataError, match=f"{name}: is given by users such as '2', but the ids are such as 2"):
        model.recommend_batch([2], **{name: {"2": given}})
    assert len(model.recommend_batch([2], 3, **{name: {}})) == 3
    with pytest.raises(DataError, match=r"pinned: is given by users such as '2'"):
        model.recommend_batch([2], rules={"pinned": {"2": [3]}})


def test_who_loses_the_whole_history_is_told_of_as_unknown(model):
    lost = pd.DataFrame({"user_id": [7777, 7778, 7778], "item_id": [10**9, 10**9, 3]})
    with pytest.warns(UserWarning, match="outside the catalogue"):
        lists = model.recommend_batch(histories=lost)
    assert lists.attrs["fallback_users"] == [7777]
    with pytest.warns(UserWarning, match="outside the catalogue"):
        assert model.recommend(7777, history=[10**9]).attrs["fallback_users"] == [7777]
    warned = pytest.warns(UserWarning, match="outside the catalogue")
    with warned, pytest.raises(UnknownUserError, match="unknown user 7777"):
        model.recommend_batch(histories=lost, on_unknown="raise")
    assert model.recommend(7777, history=[]).attrs["fallback_users"] == []
    with pytest.raises(DataError, match="histories: item ids are such as '3'"):
        model.recommend(7777, history=["3"])


def test_a_user_with_a_history_needs_an_id_too(model):
    for nobody in ([1, 2], np.nan, 1.5):
        with pytest.raises(DataError):
            model.recommend(nobody, history=[3])


def test_histories_in_a_frame_are_read_as_from_a_file(model):
    plain = pd.DataFrame({"user_id": ["x", "x", "y"], "item_id": [3, 4, 5]})
    coded = plain.rename(columns={"user_id": "userId", "item_id": "movieId"}).astype({"userId": "category"})
    expected = model.recommend_batch(histories=plain)
    pd.testing.assert_frame_equal(model.recommend_batch(histories=coded), expected)
    users = pd.Series(["y", "x"], dtype="category")
    found, wanted = (model.recommend_batch(some, 1, histories=plain) for some in (users, ["y", "x"]))
    assert ids(found) == ids(wanted)


@pytest.mark.parametrize("n", [-1, 2.0, "3", None, True])
def test_bad_n(model, n):
    with pytest.raises(ConfigError, match="n: a whole number"):
        model.recommend(1, n)
    with pytest.raises(ValueError, match="n: a whole number"):
        model.recommend_batch([1], n)


@pytest.mark.parametrize("explore", [-0.1, 1.1, float("nan"), "1", None, True])
def test_bad_explore(model, explore):
    with pytest.raises(ConfigError, match="explore"):
        model.recommend(1, explore=explore)


def test_no_items_wanted(model):
    for empty in (model.recommend(1, 0), model.recommend_batch([], 5), model.recommend_batch(n=0)):
        assert empty.empty
        assert empty.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64"]


def test_who_is_asked_for(model):
    with pytest.raises(ConfigError, match="user_id, a history"):
        model.recommend()
    with pytest.raises(DataError, match="more than once, such as 4"):
        model.recommend_batch([4, 5, 4])
    with pytest.raises(DataError, match="frame"):
        model.recommend_batch(histories=[1, 2])
    with pytest.raises(DataError, match="item_id"):
        model.recommend_batch(histories=pd.DataFrame({"user_id": [1]}))
    with pytest.raises(DataError, match="null"):
        model.recommend_batch(histories=pd.DataFrame({"user_id": [1, None], "item_id": [1, 2]}))


def test_longer_lists_begin_with_the_shorter(model):
    long = ids(model.recommend(5, 45))
    for n in (1, 5, 19, 20, 21, 44):
        assert ids(model.recommend(5, n)) == long[:n]


def test_explore_is_repeatable_and_differs_by_seed(model):
    first = model.recommend_batch(n=10, explore=0.8, seed=3)
    assert first.equals(model.recommend_batch(n=10, explore=0.8, seed=3))
    assert not first.equals(model.recommend_batch(n=10, explore=0.8, seed=4))
    one = model.recommend(11, 10, explore=0.8, seed=3)
    assert ids(one) == ids(first[first["user_id"] == 11])
    assert model.recommend_batch(n=10, explore=0.0).equals(model.recommend_batch(n=10))


def test_a_user_who_has_seen_everything(small_config):
    frame = pd.DataFrame({"user_id": [0] * 6 + [1] * 3 + [2] * 3, "item_id": [*range(6), 0, 1, 2, 3, 4, 5]})
    model = recgan.train(frame, config=small_config)
    assert model.recommend(0).empty
    assert len(model.recommend(0, filter_seen=False)) == 6
    assert len(model.recommend_batch(n=10)) == 6


@pytest.mark.parametrize("kind", ["text", "int32", "unicode", "long"])
def test_ids_come_back_as_they_came(interactions, small_config, kind):
    to_id = {
        "text": lambda i: f"{i:07d}",
        "int32": np.int32,
        "unicode": lambda i: f"\u05d0\u2603\U0001f600 {i}",
        "long": lambda i: f"{i}" + "x" * 10_000,
    }[kind]
    frame = interactions.assign(user_id=interactions["user_id"].map(to_id), item_id=interactions["item_id"].map(to_id))
    if kind == "int32":
        frame = frame.astype("int32")
    some = recgan.train(frame, config=recgan.Config(**{**small_config.model_dump(), "epochs": 1}))
    lists = some.recommend_batch(n=3)
    assert lists["item_id"].dtype == frame["item_id"].dtype
    assert lists["user_id"].dtype == frame["user_id"].dtype
    assert set(lists["item_id"]) <= set(frame["item_id"])


def test_inputs_are_left_alone(model):
    frame = pd.DataFrame({"user_id": [1, 2], "item_id": [3, 4]})
    users, before = [1, 2], frame.copy()
    model.recommend_batch(users, histories=frame, exclude=[1])
    pd.testing.assert_frame_equal(frame, before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.recommend_batch(n=3)


def test_score_similar_items_and_users(model, interactions):
    top = model.recommend(6, 10)
    scored = model.score(6, ids(top))
    assert ids(scored) == ids(top)
    np.testing.assert_allclose(scored["score"], top["score"], rtol=1e-4, atol=1e-5)
    assert model.score(6, []).empty
    near = model.similar_items(8, 5)
    vectors = model.item_vectors()
    cosines = (vectors.to_numpy() @ vectors.loc[8].to_numpy()).round(6)
    order = [i for i in np.argsort(-cosines, kind="stable").tolist() if i != 8][:5]
    assert ids(near) == [model.items[i] for i in order]
    assert 8 not in ids(near)
    assert (near["score"] <= 1 + 1e-6).all()
    users = model.similar_users(6, 8)
    assert 6 not in users["user_id"].tolist()
    assert (users["user_id"] % 4 == 2).mean() > 0.7
    assert len(model.similar_items(8, 10_000)) == len(model.items) - 1
    assert len(model.similar_users(6, 10_000)) == len(model.users) - 1
    for call, error in (
        (lambda: model.score(6, [9999]), UnknownItemError),
        (lambda: model.score(9999, [1]), UnknownUserError),
        (lambda: model.similar_items(9999), UnknownItemError),
        (lambda: model.similar_users(9999), UnknownUserError),
        (lambda: model.user_vectors([9999]), UnknownUserError),
    ):
        with pytest.raises(error, match="9999"):
            call()


def test_vectors(model):
    np.testing.assert_allclose(np.linalg.norm(model.item_vectors(), axis=1), 1.0, rtol=1e-5)
    users = model.user_vectors([5, 2])
    assert users.index.tolist() == [5, 2]
    np.testing.assert_allclose(np.linalg.norm(users, axis=1), 1.0, rtol=1e-5)
    vectors = model.item_vectors()
    vectors.loc[:] = 0.0
    assert model.item_vectors().abs().sum().sum() > 0


def test_popularity_is_corrected_only_where_it_can_be(model, interactions):
    plain = model.recommend_batch(n=5)
    pd.testing.assert_frame_equal(model.recommend_batch(n=5, popularity=None), plain)
    pd.testing.assert_frame_equal(model.recommend_batch(n=5, popularity=0), plain)
    counts = interactions["item_id"].value_counts()
    rare, common = (model.recommend_batch(n=5, popularity=cost)["item_id"].map(counts).mean() for cost in (2.0, -2.0))
    assert rare < plain["item_id"].map(counts).mean() < common
    assert ids(model.recommend(6, 5, popularity=2.0)) == ids(model.recommend_batch([6], 5, popularity=2.0))
    for bad in (np.nan, 1e300, "much", True):
        with pytest.raises(ConfigError, match="popularity: a number from"):
            model.recommend(6, popularity=bad)
    with pytest.raises(ConfigError, match="no correction for Popular"):
        recgan.baselines.Popular().fit(interactions).recommend(6, popularity=0.5)


def test_an_item_that_a_history_repeats_counts_once_where_it_is_newest(model, tmp_path):
    once, often = model.recommend(history=[4, 0, 1], n=9), model.recommend(history=[0, 4, 0, 0, 4, 0, 1], n=9)
    pd.testing.assert_frame_equal(once, often)
    frame = pd.DataFrame({"user_id": 500, "item_id": [0, 4, 0, 0, 4, 0, 1]})
    frame.to_csv(tmp_path / "h.csv", index=False)
    for histories in (frame, str(tmp_path / "h.csv")):
        assert ids(model.recommend_batch(histories=histories, n=9)) == ids(once)


def test_a_frame_with_users_says_whose_items_they_are(model):
    first = {user: ids(model.recommend(user, 1))[0] for user in (1, 2)}
    barred = pd.DataFrame({"user_id": [1, 3], "item_id": [first[2], first[2]]})
    told = model.recommend_batch([1, 2], 60, exclude=barred)
    same = model.recommend_batch([1, 2], 60, exclude={1: [first[2]], 3: [first[2]]})
    pd.testing.assert_frame_equal(told, same)
    assert first[2] in ids(told[told["user_id"] == 2])
    assert first[2] not in ids(told[told["user_id"] == 1])
    only = model.recommend_batch([1, 2], 2, items=pd.DataFrame({"user_id": pd.Categorical([1]), "item_id": [first[1]]}))
    assert only["user_id"].value_counts().to_dict() == {2: 2, 1: 1}


def test_dislikes_stay_when_a_history_is_given(interactions, small_config):
    frame = interactions.assign(weight=1.0)
    barred = sorted(set(range(3, 60)) - set(frame["item_id"][frame["user_id"] == 0]))[:2]
    frame = pd.concat([frame, pd.DataFrame({"user_id": 0, "item_id": barred, "weight": -1.0})], ignore_index=True)
    model = recgan.train(frame, config=small_config.changed(epochs=1, game_steps=0))
    given = pd.DataFrame({"user_id": [0, 0, 700], "item_id": [1, 2, 1]})
    for lists in (model.recommend(0, 60, history=[1, 2]), model.recommend_batch(histories=given, n=60)):
        own = ids(lists[lists["user_id"] == 0])
        assert len(own) == 56
        assert not set(own) & {1, 2, *barred}
    several = model.recommend_batch(histories=given, n=60)
    assert set(barred) <= set(ids(several[several["user_id"] == 700]))
    more = given.assign(weight=[1.0, -1.0, 1.0])
    told = model.recommend_batch(histories=more, n=60, filter_seen=False)
    assert not set(ids(told[told["user_id"] == 0])) & {2, *barred}
    liked = model.recommend(0, 60, history=[1, barred[0]], filter_seen=False)
    assert barred[0] in ids(liked)
    assert barred[1] not in ids(liked)


@pytest.mark.parametrize("name", ["exclude", "items"])
def test_a_frame_whose_users_are_missing_is_refused(model, name):
    told = pd.DataFrame({"user_id": [1, np.nan], "item_id": [3, 4]})
    with pytest.raises(DataError, match="null"):
        model.recommend_batch([1, 2], **{name: told})

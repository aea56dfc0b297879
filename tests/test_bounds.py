"""Rules by categories and ids, as `recommend` takes them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from planted import planted

import recgan
from recgan.baselines import Popular

KINDS = ["Comedy", "Drama", "War"]


@pytest.fixture(scope="module")
def films():
    """Forty films of one or two kinds; item 39 was seen by one user only, item 38 by two."""
    frame = planted(n_users=60, n_items=38, n_groups=3, noise=0.2, seed=1)
    rare = pd.DataFrame({"user_id": [0, 1, 2], "item_id": [39, 38, 38]})
    kinds = [KINDS[item % 3] + ("|" + KINDS[(item + 1) % 3]) * (item % 4 == 0) for item in range(40)]
    items = pd.DataFrame({"item_id": range(40), "categories": kinds})
    config = recgan.Config(epochs=0, game_steps=0, embedding_dim=8, hidden_dim=8, n_candidates=10, progress=False)
    model = recgan.train(pd.concat([frame[["user_id", "item_id"]], rare], ignore_index=True), items, config=config)
    return model, dict(enumerate(kinds))


def held(lists: pd.DataFrame, kinds: dict[int, str], name: str) -> pd.Series:
    """How many items of a category every list holds."""
    return lists["item_id"].map(lambda item: name in kinds[item].split("|")).groupby(lists["user_id"]).sum()


def seen(model, user: int) -> set[int]:
    return set(model._items.ids(model._histories.of(model._one_user(user))).tolist())


def test_at_most_so_many_of_every_category(films):
    model, kinds = films
    lists = model.recommend_batch(n=30, rules={"max_per_category": 2})
    for name in KINDS:
        assert held(lists, kinds, name).max() <= 2
    assert lists.groupby("user_id").size().between(3, 6).all()  # nothing more fits, nothing is padded
    assert (lists.groupby("user_id")["score"].diff().dropna() <= 1e-9).all()
    assert lists["rank"].tolist() == (lists.groupby("user_id").cumcount() + 1).tolist()


def test_at_most_and_at_least_so_many_of_one_category(films):
    model, kinds = films
    plain = model.recommend_batch(n=6)
    assert held(plain, kinds, "War").min() < 3
    assert held(plain, kinds, "Drama").max() > 1
    lists = model.recommend_batch(n=6, rules={"max_per_category": {"Drama": 1}, "min_per_category": {"War": 3}})
    assert held(lists, kinds, "War").min() >= 3
    assert held(lists, kinds, "Drama").max() <= 1
    assert (lists.groupby("user_id").size() == 6).all()
    none = model.recommend_batch(n=40, rules={"max_per_category": {"Drama": 0}})
    assert held(none, kinds, "Drama").max() == 0


def test_new_items_have_few_interactions(films):
    model, _ = films
    counts = model._histories.counts()
    assert (counts[39], counts[38]) == (1, 2)
    assert np.sort(counts)[2] >= 5
    lists = model.recommend_batch(range(3, 60), n=5, rules={"min_new": 1})
    assert lists["item_id"].ge(38).groupby(lists["user_id"]).sum().tolist() == [1] * 57
    both = model.recommend_batch(range(3, 60), n=5, rules={"min_new": 4})
    assert both["item_id"].ge(38).groupby(both["user_id"]).sum().tolist() == [2] * 57
    assert (both.groupby("user_id").size() == 5).all()
    only = model.recommend_batch(range(3, 60), n=5, rules={"min_new": 1, "max_new": 1, "new_below": 2})
    assert (only["item_id"] == 39).groupby(only["user_id"]).sum().tolist() == [1] * 57
    assert model.recommend_batch(n=40, rules={"max_new": 0})["item_id"].max() < 38
    assert 39 not in model.recommend(0, 5, rules={"min_new": 1})["item_id"].tolist()  # has seen it
    with pytest.warns(UserWarning, match="min_new: there is no new item, every one has at least new_below=1"):
        model.recommend(0, rules={"min_new": 1, "new_below": 1})


def test_pinned_items_stand_first_or_at_their_places(films):
    model, _ = films
    plain = model.recommend(7, 40)["item_id"].tolist()
    first, second, third = plain[20], plain[10], plain[0]
    assert model.recommend(7, 4, rules={"pinned": [first, second]})["item_id"].tolist() == [first, second, *plain[:2]]
    placed = model.recommend(7, 5, rules={"pinned": {2: first, 5: third}})
    assert placed["item_id"].tolist() == [plain[1], first, *plain[2:4], third]
    told = model.score(7, placed["item_id"])["score"]
    np.testing.assert_allclose(placed["score"], told, rtol=1e-4, atol=1e-5)
    assert model.recommend(7, 1, rules={"pinned": {2: plain[0]}})["item_id"].tolist() == [plain[1]]
    few = model.recommend(7, 9, items=plain[:3], rules={"pinned": {8: plain[0]}})
    assert few["item_id"].tolist() == [plain[1], plain[2], plain[0]]


def test_pinned_items_never_break_a_filter(films):
    model, _ = films
    plain = model.recommend(7, 40)["item_id"].tolist()
    old = min(seen(model, 7))
    pinned = {"pinned": [old, plain[9], plain[8]]}
    assert model.recommend(7, 3, rules=pinned)["item_id"].tolist() == [plain[9], plain[8], plain[0]]
    again = model.recommend(7, 3, rules=pinned, exclude=[plain[9]])
    assert again["item_id"].tolist() == [plain[8], plain[0], plain[1]]
    some = model.recommend_batch([7, 8], 3, rules=pinned, items={7: plain[:9]})
    assert some["item_id"].tolist()[:3] == [plain[8], plain[0], plain[1]]
    assert model.recommend(7, 1, rules=pinned, filter_seen=False)["item_id"].tolist() == [old]
    placed = model.recommend(7, 3, rules={"pinned": {1: old, 3: plain[9]}})
    assert placed["item_id"].tolist() == [plain[0], plain[1], plain[9]]


def test_pinned_items_by_user(films):
    model, _ = films
    plain = {user: model.recommend(user, 20)["item_id"].tolist() for user in (5, 6, 7)}
    pinned = {5: [plain[5][9]], np.int64(7): {3: plain[7][15], 1: plain[7][14]}, 1000: [1]}
    lists = model.recommend_batch([7, 6, 5], 3, rules={"pinned": pinned}).groupby("user_id")["item_id"].apply(list)
    assert lists[5] == [plain[5][9], *plain[5][:2]]
    assert lists[6] == plain[6][:3]
    assert lists[7] == [plain[7][14], plain[7][0], plain[7][15]]


def test_a_pinned_item_outside_the_catalogue_is_told_once(films):
    model, _ = films
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        lists = model.recommend_batch([7, 8], 2, rules={"pinned": [500, 501]})
    assert [str(one.message).split(",")[0] for one in told] == ["rules: 2 of 2 pinned items are not in the catalogue"]
    assert lists["item_id"].tolist() == model.recommend_batch([7, 8], 2)["item_id"].tolist()


def test_pinned_items_count_and_win(films):
    model, kinds = films
    plain = model.recommend(7, 40)["item_id"].tolist()
    dramas = [item for item in plain if "Drama" in kinds[item]][:3]
    rules = {"pinned": dramas, "max_per_category": {"Drama": 2}}
    lists = model.recommend(7, 10, rules=rules)
    assert lists["item_id"].tolist()[:3] == dramas
    assert sum("Drama" in kinds[item] for item in lists["item_id"]) == 3


def test_rules_compose_with_the_dial_and_calibration(films):
    model, kinds = films
    rules = {"max_per_category": 3, "calibration": 0.4, "max_new": 0, "pinned": [30]}
    lists = model.recommend_batch(n=8, explore=0.8, seed=2, rules=rules)
    assert max(held(lists, kinds, name).max() for name in KINDS) <= 3
    assert not lists.duplicated(["user_id", "item_id"]).any()
    assert all(item not in seen(model, user) for user, item in zip(lists["user_id"], lists["item_id"], strict=True))
    assert lists["item_id"].max() < 38
    shown = lists[lists["rank"] == 1].set_index("user_id")["item_id"]
    assert all(shown[user] == 30 for user in range(60) if 30 not in seen(model, user))
    assert not lists.equals(model.recommend_batch(n=8, explore=0.8, seed=3, rules=rules))
    one = model.recommend(11, 8, explore=0.8, seed=2, rules=rules)
    assert one["item_id"].tolist() == lists[lists["user_id"] == 11]["item_id"].tolist()


def test_what_cannot_be_served_is_told(films, model):
    with pytest.raises(
        recgan.ConfigError, match=r"no item has the category 'Dramas'; there is 'Comedy', 'Drama', 'War'"
    ):
        films[0].recommend(1, rules={"max_per_category": {"Dramas": 1}})
    with pytest.raises(recgan.ConfigError, match="the model knows no categories"):
        model.recommend(1, rules={"max_per_category": 1})
    with pytest.raises(recgan.DataError, match="rules: pinned ids such as 'a', the catalogue has ids such as"):
        model.recommend(1, rules={"pinned": ["a"]})
    popular = Popular().fit(planted(n_users=20, n_items=20, n_groups=2, noise=0.1, seed=0))
    with pytest.raises(recgan.ConfigError, match="rules: none for Popular, whose lists are what its scores say"):
        popular.recommend(1, rules={"pinned": [1]})
    assert len(popular.recommend(1, rules={})) == 10


def test_calibration_does_nothing_where_no_taste_is_known(films, model):
    for calibration in (0.5, 1.0):
        for some, user in ((films[0], {"history": []}), (model, {"user_id": 1})):  # nobody, and no categories
            asked = {"n": 10, "explore": 0.5, **user}
            pd.testing.assert_frame_equal(
                some.recommend(**asked), some.recommend(**asked, rules={"calibration": calibration})
            )

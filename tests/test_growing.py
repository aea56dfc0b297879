"""Items that come, go and change: what stays equal, what obeys the contract, what is refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL
from planted import planted

import recgan
from recgan.cold import Settings
from recgan.errors import ArtifactError, ConfigError, DataError, UnknownItemError
from recgan.histories import Histories
from recgan.ranking import Query
from recgan.training.content import with_content
from recgan.training.validation import Validation

GROUPS, LEARNED, WHOLE = 4, 60, 80
QUICK = {**SMALL, "epochs": 6, "game_steps": 0}


def content(numbers) -> pd.DataFrame:
    """Items whose words and categories tell their group, those of a few of them the wrong one."""
    numbers = np.asarray(numbers)
    groups = np.where(numbers % 9 == 0, (numbers + 1) % GROUPS, numbers % GROUPS)
    return pd.DataFrame(
        {
            "item_id": numbers,
            "title": [f"thing {number} of kind{group}" for number, group in zip(numbers, groups, strict=True)],
            "categories": [f"g{group}|all" for group in groups],
            "year": 1990.0 + numbers % 7,
        }
    )


@pytest.fixture(scope="module", params=["bag", "sequence"])
def plain(request):
    frame = planted(n_users=120, n_items=LEARNED, n_groups=GROUPS, noise=0.1, seed=0, ordered=True)
    return recgan.train(frame, content(range(LEARNED)), config=recgan.Config(**QUICK, encoder=request.param))


@pytest.fixture(scope="module")
def more(plain):
    return plain.add_items(content(range(LEARNED, WHOLE)))


def test_new_items_go_to_those_who_like_their_kind(more):
    lists = more.recommend_batch(n=5, items=more.new_items)
    hits = (lists["item_id"] % GROUPS == lists["user_id"] % GROUPS).mean()
    assert hits > 0.8  # 1/4 by chance; a ninth of the items tells the wrong group
    assert more.new_items.tolist() == list(range(LEARNED, WHOLE))


def test_lists_of_the_learned_items_are_what_they_were(plain, more):
    before = plain.recommend_batch(n=10)
    pd.testing.assert_frame_equal(before, more.recommend_batch(n=10, items=plain.items))
    assert plain.items.tolist() == list(range(LEARNED))


def test_adding_and_removing_gives_the_old_lists_back(plain, more):
    first = plain._blocks.opening
    assert first.any()
    assert np.array_equal(more._blocks.opening, np.append(first, np.zeros(WHOLE - LEARNED)))
    back = more.remove_items(more.new_items)
    assert np.array_equal(back._blocks.opening, first)
    pd.testing.assert_frame_equal(plain.recommend_batch(n=10), back.recommend_batch(n=10))
    pd.testing.assert_frame_equal(plain.moods(1), back.moods(1))
    assert len(back.new_items) == 0


def test_lists_with_new_items_obey_the_contract(more):
    seen = {user: set(more._items.ids(more._histories.of(user))) for user in range(120)}
    lists = more.recommend_batch(n=WHOLE)
    assert not lists.duplicated(["user_id", "item_id"]).any()
    assert all(item not in seen[user] for user, item in zip(lists["user_id"], lists["item_id"], strict=True))
    assert (lists.groupby("user_id").size() == [WHOLE - len(seen[user]) for user in range(120)]).all()
    assert (lists.groupby("user_id")["score"].diff().dropna() <= 0).all()
    short = more.recommend_batch(n=7)
    pd.testing.assert_frame_equal(short, lists[lists["rank"] <= 7].reset_index(drop=True))
    one = more.recommend(5, n=7)
    pd.testing.assert_series_equal(one["item_id"], short[short["user_id"] == 5]["item_id"].reset_index(drop=True))


def test_a_minimum_of_new_items_is_filled(more):
    lists = more.recommend_batch(n=6, rules={"min_new": 2, "new_below": 1})
    assert (lists["item_id"].isin(more.new_items).groupby(lists["user_id"]).sum() >= 2).all()
    none = more.recommend_batch(n=6, rules={"max_new": 0, "new_below": 1})
    assert not none["item_id"].isin(more.new_items).any()


def test_saved_and_loaded_are_equal(more, tmp_path):
    more.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(more.recommend_batch(n=10), loaded.recommend_batch(n=10))
    pd.testing.assert_frame_equal(more.item_table, loaded.item_table)
    assert loaded.new_items.tolist() == more.new_items.tolist()
    again = [model.add_items(content([100])).recommend_batch(n=10) for model in (more, loaded)]
    pd.testing.assert_frame_equal(*again)


def test_everything_else_works_with_new_items(more):
    assert len(more.similar_items(LEARNED)) == 10
    assert more.score(1, [LEARNED, 3])["score"].notna().all()
    assert more.explain(1, LEARNED)["share"].sum() == pytest.approx(1.0)
    assert len(more.recommend(history=[LEARNED, LEARNED + 4], n=5)) == 5
    assert len(more.moods(1, n=3, moods=2)) == 6
    assert len(more.ideal_items(1)) == 3
    assert len(more.recommend_batch(n=5, explore=0.5)) == 600
    assert more.item_vectors().shape == (WHOLE, 16)
    assert more.info()["data"]["items"] == WHOLE


def test_a_new_item_in_a_history_pulls_its_kind(more):
    history = [number for number in more.new_items if number % GROUPS == 2 and number % 9]
    lists = more.recommend(history=history, n=10, items=range(LEARNED))
    assert (lists["item_id"] % GROUPS == 2).mean() > 0.5


def test_train_with_items_that_nobody_has_had_is_train_and_add(plain, more):
    frame = planted(n_users=120, n_items=LEARNED, n_groups=GROUPS, noise=0.1, seed=0, ordered=True)
    bare = pd.DataFrame({"item_id": [99], "title": [""], "categories": [""], "year": [np.nan]})
    items = pd.concat([content(range(WHOLE)), bare], ignore_index=True)
    kind = plain._blocks.generator.encoder.kind
    model = recgan.train(frame, items, config=recgan.Config(**QUICK, encoder=kind))
    pd.testing.assert_frame_equal(model.recommend_batch(n=10), more.recommend_batch(n=10))
    told = model.info()["content"]
    assert (told["new items"], told["items left out"]) == (WHOLE - LEARNED, 1)
    assert told["columns"] == ["categories", "title", "year"]
    assert told["ndcg@20 by content"] > told["ndcg@20 by chance"]
    assert told["learned items keep"] > 0.99


def test_of_a_large_catalogue_the_settings_are_chosen_on_its_popular_part(plain, monkeypatch):
    """With the same users, who have lost the rare items from what they had, may not get, and shall like."""
    parts, most = plain._parts, 25
    random, n_users = np.random.default_rng(0), 30
    lists = [[random.permutation(LEARNED)[: random.integers(0, 9)] for _ in range(n_users)] for _ in range(3)]
    known, blocked, truth = (Histories.from_lists(some, LEARNED) for some in lists)
    query = Query(known, blocked, np.zeros((n_users, 0), np.float32))
    asked = []
    monkeypatch.setattr("recgan.training.content.MOST_ITEMS", most)
    monkeypatch.setattr("recgan.training.content.Chooser", lambda *given: asked.append(given) or Chosen)
    with_content(parts, content([]), Validation(query, truth, truth.lengths, "ndcg@10"), plain._config)
    table, counts, blocks, query, truth, _ = asked[0]
    popular = np.sort(np.argsort(-parts.histories.counts(), kind="stable")[:most])
    assert table["item_id"].tolist() == popular.tolist()
    assert counts.tolist() == parts.histories.counts()[popular].tolist()
    np.testing.assert_array_equal(blocks.popularity, parts.blocks.popularity[popular])
    for found, before in zip((query.histories, query.blocked, truth), lists, strict=True):
        for user, items in enumerate(before):
            assert popular[found.of(user)].tolist() == [item for item in items.tolist() if item in popular]
        assert found.n_items == most


class Chosen:
    """What is chosen whoever is asked."""

    @staticmethod
    def choose():
        return Settings(), {}


def test_a_removed_item_is_never_listed(more):
    user = 1
    had = int(more._items.ids(more._histories.of(user)).iloc[0])
    fewer = more.remove_items([had, LEARNED + 1, 7])
    lists = fewer.recommend_batch(n=WHOLE, filter_seen=False)
    assert not lists["item_id"].isin([had, LEARNED + 1, 7]).any()
    assert len(fewer.items) == WHOLE - 3
    assert len(fewer.new_items) == WHOLE - LEARNED - 1
    assert had not in fewer._items.ids(fewer._histories.of(user)).tolist()
    with pytest.raises(UnknownItemError):
        fewer.score(user, [had])
    assert len(more.items) == WHOLE  # the old one is untouched


def test_removed_and_added_again_is_a_new_item(more):
    fewer = more.remove_items([7])
    again = fewer.add_items(content([7]))
    assert again.new_items.tolist()[-1] == 7
    assert again.item_table["title"].tolist()[-1] == "thing 7 of kind3"


def test_other_content_moves_a_new_item_and_leaves_a_learned_one(more):
    kind2 = [user for user in range(120) if user % GROUPS == 2]
    moved = more.update_items(pd.DataFrame({"item_id": [65], "title": ["of kind2"], "categories": ["g2|all"]}))
    before, after = (model.score(kind2[0], [65])["score"][0] for model in (more, moved))
    assert after > before
    assert moved.item_table["year"].equals(more.item_table["year"])
    assert moved.items.equals(more.items)
    renamed = more.update_items(pd.DataFrame({"item_id": [5], "title": ["of kind2"], "categories": ["g2|all"]}))
    assert renamed.item_table["title"][5] == "of kind2"
    np.testing.assert_array_equal(renamed.item_vectors().loc[5], more.item_vectors().loc[5])
    lists = renamed.recommend_batch(n=3, rules={"max_per_category": {"g2": 0}})
    assert 5 not in lists["item_id"].tolist()


def test_an_update_that_changes_nothing_changes_no_list(more):
    same = more.update_items(more.item_table)
    pd.testing.assert_frame_equal(same.recommend_batch(n=10), more.recommend_batch(n=10))
    pd.testing.assert_frame_equal(same.item_table, more.item_table)


def test_new_events_make_a_new_item_a_learned_one(more):
    events = pd.DataFrame({"user_id": [2, 6, 10, 500], "item_id": 66, "timestamp": 2 * 10**9})
    updated = recgan.update(more, events)
    assert set(updated.items) == set(more.items)
    assert 66 not in updated.new_items.tolist()
    assert len(updated.new_items) == WHOLE - LEARNED - 1
    lists = updated.recommend_batch(n=5, items=updated.new_items)
    assert (lists["item_id"] % GROUPS == lists["user_id"] % GROUPS)[lists["user_id"] < 120].mean() > 0.7
    assert 66 not in updated.recommend(2, n=WHOLE)["item_id"].tolist()
    assert updated.item_table.set_index("item_id").loc[66, "title"] == "thing 66 of kind2"
    pd.testing.assert_frame_equal(
        updated.item_table.sort_values("item_id", ignore_index=True),
        more.item_table.sort_values("item_id", ignore_index=True),
    )


def test_an_update_leaves_what_nobody_has_had_to_the_tower(plain, more):
    events = pd.DataFrame({"user_id": [2, 6], "item_id": [3, 5], "timestamp": 2 * 10**9})
    first = recgan.update(more, events).recommend_batch(n=10)
    second = recgan.update(plain, events).add_items(content(range(LEARNED, WHOLE))).recommend_batch(n=10)
    pd.testing.assert_frame_equal(first, second)


def test_a_category_that_came_later_can_be_avoided_but_tells_no_taste(more):
    with pytest.warns(UserWarning, match="not learned"):
        model = more.add_items(content([101]).assign(categories="g1|opera"))
    liked = {"categories": ["g1"]}
    pd.testing.assert_frame_equal(
        model.recommend(1, n=5, preferences=liked, items=more.items), more.recommend(1, n=5, preferences=liked)
    )
    lists = model.recommend_batch(n=WHOLE, preferences={"avoid": ["opera"]})
    assert 101 not in lists["item_id"].tolist()
    assert model.recommend(1, n=5, rules={"min_per_category": {"opera": 1}})["item_id"].eq(101).any()


def test_stated_preferences_survive_the_loss_of_a_category(more):
    gone = [number for number in range(WHOLE) if "g2" in content([number])["categories"][0]]
    fewer = more.remove_items(gone)
    lists = fewer.recommend(1, n=5, preferences={"categories": ["g1"]})
    assert len(lists) == 5


def test_dislikes_of_new_items_are_kept(more):
    events = pd.DataFrame({"user_id": [2, 6], "item_id": [66, 70], "weight": [-1.0, 1.0], "timestamp": 2 * 10**9})
    updated = recgan.update(more, events)
    assert 66 in updated.new_items.tolist()
    assert 66 not in updated.recommend(2, n=WHOLE)["item_id"].tolist()
    assert 66 in updated.recommend(6, n=WHOLE)["item_id"].tolist()


def _tampered(folder, change):
    """The model folder with another manifest, sealed as if it were whole."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest["tower"])
    text = json.dumps(manifest)
    (folder / "manifest.json").write_text(text)
    (folder / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest())


@pytest.mark.parametrize(
    "change",
    [
        lambda tower: tower.update(learned=10**6),
        lambda tower: tower.update(learned=0),
        lambda tower: tower["settings"].update(penalty=-1.0),
        lambda tower: tower["settings"].update(handicap="much"),
        lambda tower: tower["terms"]["words"].append("more"),
        lambda tower: tower.update(numbers=["year", "year2"]),
        lambda tower: tower.update(years=[1990.0, 0.0]),
        lambda tower: tower.pop("texts"),
    ],
)
def test_a_tower_that_does_not_fit_is_refused(more, tmp_path, change):
    more.save(tmp_path / "model")
    _tampered(tmp_path / "model", change)
    with pytest.raises(ArtifactError):
        recgan.Recommender.load(tmp_path / "model")


def test_what_add_items_refuses(plain):
    one = content([70])
    with pytest.raises(DataError, match="item 5 is in the catalogue already: use update_items"):
        plain.add_items(content([70, 5]))
    with pytest.raises(DataError, match="more than once"):
        plain.add_items(pd.concat([one, one]))
    with pytest.raises(DataError, match="convert one of them"):
        plain.add_items(one.assign(item_id="70"))
    with pytest.raises(DataError, match="no content that the model knows; it reads categories, title, year"):
        plain.add_items(pd.DataFrame({"item_id": [70, 71], "title": ["unheard of", ""], "categories": ["new", ""]}))
    with pytest.raises(DataError, match="column 'year' holds text"):
        plain.add_items(one.assign(year=["old"]))
    with pytest.raises(DataError, match="no rows"):
        plain.add_items(one[:0])
    with pytest.raises(DataError, match="item_id"):
        plain.add_items(one.drop(columns="item_id"))


def test_both_problems_of_a_table_are_told_at_once(plain):
    table = pd.concat([content([5]), pd.DataFrame({"item_id": [71], "title": ["unheard"]})], ignore_index=True)
    with pytest.raises(DataError, match=r"2 problems(?s:.*)already(?s:.*)no content"):
        plain.add_items(table)


def test_what_is_strange_but_harmless(plain):
    with pytest.warns(UserWarning, match="1 categories that the model has not learned, such as 'opera'"):
        model = plain.add_items(content([70]).assign(categories="g2|opera", colour="red"))
    assert "colour" not in model.item_table.columns
    assert model.item_table["categories"].tolist()[-1] == "g2|opera"
    few = plain.add_items(pd.DataFrame({"item_id": [70], "year": [1991]}))
    assert few.item_table["title"].isna().tolist()[-1]
    few.recommend_batch(n=5)


def test_the_frame_that_is_given_is_not_written_to(plain):
    table = content([70, 71])
    copy = table.copy(deep=True)
    plain.add_items(table)
    pd.testing.assert_frame_equal(table, copy)


def test_what_remove_and_update_refuse(more):
    with pytest.raises(UnknownItemError):
        more.remove_items([5, 999])
    with pytest.raises(DataError):
        more.remove_items([5, 5])
    with pytest.raises(DataError, match="1 items would be left"):
        more.remove_items(range(1, WHOLE))
    with pytest.raises(DataError, match="item 999 is not in the catalogue: use add_items"):
        more.update_items(content([5, 999]))
    with pytest.raises(DataError, match="no content"):
        more.update_items(pd.DataFrame({"item_id": [65], "title": [""], "categories": [""], "year": [np.nan]}))


def test_a_model_without_content_says_so(model):
    assert len(model.new_items) == 0
    assert model.info()["content"] == {}
    with pytest.raises(ConfigError, match="train it with items="):
        model.add_items(content([70]))
    with pytest.raises(ConfigError, match="train it with items="):
        model.update_items(content([5]))
    fewer = model.remove_items([3])
    assert 3 not in fewer.recommend_batch(n=60, filter_seen=False)["item_id"].tolist()


def test_text_ids_come_back_as_text():
    frame = planted(n_users=60, n_items=40, n_groups=GROUPS, noise=0.1, seed=0)
    items = content(range(50))
    frame["item_id"], items["item_id"] = "i" + frame["item_id"].astype(str), "i" + items["item_id"].astype(str)
    model = recgan.train(frame, items, config=recgan.Config(**QUICK))
    assert sorted(model.new_items) == [f"i{number}" for number in range(40, 50)]
    assert model.recommend(0, n=50)["item_id"].isin(items["item_id"]).all()


@pytest.mark.parametrize("kind", ["ivf-pq", "ivf"])
def test_new_items_come_into_the_index_that_is_there(plain, more, kind):
    """With the column of what is added to their scores, which the model did not have before."""
    near = plain.with_search(kind, 0.5)
    grown = near.add_items(content(range(LEARNED, WHOLE)))
    assert grown.recommend_batch(n=10).equals(more.recommend_batch(n=10))
    index, columns = grown._ranker.near.index, grown._ranker.blocks.columns
    assert (len(index), index.width, len(near._ranker.near.index)) == (WHOLE, columns.shape[1], LEARNED)
    np.testing.assert_array_equal(index.arrays()["middles"], near._ranker.near.index.arrays()["middles"])
    queries = np.random.default_rng(0).standard_normal((9, columns.shape[1])).astype(np.float32)
    numbers = index.search(queries, WHOLE, index.most)[1]
    assert (np.sort(numbers, axis=1) == np.arange(WHOLE)).all()
    if kind == "ivf":
        exact = queries @ columns.T
        found = np.take_along_axis(exact, numbers, 1)  # some items are alike
        np.testing.assert_allclose(found, -np.sort(-exact, axis=1), rtol=1e-4, atol=1e-4)
    assert grown.info()["search"]["recall"] >= 0.5
    less = grown.remove_items(range(LEARNED, WHOLE)).update_items(content(range(5)))
    assert len(less._ranker.near.index) == LEARNED


@pytest.fixture(scope="module")
def flagged():
    """A model whose items have a flag and a number beside their categories."""
    frame = planted(n_users=120, n_items=LEARNED, n_groups=GROUPS, noise=0.1, seed=0)
    items = content(range(LEARNED)).assign(kids=[number % 2 == 0 for number in range(LEARNED)], size=range(LEARNED))
    return recgan.train(frame, items, config=recgan.Config(**QUICK))


def test_a_flag_that_is_missing_is_neither_true_nor_false(flagged, tmp_path):
    added = flagged.add_items(content([100]))
    assert added.item_table["kids"].isna().tolist() == [False] * LEARNED + [True]
    again = added.update_items(content([100]))
    assert np.array_equal(added.item_vectors().loc[100], again.item_vectors().loc[100])
    false = flagged.add_items(content([100]).assign(kids=False))
    assert not np.array_equal(added.item_vectors().loc[100], false.item_vectors().loc[100])
    added.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.item_table, added.item_table)
    told = flagged.update_items(content([3]).assign(kids=True))
    assert told.item_table["kids"].dtype == bool


@pytest.mark.parametrize("change", [{"kids": "maybe"}, {"size": "large"}])
def test_an_update_with_other_kinds_of_content_is_refused(flagged, change):
    with pytest.raises(DataError, match="holds text, the model has learned it as number"):
        flagged.update_items(content([3]).assign(**change))


def test_some_learned_items_have_to_stay(flagged):
    grown = flagged.add_items(content([100, 101]))
    for left in (0, 1):
        with pytest.raises(DataError, match=f"{left} items would be left that were learned"):
            grown.remove_items(range(left, LEARNED))
    few = grown.remove_items(range(2, LEARNED))
    assert few.items.tolist() == [0, 1, 100, 101]
    assert few.update_items(content([101])).add_items(content([102])).items.tolist() == [0, 1, 100, 101, 102]


def test_reasons_of_stated_categories_know_those_that_were_learned(flagged):
    grown = flagged.update_items(content([3]).assign(categories="aaa|g3"))
    gone = grown.remove_items([item for item in range(LEARNED) if "g0" in content([item])["categories"][0]])
    for model in (grown, gone):
        told = model.recommend(preferences={"categories": ["g1"]}, n=9, explain=True)
        kinds = model.item_table.set_index("item_id")["categories"].loc[told["item_id"]].str.split("|")
        assert kinds.map(lambda names: "g1" in names).any()
        for reason, names in zip(told["reason"], kinds, strict=True):
            assert (reason == "You said that you like g1") == ("g1" in names)

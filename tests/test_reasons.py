from __future__ import annotations

import copy
import json
import re
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL
from planted import planted

import recgan
from recgan.errors import ConfigError, UnknownItemError, UnknownUserError
from recgan.histories import Histories
from recgan.linear import SparseRows
from recgan.ranking import Query, Ranker, Weights
from recgan.reasons import NO_HISTORY, PINNED, POPULAR, UNTOLD, Words, pulls, strongest

PARTS = ("generated", "dense", "factors", "sparse", "discriminator")


@pytest.fixture(scope="module")
def films():
    """A model whose items have titles and categories."""
    frame = planted(n_users=60, n_items=40, n_groups=4, noise=0.1, seed=1)
    items = pd.DataFrame({"item_id": range(40), "title": [f"Film {one} ({1960 + one})" for one in range(40)]})
    items["categories"] = [f"group {one % 4}|{'even' if one % 2 == 0 else 'odd'}" for one in range(40)]
    return recgan.train(frame, items, config=recgan.Config(**{**SMALL, "epochs": 4}))


@pytest.fixture(scope="module", params=["bag", "sequence"])
def ranker(request):
    """All parts with weights of about the same size, over an encoder with a window of six, and a judge that judges."""
    frame = planted(n_users=60, n_items=40, n_groups=4, noise=0.1, seed=0, ordered=request.param == "sequence")
    items = pd.DataFrame({"item_id": range(40), "categories": [f"a{one % 3}|b{one % 4}" for one in range(40)]})
    users = pd.DataFrame({"user_id": range(60), "age": np.arange(60) % 7})
    settings = {**SMALL, "epochs": 2, "game_steps": 0, "encoder": request.param, "window": 6}
    model = recgan.train(
        frame, items.assign(year=1900.0 + np.arange(40)), users=users, config=recgan.Config(**settings)
    )
    blocks, judge = replace(model._blocks, opening=None), model._judge  # who loses the only item is no stranger here
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in judge.discriminator.head.parameters():
            weights.copy_(0.3 * torch.randn(weights.shape, generator=generator))
        if request.param == "sequence":  # so small a model has learned too little for the places to count
            places = blocks.generator.encoder.positions
            places.copy_(torch.randn(places.shape, generator=generator))
    chosen = Weights(1.0, 50.0, 5.0, 4.0, 0.3, 0.5, 0.7)
    return Ranker(replace(blocks, weights=chosen, sparse=SparseRows(blocks.sparse.rows, 0.8)), judge, 20)


@pytest.fixture(scope="module")
def model(model):
    """Without what counts for short histories in addition, which is no item's doing."""
    return with_weights(model, replace(model._blocks.weights, short_generated=0.0, short_popularity=0.0))


def with_weights(model, weights: Weights) -> recgan.Recommender:
    names = ("_users", "_items", "_histories", "_profiles", "_item_table")
    blocks = replace(model._blocks, weights=weights)
    parts = [getattr(model, name) for name in names]
    return recgan.Recommender(*parts, blocks, model._judge, model._config, model._report)


def question(ranker: Ranker, most: int = 12, n_users: int = 60) -> tuple[Query, np.ndarray]:
    """Users with one to `most` items, and three items for each."""
    random, n_items = np.random.default_rng(0), len(ranker.blocks.columns)
    lists = [random.permutation(n_items)[: random.integers(1, most + 1)] for _ in range(n_users)]
    profiles = random.standard_normal((n_users, ranker.judge.traits.audience.shape[1])).astype(np.float32)
    histories = Histories.from_lists(lists, n_items)
    return Query(histories, histories, profiles), random.integers(0, n_items, (n_users, 3))


def left_out(ranker: Ranker, query: Query, items: np.ndarray, user: int, item: int) -> np.ndarray:
    """What the scores of a user's items lose without one item of the history: asked anew, without it."""
    one = query.take(np.array([user]))
    rest = replace(one, histories=one.histories.part(one.histories.items != item))
    return (ranker.scores(one, items[[user]]) - ranker.scores(rest, items[[user]]))[0]


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("part", [*PARTS, "all"])
def test_pulls_are_what_leaving_out_takes_away(ranker, part, weighed):
    weights = ranker.blocks.weights
    if part != "all":
        only = {field.name: 0.0 for field in fields(Weights) if field.name in PARTS and field.name != part}
        weights = replace(weights, **only)
    asked = Ranker(replace(ranker.blocks, weights=weights), ranker.judge, 20)
    query, items = question(asked)
    if weighed:
        weights = np.random.default_rng(1).uniform(0.3, 3.0, len(query.histories.items)).astype(np.float32)
        query = replace(query, histories=replace(query.histories, weights=weights))
    found = pulls(asked, query, items)
    assert part == "all" or part in found.names
    for user in range(len(items)):
        history = query.histories.of(user)
        assert found.history[user][found.there[user]].tolist() == history.tolist()
        values = found.values[user].sum(axis=-1)
        wanted = np.array([left_out(asked, query, items, user, item) for item in history.tolist()])
        np.testing.assert_allclose(values[: len(history)], wanted, rtol=2e-3, atol=3e-4 * max(1, np.abs(wanted).max()))
        assert not values[len(history) :].any()


def test_what_hangs_on_the_length_alone_is_no_items_doing(ranker):
    """A weight that fades counts as much without an item as with it."""
    query, items = question(ranker, n_users=4)
    fading = replace(ranker.blocks, weights=replace(ranker.blocks.weights, short_generated=2.0, short_popularity=1.0))
    found = pulls(Ranker(fading, ranker.judge, 20), query, items)
    for user in range(4):
        own = query.take(np.array([user])).histories
        generated, popularity = (float(one[0, 0]) for one in fading.fading_weights(own.lengths))
        steady = replace(ranker.blocks.weights, generated=generated, popularity=popularity)
        alone = Ranker(replace(ranker.blocks, weights=steady), ranker.judge, 20)
        wanted = [left_out(alone, query, items, user, item) for item in own.items.tolist()]
        np.testing.assert_allclose(found.values[user, : len(wanted)].sum(axis=-1), wanted, rtol=3e-3, atol=2e-3)


def test_what_is_stated_moves_the_rest_as_much_as_the_whole(films):
    weights = replace(films._blocks.weights, short_generated=0.0, short_popularity=0.0)
    blocks = replace(films._blocks, weights=weights)
    encoder = copy.deepcopy(blocks.preferences)
    with torch.no_grad():
        encoder.doubt.fill_(-30.0)  # so that it moves a shorter history no more than a longer one
    ranker = Ranker(replace(blocks, preferences=encoder), films._judge, 20)
    lists = [np.array([1, 5, 9]), np.array([2])]
    stated = np.zeros((2, encoder.n_categories), np.float32)
    stated[:, 0] = 1.0
    histories = Histories.from_lists(lists, 40)
    query = Query(histories, histories, np.zeros((2, 0), np.float32), stated=stated)
    items = np.array([[3, 4], [3, 4]])
    found = pulls(ranker, query, items).values.sum(axis=-1)
    for user, history in enumerate(lists):
        wanted = [left_out(ranker, query, items, user, item) for item in history.tolist()]
        np.testing.assert_allclose(found[user, : len(history)], wanted, rtol=2e-3, atol=2e-3)


def test_only_newest_items_are_compared_by_the_judge(ranker, monkeypatch):
    monkeypatch.setattr("recgan.features.COMPARED", 4)
    monkeypatch.setattr("recgan.reasons.judged.COMPARED", 4)
    query, items = question(ranker, n_users=20)
    found = pulls(ranker, query, items).values.sum(axis=-1)
    for user in range(20):
        wanted = [left_out(ranker, query, items, user, item) for item in query.histories.of(user).tolist()]
        np.testing.assert_allclose(found[user][: len(wanted)], wanted, rtol=2e-3, atol=1e-3)


def test_an_item_that_stands_twice_counts_where_it_is_newest(ranker):
    n_items = len(ranker.blocks.columns)
    twice, once = (Histories.from_lists([np.array(one)], n_items) for one in ([1, 2, 1, 3], [2, 1, 3]))
    profiles = np.zeros((1, ranker.judge.traits.audience.shape[1]), np.float32)
    first, second = (pulls(ranker, Query(one, one, profiles), np.array([[4, 5]])) for one in (twice, once))
    assert first.history.tolist() == second.history.tolist() == [[2, 1, 3]]
    np.testing.assert_array_equal(first.values, second.values)


def test_the_strongest_of_many_are_those_of_each(ranker, monkeypatch):
    query, items = question(ranker)
    items[::4, 1] = -1
    whole = strongest(ranker, query, items)
    monkeypatch.setattr("recgan.reasons.pulling.CELLS", 300)
    numbers, shares = strongest(ranker, query, items)
    np.testing.assert_array_equal(numbers, whole[0])
    np.testing.assert_allclose(shares, whole[1], rtol=1e-3, atol=1e-5)
    for user in range(len(items)):
        found = pulls(ranker, query.take(np.array([user])), np.maximum(items[[user]], 0))
        alone = found.shares()[0]
        for column in np.flatnonzero(items[user] >= 0):
            named = alone[:, column].argsort(kind="stable")[::-1][:2]
            named = named[alone[named, column] > 0.0]
            there = numbers[user, column] >= 0
            np.testing.assert_allclose(shares[user, column][there], alone[named, column], rtol=1e-3)
            assert numbers[user, column][there].tolist() == found.history[0, named].tolist()
        assert (numbers[user][items[user] < 0] == -1).all()


def told_by_leaving_out(model, user, item) -> dict:
    """What the item's score loses without each item of the history, by the public calls alone."""
    history = model._items.ids(model._histories.of(model._one_user(user))).tolist()
    lost = {}
    for left in history:
        rest = [one for one in history if one != left]
        lost[left] = score_of(model, history, item) - score_of(model, rest, item)
    return lost


def score_of(model, history, item) -> float:
    lists = model.recommend(history=history, items=[item], filter_seen=False)
    return float(lists["score"].iloc[0])


def test_reasons_are_what_the_score_loses(model):
    for user in model.users.tolist()[:5]:
        item = model.recommend(user, 1)["item_id"].iloc[0]
        lost = told_by_leaving_out(model, user, item)
        reasons = model.explain(user, item)
        total = sum(max(0.0, one) for one in lost.values())
        for row in reasons.itertuples():
            assert row.share == pytest.approx(max(0.0, lost[row.item_id]) / total, rel=2e-2, abs=2e-3)
        assert reasons["share"].sum() == pytest.approx(1.0)
        assert (np.diff(reasons["share"]) <= 0).all()


def test_the_first_reason_counts_more_than_another(model):
    right = []
    random = np.random.default_rng(0)
    for user in model.users.tolist()[:40]:
        item = model.recommend(user, 1)["item_id"].iloc[0]
        history = model._items.ids(model._histories.of(model._one_user(user))).tolist()
        first = model.explain(user, item)["item_id"].iloc[0]
        others = [one for one in history if one != first]
        other = others[random.integers(len(others))]
        without_first, without_other = (
            score_of(model, [one for one in history if one != left], item) for left in (first, other)
        )
        right.append(without_first <= without_other)
    assert np.mean(right) >= 0.9


def test_reasons_come_from_the_history_and_name_their_block(model):
    user = model.users.tolist()[0]
    item = model.recommend(user, 1)["item_id"].iloc[0]
    reasons = model.explain(user, item)
    assert set(reasons["block"]) <= {"generated", "dense", "factors", "sparse", "discriminator"}
    assert set(reasons["item_id"]) <= set(model._items.ids(model._histories.of(0)))
    assert reasons.equals(model.explain(user, item))


def test_a_given_history_replaces_the_stored_one(model):
    items = model.items.tolist()
    reasons = model.explain(history=[items[0], items[1], items[0]], item_id=items[2])
    assert set(reasons["item_id"]) <= {items[0], items[1]}
    assert model.explain(history=[], item_id=items[2]).empty
    assert list(model.explain(history=[], item_id=items[2]).columns) == ["item_id", "share", "block", "shared"]


def test_what_cannot_be_explained_is_refused(model):
    item = model.items.tolist()[0]
    with pytest.raises(ConfigError, match="user_id, a history"):
        model.explain(item_id=item)
    with pytest.raises(UnknownUserError):
        model.explain("nobody", item)
    with pytest.raises(UnknownItemError):
        model.explain(model.users.tolist()[0], "nothing")


def test_ids_keep_their_type_and_categories_are_told():
    frame = planted(n_users=24, n_items=12, n_groups=2, noise=0.1, seed=1)
    frame["item_id"] = "item " + frame["item_id"].astype(str)
    items = pd.DataFrame({"item_id": frame["item_id"].unique()})
    items["categories"] = np.where(np.arange(len(items)) % 2 == 0, "even|all", "odd|all")
    config = recgan.Config(epochs=1, game_steps=0, embedding_dim=8, hidden_dim=8, progress=False)
    some = recgan.train(frame, items, config=config)
    user = some.users.tolist()[0]
    reasons = some.explain(user, some.recommend(user, 1)["item_id"].iloc[0])
    assert reasons["item_id"].str.startswith("item ").all()
    assert reasons["shared"].str.endswith("all").all()


def test_reasons_of_a_batch_are_those_of_explain(films):
    lists = films.recommend_batch(n=5, explain=True)
    assert list(lists) == ["user_id", "item_id", "rank", "score", "reason"]
    assert lists.drop(columns="reason").equals(films.recommend_batch(n=5))
    titles = films.item_table.set_index("item_id")["title"]
    told = re.compile(r"Because of (Film \d+ \(\d+), (\d+) %\)(?: and (Film \d+ \(\d+), (\d+) %\))?(?:: (.+))?")
    for row in lists.itertuples():
        because = films.explain(row.user_id, row.item_id)
        found = told.fullmatch(row.reason).groups()
        two = because["share"].iloc[1] >= 0.5 * because["share"].iloc[0]
        assert (found[2] is not None) == two
        for place in range(1 + two):
            assert found[2 * place] + ")" == titles[because["item_id"].iloc[place]]
            assert abs(int(found[2 * place + 1]) - 100 * because["share"].iloc[place]) <= 1.0
        shared = {name for names in because["shared"].iloc[: 1 + two] for name in names.split("|") if name}
        assert set(filter(None, (found[4] or "").split(", "))) == shared


def test_one_user_is_told_what_the_batch_is_told(films):
    lists = films.recommend_batch([3, 4], 6, explain=True)
    singles = pd.concat([films.recommend(user, 6, explain=True) for user in (3, 4)], ignore_index=True)
    assert lists["reason"].tolist() == singles["reason"].tolist()
    history = films._items.ids(films._histories.of(3)).tolist()
    assert films.recommend(history=history, n=6, explain=True)["reason"].tolist() == singles["reason"].tolist()[:6]


def test_who_has_no_history_is_told_so(films):
    lists = films.recommend_batch([999, 3], 4, explain=True)
    assert lists["reason"].tolist()[:4] == [NO_HISTORY] * 4
    assert lists["reason"].str.startswith("Because of ").tolist() == [False] * 4 + [True] * 4
    assert films.recommend(history=[], n=2, explain=True)["reason"].tolist() == [NO_HISTORY] * 2


def test_what_is_stated_without_a_history_is_told_as_such(films):
    said = {"categories": ["group 1", "odd"]}
    lists = films.recommend(history=[], n=40, preferences=said, explain=True)
    kinds = films.item_table.set_index("item_id")["categories"].reindex(lists["item_id"]).str.split("|")
    for reason, own in zip(lists["reason"], kinds, strict=True):
        shared = [name for name in said["categories"] if name in own]
        assert reason == (f"You said that you like {', '.join(shared)}" if shared else NO_HISTORY)
    liked = films.recommend(history=[], n=3, preferences={"items": [1]}, explain=True)
    assert liked["reason"].str.startswith("Because of Film 1 (1961, 100 %)").all()


def test_what_a_rule_pins_is_told_as_such(films):
    lists = films.recommend(3, 4, rules={"pinned": {2: 39}}, filter_seen=False, explain=True)
    assert lists["item_id"].iloc[1] == 39
    assert [one == PINNED for one in lists["reason"]] == [False, True, False, False]


def test_what_nothing_pulls_is_told_as_such(films):
    model = with_weights(films, Weights(generated=0.0, popularity=1.0))
    lists = model.recommend(3, 1000, explain=True)
    popular = films._blocks.popularity[films._items.numbers(lists["item_id"])] > 0.0
    assert lists["reason"].tolist() == np.where(popular, POPULAR, UNTOLD).tolist()
    assert 0 < popular.sum() < len(popular)


def test_empty_lists_have_an_empty_column(films):
    for empty in (films.recommend(3, 0, explain=True), films.recommend_batch([], 5, explain=True)):
        assert list(empty) == ["user_id", "item_id", "rank", "score", "reason"]
        assert empty["reason"].dtype == films.recommend(3, 1, explain=True)["reason"].dtype
    short = films.recommend_batch([3, 999], 1000, items=[1, 2], explain=True)
    assert short["reason"].str.len().min() > 0


def test_explain_is_a_flag(films):
    for wrong in ("yes", 1, None):
        with pytest.raises(ConfigError, match="explain: True or False"):
            films.recommend(3, explain=wrong)


def test_the_account_names_mood_realism_and_what_is_shared(films):
    user = 3
    moods = films.moods(user)
    for row in moods.groupby("mood").head(2).itertuples():
        told = films.explain(user, row.item_id).attrs
        assert (told["mood"], told["name"]) == (row.mood, row.name)
    told = films.explain(user, films._items.ids(films._histories.of(3)).iloc[0]).attrs
    assert told["mood"] in set(moods["mood"])
    reasons = films.explain(user, moods["item_id"].iloc[0])
    for name, share in reasons.attrs["shared"].items():
        having = [name in one.split("|") for one in reasons["shared"]]
        assert share == pytest.approx(reasons["share"][having].sum())
    assert list(reasons.attrs["shared"].values()) == sorted(reasons.attrs["shared"].values(), reverse=True)
    json.dumps(reasons.attrs)


def test_realism_is_a_share_of_the_items_outside_the_history(films):
    seen = films._items.ids(films._histories.of(3)).tolist()
    unseen = [item for item in films.items.tolist() if item not in seen]
    values = np.array([films.explain(3, item).attrs["realism"] for item in unseen])
    assert values.min() >= 0.0
    assert values.max() <= 1.0
    assert values.mean() == pytest.approx(0.5)  # of all of them, each is above exactly those that are below it
    assert np.ptp(values) > 0.5
    assert 0.0 <= films.explain(3, seen[0]).attrs["realism"] <= 1.0
    frame = planted(n_users=24, n_items=12, n_groups=2, noise=0.1, seed=1)
    unplayed = recgan.train(frame, config=recgan.Config(**{**SMALL, "epochs": 1, "game_steps": 0}))
    told = unplayed.explain(3, 1).attrs
    assert (told["realism"], told["shared"]) == (None, {})
    assert json.loads(json.dumps(unplayed.explain(history=[], item_id=1).attrs))["realism"] is None


def test_words():
    items = pd.DataFrame({"item_id": ["a", "b", "c", "d"], "title": ["Heat :)", " Two\nlines ", None, "x" * 90]})
    words = Words(items.assign(categories=["A|B|C|D", "D|C|B|A", None, ""]))
    assert words.sentence(0, [1], [1.0]) == "Because of Two lines (100 %): A, B, C"
    assert words.sentence(1, [0, 2], [0.5, 0.24]) == "Because of Heat :) (50 %): D, C, B"
    assert words.sentence(2, [2, 3], [0.001, 0.001]) == f"Because of c (1 %) and {'x' * 59}… (1 %)"
    assert Words(items[["item_id"]]).sentence(0, [1, 2], [0.2, 0.2]) == "Because of b (20 %) and c (20 %)"
    assert words.common(0, [2, 3]) == []
    foreign = pd.DataFrame({"item_id": [1, 2], "title": ["Chats (Cats)", "Nikita (1990)"]})
    assert Words(foreign).sentence(0, [0, 1], [0.6, 0.4]) == "Because of Chats (Cats) (60 %) and Nikita (1990, 40 %)"
    titles = pd.Series(["\ud800", "evil\x1b[31m"], dtype=object)
    hostile = pd.DataFrame({"item_id": ["\x1b", "b"], "title": titles, "categories": "A\u202e"})
    assert Words(hostile).sentence(0, [1, 0], [0.5, 0.5]) == r"Because of evil [31m (50 %) and '\x1b' (50 %): A"

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from planted import planted

import recgan
from recgan.errors import ConfigError, UnknownItemError, UnknownUserError
from recgan.reasons import common_categories, pulls


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


def test_only_the_newest_items_of_a_long_history_are_weighed(model, monkeypatch):
    import recgan.reasons as module

    monkeypatch.setattr(module, "MOST_REASONS", 2)
    monkeypatch.setattr(module, "CELLS", 1)
    user = int(np.argmax(model._histories.lengths))
    query = model._query(model._known([model.users.iloc[user]]), items=None, exclude=None, filter_seen=False)
    found = pulls(model._ranker, query, np.array([3, 4]))
    assert found.history.tolist() == model._histories.of(user)[::-1][:2].tolist()
    assert found.values.shape == (2, 2, len(found.names))


def test_common_categories():
    table = pd.DataFrame({"categories": ["Drama|War", "War", None, "Comedy|Drama|War"]})
    assert common_categories(table, 0, np.array([1, 2, 3])) == ["War", "", "Drama|War"]
    assert common_categories(table[[]], 0, np.array([1, 2])) == ["", ""]


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

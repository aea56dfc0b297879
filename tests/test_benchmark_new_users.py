"""The benchmark of users whose histories are short."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import planted

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import new_users

from recgan.splits import Holdout

USERS, ITEMS = 150, 80


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Films of four kinds, and users who like one of them."""
    folder = tmp_path_factory.mktemp("data") / "ml-1m"
    folder.mkdir()
    frame = planted(USERS, ITEMS, 4, noise=0.1, seed=0)
    frame.assign(rating=5).to_parquet(folder / "interactions.parquet", index=False)
    kinds = [f"kind {item % 4}|{'even' if item % 2 else 'odd'}" for item in range(ITEMS)]
    items = pd.DataFrame({"item_id": range(ITEMS), "title": [f"Film {item} (1990)" for item in range(ITEMS)]})
    items.assign(categories=kinds).to_parquet(folder / "items.parquet", index=False)
    return folder.parent


def holdout() -> Holdout:
    history = pd.DataFrame({"user_id": [1] * 4 + [2] * 3, "item_id": range(7), "timestamp": [4, 3, 2, 1, 5, 6, 7]})
    return Holdout(history, pd.DataFrame({"user_id": [1, 2], "item_id": [20, 21]}))


def test_the_newest_are_shown_and_the_rest_is_the_rest():
    kept, rest = new_users.shown(holdout(), 2)
    assert sorted(kept["item_id"]) == [0, 1, 5, 6]
    assert sorted(rest["item_id"]) == [2, 3, 4]
    unordered = holdout().history.drop(columns="timestamp")
    kept, rest = new_users.shown(Holdout(unordered, holdout().truth), 2)
    assert kept["user_id"].value_counts().tolist() == [2, 2]
    assert sorted([*kept["item_id"], *rest["item_id"]]) == list(range(7))


def test_rivals_are_tuned_for_every_length():
    cut = new_users.mixed(holdout())
    lengths = cut.history.groupby("user_id").size().reindex(cut.truth["user_id"], fill_value=0)
    assert len(lengths) == 2 * len(new_users.LENGTHS)
    assert sorted(lengths[lengths.index.str.startswith("1/")]) == [0, 1, 2, 4, 4, 4]


def test_stated_categories_come_from_what_is_not_shown(data):
    items = pd.read_parquet(data / "ml-1m" / "items.parquet")
    rest = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [4, 8, 1, 5]})
    stated = new_users.stated_by(rest, items, [1, 2, 3])
    assert set(stated) == {1, 2}
    assert "kind 0" in stated[1]["categories"]
    assert "kind 1" in stated[2]["categories"]


def test_curves_of_all_models(data, tmp_path, capsys):
    out = tmp_path / "result.json"
    options = [
        "--data",
        data,
        "--set",
        "ml-1m",
        "--out",
        out,
        "--rivals",
        "Popular,EASE",
        "--table",
        "markdown",
        "--quick",
        "--seeds",
        "2",
    ]
    assert new_users.main([str(one) for one in options]) == 0
    result = json.loads(out.read_text())
    curves = result["curves"]
    assert list(curves) == ["recgan", new_users.STATED, new_users.TURNED, "Popular", "EASE"]
    assert all([one["length"] for one in curve] == list(new_users.LENGTHS) for curve in curves.values())
    values = {name: np.array([one["ndcg@10"] for one in curve]) for name, curve in curves.items()}
    assert values["EASE"][0] == pytest.approx(values["Popular"][0], abs=0.1)
    assert values[new_users.STATED][0] > values["recgan"][0] + 0.1
    assert values["recgan"][3] > values["recgan"][0] + 0.1
    assert "Popular" not in result["strangers"]
    apart = result["strangers"]["EASE"]["hit@10"]
    assert apart["difference"] == pytest.approx(curves["EASE"][0]["hit@10"] - curves["Popular"][0]["hit@10"])
    assert apart["low"] <= apart["difference"] <= apart["high"]
    printed = capsys.readouterr().out
    assert "| EASE |" in printed
    assert "Without any history" in printed

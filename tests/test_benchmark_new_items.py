"""The benchmark of new items: rivals by hand, and a run from the split to the tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import planted

from recgan.histories import Histories

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import cold_rivals
import new_items


@pytest.fixture
def case():
    known = pd.DataFrame({"item_id": [0, 1, 2], "categories": ["a", "a|b", "b"]})
    new = pd.DataFrame({"item_id": [3, 4], "categories": ["a", "a|b"]})
    return cold_rivals.Case(known, new, np.array([4, 2, 6]), lambda histories: np.ones((len(histories), 3)))


def test_popularity_of_categories_by_hand(case):
    histories = Histories.from_lists([np.array([0, 1]), np.array([2])], 3)
    plain = cold_rivals.by_category(case, personal=False)(histories)
    np.testing.assert_allclose(plain, [[3.0, (3.0 + 4.0) / 2]] * 2)
    mixed = cold_rivals.by_category(case, personal=True)(histories)
    np.testing.assert_allclose(mixed, [[2 * 3.0, (2 * 3.0 + 1 * 4.0) / 2], [0.0, 4.0 / 2]])


def test_means_of_neighbours_by_hand():
    cosines = np.array([[0.9, 0.5, 0.1], [0.0, 0.2, 0.4]])
    histories = Histories.from_lists([np.array([0, 1]), np.array([2]), np.array([], np.int64)], 3)
    near = cold_rivals.by_history(cosines, 1)(histories)
    np.testing.assert_allclose(near, [[0.9, 0.2], [0.1, 0.4], [0.0, 0.0]])
    closed = np.array([[1.0, 2.0, 3.0]])
    mean = cold_rivals.by_neighbours(cosines, 2, lambda _: closed)(histories)
    np.testing.assert_allclose(mean, [[(0.9 * 1 + 0.5 * 2) / 1.4, (0.2 * 2 + 0.4 * 3) / 0.6]])


@pytest.fixture
def data(tmp_path):
    rows = planted(n_users=60, n_items=160, n_groups=4, noise=0.1, seed=0)
    numbers = np.arange(160)
    titles = [f"thing of kind{number % 4} (199{number % 9})" for number in numbers]
    items = pd.DataFrame({"item_id": numbers, "title": titles, "categories": [f"g{n % 4}|all" for n in numbers]})
    folder = tmp_path / "movietweetings"
    folder.mkdir()
    rows.to_parquet(folder / "interactions.parquet")
    items.to_parquet(folder / "items.parquet")
    return tmp_path


def test_what_is_new_is_nowhere_in_training(data):
    found = new_items.cut(data, "movietweetings", 0)
    assert found.added["item_id"].nunique() == 16
    assert not found.train["item_id"].isin(found.added["item_id"]).any()
    assert set(found.new["item_id"]) <= set(found.added["item_id"])
    assert not found.train.merge(found.learned).size
    assert set(found.items["item_id"]) == set(found.train["item_id"])


@pytest.mark.slow
def test_from_the_split_to_the_tables(data, tmp_path, capsys):
    arguments = ["--data", str(data), "--set", "movietweetings", "--out", str(tmp_path / "found.json"), "--quick"]
    assert new_items.main([*arguments, "--table", "markdown"]) == 0
    told = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["runs"][0]["lists of learned items are equal"]
    assert len(found["alone"]) == 6
    assert found["alone"]["recgan"]["ndcg@20"] > found["alone"]["by chance"]["ndcg@20"]
    assert found["among"]["without new items"]["share of new items"] == 0.0
    assert found["among"]["with at least 2 new items"]["share of new items"] > 0.0
    assert "new items among themselves" in told
    assert new_items.main([*arguments, "--stored"]) == 0

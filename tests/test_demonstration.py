from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from planted import planted

import recgan
from recgan import demonstration


@pytest.fixture
def planted_films(monkeypatch):
    frame = planted(80, 40, 4, noise=0.1, seed=2, ordered=True).assign(rating=5.0)
    ids = range(40)
    items = pd.DataFrame({"item_id": ids, "title": [f"Film {i}" for i in ids], "year": np.nan, "categories": "Drama"})
    users = pd.DataFrame({"user_id": range(80), "age": range(80)})
    monkeypatch.setattr(recgan, "load_dataset", lambda name: recgan.Dataset(frame, items, users), raising=False)


@pytest.mark.slow
def test_the_main_job_end_to_end(planted_films, tmp_path, capsys):
    result = demonstration.run(tmp_path / "out", quick=True)
    shown = capsys.readouterr().out
    assert "Film" in shown
    assert "p = " in shown
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == result
    assert {row["model"] for row in result["rows"]} >= {"recgan", "recgan, ids only", "Popular", "ItemKNN", "EASE"}
    lists = pd.read_parquet(tmp_path / "out" / "recommendations.parquet")
    assert {"user_id", "item_id", "rank", "score", "title"} <= set(lists.columns)
    assert lists["user_id"].nunique() == 80
    model = recgan.Recommender.load(tmp_path / "out" / "model")
    assert model.recommend(3)["item_id"].tolist() == lists[lists["user_id"] == 3]["item_id"].tolist()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Film" in page
    assert "ndcg@k" in page
    assert (tmp_path / "out" / "map.png").read_bytes().startswith(b"\x89PNG")


def test_a_user_counts_once_with_the_mean_over_the_splits():
    def frame(values):
        names = [*demonstration.METRICS[:2], *demonstration.LENGTHS]
        part = pd.DataFrame({"user_id": [1, 2], **dict.fromkeys(names, values)}).set_index("user_id")
        part.attrs = {"coverage@10": 0.5}
        return part

    values = {
        "recgan": [frame([1.0, 0.5]), frame([0.0, 0.5])],
        "recgan, ids only": [frame([0.0, 0.0])] * 2,
        "EASE": [frame([0.25, 0.25])] * 2,
        "Popular": [frame([0.0, 0.25])] * 2,
    }
    table, result = demonstration._judged(values)
    first = table[table["metric"] == "ndcg@10"].set_index("model")
    assert first.loc["recgan", "mean"] == pytest.approx(0.5)
    assert first.loc["recgan", "deviation"] == pytest.approx(0.25)
    assert result["best_classic"] == "EASE"
    assert np.isnan(first.loc["EASE", "p_value"])
    assert result["p_value"] == first.loc["recgan", "p_value"]

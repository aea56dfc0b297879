"""The benchmarks of weights and of updates run, on planted data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import planted

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import events
import update

UPDATED = ["stale", "stale, shown the histories", "update", "update, fine-tuned"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    frame = planted(n_users=60, n_items=120, n_groups=4, noise=0.2, seed=0, ordered=True)
    frame["rating"] = np.random.default_rng(0).integers(1, 6, len(frame))
    (place / "some").mkdir()
    frame.to_parquet(place / "some" / "interactions.parquet")
    return place


def test_readings_of_ratings(folder, tmp_path, capsys):
    names = ["from 4, up to 2 disliked", "ratings as weights"]
    options = ["--data", str(folder), "--set", "some", "--linear", "--seeds", "2", "--out", str(tmp_path / "out.json")]
    assert events.main([*options, "--readings", *names]) == 0
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["seed"] for row in rows] == [0] * (len(events.PUSHES) + 1) + [1] * (len(events.PUSHES) + 1)
    assert all(set(row["values"]) == {"ndcg@10", "ndcg@100", "power"} for row in rows)
    assert all(0.0 <= row["values"]["ndcg@10"] <= 1.0 for row in rows)
    printed = capsys.readouterr().out
    assert events.main([*options, "--stored"]) == 0
    assert capsys.readouterr().out == printed
    mean = np.mean([row["values"]["ndcg@100"] for row in rows if row["name"] == "ratings as weights, linear"])
    assert f"{mean:.4f} (" in printed


def test_an_update_beside_a_new_training(folder, tmp_path, small_config, monkeypatch):
    monkeypatch.setattr(update.recgan, "Config", lambda **settings: small_config.changed(**settings))
    out = tmp_path / "out.json"
    assert update.main(["--data", str(folder), "--set", "some", "--epochs", "1", "--out", str(out)]) == 0
    names = [row["name"] for row in json.loads(out.read_text())["rows"]]
    assert names == [*UPDATED, "trained anew"]


def test_an_update_once_new_items_are_added(folder, tmp_path, small_config, monkeypatch):
    monkeypatch.setattr(update.recgan, "Config", lambda **settings: small_config.changed(**settings))
    frame = pd.read_parquet(folder / "some" / "interactions.parquet")
    late = frame["timestamp"] >= frame["timestamp"].quantile(0.92)  # two items come with the last events but one
    frame.loc[late & (frame["item_id"] < 60), "item_id"] = frame.loc[late, "item_id"] % 2 + 200
    (tmp_path / "new").mkdir()
    frame.drop_duplicates(["user_id", "item_id"]).to_parquet(tmp_path / "new" / "interactions.parquet")
    items = pd.DataFrame({"item_id": [*range(120), 200, 201]})
    items["categories"] = [f"kind {item % 4}" for item in items["item_id"]]
    items.to_parquet(tmp_path / "new" / "items.parquet")
    out = tmp_path / "out.json"
    assert update.main(["--data", str(tmp_path), "--set", "new", "--epochs", "1", "--out", str(out)]) == 0
    names = [row["name"] for row in json.loads(out.read_text())["rows"]]
    added = ["new items added, update", "new items added, update, fine-tuned"]
    assert names == [*UPDATED, *added, "trained anew"]

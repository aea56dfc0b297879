"""The benchmarks of weights and of updates run, on planted data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from planted import planted

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import events
import update


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
    assert names == ["stale", "stale, shown the histories", "update", "update, fine-tuned", "trained anew"]

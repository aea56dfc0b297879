"""The benchmarks of weights and of updates run, on planted data."""

from __future__ import annotations

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


def test_readings_of_ratings(folder, capsys):
    names = ["from 4, up to 2 disliked", "ratings as weights"]
    assert events.main(["--data", str(folder), "--set", "some", "--linear", "--readings", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["reading", "ndcg@10", "ndcg@100", "power"]
    assert len(lines) == 1 + len(events.PUSHES) + 1
    assert all(0.0 <= float(value) <= 1.0 for line in lines[1:] for value in line.split()[-3:-1])


def test_an_update_beside_a_new_training(folder, capsys, small_config, monkeypatch):
    monkeypatch.setattr(update.recgan, "Config", lambda **settings: small_config.changed(**settings))
    assert update.main(["--data", str(folder), "--set", "some", "--epochs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.rsplit(maxsplit=3)[0] for line in lines[2:]]
    assert names == ["stale", "stale, shown the histories", "update", "update, fine-tuned", "trained anew"]

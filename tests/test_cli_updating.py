"""`recgan update`, and events and dislikes on the command line."""

from __future__ import annotations

import pandas as pd
import pytest
from planted import planted
from test_cli import call, refused

import recgan

SETTINGS = '{"epochs": 1, "game_steps": 0, "embedding_dim": 16, "hidden_dim": 32}'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("update")
    frame = planted(n_users=40, n_items=20, n_groups=2, noise=0.1, seed=0)
    frame.assign(kind=["view", "buy"] * (len(frame) // 2) + ["view"] * (len(frame) % 2)).to_csv(
        folder / "events.csv", index=False
    )
    (folder / "config.json").write_text(SETTINGS)
    options = ["--event", "view=1", "--event", "buy=5", "--column", "kind=event", "--config", folder / "config.json"]
    result = call("train", folder / "events.csv", "--out", folder / "model", *options)
    assert result.exit_code == 0, result.output
    return folder


def test_new_events_come_in(place):
    new = pd.DataFrame({"who": [0, 900, 900], "item_id": [19, 2, 4], "event": ["buy", "view", "dislike"]})
    new.to_csv(place / "new.csv", index=False)
    events = ["--event", "view=1", "--event", "buy=5", "--event", "dislike=-1", "--column", "who=user_id"]
    result = call("update", place / "model", place / "new.csv", "--out", place / "model-2", *events)
    assert result.exit_code == 0, result.output
    assert "3 interactions came in, 1 users are new" in result.stderr
    old, model = (recgan.Recommender.load(place / name) for name in ("model", "model-2"))
    assert 900 in set(model.users) - set(old.users)
    assert 4 not in set(model.recommend(900, 20, filter_seen=False)["item_id"])
    assert 19 not in set(model.recommend(0, 20)["item_id"])


def test_what_is_refused(place):
    pd.DataFrame({"user_id": [1], "item_id": ["x"]}).to_csv(place / "text.csv", index=False)
    refused(call("update", place / "model", place / "text.csv", "--out", place / "no"), "'x'", "ids are integers")
    refused(call("update", place / "model", place / "events.csv", "--out", place), "exists and is no model")
    assert call("update", place / "model", place / "text.csv", "--out", place / "no", "--event", "buy").exit_code == 2
    assert not (place / "no").exists()

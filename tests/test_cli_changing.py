"""`recgan items` and `recgan forget`."""

from __future__ import annotations

import pandas as pd
import pytest
from planted import planted
from test_cli import call, refused
from test_growing import content

import recgan

SETTINGS = '{"epochs": 1, "game_steps": 0, "embedding_dim": 16, "hidden_dim": 32}'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    frame = planted(n_users=60, n_items=40, n_groups=4, noise=0.1, seed=0)
    frame.assign(user_id="u" + frame["user_id"].astype(str)).to_csv(folder / "seen.csv", index=False)
    content(range(40)).to_csv(folder / "items.csv", index=False)
    (folder / "config.json").write_text(SETTINGS)
    options = ["--items", folder / "items.csv", "--config", folder / "config.json"]
    result = call("train", folder / "seen.csv", "--out", folder / "model", *options)
    assert result.exit_code == 0, result.output
    return folder


def test_items_go_change_and_come(place, tmp_path):
    pd.DataFrame({"item_id": [3, 4]}).to_csv(tmp_path / "gone.csv", index=False)
    pd.DataFrame({"item_id": [5], "title": ["renamed"]}).to_csv(tmp_path / "changed.csv", index=False)
    content([3, 100]).to_csv(tmp_path / "arrivals.csv", index=False)  # what goes may come back
    tables = [("--add", "arrivals"), ("--remove", "gone"), ("--change", "changed")]
    options = [part for option, name in tables for part in (option, tmp_path / f"{name}.csv")]
    result = call("items", place / "model", "--out", tmp_path / "new", *options)
    assert result.exit_code == 0, result.output
    assert "40 items, there were 40; 2 known by content alone" in result.stderr
    old, new = recgan.Recommender.load(place / "model"), recgan.Recommender.load(tmp_path / "new")
    assert set(new.items) == set(old.items) - {4} | {100}
    assert new.item_table.set_index("item_id")["title"][5] == "renamed"
    expected = old.remove_items([3, 4]).update_items(pd.DataFrame({"item_id": [5], "title": ["renamed"]}))
    expected = expected.add_items(content([3, 100]))
    pd.testing.assert_frame_equal(new.recommend_batch(n=9), expected.recommend_batch(n=9))


def test_items_that_cannot_be_changed(place, tmp_path):
    content([3]).to_csv(tmp_path / "known.csv", index=False)
    refused(call("items", place / "model", "--out", tmp_path / "no"), "nothing to do: --remove, --change or --add")
    known = ["--add", tmp_path / "known.csv"]
    refused(call("items", place / "model", "--out", tmp_path / "no", *known), "item 3 is in the catalogue already")
    refused(call("items", place / "model", "--out", tmp_path, *known), "exists and is no model")
    pd.DataFrame({"item_id": ["x"]}).to_csv(tmp_path / "text.csv", index=False)
    text = ["--remove", tmp_path / "text.csv"]
    refused(call("items", place / "model", "--out", tmp_path / "no", *text), "'x'", "ids are integers")
    assert not (tmp_path / "no").exists()


def test_users_are_forgotten(place, tmp_path):
    pd.DataFrame({"user_id": ["u3", "u7"]}).to_csv(tmp_path / "leaving.csv", index=False)
    result = call("forget", place / "model", tmp_path / "leaving.csv", "--out", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert "2 users are gone, 58 are left" in result.stderr
    model = recgan.Recommender.load(tmp_path / "new")
    assert not {"u3", "u7"} & set(model.users)
    assert all(b"u7" not in file.read_bytes() for file in (tmp_path / "new").iterdir() if file.suffix == ".parquet")
    refused(call("forget", tmp_path / "new", tmp_path / "leaving.csv", "--out", tmp_path / "no"), "u3")

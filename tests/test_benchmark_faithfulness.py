"""The benchmark of the reasons: whether they say what moves the score."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from planted import planted

import recgan
from recgan.histories import Histories

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import attributions
import faithfulness


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_gradients_are_slopes(encoder):
    frame = planted(n_users=30, n_items=20, n_groups=2, noise=0.1, seed=0, ordered=True)
    settings = {"epochs": 1, "game_steps": 0, "embedding_dim": 8, "hidden_dim": 8, "window": 3, "encoder": encoder}
    blocks = recgan.train(frame, config=recgan.Config(**settings, progress=False))._blocks
    histories = Histories.from_lists([np.array([1, 2, 3, 4, 5]), np.array([6, 7])], 20)
    items = np.array([[8, 9], [10, 8]])
    found = attributions.gradients(blocks.generator, histories, items, 3)
    assert not found[0, :2].any()
    assert not found[1, 2:].any()

    def score(user: int, place: int, there: float) -> np.ndarray:
        read, mask = histories.window(np.array([user]), 3)
        weights = torch.from_numpy(mask).float()
        weights[0, place] = there
        wanted = blocks.generator.wanted(attributions._conditions(blocks.generator, torch.from_numpy(read), weights))
        return (blocks.generator.item_vectors()[items[user]] @ wanted[0]).numpy()

    for user, first, n in ((0, 2, 3), (1, 0, 2)):
        for place in range(n):
            slope = (score(user, place, 1.01) - score(user, place, 0.99)) / 0.02
            np.testing.assert_allclose(found[user, first + place], slope, rtol=0.02, atol=2e-3)


def test_reasons_are_faithful(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "data" / "ml-1m"
    folder.mkdir(parents=True)
    frame = planted(150, 60, 4, noise=0.2, seed=0).assign(rating=5)
    frame.to_parquet(folder / "interactions.parquet", index=False)
    pd.DataFrame({"item_id": range(60), "title": "Film", "categories": "A"}).to_parquet(folder / "items.parquet")
    people = {"user_id": range(150), "gender": "F", "age": "18"}
    pd.DataFrame(people).to_parquet(folder / "users.parquet", index=False)
    asked = ["--data", str(tmp_path / "data"), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "f.json")]
    assert faithfulness.main([*asked, "--quick", "--users", "12", "--n", "3", "--table", "markdown"]) == 0
    result = json.loads((tmp_path / "f.json").read_text())
    assert result["cases"] == 36
    for part in faithfulness.ZEROS:
        assert result["rows"][part]["left out (recgan)"][0] > 0.99
        low, high = result["rows"][part]["newest item"][1:]
        assert 0.0 <= low <= high <= 1.0
    assert result["rows"]["whole score"]["newest item"][0] < 0.9
    assert result["rows"][faithfulness.STRONGEST]["left out (recgan)"] == [1.0, 1.0, 1.0]
    assert all(value > 0.0 for value in result["users_a_second"].values())
    out = capsys.readouterr().out
    assert "| left out (recgan) |" in out
    assert "users/s of one core" in out
    assert result["realism"] is None  # without a game
    monkeypatch.setattr(recgan, "train", lambda *_, **__: pytest.fail("trained again"))
    assert faithfulness.main([*asked, "--quick", "--users", "2", "--n", "1"]) == 0

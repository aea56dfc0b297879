from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import serving
from untrained import Shape, untrained


@pytest.mark.parametrize("encoder", ["bag", "sequence"])
@pytest.mark.parametrize("linear", ["none", "dense", "factors", "sparse"])
@pytest.mark.parametrize("judge", [False, True])
def test_an_untrained_model_serves_and_alone_is_as_among_many(encoder, linear, judge, tmp_path):
    model = untrained(Shape(300, 12, 8, encoder, linear, judge, history=6))
    many = model.recommend_batch(n=5)
    assert (many.groupby("user_id").size() == 5).all()
    for user in (0, 7):
        one, two = model.recommend(user, 5), many[many["user_id"] == user].reset_index(drop=True)
        assert one["item_id"].tolist() == two["item_id"].tolist()
        np.testing.assert_allclose(one["score"], two["score"], rtol=1e-4)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    assert loaded.recommend_batch(n=5).equals(many)


@pytest.mark.slow
def test_from_sizes_to_a_table(capsys, monkeypatch):
    monkeypatch.setattr(serving, "USERS", 30)
    monkeypatch.setattr(serving, "LOADS", 1)
    call = ["--items", "300", "--dim", "8", "--requests", "3", "--encoders", "bag", "--linear", "dense"]
    assert serving.main([*call, "--table", "markdown"]) == 0
    table = capsys.readouterr().out
    assert table.count("| bag |") == 2
    assert "p99 ms, processor" in table

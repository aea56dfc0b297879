from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import batch

CASE = batch.Case(items=400, dim=8, draws=2, n=10, threads=1)


@pytest.fixture(autouse=True)
def few_users(monkeypatch):
    monkeypatch.setattr(batch, "SCORES", 16_000)


@pytest.mark.parametrize("name", ["recgan", "implicit", "FAISS flat"])
def test_every_contender_finds_the_same_lists(name):
    if name == "implicit":
        pytest.importorskip("implicit")
    wanted = batch.CONTENDERS["torch"](CASE)()
    _, _, seen = batch.factors(CASE)
    assert wanted.shape == (2 * CASE.users, 10)
    assert not any(set(row) & set(seen[user]) for user, row in enumerate(wanted))
    found = batch.CONTENDERS[name](CASE)()
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(batch.CONTENDERS[name](CASE)(), found)


@pytest.mark.slow
def test_from_sizes_to_a_table(tmp_path, capsys, monkeypatch):
    pytest.importorskip("implicit")
    monkeypatch.setattr(batch, "ROUNDS", 1)
    out = tmp_path / "batch.json"
    call = ["--items", "300", "--dims", "4", "--draws", "1", "--n", "5", "--out", str(out), "--table", "markdown"]
    assert batch.main(call) == 0
    assert "recgan / implicit" in capsys.readouterr().out
    results = json.loads(out.read_text())["cases"][0]["results"]
    assert set(results) == set(batch.CONTENDERS)
    assert all(found["rate"] > 0 for found in results.values())
    assert results["recgan"]["same"] == results["implicit"]["same"] == 1.0

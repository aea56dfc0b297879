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
    given = batch.factors(CASE)
    wanted = batch.CONTENDERS["torch"](CASE, given)()
    _, _, seen = given
    assert wanted.shape == (2 * CASE.users, 10)
    assert not any(set(row) & set(seen[user]) for user, row in enumerate(wanted))
    found = batch.CONTENDERS[name](CASE, given)()
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(batch.CONTENDERS[name](CASE, given)(), found)


@pytest.mark.slow
def test_from_sizes_to_a_table_size_by_size(tmp_path, capsys, monkeypatch):
    pytest.importorskip("implicit")
    monkeypatch.setattr(batch, "ROUNDS", 2)
    out = tmp_path / "batch.json"
    call = ["--items", "3000", "--dims", "4", "--draws", "1", "--n", "5", "--out", str(out), "--table", "markdown"]
    assert batch.main(call) == 0
    assert "recgan / implicit" in capsys.readouterr().out
    first = json.loads(out.read_text())["cases"][0]
    results = first["results"]
    assert set(results) == set(batch.CONTENDERS)
    assert all(found["rate"] > 0 and len(found["seconds"]) == 2 for found in results.values())
    assert all(0 <= found["mib"] < 400 for found in results.values())
    assert results["recgan"]["same"] == results["implicit"]["same"] == 1.0

    def interrupted(case):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "of_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        batch.main([*call[:1], "3000,3001", *call[2:]])
    assert json.loads(out.read_text())["cases"] == [first]
    assert batch.main(call) == 0  # nothing is left to measure


def test_a_size_is_measured_again_when_the_code_has_changed(tmp_path, monkeypatch):
    out, asked = tmp_path / "batch.json", []

    def found(case):
        asked.append(case.items)
        return {name: {"rate": 2.0, "seconds": [1.0, 3.0, 2.0], "same": 1.0, "mib": 1.0} for name in batch.CONTENDERS}

    monkeypatch.setattr(batch, "of_case", found)
    call = ["--dims", "4", "--draws", "1", "--out", str(out), "--items"]
    assert batch.main([*call, "300"]) == 0
    assert batch.main([*call, "300,301"]) == 0
    assert asked == [300, 301]
    monkeypatch.setattr(batch, "code", lambda: "another")
    assert batch.main([*call, "301"]) == 0
    assert asked == [300, 301, 301]


def test_every_number_of_threads_has_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "HERE", tmp_path)
    monkeypatch.setattr(batch, "of_case", lambda case: {name: {"failed": "no"} for name in batch.CONTENDERS})
    for threads in ("1", "2"):
        assert batch.main(["--items", "300", "--dims", "4", "--draws", "1", "--threads", threads]) == 1
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"batch-1.json", "batch-2.json"}


@pytest.mark.slow
def test_a_contender_that_dies_stops_nobody(monkeypatch, capsys):
    monkeypatch.setattr(batch, "ROUNDS", 1)
    monkeypatch.setattr(batch, "CONTENDERS", {"torch": None, "no contender": None, "product": None})
    found = batch.of_case(CASE)
    assert found["no contender"] == {"failed": "ended with exit code 1"}
    assert found["torch"]["rate"] > 0
    assert found["torch"]["same"] == 1.0
    assert found["product"]["same"] is None
    assert batch.ratio(found, "torch", "no contender") is None


def test_ratios_are_medians_over_the_rounds():
    found = {"a": {"seconds": [1.0, 1.0, 5.0]}, "b": {"seconds": [2.0, 3.0, 5.0]}}
    assert batch.ratio(found, "a", "b") == 2.0

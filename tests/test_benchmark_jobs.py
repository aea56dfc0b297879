from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import engines
import memory
import rules_and_workers


@pytest.mark.slow
def test_memory_from_users_to_a_table(capsys):
    assert memory.main(["--users", "100,300", "--items", "50", "--n", "3", "--table", "markdown"]) == 0
    table = capsys.readouterr().out
    assert "| 100 | 300 |" in table
    assert "| 300 | 900 |" in table


def test_known_users_get_lists_of_their_own():
    found = memory.measured(60, 50, 3, True, 1)
    assert found["rows"] == 180
    assert 0 < found["written"] < 1
    assert found["peak"] >= found["beyond"] >= 0


def test_rules_and_workers_from_a_model_to_a_table(capsys, monkeypatch):
    monkeypatch.setattr(rules_and_workers, "USERS", 40)
    call = ["--items", "120", "--n", "5", "--rounds", "1", "--users", "50", "--table", "markdown"]
    assert rules_and_workers.main(call) == 0
    told = capsys.readouterr().out
    assert all(f"| {rule} |" in told for rule in rules_and_workers.RULES)
    assert "50 users: one worker" in told


def test_engines_write_the_same(capsys, monkeypatch):
    monkeypatch.setattr(engines, "OWN", 40)
    assert engines.main(["--users", "60", "--items", "120", "--n", "5", "--table", "markdown"]) == 0
    assert "| local | 300 |" in capsys.readouterr().out
    monkeypatch.setattr(engines, "ENGINES", {"local": "recgan", "other": "numpy"})
    hashes = iter([("a", "b"), ("a", "c")])
    monkeypatch.setattr(engines, "hashed", lambda folder: next(hashes))
    monkeypatch.setattr(
        engines, "row", lambda model, place, engine, users, n: [engine, "1", *engines.hashed(place), "0"]
    )
    assert engines.main(["--users", "10", "--items", "40"]) == 1

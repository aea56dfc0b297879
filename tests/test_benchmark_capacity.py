from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import capacity


@pytest.fixture
def results(tmp_path, monkeypatch):
    stages = {name: {"processor": 100.0} for name in ("reading", "closed forms", "game", "second stage")}
    run = {"size": "1e6x1e5x1e5", "interactions": 1_000_000, "stages": stages, "epoch_seconds": 50.0}
    small = {"size": "1e5x1e4x1e4", "interactions": 100_000, "stages": stages, "epoch_seconds": 9.0}
    scale = {"runs": [{**run, "sampled": None}, {**small, "sampled": {"users": 10, "rows": 100}}]}
    told = {"memory": 100.0}
    near = [{"table": "alone", "items": 10**6, "rates": [1.0, 1000.0], "building": 20.0, "told": told}]
    near += [{"table": "lists", "items": 10**6, "rates": [1.0, 500.0], "building": 10.0, "told": told}]
    for name, content in (("scale", scale), ("near", {"rows": near})):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(capacity, "RESULTS", tmp_path)


def test_rates_are_those_of_the_largest_runs(results):
    found = [json.loads((capacity.RESULTS / f"{name}.json").read_text()) for name in ("scale", "near")]
    rates = capacity.Rates.measured(*found)
    assert rates.reading == 100.0 / 100_000
    assert rates.closed == 100.0 / 1_000_000
    assert rates.user == 50.0 / 100_000
    assert rates.second == 200.0 / 100_000
    assert rates.listed == pytest.approx(1 / 500 + 1 / 1000)
    assert rates.built == 20.0 / 10**6
    assert rates.index_bytes == 100.0 * 2**20 / 10**6


def test_hours_grow_with_what_they_follow_from(results, capsys):
    def hours(*arguments):
        found = [json.loads((capacity.RESULTS / f"{name}.json").read_text()) for name in ("scale", "near")]
        rates, asked = capacity.Rates.measured(*found), capacity.parsed(arguments)
        return {name: value for name, value, _, _ in capacity.stages(rates, asked)}

    usual, many = hours(), hours("--users", "2e8")
    assert usual["ranking phase"] == pytest.approx(50.0 / 100_000 * 1e8 / 3600)
    doubled = {name for name in usual if many[name] == pytest.approx(2 * usual[name])}
    assert doubled == {"ranking phase", "refit", "lists for all users"}
    assert capacity.main(["--table", "markdown"]) == 0
    assert "| training, together |" in capsys.readouterr().out

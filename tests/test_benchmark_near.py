"""The benchmark of approximate searches runs, keeps what it measures, and prints it again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import near


def test_it_runs_keeps_and_prints(tmp_path, capsys):
    options = [
        "--items",
        "2000",
        "--alone",
        "3000",
        "--kinds",
        "ivf-pq,ivf",
        "--dim",
        "8",
        "--recall",
        "0.8",
        "--quick",
    ]
    options += ["--out", str(tmp_path / "near.json"), "--table", "markdown"]
    assert near.main(options) == 0
    first = capsys.readouterr().out
    result = json.loads((tmp_path / "near.json").read_text())
    assert [(row["table"], row["kind"]) for row in result["rows"]] == [
        ("lists", "ivf-pq"), ("lists", "ivf"), ("alone", "ivf-pq"), ("alone", "ivf"),
    ]  # fmt: skip
    assert all(row["told"]["recall"] >= 0.75 and min(row["rates"]) > 0 for row in result["rows"])
    assert near.main([*options, "--stored"]) == 0
    assert capsys.readouterr().out == first
    assert first.count("| 2,000 |") == first.count("| 3,000 |") == 2
    assert near.main([*options, "--keep", "--items", "", "--kinds", "ivf"]) == 0
    kept = json.loads((tmp_path / "near.json").read_text())["rows"]
    assert kept[:3] == result["rows"][:3]
    assert len(kept) == 4


def test_what_cannot_be_had_has_the_size_of_the_formula():
    row = {"table": "alone", "items": 10_000_000, "kind": "ivf", "error": "too large"}
    assert near.cells(row, 64, 14)[:6] == ["10,000,000", "ivf", "-", "-", "2,672", "-"]
    assert len(near.cells(row, 64, 14)) == 14


def test_planted_vectors_are_of_length_one_beside_their_popularity():
    columns, queries = near.planted(500, 8)
    np.testing.assert_allclose(np.linalg.norm(columns[:, :8], axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(queries[:, :8], axis=1), 1.0, rtol=1e-5)
    assert columns[:, 8].std() > 0.8

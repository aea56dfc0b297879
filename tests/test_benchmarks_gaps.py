"""The benchmark of the gaps, on planted data."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from planted import planted

import recgan

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import catalogue_gaps


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_config):
    frame = planted(n_users=240, n_items=96, n_groups=8, noise=0.2, seed=0)
    items = pd.DataFrame({"item_id": range(96), "title": [f"Film {i} ({1950 + i})" for i in range(96)]})
    items["categories"] = [f"group {i % 8}" for i in range(96)]
    place = tmp_path_factory.mktemp("gaps")
    frame.assign(rating=5).to_parquet(place / "interactions.parquet")
    items.to_parquet(place / "items.parquet")
    recgan.train(frame, items, config=small_config).save(place / "model")
    return place


def test_what_is_printed(folder, capsys):
    options = ["--data", str(folder), "--model", str(folder / "model"), "--niches", "group 1", "group 5"]
    assert catalogue_gaps.main([*options, "--controls", "2", "--mixed"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["niche", "titles", "popularity", "p"]
    assert [line.split()[2] for line in lines[1:3]] == ["12", "12"]
    assert "found 2 of 2 niches, named 2 (level 0.01)" in lines
    assert "false alarms: 0 of 4 random withdrawals; nothing withdrawn: 0 gaps" in lines


def test_stand_ins_are_of_the_same_popularity_and_none_of_the_niche(folder):
    model = recgan.Recommender.load(folder / "model")
    shelf = catalogue_gaps.Shelf(model, 0)
    niche = shelf.niche("group 3", 8)
    assert len(niche) == 8
    assert all(model.items[number] % 8 == 3 for number in niche)
    others = shelf.like(niche)
    assert len(set(others.tolist())) == 8
    assert not set(others.tolist()) & set(niche.tolist())
    assert abs(shelf.share[others].sum() - shelf.share[niche].sum()) < 0.4 * shelf.share[niche].sum()


def test_a_folder_is_read_with_years_taken_from_titles(folder, monkeypatch):
    got = []
    monkeypatch.setattr(recgan, "train", lambda *tables, **_: got.extend(tables))
    parser = catalogue_gaps.argparse.ArgumentParser()
    catalogue_gaps.add_arguments(parser)
    catalogue_gaps.trained(parser.parse_args(["--data", str(folder), "--unordered"]))
    assert got[0].columns.tolist() == ["user_id", "item_id"]
    assert got[1].loc[3, ["title", "year"]].tolist() == ["Film 3", 1953.0]

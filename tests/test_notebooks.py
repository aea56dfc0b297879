"""The notebooks, cell by cell, with planted data in the place of the public ones."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from planted import planted

import recgan

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
N_ITEMS, N_GROUPS = 96, 8


def films() -> pd.DataFrame:
    """A catalogue whose group 2 is horror."""
    groups = ["Horror" if group == 2 else f"group {group}" for group in range(N_GROUPS)]
    table = pd.DataFrame({"item_id": range(N_ITEMS)})
    table["title"] = [f"Film {item}" for item in range(N_ITEMS)]
    table["categories"] = [groups[item % N_GROUPS] for item in range(N_ITEMS)]
    table["year"] = [1950.0 + 10.0 * (item % N_GROUPS) for item in range(N_ITEMS)]
    return table


def run(name: str) -> dict:
    """Every code cell of a notebook in one name space."""
    cells = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    return names


def test_what_only_a_generator_gives(small_config, monkeypatch, tmp_path):
    mpl.use("Agg")
    frame = planted(n_users=240, n_items=N_ITEMS, n_groups=N_GROUPS, noise=0.2, seed=0)
    data = recgan.Dataset(frame.assign(rating=5), films(), None)
    monkeypatch.setattr(recgan, "load_dataset", lambda _: data)
    monkeypatch.setattr(recgan, "train", partial(recgan.train, config=small_config))
    monkeypatch.chdir(tmp_path)
    names = run("03-generator.ipynb")
    assert names["moods"].groupby("mood").size().tolist() == [5, 5, 5, 5]
    assert names["dial"].index.tolist() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert names["dial"]["diversity@10"].iloc[-1] > names["dial"]["diversity@10"].iloc[0]
    assert names["sure"].shape == (5, 2)
    assert names["sure"].notna().all(axis=None)
    assert len(names["ideal"]) == 3
    assert names["gaps"]["categories"].str.contains("Horror").any()
    assert (tmp_path / "gaps.html").exists()
    assert len(names["plt"].get_fignums()) == 4
    names["plt"].close("all")

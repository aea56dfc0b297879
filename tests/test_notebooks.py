"""The notebooks, cell by cell, with planted data in the place of the public ones."""

from __future__ import annotations

import base64
import json
import sys
from functools import partial
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot
import pandas as pd
import pytest
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
    names: dict = {}
    for cell in cells(name):
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    return names


def cells(name: str) -> list[dict]:
    return json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))["cells"]


@pytest.fixture
def planted_films(small_config, monkeypatch, tmp_path):
    """Planted films in the place of MovieLens, small models in that of large ones, and a folder to write to."""
    mpl.use("Agg")
    frame = planted(n_users=240, n_items=N_ITEMS, n_groups=N_GROUPS, noise=0.2, seed=0, ordered=True)
    data = recgan.Dataset(frame.assign(rating=5.0), films(), None)
    monkeypatch.setattr(recgan, "load_dataset", lambda _: data)
    train = recgan.train
    monkeypatch.setattr(
        recgan, "train", lambda *tables, **options: train(*tables, **{**options, "config": small_config})
    )
    monkeypatch.chdir(tmp_path)
    with mpl.rc_context():
        yield data
    mpl.pyplot.close("all")


def test_from_a_csv_to_recommendations(planted_films, tmp_path):
    names = run("01-quickstart.ipynb")
    assert len(names["liked"]) == len(planted_films.interactions)
    assert names["moods"].groupby("mood").size().tolist() == [4, 4, 4]
    assert names["reasons"]["share"].between(0.0, 1.0).all()
    pd.testing.assert_frame_equal(names["again"].recommend_batch(n=5), names["model"].recommend_batch(n=5))
    assert names["lists"]["user_id"].nunique() == 240
    assert names["bias"].loc["all", ["lists_head", "lists_middle", "lists_tail"]].sum() == pytest.approx(1.0)
    assert {"ratings.csv", "films.csv", "model", "lists"} <= {path.name for path in tmp_path.iterdir()}
    assert len(mpl.pyplot.get_fignums()) == 3


def test_a_model_is_compared_with_the_classics(planted_films, monkeypatch):
    for name in ("IALS", "EASE", "ItemKNN"):
        kind = getattr(recgan.baselines, name)
        monkeypatch.setattr(kind, "grid", {setting: values[:1] for setting, values in kind.grid.items()})
    names = run("02-evaluate.ipynb")
    assert list(names["lists"]) == ["recgan", "IALS", "EASE", "ItemKNN", "Popular"]
    truth, curve = names["truth"], names["curve"]
    told = recgan.evaluate(names["lists"]["EASE"], truth, ["ndcg@10", "ndcg@50"])
    assert curve["EASE"][[10, 50]].tolist() == pytest.approx(list(told.values()))
    assert curve.loc[10, "recgan"] > 2 * curve.loc[10, "Popular"]
    assert not truth.merge(names["split"].train).size
    assert names["of_length"].shape == (4, 5)
    assert len(mpl.pyplot.get_fignums()) == 5


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_outputs_tell_no_place_and_are_small(path):
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 400_000
    assert not [word for word in ("/home/", "/root/", "/tmp/", "/work/", "Traceback", "Error:") if word in text]
    ran = [cell["execution_count"] for cell in cells(path.name) if cell["cell_type"] == "code"]
    assert ran in ([None] * len(ran), list(range(1, len(ran) + 1)))


def test_outputs_are_kept_as_a_notebook_keeps_them(tmp_path):
    sys.path.insert(0, str(NOTEBOOKS.parent / "scripts"))
    import notebooks

    source = ["import matplotlib.pyplot as plt\n", "plt.figure()\n", "print(1)\n", "3 + 4"]
    cell = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
    quiet = {**cell, "source": ["x = 5;\n", "x;"]}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [cell, quiet]}))
    mpl.use("Agg")
    notebooks.run(path)
    first, second = json.loads(path.read_text())["cells"]
    kinds = [one["output_type"] for one in first["outputs"]]
    assert kinds == ["stream", "execute_result", "display_data"]
    assert first["outputs"][0]["text"] == ["1\n"]
    assert first["outputs"][1]["data"]["text/plain"] == ["7"]
    assert base64.b64decode(first["outputs"][2]["data"]["image/png"])[:4] == b"\x89PNG"
    assert (first["execution_count"], second["execution_count"], second["outputs"]) == (1, 2, [])


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

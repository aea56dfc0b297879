"""Model folders of this and earlier formats, kept so that every later version loads them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recgan
from recgan import artifact, storage
from recgan.ranking import Ranker, Weights

KEPT = sorted((Path(__file__).parent / "fixtures").glob("format-*"))
NEWEST = Path(__file__).parent / "fixtures" / "format-1-opening"


@pytest.mark.parametrize("place", KEPT, ids=lambda place: place.name)
def test_a_kept_model_still_loads_and_answers_as_it_did(place):
    model, expected = recgan.Recommender.load(place / "model"), json.loads((place / "lists.json").read_text("utf-8"))
    lists = model.recommend_batch(n=8)
    assert lists["user_id"].tolist() == expected["user_id"]
    assert lists["item_id"].tolist() == expected["item_id"]
    np.testing.assert_allclose(lists["score"], expected["score"], rtol=1e-4, atol=1e-4)
    assert len(model.moods("u1", n=2, moods=2))
    assert len(model.ideal_items("u1"))
    assert model.uncertainty()["uncertainty"].ge(0).all()


def described(folder):
    """What a model folder holds: names in the manifest, of weights, of arrays, of columns of the tables."""
    manifest = json.loads((folder / artifact.MANIFEST).read_text("utf-8"))
    names = {*manifest, *(f"weights.{name}" for name in manifest["weights"])}
    names |= set(artifact.load_arrays(folder / storage.WEIGHTS))
    return names | {f"{path.name}:{name}" for path in folder.glob("*.parquet") for name in pd.read_parquet(path)}


def test_what_is_written_today_is_kept(tmp_path):
    """Fails where something new is written: then run `scripts/fixture.py` once more, and name what it made above."""
    recgan.Recommender.load(NEWEST / "model").save(tmp_path / "model")
    assert described(tmp_path / "model") == described(NEWEST / "model")
    assert json.loads((NEWEST / "model" / artifact.MANIFEST).read_text("utf-8"))["format"] == artifact.FORMAT


def test_every_part_has_a_say_in_a_kept_model():
    model = recgan.Recommender.load(NEWEST / "model")
    weights = asdict(model._blocks.weights)
    assert all(weights.values())
    users = [*model.users, "a stranger"]
    lists = model.recommend_batch(users, n=8)
    for name in weights:
        changed = 0.1 if name == "fade" else 0.0
        model._blocks = replace(model._blocks, weights=Weights(**{**weights, name: changed}))
        model._ranker = Ranker(model._blocks, model._judge, model._ranker.n_candidates)
        assert not model.recommend_batch(users, n=8).equals(lists), name

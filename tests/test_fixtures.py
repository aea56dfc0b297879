"""Model folders of this and earlier formats, kept so that every later version loads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import recgan
from recgan import artifact

KEPT = sorted((Path(__file__).parent / "fixtures").glob("format-*"))


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


def test_this_format_is_kept():
    assert f"format-{artifact.FORMAT}" in [place.name for place in KEPT]

"""Write a model folder that every later version must still load: `python scripts/fixture.py WHAT_IS_NEW`.

It stands beside the older ones under tests/fixtures, which stay as they are. Run this whenever what is written changes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import recgan
from recgan import artifact
from recgan.ranking import Ranker

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
SETTINGS = {"embedding_dim": 4, "hidden_dim": 8, "noise_dim": 2, "n_draws": 2, "epochs": 3, "game_steps": 5}


def model() -> recgan.Recommender:
    """A small model in which every part has a say."""
    random = np.random.default_rng(0)
    pairs = [
        (user, item) for user in range(24) for item in range(16) if (user + item) % 2 == 0 and random.random() < 0.7
    ]
    frame = pd.DataFrame(pairs, columns=["user_id", "item_id"]).assign(timestamp=range(len(pairs)))
    frame = frame.assign(user_id="u" + frame["user_id"].astype(str), item_id="ñ" + frame["item_id"].astype(str))
    names = sorted(frame["item_id"].unique())
    items = pd.DataFrame(
        {"item_id": names, "title": names, "categories": ["a|b", "b"] * (len(names) // 2), "year": 1990}
    )
    users = pd.DataFrame({"user_id": sorted(frame["user_id"].unique()), "age": range(24)})
    config = recgan.Config(**SETTINGS, n_candidates=6, progress=False)
    made = recgan.train(frame, items, users=users, config=config)
    counted = {"generated": 1.0, "dense": 1.0, "factors": 1.0, "sparse": 1.0, "popularity": 0.1, "discriminator": 0.5}
    weights = replace(made._blocks.weights, **counted, unknown=0.5, short_generated=0.4, short_popularity=0.2, fade=3.0)
    made._blocks = replace(made._blocks, weights=weights)
    made._ranker = Ranker(made._blocks, made._judge, config.n_candidates)
    return made


if __name__ == "__main__":
    place = FIXTURES / f"format-{artifact.FORMAT}-{sys.argv[1]}"
    place.mkdir()
    made = model()
    made.save(place / "model")
    lists = made.recommend_batch(n=8)
    (place / "lists.json").write_text(json.dumps(lists.to_dict("list"), indent=1, ensure_ascii=False), encoding="utf-8")
    print(place, sum(path.stat().st_size for path in place.rglob("*") if path.is_file()), "bytes")

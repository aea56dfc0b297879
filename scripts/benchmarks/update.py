"""What an update is worth: trained on the first 90 % by time, updated with the next 5 %, asked for the last 5 %.

    python scripts/benchmarks/update.py --data DIR [--set movietweetings] [--seeds 1]

DIR holds a folder for every data set. Printed are the metrics of the old model, of the old model that is shown the new
histories, of `recgan.update` without and with fine-tuning, and of a model that is trained anew; each with its seconds.
The adversarial game is left out: it takes time and changes no list.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import recgan
from recgan.schema import ITEM, TIMESTAMP, USER

METRICS = ("ndcg@10", "recall@20")


def cut(folder: Path, share: float) -> recgan.Split:
    """The interactions of some users, cut twice in time."""
    table = recgan.read_interactions(folder / "interactions.parquet")[[USER, ITEM, TIMESTAMP]]
    users = np.sort(table[USER].unique())
    some = np.random.default_rng(0).permutation(users)[: round(share * len(users))]
    return recgan.split_by_time(table[table[USER].isin(some)], fraction=0.05, validation_fraction=0.05 / 0.95)


def lists(model: recgan.Recommender, split: recgan.Split, *, shown: bool = False) -> pd.DataFrame:
    """Lists of the test users; they may be shown what happened until then."""
    users = split.test.truth[USER].drop_duplicates()
    if not shown:
        return model.recommend_batch(users, 20)
    history = split.test.history[split.test.history[ITEM].isin(model.items)]
    return model.recommend_batch(users, 20, histories=history)


def timed(make: Callable[[], recgan.Recommender]) -> tuple[recgan.Recommender, float]:
    """A model, and the seconds that it took."""
    begun = time.perf_counter()
    model = make()
    return model, time.perf_counter() - begun


def measure(split: recgan.Split, config: recgan.Config) -> None:
    """Make and judge all models."""

    def show(name: str, recommended: pd.DataFrame, seconds: float) -> None:
        found = recgan.evaluate(recommended, split.test.truth, METRICS)
        print(f"{name:28}", *(f"{found[metric]:10.4f}" for metric in METRICS), f"{seconds:8.1f}", flush=True)

    later = split.validation.truth
    old, seconds = timed(lambda: recgan.train(split.train, config=config))
    show("stale", lists(old, split), seconds)
    show("stale, shown the histories", lists(old, split, shown=True), 0.0)
    for fine_tune in (False, True):
        model, seconds = timed(lambda tune=fine_tune: recgan.update(old, later, fine_tune=tune))
        show("update" + ", fine-tuned" * fine_tune, lists(model, split), seconds)
    both = pd.concat([split.train, later], ignore_index=True)
    model, seconds = timed(lambda: recgan.train(both, config=config))
    show("trained anew", lists(model, split), seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets")
    add("--set", default="movietweetings", help="data set with timestamps")
    add("--share", type=float, default=1.0, help="share of the users that is read")
    add("--seeds", type=int, default=1, help="how many trainings")
    add("--epochs", type=int, help="most epochs of the ranking phase")
    options = parser.parse_args(arguments)
    split = cut(options.data / options.set, options.share)
    sizes = [len(part) for part in (split.train, split.validation.truth, split.test.truth)]
    print(f"{options.set}: {sizes[0]:,} rows to train on, {sizes[1]:,} new ones, {sizes[2]:,} asked for")
    print(f"{'model':28}", *(f"{metric:>10}" for metric in METRICS), f"{'seconds':>8}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="new_interactions")
        for seed in range(options.seeds):
            measure(split, recgan.Config(seed=seed, progress=False, epochs=options.epochs, game_steps=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())

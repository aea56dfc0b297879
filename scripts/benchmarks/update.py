"""What an update is worth: trained on the first 90 % by time, updated with the next 5 %, asked for the last 5 %.

    python scripts/benchmarks/update.py --data DIR [--set movietweetings] [--seeds 1] --out FILE

DIR holds a folder for every data set. Printed are the metrics of the old model, of the old model that is shown the new
histories, of `recgan.update` without and with fine-tuning, also once the new items have been added by their metadata,
and of a model that is trained anew; each with its seconds.
The adversarial game is left out: it takes time and changes no list.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from protocols import described
from repeats import Row, parser, run

import recgan
from recgan.schema import ITEM, TIMESTAMP, USER

METRICS = ("ndcg@10", "recall@20")


def cut(folder: Path, share: float, seed: int) -> recgan.Split:
    """The interactions of some users, cut twice in time."""
    table = recgan.read_interactions(folder / "interactions.parquet")[[USER, ITEM, TIMESTAMP]]
    users = np.sort(table[USER].unique())
    some = np.random.default_rng(seed).permutation(users)[: round(share * len(users))]
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


def content(folder: Path, split: recgan.Split) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Metadata of the items that the old model is trained on, and of those that come with the new events; or None."""
    path = folder / "items.parquet"
    if not path.exists():
        return None
    items = described(pd.read_parquet(path), split.train[ITEM].dtype)
    old, new = (items[ITEM].isin(part[ITEM]) for part in (split.train, split.validation.truth))
    return items[old], items[new & ~old]


def measured(
    split: recgan.Split, items: tuple[pd.DataFrame, pd.DataFrame] | None, config: recgan.Config
) -> Iterator[Row]:
    """All models, made and judged."""

    def row(name: str, recommended: pd.DataFrame, seconds: float) -> Row:
        return Row(name, config.seed, {**recgan.evaluate(recommended, split.test.truth, METRICS), "seconds": seconds})

    later = split.validation.truth
    old, seconds = timed(lambda: recgan.train(split.train, items and items[0], config=config))
    yield row("stale", lists(old, split), seconds)
    yield row("stale, shown the histories", lists(old, split, shown=True), 0.0)
    for fine_tune in (False, True):
        model, seconds = timed(lambda tune=fine_tune: recgan.update(old, later, fine_tune=tune))
        yield row("update" + ", fine-tuned" * fine_tune, lists(model, split), seconds)
    if items and len(items[1]):
        more, added = timed(lambda: old.add_items(items[1]))
        for fine_tune in (False, True):
            model, seconds = timed(lambda tune=fine_tune: recgan.update(more, later, fine_tune=tune))
            yield row(f"new items added, update{', fine-tuned' * fine_tune}", lists(model, split), added + seconds)
    both = pd.concat([split.train, later], ignore_index=True)
    model, seconds = timed(lambda: recgan.train(both, items and pd.concat(items), config=config))
    yield row("trained anew", lists(model, split), seconds)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The models of every split."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="new_interactions")
        for seed in range(options.seeds):
            config = recgan.Config(seed=seed, progress=False, epochs=options.epochs, game_steps=0)
            folder = options.data / options.set
            split = cut(folder, options.share, seed)
            yield from measured(split, content(folder, split), config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    options = parser(__doc__, "movietweetings", "timestamps").parse_args(arguments)
    return run(options, "What an update is worth", rows)


if __name__ == "__main__":
    sys.exit(main())

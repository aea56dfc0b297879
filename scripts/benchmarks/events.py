"""What weights and dislikes are worth: one table of ratings, read in several ways.

    python scripts/benchmarks/events.py --data DIR [--set ml-1m] [--share 1.0] [--seeds 1] [--linear] --out FILE

DIR holds a folder for every data set. Users are held out whole (a tenth, at most 600, for validation and for the test,
80 % of their ratings shown). Whatever is read, the test asks for held-out ratings from 4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from repeats import Row, parser, run

import recgan
from recgan.histories import Histories, tastes
from recgan.ranking import Query, top_items
from recgan.schema import ITEM, RATING, SCORE, USER, WEIGHT
from recgan.training.closed import ClosedForms, strengthened
from recgan.training.data import Data, read_data
from recgan.vocabulary import Vocabulary

METRICS = ("ndcg@10", "ndcg@100")
LIKED, DISLIKED = 4, 2
PUSHES = (-0.3, 0.0, 0.1, 0.3, 0.5)
"""Weights of what is disliked in the history of the linear block; above 0 it pushes away, below 0 it pulls."""


def _weighed(table: pd.DataFrame, weights: pd.Series) -> pd.DataFrame:
    return table[[USER, ITEM]].assign(**{WEIGHT: weights.astype(float)})


READINGS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "ratings from 4 alone": lambda table: table[table[RATING] >= LIKED][[USER, ITEM]],
    "from 4, up to 2 disliked": lambda table: recgan.read_interactions(
        table, min_rating=LIKED, max_dislike_rating=DISLIKED
    ),
    "from 4, all others disliked": lambda table: recgan.read_interactions(table, max_dislike_rating=LIKED - 1),
    "all alike": lambda table: table[[USER, ITEM]],
    "ratings as weights": lambda table: _weighed(table, table[RATING]),
    "weights from 3, up to 2 disliked": lambda table: _weighed(
        table, table[RATING].where(table[RATING] > DISLIKED, -1.0)
    ),
}


def cut(folder: Path, share: float, seed: int) -> recgan.Split:
    """Ratings of some users, divided by users; the truths hold ratings from 4."""
    table = pd.read_parquet(folder / "interactions.parquet")[[USER, ITEM, RATING]]
    users = np.sort(table[USER].unique())
    some = np.random.default_rng(seed).permutation(users)[: round(share * len(users))]
    split = recgan.split_users(table[table[USER].isin(some)], seed=seed)
    parts = [
        recgan.Holdout(part.history, part.truth[part.truth[RATING] >= LIKED]) for part in (split.validation, split.test)
    ]
    return recgan.Split(split.train, *parts)


def read(split: recgan.Split, reading: str) -> recgan.Split:
    """The split with its histories read in one way."""
    of = READINGS[reading]
    parts = [recgan.Holdout(of(part.history), part.truth[[USER, ITEM]]) for part in (split.validation, split.test)]
    return recgan.Split(of(split.train), *parts)


def judged(lists: pd.DataFrame, split: recgan.Split) -> dict[str, float]:
    """The metrics of some lists."""
    return recgan.evaluate(lists, split.test.truth, METRICS)


def trained(split: recgan.Split, config: recgan.Config) -> pd.DataFrame:
    """Lists of recgan."""
    model = recgan.train(split.train, validation=split.validation, config=config)
    return model.recommend_batch(split.test.truth[USER].drop_duplicates(), 100, histories=split.test.history)


class Linear:
    """The dense linear block alone, with a push of what is disliked, whose weight in the history is minus `push`."""

    def __init__(self, split: recgan.Split, config: recgan.Config) -> None:
        data: Data = strengthened(read_data(split.train, None, None, split.validation, config), config)
        self.data = data
        self.chosen = ClosedForms(data.histories, data.validation, config.seed).dense()
        self.users = Vocabulary.of(split.test.truth[USER])
        liked, self.disliked = tastes(split.test.history, self.users, data.items)
        self.histories = liked.strengthened(data.strength)

    def lists(self, push: float = 0.0) -> pd.DataFrame:
        """Lists of the test users."""
        scores = self.chosen.block.scores(self.histories)
        blocked: Histories = self.histories
        if self.disliked is not None:
            blocked = blocked.joined(self.disliked)
            scores = scores - np.float32(push) * self.chosen.block.scores(self.disliked)
        query = Query(self.histories, blocked, np.zeros((len(self.histories), 0), np.float32))
        numbers, values = top_items(query.mask(scores), 100)
        rows, columns = np.nonzero(numbers >= 0)
        items = self.data.items.ids(numbers[rows, columns])
        return pd.DataFrame({USER: self.users.ids(rows), ITEM: items, SCORE: values[rows, columns].astype(float)})


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Every reading of every split: the linear block alone, with its pushes, and recgan."""
    for seed in range(options.seeds):
        config = recgan.Config(metric="ndcg@100", progress=False, seed=seed, game_steps=0, epochs=options.epochs)
        whole = cut(options.data / options.set, options.share, seed)
        for reading in options.readings:
            split = read(whole, reading)
            block = Linear(split, config)
            power = {"power": block.data.strength.power}
            pushes = (0.0,) if block.disliked is None else PUSHES
            for push in pushes:
                name = f"{reading}, linear" + (f", push {push:g}" if len(pushes) > 1 else "")
                yield Row(name, seed, {**judged(block.lists(push), split), **power})
            if not options.linear:
                yield Row(f"{reading}, recgan", seed, {**judged(trained(split, config), split), **power})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    options = parser(__doc__, "ml-1m", "ratings")
    options.add_argument("--linear", action="store_true", help="the linear block alone")
    options.add_argument("--readings", nargs="+", choices=list(READINGS), default=list(READINGS), help="which")
    return run(options.parse_args(arguments), "One table of ratings, read in several ways", rows)


if __name__ == "__main__":
    sys.exit(main())

"""Trained models with users whom they are tested on, shared by the subjects that measure lists."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from forks import FIRST_SEED, SETS, key
from measuring import QUICK
from protocols import PROTOCOLS, load

import recgan
from recgan import metrics
from recgan.histories import Histories
from recgan.ranking import Query
from recgan.schema import USER
from recgan.vocabulary import Vocabulary

MOST_USERS = 600


@dataclass(frozen=True)
class Tested:
    """A model and its test users.

    Args:
        model: trained with the defaults.
        query: of the B users.
        truth: their held-out items of the catalogue.
        users: their ids, (B,).
    """

    model: recgan.Recommender
    query: Query
    truth: Histories
    users: np.ndarray

    @cached_property
    def vectors(self) -> np.ndarray:
        """Unit item vectors without their mean, (N, D) float32."""
        return np.asarray(self.model._blocks.generator.centred_vectors().numpy())

    @cached_property
    def categories(self) -> np.ndarray:
        """Unit rows of the items' categories, (N, Q) float32; Q may be 0."""
        return self.model._blocks.categories

    def ndcg(self, numbers: np.ndarray, k: int = 10) -> np.ndarray:
        """NDCG of every user's list of item numbers, (B,)."""
        return metrics.RANKING["ndcg"](self.truth.holds(numbers), self.truth.lengths, k)


def models(options: argparse.Namespace) -> list[Tested]:
    """One trained model a seed; what was trained before is read."""
    folder = options.work.parent / "models" / key(options.set, options.data, options.quick, [Path(__file__)])
    return [_tested(options, seed, folder / str(seed)) for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)]


def _tested(options: argparse.Namespace, seed: int, folder: Path) -> Tested:
    task = load(PROTOCOLS[SETS[options.set]], options.data, seed)
    if not folder.exists():
        config = recgan.Config(progress=False, **({**QUICK, "game_steps": 150} if options.quick else {}))
        model = recgan.train(task.fit, task.items, users=task.users, validation=task.given, config=config, seed=seed)
        folder.parent.mkdir(parents=True, exist_ok=True)
        model.save(folder)
    model = recgan.Recommender.load(folder)
    known = set(model.items)
    truth = task.test.truth[task.test.truth["item_id"].isin(known)]
    users = Vocabulary.of(truth[USER])
    drawn = np.sort(np.random.default_rng(seed).permutation(len(users))[:MOST_USERS])
    ids = users.ids(drawn)
    users = Vocabulary(ids, USER)
    history, truth = (
        Histories.from_frame(frame[frame["item_id"].isin(known)], users, model._items)
        for frame in (task.test.history, truth)
    )
    query = Query(history, history, np.zeros((len(users), model._profiles.shape[1]), np.float32))
    return Tested(model, query, truth, ids.to_numpy())


def likeness(rows: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """Mean inner product of the pairs of every list, (B,), for unit rows (N, Q) and lists (B, n)."""
    taken = rows[lists]
    n = lists.shape[1]
    total = np.square(taken.sum(axis=1, dtype=np.float64)).sum(axis=1) - np.square(taken).sum(axis=(1, 2))
    return np.asarray(total / (n * (n - 1)))


def interval(values: np.ndarray, seed: int = 0, resamples: int = 2000) -> tuple[float, float, float]:
    """Mean and its 95 % bootstrap interval over users, NaN left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan, np.nan
    low, high = metrics.mean_interval(values, resamples, seed)
    return float(values.mean()), low, high

"""What calibrated categories cost: NDCG@10 against the divergence from the user's own mix, with and without draws."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from tables import Sheet
from tested import Tested, models

from recgan import metrics
from recgan.config import Config
from recgan.ranking import ABSENT, Dial, arranged
from recgan.rules import Rules

N, K, EACH = 10, Config().n_candidates, 40
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
AXES = ("NDCG@10", "divergence, nats", "coverage")


@dataclass(frozen=True)
class Steck(Dial):
    """The same weight at every place."""

    def calibrations(self, weight: float, n: int) -> np.ndarray:
        """The weight."""
        return np.full(n, weight)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Means over the seeds for the candidates of the ranker, and for those united with what the draws propose."""
    tested = models(options)
    kinds: dict[str, Callable[[Tested, float], list[float]]] = {
        "served": _served,
        "alike at every place (Steck)": partial(_drawn, each=0, dial=Steck()),
        "with the draws' candidates": partial(_drawn, each=EACH, dial=Dial()),
    }
    curves = {
        name: [np.mean([kind(one, weight) for one in tested], axis=0).tolist() for weight in WEIGHTS]
        for name, kind in kinds.items()
    }
    return {"set": options.set, "seeds": options.seeds, "curves": curves}


def _served(tested: Tested, weight: float) -> list[float]:
    query = replace(tested.query, rules=Rules(calibration=weight))
    return _point(tested, tested.model._ranker.rank(query, N)[0])


def _drawn(tested: Tested, weight: float, each: int, dial: Dial) -> list[float]:
    """The same on the ranker's candidates and so many of every draw of the noise bank."""
    ranker, query = tested.model._ranker, tested.query
    parts = [ranker.rank(query, K)[0]]
    for noise in ranker.blocks.noise[: len(ranker.blocks.noise) * bool(each)]:
        parts.append(ranker.rank(replace(query, noise=np.tile(noise, (len(tested.truth), 1))), each)[0])
    numbers = np.sort(np.concatenate(parts, axis=1), axis=1)
    numbers[:, 1:][numbers[:, 1:] == numbers[:, :-1]] = ABSENT
    scores = ranker.scores(query, np.where(numbers == ABSENT, 0, numbers))
    scores = np.where(numbers == ABSENT, -np.inf, scores)
    order = np.lexsort((numbers, -scores), axis=1)
    numbers, scores = np.take_along_axis(numbers, order, 1), np.take_along_axis(scores, order, 1)
    chosen = arranged(replace(query, rules=Rules(calibration=weight)), ranker.blocks, numbers, scores, N, dial)
    return _point(tested, np.take_along_axis(numbers, chosen, 1)[:, :N])


def _point(tested: Tested, numbers: np.ndarray) -> list[float]:
    histories, flags = tested.query.histories, tested.categories > 0
    profile = metrics.category_profile(histories.rows, histories.items, flags, len(histories))
    apart = metrics.calibration(numbers, profile, flags, N)
    shown = len(np.unique(numbers)) / histories.n_items
    return [float(tested.ndcg(numbers).mean()), float(np.nanmean(apart)), shown]


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """One table."""
    cells = [
        [f"{name}, {weight:g}", *(f"{value:.4f}" for value in point)]
        for name, curve in result["curves"].items()
        for weight, point in zip(WEIGHTS, curve, strict=True)
    ]
    return [Sheet(f"Calibration, {result['set']}, {result['seeds']} seeds", ["candidates, weight", *AXES], cells)]

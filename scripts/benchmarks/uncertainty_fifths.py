"""Are the users in the most certain fifth served better, beyond what the length of their histories explains?"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr
from tables import Sheet
from tested import Tested, models

from recgan.draws import wanted_vectors
from recgan.fidelity import spread
from recgan.generative import DRAWS

STRATA = 10
RESAMPLES = 2000


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """The fifths of every seed's users, pooled."""
    parts = [_of_model(tested) for tested in models(options)]
    spreads, lengths, values, within = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    share = rankdata(spreads) / len(spreads)
    return {
        "set": options.set,
        "seeds": options.seeds,
        "users": len(values),
        "rank correlation of uncertainty and NDCG@10": spearmanr(spreads, values)[0],
        "rank correlation of history length and NDCG@10": spearmanr(lengths, values)[0],
        "all": _difference(values, share),
        "within users of the same history length": _difference(values, within),
    }


def _of_model(tested: Tested) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    numbers, _ = tested.model._ranker.rank(tested.query, 10)
    spreads = spread(wanted_vectors(tested.model._blocks, tested.query.histories, DRAWS))
    lengths = tested.query.histories.lengths
    within = np.zeros(len(lengths))
    for rows in np.array_split(np.argsort(lengths, kind="stable"), max(1, min(STRATA, len(lengths) // 5))):
        within[rows] = rankdata(spreads[rows]) / len(rows)
    return spreads, lengths, tested.ndcg(numbers), within


def _difference(values: np.ndarray, share: np.ndarray) -> list[float]:
    """NDCG@10 of the most and of the least certain fifth, and the 95 % bootstrap interval of the difference."""
    sure, unsure = values[share <= 0.2], values[share > 0.8]
    random = np.random.default_rng(0)
    means = [[random.choice(part, len(part)).mean() for _ in range(RESAMPLES)] for part in (sure, unsure)]
    low, high = np.quantile(np.subtract(*means), [0.025, 0.975])
    return [float(sure.mean()), float(unsure.mean()), float(low), float(high)]


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """One table."""
    title = f"Uncertainty, {result['set']}: NDCG@10 of fifths of {result['users']} users, {result['seeds']} seeds"
    names = ("all", "within users of the same history length")
    cells = [[name, *(f"{value:.3f}" for value in result[name])] for name in names]
    told = [[name, f"{value:.3f}", "", "", ""] for name, value in result.items() if name.startswith("rank")]
    return [Sheet(title, ["", "most certain", "least certain", "difference from", "to"], [*cells, *told])]

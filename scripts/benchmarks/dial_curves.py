"""Where the exploration dial lies beside its single knobs: accuracy against diversity, coverage and variety."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from tables import Sheet
from tested import Tested, interval, likeness, models

from recgan.config import Config
from recgan.ranking.arranging import chance

N, VISITS, K = 10, 3, Config().n_candidates
STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
KNOBS = {
    "MMR": (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0),
    "mean likeness": (0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0),
    "popularity weight": (0.2, 0.4, 0.6, 0.8, 1.2, 1.6, 2.4),
    "Gumbel temperature": (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.9),
}
"""MMR counts the largest likeness to an item above; "mean likeness" the mean of them, as the dial does."""
AXES = ("NDCG@10", "diversity, categories", "diversity, vectors", "coverage", "novelty", "variety")
OWN = {
    "MMR": "diversity",
    "mean likeness": "diversity",
    "popularity weight": "coverage",
    "Gumbel temperature": "variety",
}
"""The axis that each knob is made for; diversity is that of the categories where there are any."""
LEVELS = 101
"""Of NDCG@10, at which curves are compared."""


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """The curve of the dial and of every knob, means over the seeds, and how the users of both compare."""
    tested = models(options)
    found = {"dial": [[_dial(one, step) for one in tested] for step in STEPS]}
    for knob, levels in KNOBS.items():
        found[knob] = [found["dial"][0], *([_knob(one, knob, level) for one in tested] for level in levels)]
    curves = {name: [_mean([one.axes for one in seeds]) for seeds in points] for name, points in found.items()}
    users = np.concatenate([one.users for one in tested])
    values = {name: np.stack([_by_user(seeds, users) for seeds in points]) for name, points in found.items()}
    diverse = AXES[1] if np.isfinite(curves["dial"][0][1]) else AXES[2]
    margins, lead = _margins(curves, diverse), _lead(curves, values, diverse)
    about = {"set": options.set, "seeds": options.seeds, "users": values["dial"].shape[1]}
    return {**about, "curves": curves, "margins": margins, "lead": lead}


@dataclass(frozen=True)
class Point:
    """Lists of one setting.

    Args:
        axes: their mean values on all axes.
        ndcg: of every user, mean over the visits.
    """

    axes: list[float]
    ndcg: np.ndarray


def _mean(rows: list[list[float]]) -> list[float]:
    return [float(value) for value in np.mean(rows, axis=0)]


def _by_user(seeds: list[Point], users: np.ndarray) -> np.ndarray:
    """NDCG@10 of every user, who counts once, with the mean over the splits."""
    return pd.Series(np.concatenate([one.ndcg for one in seeds])).groupby(users).mean().to_numpy()


def _dial(tested: Tested, step: float) -> Point:
    """Through the ranker that serves."""
    lists = []
    for visit in range(VISITS if step else 1):
        query = replace(tested.query, explore=step, keys=_keys(tested, visit))
        lists.append(tested.model._ranker.rank(query, N)[0])
    return _point(tested, lists)


def _keys(tested: Tested, visit: int) -> np.ndarray:
    random = np.random.default_rng([7, visit])
    return random.integers(0, 2**63, len(tested.truth), dtype=np.int64).astype(np.uint64)


def _knob(tested: Tested, knob: str, level: float) -> Point:
    """One knob, alike at every place, on the candidates that the dial has."""
    numbers, scores = tested.model._ranker.rank(tested.query, K)
    there = np.isfinite(scores)
    spread = scores.std(axis=1, keepdims=True, where=there)
    merit = scores / np.where(spread > 0.0, spread, 1.0)
    if knob == "Gumbel temperature":
        lucks = [
            -np.log(-np.log(np.clip(chance(_keys(tested, visit), numbers), 1e-12, 1.0 - 1e-12)))
            for visit in range(VISITS)
        ]
        return _point(tested, [_best(numbers, merit + level * luck) for luck in lucks])
    if knob == "popularity weight":
        return _point(tested, [_best(numbers, merit - level * tested.model._blocks.popularity[numbers])])
    return _point(tested, [_unlike(tested.model._blocks.space, numbers, merit, level, mean=knob == "mean likeness")])


def _best(numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The N candidates (B, K) with the largest values, (B, N)."""
    return np.take_along_axis(numbers, np.argsort(-values, axis=1, kind="stable")[:, :N], 1)


def _unlike(space: np.ndarray, numbers: np.ndarray, merit: np.ndarray, level: float, *, mean: bool) -> np.ndarray:
    """N candidates (B, N), one after the other, less `level` times the likeness to those above: mean or largest."""
    rows, items, values = np.arange(len(numbers)), space[numbers], merit.copy()
    alike, chosen = np.zeros(values.shape), np.empty((len(numbers), N), np.int64)
    for place in range(N):
        best = (values - level * (alike / max(place, 1) if mean else alike)).argmax(axis=1)
        chosen[:, place], values[rows, best] = numbers[rows, best], -np.inf
        likeness_to_it = np.einsum("bkq,bq->bk", items, space[chosen[:, place]])
        alike = alike + likeness_to_it if mean else np.maximum(alike, likeness_to_it)
    return chosen


def _point(tested: Tested, lists: list[np.ndarray]) -> Point:
    """The values of some visits on all axes."""
    popularity = tested.model._blocks.popularity
    n_items = len(popularity)
    has = tested.categories.shape[1] > 0
    ndcg = np.array([tested.ndcg(numbers) for numbers in lists])  # (visits, B)
    rows = [
        [
            float(values.mean()),
            float(1.0 - likeness(tested.categories, numbers).mean()) if has else np.nan,
            float(1.0 - likeness(tested.vectors, numbers).mean()),
            len(np.unique(numbers)) / n_items,
            -float(popularity[numbers].mean()),
        ]
        for numbers, values in zip(lists, ndcg, strict=True)
    ]
    apart = [_jaccard(a, b) for place, a in enumerate(lists) for b in lists[:place]]
    return Point([*_mean(rows), float(np.mean(apart)) if apart else 0.0], ndcg.mean(axis=0))


def _jaccard(first: np.ndarray, second: np.ndarray) -> float:
    common = (first[:, :, None] == second[:, None]).sum(axis=(1, 2))
    return float((1.0 - common / (2 * N - common)).mean())


def _margins(curves: dict[str, list[list[float]]], diverse: str) -> dict[str, list[float | None]]:
    """At every step: how far the dial lies above each knob on its own axis, at the dial's NDCG@10."""
    dial, found = np.array(curves["dial"], float), {}
    for knob, axis in OWN.items():
        column = AXES.index(diverse if axis == "diversity" else axis)
        reached = _reached(curves[knob], column, dial[:, 0])
        found[f"{axis} beside {knob}"] = [
            float(value) if np.isfinite(value) else None for value in dial[:, column] - reached
        ]
    return found


def _lead(
    curves: dict[str, list[list[float]]], values: dict[str, np.ndarray], diverse: str
) -> dict[str, list[list[float | None]]]:
    """At every step: by how much NDCG@10 the dial leads each knob at an equal value of the knob's own axis.

    Between two levels a knob is as accurate for every user as the straight piece; 95 % intervals are over users.

    Returns:
        Knob and axis: mean, lower and upper end for every step; None where the knob never comes so far.
    """
    dial, found = np.array(curves["dial"], float), {}
    for knob, axis in OWN.items():
        column = AXES.index(diverse if axis == "diversity" else axis)
        curve = np.array(curves[knob], float)[:, column]
        rows: list[list[float | None]] = []
        for wanted, own in zip(dial[:, column], values["dial"], strict=True):
            share = _between(curve, wanted)
            rows.append([None] * 3 if share is None else list(interval(own - share @ values[knob])))
        found[f"{axis} beside {knob}"] = rows
    return found


def _between(curve: np.ndarray, wanted: float) -> np.ndarray | None:
    """Shares (L,) of a knob's levels that reach a value of its axis, the first time from the accurate list on."""
    there = np.flatnonzero(curve >= wanted)
    if not len(there):
        return None
    last, shares = int(there[0]), np.zeros(len(curve))
    before = max(0, last - 1)
    rise = curve[last] - curve[before]
    shares[last] = (wanted - curve[before]) / rise if rise > 0.0 else 1.0
    shares[before] += 1.0 - shares[last]
    return shares


def _reached(curve: Any, column: int, accuracy: np.ndarray) -> np.ndarray:
    """The most of an axis that a curve reaches at levels (L,) of NDCG@10, (L,); NaN below its last point."""
    points = np.array(sorted(curve, key=lambda point: -point[0]), float)
    most = np.maximum.accumulate(points[:, column])
    return np.where(accuracy < points[-1, 0], np.nan, np.interp(-accuracy, -points[:, 0], most))


def fronts(curves: dict[str, Any]) -> dict[str, list[float]]:
    """Of what all curves together gain on an axis, the share that each gains alone, mean over equal NDCG@10.

    Levels of NDCG@10 go from the accurate list down to the end of the dial. The last value is of all axes at once: the
    mean of a point's gains, each as a share of the most that is gained there on the axis.

    Args:
        curves: points of the dial and of every knob.

    Returns:
        Name of the curve: a share for every axis behind NDCG@10, and of all at once; NaN for an axis without values.
    """
    points = {name: np.array(curve, float) for name, curve in curves.items()}
    accurate, levels = points["dial"][0], np.linspace(points["dial"][0, 0], points["dial"][:, 0].min(), LEVELS)
    gains = {name: np.hstack([rows[:, :1], (rows - accurate)[:, 1:]]) for name, rows in points.items()}
    most = np.array([max(_gained(rows, axis, levels)[-1] for rows in gains.values()) for axis in range(1, len(AXES))])
    with np.errstate(invalid="ignore"):
        joint = {name: np.column_stack([rows, _mean_share(rows[:, 1:], most)]) for name, rows in gains.items()}
    reached = {
        name: np.array([_gained(rows, axis, levels) for axis in range(1, rows.shape[1])])
        for name, rows in joint.items()
    }
    best = np.max(list(reached.values()), axis=0).mean(axis=1)
    return {name: (values.mean(axis=1) / best).tolist() for name, values in reached.items()}


def _gained(rows: np.ndarray, column: int, levels: np.ndarray) -> np.ndarray:
    """What a curve gains on an axis at levels of NDCG@10; where it ends above, what it had gained by then."""
    within = np.maximum(levels, rows[:, 0].min())
    return np.maximum(_reached(rows, column, within), 0.0)


def _mean_share(gains: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Mean over the axes that have values."""
    return np.asarray((gains / most)[:, np.isfinite(most)].mean(axis=1))


def _beside_best(curves: dict[str, Any]) -> dict[str, list[float]]:
    """Axis: how far the dial lies above the best of the knobs, whichever it is, at every step's NDCG@10."""
    dial = np.array(curves["dial"], float)
    knobs = [curves[knob] for knob in KNOBS]
    return {
        axis: (dial[:, column] - np.fmax.reduce([_reached(knob, column, dial[:, 0]) for knob in knobs])).tolist()
        for column, axis in enumerate(AXES)
        if column
    }


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """The curves, the dial beside each knob on its axis and beside the best of them, and what share each reaches."""
    title, curves = f"Dial and knobs, {result['set']}, {result['seeds']} seeds", result["curves"]
    levels = {"dial": STEPS, **{knob: (0.0, *steps) for knob, steps in KNOBS.items()}}
    points = {
        f"{name} {level:g}": point
        for name, curve in curves.items()
        for level, point in zip(levels[name], curve, strict=True)
    }
    steps = ["", *(f"dial {step:g}" for step in STEPS)]
    return [
        Sheet(title, ["", *AXES], _cells(points, ".3f")),
        Sheet("Dial minus knob at equal NDCG@10", steps, _cells(result["margins"], "+.3f")),
        Sheet("NDCG@10, dial minus knob at equal value of its axis (95 % interval over users)", steps, _leads(result)),
        Sheet("Dial minus the best knob of the axis at equal NDCG@10", steps, _cells(_beside_best(curves), "+.3f")),
        Sheet("Share of what all reach together", ["", *AXES[1:], "all at once"], _cells(fronts(curves), ".2f")),
    ]


def _cells(rows: dict[str, Any], form: str) -> list[list[str]]:
    def told(value: float | None) -> str:
        return "-" if value is None or not np.isfinite(value) else f"{value:{form}}"

    return [[name, *map(told, values)] for name, values in rows.items()]


def _leads(result: dict[str, Any]) -> list[list[str]]:
    """Mean and interval of every lead."""

    def told(mean: float | None, low: float | None, high: float | None) -> str:
        return "-" if mean is None else f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"

    return [[name, *(told(*row) for row in rows)] for name, rows in result["lead"].items()]

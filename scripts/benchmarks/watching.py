"""Quality while a model is trained: what it would serve at every step, and what it had cost until then."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

import recgan
from recgan.baselines.base import Baseline, TrainingData
from recgan.baselines.neural import Neural
from recgan.networks import Generator
from recgan.progress import Progress
from recgan.ranking import Blocks, Query, Ranker, Weights, top_items
from recgan.schema import USER
from recgan.training.closed import strengthened
from recgan.training.data import read_data
from recgan.training.fitting import Measure, seeded
from recgan.training.phases import Phases
from recgan.training.run import Run
from recgan.training.validation import Validation, from_holdout
from recgan.vocabulary import Vocabulary

Point = dict[str, Any]
SHARES = (0.07, 0.14, 0.2, 0.35, 0.55, 0.75, 1.0)
"""Of the iterations of a rival that can only be looked at when it is done: each is a training of its own."""


@dataclass(frozen=True)
class Quality:
    """Judges what is served to the validation users.

    Args:
        validation: the users in numbers, and the metric.
        numbers: of these users in training, -1 for the others, (V,) int64.
    """

    validation: Validation
    numbers: np.ndarray

    @classmethod
    def of(cls, users: Vocabulary, items: Vocabulary, holdout: recgan.Holdout, metric: str) -> Quality:
        """For all users of a holdout, in the numbers of a training."""
        asked = Vocabulary.of(holdout.truth[USER])

        def no_profiles(ids: pd.Series) -> np.ndarray:
            return np.zeros((len(ids), 0), np.float32)

        validation = from_holdout(holdout, items, no_profiles, metric, len(asked), seed=0)
        return cls(validation, users.numbers(asked.all_ids))

    def of_rival(self, model: Baseline) -> float:
        """Of a rival that is fitted, or is being fitted."""
        found, start = [], 0
        for query in self.validation.portions():
            numbers = self.numbers[start : (start := start + len(query.histories))]
            found.append(top_items(query.mask(_scores(model, query, numbers)), self.validation.k)[0])
        return float(self.validation.values(np.concatenate(found)).mean())

    def of_blocks(self, blocks: Blocks) -> float:
        """Of stage one."""
        return self.validation.measure(Ranker(blocks, None, 1))


def _scores(model: Any, query: Query, numbers: np.ndarray) -> np.ndarray:
    scores: np.ndarray = model._scores(query.histories, numbers)
    scores[query.histories.lengths == 0] = model._popularity
    return scores


class Stopwatch:
    """Seconds of the processor and of the clock, but for pauses."""

    def __init__(self) -> None:
        self.begun = self._now()

    def seconds(self) -> np.ndarray:
        """Of the processor and of the clock, (2,) float64."""
        return self._now() - self.begun

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens here does not count."""
        since = self._now()
        yield
        self.begun = self.begun + self._now() - since

    @staticmethod
    def _now() -> np.ndarray:
        return np.array([time.process_time(), time.perf_counter()])


class EnoughError(Exception):
    """The quality that was asked for is reached."""


class Curve:
    """The points of one training, and its stopwatch, which stands while quality is measured.

    Args:
        enough: quality at which the training ends.
    """

    def __init__(self, enough: float = float("inf")) -> None:
        self.clock = Stopwatch()
        self.points: list[Point] = []
        self.enough = enough

    def note(self, step: str, value: Callable[[], float], aside: float | np.ndarray = 0.0) -> float:
        """Add a point; `aside` are seconds that count for it alone."""
        processor, wall = self.clock.seconds() + aside
        with self.clock.paused():
            found = value()
        self.points.append({"step": step, "processor": processor, "wall": wall, "value": found})
        if found >= self.enough:
            raise EnoughError
        return found


def rival_curve(kind: Any, params: dict[str, Any], train: pd.DataFrame, holdout: recgan.Holdout, metric: str) -> Curve:
    """Quality of a rival after every epoch, after some numbers of iterations, or at its end where it has neither."""
    data = TrainingData.read(train, None)
    quality = Quality.of(data.users, data.items, holdout, metric)
    if issubclass(kind, Neural):
        return _epochs(kind, params, train, quality)
    if "iterations" not in inspect.signature(kind).parameters:
        return _fits(kind, {"fit": params}, train, quality)
    most = kind(**params).iterations
    numbers = sorted({max(1, round(share * most)) for share in SHARES})
    return _fits(kind, {f"iteration {one}": {**params, "iterations": one} for one in numbers}, train, quality)


def _fits(kind: Any, settings: dict[str, dict[str, Any]], train: pd.DataFrame, quality: Quality) -> Curve:
    """A point for every setting, each with a stopwatch of its own."""
    whole = Curve()
    for step, params in settings.items():
        curve = Curve()
        model = kind(**params).fit(train)
        curve.note(step, lambda model=model: quality.of_rival(model))
        whole.points += curve.points
    return whole


def _epochs(kind: Any, params: dict[str, Any], train: pd.DataFrame, quality: Quality) -> Curve:
    """A point for every epoch; nothing is held out inside, as the validation users judge the epochs."""

    class Watched(kind):  # type: ignore[misc]
        inner = replace(kind.inner, users=0)

        def _judge(self, kept: Any, held: Any) -> float:
            return curve.note(f"epoch {len(curve.points) + 1}", lambda: quality.of_rival(self))

    curve = Curve()
    Watched(**params).fit(train)
    return curve


def recgan_curve(
    config: recgan.Config,
    train: pd.DataFrame,
    holdout: recgan.Holdout,
    metric: str,
    enough: float = float("inf"),
) -> Curve:
    """Quality of recgan after the closed forms, after every epoch of the ranking phase, and with its final weights.

    After closed forms and ranking phase it is what would be served if training ended there: choosing the weights
    counts for these points alone. Before, it is the strongest closed form by itself; after an epoch it is the generator
    beside that one with equal say. The game, which leaves the lists as they are, is not played. Training ends where
    the quality is `enough`.
    """
    curve = Curve(enough)
    with Progress(False) as progress, seeded(config.seed):
        data = strengthened(read_data(train, None, None, holdout, config), config)
        with curve.clock.paused():
            quality = Quality.of(data.users, data.items, holdout, metric)
        with suppress(EnoughError):
            Watched(curve, quality, data, config, progress, time.perf_counter()).ranked()
    return curve


class Watched(Run):
    """A run whose closed forms and ranking phase are looked at."""

    def __init__(self, curve: Curve, quality: Quality, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.curve, self.quality = curve, quality

    def _closed_forms(self) -> Blocks:
        blocks = super()._closed_forms()
        self.phases = WatchedPhases(**vars(self.phases), told=self._epoch)
        alone = Weights(generated=0.0, **{self.phases.strongest: 1.0})
        self.curve.note("strongest closed form", lambda: self.quality.of_blocks(replace(blocks, weights=alone)))
        self._weighed("closed forms", blocks)
        return blocks

    def _ranking_phase(self, blocks: Blocks) -> Blocks:
        trained = super()._ranking_phase(blocks)
        self._weighed("weights chosen", trained)
        return trained

    def _epoch(self, blocks: Blocks) -> None:
        epochs = sum(point["step"].startswith("epoch") for point in self.curve.points)
        self.curve.note(f"epoch {epochs + 1}", lambda: self.quality.of_blocks(blocks))

    def _weighed(self, step: str, blocks: Blocks) -> None:
        with self.curve.clock.paused():
            aside = Stopwatch()
            chosen, _ = self.phases.weighed(blocks)
            seconds = aside.seconds()
        self.curve.note(step, lambda: self.quality.of_blocks(chosen), seconds)


@dataclass(frozen=True)
class WatchedPhases(Phases):
    """Phases that tell of every generator that they measure.

    Args:
        told: called with what is measured beside the linear block.
    """

    told: Callable[[Blocks], None] = lambda blocks: None

    def _measure(self, blocks: Blocks, weights: dict[str, float]) -> Measure:
        measure = super()._measure(blocks, weights)

        def watched(generator: Generator) -> dict[str, float]:
            found = measure(generator)
            self.told(replace(blocks, generator=generator, weights=replace(self.alone, **weights)))
            return found

        return watched


def best(points: Sequence[Point]) -> Point:
    """The first point of the best quality."""
    return max(points, key=lambda point: point["value"])


def first(points: Sequence[Point], value: float) -> Point | None:
    """The cheapest point that is at least so good; None where there is none."""
    there = [point for point in points if point["value"] >= value]
    return min(there, key=lambda point: float(point["processor"])) if there else None

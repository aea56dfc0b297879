"""The search over a grid of settings, judged by the lists that are served."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pandas as pd

from recgan.errors import ConfigError, TrainingError
from recgan.evaluation import evaluate
from recgan.metrics import RANKING
from recgan.progress import Progress
from recgan.schema import ITEM, USER
from recgan.splits import Holdout

if TYPE_CHECKING:
    from recgan.baselines.base import Baseline, TrainingData

    B = TypeVar("B", bound=Baseline)

PATIENCE = 2.0
"""Seconds before a progress bar appears."""


def search(
    kind: type[B], data: TrainingData, validation: Holdout, metric: str, grid: Mapping[str, Sequence[Any]] | None
) -> B:
    """Fit every setting and keep the best.

    Args:
        kind: the baseline.
        data: what to fit.
        validation: whom to serve, and what to find.
        metric: a ranking metric with its k.
        grid: hyper-parameter to values; None: the default.

    Returns:
        The best baseline, fitted, with the table of all settings.
    """
    n, validation = _list_length(metric), Holdout.checked(validation)
    settings = _settings(kind, kind._grid_for(data.histories) if grid is None else grid)
    prepared = kind._prepare(data.histories)
    best, best_value, rows, errors = None, float("-inf"), [], []
    for setting in _watched(settings, kind.__name__):
        model, begin, value = kind(**setting), time.perf_counter(), float("nan")
        try:
            value = _judged(model._fit(data, prepared), validation, metric, n)
        except TrainingError as error:
            errors.append(error)
        rows.append({**model.params, metric: value, "seconds": time.perf_counter() - begin})
        if value > best_value:
            best, best_value = model, value
    if best is None:
        raise TrainingError(f"{kind.__name__}: no setting of the grid could be fitted: {errors[0]}")
    best.tuning = _table(rows)
    return best


def _list_length(metric: str) -> int:
    match = re.fullmatch(r"([a-z_]+)@([1-9][0-9]*)", metric) if isinstance(metric, str) else None
    if match is None or match[1] not in RANKING:
        raise ConfigError(f"metric: one of {', '.join(RANKING)} with its k, such as 'ndcg@10', not {metric!r}")
    return int(match[2])


def _settings(kind: type[B], grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    defaults = kind().params
    for name, values in grid.items():
        if name not in defaults:
            raise ConfigError(f"grid: {kind.__name__} has no {name!r}; it has {', '.join(defaults)}")
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ConfigError(f"grid: a list of values for {name!r}, not {values!r}")
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for setting in settings:
        kind(**setting)  # refuses a bad value before anything is fitted
    return settings


def _judged(model: Baseline, validation: Holdout, metric: str, n: int) -> float:
    users = validation.truth[USER].drop_duplicates()
    history = validation.history
    known = history[USER].isin(users) & history[ITEM].isin(model.items)
    lists = model.recommend_batch(users, n, histories=history[known])
    return cast("dict[str, float]", evaluate(lists, validation.truth, metric))[metric]


def _watched(settings: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """The settings one by one, with a bar on stderr once it takes longer than a moment."""
    progress, begin, shown = Progress(), time.monotonic(), False
    step = progress.steps(f"tuning {name}", len(settings))
    with ExitStack() as stack:
        for setting in settings:
            yield setting
            step(1)
            if not shown and time.monotonic() - begin > PATIENCE:
                stack.enter_context(progress)
                shown = True


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    kinds = {name: object if None in values else None for name, values in columns.items()}
    return pd.DataFrame({name: pd.Series(values, dtype=kinds[name]) for name, values in columns.items()})

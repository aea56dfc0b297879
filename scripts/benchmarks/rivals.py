"""The rivals: the settings that are tried, and the search for the best of them on the validation part."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

import recgan
from recgan.baselines.base import TrainingData
from recgan.errors import ConfigError, TrainingError

Setting = dict[str, Any]
Measure = Callable[[list[Setting]], list[float]]

STARTS: dict[str, Setting] = {
    "ItemKNN": {"k": 100, "shrinkage": 10.0, "kind": "cosine"},
    "EASE": {"regularisation": 200.0},
    "IALS": {"factors": 64, "regularisation": 20.0, "alpha": 2.0},
    "BPR": {"factors": 128, "learning_rate": 0.02, "regularisation": 0.003, "iterations": 100},
}
"""Where the search begins, where it is not at the defaults of the class."""

STARTS_OF: dict[str, dict[str, Setting]] = {
    "gowalla": {"IALS": {"factors": 128, "alpha": 10.0}},
    "beauty": {"IALS": {"factors": 128, "alpha": 10.0}},
    "ml-1m-last": {"SASRec": {"dropout": 0.2, "window": 200}},
}
"""Where it begins in one protocol."""

VALUES: dict[str, dict[str, Sequence[Any]]] = {
    "IALS": {"regularisation": (2.0, 5.0, 10.0, 20.0, 50.0, 100.0), "alpha": (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)},
    "NormalisedSVD": {"user_power": (0.0, 0.25, 0.35, 0.5, 0.75), "item_power": (0.0, 0.25, 0.4, 0.5, 0.75)},
    "Transitions": {
        "history_decay": (0.4, 0.6, 0.8, 0.95),
        "from_power": (0.5, 0.7, 0.9),
        "gap_decay": (0.8, 0.9, 1.0),
        "keep": (50, 200),
    },
}
"""Values that are tried instead of, or besides, those of the class; what stands here is searched first."""

VALUES_OF: dict[str, dict[str, dict[str, Sequence[Any]]]] = {
    "gowalla": {
        "ItemKNN": {"kind": ("cosine", "tfidf", "bm25"), "shrinkage": (0.0, 10.0, 50.0), "k": (50, 100, 200)},
        "IALS": {"factors": (64, 128, 256)},
        "BPR": {"factors": (64, 128)},
    },
}
"""Values in one protocol, where a fit takes so long that the budget needs shorter lists."""

ROUNDS = 2
LATER_SHARE = 1 / 3
"""Share of the budget for a further split, whose search begins at the setting chosen on the first."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        params: the setting chosen.
        value: of the tuning metric on the validation part.
        tried: how many settings were fitted.
        seconds: spent.
        edges: hyper-parameters that ended at the edge of their list, extended as it was, where more would be allowed.
        finished: False where the budget ended the search.
    """

    params: Setting
    value: float
    tried: int
    seconds: float
    edges: list[str]
    finished: bool


class Search:
    """Goes through the hyper-parameters one by one over their values, and remembers what was tried.

    Args:
        measure: values of settings that differ in one hyper-parameter at most; NaN where the training diverged.
        values: hyper-parameter to the values tried.
        budget: seconds after which nothing more is begun; the first setting is always measured.
        valid: whether a setting is allowed; asked before a list is extended.
        clock: seconds.
    """

    def __init__(
        self,
        measure: Measure,
        values: Mapping[str, Sequence[Any]],
        *,
        budget: float = float("inf"),
        valid: Callable[[Setting], bool] = lambda setting: True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.measure, self.valid, self.clock = measure, valid, clock
        self.values = {name: list(candidates) for name, candidates in values.items()}
        self.budget, self.begun = budget, clock()
        self.tried: dict[str, float] = {}
        self.pace = 0.0
        self.finished = True

    def run(self, start: Setting, rounds: int = ROUNDS) -> Found:
        """Search from a setting; of equals the one met first is kept."""
        best = dict(start)
        self._measured([best])
        for _ in range(rounds):
            for name in self.values:
                best = self._along(name, best)
        edges = [f"{name}={best[name]}" for name in self.values if self._at_edge(name, best)]
        seconds = round(self.clock() - self.begun, 2)
        return Found(best, self._value(best), len(self.tried), seconds, edges, self.finished)

    def _along(self, name: str, best: Setting) -> Setting:
        self._measured([{**best, name: value} for value in self.values[name]])
        best = self._best(name, best)
        value = beyond(self.values[name], best[name])
        longer = {**best, name: value}
        if value is None or not self.valid(longer):
            return best
        self._measured([longer])
        if _key(longer) in self.tried:
            self.values[name] = sorted([*self.values[name], value])
        return self._best(name, best)

    def _best(self, name: str, best: Setting) -> Setting:
        return max([best, *({**best, name: value} for value in self.values[name])], key=self._value)

    def _value(self, setting: Setting) -> float:
        value = self.tried.get(_key(setting), float("nan"))
        return value if value == value else float("-inf")

    def _measured(self, settings: list[Setting]) -> None:
        """Measure what is new: all at once where the budget allows it, so that they share their preparation."""
        new = [setting for setting in settings if _key(setting) not in self.tried]
        while new:
            left = self.budget - (self.clock() - self.begun)
            if self.tried and left <= 0:
                self.finished = False
                return
            count = len(new) if 2 * self.pace * len(new) <= left else 1  # others may take longer than the last
            since = self.clock()
            for setting, value in zip(new[:count], self.measure(new[:count]), strict=True):
                self.tried[_key(setting)] = float(value)
            self.pace = (self.clock() - since) / count
            new = new[count:]

    def _at_edge(self, name: str, best: Setting) -> bool:
        value = beyond(self.values[name], best[name])
        return value is not None and self.valid({**best, name: value})


def _key(setting: Setting) -> str:
    return repr(sorted(setting.items()))


def beyond(values: Sequence[Any], value: Any) -> Any:
    """The next number outwards where a value is at an end of its list; None where it is not, or 0 is the end."""
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    if not numbers or len(values) < 2 or value not in (values[0], values[-1]):
        return None
    near = values[1] if value == values[0] else values[-2]
    if value == 0:
        return None
    share = near < value and 0.5 < value < 1  # of a whole: towards 1, not past it
    further = 1 - (1 - value) ** 2 / (1 - near) if share else value * value / near if near else 2 * value
    if all(isinstance(one, int) for one in values):
        further = round(further)
        return further if further not in values and further > 0 else None
    return float(f"{further:.4g}")


def find(name: str) -> type | None:
    """The class of a rival; None where the library has none of that name."""
    return getattr(recgan.baselines, name, None)


def seeded(kind: type) -> bool:
    """Whether a rival draws anything at random."""
    return "seed" in inspect.signature(kind).parameters


def space(kind: Any, protocol: str, train: pd.DataFrame) -> tuple[Setting, dict[str, list[Any]]]:
    """Where the search for a rival begins, and the values that it tries."""
    name, of_class = kind.__name__, kind._grid_for(TrainingData.read(train, None).histories)
    given = {**VALUES.get(name, {}), **VALUES_OF.get(protocol, {}).get(name, {})}
    grid = {**given, **{key: value for key, value in of_class.items() if key not in given}}
    wanted = {**STARTS.get(name, {}), **STARTS_OF.get(protocol, {}).get(name, {})}
    start, values = {}, {}
    for parameter, tried in grid.items():
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in tried)
        first = wanted.get(parameter, kind().params[parameter])
        start[parameter] = first if numbers or first in tried else tried[0]
        values[parameter] = sorted({*tried, first}) if numbers and first is not None else list(tried)
    return start, values


def tuned(
    kind: Any, task: Any, protocol: Any, *, seed: int = 0, budget: float = 900.0, start: Setting | None = None
) -> Found:
    """Search the best setting of a rival on the validation part of a task.

    Args:
        kind: the rival.
        task: its `train` is fitted, its `validation` served.
        protocol: names the metric.
        seed: of a rival that draws at random; it is not among the parameters found.
        budget: seconds.
        start: a setting found on another split: one round from there; None for the usual start.
    """
    first, values = space(kind, protocol.name, task.train)
    for name, value in (start or {}).items():
        if name in first and value not in values[name]:
            values[name] = sorted([*values[name], value])
    fixed = {"seed": seed} if seeded(kind) else {}
    measure = _measure(kind, task, protocol.tuning_metric, fixed)
    search = Search(measure, values, budget=budget, valid=lambda setting: _allowed(kind, setting))
    found = search.run({**first, **(start or {})}, ROUNDS if start is None else 1)
    if found.value == float("-inf"):
        raise TrainingError(f"{kind.__name__}: no setting could be fitted")
    return found


def _measure(kind: Any, task: Any, metric: str, fixed: Setting) -> Measure:
    def measure(settings: list[Setting]) -> list[float]:
        grid = {name: list(dict.fromkeys(one[name] for one in settings)) for name in settings[0]}
        grid |= {name: [value] for name, value in fixed.items()}
        try:
            model = kind.tune(task.train, task.validation, metric=metric, grid=grid)
        except TrainingError:
            return [float("nan")] * len(settings)
        return [float(value) for value in model.tuning[metric]]

    return measure


def _allowed(kind: Any, setting: Setting) -> bool:
    try:
        kind(**setting)
    except ConfigError:
        return False
    return True

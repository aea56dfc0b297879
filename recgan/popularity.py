"""Popularity with a half-life: a bias of stage one, and the rival called Popular."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recgan.histories import DAY, Histories, slices

HALF_LIVES: tuple[float | None, ...] = (None, 365.0, 90.0, 30.0, 7.0, 3.0, 1.0)
"""Half-lives in days that validation chooses from; None never forgets."""

MOMENTS, TREND_CELLS = 200, 20_000_000
"""Most moments of a trend, and most numbers that it holds."""

PRIOR = 10.0
"""Interactions that are spread as all were before the decayed ones are counted."""


def decayed_counts(histories: Histories, half_life: float | None) -> np.ndarray:
    """Interactions of every item by weight, those of older days counting less.

    Args:
        histories: interactions.
        half_life: days after which an interaction counts half, measured from the newest one; None counts all alike.

    Returns:
        Counts, (N,) float64.
    """
    counts = np.zeros(histories.n_items)
    for some in slices(len(histories.items)):
        counts += np.bincount(histories.items[some], row_weights(histories, half_life, some), histories.n_items)
    return counts


def row_weights(histories: Histories, half_life: float | None, some: slice = slice(None)) -> np.ndarray:
    """What every row, or some of them, counts by its weight and its age, (rows,) float64."""
    counted = histories.decay(half_life, some)
    return counted if histories.weights is None else counted * histories.weights[some]


def log_popularity(histories: Histories, half_life: float | None) -> np.ndarray:
    """Standardised `log_rates` of the newest moment, (N,) float32."""
    values = _rates_now(histories, half_life)
    return np.asarray((values - values.mean()) / (values.std() or 1.0), np.float32)


def popularity_spread(histories: Histories, half_life: float | None) -> float:
    """What one unit of `log_popularity` is worth in nats."""
    return float(_rates_now(histories, half_life).std())


def _rates_now(histories: Histories, half_life: float | None) -> np.ndarray:
    return log_rates(decayed_counts(histories, half_life), decayed_counts(histories, None), half_life)


def log_rates(decayed: np.ndarray, counts: np.ndarray, half_life: float | None) -> np.ndarray:
    """Logarithm of how often every item is asked for, up to a constant.

    Args:
        decayed: `decayed_counts`, (N,).
        counts: the same without a half-life, (N,).
        half_life: of the decayed counts, in days; None for none.

    Returns:
        Of the counts and one more, or of the decayed counts and PRIOR, (N,) float64.
    """
    more = counts + 1.0
    return np.asarray(np.log(more if half_life is None else decayed + PRIOR * more / more.sum()))


@dataclass(frozen=True)
class Trend:
    """What was popular at some moments of the past, told by nothing that came later.

    Args:
        moments: when a span begins, (M,) float64 seconds, ascending; the first before every row.
        log_rates: of every item at these moments, (M, N) float32.
    """

    moments: np.ndarray
    log_rates: np.ndarray

    @classmethod
    def of(cls, histories: Histories, half_life: float) -> Trend:
        """The trend of interactions with times.

        Args:
            histories: training interactions of N items.
            half_life: days after which an interaction counts half.
        """
        times = np.asarray(histories.times)
        spans = int(np.clip(TREND_CELLS // histories.n_items, 2, MOMENTS))
        moments = np.unique(np.quantile(times, np.arange(spans) / spans))
        by_time = np.argsort(times, kind="stable")
        begins = np.searchsorted(times[by_time], moments)
        decayed, counts = np.zeros(histories.n_items), np.zeros(histories.n_items)
        rates = np.empty((len(moments), histories.n_items), np.float32)
        for place, moment in enumerate(moments):
            if place:
                rows = np.sort(by_time[begins[place - 1] : begins[place]])
                weights = np.exp2((times[rows] - moment) / DAY / half_life)
                decayed *= np.exp2((moments[place - 1] - moment) / DAY / half_life)
                decayed += np.bincount(histories.items[rows], weights, histories.n_items)
                counts += np.bincount(histories.items[rows], minlength=histories.n_items)
            rates[place] = log_rates(decayed, counts, half_life)
        return cls(moments, rates)

    def spans(self, times: np.ndarray) -> np.ndarray:
        """The span that each of some times falls in, from 0, int64."""
        return np.asarray(np.maximum(np.searchsorted(self.moments, times, side="right") - 1, 0))

    def when(self, histories: Histories) -> Histories:
        """The span that every row falls in, in the place of its item."""
        return replace(histories, items=self.spans(np.asarray(histories.times)), n_items=len(self.moments))

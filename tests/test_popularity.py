from __future__ import annotations

import numpy as np
import pytest

from recgan.histories import DAY, Histories, offsets_of
from recgan.popularity import PRIOR, Trend, decayed_counts, log_popularity, popularity_spread


@pytest.fixture(scope="module")
def histories() -> Histories:
    random = np.random.default_rng(0)
    lengths = random.integers(0, 9, 40)
    times = np.concatenate([np.sort(random.integers(0, 30, length)) for length in lengths]) * DAY
    return Histories(offsets_of(lengths), random.integers(0, 12, len(times)), 12, times, clock=True)


def test_decayed_counts_by_hand():
    histories = Histories(np.array([0, 2, 3]), np.array([0, 1, 0]), 3, np.array([0.0, 2.0, 4.0]) * DAY, clock=True)
    np.testing.assert_allclose(decayed_counts(histories, 2.0), [1.25, 0.5, 0.0])
    np.testing.assert_array_equal(decayed_counts(histories, None), [2, 1, 0])


@pytest.mark.parametrize("half_life", [None, 3.0])
def test_log_popularity_is_standardised_and_has_its_spread_told(histories, half_life):
    values = log_popularity(histories, half_life)
    assert values.dtype == np.float32
    assert (values.mean(), values.std()) == pytest.approx((0.0, 1.0), abs=1e-5)
    more = histories.counts() + 1.0
    rates = np.log(more if half_life is None else decayed_counts(histories, half_life) + PRIOR * more / more.sum())
    np.testing.assert_allclose(values * popularity_spread(histories, half_life), rates - rates.mean(), atol=1e-5)


def test_a_trend_knows_nothing_of_what_comes_later(histories):
    trend, half_life = Trend.of(histories, 3.0), 3.0
    assert len(trend.moments) > 10
    for moment, rates in zip(trend.moments, trend.log_rates, strict=True):
        before = histories.times < moment
        age = (moment - histories.times[before]) / DAY
        decayed = np.bincount(histories.items[before], 0.5 ** (age / half_life), 12)
        more = np.bincount(histories.items[before], minlength=12) + 1.0
        np.testing.assert_allclose(rates, np.log(decayed + PRIOR * more / more.sum()), atol=1e-5)


def test_every_row_falls_in_the_span_of_its_time(histories):
    trend = Trend.of(histories, 3.0)
    spans = trend.when(histories)
    assert spans.n_items == len(trend.moments)
    begins = trend.moments[spans.items]
    ends = np.append(trend.moments, np.inf)[spans.items + 1]
    assert ((begins <= histories.times) & (histories.times < ends)).all()


def test_a_trend_fits_large_catalogues(histories, monkeypatch):
    monkeypatch.setattr("recgan.popularity.TREND_CELLS", 60)
    assert Trend.of(histories, 3.0).log_rates.shape == (5, 12)

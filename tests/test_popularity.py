from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@st.composite
def timed(draw):
    lengths = np.array(draw(st.lists(st.integers(0, 5), min_size=1, max_size=6)))
    size = int(lengths.sum()) or 1
    lengths[0] += size - lengths.sum()
    days = draw(st.lists(st.integers(0, 40), min_size=size, max_size=size))
    items = draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    return Histories(offsets_of(lengths), np.array(items), 7, np.array(days, np.float64) * DAY, clock=True)


@given(timed(), st.floats(0.5, 100.0))
def test_a_longer_memory_counts_no_less_and_none_counts_all(histories, half_life):
    short, long = decayed_counts(histories, half_life), decayed_counts(histories, 2.0 * half_life)
    assert (short <= long + 1e-12).all()
    assert (long <= decayed_counts(histories, None) + 1e-12).all()
    np.testing.assert_array_equal(decayed_counts(histories, None), histories.counts())
    assert short.sum() == pytest.approx(histories.decay(half_life).sum())


@given(timed())
def test_log_popularity_has_the_order_of_the_counts(histories):
    values, counts = log_popularity(histories, None), histories.counts()
    for one in range(7):
        assert ((values[one] > values) == (counts[one] > counts)).all() or np.ptp(counts) == 0


@given(timed(), st.floats(0.5, 30.0), st.integers(0, 6))
def test_what_comes_later_does_not_change_a_trend(histories, half_life, item):
    later = Histories(
        np.append(histories.offsets, histories.offsets[-1] + 1),
        np.append(histories.items, item),
        7,
        np.append(histories.times, histories.times.max() + 5 * DAY),
        clock=True,
    )
    before, after = Trend.of(histories, half_life), Trend.of(later, half_life)
    for place, moment in enumerate(before.moments):
        if moment in after.moments:
            np.testing.assert_array_equal(
                before.log_rates[place], after.log_rates[int(np.flatnonzero(after.moments == moment)[0])]
            )


@given(timed(), st.lists(st.floats(-1e7, 1e7), min_size=1))
def test_spans_go_forward_with_time(histories, times):
    spans = Trend.of(histories, 3.0).spans(np.sort(np.array(times)))
    assert (np.diff(spans) >= 0).all()
    assert spans.min() >= 0

"""The order that strangers see: the discounted cover of the histories, against loops and planted tastes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recgan import opening as module
from recgan.histories import DAY, Histories, offsets_of
from recgan.opening import BLOCK, cover, opening
from recgan.popularity import decayed_counts, log_popularity
from recgan.ranking import Query


def cover_by_loops(table: np.ndarray, most: int, left: float) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < most:
        had = (table[:, chosen] > 0).sum(axis=1)
        gains = [
            -1.0 if item in chosen else sum(left ** had[user] * table[user, item] for user in range(len(table)))
            for item in range(table.shape[1])
        ]
        if max(gains) <= 1e-9:
            break
        chosen.append(int(np.argmax(np.round(gains, 9))))
    return chosen


tables = st.integers(1, 7).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 3), min_size=width, max_size=width), min_size=1, max_size=9)
)


@given(table=tables, most=st.integers(0, 8), left=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_cover_is_the_greedy_one(table, most, left):
    dense = np.array(table, np.float64)
    assert cover(csr_matrix(dense), most, left).tolist() == cover_by_loops(dense, most, left)


def tastes(share: float, shuffled: bool = False) -> Histories:
    """Users of two kinds, each with most of their kind's twelve items: the first kind are more."""
    random = np.random.default_rng(0)
    lists = [np.flatnonzero(random.random(12) < 0.7) + (0 if user < 500 * share else 12) for user in range(500)]
    flat = np.concatenate(lists)
    if shuffled:
        flat = random.permutation(flat)
    return Histories(offsets_of(np.array(list(map(len, lists)))), flat, 24)


def first_ten(histories: Histories, half_life: float | None = None) -> np.ndarray:
    popularity = log_popularity(histories, half_life)
    return np.argsort(-(popularity + opening(histories, popularity, half_life)), kind="stable")[:10]


def test_both_tastes_stand_on_the_first_list_and_nobody_is_left_out():
    histories = tastes(0.6)
    assert (np.argsort(-histories.counts())[:10] < 12).all()
    assert 3 <= (first_ten(histories) >= 12).sum() <= 5
    shown = np.isin(histories.items, first_ten(histories))
    assert len(np.unique(histories.rows[shown])) == 500


def test_without_tastes_the_popular_list_stays():
    histories = tastes(0.6, shuffled=True)
    assert len(set(first_ten(histories)) & set(np.argsort(-histories.counts())[:10])) >= 8


@given(table=tables)
def test_the_values_are_those_of_popularity_in_another_order(table):
    dense = csr_matrix(np.array(table, np.float64))
    histories = Histories(dense.indptr.astype(np.int64), dense.indices.astype(np.int64), dense.shape[1])
    popularity = np.random.default_rng(0).permutation(histories.n_items).astype(np.float32)
    changed = opening(histories, popularity)
    assert changed.dtype == np.float32
    assert np.array_equal(np.sort(popularity + changed), np.sort(popularity))


def test_among_as_many_as_a_list_holds_the_most_popular_stands_first():
    histories = tastes(0.6)
    popularity = (histories.counts() + np.arange(24) / 100.0).astype(np.float32)  # no two alike
    order = np.argsort(-(popularity + opening(histories, popularity)), kind="stable")
    for start in range(0, 24, BLOCK):
        assert (np.diff(popularity[order[start : start + BLOCK]]) <= 0).all()
    assert (np.diff(popularity[order]) > 0).any()


def test_old_interactions_and_light_ones_count_less():
    old, new = [np.array([0])] * 30, [np.array([1])] * 10
    both = Histories.from_lists([*old, *new], 2)
    times = np.repeat([0.0, 20.0], [30, 10]) * DAY
    timed = Histories(both.offsets, both.items, 2, times, True)
    assert first_ten(timed, None).tolist() == [0, 1]
    assert first_ten(timed, 5.0).tolist() == [1, 0]
    weights = np.repeat([0.1, 1.0], [30, 10]).astype(np.float32)
    weighed = Histories(both.offsets, both.items, 2, weights=weights)
    assert decayed_counts(weighed, None).argmax() == first_ten(weighed)[0] == 1


@pytest.mark.parametrize("lists", [[], [np.array([], np.int64)]])
def test_nothing_is_opened_where_nobody_has_anything(lists):
    assert opening(Histories.from_lists(lists, 3), np.zeros(3, np.float32)).tolist() == [0.0, 0.0, 0.0]


def test_of_many_rows_random_users_are_looked_at(monkeypatch):
    histories = tastes(0.6)
    monkeypatch.setattr(module, "MOST_ROWS", 800)
    some = module._sampled(histories, None)
    assert some.sum() == pytest.approx(800, rel=0.1)
    assert 50 < some.shape[0] < 200
    assert 3 <= (first_ten(histories) >= 12).sum() <= 5


def test_what_is_equally_popular_scores_alike_for_a_stranger_alone_and_among_others(model):
    """Ties are broken by the order of the catalogue, and not by how the last bits of a sum fall."""
    blocks, items = model._blocks, len(model._items)
    popularity = np.repeat(blocks.popularity[::3], 3)[:items] + np.float32(0.1)
    moved = np.where(np.arange(items) < 9, np.float32(0.37), np.float32(0.0))
    weights = replace(blocks.weights, unknown=0.0, popularity=0.7)
    blocks = replace(blocks, popularity=popularity, opening=moved, weights=weights)
    for users in (1, 2, 7, 40):
        empty = Histories.from_lists([np.empty(0, np.int64)] * users, items)
        query = Query(empty, empty, np.zeros((users, 0), np.float32))
        wanted = np.random.default_rng(0).normal(size=(users, blocks.generator.vectors.shape[1])) * 0.0
        scores = blocks.queries(query, wanted.astype(np.float32)) @ blocks.columns.T
        expected = (popularity + moved) * blocks.fading_weights(np.zeros(1, np.int64))[1]
        np.testing.assert_array_equal(scores, np.broadcast_to(expected, scores.shape))

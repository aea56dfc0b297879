from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.sparse import csr_matrix

from recgan import linear
from recgan.histories import Histories
from recgan.linear import counts, spectral


@pytest.fixture(scope="module")
def histories() -> Histories:
    random = np.random.default_rng(0)
    return Histories.from_lists([random.permutation(40)[: random.integers(1, 15)] for _ in range(150)], 40)


@pytest.mark.parametrize("regularisation", [1.0, 50.0, 1000.0])
def test_ease_equals_the_textbook(histories, regularisation):
    x = histories.matrix().toarray().astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + regularisation * np.eye(40))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    block = linear.ease(linear.spectrum(histories), regularisation)
    unseen = x == 0
    np.testing.assert_allclose(block.scores(histories)[unseen], (x @ weights)[unseen], atol=2e-5)


@pytest.mark.parametrize(("user_power", "growth"), [(0.5, 0.0), (0.0, 0.7), (1.0, 2.0)])
def test_ease_equals_the_textbook_with_uneven_users_and_items(histories, user_power, growth):
    x = histories.matrix().toarray().astype(np.float64)
    gram = x.T @ (x / np.maximum(x.sum(1, keepdims=True), 1.0) ** user_power)
    degrees = np.diag(gram)
    inverse = np.linalg.inv(gram + 5.0 * np.diag(1.0 + growth * degrees / degrees.mean()))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    parts = linear.spectrum(histories, user_power=user_power, growth=growth)
    unseen = x == 0
    np.testing.assert_allclose(linear.ease(parts, 5.0).scores(histories)[unseen], (x @ weights)[unseen], atol=2e-5)
    assert parts.mean_degree == pytest.approx(degrees.mean())


def test_truncated_spectrum_holds_the_leading_part(histories, monkeypatch):
    full = linear.spectrum(histories)
    monkeypatch.setattr(spectral, "FULL_SPECTRUM", 10)
    leading = linear.spectrum(histories, rank=5)
    np.testing.assert_allclose(leading.values, full.values[:5], rtol=1e-2)  # found by iteration in a flat spectrum
    assert abs(leading.vectors[:, 0] @ full.vectors[:, 0]) == pytest.approx(1.0, abs=1e-4)


def brute_transitions(lists, n, reach, gap_decay, backward, shrinkage, a, b):
    counts, popularity = np.zeros((n, n)), np.zeros(n)
    for one in lists:
        for p, first in enumerate(one):
            popularity[first] += 1
            for q in range(p + 1, min(len(one), p + reach + 1)):
                counts[first, one[q]] += gap_decay ** (q - p - 1)
    counts = counts + backward * counts.T
    np.fill_diagonal(counts, 0.0)
    return counts / np.outer((popularity + shrinkage) ** a, (popularity + shrinkage) ** b)


def test_transitions_equal_brute_force(histories):
    lists = [histories.of(u) for u in range(len(histories))]
    expected = brute_transitions(lists, 40, 4, 0.8, 0.3, 7.0, 0.7, 0.3)
    found = linear.transition_counts(histories, reach=4, gap_decay=0.8)
    block = linear.transitions(
        histories, backward=0.3, shrinkage=7.0, from_power=0.7, to_power=0.3, keep=40, counts=found
    )
    np.testing.assert_allclose(block.rows.toarray(), expected, rtol=1e-5, atol=1e-7)


def test_transition_counts_fade_with_time_and_with_the_length_of_a_history():
    day = 86_400.0
    offsets, items = np.array([0, 2, 5]), np.array([0, 1, 2, 3, 2])
    histories = Histories(offsets, items, 4, np.array([0.0, 5.0, 0.0, 5.0, 10.0]) * day, True)
    found = linear.transition_counts(histories, reach=1, half_life=5.0, user_power=1.0).toarray()
    expected = np.zeros((4, 4))
    expected[0, 1], expected[2, 3], expected[3, 2] = 1 / 2 * 1 / 2, 1 / 2 * 1 / 3, 1 * 1 / 3
    np.testing.assert_allclose(found, expected)


def test_rows_shrink_as_the_catalogue_grows(monkeypatch):
    monkeypatch.setattr(counts, "ENTRIES", 4000)
    assert [counts.kept_entries(n) for n in (1, 10, 50, 1000)] == [400, 400, 80, 20]


def test_vectors_of_the_order_put_neighbours_in_time_together():
    random = np.random.default_rng(0)
    chains = [(start + np.arange(6)) % 20 + 20 * (start % 2) for start in random.integers(0, 20, 300)]
    histories = Histories.from_lists(chains, 40)
    some = linear.transition_counts(histories, reach=2)
    vectors = linear.order_vectors(some, histories.counts(), 6, seed=1)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    cosines = vectors @ vectors.T
    assert (cosines[np.arange(19), np.arange(1, 20)] > cosines[np.arange(10), np.arange(10, 20)].mean() + 0.2).all()
    np.testing.assert_array_equal(vectors, linear.order_vectors(some, histories.counts(), 6, seed=1))
    assert linear.order_vectors(some, histories.counts(), 64).shape == (40, 64)


def test_vectors_of_the_order_where_nothing_follows_anything():
    vectors = linear.order_vectors(csr_matrix((12, 12)), np.ones(12), 6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_transitions_score_the_newest_item_most(histories):
    block = linear.transitions(histories, history_decay=0.5, keep=40)
    few = Histories.from_lists([np.array([3, 7, 3]), np.array([], np.int64)], 40)
    rows = block.rows.toarray()
    expected = 1.0 * rows[3] + 0.5 * rows[7]
    np.testing.assert_allclose(block.scores(few).toarray(), [expected, np.zeros(40)], rtol=1e-5)


def test_neighbours_equal_brute_force_and_keep_the_largest(histories):
    x = histories.matrix().toarray()
    sizes, popularity = x.sum(1).clip(1), x.sum(0) + 5.0
    full = (x / sizes[:, None] ** 0.7).T @ x / np.outer(popularity**0.6, popularity**0.2)
    np.fill_diagonal(full, 0.0)
    settings = {"user_power": 0.7, "from_power": 0.6, "to_power": 0.2, "shrinkage": 5.0}
    found = linear.neighbours(histories, **settings, keep=40).rows.toarray()
    np.testing.assert_allclose(found, full, rtol=1e-4, atol=1e-7)
    few = linear.neighbours(histories, **settings, keep=3).rows.toarray()
    assert ((few > 0).sum(1) <= 3).all()
    for row in range(40):
        np.testing.assert_allclose(np.sort(few[row])[-3:], np.sort(full[row])[-3:], rtol=1e-4)


def test_start_vectors_are_unit_and_seeded(histories):
    vectors = linear.start_vectors(histories, 64, seed=3)
    assert vectors.shape == (40, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(vectors, linear.start_vectors(histories, 64, seed=3))


def test_the_low_pass_filter_is_the_formula_of_the_paper():
    random = np.random.default_rng(0)
    groups = [random.permutation(np.arange(8) + 8 * (user % 5))[: 4 + user % 3] for user in range(200)]
    histories = Histories.from_lists(groups, 40)
    x = histories.matrix().toarray().astype(np.float64)
    users, items = x.sum(1), x.sum(0)
    vectors = np.linalg.svd(x / np.sqrt(np.outer(users, items)))[2][:5].T  # five groups: a gap behind the fifth value
    expected = x @ (vectors @ vectors.T * np.sqrt(items) / np.sqrt(items)[:, None])
    found = linear.low_pass(histories, 5, user_power=0.5, item_power=0.5)
    np.testing.assert_allclose(found.scores(histories), expected, atol=1e-3)


def test_inputs_are_left_alone(histories):
    before = histories.items.copy(), histories.offsets.copy()
    linear.transitions(histories)
    linear.neighbours(histories)
    linear.start_vectors(histories, 8)
    linear.ease(linear.spectrum(histories), 10.0).scores(histories)
    np.testing.assert_array_equal(histories.items, before[0])
    np.testing.assert_array_equal(histories.offsets, before[1])


def textbook_users(x: np.ndarray, y: np.ndarray, unseen: float, ridge: float) -> np.ndarray:
    """Least squares over every pair, user by user."""
    rows = []
    for had in x:
        weight = unseen + had
        left = (y.T * weight) @ y + ridge * np.eye(y.shape[1])
        rows.append(np.linalg.solve(left, y.T @ had))
    return np.array(rows)


def test_factors_are_one_pass_of_least_squares(histories):
    x = histories.matrix().toarray().astype(np.float64)
    start = linear.start_vectors(histories, 6)
    users = textbook_users(x, start.astype(np.float64), 0.3, 2.0)
    items = textbook_users(x.T, users, 0.3, 2.0)
    block = linear.factors(histories, start, unseen=0.3, ridge=2.0)
    np.testing.assert_allclose(block.columns, items, rtol=2e-3, atol=1e-5)
    expected = textbook_users(x, block.columns.astype(np.float64), 0.3, 2.0)
    np.testing.assert_allclose(block.queries(histories), expected, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(block.scores(histories), expected @ block.columns.T, rtol=2e-3, atol=1e-5)


def test_what_factors_want_does_not_hang_on_company_order_or_repeats(histories, monkeypatch):
    block = linear.factors(histories, linear.start_vectors(histories, 6), ridge=2.0)
    together = block.queries(histories)
    alone = np.concatenate([block.queries(histories.take(np.array([u]))) for u in range(len(histories))])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-6)
    repeated = Histories.from_lists([np.tile(histories.of(u)[::-1], 2) for u in range(len(histories))], 40)
    np.testing.assert_allclose(block.queries(repeated), together, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(sys.modules[linear.Factors.__module__], "CELLS", 100)
    np.testing.assert_allclose(block.queries(histories), together, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 5, 30])
@pytest.mark.parametrize("weighs", [False, True])
def test_short_histories_and_long_ones_are_solved_alike(histories, rank, weighs):
    """Few columns, so that all histories are longer; many, so that all are shorter; and some of both."""
    random = np.random.default_rng(0)
    weights = random.uniform(0.0, 3.0, len(histories.items)).astype(np.float32) if weighs else None
    some = replace(histories, weights=weights)
    vectors = random.normal(size=(40, rank)).astype(np.float32)
    x, y = some.weighted().toarray().astype(np.float64), vectors.astype(np.float64)
    prior = 0.3 * y.T @ y + 2.0 * np.eye(rank)
    expected = np.stack([np.linalg.solve(prior + (y * row[:, None]).T @ y, row @ y) for row in x])
    found = linear.Factors(vectors, 0.3, 2.0).queries(some)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    few = some.take(np.array([3]))
    np.testing.assert_allclose(linear.Factors(vectors, 0.3, 2.0).queries(few), expected[[3]], rtol=1e-4, atol=1e-6)


def test_factors_that_remember_solve_once_for_the_same_histories(histories, monkeypatch):
    vectors = np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32)
    block = linear.Factors(vectors, unseen=0.3, ridge=2.0)
    remembering = linear.RememberingFactors.of(block)
    weighed = replace(histories, weights=np.linspace(0.1, 2.0, len(histories.items), dtype=np.float32))
    asked = [histories, weighed, histories.take(np.arange(7)), histories.take(np.arange(7, 14))]
    for _ in range(2):
        for one in asked:
            np.testing.assert_array_equal(remembering.queries(one), block.queries(one))
    monkeypatch.setattr(linear.Factors, "queries", None)
    assert [len(remembering.queries(one)) for one in asked] == [150, 150, 7, 7]


def test_factors_want_nothing_without_a_history():
    block = linear.Factors(np.ones((3, 2), np.float32), unseen=0.5, ridge=1.0)
    assert not block.queries(Histories.from_lists([np.array([], np.int64)] * 2, 3)).any()
    assert block.queries(Histories.from_lists([], 3)).shape == (0, 2)


def test_factors_cost_more_with_rows_and_columns(histories):
    cheap, dear, dearest = (linear.factors_cost(histories, rank) for rank in (2, 4, 400))
    assert 2 * cheap < dear < 8 * cheap
    assert dearest < 200**2 * dear  # short histories are solved for their items
    assert linear.factors_cost(histories.joined(histories), 4) > dear


some_histories = st.lists(st.lists(st.integers(0, 8), max_size=7), min_size=1, max_size=8).map(
    lambda lists: Histories.from_lists([np.array(one, np.int64) for one in lists], 9)
)
square = npst.arrays(np.float32, (6, 6), elements=st.integers(-2, 4).map(float))


@settings(max_examples=60, deadline=None)
@given(square, st.integers(1, 7))
def test_largest_keeps_the_largest_positive_entries_of_every_row(matrix, keep):
    found = linear.largest(csr_matrix(matrix), keep).toarray()
    for row, values in zip(found, matrix, strict=True):
        kept = [column for column in np.argsort(-values, kind="stable")[:keep] if values[column] > 0]
        assert np.flatnonzero(row).tolist() == sorted(kept)
        assert (row[kept] == values[kept]).all()


@settings(max_examples=60, deadline=None)
@given(some_histories, st.floats(0, 1), st.floats(0, 1), st.floats(0, 9))
def test_normalised_divides_out_the_sizes(histories, user_power, item_power, shrinkage):
    x = histories.matrix().toarray()
    users, items = np.maximum(x.sum(axis=1), 1), np.maximum(x.sum(axis=0) + shrinkage, 1)
    expected = x / users[:, None] ** user_power / items**item_power
    found = linear.normalised(histories, user_power, item_power, shrinkage)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(some_histories, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_neighbours_are_co_occurrences_with_the_sizes_divided_out(histories, user, one, other):
    x = histories.matrix().toarray().astype(np.float64)
    sizes, counts = np.maximum(x.sum(axis=1), 1), np.maximum(x.sum(axis=0), 1)
    expected = (x.T / sizes**user) @ x / np.outer(counts**one, counts**other)
    np.fill_diagonal(expected, 0.0)
    block = linear.neighbours(histories, user_power=user, from_power=one, to_power=other, keep=9)
    np.testing.assert_allclose(block.rows.toarray(), expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(some_histories, st.integers(1, 8), st.floats(0.1, 1.0), st.booleans())
def test_transition_counts_equal_a_loop_over_pairs(histories, reach, gap_decay, weighted):
    """A pair counts by the weight of its later event."""
    weights = np.arange(1, len(histories.items) + 1, dtype=np.float32)
    if weighted:
        histories = replace(histories, weights=weights)
    expected = np.zeros((9, 9))
    for user in range(len(histories)):
        own = histories.of(user)
        for (p, first), (q, then) in itertools.combinations(enumerate(own.tolist()), 2):
            weight = float(weights[histories.offsets[user] + q]) if weighted else 1.0
            expected[first, then] += weight * gap_decay ** (q - p - 1) * (q - p <= reach)
    found = linear.transition_counts(histories, reach=reach, gap_decay=gap_decay)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(some_histories, st.floats(0.05, 2.0), st.floats(0.5, 20.0), st.integers(0, 99))
def test_what_a_history_wants_solves_its_equations(histories, unseen, ridge, seed):
    columns = np.random.default_rng(seed).normal(size=(9, 3)).astype(np.float32)
    queries = linear.Factors(columns, unseen, ridge).queries(histories).astype(np.float64)
    y = columns.astype(np.float64)
    for user, w in enumerate(queries):
        had = y[np.unique(histories.of(user))]
        gradient = had.T @ (had @ w - 1.0) + unseen * y.T @ (y @ w) + ridge * w
        np.testing.assert_allclose(gradient, 0.0, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(some_histories, st.floats(0.1, 1.0), st.integers(0, 99))
def test_the_newest_item_counts_whole_and_every_older_one_less(histories, decay, seed):
    rows = np.abs(np.random.default_rng(seed).normal(size=(9, 9))).astype(np.float32)
    found = linear.SparseRows(csr_matrix(rows), decay).scores(histories).toarray()
    for user in range(len(histories)):
        weight = np.zeros(9)
        for age, item in enumerate(histories.of(user)[::-1].tolist()):
            weight[item] = weight[item] or decay**age * 1.0
        if decay == 1.0:
            weight = (weight > 0).astype(float)
        np.testing.assert_allclose(found[user], weight @ rows, rtol=1e-4, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(some_histories, st.integers(1, 6), st.integers(0, 99))
def test_leading_columns_score_like_a_block_of_their_own(histories, rank, seed):
    random = np.random.default_rng(seed)
    fold, columns = (random.normal(size=(9, 6)).astype(np.float32) for _ in range(2))
    found = linear.LowRank(fold, columns).leading(rank).scores(histories)
    np.testing.assert_allclose(found, histories.matrix() @ fold[:, :rank] @ columns[:, :rank].T, rtol=1e-4, atol=1e-4)


def test_in_blocks_of_rows_the_block_is_the_same(histories, monkeypatch):
    made = {"transitions": linear.transitions, "neighbours": linear.neighbours}
    whole = {name: make(histories, keep=6) for name, make in made.items()}
    monkeypatch.setattr(linear.counts, "BLOCK", 7)
    for name, make in made.items():
        rows = make(histories, keep=6).rows
        assert (rows != whole[name].rows).nnz == 0
        assert rows.diagonal().sum() == 0.0


@pytest.mark.parametrize("ordered", [True, False])
def test_the_longest_histories_are_cut_where_their_pairs_are_too_many(ordered, monkeypatch):
    lengths = [1, 3, 5, 10, 40]
    flat = Histories.from_lists([np.arange(length) for length in lengths], 40)
    some = Histories(flat.offsets, flat.items, 40, np.arange(len(flat.items)) * 1.0) if ordered else flat
    assert linear.counts.within(some, 1735) is some
    for most in (1734, 300, 30, 5):
        cut = linear.counts.within(some, most)
        longest = max(length for length in range(1, 41) if sum(min(length, one) ** 2 for one in lengths) <= most)
        assert cut.lengths.tolist() == [min(longest, one) for one in lengths]
        for user, length in enumerate(cut.lengths):
            assert set(cut.of(user)) <= set(some.of(user))
            assert not ordered or cut.of(user).tolist() == some.of(user).tolist()[-length:]
    monkeypatch.setattr(linear.counts, "PAIRS", 300)
    fewer = linear.neighbours(some, keep=40).rows
    cut = linear.counts.within(some, 300)
    np.testing.assert_array_equal(fewer.toarray(), linear.neighbours(cut, keep=40).rows.toarray())


def test_who_has_everything_counts_as_who_has_much(monkeypatch):
    monkeypatch.setattr(counts, "LONGEST", 6)
    some = Histories.from_lists([np.arange(9), np.arange(6), np.arange(2)], 9)
    cut = counts.within(some, 10**9)
    assert cut.lengths.tolist() == [6, 6, 2]
    assert counts.within(cut, 10**9) is cut
    assert counts.within(some, 30).lengths.tolist() == [3, 3, 2]


def test_of_many_interactions_transitions_look_less_far_ahead(histories, monkeypatch):
    near = linear.transition_counts(histories, reach=2)
    monkeypatch.setattr(linear.counts, "STEPS", 3 * len(histories.items) - 1)
    assert (linear.transition_counts(histories) != near).nnz == 0


def test_one_decomposition_serves_every_rank(histories):
    parts = linear.leading(histories, 12, seed=3)
    whole = linear.low_pass(histories, 12, seed=3)
    for rank in (4, 12):
        block = linear.low_pass(histories, rank, seed=3, parts=parts)
        np.testing.assert_array_equal(block.columns, whole.columns[:, :rank])
        np.testing.assert_array_equal(block.fold, whole.fold[:, :rank])
    np.testing.assert_array_equal(linear.start_vectors(histories, 12, 3, parts), linear.start_vectors(histories, 12, 3))
    table, alone = linear.normalised(histories, 0.35, 0.4).toarray(), linear.leading(histories, 4, seed=3)
    held = [np.square(table @ some.vectors[:, :4]).sum() for some in (parts, alone)]
    assert held[0] >= held[1] - 1e-4  # the first columns of more are at least as good as the few alone

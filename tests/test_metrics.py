from __future__ import annotations

from itertools import combinations
from math import exp, log, log2, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import sparse, stats

from recgan import metrics as m

# Two users: the first has hits at positions 1 and 3 of 3 relevant items, the second one hit at position 2 of 1.
HITS = np.array([[True, False, True, False], [False, True, False, False]])
N_RELEVANT = np.array([3, 1])

cases = st.integers(1, 6).flatmap(
    lambda n_users: st.tuples(
        npst.arrays(np.bool_, st.tuples(st.just(n_users), st.integers(0, 8))),
        npst.arrays(np.int64, n_users, elements=st.integers(0, 5)),
        st.integers(1, 10),
    )
)


def consistent(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """Relevant items of each user: those that were hit and some that were missed."""
    return hits.sum(axis=1) + misses


@pytest.mark.parametrize(
    ("name", "k", "first", "second"),
    [
        ("hit", 1, 1, 0),
        ("hit", 2, 1, 1),
        ("precision", 3, 2 / 3, 1 / 3),
        ("precision", 8, 2 / 8, 1 / 8),
        ("recall", 2, 1 / 3, 1 / 1),
        ("recall", 8, 2 / 3, 1 / 1),
        ("recall_capped", 2, 1 / 2, 1 / 1),
        ("recall_capped", 8, 2 / 3, 1 / 1),
        ("ndcg", 1, 1 / 1, 0),
        ("ndcg", 2, 1 / (1 + 1 / log2(3)), 1 / log2(3)),
        ("ndcg", 4, (1 + 1 / 2) / (1 + 1 / log2(3) + 1 / 2), 1 / log2(3)),
        ("map", 2, 1 / 3 * (1 / 1), 1 / 1 * (1 / 2)),
        ("map", 4, 1 / 3 * (1 / 1 + 2 / 3), 1 / 1 * (1 / 2)),
        ("mrr", 1, 1 / 1, 0),
        ("mrr", 4, 1 / 1, 1 / 2),
    ],
)
def test_ranking_metrics_by_hand(name: str, k: int, first: float, second: float) -> None:
    values = m.RANKING[name](HITS, N_RELEVANT, k)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, [first, second], rtol=1e-15)


@pytest.mark.parametrize("name", m.RANKING)
def test_nothing_relevant_and_empty_lists_score_zero(name: str) -> None:
    assert m.RANKING[name](np.zeros((2, 3), bool), np.array([0, 2]), 5).tolist() == [0, 0]
    assert m.RANKING[name](np.zeros((2, 0), bool), np.array([0, 2]), 5).tolist() == [0, 0]
    assert m.RANKING[name](np.zeros((0, 3), bool), np.zeros(0, np.int64), 5).shape == (0,)


@pytest.mark.parametrize("name", m.RANKING)
def test_a_perfect_list_scores_one(name: str) -> None:
    for n_relevant in (1, 2, 7, 50):
        assert m.RANKING[name](np.ones((1, n_relevant), bool), np.array([n_relevant]), n_relevant) == 1.0


@settings(deadline=None)
@given(cases)
def test_ranking_metrics_lie_in_the_unit_interval(case: tuple) -> None:
    hits, misses, k = case
    for metric in m.RANKING.values():
        values = metric(hits, consistent(hits, misses), k)
        assert values.shape == (len(hits),)
        assert values.min() >= 0
        assert values.max() <= 1


@settings(deadline=None)
@given(cases)
def test_an_irrelevant_item_at_the_end_raises_nothing(case: tuple) -> None:
    hits, misses, k = case
    longer = np.hstack([hits, np.zeros((len(hits), 1), bool)])
    for metric in m.RANKING.values():
        before, after = (metric(h, consistent(hits, misses), k) for h in (hits, longer))
        np.testing.assert_array_equal(after, before)


@settings(deadline=None)
@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_the_users_changes_nothing(case: tuple, random) -> None:
    hits, misses, k = case
    order = list(range(len(hits)))
    random.shuffle(order)
    for metric in m.RANKING.values():
        values = metric(hits, consistent(hits, misses), k)
        np.testing.assert_array_equal(metric(hits[order], consistent(hits, misses)[order], k), values[order])


@settings(deadline=None)
@given(cases, st.integers(0, 7), st.integers(0, 7))
def test_a_hit_that_moves_up_lowers_nothing(case: tuple, one: int, two: int) -> None:
    hits, misses, k = case
    upper, lower = sorted((one, two))
    if lower >= hits.shape[1]:
        return
    better = hits.copy()
    swap = hits[:, lower] & ~hits[:, upper]
    better[swap, upper], better[swap, lower] = True, False
    for metric in m.RANKING.values():
        before, after = (metric(h, consistent(hits, misses), k) for h in (hits, better))
        assert (after >= before - 1e-12).all()


# ---------------------------------------------------------------------------------------------------------------------
# List metrics against brute force


def random_lists(seed: int, n_users: int = 30, n_items: int = 12, longest: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    lists = np.full((n_users, longest), -1)
    for row in range(n_users):
        length = rng.integers(0, longest + 1)
        lists[row, :length] = rng.permutation(n_items)[:length]
    return lists


def as_lists(lists: np.ndarray, k: int) -> list[list[int]]:
    return [[int(item) for item in row[:k] if item >= 0] for row in lists]


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


seeds = pytest.mark.parametrize("seed", range(5))
depths = pytest.mark.parametrize("k", [1, 3, 20])


@seeds
@depths
def test_coverage_and_effective_items(seed: int, k: int) -> None:
    lists = random_lists(seed)
    catalogue = np.arange(12) < 9
    shown = [item for one in as_lists(lists, k) for item in one]
    assert m.coverage(lists, catalogue, k) == len(set(shown) & set(range(9))) / 9
    shares = [shown.count(item) / len(shown) for item in set(shown)]
    assert m.effective_items(lists, k) == pytest.approx(exp(-sum(p * log(p) for p in shares)), rel=1e-12)


@seeds
@depths
def test_personalisation_equals_the_mean_over_all_pairs(seed: int, k: int) -> None:
    lists = random_lists(seed)
    sets = [set(one) for one in as_lists(lists, k) if one]
    overlaps = [len(a & b) / sqrt(len(a) * len(b)) for a, b in combinations(sets, 2)]
    assert m.personalisation(lists, k) == pytest.approx(1 - mean(overlaps), abs=1e-12)


def test_personalisation_of_equal_disjoint_and_single_lists() -> None:
    assert m.personalisation(np.array([[0, 1], [1, 0]]), 2) == pytest.approx(0, abs=1e-15)
    assert m.personalisation(np.array([[0, 1], [2, 3]]), 2) == 1
    assert m.personalisation(np.array([[0, 1], [0, 2], [3, 4]]), 2) == pytest.approx(1 - (1 / 2 + 0 + 0) / 3)
    assert np.isnan(m.personalisation(np.array([[0, 1], [-1, -1]]), 2))


@seeds
@depths
def test_novelty_and_long_tail(seed: int, k: int) -> None:
    lists = random_lists(seed)
    popularity = np.array([40, 30, 10, 5, 5, 3, 2, 2, 1, 1, 1, 0])  # 80 of 100 in the first three
    bits = [-log2(max(count, 1) / 64) for count in popularity]
    novelty = [mean([bits[item] for item in one]) for one in as_lists(lists, k)]
    tail = [mean([float(item >= 3) for item in one]) for one in as_lists(lists, k)]
    np.testing.assert_allclose(m.novelty(lists, popularity, 64, k), novelty, rtol=1e-12)
    np.testing.assert_allclose(m.long_tail(lists, popularity, k), tail, rtol=1e-12)


def test_items_as_popular_as_the_last_of_the_head_belong_to_it() -> None:
    every_item = np.arange(4)[:, None]
    assert m.long_tail(every_item, np.array([5, 5, 5, 5]), 1).tolist() == [0, 0, 0, 0]
    assert m.long_tail(every_item, np.array([8, 1, 1, 0]), 1).tolist() == [0, 1, 1, 1]
    assert m.long_tail(every_item, np.array([7, 1, 1, 1]), 1).tolist() == [0, 0, 0, 0]
    assert m.long_tail(every_item, np.array([2, 6, 1, 3]), 1, head=0.5).tolist() == [1, 0, 1, 1]


def random_categories(seed: int, n_items: int = 12) -> np.ndarray:
    flags = np.random.default_rng(seed + 100).random((n_items, 5)) < 0.4
    flags[0] = False
    return flags


@seeds
@depths
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_diversity_equals_the_mean_over_all_pairs(seed: int, k: int, kind) -> None:
    lists, flags = random_lists(seed), random_categories(seed)
    wanted = []
    for one in as_lists(lists, k):
        vectors = [flags[item].astype(float) for item in one if flags[item].any()]
        wanted.append(mean([1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in combinations(vectors, 2)]))
    np.testing.assert_allclose(m.diversity(lists, kind(flags), k), wanted, atol=1e-12)


def profile_of(items: list[int], flags: np.ndarray) -> np.ndarray | None:
    known = [flags[item] / flags[item].sum() for item in items if flags[item].any()]
    return np.mean(known, axis=0) if known else None


@seeds
@depths
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_calibration_equals_the_definition(seed: int, k: int, kind) -> None:
    lists, flags = random_lists(seed), random_categories(seed)
    histories = as_lists(random_lists(seed + 50), 7)
    rows = np.repeat(np.arange(30), [len(one) for one in histories])
    profile = m.category_profile(rows, np.array([item for one in histories for item in one]), kind(flags), 30)
    wanted = []
    for history, one in zip(histories, as_lists(lists, k), strict=True):
        p, q = profile_of(history, flags), profile_of(one, flags)
        if p is None or q is None:
            wanted.append(float("nan"))
        else:
            wanted.append(sum(a * log(a / (0.99 * b + 0.01 * a)) for a, b in zip(p, q, strict=True) if a > 0))
    np.testing.assert_allclose(m.calibration(lists, profile, kind(flags), k), wanted, atol=1e-9)


def test_a_calibrated_list_scores_zero_and_an_opposite_one_the_bound() -> None:
    categories = np.array([[1, 0], [0, 1], [1, 1]])
    lists = np.array([[0, 1], [2, -1], [1, -1]])
    profile = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_allclose(m.calibration(lists, profile, categories, 2), [0, 0, log(100)], atol=1e-12)


def test_arguments_are_not_written_to() -> None:
    categories = sparse.csr_array(np.array([[1.0, 1.0], [0.0, 2.0]]))
    profile = sparse.csr_array(np.array([[2.0, 2.0]]))
    m.calibration(np.array([[0, 1]]), profile, categories, 2)
    m.diversity(np.array([[0, 1]]), categories, 2)
    assert categories.toarray().tolist() == [[1, 1], [0, 2]]
    assert profile.toarray().tolist() == [[2, 2]]


@settings(deadline=None)
@given(npst.arrays(np.int64, st.tuples(st.integers(1, 5), st.just(3)), elements=st.integers(-1, 3)), st.integers(1, 4))
def test_list_metrics_stay_in_their_range(drawn: np.ndarray, k: int) -> None:
    lists = np.full_like(drawn, -1)
    for row, one in enumerate(drawn):
        items = list(dict.fromkeys(int(item) for item in one if item >= 0))
        lists[row, : len(items)] = items
    popularity, flags = np.array([3, 2, 1, 0]), np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
    profile = np.tile([0.3, 0.7], (len(lists), 1))
    bounds = [
        (m.novelty(lists, popularity, 3, k), log2(3)),
        (m.long_tail(lists, popularity, k), 1),
        (m.diversity(lists, flags, k), 1),
        (m.calibration(lists, profile, flags, k), log(100)),
        (m.coverage(lists, np.ones(4, bool), k), 1),
        (m.effective_items(lists, k), 4),
        (m.personalisation(lists, k), 1),
    ]
    for values, most in bounds:
        defined = np.atleast_1d(values)[~np.isnan(values)]
        assert (defined >= 0).all()
        assert (defined <= most + 1e-12).all()


# ---------------------------------------------------------------------------------------------------------------------
# Statistics of a comparison


def test_sign_flips_are_exact_for_few_users_and_ignore_zeros() -> None:
    assert m.sign_flip_p_value(np.array([1.0, 1.0, 1.0, 1.0, 1.0]), 9999, 0) == 2 / 32
    assert m.sign_flip_p_value(np.array([0.0, 1.0, 0.0, 2.0, 4.0]), 9999, 0) == 2 / 8
    assert m.sign_flip_p_value(np.array([1.0, -1.0]), 9999, 0) == 1
    assert m.sign_flip_p_value(np.zeros(4), 9999, 0) == 1
    assert m.sign_flip_p_value(np.array([3.0]), 9999, 0) == 1


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.1])
def test_sampled_sign_flips_agree_with_the_permutation_test(shift: float) -> None:
    values = np.random.default_rng(3).normal(shift, 0.5, 200)
    wanted = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", vectorized=True, n_resamples=9999, batch=1000, random_state=1
    ).pvalue
    assert m.sign_flip_p_value(values, 9999, 0) == pytest.approx(wanted, abs=0.03)


@settings(max_examples=20, deadline=None)
@given(npst.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1, 1)))
def test_statistics_are_finite_ordered_and_repeatable(values: np.ndarray) -> None:
    low, high = m.mean_interval(values, 199, 0)
    p_value = m.sign_flip_p_value(values, 199, 0)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12
    assert 0 < p_value <= 1
    assert (low, high) == m.mean_interval(values, 199, 0)
    assert p_value == m.sign_flip_p_value(values, 199, 0)


def test_the_interval_is_that_of_the_normal_law_for_many_users() -> None:
    values = np.random.default_rng(5).normal(0.1, 1.0, 2000)
    error = values.std() / sqrt(2000)
    low, high = m.mean_interval(values, 4999, 0)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


# ---------------------------------------------------------------------------------------------------------------------
# What holds of any lists


def relevant(case: tuple) -> tuple[np.ndarray, np.ndarray, int]:
    hits, misses, k = case
    return hits, consistent(hits, misses), k


@settings(deadline=None)
@given(cases)
def test_precision_recall_and_hit_count_the_same_items(case: tuple) -> None:
    hits, n_relevant, k = relevant(case)
    found = hits[:, :k].sum(axis=1)
    np.testing.assert_allclose(m.precision(hits, n_relevant, k) * k, found, atol=1e-12)
    np.testing.assert_allclose(m.recall(hits, n_relevant, k) * n_relevant, found, atol=1e-12)
    np.testing.assert_allclose(m.recall_capped(hits, n_relevant, k) * np.minimum(k, n_relevant), found, atol=1e-12)
    np.testing.assert_array_equal(m.hit(hits, n_relevant, k), found > 0)


@settings(deadline=None)
@given(cases)
def test_ndcg_is_its_sum(case: tuple) -> None:
    hits, n_relevant, k = relevant(case)
    for user, row in enumerate(hits):
        gain = sum(1 / log2(place + 1) for place, is_hit in enumerate(row[:k], start=1) if is_hit)
        ideal = sum(1 / log2(place + 1) for place in range(1, min(k, n_relevant[user]) + 1))
        assert m.ndcg(hits, n_relevant, k)[user] == pytest.approx(gain / ideal if ideal else 0.0, rel=1e-12)


@settings(deadline=None)
@given(cases)
def test_average_precision_is_the_mean_of_the_precisions_at_the_hits(case: tuple) -> None:
    hits, n_relevant, k = relevant(case)
    for user, row in enumerate(hits):
        at_hits = [row[: place + 1].mean() for place in np.flatnonzero(row[:k])]
        assert m.average_precision(hits, n_relevant, k)[user] == pytest.approx(sum(at_hits) / max(1, n_relevant[user]))


@settings(deadline=None)
@given(cases)
def test_reciprocal_rank_is_that_of_the_first_hit(case: tuple) -> None:
    hits, n_relevant, k = relevant(case)
    firsts = [next((1 / (place + 1) for place in np.flatnonzero(row[:k])), 0.0) for row in hits]
    assert m.reciprocal_rank(hits, n_relevant, k).tolist() == firsts


@settings(deadline=None)
@given(cases)
def test_a_deeper_cut_lowers_neither_hit_nor_recall_nor_map_nor_mrr(case: tuple) -> None:
    hits, n_relevant, k = relevant(case)
    for metric in (m.hit, m.recall, m.average_precision, m.reciprocal_rank):
        assert (metric(hits, n_relevant, k + 1) >= metric(hits, n_relevant, k)).all()


@settings(deadline=None)
@given(cases)
def test_no_order_beats_that_with_the_hits_first(case: tuple) -> None:
    hits, n_relevant, k = relevant(case)
    first = -np.sort(-hits.astype(int), axis=1) > 0
    for metric in m.RANKING.values():
        assert (metric(first, n_relevant, k) >= metric(hits, n_relevant, k) - 1e-12).all()


def distinct(drawn: np.ndarray) -> np.ndarray:
    """Lists without repeats, filled up with -1."""
    lists = np.full_like(drawn, -1)
    for row, one in enumerate(drawn):
        items = list(dict.fromkeys(int(item) for item in one if item >= 0))
        lists[row, : len(items)] = items
    return lists


some_lists = npst.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-1, 7))
some_lists = some_lists.map(distinct)
flags_of_eight = npst.arrays(np.bool_, (8, 3))


@settings(deadline=None)
@given(some_lists, st.integers(1, 7), st.permutations(range(8)), flags_of_eight)
def test_other_numbers_for_the_items_change_no_list_metric(
    lists: np.ndarray, k: int, names: list[int], flags: np.ndarray
) -> None:
    number, popularity = np.array([*names, -1]), np.array([40, 17, 9, 9, 4, 2, 1, 0])
    renamed, back = number[lists], np.argsort(names)
    profile = m.category_profile(np.array([0]), np.array([1]), flags, len(lists))
    for before, after in [
        (m.novelty(lists, popularity, 50, k), m.novelty(renamed, popularity[back], 50, k)),
        (m.long_tail(lists, popularity, k), m.long_tail(renamed, popularity[back], k)),
        (m.diversity(lists, flags, k), m.diversity(renamed, flags[back], k)),
        (m.calibration(lists, profile, flags, k), m.calibration(renamed, profile, flags[back], k)),
        (m.coverage(lists, np.ones(8, bool), k), m.coverage(renamed, np.ones(8, bool), k)),
        (m.effective_items(lists, k), m.effective_items(renamed, k)),
        (m.personalisation(lists, k), m.personalisation(renamed, k)),
    ]:
        np.testing.assert_allclose(after, before, atol=1e-9)


@settings(deadline=None)
@given(some_lists, st.integers(1, 7))
def test_more_lists_never_cover_less(lists: np.ndarray, k: int) -> None:
    catalogue = np.ones(8, bool)
    shares = [m.coverage(lists[:rows], catalogue, k) for rows in range(1, len(lists) + 1)]
    assert shares == sorted(shares)
    assert shares[-1] == len(np.unique(lists[:, :k][lists[:, :k] >= 0])) / 8


@settings(deadline=None)
@given(some_lists, st.integers(1, 7))
def test_effective_items_are_at_most_those_shown(lists: np.ndarray, k: int) -> None:
    shown = len(np.unique(lists[:, :k][lists[:, :k] >= 0]))
    effective = m.effective_items(lists, k)
    assert (1 if shown else 0) - 1e-9 <= effective <= shown + 1e-9


@settings(deadline=None)
@given(some_lists, st.integers(1, 7))
def test_the_same_list_for_everybody_is_not_personal(lists: np.ndarray, k: int) -> None:
    same = np.repeat(lists[:1], 4, axis=0)
    value = m.personalisation(same, k)
    assert np.isnan(value) if (same[:, :k] < 0).all() else value == pytest.approx(0, abs=1e-12)


@settings(deadline=None)
@given(some_lists, st.integers(1, 7), st.integers(0, 7))
def test_a_more_popular_item_is_less_novel(lists: np.ndarray, k: int, item: int) -> None:
    popularity = np.array([40, 17, 9, 9, 4, 2, 1, 0])
    more = popularity.copy()
    more[item] += 5
    before, after = m.novelty(lists, popularity, 50, k), m.novelty(lists, more, 50, k)
    listed = (lists[:, :k] == item).any(axis=1)
    assert (after[listed] < before[listed]).all()
    np.testing.assert_array_equal(after[~listed], before[~listed])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=30), flags_of_eight)
def test_a_profile_is_a_distribution_or_empty(pairs: list, flags: np.ndarray) -> None:
    rows, items = np.array(pairs, np.int64).reshape(-1, 2).T
    profile = m.category_profile(rows, items, flags, 5).toarray()
    has = np.array([flags[items[rows == user]].any() for user in range(5)])
    np.testing.assert_allclose(profile.sum(axis=1), has, atol=1e-12)
    assert (profile >= 0).all()


@settings(deadline=None)
@given(some_lists, flags_of_eight)
def test_a_list_like_the_history_is_calibrated(lists: np.ndarray, flags: np.ndarray) -> None:
    rows, places = np.nonzero(lists >= 0)
    profile = m.category_profile(rows, lists[rows, places], flags, len(lists))
    values = m.calibration(lists, profile, flags, lists.shape[1])
    np.testing.assert_allclose(values[~np.isnan(values)], 0, atol=1e-9)
    known = np.array([flags[one[one >= 0]].any() for one in lists])
    np.testing.assert_array_equal(~np.isnan(values), known)


some_values = npst.arrays(np.float64, st.integers(1, 40), elements=st.integers(-8, 8).map(lambda eighths: eighths / 8))


@settings(max_examples=30, deadline=None)
@given(some_values)
def test_a_and_b_exchanged_have_the_same_p_value(values: np.ndarray) -> None:
    assert m.sign_flip_p_value(-values, 199, 0) == pytest.approx(m.sign_flip_p_value(values, 199, 0), abs=0.12)


@settings(max_examples=30, deadline=None)
@given(npst.arrays(np.float64, st.integers(2, 7), elements=st.integers(1, 8).map(float)))
def test_few_users_that_all_win_have_the_smallest_p_value(values: np.ndarray) -> None:
    assert m.sign_flip_p_value(values, 999, 0) == 2 / 2 ** len(values)
    assert m.sign_flip_p_value(-values, 999, 0) == 2 / 2 ** len(values)


@settings(max_examples=30, deadline=None)
@given(some_values, st.integers(-3, 3))
def test_the_interval_moves_with_the_values(values: np.ndarray, shift: int) -> None:
    low, high = m.mean_interval(values, 99, 0)
    assert m.mean_interval(values + shift, 99, 0) == pytest.approx((low + shift, high + shift), abs=1e-9)


def test_stored_zeros_of_an_argument_stay_where_they_are() -> None:
    categories = sparse.csr_array(([1.0, 0.0, 1.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    m.diversity(np.array([[0, 1]]), categories, 2)
    m.category_profile(np.array([0]), np.array([0]), categories, 1)
    assert categories.data.tolist() == [1, 0, 1]
    assert categories.indices.tolist() == [0, 1, 1]

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, current_thread

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_matrix

from recgan.ranking import catalogue, rough, threads, top
from recgan.ranking.catalogue import Catalogue
from recgan.ranking.rough import RoughPass

SEEDS = st.integers(0, 2**32 - 1)


@contextmanager
def sizes(**values):
    """Other sizes of blocks, portions and groups, and whether a rough pass goes before."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setattr(top if name == "GROUPS" else rough if name == "OFTEN" else catalogue, name, value)
        yield


@contextmanager
def torch_threads(n_threads):
    """As many as that for torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def refusing(refused):
    def masks(users):
        def mask(scores, first):
            lowest = -np.inf if scores.dtype == np.float32 else np.iinfo(np.int16).min
            scores[refused[users, first : first + scores.shape[1]]] = lowest

        return mask

    return masks


def assert_sorted(numbers, scores, whole, k):
    """That lists are the whole rows, sorted."""
    k = min(k, whole.shape[1])
    assert numbers.shape == scores.shape == (len(whole), k)
    for user, row in enumerate(whole):
        best = np.lexsort((np.arange(len(row)), -row))[:k]
        best = best[np.isfinite(row[best])]
        assert numbers[user].tolist() == best.tolist() + [-1] * (k - len(best))
        assert scores[user, : len(best)].tolist() == row[best].tolist()
        assert (scores[user, len(best) :] == -np.inf).all()


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(1, 60), st.integers(1, 5), st.integers(0, 70), st.booleans())
def test_a_search_is_the_whole_product_sorted(seed, n_items, n_users, k, with_extra):
    random = np.random.default_rng(seed)
    columns = random.integers(-2, 3, (n_items, 3)).astype(np.float32)  # many ties, no rounding
    queries = random.integers(-2, 3, (n_users, 3)).astype(np.float32)
    extra = random.integers(0, 3, (n_users, n_items)).astype(np.float32) * with_extra
    refused = random.random((n_users, n_items)) < random.random()
    with sizes(
        BLOCK=int(random.integers(1, 20)), CELLS=int(random.integers(20, 80)), GROUPS=int(random.integers(1, 5))
    ):
        asked = csr_matrix(extra) if with_extra else None
        numbers, scores = Catalogue(columns).best(queries, k, asked, refusing(refused))
    assert_sorted(numbers, scores, np.where(refused, -np.inf, queries @ columns.T + extra), k)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 90), st.integers(1, 20), st.integers(1, 95), st.sampled_from([1.0, 2.0**40, 2.0**-140]))
def test_a_search_with_a_rough_pass_is_the_whole_product_sorted(seed, n_items, n_users, k, scale):
    random = np.random.default_rng(seed)
    columns = random.integers(-700, 701, (n_items, 3)).astype(np.float32)  # more bits than a bfloat16 has
    columns[random.random(n_items) < 0.2] = columns[0]
    columns[random.random(n_items) < 0.1] = 0.0
    queries = random.integers(-700, 701, (n_users, 3)).astype(np.float32)
    queries[random.random(n_users) < 0.1] = 0.0
    refused = random.random((n_users, n_items)) < random.random() * 0.7
    few = {"CELLS": int(random.integers(20, 400)), "OFTEN": int(random.integers(1, 9))}
    with sizes(BLOCK=int(random.integers(1, 40)), MANY=0, fast=lambda: True, **few):
        numbers, scores = Catalogue(columns * np.float32(scale)).best(queries, k, masks=refusing(refused))
    assert_sorted(numbers, scores, np.where(refused, -np.inf, (queries @ columns.T) * np.float32(scale)), k)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 40), st.integers(1, 300), st.floats(-30.0, 30.0))
def test_rough_pairs_hold_all_of_the_k_best_of_every_user_that_is_answered(seed, k, width, power):
    random = np.random.default_rng(seed)
    columns = (random.standard_normal((400, width)) * 10.0 ** random.uniform(-3, 3, (400, 1))).astype(np.float32)
    queries = (random.standard_normal((9, width)) * 10.0**power).astype(np.float32)
    pairs, answered = RoughPass(columns, 150).pairs(queries, k)
    whole = queries.astype(np.float64) @ columns.T.astype(np.float64)
    for user in np.flatnonzero(answered):
        best = np.argsort(-whole[user], kind="stable")[:k]
        assert set(best.tolist()) <= set(pairs.items[pairs.rows == user].tolist())


def test_most_users_are_answered_by_the_rough_pass():
    random = np.random.default_rng(0)
    columns, queries = (random.standard_normal((size, 64)).astype(np.float32) for size in (5000, 40))
    pairs, answered = RoughPass(columns, 2000).pairs(queries, 50)
    assert answered.all()
    assert 50 * 40 <= len(pairs.rows) < 2 * 50 * 40


@pytest.mark.parametrize("huge", [1e30, 3e38])
def test_scores_that_would_overflow_are_left_to_the_exact_pass(huge):
    columns = np.array([[huge], [1.0], [2.0]], np.float32)
    _, answered = RoughPass(columns, 2).pairs(np.array([[1e10]], np.float32), 1)
    assert not answered.any()


def test_a_list_hangs_neither_on_the_number_of_threads_nor_on_the_threads_beside_it():
    random = np.random.default_rng(0)
    columns, queries = (random.standard_normal((size, 24)).astype(np.float32) for size in (3000, 300))
    found = {}
    for rough_first in (False, True):
        with sizes(CELLS=60_000, fast=lambda first=rough_first: first):
            for n_threads in (1, 2, 3):
                whole = Catalogue(columns)
                with torch_threads(n_threads), ThreadPoolExecutor(4) as callers:
                    same = list(callers.map(lambda _, some=whole: some.best(queries, 20), range(4)))
                    assert torch.get_num_threads() == n_threads
                for numbers, scores in same:
                    wanted = found.setdefault(rough_first, (numbers, scores))
                    np.testing.assert_array_equal(numbers, wanted[0])
                    np.testing.assert_array_equal(scores, wanted[1])
    np.testing.assert_array_equal(found[False][0], found[True][0])


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_of_a_pool_compute_alone_and_leave_others_as_they_were(n_threads):
    with torch_threads(n_threads):
        assert threads.each(lambda _: torch.get_num_threads(), range(20)) == [1] * 20
        assert torch.get_num_threads() == n_threads
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == n_threads


def test_an_error_in_a_thread_reaches_the_caller():
    with torch_threads(2), pytest.raises(ZeroDivisionError):
        threads.each(lambda portion: 1 // portion, [2, 1, 0])


drawn_scores = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.integers(0, 40)), elements=st.floats(-9, 9, width=32)
)


@given(drawn_scores, st.integers(0, 30))
def test_fewer_of_the_best_are_the_first_of_more(scores, k):
    few, more = top.top_items(scores, k), top.top_items(scores, k + 1)
    for short, long in zip(few, more, strict=True):
        assert short.shape == (len(scores), min(k, scores.shape[1]))
        np.testing.assert_array_equal(short, long[:, : short.shape[1]])


@given(drawn_scores, st.integers(1, 50))
def test_largest_are_the_largest(scores, k):
    found = top.largest(scores, k)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(scores, axis=1)[:, -k:])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=30), st.integers(0, 4))
def test_a_padded_table_holds_what_belongs_to_every_row(pairs, least):
    rows, values = np.array(sorted(pairs, key=lambda pair: pair[0]), np.int64).reshape(-1, 2).T
    table = top.padded(rows, values, 6, least, -7)
    assert table.shape[1] >= least
    for row in range(6):
        own = values[rows == row].tolist()
        assert table[row].tolist() == own + [-7] * (table.shape[1] - len(own))


@given(drawn_scores, st.integers(1, 20), st.integers(0, 9))
def test_groups_tell_every_pair_that_reaches_its_bound(scores, k, first):
    groups = top.Groups.of(scores, k)
    bound = (
        np.sort(scores, axis=1)[:, -min(k, scores.shape[1])] if scores.shape[1] else np.zeros(len(scores), np.float32)
    )
    found = groups.reaching(bound, first)
    assert (np.diff(found.rows) >= 0).all()
    wanted = {(row, item + first) for row, item in np.argwhere(scores >= bound[:, None]).tolist()}
    assert set(zip(found.rows.tolist(), found.items.tolist(), strict=True)) == wanted
    assert len(found.rows) == len(wanted)
    np.testing.assert_array_equal(found.values, scores[found.rows, found.items - first])


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=6), min_size=1, max_size=4))
def test_joined_pairs_stand_user_by_user_in_their_order(parts):
    made = []
    for part in parts:
        rows, items = np.array(sorted(part, key=lambda pair: pair[0]), np.int64).reshape(-1, 2).T
        made.append(top.Pairs(rows, items, items.astype(np.float32)))
    joined = top.Pairs.joined(made)
    wanted = [pair for row in range(6) for part in parts for pair in part if pair[0] == row]
    assert list(zip(joined.rows.tolist(), joined.items.tolist(), strict=True)) == wanted
    np.testing.assert_array_equal(joined.values, joined.items)


def test_negative_zero_ties_with_zero():
    numbers, values = top.top_items(np.array([[-0.0, 0.0, -0.0, 1.0]], np.float32), 4)
    assert numbers.tolist() == [[3, 0, 1, 2]]
    assert not np.signbit(values).any()


def test_more_users_than_sixteen_bits_can_number_stay_in_their_order():
    items = np.arange(4, dtype=np.int64)
    for rows in ([0, 1, 65_535, 65_536], [0, 1, 65_536, 65_536], [7, 65_600, 131_072, 131_073]):
        part = top.Pairs(np.array(rows, np.int64), items, items.astype(np.float32))
        joined = top.Pairs.joined([part, part])
        assert joined.rows.tolist() == sorted(rows * 2)
        assert joined.items.tolist() == [
            item for row in sorted(set(rows)) for _ in range(2) for item in items[np.array(rows) == row]
        ]


@pytest.mark.parametrize(("power", "answered"), [(59, True), (60, False)])
def test_products_of_lengths_are_left_alone_from_a_bound_on(power, answered):
    columns = np.array([[2.0**power], [1.0], [2.0]], np.float32)
    _, found = RoughPass(columns, 2).pairs(np.array([[2.0**60]], np.float32), 1)
    assert found.tolist() == [answered]


@pytest.mark.parametrize(
    ("n_users", "n_items", "is_fast", "with_extra", "used"),
    [
        (4, 20, True, False, True),
        (1, 20, True, False, True),
        (4, 19, True, False, False),
        (4, 20, False, False, False),
        (4, 20, True, True, False),
    ],
)
def test_a_rough_pass_goes_before_where_it_pays_and_nothing_is_added(n_users, n_items, is_fast, with_extra, used):
    random = np.random.default_rng(0)
    columns, queries = (random.integers(-9, 9, (size, 3)).astype(np.float32) for size in (n_items, n_users))
    extra = random.integers(0, 50, (n_users, n_items)).astype(np.float32) * with_extra
    whole = Catalogue(columns)
    with sizes(MANY=2, fast=lambda: is_fast):
        numbers, scores = whole.best(queries, 10, csr_matrix(extra) if with_extra else None)
    assert ("_rough" in vars(whole)) == used
    assert_sorted(numbers, scores, queries @ columns.T + extra, 10)


@given(st.floats(2.0**-100, 2.0**100, width=32) | st.integers(0, 2**16).map(lambda steps: 1.0 + steps / 2**16))
def test_rounding_errs_by_no_more_than_the_unit(value):
    exact = torch.tensor(value, dtype=torch.float32)
    assert abs(float(exact.bfloat16()) - float(exact)) <= rough.UNIT * float(exact)


@pytest.mark.parametrize(("one", "other"), [(1 + 2.0**-8, 1 + 2.0**-8), (1 + 3 * 2.0**-8, 1 + 3 * 2.0**-8)])
@pytest.mark.parametrize("width", [1, 7, 300])
def test_rough_scores_lie_within_the_slack_where_all_roundings_err_to_one_side(one, other, width):
    queries, columns = (np.full((1, width), value, np.float32) for value in (one, other))
    near = [torch.from_numpy(side).bfloat16().double().numpy() for side in (queries, columns)]
    apart = abs((near[0] @ near[1].T) - queries.astype(np.float64) @ columns.T.astype(np.float64))
    assert apart.item() > 1.9 * rough.UNIT * width
    assert apart.item() <= RoughPass(columns, 10)._slack(queries).item()


def slack(query, columns):
    """Of one query, with the items in blocks of one."""
    return RoughPass(np.array(columns, np.float32), 1)._slack(np.array([query], np.float32)).item()


@pytest.mark.parametrize("width", [1, 2, 30, 1000])
def test_the_slack_is_the_error_that_is_proven_and_little_more(width):
    """Of inputs rounded to 8 bits and two sums in 24 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1)."""
    added = width * 2.0**-24 / (1.0 - width * 2.0**-24)
    proven = (1.0 + 2.0**-8) ** 2 * (1.0 + added) - 1.0 + added
    found = slack([3.0] * width, [[1.0] * width, [2.0] * width, [0.5] * width])
    assert proven <= found / (6.0 * width) <= 1.02 * proven


LARGEST_SUBNORMAL = 2.0**-126 - 2.0**-149


@pytest.mark.parametrize(
    ("one", "other"), [(LARGEST_SUBNORMAL, 2.0**60), (2.0**60, LARGEST_SUBNORMAL), (2.0**-63,) * 2]
)
@pytest.mark.parametrize("width", [1, 3])
def test_what_counts_as_zero_lies_within_the_slack(one, other, width):
    assert slack([one] * width, [[other] * width]) >= width * one * other


def test_nobody_is_answered_where_more_are_wanted_than_there_are_items():
    _, answered = RoughPass(np.ones((3, 2), np.float32), 2).pairs(np.ones((4, 2), np.float32), 5)
    assert answered.tolist() == [False] * 4


def test_items_so_long_that_float32_does_not_hold_their_squares_have_a_slack():
    assert 0.0 < slack([2.0**-20], [[2.0**70]]) < 2.0**50 / 100


@given(st.integers(1, 0x7F7F), st.floats(0.0, 0.6))
def test_a_lowered_key_is_the_largest_that_all_of_the_best_reach_or_the_one_below(key, share):
    """With a k-th best rough score, and how far a rough score may lie from its exact one."""
    keys = np.arange(0x7F80, dtype=np.int16)
    kth = float(rough._value(keys)[key])
    rough_kth = kth * (1.0 - 2.0**-8)  # at least, before it was rounded
    least = (rough_kth - 2.0 * share * kth) * (1.0 - 2.0**-8)  # of an item among the best, once it is rounded
    first = int(np.searchsorted(rough._value(keys), least)) if least > 0 else 0
    lowered = rough._lowered(keys[[key, 0]], np.array([share * kth, share * kth])).tolist()
    assert max(0, first - 1) <= lowered[0] <= first
    assert lowered[1] == 0


def test_nothing_bounds_where_the_kth_best_is_negative_or_the_slack_infinite():
    masked, infinite = np.iinfo(np.int16).min, 0x7F80
    keys = np.array([-300, masked, 0, 16000, infinite], np.int16)
    assert rough._lowered(keys, np.array([0.0, 0.0, 0.0, np.inf, np.inf])).tolist() == [0] * 5


@pytest.mark.parametrize(("n_items", "answered"), [(8, True), (9, False)])
def test_users_with_too_many_pairs_are_left_to_the_exact_pass(n_items, answered):
    columns = np.ones((n_items, 2), np.float32)
    pairs, found = RoughPass(columns, 3).pairs(np.ones((1, 2), np.float32), 1)
    assert found.tolist() == [answered]
    assert pairs.items.tolist() == list(range(n_items))


@pytest.mark.parametrize(("bound", "items"), [(2.0, [1, 2]), (1.5, [1, 2]), (None, [0, 1, 2])])
def test_pairs_are_those_whose_keys_reach_the_bound(bound, items, monkeypatch):
    """None: the least bound that there is."""
    key = 1 if bound is None else int(np.float32(bound).view(np.int32)) >> 16
    monkeypatch.setattr(rough, "_lowered", lambda keys, slack: np.full(len(keys), key, np.int16))
    pairs, answered = RoughPass(np.array([[1.0], [2.0], [3.0]], np.float32), 2).pairs(np.ones((1, 1), np.float32), 1)
    assert answered.tolist() == [True]
    assert pairs.items.tolist() == items


def test_pairs_reach_the_bound_of_all_blocks_also_where_an_earlier_one_was_lower():
    columns = np.array([[1.0], [2.0], [8.0], [7.9]], np.float32)
    pairs, found = RoughPass(columns, 1).pairs(np.array([[1.0]], np.float32), 1)
    assert found.tolist() == [True]
    assert pairs.items.tolist() == [2, 3]


def test_every_process_has_threads_of_its_own(monkeypatch):
    """A process that was forked has none of its parent's."""
    with torch_threads(2):
        parents = set(threads.each(lambda _: current_thread().ident, range(40)))
        monkeypatch.setattr(threads.os, "getpid", lambda: -1)
        assert not parents & set(threads.each(lambda _: current_thread().ident, range(40)))


def test_one_thread_or_no_portion_starts_no_pool():
    here = current_thread()
    threads._pool.cache_clear()
    with torch_threads(1):
        assert threads.each(lambda _: current_thread() is here, range(3)) == [True] * 3
    with torch_threads(2):
        assert threads.each(len, []) == []
    assert threads._pool.cache_info().currsize == 0


@pytest.mark.parametrize("n_threads", [2, 3])
def test_as_many_portions_are_computed_at_once_as_there_are_threads(n_threads):
    """Every portion waits until all the others have begun."""
    there = Barrier(n_threads)
    with torch_threads(n_threads):
        places = threads.each(lambda _: there.wait(20.0), range(n_threads))
    assert sorted(places) == list(range(n_threads))


def test_threads_of_a_pool_compute_alone_whatever_the_environment_says():
    """In a process of its own: in this one new threads may have been told to compute alone before they begin."""
    told = "import torch; from concurrent.futures import ThreadPoolExecutor; from recgan.ranking import threads;"
    told += "torch.set_num_threads(3); alone = threads.each(lambda _: torch.get_num_threads(), range(20));"
    told += "print(set(alone), torch.get_num_threads(), ThreadPoolExecutor(1).submit(torch.get_num_threads).result())"
    environment = os.environ | {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "{1} 3 3\n"

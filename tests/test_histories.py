from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan.histories import DAY, Histories, fingerprint
from recgan.vocabulary import Vocabulary

lists = st.lists(st.lists(st.integers(0, 19), max_size=12), min_size=1, max_size=8)


def of(some: list[list[int]]) -> Histories:
    return Histories.from_lists([np.array(one, np.int64) for one in some], 20)


@given(lists, st.integers(1, 15))
def test_window_keeps_the_newest(some, length):
    items, mask = of(some).window(np.arange(len(some)), length)
    assert items.shape == mask.shape
    assert items.shape[1] == max(1, min(length, max(len(one) for one in some)))
    for row, one in enumerate(some):
        assert items[row][mask[row]].tolist() == one[-length:]


@given(lists, st.data())
def test_take_part_and_holds(some, data):
    histories = of(some)
    rows = data.draw(st.lists(st.integers(0, len(some) - 1), max_size=10))
    taken = histories.take(np.array(rows, np.int64))
    assert [taken.of(b).tolist() for b in range(len(rows))] == [some[row] for row in rows]
    kept = np.array([data.draw(st.booleans()) for _ in range(len(histories.items))], bool)
    part = histories.part(kept)
    flat = [(u, i) for u, one in enumerate(some) for i in one]
    assert list(zip(part.rows.tolist(), part.items.tolist(), strict=True)) == [
        pair for pair, keep in zip(flat, kept, strict=True) if keep
    ]
    numbers = np.tile(np.arange(-1, 20), (len(some), 1))
    assert histories.holds(numbers).tolist() == [[i in one for i in range(-1, 20)] for one in some]


@given(lists)
def test_matrix_counts_an_item_once(some):
    matrix = of(some).matrix().toarray()
    assert matrix.tolist() == [[float(i in one) for i in range(20)] for one in some]
    assert of(some).counts().sum() == sum(map(len, some))
    assert of(some).places.tolist() == [place for one in some for place in range(len(one))]


def test_from_frame_orders_by_time_and_keeps_ties_in_row_order():
    frame = pd.DataFrame(
        {"user_id": [1, 0, 1, 1, 9], "item_id": list("abcax"), "timestamp": [5, 1, 2, 5, 0]},
        index=[7, 7, 1, 0, 2],
    )
    histories = Histories.from_frame(frame, Vocabulary([0, 1, 2]), Vocabulary(["a", "b", "c"]))
    assert [histories.of(u).tolist() for u in range(3)] == [[1], [2, 0, 0], []]
    assert histories.ordered
    assert histories.clock
    unordered = Histories.from_frame(frame.drop(columns="timestamp"), Vocabulary([0, 1]), Vocabulary(["a", "b", "c"]))
    assert unordered.of(1).tolist() == [0, 2, 0]
    assert not unordered.ordered
    placed = Histories.from_frame(frame.rename(columns={"timestamp": "position"}), Vocabulary([1]), Vocabulary(["a"]))
    assert placed.ordered
    assert not placed.clock


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.booleans())
def test_sums_of_one_user_are_those_among_many_to_the_bit(seed, n_columns, weighted):
    random = np.random.default_rng(seed)
    lists = [random.integers(0, 40, random.integers(0, 120)) for _ in range(3)]
    histories = Histories.from_lists(lists, 40)
    table = random.standard_normal((40, n_columns)).astype(np.float32)
    weights = random.random(3, np.float32) if weighted else None
    sums = histories.sums(table, weights)
    for user, items in enumerate(lists):
        some = None if weights is None else weights[[user]]
        np.testing.assert_array_equal(histories.take(np.array([user])).sums(table, some)[0], sums[user])
        exact = table[np.unique(items)].sum(axis=0, dtype=np.float64) * (1.0 if some is None else some[0])
        np.testing.assert_allclose(sums[user], exact, rtol=0, atol=1e-4)


frames = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 6)), max_size=40)


@given(frames)
def test_from_frame_is_a_loop_over_the_rows_by_time(rows):
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"], dtype=np.int64)
    histories = Histories.from_frame(frame, Vocabulary(range(5)), Vocabulary(range(9)))
    for user in range(5):
        own = sorted((row for row in rows if row[0] == user and row[1] < 9), key=lambda row: row[2])
        assert histories.of(user).tolist() == [item for _, item, _ in own]
        begin, end = histories.offsets[user], histories.offsets[user + 1]
        assert histories.times[begin:end].tolist() == [time for _, _, time in own]


@given(lists, st.data())
def test_joined_puts_one_behind_the_other(some, data):
    others = data.draw(st.lists(st.lists(st.integers(0, 19), max_size=5), min_size=len(some), max_size=len(some)))
    joined = of(some).joined(of(others))
    assert [joined.of(u).tolist() for u in range(len(some))] == [a + b for a, b in zip(some, others, strict=True)]


@given(lists, st.integers(1, 15), st.integers(1, 40), st.data())
def test_groups_hold_every_user_once_and_no_more_than_they_may(some, window, most, data):
    users = np.array(data.draw(st.permutations(range(len(some)))), np.int64)
    groups = of(some).groups(users, window, most)
    assert sorted(np.concatenate(groups).tolist()) == sorted(users.tolist())
    longest = [max(min(len(some[u]), window) for u in group) for group in groups]
    assert longest == sorted(longest)
    assert all(len(group) == 1 or len(group) * wide <= most for group, wide in zip(groups, longest, strict=True))


@given(lists, st.data())
def test_ranks_sort_every_user_alone(some, data):
    histories = of(some)
    size = len(histories.items)
    keys = np.array(data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)), np.int64)
    ranks = histories.ranks(keys)
    for user in range(len(some)):
        own = slice(histories.offsets[user], histories.offsets[user + 1])
        assert ranks[own].tolist() == np.argsort(np.argsort(keys[own], kind="stable"), kind="stable").tolist()


@given(lists, st.floats(0.1, 1000.0), st.data())
def test_decay_halves_in_a_half_life_and_keeps_the_newest_whole(some, half_life, data):
    size = sum(map(len, some))
    days = np.array(data.draw(st.lists(st.integers(0, 50), min_size=size, max_size=size)), np.float64)
    weights = replace(of(some), times=days * DAY, clock=True).decay(half_life)
    np.testing.assert_allclose(weights, 0.5 ** ((days.max(initial=0.0) - days) / half_life), rtol=1e-9)
    assert (weights == 1.0).any() or not size
    assert (of(some).decay(half_life) == 1.0).all()
    assert (replace(of(some), times=days * DAY).decay(None) == 1.0).all()


@given(lists, st.data())
def test_taking_twice_is_taking_once(some, data):
    first = data.draw(st.lists(st.integers(0, len(some) - 1), min_size=1, max_size=8))
    second = data.draw(st.lists(st.integers(0, len(first) - 1), max_size=8))
    twice = of(some).take(np.array(first)).take(np.array(second, np.int64))
    once = of(some).take(np.array([first[row] for row in second], np.int64))
    assert twice.offsets.tolist() == once.offsets.tolist()
    assert twice.items.tolist() == once.items.tolist()


@given(lists, st.data())
def test_a_fingerprint_tells_histories_apart(some, data):
    one = fingerprint(of(some))
    assert one == fingerprint(of(some))
    user = data.draw(st.integers(0, len(some) - 1))
    other = [*some[:user], [*some[user], 3], *some[user + 1 :]]
    assert fingerprint(of(other))["sha256"] != one["sha256"]
    assert fingerprint(of([*some, []]))["sha256"] != one["sha256"]


def test_joined_keeps_weights_and_counts_others_once():
    weighted = replace(of([[1, 2], [3]]), weights=np.array([2.0, 3.0, 4.0], np.float32))
    assert weighted.joined(of([[4], [5, 6]])).weights.tolist() == [2.0, 3.0, 1.0, 4.0, 1.0, 1.0]
    assert of([[4]]).joined(of([[5]])).weights is None

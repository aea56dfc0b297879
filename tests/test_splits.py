from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recgan.errors import ConfigError, DataError
from recgan.splits import Split, split_by_time, split_leave_last, split_ratio, split_users

PAIR = ["user_id", "item_id"]
SPLITS = {
    "users": lambda frame, seed=0: split_users(frame, seed=seed),
    "leave_last": lambda frame, seed=0: split_leave_last(frame),
    "time": lambda frame, seed=0: split_by_time(frame),
    "ratio": lambda frame, seed=0: split_ratio(frame, test=0.4, seed=seed),
}
RANDOM = ("users", "ratio")
TIMED = ("leave_last", "time")


def table(n_users=40, n_items=30, share=0.4, seed=0, text=False):
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((n_users, n_items)) < share)
    frame = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": rng.integers(0, 10_000, len(users))})
    frame = frame.sample(frac=1, random_state=seed)
    return frame.assign(user_id="u" + frame.user_id.astype(str)) if text else frame


@st.composite
def tables(draw):
    pairs = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), unique=True, min_size=12, max_size=50))
    times = draw(st.lists(st.integers(0, 20), min_size=len(pairs), max_size=len(pairs)))
    return pd.DataFrame(pairs, columns=PAIR).assign(timestamp=times)


def pairs(frame):
    return set(map(tuple, frame[PAIR].to_numpy().tolist()))


def parts(split):
    return [split.train, split.validation.history, split.validation.truth, split.test.history, split.test.truth]


def check_no_leak(split: Split) -> None:
    validation, test = split.validation, split.test
    assert not pairs(test.truth) & (pairs(test.history) | pairs(split.train) | pairs(validation.truth))
    assert not pairs(validation.truth) & (pairs(validation.history) | pairs(split.train))
    for part in parts(split):
        assert not part.duplicated(PAIR).any()
        assert part.index.equals(pd.RangeIndex(len(part)))


def split_or_skip(name, frame, seed=0):
    try:
        return SPLITS[name](frame, seed)
    except DataError:
        assume(False)
        raise


@pytest.mark.parametrize("name", SPLITS)
@settings(max_examples=80, deadline=None)
@given(frame=tables(), seed=st.integers(0, 3))
def test_no_leak_and_nothing_lost(name, frame, seed):
    before = frame.copy(deep=True)
    split = split_or_skip(name, frame, seed)
    check_no_leak(split)
    assert pairs(split.train)
    assert pairs(split.validation.truth)
    assert pairs(split.test.truth)
    covered = pairs(split.train) | pairs(split.validation.truth) | pairs(split.test.truth)
    if name == "users":
        covered |= pairs(split.validation.history) | pairs(split.test.history)
    assert covered == pairs(frame)
    pd.testing.assert_frame_equal(frame, before)


@settings(max_examples=80, deadline=None)
@given(frame=tables())
def test_held_out_users_are_nowhere_in_train(frame):
    split = split_or_skip("users", frame)
    validation, test = (set(h.history.user_id) for h in (split.validation, split.test))
    assert not set(split.train.user_id) & (validation | test)
    assert not validation & test
    for holdout in (split.validation, split.test):
        assert set(holdout.history.user_id) == set(holdout.truth.user_id)


@pytest.mark.parametrize("name", ["leave_last", "time", "ratio"])
@settings(max_examples=80, deadline=None)
@given(frame=tables())
def test_histories_are_all_that_came_before(name, frame):
    split = split_or_skip(name, frame)
    for holdout, earlier in (
        (split.validation, pairs(split.train)),
        (split.test, pairs(split.train) | pairs(split.validation.truth)),
    ):
        users = set(holdout.truth.user_id)
        assert pairs(holdout.history) == {pair for pair in earlier if pair[0] in users}


@settings(max_examples=80, deadline=None)
@given(frame=tables())
def test_leave_last_is_a_loop_over_users(frame):
    split = split_or_skip("leave_last", frame)
    train, validation, test = set(), set(), set()
    for user, rows in frame.groupby("user_id"):
        items = rows.sort_values("timestamp", kind="stable").item_id.tolist()
        cut = len(items) if len(items) < 3 else len(items) - 2
        train |= {(user, item) for item in items[:cut]}
        validation |= {(user, item) for item in items[cut : cut + 1]}
        test |= {(user, item) for item in items[cut + 1 :]}
    assert pairs(split.train) == train
    assert pairs(split.validation.truth) == validation
    assert pairs(split.test.truth) == test
    assert set(split.test.history.user_id) == set(split.test.truth.user_id)


@settings(max_examples=80, deadline=None)
@given(frame=tables())
def test_time_goes_forward(frame):
    split = split_or_skip("time", frame)
    assert split.train.timestamp.max() <= split.validation.truth.timestamp.min()
    assert split.validation.truth.timestamp.max() <= split.test.truth.timestamp.min()


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("text", [False, True])
def test_same_seed_same_split_other_seed_another(name, text):
    frame = table(text=text)
    first, again, other = (SPLITS[name](frame, seed) for seed in (1, 1, 2))
    for a, b in zip(parts(first), parts(again), strict=True):
        pd.testing.assert_frame_equal(a, b)
    assert (pairs(first.test.truth) != pairs(other.test.truth)) == (name in RANDOM)


@pytest.mark.parametrize("name", SPLITS)
def test_row_order_does_not_matter(name):
    frame = table()
    frame["timestamp"] = np.random.default_rng(1).permutation(len(frame))
    shuffled = frame.sample(frac=1, random_state=5)
    for a, b in zip(parts(SPLITS[name](frame)), parts(SPLITS[name](shuffled)), strict=True):
        assert pairs(a) == pairs(b)


def test_equal_times_follow_row_order():
    frame = pd.DataFrame({"user_id": 1, "item_id": [5, 3, 9, 1], "timestamp": 7})
    split = split_leave_last(frame)
    assert split.test.truth.item_id.tolist() == [1]
    assert split.validation.truth.item_id.tolist() == [9]
    assert split_by_time(frame, 0.25).test.truth.item_id.tolist() == [1]


@pytest.mark.parametrize(
    "named",
    [
        lambda days: pd.to_datetime(days, unit="D").strftime("%Y-%m-%d"),
        lambda days: pd.to_datetime(days, unit="D").tz_localize("UTC"),
        lambda days: pd.to_datetime(days, unit="D").date,
        lambda days: days.astype(str),
        lambda days: pd.array(days, dtype="Int64"),
    ],
)
@pytest.mark.parametrize("name", TIMED)
def test_times_of_every_kind_order_as_seconds_do(name, named):
    frame = table()
    days = (8 + np.random.default_rng(0).permutation(len(frame))).astype(np.int64)
    given = named(days)
    expected, found = (SPLITS[name](frame.assign(timestamp=times)) for times in (days, given))
    for before, after in zip(parts(expected), parts(found), strict=True):
        pd.testing.assert_frame_equal(before.drop(columns="timestamp"), after.drop(columns="timestamp"))
    kept = pd.concat([found.train, found.validation.truth, found.test.truth])["timestamp"]
    assert set(kept) <= set(given)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2024-01-01", "soon", "2024-01-03"], r"'soon'.*\(row 1\)"),
        ([pd.Timestamp(0), None, pd.Timestamp(1)], r"missing.*\(row 1\)"),
    ],
)
def test_what_is_no_time_orders_nothing(times, message):
    table = pd.DataFrame({"user_id": [1, 1, 1], "item_id": [1, 2, 3], "timestamp": times})
    with pytest.raises(DataError, match=message):
        split_leave_last(table)


def test_positions_given_as_text_order_as_numbers_do():
    table = pd.DataFrame({"user_id": [1, 1, 1], "item_id": [1, 2, 3], "position": ["10", "9", "8"]})
    assert split_leave_last(table).test.truth["item_id"].tolist() == [1]


@pytest.mark.parametrize("name", SPLITS)
def test_dislikes_are_in_no_truth_and_move_no_like(name):
    frame = table().reset_index(drop=True)
    random = np.random.default_rng(3)
    disliked = pd.DataFrame({"user_id": frame["user_id"], "item_id": 100 + random.permutation(len(frame))})
    disliked["timestamp"] = random.integers(0, 10_000, len(frame))
    both = pd.concat([frame.assign(weight=2.0), disliked.assign(weight=-1.0)], ignore_index=True)
    both = both.sample(frac=1, random_state=1)
    alone, beside = SPLITS[name](frame), SPLITS[name](both)
    for truth in (beside.validation.truth, beside.test.truth):
        assert (truth["weight"] > 0).all()
    for before, after in zip(parts(alone), parts(beside), strict=True):
        if name != "time":  # there the shares are those of all rows
            assert pairs(before) == pairs(after[after["weight"] > 0])
    histories = [beside.train, beside.test.history]
    assert all((history["weight"] < 0).any() for history in histories)
    if name in TIMED:
        last = beside.test.truth.groupby("user_id")["timestamp"].max()
        known = beside.test.history[beside.test.history["user_id"].isin(last.index)]
        assert (known["timestamp"] <= known["user_id"].map(last)).all()


def test_sizes_of_split_users():
    frame = table(n_users=40)
    split = split_users(frame)
    assert split.test.truth.user_id.nunique() == 4
    assert split.validation.truth.user_id.nunique() == 4
    assert split.train.user_id.nunique() == 32
    ten = pd.DataFrame({"user_id": np.repeat([1, 2, 3], 10), "item_id": np.tile(np.arange(10), 3)})
    for history, kept in ((0.8, 8), (0.5, 5), (0.01, 1), (0.99, 9)):
        assert len(split_users(ten, 1, 1, history=history).test.history) == kept
    alone = split_users(ten, n_test=2, n_validation=0)
    assert len(alone.validation.truth) == 0
    assert alone.test.truth.user_id.nunique() == 2
    many = pd.DataFrame({"user_id": np.repeat(np.arange(7000), 2), "item_id": np.tile([0, 1], 7000)})
    assert split_users(many).test.truth.user_id.nunique() == 600


def test_users_with_one_item_are_never_held_out():
    frame = pd.DataFrame({"user_id": [1, 2, 3, 3, 4, 4, 5], "item_id": [1, 1, 1, 2, 1, 2, 1]})
    split = split_users(frame)
    assert set(split.train.user_id) == {1, 2, 5}
    with pytest.raises(DataError, match="5 users, 2 of them with two items or more, are too few for 2 test"):
        split_users(frame, n_test=2)


def test_sizes_of_split_by_time_and_ratio():
    frame = table()
    n = len(frame)
    split = split_by_time(frame, fraction=0.2, validation_fraction=0.1)
    assert len(split.test.truth) == round(0.2 * n)
    assert len(split.validation.truth) == round(0.1 * (n - round(0.2 * n)))
    ten = pd.DataFrame({"user_id": 1, "item_id": range(10)})
    split = split_ratio(ten)
    assert [len(part) for part in parts(split)] == [6, 6, 2, 8, 2]
    assert [len(part) for part in parts(split_ratio(ten, test=0.5, validation=0.2))] == [4, 4, 1, 5, 5]


def test_time_split_keeps_new_users_and_items_and_drops_repeats():
    frame = pd.DataFrame(
        {
            "user_id": [1, 1, 2, 2, 1, 9, 9],
            "item_id": [1, 2, 1, 3, 2, 8, 8],
            "timestamp": [1, 2, 3, 4, 5, 6, 7],
        }
    )
    split = split_by_time(frame, fraction=3 / 7, validation_fraction=0.25)
    assert pairs(split.test.truth) == {(9, 8)}
    assert split.test.truth.timestamp.tolist() == [6]
    assert len(split.test.history) == 0
    assert pairs(split.validation.truth) == {(2, 3)}


def test_position_orders_leave_last_but_not_the_time_split():
    frame = pd.DataFrame({"user_id": [1, 1, 1], "item_id": [1, 2, 3], "position": [2, 0, 1]})
    assert split_leave_last(frame).test.truth.item_id.tolist() == [1]
    with pytest.raises(DataError, match="needs a column 'timestamp'"):
        split_by_time(frame)
    with pytest.raises(DataError, match="needs a column 'timestamp' or 'position'"):
        split_leave_last(frame[PAIR])


@pytest.mark.parametrize("name", SPLITS)
def test_paths_and_other_columns(name, tmp_path):
    frame = table().assign(note="x", rating=2.5)
    frame.to_parquet(tmp_path / "t.parquet")
    for a, b in zip(parts(SPLITS[name](frame)), parts(SPLITS[name](tmp_path / "t.parquet")), strict=True):
        pd.testing.assert_frame_equal(a, b[a.columns])


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"user_id": [1]}), "'item_id' missing"),
        (pd.DataFrame({"user_id": [], "item_id": [], "timestamp": []}), "no rows"),
        (pd.DataFrame({"user_id": [1, None], "item_id": [1, 2], "timestamp": [1, 2]}), "null id"),
        (pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "timestamp": [1, 2]}), "interactions: "),
    ],
)
def test_bad_tables(name, frame, message):
    with pytest.raises(DataError, match=message):
        SPLITS[name](frame)


def test_bad_times_and_repeated_pairs():
    frame = pd.DataFrame({"user_id": 1, "item_id": [1, 2, 3], "timestamp": [1, np.nan, 2]})
    for split in (split_leave_last, split_by_time):
        with pytest.raises(DataError, match="'timestamp' has missing values"):
            split(frame)
    for split in (split_users, split_leave_last, split_ratio):
        with pytest.raises(DataError, match=r"repeated \(user, item\) pairs.*\(row 1\)"):
            split(pd.DataFrame({"user_id": 1, "item_id": [1, 1, 3], "timestamp": [1, 2, 3]}))


@pytest.mark.parametrize(
    ("split", "arguments"),
    [
        (split_users, {"n_test": -1}),
        (split_users, {"n_validation": 1.5}),
        (split_users, {"n_test": True}),
        (split_users, {"n_validation": "2"}),
        (split_users, {"history": 0}),
        (split_users, {"history": None}),
        (split_users, {"seed": True}),
        (split_ratio, {"seed": 1.0}),
        (split_users, {"seed": -1}),
        (split_users, {"seed": None}),
        (split_by_time, {"fraction": 1}),
        (split_by_time, {"validation_fraction": 0}),
        (split_by_time, {"fraction": True}),
        (split_ratio, {"test": [0.2]}),
        (split_ratio, {"test": "0.2"}),
        (split_ratio, {"validation": float("nan")}),
    ],
)
def test_arguments_are_checked(split, arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        split(table(), **arguments)


def test_parts_are_frozen():
    split = split_users(table())
    with pytest.raises(AttributeError):
        split.train = None


@settings(max_examples=60, deadline=None)
@given(frame=tables(), history=st.floats(0.05, 0.95), seed=st.integers(0, 3))
def test_held_out_users_show_the_share_that_was_asked_for(frame, history, seed):
    try:
        split = split_users(frame, history=history, seed=seed)
    except DataError:
        assume(False)
    counts = frame.groupby("user_id").size()
    for holdout in (split.validation, split.test):
        for user, shown in holdout.history.groupby("user_id").size().items():
            assert shown == min(max(1, int(history * counts[user] + 0.5 + 1e-9)), counts[user] - 1)


@settings(max_examples=60, deadline=None)
@given(frame=tables(), test=st.floats(0.05, 0.95), validation=st.floats(0.05, 0.95))
def test_the_ratio_split_holds_out_its_share_of_every_user(frame, test, validation):
    try:
        split = split_ratio(frame, test=test, validation=validation)
    except DataError:
        assume(False)
    for user, count in frame.groupby("user_id").size().items():
        n_test = min(int(test * count + 0.5 + 1e-9), count - 1)
        n_validation = min(int(validation * (count - n_test) + 0.5 + 1e-9), count - n_test - 1)
        assert (split.test.truth.user_id == user).sum() == n_test
        assert (split.validation.truth.user_id == user).sum() == n_validation
        assert (split.train.user_id == user).sum() == count - n_test - n_validation


@pytest.mark.parametrize("name", RANDOM)
@settings(max_examples=40, deadline=None)
@given(frame=tables(), order=st.randoms(use_true_random=False))
def test_random_splits_hang_on_no_order_of_the_rows(name, frame, order):
    rows = list(range(len(frame)))
    order.shuffle(rows)
    split = split_or_skip(name, frame)
    for a, b in zip(parts(split), parts(SPLITS[name](frame.iloc[rows])), strict=True):
        assert pairs(a) == pairs(b)


@pytest.mark.parametrize("name", SPLITS)
@settings(max_examples=40, deadline=None)
@given(frame=tables())
def test_other_names_in_the_same_order_change_no_split(name, frame):
    named = frame.assign(**{column: frame[column].map("id{:02d}".format) for column in PAIR})
    split = split_or_skip(name, frame)
    for a, b in zip(parts(split), parts(SPLITS[name](named)), strict=True):
        assert {(f"id{user:02d}", f"id{item:02d}") for user, item in pairs(a)} == pairs(b)


@pytest.mark.parametrize("name", SPLITS)
@settings(max_examples=40, deadline=None)
@given(frame=tables())
def test_every_part_keeps_columns_and_the_order_of_the_rows(name, frame):
    frame = frame.assign(note=[f"row {row}" for row in range(len(frame))])
    for part in parts(split_or_skip(name, frame)):
        assert list(part) == list(frame)
        assert part.dtypes.equals(frame.dtypes)
        rows = [int(note.split()[1]) for note in part.note]
        assert rows == sorted(rows)
        pd.testing.assert_frame_equal(part, frame.iloc[rows].reset_index(drop=True))


@settings(max_examples=60, deadline=None)
@given(frame=tables(), fraction=st.floats(0.05, 0.6), validation=st.floats(0.05, 0.6))
def test_the_time_split_cuts_off_its_share_of_the_rows(frame, fraction, validation):
    try:
        split = split_by_time(frame, fraction, validation)
    except DataError:
        assume(False)
    n_test = max(1, round(fraction * len(frame)))
    assert len(split.test.truth) == n_test
    assert len(split.validation.truth) == max(1, round(validation * (len(frame) - n_test)))
    assert len(split.train) + len(split.validation.truth) + len(split.test.truth) == len(frame)


def test_somebody_is_left_to_train_on():
    two = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 2]})
    with pytest.raises(
        DataError, match="2 users, 2 of them with two items or more, are too few for 1 test and 1 valid"
    ):
        split_users(two)
    assert len(split_users(two, n_test=1, n_validation=0).train) == 2


def test_numbers_of_numpy_do_as_well():
    frame = table()
    for a, b in zip(
        parts(split_users(frame, np.int64(3), np.int32(2), np.float32(0.5), np.int64(1))),
        parts(split_users(frame, 3, 2, 0.5, 1)),
        strict=True,
    ):
        pd.testing.assert_frame_equal(a, b)


def test_defaults_are_those_that_are_told():
    frame = table(60)
    for one, other in (
        (split_users(frame), split_users(frame, 6, 6, 0.8, 0)),
        (split_by_time(frame), split_by_time(frame, 0.1, 0.1)),
        (split_by_time(frame, 0.3), split_by_time(frame, 0.3, 0.3)),
        (split_ratio(frame), split_ratio(frame, 0.2, 0.2, 0)),
        (split_ratio(frame, 0.4), split_ratio(frame, 0.4, 0.4, 0)),
    ):
        for a, b in zip(parts(one), parts(other), strict=True):
            pd.testing.assert_frame_equal(a, b)


def test_at_equal_times_the_last_of_many_rows_are_held_out():
    """More rows than a sort of few keeps in their order by chance."""
    frame = table(60, 60).assign(timestamp=7)
    split = split_by_time(frame, 0.1)
    n_test = len(split.test.truth)
    pd.testing.assert_frame_equal(split.test.truth, frame.tail(n_test).reset_index(drop=True))
    before = frame.iloc[: len(frame) - n_test].tail(len(split.validation.truth))
    pd.testing.assert_frame_equal(split.validation.truth, before.reset_index(drop=True))


@pytest.mark.parametrize(("items", "made"), [([1, 2, 3], True), ([1, 1, 3], False), ([1, 2, 1], False)])
def test_the_time_split_wants_something_new_in_every_part(items, made):
    frame = pd.DataFrame({"user_id": 1, "item_id": [8, 9, *items], "timestamp": range(5)}).iloc[2:]
    if made:
        assert len(split_by_time(frame, 0.3).train) == 1
    else:
        with pytest.raises(DataError, match="3 rows are too few to cut off a test and a validation part"):
            split_by_time(frame, 0.3)


@pytest.mark.parametrize(("fraction", "validation"), [(0.9, 0.1), (0.5, 0.9), (0.9, 0.9)])
def test_the_time_split_leaves_something_to_train_on(fraction, validation):
    frame = pd.DataFrame({"user_id": 1, "item_id": range(4), "timestamp": range(4)})
    with pytest.raises(DataError, match="4 rows are too few"):
        split_by_time(frame, fraction, validation)


@pytest.mark.parametrize("counts", [(2, 2), (1, 5)])
def test_the_ratio_split_wants_two_truths(counts):
    """Two of two items leave none for validation; a test of .1 takes none of five."""
    frame = pd.DataFrame({"user_id": np.repeat([1, 2], counts), "item_id": [*range(counts[0]), *range(counts[1])]})
    with pytest.raises(DataError, match="no user has enough items to hold out a test and a validation part"):
        split_ratio(frame, *((0.5, 0.5) if counts == (2, 2) else (0.05, 0.5)))


def test_leaving_the_last_out_takes_three_items():
    two = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 1], "timestamp": [1, 2, 3]})
    with pytest.raises(DataError, match="no user has three items"):
        split_leave_last(two)
    frame = pd.concat([two, pd.DataFrame({"user_id": 3, "item_id": [1, 2, 3], "timestamp": [4, 5, 6]})])
    split = split_leave_last(frame)
    assert pairs(split.train) == pairs(two) | {(3, 1)}
    assert set(split.validation.history.user_id) | set(split.test.history.user_id) == {3}


def test_the_time_split_reads_time_and_not_position():
    frame = pd.DataFrame({"user_id": 1, "item_id": [1, 2, 3], "position": [2, 1, 0], "timestamp": [1, 2, 3]})
    assert split_by_time(frame, 0.3).test.truth.item_id.tolist() == [3]

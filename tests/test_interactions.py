from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan.errors import ConfigError, DataError
from recgan.interactions import read_interactions

BASE = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [10, 11, 10]})
CODES = pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))


def rows(frame, *columns):
    return list(frame[list(columns)].itertuples(index=False, name=None))


def test_canonical_columns_come_first_and_others_stay():
    frame = pd.DataFrame({"split": ["x"], "ts": [5], "stars": [4], "movieId": ["m"], "userId": [1], "position": [0]})
    result = read_interactions(frame, columns={"stars": "rating"})
    assert result.columns.tolist() == ["user_id", "item_id", "rating", "timestamp", "position", "split"]


def test_input_is_never_written_to():
    frame = BASE.assign(rating=[1, 2, 3]).set_index(pd.Index([4, 4, 9]))
    before = frame.copy(deep=True)
    result = read_interactions(frame)
    result.loc[:, "rating"] = 0
    pd.testing.assert_frame_equal(frame, before)
    assert result.index.equals(pd.RangeIndex(3))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "str", "object"])
def test_ids_keep_their_dtype(dtype):
    frame = BASE.astype({"item_id": "str" if dtype == "object" else dtype}).astype({"item_id": dtype})
    assert read_interactions(frame).item_id.dtype == frame.item_id.dtype


def test_nullable_and_object_integers_become_plain_integers():
    frame = BASE.astype({"user_id": "Int32", "item_id": object})
    assert read_interactions(frame).dtypes.tolist() == [np.dtype("int32"), np.dtype("int64")]


def test_repeated_pairs_keep_the_latest_by_time():
    frame = pd.DataFrame(
        {"user_id": [1, 1, 1, 2], "item_id": [7, 7, 7, 7], "rating": [5, 3, 1, 2], "timestamp": [20, 30, 10, 0]}
    )
    assert rows(read_interactions(frame), "user_id", "rating") == [(1, 3), (2, 2)]
    assert rows(read_interactions(frame.assign(timestamp=1)), "user_id", "rating") == [(1, 1), (2, 2)]
    assert rows(read_interactions(frame.drop(columns="timestamp")), "user_id", "rating") == [(1, 1), (2, 2)]
    by_position = frame.rename(columns={"timestamp": "position"})
    assert rows(read_interactions(by_position), "user_id", "rating") == [(1, 3), (2, 2)]
    both = frame.assign(position=[9, 0, 0, 0])
    assert rows(read_interactions(both), "rating", "position") == [(3, 0), (2, 0)]


def test_repeated_pairs_can_be_summed_or_refused():
    frame = pd.DataFrame({"user_id": [1, 2, 1], "item_id": [7, 7, 7], "timestamp": [9, 5, 1]})
    weighted = frame.assign(weight=np.array([100, 1, 100], np.int8))
    assert rows(read_interactions(weighted, duplicates="sum"), "user_id", "weight", "timestamp") == [
        (1, 200, 9),
        (2, 1, 5),
    ]
    counted = read_interactions(frame, duplicates="sum")
    assert counted.columns.tolist() == ["user_id", "item_id", "weight", "timestamp"]
    assert counted.weight.tolist() == [2, 1]
    with pytest.raises(DataError, match=r"1 repeated \(user, item\) pairs.*\(row 2\)"):
        read_interactions(frame, duplicates="error")
    assert len(read_interactions(BASE, duplicates="error")) == 3


def test_filters_come_after_merging():
    frame = pd.DataFrame({"user_id": [1, 1, 1, 2, 2], "item_id": [7, 7, 8, 7, 8], "rating": [5, 2, 4, 4, 4]})
    assert rows(read_interactions(frame, min_rating=4), "user_id", "item_id") == [(1, 8), (2, 7), (2, 8)]
    assert rows(read_interactions(frame, min_rating=4, min_user_items=2), "user_id", "item_id") == [(2, 7), (2, 8)]
    with pytest.raises(DataError, match="min_rating=6 leaves no row"):
        read_interactions(frame, min_rating=6)
    with pytest.raises(DataError, match="min_user_items=3 leaves no user"):
        read_interactions(frame, min_user_items=3)
    with pytest.raises(DataError, match="min_rating needs a column 'rating'"):
        read_interactions(BASE, min_rating=1)


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (pd.to_datetime(["1970-01-01 00:00:05", "1970-01-02 00:00:00"]), [5, 86400]),
        (pd.to_datetime(["1970-01-01 00:00:05.5", "1970-01-02 00:00:00.0"]), [5.5, 86400.0]),
        (pd.to_datetime(["1970-01-01 01:00:05", "1970-01-02 01:00:00"]).tz_localize("Europe/Paris"), [5, 86400]),
        (["1970-01-01T00:00:05Z", "1970-01-02T02:00:00+02:00"], [5, 86400]),
        (["1970-01-01 00:00:05", "1970-01-02"], [5, 86400]),
        (["5", "86400"], [5, 86400]),
        ([5, 86400], [5, 86400]),
        ([5.5, -1.0], [5.5, -1.0]),
        (pd.array([5, 86400], dtype="Int64"), [5, 86400]),
        (list(pd.to_datetime(["1970-01-01 00:00:05", "1970-01-02 00:00:00"]).date), [0, 86400]),
        (pd.Categorical(["1970-01-01", "1970-01-02"]), [0, 86400]),
        (pd.array(["1970-01-01", "1970-01-02"], dtype=pd.ArrowDtype(pa.string())), [0, 86400]),
        (
            pd.array(["1970-01-01", "1970-01-02"], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
            [0, 86400],
        ),
    ],
)
def test_every_kind_of_time_becomes_seconds(times, seconds):
    result = read_interactions(pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "timestamp": times}))
    assert result.timestamp.tolist() == seconds
    assert result.timestamp.dtype.kind in "if"


def test_ids_in_codes_of_arrow_are_read():
    ids = pd.array(["b", "a", "b"], dtype=CODES)
    frame = pd.DataFrame({"user_id": ids, "item_id": [1, 2, 3]})
    assert read_interactions(frame)["user_id"].tolist() == ["b", "a", "b"]


def test_iso_times_of_a_csv(tmp_path):
    (tmp_path / "t.csv").write_text("user,item,event_time\n1,0054890,1970-01-01T00:00:05\n1,7,1970-01-01\n")
    result = read_interactions(tmp_path / "t.csv")
    assert rows(result, "user_id", "item_id", "timestamp") == [(1, "0054890", 5), (1, "7", 0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_id": [1, None, 2]}, r"'user_id' has 1 null id\(s\).*\(row 1\)"),
        ({"item_id": ["a", None, None]}, r"'item_id' has 2 null id\(s\).*\(rows 1, 2\)"),
        ({"item_id": [5, "5", 6]}, "'item_id' holds mixed-integer values"),
        ({"item_id": [1.0, 2.0, 3.0]}, "'item_id' holds float values"),
        ({"item_id": [True, False, True]}, "'item_id' holds boolean values"),
        ({"item_id": [2**70, 1, 2]}, "beyond 64 bits"),
        ({"rating": [1.0, np.nan, 2.0]}, r"'rating' has missing values \(NaN\) \(row 1\)"),
        ({"rating": [1.0, np.inf, -np.inf]}, r"'rating' has infinite values \(rows 1, 2\)"),
        ({"rating": ["4", "good", "5"]}, r"'rating' holds text such as 'good'.*\(row 1\)"),
        ({"position": [0, np.nan, 2]}, r"'position' has missing values"),
        ({"timestamp": [0, np.nan, 2]}, r"'timestamp' has missing values"),
        ({"timestamp": ["2020-01-01", "soon", "2020-01-02"]}, r"'soon', which is no ISO 8601 time \(row 1\)"),
        ({"timestamp": [pd.Timestamp(0), pd.NaT, pd.Timestamp(0)]}, r"'timestamp' has missing times \(row 1\)"),
        ({"timestamp": pd.to_timedelta([1, 2, 3], unit="s")}, "'timestamp' holds timedelta64 values"),
        ({"rating": pd.to_datetime(["2020-01-01"] * 3)}, "'rating' holds datetime64 values"),
        ({"rating": [1, 2, 3], "weight": [1, 2, 3]}, "'rating' and 'weight' are both given"),
    ],
)
def test_bad_content_names_column_and_rows(change, message):
    with pytest.raises(DataError, match=message):
        read_interactions(BASE.assign(**change))


def test_negative_ratings_are_fine():
    assert read_interactions(BASE.assign(rating=[-1, 0, 1])).rating.tolist() == [-1, 0, 1]


def test_all_problems_come_in_one_report():
    frame = pd.DataFrame({"user_id": ["a", None], "item_id": [1.5, 2.5], "rating": [np.nan, np.inf], "weight": [-1, 1]})
    with pytest.raises(DataError) as caught:
        read_interactions(frame)
    for part in ("5 problems", "'user_id' has 1 null", "'item_id' holds float", "NaN", "infinite", "both"):
        assert part in str(caught.value)


def test_all_problems_of_a_file_count_rows_as_the_file_does(tmp_path):
    (tmp_path / "t.csv").write_text("user_id,item_id,rating\n1,2,3\n4,5\n,6,7\n8,9,good\n")
    with pytest.raises(DataError) as caught:
        read_interactions(tmp_path / "t.csv")
    for part in ("found 2 (row 1)", "null id(s): drop or fill them (row 2)", "number belongs (row 3)"):
        assert part in str(caught.value)


def test_empty_and_missing():
    with pytest.raises(DataError, match="no rows"):
        read_interactions(BASE[:0])
    with pytest.raises(DataError, match="column 'item_id' missing; the table has 'user_id', 'thing'"):
        read_interactions(BASE.rename(columns={"item_id": "thing"}))
    with pytest.raises(DataError, match="no such file"):
        read_interactions("nowhere.csv")


@pytest.mark.parametrize(
    "arguments",
    [
        {"duplicates": "first"},
        {"min_user_items": 0},
        {"min_user_items": 1.5},
        {"min_rating": "4"},
        {"min_rating": np.nan},
    ],
)
def test_arguments_are_checked(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        read_interactions(BASE, **arguments)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30))
def test_last_and_sum_agree_with_a_plain_loop(events):
    frame = pd.DataFrame(events, columns=["user_id", "item_id", "timestamp"]).assign(weight=1)
    latest, total = {}, {}
    for user, item, time in events:
        latest[user, item] = max(time, latest.get((user, item), time))
        total[user, item] = total.get((user, item), 0) + 1
    result = read_interactions(frame, duplicates="sum")
    assert {(u, i): t for u, i, t in rows(result, "user_id", "item_id", "timestamp")} == latest
    assert {(u, i): w for u, i, w in rows(result, "user_id", "item_id", "weight")} == total
    assert len(read_interactions(frame)) == len(latest)


events = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=30
).map(lambda rows: pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "timestamp"]))


@settings(max_examples=60, deadline=None)
@given(events)
def test_the_latest_of_repeated_pairs_stays(frame):
    wanted = {}
    for user, item, weight, time in frame.itertuples(index=False, name=None):
        if time >= wanted.get((user, item), (0, -1))[1]:
            wanted[user, item] = (weight, time)
    found = read_interactions(frame)
    assert {row[:2]: row[2:] for row in rows(found, "user_id", "item_id", "weight", "timestamp")} == wanted
    assert len(found) == len(wanted)


@settings(max_examples=60, deadline=None)
@given(events)
def test_sums_lose_nothing(frame):
    found = read_interactions(frame, duplicates="sum")
    wanted = frame.groupby(["user_id", "item_id"]).weight.sum()
    assert found.set_index(["user_id", "item_id"]).weight.sort_index().tolist() == wanted.tolist()
    counted = read_interactions(frame.drop(columns="weight"), duplicates="sum")
    assert counted.weight.sum() == len(frame)


@settings(max_examples=60, deadline=None)
@given(events)
def test_repeats_are_refused_exactly_where_there_are_any(frame):
    if frame.duplicated(["user_id", "item_id"]).any():
        with pytest.raises(DataError, match="repeated"):
            read_interactions(frame, duplicates="error")
    else:
        assert len(read_interactions(frame, duplicates="error")) == len(frame)


@settings(max_examples=60, deadline=None)
@given(events, st.integers(1, 4))
def test_users_with_too_few_items_go_whole(frame, least):
    counts = frame.drop_duplicates(["user_id", "item_id"]).groupby("user_id").size()
    able = set(counts.index[counts >= least])
    if not able:
        with pytest.raises(DataError, match="leaves no user"):
            read_interactions(frame, min_user_items=least)
        return
    found = read_interactions(frame, min_user_items=least)
    assert found.groupby("user_id").size().to_dict() == {user: counts[user] for user in sorted(able)}


@settings(max_examples=60, deadline=None)
@given(events)
def test_reading_what_was_read_changes_nothing(frame):
    once = read_interactions(frame)
    pd.testing.assert_frame_equal(read_interactions(once), once)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda t: t.replace(microsecond=0)), min_size=1
    )
)
def test_times_become_seconds_since_1970(times):
    frame = pd.DataFrame({"user_id": 1, "item_id": range(len(times)), "timestamp": [t.isoformat() for t in times]})
    wanted = [round((t - datetime(1970, 1, 1)).total_seconds()) for t in times]
    assert read_interactions(frame).timestamp.tolist() == wanted


def test_events_with_numbers_for_names_are_named_by_text_too():
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "event": [1, 2]})
    for names in ({"1": 1.0, "2": 5.0}, {1: 1.0, 2: 5.0}):
        assert read_interactions(frame, weights=names)["weight"].tolist() == [1.0, 5.0]


def test_sums_that_no_whole_number_holds_are_refused():
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 1], "weight": [2**62, 2**62]})
    with pytest.raises(DataError, match="sums of repeated pairs are beyond every number"):
        read_interactions(frame, duplicates="sum")


@pytest.mark.parametrize("name", ["weight", "rating", "position"])
def test_numbers_that_cannot_be_multiplied_are_refused(name):
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": [2, 3], name: [1.0, -1e300]})
    with pytest.raises(DataError, match=rf"'{name}' holds -1e\+300, beyond 2\^62; scale it down \(row 1\)"):
        read_interactions(frame)


@pytest.mark.parametrize("kind", [np.int64, np.float64, str])
def test_dates_without_dashes_are_no_seconds(kind):
    frame = pd.DataFrame(
        {"user_id": [1, 1], "item_id": [2, 3], "timestamp": np.array([20190131, 20240229]).astype(kind)}
    )
    with pytest.raises(DataError, match="holds 20190131, a date where seconds belong: write 2019-01-31, or name"):
        read_interactions(frame)
    frame["timestamp"] = [20190131, 20240230]
    assert read_interactions(frame)["timestamp"].tolist() == [20190131, 20240230]

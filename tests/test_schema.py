from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgan.errors import DataError
from recgan.schema import Problems, check_ids, check_numbers, order_column, require_columns, shown

integers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1)
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1)


def found(check, values, **options):
    problems = Problems("table")
    check(pd.Series(values, dtype=options.pop("dtype", object), name="some"), problems, **options)
    return problems.found


@given(integers | texts)
def test_integers_and_text_are_ids(ids):
    assert found(check_ids, ids) == []


@given(integers, texts)
def test_a_mix_of_integers_and_text_is_no_id_column(numbers, words):
    assert "ids are all integers or all text" in "".join(found(check_ids, [*numbers, *words]))


@given(integers, st.data())
def test_null_ids_are_told_with_their_rows(ids, data):
    rows = sorted(data.draw(st.sets(st.integers(0, len(ids) - 1), min_size=1, max_size=5)))
    holed = [None if row in rows else one for row, one in enumerate(ids)]
    word = "row" if len(rows) == 1 else "rows"
    assert (
        f"{len(rows)} null id(s): drop or fill them ({word} {', '.join(map(str, rows))})" in found(check_ids, holed)[0]
    )


@given(st.lists(st.floats() | st.integers(-(10**6), 10**6), min_size=1))
def test_only_what_is_no_number_is_told(values):
    told = "".join(found(check_numbers, values, dtype=np.float64))
    assert ("missing values (NaN)" in told) == any(map(math.isnan, values))
    assert ("infinite" in told) == any(map(math.isinf, values))


@given(st.lists(st.floats(-9, 9), max_size=9), st.text(alphabet="abcxyz ", min_size=1).filter(str.strip))
def test_text_among_numbers_is_told_with_its_row(values, word):
    told = found(check_numbers, [*values, word])
    assert len(told) == 1
    assert told[0].endswith(f"where a number belongs (row {len(values)})")


@given(st.text())
def test_a_value_is_shown_whole_or_cut_with_its_length(text):
    told = shown(text, 20)
    assert told == repr(text) if len(repr(text)) <= 20 else told.startswith(repr(text)[:20] + "... (")
    assert len(told) <= 20 + len("... (1,000,000 characters)")


@given(st.lists(st.lists(st.integers(0, 10**6), max_size=12), min_size=1, max_size=6))
def test_all_problems_come_in_one_message_with_five_rows_each(all_rows):
    problems = Problems("ratings.csv")
    for number, rows in enumerate(all_rows):
        problems.add(f"problem {number}", rows)
    with pytest.raises(DataError) as raised:
        problems.raise_if_any()
    message = str(raised.value)
    assert message.startswith("ratings.csv: ")
    assert all(f"problem {number}" in message for number in range(len(all_rows)))
    assert message.count(" more)") == sum(len(rows) > 5 for rows in all_rows)


@given(st.sets(st.sampled_from(["user_id", "item_id", "timestamp", "position", "x"])))
def test_missing_columns_and_the_order_are_found(names):
    frame, problems = pd.DataFrame(columns=sorted(names)), Problems("table")
    assert require_columns(frame, ("user_id", "item_id"), problems) == ({"user_id", "item_id"} <= names)
    assert len(problems.found) == (not {"user_id", "item_id"} <= names)
    wanted = "timestamp" if "timestamp" in names else "position" if "position" in names else None
    assert order_column(frame) == wanted


def test_no_problem_is_no_error():
    Problems("table").raise_if_any()

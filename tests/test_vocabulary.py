from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgan.errors import DataError
from recgan.vocabulary import Vocabulary

ids = st.one_of(
    st.lists(st.integers(-(2**62), 2**62), unique=True, min_size=1),
    st.lists(st.text(), unique=True, min_size=1),
)


@given(ids)
def test_there_and_back(some):
    vocabulary = Vocabulary(some)
    assert vocabulary.numbers(some).tolist() == list(range(len(some)))
    assert vocabulary.ids(range(len(some))).tolist() == some


@given(ids)
def test_of_is_sorted_and_distinct(some):
    vocabulary = Vocabulary.of(pd.Series(some * 2, name="item_id"))
    assert vocabulary.all_ids.tolist() == sorted(some)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "str", "object"])
def test_dtype_is_kept(dtype):
    series = pd.Series(["3", "1", "2"] if dtype in ("str", "object") else [3, 1, 2], dtype=dtype)
    assert Vocabulary(series).ids([1, 0]).dtype == series.dtype


def test_numbers_never_match_text():
    assert Vocabulary([5]).numbers(["5"]).tolist() == [-1]
    assert Vocabulary(["5"]).numbers([5]).tolist() == [-1]
    assert Vocabulary(["5"]).numbers(np.array([5])).tolist() == [-1]
    assert 5 in Vocabulary([5])
    assert None not in Vocabulary(["None"])


@pytest.mark.parametrize("bad", [[1, "1"], [1.5, 2.0], [None, 1], [True, False], [1, 1], [float("nan")]])
def test_bad_ids_are_refused(bad):
    with pytest.raises(DataError):
        Vocabulary(bad)


def test_extended_keeps_the_old_numbers():
    old = Vocabulary(["b", "a"])
    new = old.extended(pd.Series(["a", "c", "c"]))
    assert new.all_ids.tolist() == ["b", "a", "c"]
    assert len(old) == 2
    with pytest.raises(DataError, match="other type"):
        old.extended(pd.Series([1, 2]))
    with pytest.raises(DataError, match="too large for int32"):
        Vocabulary(pd.Series([1, 2], dtype="int32")).extended(pd.Series([2**32 + 7]))


@given(st.data())
def test_the_number_of_one_id_is_what_many_get(data):
    integers = st.integers(-(2**63), 2**63 - 1)
    known = data.draw(st.lists(integers, unique=True, max_size=9) | st.lists(st.text("ab", max_size=2), unique=True))
    vocabulary = Vocabulary(known) if known else Vocabulary([0])
    asked = [*known, data.draw(st.text("ab1", max_size=3)), data.draw(st.integers(-(2**70), 2**70)), 1, "1"]
    for one in asked:
        assert vocabulary.number(one) == vocabulary.numbers([one])[0]


@given(ids, st.data())
def test_some_ids_in_any_order_have_their_numbers(some, data):
    numbers = data.draw(st.lists(st.integers(0, len(some) - 1), max_size=20))
    vocabulary = Vocabulary(some)
    found = vocabulary.numbers([some[number] for number in numbers])
    assert found.tolist() == numbers
    assert found.dtype == np.int64
    assert all(some[number] in vocabulary for number in numbers)


@given(ids, ids)
def test_what_is_not_there_is_unknown(some, others):
    vocabulary = Vocabulary(some)
    same = isinstance(some[0], str) == isinstance(others[0], str)
    wanted = [some.index(one) if same and one in some else -1 for one in others]
    assert vocabulary.numbers(others).tolist() == wanted
    assert [one in vocabulary for one in others] == [number >= 0 for number in wanted]


@given(ids, ids)
def test_extended_puts_the_new_ones_behind(some, others):
    vocabulary = Vocabulary(some)
    if isinstance(some[0], str) != isinstance(others[0], str):
        with pytest.raises(DataError, match="the other type"):
            vocabulary.extended(pd.Series(others, name="item_id"))
        return
    more = vocabulary.extended(pd.Series(others * 2, name="item_id"))
    assert more.all_ids.tolist() == some + [one for one in others if one not in some]
    assert len(vocabulary) == len(some)


def test_ids_with_a_null_among_them_are_of_no_type():
    assert Vocabulary([5, 6]).numbers(pd.Index([5, None], dtype=object)).tolist() == [-1, -1]
    assert not Vocabulary([5, 6]).same_type(pd.Index([5, None], dtype=object))


def test_the_message_names_the_first_new_id():
    with pytest.raises(DataError, match="item_id: holds ids such as 7, the known ones are of the other type"):
        Vocabulary(["a"]).extended(pd.Series([7, 8], name="item_id"))

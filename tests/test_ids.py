"""Ids of a command line against those of a model."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgan.cli.ids import many_ids, matched, one_id
from recgan.errors import ConfigError, DataError

NUMBERS, WORDS = pd.Series([1, 2]), pd.Series(["a", "b"])
whole = st.integers(-(10**18) + 1, 10**18 - 1)


@given(whole)
def test_a_whole_number_is_itself_where_ids_are_integers_and_text_elsewhere(number):
    assert one_id(str(number), NUMBERS) == number
    assert one_id(str(number), WORDS) == str(number)


@given(st.text())
def test_what_is_not_written_as_a_model_writes_it_stays_text(text):
    found = one_id(text, NUMBERS)
    assert str(found) == text
    assert isinstance(found, str) or text.lstrip("-").isdecimal()


@given(st.lists(whole, min_size=1, max_size=6), st.data())
def test_commas_part_ids(numbers, data):
    cut = data.draw(st.integers(0, len(numbers)))
    texts = [",".join(map(str, part)) for part in (numbers[:cut], numbers[cut:])]
    assert many_ids(texts, NUMBERS, "--items") == numbers


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_an_id_with_a_comma_is_one_id_where_the_model_has_it(text):
    known = pd.Series([f"{text},{text}"])
    assert many_ids([f"{text},{text}"], known, "--items") == [f"{text},{text}".strip()]


@given(st.lists(whole, min_size=1, max_size=6))
def test_integers_of_a_file_become_text_where_ids_are_text(numbers):
    ids = pd.Series(numbers, name="item_id")
    assert matched(ids, WORDS, "t.csv").tolist() == [str(number) for number in numbers]
    assert matched(ids, NUMBERS, "t.csv") is ids


def test_text_where_ids_are_integers_is_refused_or_left():
    ids = pd.Series(["x"], name="item_id")
    with pytest.raises(DataError, match=r"t\.csv: column 'item_id' holds text such as 'x'"):
        matched(ids, NUMBERS, "t.csv")
    assert matched(ids, NUMBERS, "t.csv", strict=False) is ids
    with pytest.raises(ConfigError, match="--items: 'x' is no item id of this model: its ids are integers, such as 1"):
        many_ids(["1,x"], NUMBERS, "--items")
    assert many_ids([" , "], NUMBERS, "--items") is None

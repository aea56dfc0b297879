from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recgan
from recgan.errors import ConfigError
from recgan.rules import Rules


def test_rules_come_as_such_as_a_mapping_or_not_at_all():
    assert Rules.of(None) == Rules.of({}) == Rules()
    assert Rules.of({"calibration": 0.5}) == Rules.of(recgan.Rules(calibration=0.5))


def test_pinned_items_become_plain_ids():
    assert Rules(pinned=np.array([3, 1])).pinned == (3, 1)
    assert Rules(pinned=pd.Series(["b", "a"])).pinned == ("b", "a")
    assert Rules(pinned={np.int64(4): np.int64(7), 2: 8}).pinned == {2: 8, 4: 7}
    by_user = Rules(pinned={"anna": [1], "bert": {2: 5}})
    assert by_user.pinned_by_user == by_user.pinned == {"anna": (1,), "bert": {2: 5}}
    assert Rules(pinned=[1]).pinned_by_user is Rules(pinned={1: 2}).pinned_by_user is Rules().pinned_by_user is None
    assert Rules(pinned={}) == Rules(pinned=None)
    assert Rules.of(by_user.model_dump()) == by_user


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"calibration": 1.5}, "calibration: Input should be less than or equal to 1"),
        ({"calibration": float("nan")}, "calibration"),
        ({"calibration": "much"}, "calibration: Input should be a valid number"),
        ({"max_per_category": -1}, "max_per_category: Value error, numbers of at least 0"),
        ({"max_per_category": 1.5}, "max_per_category"),
        ({"max_per_category": True}, "max_per_category"),
        ({"max_per_category": {"Drama": -1}}, "numbers of at least 0"),
        (
            {"min_per_category": {"Drama": 3}, "max_per_category": 2},
            "Drama: min_per_category is 3 and max_per_category 2",
        ),
        ({"min_new": 3, "max_new": 2}, "min_new is 3 and max_new 2"),
        ({"new_below": 0}, "new_below: Input should be greater than or equal to 1"),
        ({"pinned": "film"}, r"pinned: Value error, ids, \{place: id\}, or \{user_id: either\}"),
        ({"pinned": 3}, "pinned: Value error, ids"),
        ({"pinned": [1, 1]}, "an item is pinned twice"),
        ({"pinned": {0: "a"}}, "places are whole numbers of at least 1"),
        ({"pinned": {1: "a", 2: "a"}}, "an item is pinned twice"),
        ({"pinned": {1: "a", 2: ["b"]}}, "ids are whole numbers or text"),
        ({"pinned": [1.5]}, "ids are whole numbers or text"),
        ({"calibrate": 0.5}, "calibrate: Extra inputs are not permitted; there is calibration"),
        (0.5, "rules: recgan.Rules, a dictionary or None, not float"),
        ([("calibration", 0.5)], "not list"),
    ],
)
def test_bad_rules(rules, words):
    with pytest.raises(ConfigError, match=words):
        Rules.of(rules)


ids = st.lists(st.integers(-9, 99), unique=True, max_size=5) | st.lists(st.text(), unique=True, max_size=5)
places = st.dictionaries(st.integers(1, 30), st.integers(0, 99), max_size=4).filter(
    lambda some: len(set(some.values())) == len(some)
)
counts = st.dictionaries(st.sampled_from(["Drama", "Crime", "War"]), st.integers(0, 9), max_size=3)


@st.composite
def good_rules(draw):
    most = draw(st.none() | st.integers(0, 9) | counts)
    least = draw(counts)
    if most is not None:
        bound = most if isinstance(most, dict) else dict.fromkeys(least, most)
        least = {name: min(number, bound.get(name, 9)) for name, number in least.items()}
    min_new = draw(st.integers(0, 9))
    return {
        "calibration": draw(st.floats(0, 1)),
        "max_per_category": most,
        "min_per_category": least,
        "min_new": min_new,
        "max_new": draw(st.none() | st.integers(min_new, 12)),
        "new_below": draw(st.integers(1, 9)),
        "pinned": draw(st.none() | ids | places | st.dictionaries(st.integers(0, 9), places | ids, max_size=3)),
    }


@given(good_rules())
def test_good_rules_are_taken_and_come_back(told):
    rules = Rules.of(told)
    assert Rules.of(rules) is rules
    assert Rules.of(rules.model_dump()) == rules
    for name, least in rules.min_per_category.items():
        most = rules.most_of(name)
        assert most is None or least <= most


@given(st.text().filter(lambda name: name not in Rules.model_fields), good_rules())
def test_an_unknown_rule_is_refused(name, told):
    with pytest.raises(ConfigError, match="Extra inputs are not permitted; there is calibration"):
        Rules.of({**told, name: 1})


@given(st.integers(1, 50), st.integers(1, 50))
def test_more_than_may_be_cannot_be_asked_for(most, more):
    with pytest.raises(ConfigError, match="min_per_category is"):
        Rules.of({"max_per_category": {"War": most}, "min_per_category": {"War": most + more}})
    with pytest.raises(ConfigError, match="min_new is"):
        Rules.of({"max_new": most, "min_new": most + more})


@given(places)
def test_pinned_places_are_sorted(placed):
    pinned = Rules.of({"pinned": placed}).pinned
    assert list((pinned or {}).items()) == sorted(placed.items())


def test_numbers_of_numpy_are_numbers():
    some = {"max_new": np.int64(2), "max_per_category": {"a": np.int32(3)}, "min_per_category": {"a": np.int64(1)}}
    assert Rules.of(some) == Rules(max_new=2, max_per_category={"a": 3}, min_per_category={"a": 1})
    assert Rules.of({"max_per_category": np.int64(2)}).max_per_category == 2
    for wrong in (2.5, True, "2"):
        with pytest.raises(ConfigError):
            Rules.of({"max_new": wrong})

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

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

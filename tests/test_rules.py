from __future__ import annotations

import pytest

import recgan
from recgan.errors import ConfigError
from recgan.rules import Rules


def test_rules_come_as_such_as_a_mapping_or_not_at_all():
    assert Rules.of(None) == Rules.of({}) == Rules()
    assert Rules.of({"calibration": 0.5}) == Rules.of(recgan.Rules(calibration=0.5))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"calibration": 1.5}, "calibration: Input should be less than or equal to 1"),
        ({"calibration": float("nan")}, "calibration"),
        ({"calibration": "much"}, "calibration: Input should be a valid number"),
        ({"calibrate": 0.5}, "calibrate: Extra inputs are not permitted; there is calibration"),
        (0.5, "rules: recgan.Rules, a dictionary or None, not float"),
        ([("calibration", 0.5)], "not list"),
    ],
)
def test_bad_rules(rules, words):
    with pytest.raises(ConfigError, match=words):
        Rules.of(rules)

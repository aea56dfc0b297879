"""Pair features: what the second stage reads of a user and a candidate."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import as_strided

from recgan import features
from recgan.features import FEATURES, ItemTraits, category_matrix, pair_features
from recgan.histories import Histories


def test_features_that_nobody_has_are_nought():
    """numpy's einsum over no column at all may read what lies in memory behind its operands."""
    behind = np.full(100, np.nan, np.float32)
    for users, items in itertools.product(itertools.product((0, 4), repeat=2), itertools.product((0, 4), repeat=3)):
        empty = as_strided(behind, (3, 0), users), as_strided(behind, (3, 5, 0), items)
        assert (features._products(*empty) == np.zeros((3, 5), np.float32)).all()


def test_products_are_those_of_each_pair():
    random = np.random.default_rng(0)
    users, items = random.normal(size=(3, 4)), random.normal(size=(3, 5, 4))
    expected = [[user @ item for item in row] for user, row in zip(users, items, strict=True)]
    np.testing.assert_allclose(features._products(users, items), expected)


def test_features_of_known_pairs():
    histories = Histories(np.array([0, 2, 2]), np.array([0, 1]), 3)
    items = pd.DataFrame({"categories": ["a", "a|b", "b"], "year": [1990, 1992, 2000]})
    vectors = np.eye(3, dtype=np.float32)
    profiles = np.zeros((2, 0), np.float32)
    traits = ItemTraits.of(histories, items, category_matrix(items)[0], vectors, profiles)
    found = pair_features(traits, histories, profiles, np.array([[1, 2], [1, 2]]))
    assert found.shape == (2, 2, len(FEATURES))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0, :, 5:8], [[1.0, 0.5, 1.0], [0.0, 0.0, 0.0]])  # nearest, mean, newest
    np.testing.assert_array_equal(found[1, :, 5:10], 0.0)  # nothing is like no history
    assert (found[0, 0, 8:10] > found[0, 1, 8:10]).all()  # two of a, one of b

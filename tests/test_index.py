from __future__ import annotations

import numpy as np
import pytest

from recgan.errors import DataError
from recgan.index import ItemIndex


@pytest.mark.parametrize("norm", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("k", [1, 7, 500])
def test_search_equals_brute_force_for_queries_of_any_norm(norm, k):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(300, 12)).astype(np.float32) * random.uniform(0.1, 5, (300, 1)).astype(np.float32)
    queries = (norm * random.normal(size=(40, 12))).astype(np.float32)
    scores, numbers = ItemIndex(vectors).search(queries, k)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_allclose(scores, np.take_along_axis(exact, order, 1), rtol=1e-4, atol=1e-4 * norm)


def test_equal_scores_by_number_and_never_more_than_there_are():
    scores, numbers = ItemIndex(np.ones((4, 2), np.float32)).search(np.ones((1, 2), np.float32), 9)
    assert numbers.tolist() == [[0, 1, 2, 3]]
    assert scores.tolist() == [[2.0] * 4]


def test_what_is_not_a_number_is_refused():
    with pytest.raises(DataError, match="first at number 1"):
        ItemIndex(np.array([[0.0], [np.nan]], np.float32))
    with pytest.raises(DataError, match="query"):
        ItemIndex(np.ones((2, 1), np.float32)).search(np.array([[np.inf]], np.float32), 1)


def test_the_index_has_its_own_copy():
    vectors = np.eye(3, dtype=np.float32)
    index = ItemIndex(vectors)
    vectors[:] = 0
    assert index.search(np.array([[0, 1, 0]], np.float32), 1)[0].tolist() == [[1.0]]

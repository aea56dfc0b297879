"""What blocks list by search is what they list from all scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recgan.histories import Histories
from recgan.linear import LowRank, SparseRows
from recgan.ranking import Query, top_items
from recgan.training import scoring, validation
from recgan.training.data import read_data
from recgan.training.scoring import by_block, by_rows, by_values

N, USERS = 30, 40


@pytest.fixture(scope="module")
def query():
    """Users with histories of all lengths, one of whom has everything, and more that is blocked."""
    random = np.random.default_rng(0)
    lists = [random.permutation(N)[: random.integers(0, N)] for _ in range(USERS - 1)] + [np.arange(N)]
    more = [random.permutation(N)[:3] for _ in range(USERS)]
    histories = Histories.from_lists(lists, N)
    return Query(histories, histories.joined(Histories.from_lists(more, N)), np.zeros((USERS, 0), np.float32))


def scorers():
    random = np.random.default_rng(1)
    rows = random.random((N, N)) * (random.random((N, N)) < 0.05)
    fold, columns = (random.standard_normal((N, 4)).astype(np.float32) for _ in range(2))
    popular = random.integers(0, 4, N).astype(np.float32)  # with ties
    made = {"columns": by_block(LowRank(fold, columns)), "values": by_values(popular)}
    return made | {"rows": by_rows(SparseRows(csr_matrix(rows.astype(np.float32)), 0.8))}


@pytest.mark.parametrize("name", ["columns", "rows", "values"])
@pytest.mark.parametrize("k", [1, 5, 50])
def test_a_search_lists_what_all_scores_list(query, monkeypatch, name, k):
    whole = scorers()[name](query)
    dense = whole.at(np.tile(np.arange(N), (USERS, 1)))
    expected = top_items(query.mask(dense.copy()), k)[0]
    np.testing.assert_array_equal(whole.best(k), expected)
    monkeypatch.setattr(scoring, "WHOLE", 0)
    searched = scorers()[name](query)
    np.testing.assert_array_equal(searched.best(k), expected)
    numbers = np.random.default_rng(2).integers(0, N, (USERS, 7))
    np.testing.assert_allclose(searched.at(numbers), np.take_along_axis(dense, numbers, 1), rtol=1e-5, atol=1e-6)


def test_proposals_by_search_are_those_of_all_scores(model, interactions, small_config, monkeypatch):
    asked = read_data(interactions, None, None, None, small_config).validation
    monkeypatch.setattr(validation, "PROPOSED", 7)
    whole = validation.propose(model._blocks, asked)
    monkeypatch.setattr(scoring, "WHOLE", 0)
    searched = validation.propose(model._blocks, asked)
    np.testing.assert_array_equal(searched.numbers, whole.numbers)
    assert set(searched.scores) == set(whole.scores)
    for name, scores in whole.scores.items():
        np.testing.assert_allclose(searched.scores[name], scores, rtol=1e-5, atol=1e-5)


def test_measurements_of_large_catalogues_ask_fewer_users(interactions, small_config, monkeypatch):
    asked = read_data(interactions, None, None, None, small_config).validation
    assert asked.light() is asked
    monkeypatch.setattr(validation, "MEASURED", 10 * asked.truth.n_items)
    some = asked.light()
    assert len(some) == len(some.n_relevant) == len(some.query.histories) == 10
    rows = {(tuple(asked.truth.of(user)), tuple(asked.query.histories.of(user))) for user in range(len(asked))}
    assert all((tuple(some.truth.of(user)), tuple(some.query.histories.of(user))) in rows for user in range(10))

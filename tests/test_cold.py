"""The item tower: the smoother against refits, sparse rows of kin, settings that validation chooses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recgan.cold.smoothing import SHRINKAGE, Smoother
from recgan.cold.sparse import grown, shrunk
from recgan.cold.tower import kin, unit
from recgan.linear import Factors


@pytest.fixture
def known():
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 5))
    return features, random.integers(0, 200, 40), features @ random.normal(size=(5, 3)) + random.normal(size=(40, 3))


def by_hand(features, counts, values, penalty, asked):
    """The normal equations with a column of ones that is not penalised."""
    weights = np.maximum(counts, 0.5) / (np.maximum(counts, 0.5) + SHRINKAGE)
    weights = weights / weights.mean()
    design = np.column_stack([features, np.ones(len(features))])
    penalties = np.diag([penalty] * features.shape[1] + [0.0])
    slopes = np.linalg.solve(design.T @ (weights[:, None] * design) + penalties, design.T @ (weights[:, None] * values))
    return np.column_stack([asked, np.ones(len(asked))]) @ slopes


def test_the_smoother_is_weighted_ridge_regression(known):
    features, counts, values = known
    asked = np.random.default_rng(1).normal(size=(7, 5))
    found = Smoother(features, counts, 2.0).predict(values, asked)
    np.testing.assert_allclose(found, by_hand(features, counts, values, 2.0, asked), rtol=1e-4, atol=1e-5)


def test_left_out_is_what_a_refit_without_the_item_predicts(known):
    features, counts, values = known
    found = Smoother(features, counts, 2.0).left_out(values)
    weights = np.maximum(counts, 0.5) / (np.maximum(counts, 0.5) + SHRINKAGE)
    for item in range(len(features)):
        others = np.arange(len(features)) != item
        penalty = 2.0 * weights.mean() / weights[others].mean()  # weights are brought to the mean 1 anew
        refit = by_hand(features[others], counts[others], values[others], penalty, features[[item]])
        np.testing.assert_allclose(found[item], refit[0], rtol=1e-3, atol=1e-4)


def test_large_catalogues_learn_from_the_popular_part(known, monkeypatch):
    features, counts, values = known
    monkeypatch.setattr("recgan.cold.smoothing.MOST_ITEMS", 30)
    smoother = Smoother(features, counts, 2.0)
    rare = np.setdiff1d(np.arange(40), smoother.rows)
    assert len(rare) == 10
    assert counts[rare].max() <= counts[smoother.rows].min()
    np.testing.assert_array_equal(smoother.left_out(values)[rare], smoother.predict(values, features[rare]))


def test_kin_are_the_most_alike_and_their_shares_add_up():
    features = np.eye(30, dtype=np.float32) + 0.1
    shares = kin(features[[3]] + features[[4]], features)
    assert shares.nnz == 20
    assert set(np.argsort(-shares.toarray()[0])[:2]) == {3, 4}
    assert shares.sum() == pytest.approx(1.0, rel=1e-5)
    assert kin(features, features, alone=False).diagonal().max() == 0.0
    assert kin(np.zeros((1, 30), np.float32), features).nnz == 0


def test_new_sparse_rows_are_means_of_those_of_kin_and_old_ones_stay():
    random = np.random.default_rng(0)
    dense = np.where(random.random((6, 6)) < 0.5, random.random((6, 6)), 0.0).astype(np.float32)
    shares = csr_matrix(np.array([[0.5, 0.5, 0, 0, 0, 0]], np.float32))
    found = grown(csr_matrix(dense), shares).toarray()
    np.testing.assert_array_equal(found[:6, :6], dense)
    np.testing.assert_allclose(found[6, :6], dense[:2].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found[:6, 6], dense[:, :2].mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found[6, 6], dense[:2, :2].mean(), rtol=1e-6)
    back = shrunk(csr_matrix(found), np.arange(6))
    np.testing.assert_array_equal(back.toarray(), dense)


def test_more_columns_do_not_change_what_a_history_wants():
    from recgan.histories import Histories

    random = np.random.default_rng(0)
    block = Factors(random.normal(size=(6, 3)).astype(np.float32), 0.2, 1.0)
    more = block.with_columns(np.concatenate([block.columns, random.normal(size=(4, 3)).astype(np.float32)]))
    few, many = (Histories.from_lists([np.array([0, 2])], n) for n in (6, 10))
    np.testing.assert_array_equal(block.queries(few), more.queries(many))


def test_unit_rows_keep_zeros():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]

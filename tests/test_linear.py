from __future__ import annotations

import numpy as np
import pytest

from recgan import linear
from recgan.histories import Histories


@pytest.fixture(scope="module")
def histories() -> Histories:
    random = np.random.default_rng(0)
    return Histories.from_lists([random.permutation(40)[: random.integers(1, 15)] for _ in range(150)], 40)


@pytest.mark.parametrize("regularisation", [1.0, 50.0, 1000.0])
def test_ease_equals_the_textbook(histories, regularisation):
    x = histories.matrix().toarray().astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + regularisation * np.eye(40))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    block = linear.ease(linear.spectrum(histories), regularisation)
    unseen = x == 0
    np.testing.assert_allclose(block.scores(histories)[unseen], (x @ weights)[unseen], atol=2e-5)


def test_truncated_spectrum_holds_the_leading_part(histories, monkeypatch):
    full = linear.spectrum(histories)
    monkeypatch.setattr(linear, "FULL_SPECTRUM", 10)
    leading = linear.spectrum(histories, rank=5)
    np.testing.assert_allclose(leading.values, full.values[:5], rtol=1e-2)  # found by iteration in a flat spectrum
    assert abs(leading.vectors[:, 0] @ full.vectors[:, 0]) == pytest.approx(1.0, abs=1e-4)


def brute_transitions(lists, n, reach, gap_decay, backward, shrinkage, a, b):
    counts, popularity = np.zeros((n, n)), np.zeros(n)
    for one in lists:
        for p, first in enumerate(one):
            popularity[first] += 1
            for q in range(p + 1, min(len(one), p + reach + 1)):
                counts[first, one[q]] += gap_decay ** (q - p - 1)
    counts = counts + backward * counts.T
    np.fill_diagonal(counts, 0.0)
    return counts / np.outer((popularity + shrinkage) ** a, (popularity + shrinkage) ** b)


def test_transitions_equal_brute_force(histories):
    lists = [histories.of(u) for u in range(len(histories))]
    expected = brute_transitions(lists, 40, 4, 0.8, 0.3, 7.0, 0.7, 0.3)
    block = linear.transitions(
        histories, reach=4, gap_decay=0.8, backward=0.3, shrinkage=7.0, from_power=0.7, to_power=0.3, keep=40
    )
    np.testing.assert_allclose(block.rows.toarray(), expected, rtol=1e-5, atol=1e-7)


def test_transitions_score_the_newest_item_most(histories):
    block = linear.transitions(histories, history_decay=0.5, keep=40)
    few = Histories.from_lists([np.array([3, 7, 3]), np.array([], np.int64)], 40)
    rows = block.rows.toarray()
    expected = 1.0 * rows[3] + 0.5 * rows[7]
    np.testing.assert_allclose(block.scores(few).toarray(), [expected, np.zeros(40)], rtol=1e-5)


def test_neighbours_equal_brute_force_and_keep_the_largest(histories):
    x = histories.matrix().toarray()
    counts = x.sum(0) + 5.0
    full = x.T @ x / np.sqrt(np.outer(counts, counts))
    np.fill_diagonal(full, 0.0)
    np.testing.assert_allclose(linear.neighbours(histories, shrinkage=5.0, keep=40).rows.toarray(), full, rtol=1e-5)
    few = linear.neighbours(histories, shrinkage=5.0, keep=3).rows.toarray()
    assert ((few > 0).sum(1) <= 3).all()
    for row in range(40):
        np.testing.assert_allclose(np.sort(few[row])[-3:], np.sort(full[row])[-3:], rtol=1e-5)


def test_start_vectors_are_unit_and_seeded(histories):
    vectors = linear.start_vectors(histories, 64, seed=3)
    assert vectors.shape == (40, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(vectors, linear.start_vectors(histories, 64, seed=3))


def test_inputs_are_left_alone(histories):
    before = histories.items.copy(), histories.offsets.copy()
    linear.transitions(histories)
    linear.neighbours(histories)
    linear.start_vectors(histories, 8)
    linear.ease(linear.spectrum(histories), 10.0).scores(histories)
    np.testing.assert_array_equal(histories.items, before[0])
    np.testing.assert_array_equal(histories.offsets, before[1])

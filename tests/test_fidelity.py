from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recgan import fidelity


def normal(n, d, seed, shift=0.0, scale=1.0):
    return shift + scale * np.random.default_rng(seed).standard_normal((n, d))


def mean_distance(a, b, distance, same=False):
    pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not same or i != j]
    return np.mean([distance(a[i], b[j]) for i, j in pairs])


def euclidean(x, y):
    return np.sqrt(sum((p - q) ** 2 for p, q in zip(x, y, strict=True)))


def test_energy_distance_by_loops():
    x, y = normal(9, 3, 0), normal(7, 3, 1, shift=1.0)
    expected = 2 * mean_distance(x, y, euclidean) - mean_distance(x, x, euclidean, True)
    expected -= mean_distance(y, y, euclidean, True)
    assert fidelity.energy_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_mmd_by_loops():
    x, y = normal(9, 3, 0), normal(7, 3, 1, shift=1.0)
    both = np.concatenate([x, y])
    width = np.median([euclidean(a, b) ** 2 for a, b in itertools.combinations(both, 2)])

    def kernel(a, b):
        return np.exp(-(euclidean(a, b) ** 2) / (2 * width))

    expected = mean_distance(x, x, kernel, True) + mean_distance(y, y, kernel, True) - 2 * mean_distance(x, y, kernel)
    assert fidelity.mmd(x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("k", [1, 3])
def test_density_and_coverage_by_loops(k):
    x, y = normal(12, 2, 0), normal(10, 2, 1, shift=0.5)
    radius = [sorted(euclidean(a, b) for b in x)[k] for a in x]
    inside = [[euclidean(a, b) <= r for b in y] for a, r in zip(x, radius, strict=True)]
    found = fidelity.density_coverage(x, y, k)
    assert found["density"] == pytest.approx(np.sum(inside) / (k * len(y)))
    assert found["coverage"] == pytest.approx(np.mean([any(row) for row in inside]))


def test_slate_features_by_loops():
    random = np.random.default_rng(0)
    vectors, popularity = random.standard_normal((9, 4)), random.random(9)
    slates = np.array([[0, 3, 5, 8], [2, 2, 7, -1], [4, -1, -1, -1]])
    found = fidelity.slate_features(slates, vectors, popularity)
    for slate, row in zip(slates, found, strict=True):
        own = [i for i in slate if i >= 0]
        middle = np.mean([vectors[i] for i in own], axis=0)
        pairs = [(vectors[i], vectors[j]) for i, j in itertools.permutations(own, 2)]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs] or [0.0]
        spread = np.mean([euclidean(vectors[i], middle) ** 2 for i in own])
        liked = [popularity[i] for i in own]
        expected = [*middle, spread, np.mean(cosines), np.std(cosines), np.mean(liked), np.std(liked)]
        np.testing.assert_allclose(row, expected, atol=1e-7)


def test_noise_sensitivity_by_loops():
    draws, vectors = normal(5, 12, 0).reshape(5, 4, 3), normal(20, 3, 1)
    cosines, jaccards = [], []
    for user in draws:
        tops = [set(np.argsort(-(vectors @ draw))[:6].tolist()) for draw in user]
        for i, j in itertools.combinations(range(4), 2):
            cosines.append(1 - user[i] @ user[j] / np.linalg.norm(user[i]) / np.linalg.norm(user[j]))
            jaccards.append(1 - len(tops[i] & tops[j]) / len(tops[i] | tops[j]))
    found = fidelity.noise_sensitivity(draws, vectors, k=6)
    assert found == pytest.approx({"cosine": np.mean(cosines), "jaccard": np.mean(jaccards)})


def test_equal_distributions_are_not_told_apart():
    x, y = normal(1200, 16, 0), normal(1200, 16, 1)
    assert abs(fidelity.energy_distance(x, y)) < 0.01
    assert abs(fidelity.mmd(x, y)) < 0.001
    told = fidelity.classifier_two_sample(x, y, 0)
    assert abs(told["auc"] - 0.5) < 0.04
    assert abs(told["accuracy"] - 0.5) < 0.04
    found = fidelity.density_coverage(x, y, 5)
    assert found["density"] == pytest.approx(1, abs=0.1)
    assert found["coverage"] > 0.93


def test_the_further_the_larger():
    x = normal(600, 8, 0)
    moved = [normal(600, 8, 1, shift=shift) for shift in (0.0, 0.2, 0.4, 0.8)]
    for measure in (
        fidelity.energy_distance,
        fidelity.mmd,
        lambda a, b: fidelity.classifier_two_sample(a, b, 0)["auc"],
        lambda a, b: -fidelity.density_coverage(a, b, 5)["coverage"],
    ):
        values = [measure(x, y) for y in moved]
        assert values == sorted(values)
        assert values[-1] > values[0]


def test_the_classifier_sees_spread_and_dependence():
    x, z = normal(1000, 6, 0), normal(1000, 6, 1)
    assert fidelity.classifier_two_sample(x, 1.5 * z, 0)["auc"] > 0.7
    z[:, 1] = 0.9 * z[:, 0] + np.sqrt(1 - 0.81) * z[:, 1]
    assert fidelity.classifier_two_sample(x, z, 0)["auc"] > 0.65


def test_the_classifier_sees_statistics_of_sets():
    alone, centre = normal(300 * 8, 5, 0).reshape(300, 8, 5), normal(300, 5, 1)[:, None]
    together = 0.7 * centre + np.sqrt(1 - 0.49) * normal(300 * 8, 5, 2).reshape(300, 8, 5)
    pooled = fidelity.classifier_two_sample(alone.reshape(-1, 5), together.reshape(-1, 5), 0)["auc"]
    assert pooled < 0.56
    assert fidelity.classifier_two_sample(alone, together, 0)["auc"] > 0.9


def test_a_collapsed_sample_covers_nothing():
    x = normal(400, 8, 0)
    collapsed = np.tile(x[:1], (400, 1))
    assert fidelity.density_coverage(x, collapsed, 5)["coverage"] < 0.1
    assert fidelity.density_coverage(x, collapsed, 5, distinct=True)["density"] > 0
    assert fidelity.energy_distance(x, collapsed) > 0.5


def test_distinct_rows_count_once():
    items = normal(40, 4, 0)
    real, fake = items[np.arange(200) % 20], items[20 + np.arange(200) % 20]
    found = fidelity.density_coverage(real, fake, 3, distinct=True)
    assert found == fidelity.density_coverage(items[:20], items[20:], 3)
    assert fidelity.density_coverage(real, fake, 3)["coverage"] == 0  # nine equal rows leave balls of radius 0


def test_condition_gap():
    logits = np.log(np.full((6, 6), 0.02) + 0.88 * np.eye(6))
    own = np.arange(6)
    assert fidelity.condition_gap(logits, own, own) == pytest.approx(np.log(0.9 / 0.02))
    assert fidelity.condition_gap(logits + 3.0, own, own) == pytest.approx(np.log(0.9 / 0.02))
    assert fidelity.condition_gap(np.tile(logits[:1], (6, 1)), own, own) == pytest.approx(0)
    assert fidelity.condition_gap(7 * np.eye(6), own, own, likelihood=False) == pytest.approx(7)
    assert fidelity.condition_gap(logits[:1], own[:1], own[:1]) == 0.0
    gaps = fidelity.condition_gaps(logits, own[:5], own[:5])
    assert np.isnan(gaps[5])
    assert np.isfinite(gaps[:5]).all()


def test_noise_that_is_ignored():
    draws = np.tile(normal(5, 4, 0)[:, None], (1, 3, 1))
    assert fidelity.noise_sensitivity(draws, normal(30, 4, 1)) == pytest.approx({"cosine": 0, "jaccard": 0}, abs=1e-12)
    assert fidelity.noise_sensitivity(draws[:, :1]) == {"cosine": 0.0}


def test_too_little_to_compare():
    one = np.zeros((1, 2))
    assert fidelity.energy_distance(one, one) == fidelity.mmd(one, one) == 0.0
    assert fidelity.classifier_two_sample(one, one)["auc"] == 0.5
    assert fidelity.density_coverage(one, one) == {"density": 1.0, "coverage": 1.0}
    assert fidelity.density_coverage(one[:0], one)["coverage"] == 0.0
    assert fidelity.noise_sensitivity(np.zeros((0, 2, 2)))["cosine"] == 0.0


SAMPLES = st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(1, 4), st.integers(0, 999))


@settings(deadline=None, max_examples=60)
@given(SAMPLES)
def test_distances_are_symmetric_and_do_not_hang_on_place_order_or_rotation(shape):
    n, m, d, seed = shape
    x, y = normal(n, d, seed), normal(m, d, seed + 1, shift=0.3)
    turn = np.linalg.qr(normal(d, d, seed + 2))[0]
    order = np.random.default_rng(seed).permutation(n)
    for measure in (fidelity.energy_distance, fidelity.mmd):
        value = measure(x, y)
        assert measure(y, x) == pytest.approx(value, abs=1e-9)
        assert measure(x[order], y) == pytest.approx(value, abs=1e-9)
        assert measure(x @ turn + 5, y @ turn + 5) == pytest.approx(value, abs=1e-7)
    assert fidelity.energy_distance(3 * x, 3 * y) == pytest.approx(3 * fidelity.energy_distance(x, y), abs=1e-9)
    assert fidelity.mmd(3 * x, 3 * y) == pytest.approx(fidelity.mmd(x, y), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(SAMPLES, st.integers(1, 4))
def test_density_and_coverage_keep_their_ranges(shape, k):
    n, m, d, seed = shape
    x, y = normal(n, d, seed), normal(m, d, seed + 1)
    found = fidelity.density_coverage(x, y, k)
    assert 0 <= found["coverage"] <= 1
    assert found["density"] >= 0
    assert fidelity.density_coverage(x, x, k)["coverage"] == 1
    scaled = fidelity.density_coverage(2 * x + 1, 2 * y + 1, k)
    assert scaled == pytest.approx(found, abs=1e-9)


def test_standardised():
    real, other = normal(50, 3, 0, shift=4, scale=3), normal(20, 3, 1)
    real[:, 2] = 7
    own, moved = fidelity.standardised(real, other)
    np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(own.std(axis=0), [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(moved[:, 2], other[:, 2] - 7)


def test_fast_and_repeatable_at_full_size():
    x, y = normal(5000, 128, 0), normal(5000, 128, 1)
    for measure in (
        fidelity.energy_distance,
        fidelity.mmd,
        fidelity.classifier_two_sample,
        fidelity.density_coverage,
    ):
        measure(x[:50], y[:50])
        began = time.process_time()
        first = measure(x, y)
        assert time.process_time() - began < 4.0
        assert measure(x, y) == first


@given(hnp.arrays(np.float64, (3, 4, 5), elements=st.floats(-1.0, 1.0)))
def test_spread_is_the_mean_distance_of_all_pairs(vectors):
    vectors = vectors + np.eye(4, 5)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9)
    pairs = [(s, t) for s in range(4) for t in range(s)]
    brute = [np.mean([1.0 - np.linalg.norm(user[s]) * user[s] @ user[t] for s, t in pairs]) for user in unit]
    full = np.linalg.norm(unit, axis=2).min(axis=1) > 0.5
    np.testing.assert_allclose(fidelity.spread(unit)[full], np.maximum(brute, 0.0)[full], atol=1e-9)


def test_a_single_draw_has_no_spread():
    assert fidelity.spread(np.ones((2, 1, 3), np.float32)).tolist() == [0.0, 0.0]
    assert fidelity.spread(np.ones((0, 4, 3), np.float32)).tolist() == []


def test_equal_draws_have_none_either():
    same = np.repeat(np.array([[[0.6, 0.8]]], np.float32), 5, axis=1)
    assert fidelity.spread(same)[0] == pytest.approx(0.0, abs=1e-6)

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recgan.draws import spread, unlike, wanted_vectors


@given(hnp.arrays(np.float64, (3, 4, 5), elements=st.floats(-1.0, 1.0)))
def test_spread_is_the_mean_distance_of_all_pairs(vectors):
    vectors = vectors + np.eye(4, 5)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9)
    pairs = [(s, t) for s in range(4) for t in range(s)]
    brute = [np.mean([1.0 - np.linalg.norm(user[s]) * user[s] @ user[t] for s, t in pairs]) for user in unit]
    full = np.linalg.norm(unit, axis=2).min(axis=1) > 0.5
    np.testing.assert_allclose(spread(unit)[full], np.maximum(brute, 0.0)[full], atol=1e-9)


def test_a_single_draw_has_no_spread():
    assert spread(np.ones((2, 1, 3), np.float32)).tolist() == [0.0, 0.0]
    assert spread(np.ones((0, 4, 3), np.float32)).tolist() == []


def test_equal_draws_have_none_either():
    same = np.repeat(np.array([[[0.6, 0.8]]], np.float32), 5, axis=1)
    assert spread(same)[0] == pytest.approx(0.0, abs=1e-6)


def test_wanted_vectors_are_those_of_the_generator(model):
    blocks, histories = model._blocks, model._histories
    drawn = wanted_vectors(blocks, histories, 12, seed=3)
    bank = len(blocks.noise)
    assert drawn.shape == (120, 12, blocks.generator.vectors.shape[1])
    with torch.no_grad():
        one = blocks.generator.wanted(blocks.conditions(histories.take(np.array([7]))), torch.from_numpy(blocks.noise))
    one = torch.nn.functional.normalize(one, dim=-1)[0].numpy()
    np.testing.assert_allclose(drawn[7, :bank], one, atol=1e-5)
    np.testing.assert_array_equal(drawn[:, :bank], wanted_vectors(blocks, histories))
    assert not np.allclose(drawn[:, bank:], wanted_vectors(blocks, histories, 12, seed=4)[:, bank:])


def test_unlike_begins_with_the_most_typical_and_goes_far():
    vectors = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = unlike(vectors, 20)
    assert sorted(order.tolist()) == list(range(20))
    assert order[0] == (vectors @ vectors.mean(axis=0)).argmax()

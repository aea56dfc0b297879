from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan.draws import unlike, wanted_vectors


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


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 99))
def test_fewer_unlike_vectors_are_the_first_of_more(size, n, seed):
    vectors = np.random.default_rng(seed).normal(size=(size, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = unlike(vectors, n)
    assert len(set(chosen.tolist())) == len(chosen) == min(n, size)
    assert unlike(vectors, n + 1)[:n].tolist() == chosen.tolist()
    if len(chosen) > 1:
        before = (vectors @ vectors[chosen[:-1]].T).max(axis=1)
        before[chosen[:-1]] = np.inf
        assert before[chosen[-1]] == pytest.approx(before.min(), abs=1e-6)

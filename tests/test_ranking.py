from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recgan import linear, ranking
from recgan.config import Config
from recgan.histories import Histories
from recgan.networks import build_generator
from recgan.ranking import ABSENT, Blocks, Query, Ranker, Weights, top_items

N = 80


@given(
    hnp.arrays(np.float32, (3, 11), elements=st.sampled_from([0.0, 1.0, 2.0, -np.inf, 0.5])),
    st.integers(1, 15),
)
def test_top_items_is_a_stable_sort(scores, k):
    numbers, values = top_items(scores.copy(), k)
    for row in range(3):
        order = np.argsort(-scores[row], kind="stable")[:k]
        wanted = [item for item in order.tolist() if np.isfinite(scores[row, item])]
        assert numbers[row][numbers[row] != ABSENT].tolist() == wanted
        assert values[row][: len(wanted)].tolist() == scores[row][wanted].tolist()


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    histories = Histories.from_lists([random.permutation(N)[: random.integers(2, 20)] for _ in range(200)], N)
    config = Config(embedding_dim=8, hidden_dim=16, noise_dim=3)
    generator = build_generator(config, "bag", {"vectors": torch.randn(N, 8)})
    torch.nn.init.normal_(generator.variation[-1].weight)
    return Blocks(
        generator=generator,
        dense=linear.ease(linear.spectrum(histories), 20.0),
        sparse=linear.transitions(histories, keep=10),
        popularity=random.normal(size=N).astype(np.float32),
        weights=Weights(dense=3.0, sparse=40.0, popularity=0.3),
        noise=random.normal(size=(4, 3)).astype(np.float32),
        window=50,
        categories=np.zeros((N, 0), np.float32),
    )


def query(n_users: int = 30, seed: int = 1, **options) -> Query:
    random = np.random.default_rng(seed)
    lists = [random.permutation(N)[: random.integers(0, 25)] for _ in range(n_users)]
    histories = Histories.from_lists(lists, N)
    return Query(histories, histories, np.zeros((n_users, 0), np.float32), **options)


def brute(blocks: Blocks, asked: Query) -> np.ndarray:
    generator = blocks.generator
    items, mask = asked.histories.window(np.arange(len(asked.histories)), blocks.window)
    with torch.no_grad():
        wanted = generator(torch.from_numpy(items), torch.from_numpy(mask)).numpy()
        scores = blocks.weights.generated * wanted @ generator.item_vectors().numpy().T
    scores = scores + blocks.weights.dense * blocks.dense.scores(asked.histories)
    scores = scores + blocks.weights.sparse * blocks.sparse.scores(asked.histories).toarray()
    return scores + blocks.weights.popularity * blocks.popularity


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("weights", [Weights(), Weights(0.0, 1.0), Weights(1.0, 3.0, 40.0, 0.3), Weights(0, 0, 1, 0)])
def test_both_ways_to_the_candidates_equal_brute_force(blocks, searched, weights, monkeypatch):
    monkeypatch.setattr(ranking.ranker, "SCORED_WHOLE", 0 if searched else N)
    some, asked = replace(blocks, weights=weights), query()
    numbers, scores = Ranker(some, None, 5).rank(asked, 12)
    exact = brute(some, asked)
    for user in range(len(numbers)):
        exact[user, asked.blocked.of(user)] = -np.inf
        best = np.sort(exact[user])[::-1][:12]
        np.testing.assert_allclose(scores[user], best, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(exact[user][numbers[user]], best, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("table", [False, True])
def test_allowed_items_only(blocks, table):
    allowed = np.zeros(N, bool)
    allowed[::7] = True
    lists = Histories.from_lists([np.flatnonzero(allowed)] * 30, N)
    numbers, scores = Ranker(blocks, None, 5).rank(query(allowed=lists if table else allowed), 40)
    assert set(numbers[numbers != ABSENT].tolist()) <= set(np.flatnonzero(allowed).tolist())
    assert ((numbers == ABSENT) == ~np.isfinite(scores)).all()
    for user in range(30):
        assert (numbers[user] != ABSENT).sum() == (~np.isin(np.flatnonzero(allowed), query().blocked.of(user))).sum()


def test_batch_equals_single(blocks):
    asked = query()
    numbers, scores = Ranker(blocks, None, 5).rank(asked, 10)
    for user in range(30):
        one = Ranker(blocks, None, 5).rank(asked.take(np.array([user])), 10)
        np.testing.assert_array_equal(one[0][0], numbers[user])
        np.testing.assert_allclose(one[1][0], scores[user], rtol=1e-5, atol=1e-5)


class Reversing:
    """A second stage that turns its candidates round."""

    def corrections(self, query, conditions, candidates, relevance):
        return np.where(candidates == ABSENT, 0.0, -2.0 * np.where(np.isfinite(relevance), relevance, 0.0))


def test_second_stage_reorders_its_candidates_and_the_tail_keeps_its_order(blocks):
    some = replace(blocks, weights=replace(blocks.weights, discriminator=1.0))
    plain, _ = Ranker(blocks, None, 6).rank(query(), 10)
    judged, scores = Ranker(some, Reversing(), 6).rank(query(), 10)
    np.testing.assert_array_equal(judged[:, :6], plain[:, :6][:, ::-1])
    np.testing.assert_array_equal(judged[:, 6:], plain[:, 6:])
    assert (np.diff(scores, axis=1) <= 1e-6).all()


def test_a_longer_list_begins_with_the_shorter(blocks):
    some = replace(blocks, weights=replace(blocks.weights, discriminator=1.0))
    long, _ = Ranker(some, Reversing(), 6).rank(query(), 25)
    for n in (0, 1, 5, 6, 7, 24):
        np.testing.assert_array_equal(Ranker(some, Reversing(), 6).rank(query(), n)[0], long[:, :n])


def test_explore_hangs_on_the_key_alone(blocks):
    keys = np.arange(30, dtype=np.uint64)
    asked = query(explore=1.0, keys=keys)
    first, _ = Ranker(blocks, None, 20).rank(asked, 10)
    turned = np.arange(30)[::-1]
    second, _ = Ranker(blocks, None, 20).rank(asked.take(turned), 10)
    np.testing.assert_array_equal(first[turned], second)
    other, _ = Ranker(blocks, None, 20).rank(query(explore=1.0, keys=keys + np.uint64(1000)), 10)
    plain, _ = Ranker(blocks, None, 20).rank(query(), 10)
    assert (first != other).mean() > 0.3
    assert (first != plain).mean() > 0.3


def test_scores_of_given_items_equal_those_of_the_list(blocks):
    numbers, scores = Ranker(blocks, None, 20).rank(query(), 10)
    np.testing.assert_allclose(Ranker(blocks, None, 20).scores(query(), numbers), scores, rtol=1e-4, atol=1e-4)


def test_a_stranger_may_get_nothing_generated(blocks):
    asked = query(3)
    nothing = Histories.from_lists([np.empty(0, np.int64)] * 3, N)
    empty = replace(asked, histories=nothing, keys=np.arange(3, dtype=np.uint64))
    conditions = blocks.conditions(empty.histories)
    silent = replace(blocks, weights=replace(blocks.weights, unknown=0.0))
    assert not silent.wanted(empty, conditions).any()
    assert blocks.wanted(empty, conditions).any(axis=1).all()
    known = blocks.conditions(asked.histories)
    has = asked.histories.lengths > 0
    np.testing.assert_array_equal(silent.wanted(asked, known)[has], blocks.wanted(asked, known)[has])

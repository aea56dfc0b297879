"""What a ranking is made of: questions for some of the users, masks, sums of blocks, and the judge."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan import linear
from recgan.config import Config
from recgan.features import FEATURES, ItemTraits, pair_features
from recgan.histories import Histories
from recgan.networks import Discriminator, PreferenceEncoder, build_generator
from recgan.ranking import ABSENT, Blocks, Classes, Judge, Pins, Query, Weights
from recgan.rules import Rules

N, B = 12, 4


def lists_of(random: np.random.Generator, least: int = 0) -> Histories:
    return Histories.from_lists([random.permutation(N)[: random.integers(least, 7)] for _ in range(B)], N)


def full(seed: int = 0, n_users: int = B) -> Query:
    """A question with all that can be asked."""
    random = np.random.default_rng(seed)
    query = Query(
        histories=lists_of(random, 1),
        blocked=lists_of(random),
        profiles=random.random((B, 2), np.float32),
        allowed=random.random((B, N)) < 0.5,
        unlimited=random.random(B) < 0.5,
        explore=0.3,
        keys=np.arange(B, dtype=np.uint64),
        rules=Rules(calibration=0.2),
        noise=random.random((B, 3), np.float32),
        classes=Classes(np.ones((N, 1), bool), np.array([3]), np.array([1])),
        pins=Pins.of(random.permutation(N)[:B, None], np.arange(B)[:, None]),
        seen=lists_of(random),
        stated=(random.random((B, 2)) < 0.5).astype(np.float32),
        popularity=0.4,
        costs=random.random(B, np.float32),
    )
    return query.take(np.arange(n_users)) if n_users < B else query


def with_a_stranger(query: Query) -> Query:
    """The question with no history of the first two users, of whom the second states something."""
    lists = [query.histories.of(user)[: 9 * (user > 1)] for user in range(B)]
    stated = np.asarray(query.stated, np.float32).copy()
    stated[:2] = [[0.0, 0.0], [0.0, 1.0]]
    return replace(query, histories=Histories.from_lists(lists, N), stated=stated)


def rows_of(value, users):
    """What belongs to some users of a part of a question that all have."""
    if isinstance(value, Histories):
        return [value.of(user).tolist() for user in users]
    if isinstance(value, Pins):
        return value.items[users].tolist(), value.places[users].tolist()
    return value[users].tolist()


@pytest.mark.parametrize("users", [[2, 0], [1], [0, 0, 3], [], [0, 1, 2, 3]])
@pytest.mark.parametrize("table", [False, True])
def test_a_question_for_some_users_is_what_belongs_to_them(users, table):
    query = full()
    if table:
        query = replace(query, allowed=lists_of(np.random.default_rng(5)))
    some = query.take(np.array(users, np.int64))
    for field in fields(Query):
        whole, part = getattr(query, field.name), getattr(some, field.name)
        if field.name in ("explore", "rules", "classes", "popularity"):
            assert part is whole
        else:
            assert rows_of(part, range(len(users))) == rows_of(whole, users), field.name


def test_what_is_the_same_for_all_or_not_asked_stays_so():
    histories = lists_of(np.random.default_rng(0))
    allowed = np.arange(N) % 2 == 0
    some = Query(histories, histories, np.zeros((B, 0), np.float32), allowed).take(np.array([3, 1]))
    assert some.allowed is allowed
    assert some.profiles.shape == (2, 0)
    assert len(some.keys) == 0
    nothing = [some.unlimited, some.noise, some.classes, some.pins, some.seen, some.stated, some.costs]
    assert nothing == [None] * 7


def test_a_question_of_one_user_is_taken_as_it_is_or_repeated():
    one = full(n_users=1)
    assert one.take(np.array([0])) is one
    assert len(one.take(np.array([0, 0])).histories) == 2
    assert len(full().take(np.array([0])).histories) == 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["all", "one list", "lists", "table"]), st.booleans(), st.booleans())
def test_a_mask_lowers_what_is_blocked_or_not_allowed(seed, kind, whole, keys):
    random = np.random.default_rng(seed)
    first = 0 if whole else int(random.integers(0, N))
    width = N if whole else int(random.integers(0, N - first + 1))
    given_ = random.random((B, N)) < 0.5
    unlimited = (random.random(B) < 0.5) if random.random() < 0.5 else None
    table = Histories.from_lists([np.flatnonzero(row) for row in given_], N)
    allowed = {"all": None, "one list": given_[0], "lists": given_, "table": table}[kind]
    query = replace(full(seed), allowed=allowed, unlimited=unlimited)
    kept = ~np.array([[item in query.blocked.of(user) for item in range(N)] for user in range(B)])
    if kind == "one list":
        kept &= given_[0]
    elif kind != "all":
        kept &= given_ | (unlimited[:, None] if kind == "table" and unlimited is not None else False)
    scores = random.integers(-9, 9, (B, width)).astype(np.int16 if keys else np.float32)
    lowest = np.iinfo(np.int16).min if keys else -np.inf
    wanted = np.where(kept[:, first : first + width], scores, lowest)
    assert query.mask(scores, first) is scores
    np.testing.assert_array_equal(scores, wanted)


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    histories = Histories.from_lists([random.permutation(N)[: random.integers(2, 9)] for _ in range(50)], N)
    config = Config(embedding_dim=6, hidden_dim=8, noise_dim=3)
    encoder = PreferenceEncoder(2, 6, 5)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter)
    return Blocks(
        generator=build_generator(config, "bag", {"vectors": torch.randn(N, 6)}),
        dense=linear.ease(linear.spectrum(histories), 20.0),
        factors=linear.factors(histories, linear.start_vectors(histories, 4), ridge=1.0),
        sparse=linear.transitions(histories, keep=5),
        popularity=random.normal(size=N).astype(np.float32),
        weights=Weights(dense=3.0, factors=2.0, sparse=4.0, popularity=0.3, short_popularity=0.7, short_generated=0.5),
        noise=random.normal(size=(4, 3)).astype(np.float32),
        window=50,
        categories=np.eye(2, dtype=np.float32)[random.integers(0, 2, N)],
        preferences=encoder.eval().requires_grad_(False),
    )


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("costly", [False, True])
def test_queries_times_columns_are_the_weighted_sum_of_all_blocks(blocks, biased, opened, costly):
    random, weights = np.random.default_rng(1), blocks.weights
    bias = random.normal(size=N).astype(np.float32) if biased else None
    opening = random.normal(size=N).astype(np.float32) if opened else None
    some, asked = replace(blocks, bias=bias, opening=opening), with_a_stranger(replace(full(), noise=None))
    assert asked.known.tolist() == [False] + [True] * (B - 1)
    if not costly:
        asked = replace(asked, costs=None)
    wanted = random.normal(size=(B, 6)).astype(np.float32)
    fade = 10.0 / (10.0 + asked.histories.lengths[:, None])
    vectors = blocks.generator.item_vectors().detach().numpy()
    scores = (1.0 + 0.5 * fade) * (wanted @ vectors.T)
    scores += 3.0 * blocks.dense.scores(asked.histories) + 2.0 * blocks.factors.scores(asked.histories)
    scores += (0.3 + 0.7 * fade - (asked.costs[:, None] if costly else 0.0)) * blocks.popularity
    scores += bias if biased else 0.0
    if opened:
        scores += np.where(asked.known, 0.0, 0.7 * (0.3 + 0.7 * fade[:, 0]))[:, None] * opening  # explore = .3
    queries = some.queries(asked, wanted)
    assert queries.dtype == some.columns.dtype == np.float32
    np.testing.assert_allclose(queries @ some.columns.T, scores, atol=1e-4)
    np.testing.assert_allclose(some.constant, weights.popularity * blocks.popularity + (bias if biased else 0.0))
    sparse = some.sparse_scores(asked.histories).toarray()
    np.testing.assert_allclose(sparse, 4.0 * blocks.sparse.scores(asked.histories).toarray(), rtol=1e-6)


@pytest.mark.parametrize("without", ["dense", "factors"])
@pytest.mark.parametrize("how", ["weight", "block"])
def test_a_block_that_is_not_there_or_counts_nothing_has_no_columns(blocks, without, how):
    less = replace(
        blocks, **({without: None} if how == "block" else {"weights": replace(blocks.weights, **{without: 0.0})})
    )
    asked = full()
    lost = getattr(blocks, without).columns.shape[1]
    assert less.columns.shape[1] == blocks.columns.shape[1] - lost
    assert less.queries(asked, np.zeros((B, 6), np.float32)).shape == less.columns[:B].shape


@pytest.mark.parametrize("how", ["weight", "block"])
def test_sparse_rows_that_are_not_there_or_count_nothing_score_nothing(blocks, how):
    none = {"sparse": None} if how == "block" else {"weights": replace(blocks.weights, sparse=0.0)}
    assert replace(blocks, **none).sparse_scores(full().histories) is None


def test_a_stranger_who_states_something_is_known(blocks):
    nothing = Histories.from_lists([np.empty(0, np.int64)] * B, N)
    stated = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    silent = replace(blocks, weights=replace(blocks.weights, unknown=0.0))
    asked = replace(full(), histories=nothing, stated=stated, noise=None)
    wanted = silent.wanted(asked, silent.conditions(nothing, stated))
    assert wanted.any(axis=1).tolist() == [False, True, True, True]
    half = replace(blocks, weights=replace(blocks.weights, unknown=0.5))
    asked = replace(asked, stated=None)
    conditions = blocks.conditions(nothing)
    np.testing.assert_allclose(half.wanted(asked, conditions), 0.5 * blocks.wanted(asked, conditions))


def test_what_is_stated_moves_the_condition_where_the_model_has_learned_to_listen(blocks):
    histories, stated = full().histories, np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.float32)
    plain = blocks.conditions(histories)
    told = blocks.preferences(plain, torch.from_numpy(stated), torch.from_numpy(histories.lengths))
    np.testing.assert_array_equal(blocks.conditions(histories, stated), told)
    assert (told != plain).any(dim=1).tolist() == [True, False, True, True]
    np.testing.assert_array_equal(replace(blocks, preferences=None).conditions(histories, stated), plain)


def test_conditions_read_as_many_items_as_the_window_has(blocks):
    histories = Histories.from_lists([np.arange(N)], N)
    newest = Histories.from_lists([np.arange(N)[-5:]], N)
    some = replace(blocks, window=5)
    np.testing.assert_allclose(some.conditions(histories), blocks.conditions(newest), rtol=1e-6)
    assert not np.allclose(blocks.conditions(histories), blocks.conditions(newest))


def test_an_item_has_one_vote_among_its_categories(blocks):
    categories = np.array([[0.8, 0.6, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], np.float32)
    some = replace(blocks, categories=categories)
    assert some.votes.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


def test_items_are_unit_rows_of_taste_and_category(blocks):
    np.testing.assert_allclose(np.linalg.norm(blocks.space, axis=1), 1.0, rtol=1e-5)
    centred = blocks.generator.centred_vectors().detach().numpy()
    assert blocks.space.shape == (N, 6 + 2)
    together = np.concatenate([centred, blocks.categories], axis=1)
    np.testing.assert_allclose(
        blocks.space, together / np.linalg.norm(together, axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )


def test_categories_have_six_tenths_of_what_makes_a_list_unlike(blocks):
    tastes, kinds = blocks.space[:, :6], blocks.space[:, 6:]
    np.testing.assert_allclose(
        blocks.space * blocks.contrast @ blocks.space.T, 0.8 * tastes @ tastes.T + 1.2 * kinds @ kinds.T, atol=1e-5
    )
    plain = replace(blocks, categories=np.zeros((N, 0), np.float32))
    assert plain.contrast.tolist() == [1.0] * plain.space.shape[1]


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.manual_seed(1)
    discriminator = Discriminator(8, 6, len(FEATURES) + 1, 16)
    for parameter in discriminator.parameters():
        torch.nn.init.normal_(parameter)
    random = np.random.default_rng(1)
    traits = ItemTraits.of(
        lists_of(random, 1),
        pd.DataFrame({"year": random.integers(1950, 2000, N)}),
        np.eye(2, dtype=np.float32)[random.integers(0, 2, N)],
        np.eye(N, dtype=np.float32),
        random.random((B, 2), np.float32),
    )
    return Judge(discriminator.eval().requires_grad_(False), traits)


def test_the_judge_reads_pair_features_and_relevance_and_leaves_alone_where_nothing_stands(judge):
    asked, random = full(), np.random.default_rng(2)
    candidates = np.stack([random.permutation(N)[:5] for _ in range(B)])
    relevance = random.normal(size=(B, 5)).astype(np.float32)
    found = judge.corrections(asked, candidates, relevance)
    pairs = pair_features(judge.traits, asked.histories, asked.profiles, candidates)
    read = np.concatenate([pairs, relevance[..., None]], axis=2)
    np.testing.assert_array_equal(judge.features(asked, candidates, candidates >= 0, relevance), read)
    np.testing.assert_allclose(found, judge.discriminator(torch.from_numpy(read)), rtol=1e-5)
    assert found.dtype == np.float32
    assert np.abs(found).min() > 0.0
    short, lower = candidates.copy(), relevance.copy()
    short[1, 3:], lower[1, 3:] = ABSENT, -np.inf
    again = judge.corrections(asked, short, lower)
    np.testing.assert_array_equal(again[short == ABSENT], [0.0, 0.0])
    np.testing.assert_allclose(again[short != ABSENT], found[short != ABSENT], rtol=1e-5)

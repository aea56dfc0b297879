from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_matrix

from recgan import linear, metrics, ranking
from recgan.config import Config
from recgan.histories import Histories
from recgan.networks import build_generator
from recgan.ranking import ABSENT, Blocks, Dial, Query, Ranker, Weights, arranged, top_items
from recgan.ranking.arranging import Spice, chance
from recgan.ranking.calibrating import Calibration
from recgan.rules import Rules

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
        factors=linear.factors(histories, linear.start_vectors(histories, 6), ridge=1.0),
        sparse=linear.transitions(histories, keep=10),
        popularity=random.normal(size=N).astype(np.float32),
        weights=Weights(dense=3.0, factors=2.0, sparse=40.0, popularity=0.3),
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
        fade = 10.0 / (10.0 + np.diff(asked.histories.offsets)[:, None])
        weights = blocks.weights
        generated = weights.generated + weights.short_generated * fade
        scores = generated * (wanted @ generator.item_vectors().numpy().T)
    scores = scores + blocks.weights.dense * blocks.dense.scores(asked.histories)
    scores = scores + blocks.weights.factors * blocks.factors.scores(asked.histories)
    scores = scores + blocks.weights.sparse * blocks.sparse.scores(asked.histories).toarray()
    return scores + (weights.popularity + weights.short_popularity * fade) * blocks.popularity


ALONE_AND_TOGETHER = [
    Weights(),
    Weights(generated=0.0, dense=1.0),
    Weights(generated=0.0, factors=1.0),
    Weights(generated=0.0, sparse=1.0),
    Weights(dense=3.0, factors=2.0, sparse=40.0, popularity=0.3),
    Weights(dense=3.0, popularity=-0.1, short_generated=0.5, short_popularity=2.0),
]


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("weights", ALONE_AND_TOGETHER)
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


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("table", [False, True])
def test_allowed_items_only(blocks, table, searched, monkeypatch):
    monkeypatch.setattr(ranking.ranker, "SCORED_WHOLE", 0 if searched else N)
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

    def corrections(self, query, candidates, relevance):
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


@pytest.mark.parametrize(
    ("options", "depth"),
    [({}, 3), ({"explore": 0.5}, 20), ({"rules": Rules(calibration=0.5)}, 20), ({"popularity": 0.3}, 20)],
)
def test_more_than_the_list_is_looked_for_only_where_something_reorders_it(blocks, monkeypatch, options, depth):
    ranker, asked_for = Ranker(blocks, None, 20), []
    search = ranker.candidates
    monkeypatch.setattr(ranker, "candidates", lambda *asked: (asked_for.append(asked[2]), search(*asked))[1])
    ranker.rank(query(**options, keys=np.arange(30, dtype=np.uint64)), 3)
    assert max(asked_for) == depth


@pytest.mark.parametrize("popularity", [-0.5, 0.3, 1.2])
def test_popularity_is_charged_to_every_item_of_the_catalogue(blocks, popularity):
    asked, ranker = query(), Ranker(blocks, None, 20)
    everything = np.tile(np.arange(N), (30, 1))
    scores = ranker.scores(asked, everything).astype(np.float64)
    scores[asked.blocked.holds(everything)] = -np.inf
    spread = np.sort(scores, axis=1)[:, -20:].std(axis=1)
    charged = scores - popularity * spread[:, None] * blocks.popularity
    numbers, values = ranker.rank(replace(asked, popularity=popularity), 12)
    np.testing.assert_array_equal(numbers, np.argsort(-charged, axis=1, kind="stable")[:, :12])
    np.testing.assert_allclose(values, np.take_along_axis(charged, numbers, 1), rtol=1e-3, atol=1e-4)


def test_a_corrected_list_begins_with_the_shorter_and_excluding_moves_nothing_else(blocks):
    ranker, asked = Ranker(blocks, None, 20), query(popularity=0.8)
    long, _ = ranker.rank(asked, 30)
    np.testing.assert_array_equal(ranker.rank(asked, 7)[0], long[:, :7])
    gone = Histories.from_lists([row[:1] for row in long], N)
    less, _ = ranker.rank(replace(asked, blocked=asked.blocked.joined(gone), seen=asked.blocked), 29)
    np.testing.assert_array_equal(less, long[:, 1:])


def test_the_more_popularity_costs_the_rarer_is_what_is_listed(blocks):
    ranker = Ranker(blocks, None, 20)
    means = [blocks.popularity[ranker.rank(query(popularity=cost), 10)[0]].mean() for cost in (-1.0, 0.0, 0.5, 1.5)]
    assert means == sorted(means, reverse=True)
    assert len(set(means)) == 4


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


def explored_slowly(asked, blocks, numbers, relevance, n, dial):
    """The order of the dial, one candidate after the other."""
    turned = dial.turned(asked.explore)
    orders = []
    for row, key in enumerate(asked.keys):
        there = [k for k in range(numbers.shape[1]) if numbers[row, k] != ABSENT]
        values = relevance[row, there].astype(np.float64)
        deviation = (values.std() if len(values) else 0.0) or 1.0
        chosen = []
        for strength in dial.strengths(min(n, numbers.shape[1])):
            best, best_value = None, -np.inf
            for k in (k for k in there if k not in chosen):
                item = numbers[row, k]
                luck = chance(np.array([key]), np.array([[item]]))[0, 0] - 0.5
                above = [float(blocks.space[item] * blocks.contrast @ blocks.space[numbers[row, c]]) for c in chosen]
                alike = np.mean(above) if above else 0.0
                spice = turned.luck * luck - turned.popularity * blocks.popularity[item] - turned.likeness * alike
                value = (relevance[row, k] - values.mean()) / deviation + strength * spice
                if value > best_value + 1e-9:
                    best, best_value = k, value
            chosen += [] if best is None else [best]
        orders.append(chosen + [k for k in range(numbers.shape[1]) if k not in chosen])
    return np.array(orders)


@pytest.mark.parametrize("explore", [0.15, 0.5, 1.0])
def test_the_dial_chooses_one_place_after_the_other(blocks, explore):
    asked = query(12, explore=explore, keys=np.arange(12, dtype=np.uint64))
    numbers, relevance = Ranker(blocks, None, 20).rank(replace(asked, explore=0.0), 20)
    numbers[3, 15:], relevance[3, 15:] = ABSENT, -np.inf
    numbers[4], relevance[4] = ABSENT, -np.inf
    order = arranged(asked, blocks, numbers, relevance, 14)
    assert (np.sort(order, axis=1) == np.arange(20)).all()
    np.testing.assert_array_equal(order, explored_slowly(asked, blocks, numbers, relevance, 14, Dial()))


def test_an_explored_list_begins_with_the_shorter(blocks):
    asked = query(explore=0.7, keys=np.arange(30, dtype=np.uint64))
    long, _ = Ranker(blocks, None, 20).rank(asked, 20)
    for n in (0, 1, 5, 10, 13):
        np.testing.assert_array_equal(Ranker(blocks, None, 20).rank(asked, n)[0], long[:, :n])


def test_strengths_rise_towards_the_end_of_every_ten_places():
    strengths = Dial().strengths(20)
    assert (np.diff(strengths[:10]) > 0).all()
    assert strengths[:10].tolist() == strengths[10:].tolist()
    assert strengths[[0, 9]].tolist() == [Dial().floor, 1.0]


def test_a_dial_that_is_hardly_turned_changes_hardly_anything():
    turned = Dial().turned(1e-12)
    assert max(turned.luck, turned.popularity, turned.likeness) < 1e-3
    assert Dial().turned(1.0) == Dial()


def test_the_dial_is_monotone_in_diversity_novelty_and_variety(blocks):
    def told(explore):
        lists = [
            Ranker(blocks, None, 40).rank(query(200, explore=explore, keys=keys), 10)[0]
            for keys in np.arange(400, dtype=np.uint64).reshape(2, 200)
        ]
        rows = blocks.space[lists[0]]
        alike = (np.square(rows.sum(axis=1)).sum(axis=1) - 10) / 90
        same = np.mean([np.isin(a, b).mean() for a, b in zip(*lists, strict=True)])
        return -alike.mean(), -blocks.popularity[lists[0]].mean(), -same

    steps = np.array([told(explore) for explore in (0.05, 0.3, 0.6, 1.0)])
    assert (np.diff(steps, axis=0) > 0).all()


def divergence(blocks, asked, numbers):
    flags = blocks.categories > 0
    histories = asked.histories
    profile = metrics.category_profile(histories.rows, histories.items, flags, len(histories))
    return metrics.calibration(numbers, profile, flags, numbers.shape[1])


@pytest.fixture(scope="module")
def sorted_blocks(blocks):
    """Items with one or two of five categories."""
    random = np.random.default_rng(2)
    flags = (
        np.eye(5, dtype=np.float32)[random.integers(0, 5, N)] + np.eye(5, dtype=np.float32)[random.integers(0, 5, N)]
    )
    return replace(blocks, categories=flags / np.linalg.norm(flags, axis=1, keepdims=True))


def test_what_a_candidate_costs_is_the_divergence_of_the_longer_list(sorted_blocks):
    asked = query(10)
    asked = asked.take(np.flatnonzero(asked.histories.lengths))
    numbers = np.stack([np.random.default_rng(user).permutation(N)[:6] for user in range(len(asked.histories))])
    mix = Calibration(asked.histories, sorted_blocks.votes, numbers)
    everybody = np.ones(len(numbers), bool)
    for place in range(3):
        costs = mix.costs()
        for column in range(6):
            lists = np.concatenate([numbers[:, :place], numbers[:, [column]]], axis=1)
            np.testing.assert_allclose(costs[:, column], divergence(sorted_blocks, asked, lists), atol=1e-9)
        mix.add(numbers[:, place], everybody)


def test_calibration_brings_the_categories_nearer_and_is_monotone(sorted_blocks):
    asked = query(100)
    lists = [
        Ranker(sorted_blocks, None, 60).rank(replace(asked, rules=Rules(calibration=weight)), 10)[0]
        for weight in (0.0, 0.2, 0.5, 1.0)
    ]
    apart = [np.nanmean(divergence(sorted_blocks, asked, some)) for some in lists]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 0.5 * apart[0]
    np.testing.assert_array_equal(lists[0], Ranker(sorted_blocks, None, 60).rank(asked, 10)[0])


def test_calibration_without_categories_or_history_changes_nothing(blocks, sorted_blocks):
    rules = Rules(calibration=0.7)
    plain, calibrated = query(), query(rules=rules)
    for some, asked in ((blocks, np.arange(30)), (sorted_blocks, np.flatnonzero(plain.histories.lengths == 0))):
        np.testing.assert_array_equal(
            Ranker(some, None, 20).rank(calibrated.take(asked), 10)[0],
            Ranker(some, None, 20).rank(plain.take(asked), 10)[0],
        )


def test_a_calibrated_and_explored_list_begins_with_the_shorter(sorted_blocks):
    asked = query(explore=0.5, keys=np.arange(30, dtype=np.uint64), rules=Rules(calibration=0.4))
    long, _ = Ranker(sorted_blocks, None, 20).rank(asked, 20)
    for n in (0, 1, 7, 13):
        np.testing.assert_array_equal(Ranker(sorted_blocks, None, 20).rank(asked, n)[0], long[:, :n])


@pytest.mark.parametrize("explore", [0.0, 1.0])
def test_a_query_with_noise_is_answered_by_one_draw(blocks, explore):
    asked = query(8, explore=explore, keys=np.arange(8, dtype=np.uint64))
    draws = np.resize(blocks.noise, (8, 3))
    conditions = blocks.conditions(asked.histories)
    wanted = blocks.wanted(replace(asked, noise=draws), conditions)
    with torch.no_grad():
        each = blocks.generator.wanted(conditions, torch.from_numpy(blocks.noise)).numpy()
    np.testing.assert_allclose(wanted, each[np.arange(8), np.arange(8) % 4], atol=1e-5)
    assert not np.allclose(wanted, blocks.wanted(asked, conditions))
    np.testing.assert_array_equal(replace(asked, noise=draws).take(np.array([5, 2])).noise, draws[[5, 2]])


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


def test_negative_zero_and_tiny_scores_keep_their_order():
    scores = np.array([[0.0, -0.0, 1e-45, -1e-45, -3e38, 3e38]], np.float32)
    numbers, values = top_items(scores, 6)
    assert numbers.tolist() == [[5, 2, 0, 1, 3, 4]]
    assert values.tolist() == [[np.float32(3e38), np.float32(1e-45), 0.0, 0.0, np.float32(-1e-45), np.float32(-3e38)]]


def test_one_very_long_history_does_not_widen_the_others():
    """Memory is that of the items which users have, not of the longest history times the users."""
    random, n_items = np.random.default_rng(0), 6000
    generator = build_generator(
        Config(embedding_dim=4, hidden_dim=8, noise_dim=3), "bag", {"vectors": torch.randn(n_items, 4)}
    )
    rows = np.repeat(np.arange(n_items), 5), random.integers(0, n_items, n_items * 5)
    sparse = linear.SparseRows(
        csr_matrix((random.random(n_items * 5, dtype=np.float32), rows), (n_items, n_items)), 1.0
    )
    some = Blocks(
        generator=generator,
        dense=None,
        factors=None,
        sparse=sparse,
        popularity=np.zeros(n_items, np.float32),
        weights=Weights(sparse=1.0),
        noise=np.zeros((2, 3), np.float32),
        window=50,
        categories=np.zeros((n_items, 0), np.float32),
    )

    def peak(longest: int) -> int:
        lists = [random.permutation(n_items)[:20] for _ in range(500)]
        lists[250] = random.permutation(n_items)[:longest]
        histories = Histories.from_lists(lists, n_items)
        tracemalloc.start()
        numbers, _ = Ranker(some, None, 20).rank(Query(histories, histories, np.zeros((500, 0), np.float32)), 10)
        assert (numbers != ABSENT).all()
        assert not histories.holds(numbers).any()
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(20)
    assert peak(5900) < 1.3 * peak(20)


@given(st.integers(0, 40))
def test_strengths_of_fewer_places_are_the_first_of_more(n):
    np.testing.assert_array_equal(Dial().strengths(n + 7)[:n], Dial().strengths(n))
    np.testing.assert_allclose(Dial().strengths(n), 0.05 + 0.95 * (np.arange(n) % 10 / 9) ** 2)


@given(st.floats(0, 1), st.floats(0, 1))
def test_all_that_counts_rises_with_the_dial(one, other):
    low, high = (Dial().turned(explore) for explore in sorted((one, other)))
    for name in ("luck", "popularity", "likeness"):
        assert 0.0 <= getattr(low, name) <= getattr(high, name) <= getattr(Dial(), name)


@given(st.floats(0, 1), st.integers(0, 40))
def test_calibration_counts_more_further_down_and_its_weight_on_average(weight, n):
    weights = Dial().calibrations(weight, n)
    np.testing.assert_allclose(weights, np.minimum(1.0, weight * (np.arange(n) % 10 + 1) / 5.5), atol=1e-12)
    if weight <= 0.5 and n >= 10:
        assert weights[:10].mean() == pytest.approx(weight)


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), st.lists(st.integers(0, 2**40), min_size=1, max_size=5)
)
def test_chance_hangs_on_user_and_item_alone(keys, items):
    luck = chance(np.array(keys, np.uint64), np.array([items] * len(keys)))
    assert ((luck >= 0) & (luck < 1)).all()
    for row, key in enumerate(keys):
        for column, item in enumerate(items):
            assert luck[row, column] == chance(np.array([key], np.uint64), np.array([[item]]))[0, 0]


def test_chance_is_spread_evenly():
    luck = chance(np.arange(200, dtype=np.uint64), np.tile(np.arange(500), (200, 1)))
    counts = np.histogram(luck, 20, (0.0, 1.0))[0]
    assert abs(counts - 5000).max() < 5 * 5000**0.5
    assert abs(np.corrcoef(luck[0], luck[1])[0, 1]) < 0.2


def mixed(key: int, item: int) -> float:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) in whole numbers."""
    word = key ^ (item * 0x9E3779B97F4A7C15) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        word = (word ^ word >> shift) * factor % 2**64
    return ((word ^ word >> 31) >> 11) / 2**53


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_chance_is_that_of_splitmix(key, item):
    assert chance(np.array([key], np.uint64), np.array([[item]]))[0, 0] == mixed(key, item)


def test_calibration_counts_what_is_put_into_a_list_and_nothing_else(sorted_blocks):
    asked = query(4)
    numbers = np.tile(np.arange(5), (4, 1))
    mix, other = (Calibration(asked.histories, sorted_blocks.votes, numbers) for _ in range(2))
    mix.add(np.array([7, 8, 9, 10]), np.array([True, False, True, False]))
    for user in (1, 3):
        np.testing.assert_array_equal(mix.costs()[user], other.costs()[user])
    for user in (0, 2):
        assert not np.allclose(mix.costs()[user], other.costs()[user])


def test_nothing_is_far_from_the_categories_of_who_has_none(sorted_blocks):
    nobody = Histories.from_lists([np.empty(0, np.int64)], N)
    mix = Calibration(nobody, sorted_blocks.votes, np.arange(5)[None])
    assert mix.costs().tolist() == [[0.0] * 5]
    mix.add(np.array([7]), np.array([True]))
    assert mix.costs().tolist() == [[0.0] * 5]


def test_items_without_a_category_are_far_from_every_mix(sorted_blocks):
    categories = sorted_blocks.categories.copy()
    categories[3] = 0.0
    some = replace(sorted_blocks, categories=categories)
    mix = Calibration(Histories.from_lists([np.array([1, 2])], N), some.votes, np.array([[3, 1]]))
    costs = mix.costs()[0]
    assert costs[0] == pytest.approx(-np.log(0.01))
    assert 0.0 <= costs[1] < costs[0]


class Moving:
    """A second stage that moves all its candidates by as much."""

    def __init__(self, step: float) -> None:
        self.step = step

    def corrections(self, query, candidates, relevance):
        return np.where(candidates == ABSENT, 0.0, self.step).astype(np.float32)


@pytest.mark.parametrize("step", [-1000.0, -0.1, 0.0, 1000.0])
@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_the_tail_is_shifted_below_the_second_stage_only_where_it_would_stand_above(blocks, step, weight):
    some = replace(blocks, weights=replace(blocks.weights, discriminator=weight))
    plain, before = Ranker(blocks, None, 6).rank(query(), 15)
    numbers, scores = Ranker(some, Moving(step), 6).rank(query(), 15)
    np.testing.assert_array_equal(numbers, plain)
    np.testing.assert_allclose(scores[:, :6], before[:, :6] + weight * step, rtol=1e-5, atol=1e-5)
    stays = before[:, 6] <= np.nextafter(scores[:, 5], -np.inf)
    np.testing.assert_array_equal(scores[stays, 6:], before[stays, 6:])
    np.testing.assert_array_equal(scores[~stays, 6], np.nextafter(scores[~stays, 5], -np.inf))
    np.testing.assert_allclose(np.diff(scores[:, 6:], axis=1), np.diff(before[:, 6:], axis=1), atol=1e-9)
    assert stays.all() == (step >= 0.0)


def test_a_second_stage_without_weight_is_not_asked(blocks):
    class Refusing:
        def corrections(self, query, candidates, relevance):
            raise AssertionError

    numbers, scores = Ranker(blocks, Refusing(), 6).rank(query(), 10)
    np.testing.assert_array_equal(numbers, Ranker(blocks, None, 6).rank(query(), 10)[0])
    np.testing.assert_allclose(Ranker(blocks, Refusing(), 6).scores(query(), numbers), scores, rtol=1e-4, atol=1e-4)


def test_scores_of_given_items_are_those_of_the_second_stage_too(blocks):
    some = replace(blocks, weights=replace(blocks.weights, discriminator=0.5))
    ranker = Ranker(some, Reversing(), 10)
    numbers, scores = ranker.rank(query(), 10)
    found = ranker.scores(query(), numbers)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_users", [0, 1, 7])
@pytest.mark.parametrize("most", [1, N, 3 * N])
def test_users_who_are_ranked_in_portions_get_the_same_lists(blocks, n_users, most, monkeypatch):
    asked = query(n_users)
    whole = Ranker(blocks, None, 6).rank(asked, 9)
    monkeypatch.setattr(ranking.ranker, "CELLS", most)
    parts = Ranker(blocks, None, 6).rank(asked, 9)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-5)
    assert whole[0].shape == whole[1].shape == (n_users, 9)


@pytest.mark.parametrize("searched", [False, True])
def test_a_list_longer_than_what_is_left_ends(blocks, searched, monkeypatch):
    monkeypatch.setattr(ranking.ranker, "SCORED_WHOLE", 0 if searched else N)
    some = replace(blocks, weights=Weights(dense=1.0))
    asked = query()
    numbers, scores = Ranker(some, None, 5).rank(asked, N + 5)
    there = numbers != ABSENT
    np.testing.assert_array_equal(there.sum(axis=1), N - asked.blocked.lengths)
    np.testing.assert_array_equal(there, np.isfinite(scores))
    assert np.isneginf(scores[~there]).all()
    assert not (np.diff(there.astype(int), axis=1) > 0).any()


def test_a_judged_list_of_which_much_is_excluded_ends(blocks):
    """The second stage compares what is excluded too, so that what is left keeps its order and score."""
    ranker = Ranker(replace(blocks, weights=replace(blocks.weights, discriminator=1.0)), Reversing(), 20)
    asked = query()
    whole, before = ranker.rank(asked, N)
    gone = Histories.from_lists([row[row != ABSENT][4:] for row in whole], N)
    blocked = asked.blocked.joined(gone)
    numbers, scores = ranker.rank(replace(asked, blocked=blocked, seen=asked.blocked), 10)
    np.testing.assert_array_equal(numbers[:, :4], whole[:, :4])
    np.testing.assert_allclose(scores[:, :4], before[:, :4], rtol=1e-6)
    assert (numbers[:, 4:] == ABSENT).all()
    assert np.isneginf(scores[:, 4:]).all()


def test_popularity_costs_nothing_where_one_candidate_is_left(blocks):
    """It is counted in deviations of the scores, of which a single one has none."""
    asked = query()
    left = [np.setdiff1d(np.arange(N), [user]) for user in range(30)]
    asked = replace(asked, blocked=Histories.from_lists(left, N))
    plain, charged = (Ranker(blocks, None, 20).rank(replace(asked, popularity=cost), 3) for cost in (0.0, 0.9))
    assert plain[0][:, 0].tolist() == list(range(30))
    np.testing.assert_array_equal(charged[0], plain[0])
    np.testing.assert_array_equal(charged[1], plain[1])


def test_a_question_without_rules_is_answered_without_them(blocks, monkeypatch):
    monkeypatch.setattr(ranking.ranker, "Ruling", None)
    assert (Ranker(blocks, None, 20).rank(query(explore=0.5, keys=np.arange(30, dtype=np.uint64)), 10)[0] >= 0).all()


@pytest.mark.parametrize(("most", "sizes"), [(1, [128] * 5), (10**9, [512, 128]), (N * 200, [200] * 3 + [40])])
def test_portions_are_as_many_users_as_scores_can_be_held(blocks, most, sizes, monkeypatch):
    """At least 128, which share one reading of the items, and at most 512."""
    ranked, found = Ranker._rank_chunk, []
    monkeypatch.setattr(ranking.ranker, "CELLS", most)
    monkeypatch.setattr(Ranker, "_rank_chunk", lambda *some: found.append(len(some[1].histories)) or ranked(*some))
    Ranker(blocks, None, 6).rank(query(640), 9)
    assert found == sizes


@pytest.mark.parametrize("explore", [1.0, 0.25])
def test_what_the_dial_weighs_at_its_default(blocks, explore):
    """Luck, log popularity and the mean likeness to the items above, in deviations of the relevance."""
    keys, numbers = np.arange(3, dtype=np.uint64), np.arange(12).reshape(3, 4)
    spice = Spice(query(3, explore=explore, keys=keys), blocks, numbers, Dial())
    own = explore**0.9 * (chance(keys, numbers) - 0.5) - 1.15 * explore**0.45 * blocks.popularity[numbers]
    np.testing.assert_allclose(spice.gains(), own, atol=1e-6)
    above = np.array([[20, 30], [21, 31], [22, 32]])
    for column in range(2):
        spice.add(above[:, column])
        weighed, shown = blocks.space[numbers] * blocks.contrast, blocks.space[above[:, : column + 1]]
        alike = np.einsum("bkq,bjq->bkj", weighed, shown).mean(axis=2)
        np.testing.assert_allclose(spice.gains(), own - 4.6 * explore**0.9 * alike, atol=1e-5)

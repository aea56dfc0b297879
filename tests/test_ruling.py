"""Lists under rules equal those that a plain search of the whole catalogue makes, one place after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recgan.config import Config
from recgan.histories import Histories
from recgan.networks import build_generator
from recgan.ranking import ABSENT, Blocks, Classes, Dial, Pins, Query, Ranker, Weights, limits, ruling
from recgan.ranking.arranging import chance
from recgan.ranking.calibrating import Calibration
from recgan.ranking.gate import Pool
from recgan.rules import Rules

N = 40


def made(seed: int) -> Blocks:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    generator = build_generator(
        Config(embedding_dim=6, hidden_dim=8, noise_dim=3), "bag", {"vectors": torch.randn(N, 6)}
    )
    flags = random.random((N, 4)) < 0.35
    categories = flags / np.maximum(np.linalg.norm(flags, axis=1, keepdims=True), 1.0)
    return Blocks(
        generator=generator,
        dense=None,
        factors=None,
        sparse=None,
        popularity=random.normal(size=N).astype(np.float32),
        weights=Weights(popularity=0.3),
        noise=np.zeros((2, 3), np.float32),
        window=50,
        categories=categories.astype(np.float32),
    )


BLOCKS = made(0)


class Turned:
    """A second stage that moves its candidates."""

    def corrections(self, query, candidates, relevance):
        moved = np.sin(candidates * 12.9) * 2.0
        return np.where(candidates == ABSENT, 0.0, moved).astype(np.float32)


def ranker(n_candidates: int, judged: bool) -> Ranker:
    weights = replace(BLOCKS.weights, discriminator=1.0) if judged else BLOCKS.weights
    return Ranker(replace(BLOCKS, weights=weights), Turned() if judged else None, n_candidates)


def asked(random: np.random.Generator, n_users: int, **options) -> Query:
    lists = [random.permutation(N)[: random.integers(0, 12)] for _ in range(n_users)]
    histories = Histories.from_lists(lists, N)
    keys = random.integers(0, 2**60, n_users).astype(np.uint64)
    return Query(histories, histories, np.zeros((n_users, 0), np.float32), keys=keys, **options)


class Oracle:
    """One list, made by looking at every item of the catalogue at every place."""

    def __init__(self, engine: Ranker, query: Query, n: int) -> None:
        self.engine, self.query, self.n = engine, query, n
        self.blocks, classes, pins = engine.blocks, query.classes, query.pins
        self.members = np.zeros((N, 0), bool) if classes is None else classes.members
        self.most = np.empty(0) if classes is None else classes.most
        self.least = np.empty(0) if classes is None else classes.least
        items = [] if pins is None else [item for item in pins.items[0].tolist() if item != ABSENT]
        self.pins = [] if pins is None else list(zip(pins.places[0].tolist(), items, strict=False))
        plain = replace(query, classes=None, pins=None, explore=0.0, rules=Rules())
        pinned = Histories.from_lists([np.array(items, np.int64)], N)
        seen = query.blocked if query.seen is None else query.seen
        plain = replace(plain, blocked=plain.blocked.joined(pinned), seen=seen)
        numbers, scores = engine.rank(plain, N)
        there = numbers[0] != ABSENT
        self.ranked, self.relevance = numbers[0][there].tolist(), scores[0][there].astype(np.float64)
        self.n_head = min(engine.n_candidates, len(self.ranked))

    def merits(self, above: list[int], place: int) -> dict[int, tuple[int, float]]:
        """Of every ranked item: whether it is weighed, and its value."""
        head, dial, rules = self.relevance[: self.n_head], Dial().turned(self.query.explore), self.query.rules
        spread = (head.std() if len(head) else 0.0) or 1.0
        strength = dial.strengths(self.n)[place]
        told = self.blocks.votes[self.query.histories.of(0)].any()
        weight = dial.calibrations(rules.calibration, self.n)[place] if told else 0.0
        values = {}
        for k, item in enumerate(self.ranked):
            if k >= self.n_head:
                values[item] = (0, -float(k))
                continue
            value = (1 - weight) * (head[k] - head.mean()) / spread
            if self.query.explore:
                luck = chance(self.query.keys, np.array([[item]]))[0, 0] - 0.5
                weighed = self.blocks.space[item] * self.blocks.contrast
                likenesses = [float(weighed @ self.blocks.space[one]) for one in above]
                alike = np.mean(likenesses) if likenesses else 0.0
                own = dial.luck * luck - dial.popularity * self.blocks.popularity[item]
                value += strength * (own - dial.likeness * alike)
            if rules.calibration:
                mix = Calibration(self.query.histories, self.blocks.votes, np.array([[item]]))
                for one in above:
                    mix.add(np.array([one]), np.ones(1, bool))
                value -= weight * 5.0 * mix.costs()[0, 0]
            values[item] = (1, value)
        return values

    def made(self, early: bool) -> tuple[list[int], int]:
        """The list, and how many items its minima lack."""
        waiting, shown = list(self.pins), []
        for place in range(self.n):
            counted = self.members[[*shown, *(item for _, item in waiting)]].sum(axis=0)
            soon = [item for where, item in waiting if where < self.n]
            short = np.maximum(0, self.least - self.members[[*shown, *soon]].sum(axis=0))
            open_ = [
                item
                for item in self.ranked
                if item not in shown and not (self.members[item] & (counted >= self.most)).any()
            ]
            helping = [item for item in open_ if (self.members[item] & (short > 0)).any()]
            if helping and (early or short.sum() >= self.n - place - len(soon)):
                open_ = helping
            if waiting and (waiting[0][0] <= place or not open_):
                shown.append(waiting.pop(0)[1])
            elif open_:
                values = self.merits(shown, place)
                best = max(values[item] for item in open_)
                shown.append(next(item for item in open_ if values[item] >= (best[0], best[1] - 1e-9)))
            else:
                break
        soon = [item for where, item in waiting if where < self.n]
        return shown, int(np.maximum(0, self.least - self.members[[*shown, *soon]].sum(axis=0)).sum())

    def list(self) -> list[int]:
        first, short = self.made(early=False)
        if not short or not (self.most < N).any():
            return first
        other, shorter = self.made(early=True)
        return other if shorter < short else first


def random_classes(random: np.random.Generator) -> Classes:
    n_classes = int(random.integers(1, 5))
    members = random.random((N, n_classes)) < random.choice([0.05, 0.3, 0.8])
    most = np.where(random.random(n_classes) < 0.7, random.integers(0, 5, n_classes), N)
    least = np.where(random.random(n_classes) < 0.5, random.integers(0, 5, n_classes), 0)
    return Classes(members, most.astype(np.int64), np.minimum(least, most).astype(np.int64))


def random_pins(random: np.random.Generator, query: Query) -> Pins:
    items = np.full((len(query.histories), 3), ABSENT)
    places = np.zeros(items.shape, np.int64)
    for user in range(len(items)):
        left = np.setdiff1d(np.arange(N), query.blocked.of(user))
        some = random.permutation(left)[: random.integers(0, 4)]
        items[user, : len(some)] = some
        places[user] = random.permutation(15)[:3]
    return Pins.of(items, places)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
@example(66)
@example(4271)
def test_lists_equal_those_of_a_plain_search(seed):
    random = np.random.default_rng(seed)
    explore, calibration = random.choice([0.0, 0.0, 0.6]), random.choice([0.0, 0.0, 0.4])
    query = asked(random, 5, explore=explore, rules=Rules(calibration=calibration))
    classes = random_classes(random) if random.random() < 0.9 else None
    allowed = random.choice([0, 1, 2])
    if allowed:
        given_ = random.random((5, N)) < 0.7
        tables = Histories.from_lists([np.flatnonzero(row) for row in given_], N)
        unlimited = None if allowed == 1 else random.random(5) < 0.3
        query = replace(query, allowed=given_[0] if allowed == 1 else tables, unlimited=unlimited)
    query = replace(query, classes=classes)
    if random.random() < 0.4:
        others = Histories.from_lists([random.permutation(N)[: random.integers(0, 9)] for _ in range(5)], N)
        query = replace(query, blocked=query.blocked.joined(others), seen=query.blocked)
    if random.random() < 0.5 and not allowed:
        query = replace(query, pins=random_pins(random, query))
    engine, n = ranker(int(random.choice([3, 8, N])), bool(random.random() < 0.5)), int(random.integers(1, 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ruling, "MORE", int(random.integers(-n + 1, 3)))
        numbers, scores = engine.rank(query, n)
    assert (np.isfinite(scores) == (numbers != ABSENT)).all()
    assert (scores[numbers == ABSENT] == -np.inf).all()
    for user in range(5):
        found = numbers[user][numbers[user] != ABSENT].tolist()
        assert found == Oracle(engine, query.take(np.array([user])), n).list()


@pytest.mark.parametrize("excluding", [False, True])
def test_what_is_pinned_moves_nothing_else(excluding):
    """The second stage compares the pinned items too, as it does what is excluded."""
    random = np.random.default_rng(0)
    query, engine = asked(random, 30), ranker(6, True)
    order, _ = engine.rank(query, N)
    left = order[:, :15]
    if excluding:
        gone = Histories.from_lists(list(order[:, [1]]), N)
        query = replace(query, blocked=query.blocked.joined(gone), seen=query.blocked)
        left = np.delete(left, 1, axis=1)
    pinned = left[:, [3]]
    numbers, scores = engine.rank(replace(query, pins=Pins.of(pinned, np.full((30, 1), 8))), 10)
    wanted = np.insert(np.delete(left, 3, axis=1), 8, pinned[:, 0], axis=1)
    np.testing.assert_array_equal(numbers, wanted[:, :10])
    np.testing.assert_allclose(scores[:, 8], engine.scores(query, pinned)[:, 0], rtol=1e-6)


def test_what_only_fills_a_minimum_is_not_taken_for_the_best():
    """After a minimum is filled by one item that counts twice, the next place is open to the whole catalogue again."""
    query = asked(np.random.default_rng(0), 1)
    order = ranker(3, False).rank(query, 35)[0][0]
    members = np.zeros((N, 3), bool)
    members[order[:5], 0] = True
    members[order[20], 1:] = members[order[30], 1] = True
    classes = Classes(members, np.array([2, N, N]), np.array([0, 1, 1]))
    numbers, _ = ranker(3, False).rank(replace(query, classes=classes), 4)
    assert numbers[0].tolist() == order[[0, 1, 20, 5]].tolist()


def test_scores_stay_relevance_and_descend_without_pins():
    random = np.random.default_rng(3)
    query = replace(asked(random, 20), classes=random_classes(np.random.default_rng(1)))
    query = replace(query, classes=replace(query.classes, least=np.zeros_like(query.classes.least)))
    plain = ranker(8, True).rank(query=replace(query, classes=None), n=N)
    numbers, scores = ranker(8, True).rank(query, 10)
    for user in range(20):
        told = dict(zip(plain[0][user].tolist(), plain[1][user].tolist(), strict=True))
        found = numbers[user] != ABSENT
        np.testing.assert_allclose(scores[user][found], [told[item] for item in numbers[user][found]], atol=1e-5)
        assert (np.diff(scores[user][found]) <= 1e-6).all()


def test_a_longer_list_begins_with_the_shorter_unless_there_is_a_minimum():
    random = np.random.default_rng(5)
    query = asked(random, 20, explore=0.5, rules=Rules(calibration=0.3))
    classes = random_classes(np.random.default_rng(2))
    query = replace(query, classes=replace(classes, least=np.zeros_like(classes.least)))
    query = replace(query, pins=random_pins(random, query))
    long, _ = ranker(8, False).rank(query, 30)
    for n in (0, 1, 5, 8, 9, 20):
        np.testing.assert_array_equal(ranker(8, False).rank(query, n)[0], long[:, :n])


@given(hnp.arrays(np.bool_, st.tuples(st.integers(0, 4), st.integers(1, 130))))
def test_packed_flags_are_bits(flags):
    words = limits.packed(flags)
    assert words.dtype == np.uint64
    assert words.shape == (len(flags), -(-flags.shape[1] // 64))
    for row, told in zip(words.tolist(), flags, strict=True):
        assert sum(word << (64 * place) for place, word in enumerate(row)) == sum(
            1 << bit for bit in np.flatnonzero(told).tolist()
        )


@given(st.lists(st.lists(st.none() | st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=5), st.data())
def test_pins_stand_by_their_places_and_those_that_are_none_last(rows, data):
    places = np.array([data.draw(st.permutations(range(3))) for _ in rows])
    items = np.array([[ABSENT if one is None else one for one in row] for row in rows])
    pins = Pins.of(items, places)
    for user, row in enumerate(items):
        wanted = sorted((place, item) for place, item in zip(places[user], row, strict=True) if item != ABSENT)
        assert pins.items[user].tolist() == [item for _, item in wanted] + [ABSENT] * (3 - len(wanted))
        assert pins.places[user][: len(wanted)].tolist() == [place for place, _ in wanted]
    table = pins.table(10)
    assert [table.of(user).tolist() for user in range(len(rows))] == [row[row != ABSENT].tolist() for row in pins.items]


def test_only_the_classes_with_a_minimum_are_wanted():
    classes = Classes(np.zeros((2, 4), bool), np.array([9, 9, 9, 9]), np.array([0, 2, 0, 1]))
    assert classes.wanted.tolist() == [1, 3]


def test_a_minimum_leaves_room_for_the_pinned_item_to_come():
    query = asked(np.random.default_rng(0), 1)
    order = ranker(N, False).rank(query, 30)[0][0]
    members = np.zeros((N, 1), bool)
    members[order[[20, 21]]] = True
    classes = Classes(members, np.array([N]), np.array([2]))
    pins = Pins.of(order[[[10]]], np.array([[2]]))
    numbers, _ = ranker(N, False).rank(replace(query, classes=classes, pins=pins), 3)
    assert numbers[0].tolist() == order[[20, 21, 10]].tolist()


def test_flags_of_any_shape_are_packed_by_their_last_axis():
    flags = np.random.default_rng(0).random((2, 3, 70)) < 0.5
    for some in (flags, flags[0], flags[0, 0]):
        assert limits.packed(some).shape == (*some.shape[:-1], 2)
    np.testing.assert_array_equal(limits.packed(flags)[1, 2], limits.packed(flags[1, 2]))


def test_a_candidate_that_is_found_again_stands_once_and_by_what_is_known_now():
    """Of three users the second gets more: items 7 (there already, only as a help) and 3, beside the pinned item 9."""
    numbers = np.array([[5, 7, 8, 9]] * 3)
    relevance = np.array([[3.0, 1.0, 0.5, 0.1]] * 3)
    general = np.array([[True, False, True, True]] * 3)
    nobody = np.zeros(3, bool)
    pool = Pool(numbers, relevance, general, head=1, n_pins=1, whole=nobody, helped=nobody)
    rows, found = np.array([1]), np.array([[7, 3, ABSENT]])
    wider = ruling.extended(pool, rows, found, np.array([[1.0, 0.5, -np.inf]]), general=True, whole=np.array([True]))
    for user, wanted in enumerate([[5, 7, 8, 9], [5, 7, 3, 8, 9], [5, 7, 8, 9]]):
        assert wider.numbers[user][wider.numbers[user] != ABSENT].tolist() == wanted
        assert wider.numbers[user, -1] == 9
        known = dict(zip(wider.numbers[user].tolist(), wider.general[user].tolist(), strict=True))
        assert known[7] == (user == 1)
    assert wider.relevance[1][wider.numbers[1] == ABSENT].tolist() == [-np.inf] * (wider.numbers.shape[1] - 5)
    assert wider.whole.tolist() == [False, True, False]
    assert not wider.helped.any()
    helped = ruling.extended(pool, rows, found, np.array([[1.0, 0.5, -np.inf]]), general=False, whole=np.array([True]))
    assert helped.helped.tolist() == [False, True, False]
    assert not helped.whole.any()
    assert not helped.general[1][helped.numbers[1] == 3].any()

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

from hostile import sealed
from untrained import Shape, untrained

import recgan
from recgan import artifact
from recgan.errors import ArtifactError, ConfigError, DataError
from recgan.histories import Histories
from recgan.index import NearIndex, index_bytes
from recgan.ranking import Query, Ranker, choosing, near
from recgan.ranking.near import Near, Search, depths

CELLS = ("ivf-pq", "ivf")
KINDS = (*CELLS, "hnsw")


@pytest.fixture(scope="module", params=["dense", "sparse", "factors"])
def exact(request):
    return untrained(Shape(3000, 80, 16, linear=request.param, judge=request.param == "dense", history=20))


@pytest.fixture(scope="module", params=KINDS)
def model(request, exact):
    return exact.with_search(request.param, recall=0.9)


def ids(frame):
    return frame["item_id"].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", [0.3, 0.9, 0.99])
def test_the_recall_that_is_told_is_that_of_brute_force(kind, wanted):
    random = np.random.default_rng(0)
    columns = random.standard_normal((2000, 12)).astype(np.float32)
    queries = random.standard_normal((90, 12)).astype(np.float32) * np.float32([9.0] * 6 + [0.01] * 6)
    found = Near.built(columns, queries, Search(kind, wanted), kind, 20)
    best = np.argsort(-(queries.astype(np.float64) @ columns.T.astype(np.float64)), axis=1, kind="stable")[:, :20]
    numbers, rough = (
        one.search(queries, 20)[1] for one in (found, dataclasses.replace(found, effort=found.effort // 2))
    )
    hits = [len(set(some) & set(right)) / 20 for some, right in zip(numbers.tolist(), best.tolist(), strict=True)]
    assert found.measured["recall"] == pytest.approx(np.mean(hits[1::2]), abs=1e-4)
    assert np.mean(hits[::2]) >= wanted
    assert found.measured["users"] == 45
    if 1 < found.effort < found.index.most:
        lazy = zip(rough[::2].tolist(), best[::2].tolist(), strict=True)
        fewer = [len(set(some) & set(right)) / 20 for some, right in lazy]
        assert np.mean(fewer) - near.ONE_SIDED * np.std(fewer) / np.sqrt(45) < wanted


def test_shares_and_what_they_surely_reach():
    exact, found = np.array([[1, 2], [3, -1], [-1, -1]]), np.array([[2, 9], [-1, 3], [-1, -1]])
    assert near.shares(found, exact).tolist() == [0.5, 1.0]
    assert near.surely(np.array([0.9] * 8)) == pytest.approx(0.9)
    random = np.random.default_rng(0)
    below = [near.surely(random.binomial(10, 0.8, 100) / 10) < 0.8 for _ in range(2000)]
    assert np.mean(below) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_finds_no_item_twice_and_says_where_it_found_none(kind):
    vectors = np.random.default_rng(0).standard_normal((500, 6)).astype(np.float32)
    index = NearIndex(vectors, kind)
    scores, numbers = index.search(vectors[:20], 300, 1)
    for row, some in zip(numbers.tolist(), scores, strict=True):
        there = [one for one in row if one >= 0]
        assert len(set(there)) == len(there)
        assert np.isneginf(some[len(there) :]).all()
        assert (np.diff(some[: len(there)]) <= 0).all()
    assert len(index) == 500
    with pytest.raises(DataError, match="query"):
        index.search(np.full((1, 6), np.nan, np.float32), 1, 1)
    with pytest.raises(DataError, match="first at number 0"):
        NearIndex(np.full((3, 6), np.inf, np.float32), kind)


def test_all_cells_are_the_exact_lists_to_the_bit(exact):
    model = exact.with_search("ivf", recall=1.0)
    assert model.info()["search"]["recall"] == 1.0
    model._ranker.near = dataclasses.replace(model._ranker.near, effort=10**6)
    for options in ({}, {"filter_seen": False}, {"exclude": list(range(0, 3000, 7))}, {"explore": 0.4}):
        one, other = model.recommend_batch(n=30, **options), exact.recommend_batch(n=30, **options)
        assert ids(one) == ids(other)
        np.testing.assert_allclose(one["score"], other["score"], rtol=1e-6)


def test_lists_are_full_and_filtered(model, exact):
    out = set(ids(exact.recommend_batch(n=60)))
    rules = {"max_per_category": {"taste 1": 1}}
    asked = ({}, {"exclude": sorted(out)}, {"exclude": list(range(2985))}, {"items": sorted(out)}, {"rules": rules})
    for options in asked:
        lists, right = model.recommend_batch(n=40, **options), exact.recommend_batch(n=40, **options)
        assert lists.groupby("user_id").size().equals(right.groupby("user_id").size())
        assert not lists.duplicated(["user_id", "item_id"]).any()
        assert not set(ids(lists)) & set(options.get("exclude", []))
        seen = {user: set(model._histories.of(user).tolist()) for user in range(80)}
        assert not any(one.item_id in seen[one.user_id] for one in lists.itertuples())
    assert ids(model.recommend_batch(n=40, items=sorted(out))) == ids(exact.recommend_batch(n=40, items=sorted(out)))
    everything = model.recommend(3, n=5000)
    assert len(everything) == 3000 - len(set(model._histories.of(3).tolist()))


def test_most_of_a_list_is_that_of_the_exact_search(model, exact):
    lists, right = model.recommend_batch(n=10), exact.recommend_batch(n=10)
    pairs = set(zip(lists["user_id"], lists["item_id"], strict=True))
    shared = pairs & set(zip(right["user_id"], right["item_id"], strict=True))
    assert len(shared) / len(right) > 0.85


def test_a_list_does_not_hang_on_who_else_is_asked_for(model):
    many = model.recommend_batch(n=10, exclude={5: list(range(700))})
    for user in (0, 5, 79):
        one = model.recommend(user, 10, exclude=list(range(700)) if user == 5 else None)
        assert ids(one) == ids(many[many["user_id"] == user])


def best(model) -> int:
    """Candidates on which a search is measured: more where the second stage re-orders them."""
    return 200 if model._ranker.blocks.weights.discriminator else 100


def test_the_exact_model_stays_exact_and_a_file_holds_the_search(model, exact, tmp_path):
    assert "search" not in exact.info()
    told = model.info()["search"]
    assert set(told) == {"kind", "recall", "asked", "k", "users", "effort", "deeper", "memory", "seconds"}
    assert told["k"] == best(exact)
    model.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    assert loaded.info()["search"] == told
    pd.testing.assert_frame_equal(loaded.recommend_batch(n=20), model.recommend_batch(n=20))
    assert model.remove_users([3]).info()["search"] == told


def test_built_twice_it_is_the_same(exact):
    for kind in KINDS:
        first, second = exact.with_search(kind, 0.8), exact.with_search(kind, 0.8)
        assert first.recommend_batch(n=20).equals(second.recommend_batch(n=20))


def test_what_cannot_be_had_is_told(exact, monkeypatch):
    with pytest.raises(ConfigError, match="'auto', 'ivf-pq', 'ivf', 'hnsw' or None, not 'flat'"):
        exact.with_search("flat")
    for bad in (0, 1.5, True, "much", float("nan")):
        with pytest.raises(ConfigError, match="recall: a number above 0"):
            exact.with_search("ivf", bad)
    with pytest.raises(ConfigError, match="at least two users"):
        exact.remove_users(list(range(1, 80))).with_search("ivf")
    monkeypatch.setattr(near, "shares", lambda found, best: np.full(len(found), 0.5))
    wanted = rf"'hnsw' finds 0.500 of the {best(exact)} best candidates at most, 0.9 are asked for"
    with pytest.raises(ConfigError, match=wanted):
        exact.with_search("hnsw", 0.9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=1))
def test_depths_are_powers_of_two_that_suffice(needed):
    found = depths(np.array(needed))
    assert (found >= needed).all()
    assert (found < 2 * np.array(needed)).all()
    assert all(one & (one - 1) == 0 for one in found.tolist())


@pytest.mark.parametrize(("n_users", "most", "wanted"), [(9, 5, [0, 2, 4, 6, 8]), (9, 20, range(9)), (1, 5, [0])])
def test_it_is_measured_on_users_from_all_over_the_histories(exact, monkeypatch, n_users, most, wanted):
    """Of those who have one; how many are read at once changes nothing."""
    blocks, random, kept = exact._ranker.blocks, np.random.default_rng(0), []
    lists = [random.permutation(3000)[:15] for _ in range(n_users)]
    empty = np.empty(0, np.int64)
    histories = Histories.from_lists([part for one in lists for part in (empty, one, empty)], 3000)
    monkeypatch.setattr(choosing, "MEASURED_ON", most)
    monkeypatch.setattr(choosing, "AT_ONCE", 2)
    monkeypatch.setattr(Near, "built", classmethod(lambda cls, *asked: kept.append(asked)))
    asked = Search("ivf", 0.7)
    choosing.chosen(blocks, histories, asked, 13)
    part = Histories.from_lists([lists[user] for user in wanted], 3000)
    query = Query(part, part, np.empty((len(part), 0), np.float32))
    queries = blocks.queries(query, blocks.wanted(query, blocks.conditions(part)))
    assert kept[0][0] is blocks.columns
    np.testing.assert_allclose(kept[0][1], queries, rtol=1e-4, atol=1e-5)
    assert kept[0][2:] == (asked, "ivf", 13)


def asked(n_users: int, n_items: int, blocked: list[int] | None = None) -> Query:
    """Users with a short history, of whom each may not get so many items, with number nought first."""
    histories = Histories.from_lists([np.array([user]) for user in range(n_users)], n_items)
    out = Histories.from_lists([np.arange(n) for n in blocked or [0] * n_users], n_items)
    return Query(histories, out, np.zeros((n_users, 0), np.float32))


@pytest.fixture(scope="module")
def small():
    """The parts of stage one for 128 items, and an approximate search of them."""
    blocks = untrained(Shape(128, 8, 8, linear="dense", history=5))._ranker.blocks
    return blocks, Near.built(
        blocks.columns, np.eye(blocks.columns.shape[1], dtype=np.float32), Search("ivf"), "ivf", 5
    )


def test_it_is_asked_for_an_eighth_of_the_catalogue_and_no_more(small, monkeypatch):
    """Of 128 items 16; depths are powers of two. For more, or with more that may not be listed, all are scored."""
    (blocks, found), search, searched = small, Near.search, []
    monkeypatch.setattr(Near, "search", lambda *some: searched.append((len(some[1]), some[2])) or search(*some))
    for n, blocked, told in ((16, [0] * 4, [(4, 16)]), (17, [0] * 4, []), (8, [0, 9, 3, 0], [(2, 8), (1, 16)])):
        searched.clear()
        query = asked(4, 128, blocked)
        numbers, _ = Ranker(blocks, None, 1, found).rank(query, n)
        assert searched == told
        assert not query.blocked.holds(numbers).any()
        assert (numbers >= 0).all()


def test_what_it_finds_stays_where_it_is_enough_and_has_the_scores_of_the_catalogue(small, monkeypatch):
    """Every user by the own depth; who gets too little is answered exactly, who may get nothing gets nothing."""
    blocks, found = small
    worst = np.argsort(blocks.columns @ np.ones(blocks.columns.shape[1], np.float32), kind="stable")

    def search(self, queries, k):
        few = np.where(np.arange(k) < (k if k > 8 else 3), worst[:k], -1)
        scores = np.where(few < 0, np.float32(-np.inf), np.float32(0.0))
        return np.tile(scores, (len(queries), 1)), np.tile(few, (len(queries), 1))

    monkeypatch.setattr(Near, "search", search)
    query, n = asked(4, 128, [0, 6, 128, 7]), 5
    ranker = Ranker(blocks, None, 1, found)
    wanted = blocks.wanted(query, blocks.conditions(query.histories))
    numbers, scores = ranker.candidates(query, wanted, n)
    plain = Ranker(blocks, None, 1).candidates(query, wanted, n)
    for user in (0, 2):
        np.testing.assert_array_equal(numbers[user], plain[0][user])
        np.testing.assert_allclose(scores[user], plain[1][user], rtol=1e-5)
    assert np.isneginf(scores[2]).all()
    told = ranker.catalogue.scores(blocks.queries(query, wanted), np.tile(worst[:16], (4, 1)))
    for user in (1, 3):
        left = {
            item: score
            for item, score in zip(worst[:16], told[user], strict=True)
            if item >= query.blocked.lengths[user]
        }
        best = sorted(left, key=lambda item: (-left[item], item))[:n]
        assert numbers[user].tolist() == best
        assert scores[user].tolist() == [left[item] for item in best]


def test_without_anybody_who_has_a_history_it_is_told(exact):
    nobody = Histories.from_lists([np.empty(0, np.int64)] * 3, 3000)
    with pytest.raises(ConfigError, match="at least two users with a history"):
        choosing.chosen(exact._ranker.blocks, nobody, Search("ivf"), 5)


@pytest.mark.parametrize("largest", [2.0, 0.0])
def test_columns_are_scaled_by_how_much_queries_use_them(largest):
    """By the root mean square; a column that is hardly used by a thousandth of the largest."""
    columns = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    queries = np.array([[0.0, 1e-9, largest], [0.0, 0.0, -largest], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    found = Near.built(columns, queries, Search("ivf"), "ivf", 5)
    used = largest / 2**0.5
    wanted = [1e-3 * used, 1e-3 * used, used] if largest else [5e-10 * 1e-3, 5e-10, 5e-10 * 1e-3]
    np.testing.assert_allclose(found.index.scale, wanted, rtol=1e-5)


def test_what_is_as_near_as_asked_is_searched_no_further_and_told_in_short(monkeypatch):
    """With the least effort where it reaches exactly what is asked; the recall with four digits, the time with one."""
    random = np.random.default_rng(0)
    columns, queries = (random.standard_normal((n, 6)).astype(np.float32) for n in (400, 10))
    times = iter([5.0, 6.26])
    monkeypatch.setattr(near.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(near, "shares", lambda found, best: np.full(len(found), 2 / 3))
    found = Near.built(columns, queries, Search("ivf", 2 / 3), "ivf", 5)
    assert found.index.most > found.effort == 1
    assert found.measured == {
        "kind": "ivf", "recall": 0.6667, "asked": 2 / 3, "k": 5, "users": 5, "effort": 1, "deeper": 1,
        "memory": round(index_bytes("ivf", 400, 6) / 2**20, 1), "seconds": 1.3
    }  # fmt: skip


def test_the_share_that_is_found_is_the_mean_over_the_users_who_have_any():
    found = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 1, 2]])
    exact = np.array([[3, 2, 1], [4, 9, -1], [7, 0, 1], [-1, -1, -1]])
    assert near.shares(found, exact).mean() == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert near.shares(found[3:], exact[3:]).tolist() == [1.0]
    assert near.shares(np.full((1, 3), -1), exact[:1]).tolist() == [0.0]


@pytest.fixture
def from_one(monkeypatch):
    """Catalogues of any size are large."""
    monkeypatch.setattr(choosing, "SMALL", 0)


def search_of(model):
    return model.info()["search"]


def test_auto_takes_the_first_that_fits_and_comes_near(exact, from_one):
    size = {kind: index_bytes(kind, *exact._ranker.blocks.columns.shape) / 2**20 for kind in CELLS}
    between = (size["ivf-pq"] + size["ivf"]) / 2
    taken = {memory: search_of(exact.with_search("auto", 0.8, memory)) for memory in (None, 1e6, between, 1e-3)}
    assert [one["kind"] for one in taken.values()] == ["ivf-pq", "ivf-pq", "ivf-pq", "exact"]
    assert taken[None]["memory"] == pytest.approx(size["ivf-pq"], abs=0.06)
    assert taken[1e-3] == {"kind": "exact", "recall": 1.0, "asked": 0.8, "memory": 0.0, "seconds": 0.0}
    assert all(one["recall"] >= 0.78 for one in taken.values())


def test_auto_goes_on_where_the_first_does_not_come_near(exact, from_one, monkeypatch):
    built, tried, unable = Near.built.__func__, [], []

    def failing(cls, columns, queries, asked, kind, k):
        tried.append(kind)
        if kind in unable:
            raise ConfigError("not near")
        return built(cls, columns, queries, asked, kind, k)

    monkeypatch.setattr(Near, "built", classmethod(failing))
    for some, told in ((["ivf-pq"], "ivf"), (CELLS, "exact")):
        tried.clear()
        unable[:] = some
        assert search_of(exact.with_search("auto", 0.8))["kind"] == told
        assert tried == list(CELLS)
    unable[:] = ["ivf-pq"]
    few = 1.01 * index_bytes("ivf-pq", *exact._ranker.blocks.columns.shape) / 2**20
    assert search_of(exact.with_search("auto", 0.8, few))["kind"] == "exact"  # ivf would take more


def test_auto_is_exact_for_few_items_or_users_and_says_so(exact, from_one, monkeypatch, tmp_path):
    assert search_of(exact.remove_users(list(range(1, 80))).with_search("auto"))["kind"] == "exact"
    monkeypatch.setattr(choosing, "SMALL", 3000)
    model = exact.with_search("auto", 0.9)
    assert search_of(model)["kind"] == "exact"
    assert model.recommend_batch(n=20).equals(exact.recommend_batch(n=20))
    model.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    assert search_of(loaded) == search_of(model)
    assert not (tmp_path / "model" / "search.safetensors").exists()
    assert "search" not in loaded.with_search(None).info()
    monkeypatch.setattr(choosing, "SMALL", 2999)
    assert search_of(exact.with_search("auto", 0.9))["kind"] == "ivf-pq"


def test_an_index_that_takes_more_than_there_is_is_refused(exact):
    with pytest.raises(ConfigError, match=r"'ivf' takes \d\.\d MiB here, memory allows for 0\.01"):
        exact.with_search("ivf", memory=0.01)
    for bad in (0, -1, True, "much", float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="memory: MiB"):
            exact.with_search("ivf", memory=bad)


def test_who_has_had_most_of_what_is_found_gets_a_full_list(model, exact):
    """And so does who may have a few items only, everybody others."""
    top = exact.recommend_batch(n=300).groupby("user_id")["item_id"].apply(list)
    most = {user: top[user][: 290 - user] for user in range(0, 80, 4)}
    lists, right = (one.recommend_batch(n=25, exclude=most) for one in (model, exact))
    assert (lists.groupby("user_id").size() == 25).all()
    for user, gone in most.items():
        own = lists[lists["user_id"] == user]["item_id"]
        assert not set(own) & set(gone)
    shared = set(zip(lists["user_id"], lists["item_id"], strict=True))
    shared &= set(zip(right["user_id"], right["item_id"], strict=True))
    assert len(shared) / len(right) > 0.8
    few = {user: top[user][user : user + 30 : 2] for user in range(0, 80, 3)}
    lists, right = (one.recommend_batch(n=12, items=few) for one in (model, exact))
    allowed = lists[lists["user_id"].isin(list(few))]
    assert all(one.item_id in few[one.user_id] for one in allowed.itertuples())
    assert ids(lists) == ids(right)


def full(model):
    """The same with all cells looked into."""
    near = model._ranker.near
    model._ranker.near = dataclasses.replace(near, effort=near.index.most)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_items_go_without_a_new_index_where_there_are_cells(exact, kind, monkeypatch):
    model = exact.with_search(kind, 0.9)
    built, made = Near.built.__func__, []
    monkeypatch.setattr(Near, "built", classmethod(lambda cls, *asked: made.append(asked) or built(cls, *asked)))
    gone = list(range(0, 3000, 11))
    before = model.recommend_batch(n=20)
    less, right = model.remove_items(gone), exact.remove_items(gone)
    assert len(made) == (kind == "hnsw")
    assert search_of(less)["recall"] >= 0.9
    assert len(less._ranker.near.index) == 3000 - len(gone)
    assert not set(ids(less.recommend_batch(n=100))) & set(gone)
    assert model.recommend_batch(n=20).equals(before)
    if kind == "ivf":
        assert ids(full(less).recommend_batch(n=30)) == ids(right.recommend_batch(n=30))
    pairs = [
        set(zip(one["user_id"], one["item_id"], strict=True))
        for one in (less.recommend_batch(n=10), right.recommend_batch(n=10))
    ]
    assert len(pairs[0] & pairs[1]) / len(pairs[1]) > 0.85


def test_a_change_that_the_cells_cannot_bear_builds_them_anew(exact, monkeypatch):
    model = exact.with_search("ivf", 0.9)
    built, made = Near.built.__func__, []
    monkeypatch.setattr(Near, "built", classmethod(lambda cls, *asked: made.append(asked) or built(cls, *asked)))
    same = choosing.same
    for known, anew in ((1250, False), (1249, True)):  # of 2,500
        monkeypatch.setattr(choosing, "same", lambda *some, n=known: np.where(np.arange(2500) < n, same(*some), -1))
        less = model.remove_items(list(range(500)))
        assert len(less._ranker.near.index) == 2500
        assert [one[2:4] for one in made] == [(Search("ivf", 0.9), "ivf")] * anew
        assert search_of(less)["recall"] >= 0.85
    made.clear()
    monkeypatch.setattr(choosing, "same", same)
    share, calls = near.shares, []
    monkeypatch.setattr(near, "shares", lambda *some: calls.append(1) or share(*some) * (0.5 if len(calls) == 1 else 1))
    assert search_of(model.remove_items([5]))["recall"] >= 0.85
    assert len(made) == 1  # for it had found less than was asked


def test_a_vector_that_has_changed_is_another_one():
    random = np.random.default_rng(0)
    before = random.standard_normal((6, 3)).astype(np.float32)
    after = before[[5, 0, 1, 2, 3]]
    after[2, 1] += 1e-3
    origin = np.array([5, 0, 1, -1, 3])
    assert choosing.same(before, after, origin).tolist() == [5, 0, -1, -1, 3]
    wider = np.pad(after, ((0, 0), (0, 1)))
    wider[1, 3] = 1.0
    assert choosing.same(before, wider, origin).tolist() == [5, -1, -1, -1, 3]
    assert choosing.same(wider, after, np.arange(5)).tolist() == [-1] * 5
    assert choosing.same(before, after[:0], origin[:0]).tolist() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_search_is_read_and_a_changed_byte_of_it_refused(exact, kind, tmp_path):
    model = exact.with_search(kind, 0.9)
    model.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    assert search_of(loaded) == search_of(model)
    pd.testing.assert_frame_equal(loaded.recommend_batch(n=30), model.recommend_batch(n=30))
    loaded.save(tmp_path / "again")
    place = tmp_path / "model" / "search.safetensors"
    whole = place.read_bytes()
    assert (tmp_path / "again" / "search.safetensors").read_bytes() == whole
    for at in (3, len(whole) // 2, len(whole) - 1):
        place.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ArtifactError, match=r"search\.safetensors: does not match its SHA-256"):
            recgan.Recommender.load(tmp_path / "model")
    place.unlink()
    with pytest.raises(ArtifactError, match=r"search\.safetensors: is missing"):
        recgan.Recommender.load(tmp_path / "model")


def test_a_search_that_was_sealed_with_other_arrays_or_facts_is_refused(exact, tmp_path):
    exact.with_search("ivf-pq", 0.9).save(tmp_path / "model")
    arrays = artifact.load_arrays(tmp_path / "model" / "search.safetensors")
    for name, array in arrays.items():
        with np.errstate(over="ignore"):
            halves = array.astype(np.float16)
        for harmed in ({name: array[:-1]}, {name: halves}, {}):
            rest = {other: value for other, value in arrays.items() if other != name}
            artifact.save_arrays(tmp_path / "model" / "search.safetensors", {**rest, **harmed})
            sealed(tmp_path / "model")
            with pytest.raises(ArtifactError, match=r"search\.safetensors"):
                recgan.Recommender.load(tmp_path / "model")
    artifact.save_arrays(tmp_path / "model" / "search.safetensors", arrays)
    for change in (
        {"effort": 0},
        {"effort": 10**6},
        {"effort": 2.0},
        {"deeper": 0},
        {"deeper": 10**9},
        {"deeper": 4.0},
        {"kind": "other"},
        {"kind": []},
    ):
        sealed(tmp_path / "model", lambda facts, change=change: facts["search"]["measured"].update(change))
        with pytest.raises(ArtifactError):
            recgan.Recommender.load(tmp_path / "model")
        sealed(tmp_path / "model", lambda facts: facts["search"]["measured"].update(kind="ivf-pq", effort=4, deeper=4))
    recgan.Recommender.load(tmp_path / "model")
    sealed(tmp_path / "model", lambda facts: facts["files"].pop("search.safetensors"))
    (tmp_path / "model" / "search.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"search\.safetensors"):
        recgan.Recommender.load(tmp_path / "model")


def test_more_are_scored_where_more_cells_are_in_vain(monkeypatch):
    """And no more than are needed; what is told is what brute force says of the search that is kept."""
    random = np.random.default_rng(0)
    columns, queries = (random.standard_normal((n, 12)).astype(np.float32) for n in (2000, 90))
    best = np.argsort(-(queries @ columns.T), axis=1, kind="stable")[:, :20]
    monkeypatch.setattr(near, "DEEPER", {"ivf-pq": (1, 16, 64)})
    found = Near.built(columns, queries, Search("ivf-pq", 0.95), "ivf-pq", 20)
    assert found.deeper == found.measured["deeper"] == 16
    numbers = found.search(queries, 20)[1]
    assert numbers.shape == (90, 320)
    hits = [np.isin(right, some).mean() for right, some in zip(best, numbers, strict=True)]
    assert found.measured["recall"] == pytest.approx(np.mean(hits[1::2]), abs=1e-4)
    assert np.mean(hits[::2]) >= 0.95
    assert Near.built(columns, queries, Search("ivf-pq", 0.1), "ivf-pq", 20).deeper == 1

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan.errors import DataError
from recgan.index import ItemIndex, NearIndex, Place, index_bytes, refilling

CELLS = ("ivf-pq", "ivf")


@pytest.mark.parametrize("norm", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("k", [1, 7, 500])
def test_search_equals_brute_force_for_queries_of_any_norm(norm, k):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(300, 12)).astype(np.float32) * random.uniform(0.1, 5, (300, 1)).astype(np.float32)
    queries = (norm * random.normal(size=(40, 12))).astype(np.float32)
    scores, numbers = ItemIndex(vectors).search(queries, k)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_allclose(scores, np.take_along_axis(exact, order, 1), rtol=1e-4, atol=1e-4 * norm)


def test_equal_scores_by_number_and_never_more_than_there_are():
    scores, numbers = ItemIndex(np.ones((4, 2), np.float32)).search(np.ones((1, 2), np.float32), 9)
    assert numbers.tolist() == [[0, 1, 2, 3]]
    assert scores.tolist() == [[2.0] * 4]


def test_what_is_not_a_number_is_refused():
    with pytest.raises(DataError, match="first at number 1"):
        ItemIndex(np.array([[0.0], [np.nan]], np.float32))
    with pytest.raises(DataError, match="query"):
        ItemIndex(np.ones((2, 1), np.float32)).search(np.array([[np.inf]], np.float32), 1)


def test_the_index_has_its_own_copy():
    vectors = np.eye(3, dtype=np.float32)
    index = ItemIndex(vectors)
    vectors[:] = 0
    assert index.search(np.array([[0, 1, 0]], np.float32), 1)[0].tolist() == [[1.0]]


def normal(n, width=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def best(vectors, queries, k):
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    return np.argsort(-exact, axis=1, kind="stable")[:, :k]


def same(one, other):
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


@pytest.mark.parametrize("width", [6, 17])
@pytest.mark.parametrize("n", [1, 9, 300, 3000])
def test_all_cells_of_whole_vectors_are_brute_force_and_those_of_codes_come_near(n, width):
    vectors, queries = normal(n, width), normal(20, width, seed=1) * np.float32(1e3)
    scale = np.linspace(0.1, 9.0, width).astype(np.float32)
    k = min(n, 10)
    wanted = best(vectors, queries, k)
    index = NearIndex(vectors, "ivf", scale)
    scores, numbers = index.search(queries, k, index.most)
    np.testing.assert_array_equal(numbers, wanted)
    np.testing.assert_allclose(scores, np.einsum("bq,bkq->bk", queries, vectors[numbers]), rtol=1e-3, atol=1e-1)
    if n == 1:
        return  # codes of one value tell nothing
    codes = NearIndex(vectors, "ivf-pq", scale)
    found = codes.search(queries, 8 * k, codes.most)[1]
    shares = [np.isin(right, some).mean() for right, some in zip(wanted, found, strict=True)]
    assert np.mean(shares) > (0.85 if n == 3000 else 0.95)


@pytest.mark.parametrize("kind", [*CELLS, "hnsw"])
def test_its_size_is_the_one_that_the_formula_tells(kind):
    for n, width in ((3000, 17), (20_000, 40)):
        told = len(faiss.serialize_index(NearIndex(normal(n, width), kind)._index)) + 8 * n
        assert index_bytes(kind, n, width) == pytest.approx(told, rel=0.08)


@pytest.mark.parametrize("kind", CELLS)
def test_items_come_and_go_in_the_cells_that_are_there(kind):
    vectors, queries = normal(3000), normal(30, seed=1)
    index = NearIndex(vectors, kind)
    before = index.search(queries, 40, index.most)
    kept = np.random.default_rng(2).permutation(3000)[:2500]
    origin = np.insert(kept, 700, [-1] * 400)
    changed_to = np.insert(vectors[kept], [700] * 400, normal(400, seed=3), axis=0)
    other = index.changed(changed_to, origin)
    assert len(other) == 2900
    assert same(index.search(queries, 40, index.most), before)
    np.testing.assert_array_equal(other.arrays()["middles"], index.arrays()["middles"])
    found, wanted = other.search(queries, 40, other.most)[1], best(changed_to, queries, 10)
    if kind == "ivf":
        np.testing.assert_array_equal(found[:, :10], wanted)
    anew = NearIndex(changed_to, kind).search(queries, 40, other.most)[1]
    shares = [
        np.mean([np.isin(right, some).mean() for right, some in zip(wanted, one, strict=True)]) for one in (found, anew)
    ]
    assert shares[0] > shares[1] - 0.03
    everything = np.sort(other.search(queries[:1], 2900, other.most)[1][0])
    np.testing.assert_array_equal(everything, np.arange(2900))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=4), st.sampled_from(CELLS))
def test_after_any_changes_it_holds_each_item_once(changes, kind):
    random = np.random.default_rng(7)
    vectors = normal(90)
    index = NearIndex(vectors, kind)
    for gone, more in changes:
        kept = random.permutation(len(vectors))[min(gone, len(vectors) - 1) :]
        order = random.permutation(len(kept) + more)
        origin = np.concatenate([kept, np.full(more, -1)])[order]
        vectors = np.concatenate([vectors[kept], random.standard_normal((more, 6)).astype(np.float32)])[order]
        index = index.changed(vectors, origin)
    queries = normal(3, seed=5)
    for some in (index, NearIndex.of(vectors, kind, index.arrays())):
        numbers = some.search(queries, len(vectors), some.most)[1]
        assert (np.sort(numbers, axis=1) == np.arange(len(vectors))).all()
        if kind == "ivf":
            np.testing.assert_array_equal(numbers, best(vectors, queries, len(vectors)))


def test_items_may_get_one_more_column_and_no_second_one():
    vectors = normal(200)
    index = NearIndex(vectors, "ivf")
    wider = np.concatenate([np.pad(vectors, ((0, 0), (0, 1))), np.full((1, 7), 0.5, np.float32)])
    queries = np.concatenate([normal(20, seed=1), np.full((20, 1), 9.0, np.float32)], axis=1)
    other = index.changed(wider, np.append(np.arange(200), -1))
    np.testing.assert_array_equal(other.search(queries, 30, other.most)[1], best(wider, queries, 30))
    again = NearIndex.of(wider, "ivf", other.arrays())
    assert same(again.search(queries, 30, 2), other.search(queries, 30, 2))
    with pytest.raises(ValueError, match="7 columns cannot take vectors of 8"):
        other.changed(np.pad(wider, ((0, 0), (0, 1))), np.arange(201))
    with pytest.raises(ValueError, match="hnsw index"):
        NearIndex(vectors, "hnsw").changed(vectors, np.arange(200))


@pytest.mark.parametrize("kind", [*CELLS, "hnsw"])
def test_what_its_arrays_make_is_the_same_index(kind):
    vectors, queries = normal(1500, 9), normal(30, 9, seed=1)
    index = NearIndex(vectors, kind, np.linspace(0.5, 2.0, 9).astype(np.float32))
    again = NearIndex.of(vectors, kind, index.arrays())
    assert (len(again), again.most, again.width) == (1500, index.most, 9)
    for effort in (1, 3, index.most):
        assert same(again.search(queries, 20, effort), index.search(queries, 20, effort))


@pytest.mark.parametrize("kind", CELLS)
def test_cells_that_were_kept_as_ids_and_codes_are_made_anew(kind):
    vectors, queries = normal(900), normal(9, seed=1)
    index = NearIndex(vectors, kind)
    before = {"scale": index.scale, "numbers": index.numbers, "ids": np.arange(900), "codes": np.zeros(9, np.uint8)}
    assert same(NearIndex.of(vectors, kind, before).search(queries, 9, 3), index.search(queries, 9, 3))


HARMS = {
    "scale": [lambda a: a[:-1], lambda a: -a, lambda a: np.full_like(a, np.nan), lambda a: a.astype(np.float64)],
    "numbers": [lambda a: a + 1, lambda a: np.where(a == 3, 4, a), lambda a: a.astype(np.int32)],
    "lists": [lambda a: a[:-1], lambda a: np.where(a == 3, 4, a), lambda a: a + 10**9, lambda a: a.astype(np.float64)],
    "sizes": [lambda a: a[:0], lambda a: -a, lambda a: a + 1, lambda a: a[None], lambda a: a + np.int64(2**62)],
    "middles": [lambda a: a[:-1], lambda a: a[:, :-3], lambda a: np.full_like(a, np.inf), lambda a: a[0]],
    "codebooks": [lambda a: a[:-1], lambda a: a[:, :-1], lambda a: np.full_like(a, np.nan)],
}


@pytest.mark.parametrize("name", HARMS)
def test_arrays_that_do_not_fit_are_refused(name):
    vectors = normal(900)
    arrays = NearIndex(vectors, "ivf-pq").arrays()
    assert set(arrays) == set(HARMS)
    for harm in HARMS[name]:
        with pytest.raises(ValueError, match="does not fit the others or the items"):
            NearIndex.of(vectors, "ivf-pq", {**arrays, name: harm(arrays[name])})
    with pytest.raises(ValueError, match="does not fit"):
        NearIndex.of(vectors[:-1], "ivf-pq", arrays)


def test_any_codes_are_searched_without_harm():
    """Whatever the bytes say, an item that is there is found: they are but steps of its columns."""
    vectors = normal(900)
    arrays = NearIndex(vectors, "ivf-pq").arrays()
    raw, random = arrays["lists"].view(np.uint8), np.random.default_rng(0)
    for _, codes, _ in refilling.Layout.of(arrays["sizes"], 7, packed=True).cells():
        raw[codes] = random.integers(0, 256, codes.stop - codes.start)
    index = NearIndex.of(vectors, "ivf-pq", arrays)
    assert np.sort(index.search(vectors[:1], 900, index.most)[1][0]).tolist() == list(range(900))


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("kind", CELLS)
def test_cells_are_searched_where_they_stand_in_a_file(kind, before, tmp_path):
    vectors, queries = normal(3000), normal(30, seed=1)
    index = NearIndex(vectors, kind).changed(vectors[1:], np.arange(1, 3000))
    arrays = index.arrays()
    path = tmp_path / "cells"
    path.write_bytes(b"\0" * 8 * before + arrays["lists"].tobytes())
    mapped = NearIndex.of(vectors[1:], kind, arrays, Place(path, 8 * before))
    assert isinstance(faiss.downcast_InvertedLists(mapped._index.invlists), faiss.OnDiskInvertedLists)
    for effort in (1, 3, index.most):
        assert same(mapped.search(queries, 40, effort), index.search(queries, 40, effort))
    for name, array in mapped.arrays().items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)
    fewer = [one.changed(vectors[500:], np.arange(499, 2999)) for one in (mapped, index)]
    assert same(*[one.search(queries, 40, index.most) for one in fewer])
    fewest = [one.changed(vectors[:600], np.append(np.full(500, -1), np.arange(100))) for one in fewer]
    assert same(*[one.search(queries, 40, index.most) for one in fewest])
    path.unlink()
    assert same(mapped.search(queries, 40, 3), index.search(queries, 40, 3))  # the name is gone, the bytes are not


def test_of_a_file_that_is_shorter_than_it_says_nothing_is_read(tmp_path):
    vectors = normal(900)
    arrays = NearIndex(vectors, "ivf").arrays()
    (tmp_path / "cells").write_bytes(arrays["lists"].tobytes()[:-8])
    with pytest.raises(ValueError, match="'lists' does not fit"):
        NearIndex.of(vectors, "ivf", arrays, Place(tmp_path / "cells", 0))

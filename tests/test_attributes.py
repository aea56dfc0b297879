"""Attributes are decoded where the vectors hold them, and left alone where they do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recgan.attributes import AttributeDecoder

GROUPS = ("Drama", "Western", "Horror", "Musical")
WORDS = ("love tears", "saddle canyon", "zombie blood", "dance melody")


def catalogue(n_items: int = 200, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Items of four groups in a space of eight dimensions; the fifth one is the year, no one is the price."""
    random = np.random.default_rng(seed)
    group = np.arange(n_items) % 4
    vectors = 0.25 * random.standard_normal((n_items, 8)) + 2.0 * np.eye(8)[group]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = [f"{WORDS[g]} part {'abcde'[random.integers(5)]}" for g in group]
    table = pd.DataFrame({"item_id": np.arange(n_items), "title": words})
    table["categories"] = [GROUPS[g] + ("|Old" if vectors[i, 4] < 0 else "") for i, g in enumerate(group)]
    table["year"] = 1980.0 + 100.0 * vectors[:, 4] + random.normal(0, 1, n_items)
    table["price"] = random.permutation(np.arange(n_items))
    return table, vectors.astype(np.float32)


@pytest.fixture(scope="module")
def decoder():
    return AttributeDecoder.fit(*catalogue())


def test_what_is_planted_is_decoded_for_vectors_never_seen(decoder):
    table, vectors = catalogue(seed=1)
    found = decoder.decode(vectors)
    assert found.columns.tolist() == ["categories", "year", "terms"]
    given = found["categories"].str.split("|").map(set)
    assert (given == table["categories"].str.split("|").map(set)).mean() > 0.85
    assert np.corrcoef(found["year"], table["year"])[0, 1] > 0.9
    expected = table["title"].str.split().str[:2].map(set)
    assert np.mean([words <= set(told.split()) for words, told in zip(expected, found["terms"], strict=True)]) > 0.9


def test_accuracy_is_that_on_items_held_out(decoder):
    table, vectors = catalogue(seed=1)
    told = decoder.accuracy
    assert told["year"]["metric"] == "r2"
    assert told["categories"]["metric"] == "average precision"
    wrong = decoder.decode(vectors)["year"] - table["year"]
    assert told["year"]["value"] == pytest.approx(1.0 - wrong.var() / table["year"].var(), abs=0.1)
    assert told["categories"]["value"] > 0.9 > 0.6 > told["categories"]["shuffled"]
    assert {name for name, one in told.items() if one["used"]} == {"categories", "year", "terms"}
    assert told["price"]["value"] < 0.1
    assert {one["method"] for one in told.values()} <= {"linear", "neighbours"}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_decoded_where_attributes_are_dealt_at_random(seed):
    table, vectors = catalogue(seed=seed)
    decoder = AttributeDecoder.fit(table, np.random.default_rng(seed).permutation(vectors))
    assert not any(one["used"] for one in decoder.accuracy.values())
    found = decoder.decode(vectors)
    assert found.columns.tolist() == ["categories"]
    assert (found["categories"] == "").all()


def test_numbers_stay_in_the_range_of_the_items(decoder):
    table, _ = catalogue()
    far = np.eye(8, dtype=np.float32)[[4]]
    assert decoder.decode(np.concatenate([far, -far]))["year"].between(table["year"].min(), table["year"].max()).all()


def test_no_vector_gives_the_columns_of_some(decoder):
    _, vectors = catalogue()
    empty = decoder.decode(vectors[:0])
    assert empty.empty
    assert empty.dtypes.equals(decoder.decode(vectors[:2]).dtypes)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table[["item_id"]],
        lambda table: table[["item_id"]].assign(categories="", year=np.nan, title=None),
        lambda table: table.assign(categories="Drama", year=1999.0, title="the", price=3)[:200],
    ],
    ids=["only ids", "all unknown", "all alike"],
)
def test_catalogues_without_attributes(change):
    table, vectors = catalogue()
    decoder = AttributeDecoder.fit(change(table), vectors)
    assert decoder.accuracy == {}
    assert decoder.decode(vectors[:3])["categories"].tolist() == ["", "", ""]


def test_items_without_an_attribute_do_not_count():
    table, vectors = catalogue()
    table.loc[::2, "year"] = np.nan
    table.loc[1::2, "categories"] = ""
    told = AttributeDecoder.fit(table, vectors).accuracy
    assert (told["year"]["n_items"], told["categories"]["n_items"]) == (100, 100)
    assert (told["year"]["used"], told["categories"]["used"]) == (True, True)


def test_few_items_are_too_few():
    table, vectors = catalogue(n_items=16)
    assert AttributeDecoder.fit(table, vectors).accuracy == {}


def test_columns_of_lists_and_odd_names_are_let_be():
    table, vectors = catalogue()
    table["embedding"] = [[1.0, 2.0]] * len(table)
    table["terms"] = np.arange(len(table))
    table["rank"] = table["year"]
    told = AttributeDecoder.fit(table, vectors).accuracy
    assert list(told) == ["categories", "year", "price", "item_terms", "item_rank", "terms"]
    assert told["item_rank"]["used"]


def test_same_table_same_decoder():
    table, vectors = catalogue()
    one, other = (AttributeDecoder.fit(table, vectors) for _ in range(2))
    assert one.accuracy == other.accuracy
    pd.testing.assert_frame_equal(one.decode(vectors), other.decode(vectors))

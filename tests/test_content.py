"""Content of items as numbers: categories, words, numbers, vectors; frozen statistics; what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recgan.content import PAIRS, WORDS, Number, Reader, Terms, category_terms, kind_of
from recgan.errors import DataError
from recgan.features import category_matrix


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "item_id": [1, 2, 3, 4],
            "title": ["The red fox", "a red dog", "", "fox and dog"],
            "categories": ["War|Drama", "War", "", "Drama|War"],
            "year": [1990.0, np.nan, 2000.0, 2010.0],
            "picture": [[1.0, 0.0], [0.0, 1.0], None, [1.0, 1.0]],
            "made": pd.to_datetime(["2020-01-01", None, "2021-01-01", "2022-01-01"]),
        }
    )


def test_terms_are_unit_rows_of_inverse_frequency_weights():
    terms = Terms.of([["a", "b"], ["a"], ["c", "a"], ["b"]])
    assert terms.names == ("a", "b")  # c stands at one item alone, so it tells nothing of others
    a, b = np.log(4 / 3 + 1), np.log(4 / 2 + 1)
    expected = [[a / np.hypot(a, b), b / np.hypot(a, b)], [1, 0], [1, 0], [0, 1]]
    np.testing.assert_allclose(terms.read([["a", "b"], ["a"], ["c", "a"], ["b"]]), expected, rtol=1e-6)
    assert terms.read([["c"], []]).tolist() == [[0, 0], [0, 0]]
    assert Terms.of([["a"], ["b"]]) is None


def test_many_terms_become_their_leading_directions():
    random = np.random.default_rng(0)
    rows = [[f"t{term}" for term in random.choice(600, 12)] for _ in range(500)]
    terms = Terms.of(rows)
    found, whole = terms.read(rows), terms._weighted(rows).toarray()
    assert found.shape == (500, 256)
    lost = np.linalg.norm(whole - found @ terms.directions.T) ** 2
    assert lost == pytest.approx(np.square(np.linalg.svd(whole, compute_uv=False)[256:]).sum(), rel=0.1)


def test_a_number_is_shared_by_the_knots_beside_it():
    number = Number(np.array([0.0, 10.0, 30.0], np.float32))
    shares = number.read(np.array([0.0, 5.0, 25.0, 30.0, -7.0, 99.0, np.nan]))
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75], [0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(shares, expected)
    assert Number.of(np.array([3.0, 3.0, np.nan])) is None


@pytest.mark.parametrize("numbers", [20240101 + np.array([0, 2, 9, 28, 29]), 1.7e9 + np.array([0, 1, 2, 300, 301])])
def test_numbers_that_float32_cannot_tell_apart_are_one_knot(numbers):
    values = np.append(numbers.astype(np.float64), np.nan)
    number = Number.of(values)
    assert number is not None
    assert (np.diff(number.knots) > 0).all()
    np.testing.assert_allclose(number.read(values).sum(axis=1), [1, 1, 1, 1, 1, 0])


def test_kinds_of_columns():
    kinds = {
        "text": ["a", None],
        "number": [1, 2],
        "vector": [[1.0, 2.0], np.array([3, 4])],
        None: [{"a": 1}, {"b": 2}],
    }
    for kind, values in kinds.items():
        assert kind_of(pd.Series(values)) == kind
    assert kind_of(pd.Series([[1.0, 2.0], [1.0]])) is None
    assert kind_of(pd.Series([True, False])) == "number"
    assert kind_of(pd.Series([None, None], dtype=object)) is None


def test_every_kind_of_content_is_read(table):
    reader = Reader.of(table)
    assert reader.columns == ["categories", "title", "year", "made", "picture"]
    assert reader.groups == [PAIRS, WORDS, "vectors"]
    features = reader.read(table)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features[2].any()  # a year is content enough
    assert not reader.read(pd.DataFrame({"item_id": [9], "title": ["unheard"]})).any()


def test_statistics_are_those_of_the_table_it_was_made_from(table):
    reader = Reader.of(table)
    whole = reader.read(table)
    for row in range(len(table)):
        np.testing.assert_array_equal(reader.read(table.iloc[[row]])[0], whole[row])


def test_groups_can_count_less(table):
    reader = Reader.of(table)
    plain, scaled = reader.read(table), reader.read(table, {WORDS: 0.0, PAIRS: 0.5})
    ratio = scaled[plain != 0] / plain[plain != 0]
    assert set(ratio.tolist()) == {0.0, 0.5, 1.0}


def test_labels_have_the_weights_of_the_category_matrix(table):
    matrix, names = category_matrix(table)
    labels = category_terms(table)
    assert list(labels.names) == names
    np.testing.assert_allclose(labels.read([one.split("|") for one in table["categories"]]), matrix, rtol=1e-6)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("year", ["old"], "column 'year' holds text, the model has learned it as number"),
        ("title", [3], "column 'title' holds number"),
        ("picture", [[1.0, 2.0, 3.0]], "vectors of .3. numbers, not of 2"),
        ("picture", ["red"], "column 'picture' holds text"),
    ],
)
def test_a_column_that_holds_something_else_is_refused(table, column, values, message):
    with pytest.raises(DataError, match=message):
        Reader.of(table).read(pd.DataFrame({"item_id": [9], column: values}))


def test_a_table_without_content_has_no_columns():
    assert Reader.of(pd.DataFrame({"item_id": [1, 2]})).columns == []
    assert Reader.of(pd.DataFrame({"item_id": [1, 2], "categories": ["", ""], "odd": [{}, {}]})).columns == []

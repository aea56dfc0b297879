from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan.errors import DataError
from recgan.items import read_items, read_users


def test_canonical_columns_come_first_and_others_stay_as_they_are():
    frame = pd.DataFrame(
        {
            "price": [1, 2],
            "genres": ["Action|Crime", None],
            "vector": [[1.0, 2.0], [3.0, 4.0]],
            "movieId": [3, 1],
            "title": ["Heat", None],
            "year": [1995, None],
        }
    )
    items = read_items(frame)
    assert items.columns.tolist() == ["item_id", "title", "categories", "year", "price", "vector"]
    assert items.title.tolist() == ["Heat", ""]
    assert items.categories.tolist() == ["Action|Crime", ""]
    assert items.year.dtype == np.float64
    assert items.year[0] == 1995
    assert np.isnan(items.year[1])
    assert items.vector.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert frame.columns.tolist()[0] == "price"


def test_lists_sets_and_arrays_of_categories_are_joined():
    values = [["b", "a"], {"b", "a"}, np.array(["x", "y"]), ("q",), [], None, "m|n", ["z", None]]
    items = read_items(pd.DataFrame({"item_id": range(8), "categories": values}))
    assert items.categories.tolist() == ["b|a", "a|b", "x|y", "q", "", "", "m|n", "z"]


def test_a_separator_inside_a_listed_name_is_refused():
    with pytest.raises(DataError, match=r"'categories' holds lists with a '\|' inside a name \(row 1\)"):
        read_items(pd.DataFrame({"item_id": [1, 2], "categories": [["a"], ["b|c"]]}))


@pytest.mark.parametrize("title", [[1984, 2001], ["1984", "2001"], ["1984", None], [None, None], [np.nan, np.nan]])
def test_titles_are_text(title):
    titles = read_items(pd.DataFrame({"item_id": [1, 2], "title": title})).title
    assert titles.tolist() == ["" if pd.isna(value) else str(value) for value in title]


def test_categories_that_are_all_missing():
    assert read_items(pd.DataFrame({"item_id": [1, 2], "categories": [None, None]})).categories.tolist() == ["", ""]
    assert read_items(pd.DataFrame({"item_id": [1], "categories": [np.nan]})).categories.tolist() == [""]


def test_only_ids_are_needed():
    assert read_items(pd.DataFrame({"item_id": ["a"]})).columns.tolist() == ["item_id"]


def test_csv_titles_of_digits_stay_text(tmp_path):
    (tmp_path / "i.csv").write_text("item_id,title,categories,year,price\n1,1984,7,1984,1.5\n2,2001,8,,2\n")
    items = read_items(tmp_path / "i.csv")
    assert items.title.tolist() == ["1984", "2001"]
    assert items.categories.tolist() == ["7", "8"]
    assert items.price.tolist() == [1.5, 2.0]
    assert items.year.isna().tolist() == [False, True]


def test_items_survive_a_round_trip_through_a_file(tmp_path):
    items = read_items(
        pd.DataFrame({"item_id": [1, 2], "title": ["", "B"], "categories": ["a|b", ""], "year": [1.0, None]})
    )
    items.to_csv(tmp_path / "i.csv", index=False)
    items.to_parquet(tmp_path / "i.parquet")
    for name in ("i.csv", "i.parquet"):
        pd.testing.assert_frame_equal(read_items(tmp_path / name), items)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"item_id": [1, 2, 1]}, r"'item_id' holds '1' more than once.*\(row 2\)"),
        ({"item_id": [1, None]}, "null id"),
        ({"item_id": [1, "1"]}, "mixed-integer"),
        ({"item_id": [1], "year": ["then"]}, "'year' holds text such as 'then'"),
        ({"item_id": [1], "year": [np.inf]}, "infinite"),
        ({"name": ["x"]}, "column 'item_id' missing"),
        ({"item_id": []}, "no rows"),
    ],
)
def test_bad_items(frame, message):
    with pytest.raises(DataError, match=message):
        read_items(pd.DataFrame(frame))


def test_users_keep_every_other_column():
    frame = pd.DataFrame({"zip_code": ["02460"], "uid": [5], "year": ["n/a"], "genres": [["a"]]})
    users = read_users(frame)
    assert users.columns.tolist() == ["user_id", "zip_code", "year", "genres"]
    assert users.genres.tolist() == [["a"]]
    with pytest.raises(DataError, match="'user_id' holds 'a' more than once"):
        read_users(pd.DataFrame({"user_id": ["a", "a"]}))
    with pytest.raises(DataError, match="column 'user_id' missing"):
        read_users(pd.DataFrame({"age": [1]}))


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|\r\n\x00"), min_size=1, max_size=9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(names, max_size=4), min_size=1, max_size=8), st.data())
def test_listed_categories_become_joined_text_and_back(lists, data):
    kinds = [data.draw(st.sampled_from([list, tuple, np.array])) for _ in lists]
    frame = pd.DataFrame({"item_id": range(len(lists))})
    frame["categories"] = pd.Series([kind(one) for kind, one in zip(kinds, lists, strict=True)], dtype=object)
    found = read_items(frame).categories
    trimmed = [[name.strip() for name in one if name.strip()] for one in lists]
    assert [text.split("|") if text else [] for text in found] == trimmed


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(names, names, st.none() | st.integers(1900, 2030)), min_size=1, max_size=8))
def test_any_items_survive_a_file(tmp_path_factory, rows):
    frame = pd.DataFrame(rows, columns=["title", "categories", "year"]).assign(item_id=range(len(rows)))
    items, folder = read_items(frame), tmp_path_factory.mktemp("i")
    items.to_parquet(folder / "i.parquet")
    pd.testing.assert_frame_equal(read_items(folder / "i.parquet"), items)
    items.to_csv(folder / "i.csv", index=False)
    assert read_items(folder / "i.csv")[["title", "categories"]].to_numpy().tolist() == [
        [a, b.strip()] for a, b, _ in rows
    ]


@pytest.mark.parametrize("column", [[1, "a"], [{}, {}], [1j, 2], [[1], 2], ["\ud800", "b"]])
def test_a_column_that_no_model_could_keep_is_refused_before_training(column):
    with pytest.raises(DataError, match="column 'brand' cannot be kept in a model"):
        read_items(pd.DataFrame({"item_id": [1, 2], "brand": pd.Series(column, dtype=object)}))


@pytest.mark.parametrize(
    "given",
    [["Drama | Horror", " Horror", "Drama|", "| "], [["Drama ", " Horror"], ["Horror "], [" Drama", ""], [" "]]],
)
def test_blanks_around_categories_make_no_other_ones(given):
    read = read_items(pd.DataFrame({"item_id": [1, 2, 3, 4], "genres": given}))
    assert read["categories"].tolist() == ["Drama|Horror", "Horror", "Drama", ""]


def test_sparse_columns_and_names_that_are_numbers_are_kept_as_a_file_keeps_them(tmp_path):
    frame = pd.DataFrame({"item_id": [1, 2], 0: [0.5, 1.0], "tag": pd.arrays.SparseArray([True, False])})
    read = read_items(frame)
    assert read.columns.tolist() == ["item_id", "0", "tag"]
    read.to_parquet(tmp_path / "i.parquet")
    pd.testing.assert_frame_equal(read_items(tmp_path / "i.parquet"), read)
    assert frame.columns.tolist() == ["item_id", 0, "tag"]
    with pytest.raises(DataError, match="column '0' is there 2 times"):
        read_items(frame.assign(**{"0": 1.0}))


def test_complex_numbers_are_refused_before_training():
    with pytest.raises(DataError, match="column 'z' cannot be kept in a model"):
        read_items(pd.DataFrame({"item_id": [1], "z": [1j]}))


@pytest.mark.parametrize("column", [[None, "a"], [["x"], None], [1, None], [{"a": 1}, {"a": 2}], [None, None]])
def test_columns_of_objects_of_one_kind_are_kept(column):
    read = read_items(pd.DataFrame({"item_id": [1, 2], "brand": pd.Series(column, dtype=object)}))
    assert read["brand"].tolist() == column

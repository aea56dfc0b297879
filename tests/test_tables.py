from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan.errors import ConfigError, DataError
from recgan.tables import read_table


def csv(folder, text, name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["1", "20", "-3"], "int64"),
        (["0054890", "54890"], "str"),
        (["5.0", "6"], "str"),
        (["5", "five"], "str"),
        (["0x10", "16"], "str"),
        (["-0", "0"], "str"),
        (["99999999999999999999", "1"], "str"),
        (["NA", "null"], "str"),
    ],
)
def test_csv_ids_become_integers_only_if_every_value_survives(tmp_path, values, dtype):
    path = csv(tmp_path, "user_id,item_id\n" + "".join(f"{value},1\n" for value in values))
    ids = read_table(path).user_id
    assert ids.astype(str).tolist() == values
    assert (ids.dtype == "int64") == (dtype == "int64")


def test_csv_numbers_become_floats_and_zip_codes_stay_text(tmp_path):
    frame = read_table(csv(tmp_path, "user_id,price,zip,phone,gap\n1,2.5,02460,+491,3\n2,1e3,55455,+492,\n"))
    assert frame.price.tolist() == [2.5, 1000.0]
    assert frame.zip.tolist() == ["02460", "55455"]
    assert frame.phone.tolist() == ["+491", "+492"]
    assert frame.gap.tolist()[0] == 3
    assert np.isnan(frame.gap.tolist()[1])


def test_every_kind_of_file_gives_the_same_frame(tmp_path):
    frame = pd.DataFrame({"user_id": [1, 2], "item_id": ["a", "b"], "rating": [1.5, 2.5]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress((tmp_path / "t.tsv").read_bytes()))
    frame.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "parts").mkdir()
    frame[:1].to_parquet(tmp_path / "parts" / "part-0.parquet")
    frame[1:].to_parquet(tmp_path / "parts" / "part-1.parquet")
    (tmp_path / "parts" / "_SUCCESS").touch()
    for name in ("t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.parquet", "parts"):
        pd.testing.assert_frame_equal(read_table(tmp_path / name), frame)
        pd.testing.assert_frame_equal(read_table(str(tmp_path / name)), frame)


def test_byte_order_mark_quotes_and_line_breaks_inside_quotes(tmp_path):
    frame = read_table(csv(tmp_path, '\ufeffuser_id,note\r\n1,"a, ""b""\nc"\r\n2,d\r\n'))
    assert frame.columns.tolist() == ["user_id", "note"]
    assert frame.note.tolist() == ['a, "b"\nc', "d"]


@pytest.mark.parametrize("name", ["userId", "UserID", "USER_ID", "user", "uid", "User Id"])
def test_other_spellings_are_accepted(name):
    assert read_table(pd.DataFrame({name: [1]})).columns.tolist() == ["user_id"]


def test_two_spellings_that_fit_are_refused_and_columns_decides():
    frame = pd.DataFrame({"userId": [1], "uid": [2]})
    with pytest.raises(DataError, match="'user_id' could be any of the columns 'userId', 'uid'"):
        read_table(frame)
    assert read_table(frame, {"uid": "user_id"}).user_id.tolist() == [2]
    assert read_table(frame.assign(user_id=3)).columns.tolist() == ["userId", "uid", "user_id"]


def test_wrong_columns_argument():
    frame = pd.DataFrame({"user_id": [1], "uid": [2]})
    with pytest.raises(DataError, match="columns= names 'who', which is not in the table; it has 'user_id', 'uid'"):
        read_table(frame, {"who": "user_id"})
    with pytest.raises(DataError, match="column 'user_id' is there 2 times"):
        read_table(frame, {"uid": "user_id"})


def test_frame_is_not_written_to_and_gets_a_fresh_index():
    frame = pd.DataFrame({"uid": pd.Categorical(["b", "a"]), "n": [1, 2]}, index=[7, 7])
    before = frame.copy(deep=True)
    result = read_table(frame)
    result.loc[0, "n"] = 99
    assert result.index.tolist() == [0, 1]
    assert result.user_id.tolist() == ["b", "a"]
    assert not isinstance(result.user_id.dtype, pd.CategoricalDtype)
    pd.testing.assert_frame_equal(frame, before)


def test_parquet_index_is_no_column(tmp_path):
    pd.DataFrame({"user_id": [1, 2]}, index=[5, 9]).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").columns.tolist() == ["user_id"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"user_id,item_id\n", "no rows"),
        ("t.csv", b"user_id,user_id\n1,2\n", "column 'user_id' is there 2 times"),
        ("t.csv", b"user_id,note\n1,caf\xe9\n", "utf-8"),
        ("t.csv.gz", b"no gzip", "cannot be read"),
        ("t.csv.gz", gzip.compress(b"user_id\n1\n" * 9000, mtime=0)[:40], "cannot be read"),
        ("t.parquet", b"no parquet", "cannot be read"),
        ("t.xlsx", b"", "unknown kind of file"),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_table(csv(tmp_path, content, name))
    assert name in str(caught.value)


def test_the_parts_of_two_series_do_not_stand_in_for_each_other(tmp_path):
    for name in ("may-00000-of-00002", "may-00001-of-00002", "june-00000-of-00002", "june-00001-of-00002"):
        pd.DataFrame({"user_id": [name], "item_id": [1]}).to_parquet(tmp_path / f"{name}.parquet")
    assert len(read_table(tmp_path)) == 4
    (tmp_path / "june-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match="of 2 parts of 'june-' 1 are missing, such as number 1"):
        read_table(tmp_path)


def test_missing_file_and_foreign_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match=r"holds no \.parquet file"):
        read_table(tmp_path)
    with pytest.raises(ConfigError, match="expected a frame or a path, found list"):
        read_table([1, 2])
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"b": ["x"]}).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2.parquet: its columns are not those of .*1.parquet"):
        read_table(tmp_path)


def test_broken_lines_are_named_by_row(tmp_path):
    path = csv(tmp_path, "user_id,item_id\n1,2\n3\n4,5\n6,7,8\n")
    with pytest.raises(DataError, match=r"broken lines: 2 fields expected, found 1, 3 \(rows 1, 3\)"):
        read_table(path)


def test_vectors_come_back_from_parquet(tmp_path):
    table = pa.table({"item_id": [1, 2], "vector": [[1.0, 2.0], [3.0, 4.0]]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert np.stack(read_table(tmp_path / "t.parquet").vector).tolist() == [[1, 2], [3, 4]]


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"), min_size=1, max_size=12)
rows_of_words = st.lists(st.tuples(words, words), min_size=1, max_size=12)
rows_of_numbers = st.lists(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 99), st.floats(-1e6, 1e6)), min_size=1, max_size=12
)


@settings(max_examples=40, deadline=None)
@given(rows_of_words)
def test_text_comes_back_from_every_kind_of_file(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("t")
    frame = pd.DataFrame([("x" + user, "x" + item) for user, item in rows], columns=["user_id", "item_id"])
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "t.tsv", index=False, sep="\t")
    frame.to_parquet(folder / "t.parquet")
    for name in ("t.csv", "t.tsv", "t.parquet"):
        assert read_table(folder / name).to_numpy().tolist() == frame.to_numpy().tolist()


@settings(max_examples=40, deadline=None)
@given(rows_of_numbers)
def test_numbers_come_back_from_every_kind_of_file(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("t")
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]).astype({"rating": float})
    frame.to_csv(folder / "t.csv", index=False)
    (folder / "t.csv.gz").write_bytes(gzip.compress((folder / "t.csv").read_bytes()))
    frame.to_parquet(folder / "t.parquet")
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        found = read_table(folder / name)
        assert found[["user_id", "item_id"]].to_numpy().tolist() == frame[["user_id", "item_id"]].to_numpy().tolist()
        assert found["rating"].astype(float).tolist() == frame["rating"].tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-999, 999).map(str) | st.from_regex(r"[+-]?0?[0-9]{1,3}(\.0)?", fullmatch=True), min_size=1)
)
def test_ids_of_a_csv_are_integers_only_where_every_one_survives(tmp_path_factory, ids):
    path = csv(tmp_path_factory.mktemp("t"), "user_id,item_id\n" + "".join(f"{one},1\n" for one in ids))
    found = read_table(path).user_id
    survives = all("." not in one and str(int(one)) == one for one in ids)
    assert (found.dtype == "int64") == survives
    assert found.astype(str).tolist() == ids

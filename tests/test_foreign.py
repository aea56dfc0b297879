"""Tables of other makes are as good as pandas frames, in every call that takes one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recgan
from recgan.batch import read_batch, run_batch
from recgan.errors import ConfigError, DataError
from recgan.foreign import as_frame

TABLE = pa.table(
    {
        "userId": pa.array(["b", "a", "b"], pa.string()).dictionary_encode(),
        "item": pa.array([3, 1, 2], pa.int32()),
        "ts": pa.array([30, 10, 20], pa.timestamp("us")),
    }
)
FRAME = pd.DataFrame({"userId": ["b", "a", "b"], "item": np.array([3, 1, 2], np.int32), "ts": [30e-6, 10e-6, 20e-6]})


class Foreign:
    """A table of which nothing is known but its Arrow stream, as polars and DuckDB offer it."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def foreign(frame: pd.DataFrame) -> Foreign:
    return Foreign(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None))


@pytest.mark.parametrize("made", [Foreign, lambda table: table, lambda table: table.to_reader()])
def test_arrow_reads_as_pandas_does(made):
    read = recgan.read_interactions(made(TABLE))
    pd.testing.assert_frame_equal(read, recgan.read_interactions(FRAME), check_dtype=False)
    assert read["item_id"].dtype == np.int32
    assert read["user_id"].tolist() == ["b", "a", "b"]


def test_a_table_that_can_turn_itself_into_arrow_does_so():
    class Polars(Foreign):
        def to_arrow(self) -> pa.Table:
            return TABLE

    views = pa.table({"user_id": pa.array(["b"], pa.string()).dictionary_encode()})
    assert as_frame(Foreign(views))["user_id"].tolist() == ["b"]
    assert recgan.read_interactions(Polars(views)).equals(recgan.read_interactions(TABLE))


def test_items_keep_lists_vectors_and_nulls():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 2)
    names = pa.array([["Drama", "Crime"], None, []], pa.large_list(pa.string()))
    items = pa.table({"item_id": [5, 3, 4], "genres": names, "v": vectors, "year": pa.array([1990, None, 2000])})
    read = recgan.read_items(Foreign(items))
    assert read["categories"].tolist() == ["Drama|Crime", "", ""]
    np.testing.assert_array_equal(np.stack(read["v"]), [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(read["year"], [1990, np.nan, 2000])


def test_null_ids_are_told_with_their_rows():
    with pytest.raises(DataError, match=r"'user_id' has 1 null id\(s\).*\(row 1\)"):
        recgan.read_interactions(Foreign(pa.table({"user_id": ["a", None], "item_id": [1, 2]})))
    with pytest.raises(DataError, match="the table has no rows"):
        recgan.read_interactions(TABLE.slice(0, 0))


def test_what_is_no_table_is_refused():
    class Broken:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.chunked_array([[1, 2]]).__arrow_c_stream__(requested_schema)

    with pytest.raises(DataError, match="a Broken cannot be read as an Arrow table"):
        recgan.read_interactions(Broken())
    with pytest.raises(ConfigError, match="expected a frame or a path, found list"):
        recgan.read_interactions([1, 2])
    with pytest.raises(DataError, match="1 dimensions"):
        recgan.read_interactions(sp.coo_array(np.array([1, 0, 2])))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
def test_a_sparse_matrix_is_a_table_of_weights(form, kind):
    matrix = kind(np.array([[0, 3, 0], [0, 0, 0], [2, 0, 5]], np.int16)).asformat(form)
    read = recgan.read_interactions(matrix)
    assert read.to_numpy().tolist() == [[0, 1, 3], [2, 0, 2], [2, 2, 5]]
    assert read.columns.tolist() == ["user_id", "item_id", "weight"]
    assert read["user_id"].dtype == read["item_id"].dtype == np.int64


def test_a_sparse_matrix_that_says_things_twice_or_says_zero():
    matrix = sp.coo_matrix(([1.0, 2.0, 0.0], ([0, 0, 1], [4, 4, 2])), shape=(2, 5))
    before = [part.copy() for part in (matrix.data, matrix.row, matrix.col)]
    assert as_frame(matrix).to_numpy().tolist() == [[0, 4, 3.0]]
    for part, kept in zip((matrix.data, matrix.row, matrix.col), before, strict=True):
        np.testing.assert_array_equal(part, kept)
    assert as_frame(matrix.astype(bool))["weight"].tolist() == [1]
    matrix.data[0] = np.nan
    with pytest.raises(DataError, match=r"'weight' has missing values.*row 0"):
        recgan.read_interactions(matrix)


def test_training_and_every_question_take_them(interactions, small_config, model):
    config = small_config.changed(epochs=2, game_steps=0)
    ours = recgan.train(interactions, config=config)
    theirs = recgan.train(foreign(interactions), config=config)
    assert theirs.recommend_batch(n=5).equals(ours.recommend_batch(n=5))
    some = interactions[interactions["user_id"] < 9]
    given = {"histories": foreign(some), "items": foreign(some[["item_id"]]), "exclude": pa.array([1, 2])}
    wanted = model.recommend_batch(histories=some, items=some["item_id"], exclude=[1, 2])
    assert model.recommend_batch(**given).equals(wanted)
    assert model.recommend_batch(pa.table({"user_id": [3, 4]})).equals(model.recommend_batch([3, 4]))
    assert model.recommend_batch(pa.chunked_array([[3, 4]])).equals(model.recommend_batch([3, 4]))
    one = some[some["user_id"] == 1]
    assert model.recommend(history=foreign(one)).equals(model.recommend(history=one["item_id"]))
    assert model.recommend(history=pa.array(one["item_id"])).equals(model.recommend(history=one["item_id"]))
    with pytest.raises(DataError, match="without the column 'user_id'"):
        model.recommend_batch(pa.table({"item_id": [3]}))


def test_a_sparse_matrix_of_histories(interactions, model):
    some = interactions[interactions["user_id"] < 9].sort_values(["user_id", "item_id"])
    pairs = some["user_id"].to_numpy(), some["item_id"].to_numpy()
    matrix = sp.csr_array((np.ones(len(some)), pairs), shape=(9, 200))
    assert model.recommend_batch(histories=matrix).equals(model.recommend_batch(histories=some))
    assert model.recommend(history=matrix[[1]]).equals(model.recommend(history=some[some["user_id"] == 1]))


def test_splits_and_judging_take_them(interactions):
    ours, theirs = recgan.split_users(interactions, seed=3), recgan.split_users(foreign(interactions), seed=3)
    pd.testing.assert_frame_equal(theirs.train, ours.train)
    pd.testing.assert_frame_equal(theirs.test.truth, ours.test.truth)
    lists = recgan.baselines.Popular().fit(foreign(ours.train)).recommend_batch(histories=ours.test.history)
    others = lists.assign(score=lists["score"].to_numpy()[::-1]).drop(columns="rank")
    made = [foreign(one) for one in (lists, others, ours.test.truth)]
    assert recgan.evaluate(made[0], made[2]) == recgan.evaluate(lists, ours.test.truth)
    assert recgan.compare(*made) == recgan.compare(lists, others, ours.test.truth)
    nothing = lists.iloc[:0]
    assert recgan.evaluate(foreign(nothing), made[2]) == recgan.evaluate(nothing, ours.test.truth)


def test_a_batch_job_takes_them(interactions, model, tmp_path):
    some = interactions[interactions["user_id"] < 9]
    users = pd.DataFrame({"user_id": [5, 2]})
    options = {"n": 4, "workers": 1}
    run_batch(model, tmp_path / "ours", users=users, histories=some, exclude=pd.DataFrame({"item_id": [7]}), **options)
    excluded = pa.table({"item_id": [7]})
    run_batch(model, tmp_path / "theirs", users=foreign(users), histories=foreign(some), exclude=excluded, **options)
    assert read_batch(tmp_path / "theirs").equals(read_batch(tmp_path / "ours"))

"""Interactions on disk: the same numbers as from memory, whatever the order of files and rows, and what is refused."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import planted

import recgan
from recgan import packing
from recgan.errors import ConfigError, DataError
from recgan.histories import Histories, Strength, fingerprint
from recgan.histories import rows as portioned
from recgan.interactions import read_interactions
from recgan.training import data

WORDS = [f"film {n:03}" for n in range(40)]


@pytest.fixture(autouse=True)
def tiny_portions(monkeypatch):
    for module, name, value in ((packing, "ROWS", 7), (packing, "SORTED", 11), (portioned, "PORTION", 5)):
        monkeypatch.setattr(module, name, value)


def written(frame: pd.DataFrame, folder: Path, n_files: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), n_files)):
        frame.iloc[rows].to_parquet(folder / f"log-{number:05}-of-{n_files:05}.parquet", index=False, row_group_size=9)
    return folder


def in_memory(frame):
    return data._numbers(read_interactions(frame))


def same(one: Histories | None, other: Histories | None) -> None:
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    assert (one.n_items, one.clock) == (other.n_items, other.clock)
    for name in ("offsets", "items", "times", "weights"):
        mine, its = getattr(one, name), getattr(other, name)
        assert (mine is None) == (its is None), name
        if mine is not None:
            np.testing.assert_array_equal(mine, its, err_msg=name)


@st.composite
def tables(draw):
    n, seed = draw(st.integers(1, 60)), draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"user_id": random.integers(0, 9, n), "item_id": random.integers(0, 12, n)})
    if draw(st.booleans()):
        frame["item_id"] = [WORDS[item] for item in frame["item_id"]]
    if draw(st.booleans()):
        frame["user_id"] = frame["user_id"] + 2**40
    order = draw(st.sampled_from([None, "timestamp", "position"]))
    if order:
        frame[order] = random.integers(0, 6, n)
    if draw(st.booleans()):
        frame["weight"] = random.choice([-1.0, 0.5, 2.0], n)
    if draw(st.booleans()):
        frame = frame.sort_values("user_id", kind="stable", ignore_index=True)
    return frame, draw(st.integers(1, min(4, n)))


@settings(max_examples=60)
@given(tables())
def test_what_is_packed_is_what_is_read_into_memory(table):
    frame, n_files = table
    with tempfile.TemporaryDirectory() as folder:
        found = packing.packed(written(frame, Path(folder), n_files))
    expected = in_memory(frame)
    assert found.users.all_ids.tolist() == expected.users.all_ids.tolist()
    assert found.items.all_ids.tolist() == expected.items.all_ids.tolist()
    same(found.liked, expected.liked)
    if expected.disliked is not None:
        assert found.disliked is not None
        pairs = [
            set(zip(one.rows.tolist(), one.items.tolist(), strict=True)) for one in (found.disliked, expected.disliked)
        ]
        assert pairs[0] == pairs[1]
    else:
        assert found.disliked is None
    unliked = [one.unliked[["user_id", "item_id"]] for one in (found, expected)]
    assert set(unliked[0].itertuples(index=False)) == set(unliked[1].itertuples(index=False))
    assert fingerprint(found.liked) == fingerprint(expected.liked)
    np.testing.assert_array_equal(found.liked.counts(), expected.liked.counts())
    for user in range(len(found.users)):
        assert found.liked.of(user).dtype == np.int64
        assert found.liked.of(user).tolist() == expected.liked.of(user).tolist()


@settings(max_examples=30)
@given(tables(), st.integers(0, 6))
def test_rows_and_strengths_on_disk(table, until):
    frame, n_files = table
    with tempfile.TemporaryDirectory() as folder:
        found = packing.packed(written(frame, Path(folder), n_files)).liked
    gone = found.take(np.arange(len(found))).part(np.arange(len(found.items)) % 3 == 0)
    kept = packing.without(found, gone, until)
    there = np.arange(len(found.items)) % 3 != 0
    there &= True if found.times is None else np.asarray(found.times) < until
    same(kept, found.part(there))
    rule = Strength(2.0, 0.5)
    same(packing.strengthened(found, rule), found.strengthened(rule))


@pytest.fixture(scope="module")
def frame():
    return planted(n_users=150, n_items=60, n_groups=4, noise=0.1, seed=3)


@pytest.mark.parametrize("order", [None, "position", "timestamp"])
def test_a_training_from_disk_serves_everybody(frame, order, small_config, tmp_path):
    if order:
        frame = frame.assign(**{order: np.random.default_rng(0).permutation(len(frame))})
    config = small_config.changed(
        rows_in_memory=len(frame) // 3, epochs=6, n_negatives=8, checkpoint_dir=str(tmp_path / "kept")
    )
    folder = written(frame.sample(frac=1.0, random_state=1), tmp_path / "log", 3)
    model = recgan.train(folder, config=config)
    assert model.users.tolist() == sorted(frame["user_id"].unique())
    assert model.info()["ablation"]["both"] > 1.2 * model.info()["ablation"]["popularity"]
    lists = model.recommend_batch(n=5)
    assert lists["user_id"].nunique() == 150
    assert not lists.merge(frame, on=["user_id", "item_id"]).shape[0]
    assert (lists["user_id"] % 4 == lists["item_id"] % 4).mean() > 0.6
    model.save(tmp_path / "model")
    pd.testing.assert_frame_equal(recgan.Recommender.load(tmp_path / "model").recommend_batch(n=5), lists)
    pd.testing.assert_frame_equal(recgan.train(folder, config=config).recommend_batch(n=5), lists)


def test_weights_dislikes_and_users_without_likes(frame, small_config, tmp_path):
    random = np.random.default_rng(0)
    rows = frame.assign(weight=random.choice([-1.0, 1.0, 3.0], len(frame), p=[0.1, 0.6, 0.3]))
    rows = pd.concat([rows, pd.DataFrame({"user_id": [999], "item_id": [3], "weight": [-1.0]})], ignore_index=True)
    folder = written(rows, tmp_path / "log", 2)
    model = recgan.train(folder, config=small_config.changed(rows_in_memory=len(rows) // 2, epochs=2))
    lists = model.recommend_batch(n=10)
    assert 999 in set(lists["user_id"])
    assert not lists.merge(rows, on=["user_id", "item_id"]).shape[0]


def test_small_files_are_read_into_memory(frame, small_config, tmp_path, monkeypatch):
    def refused(path):
        raise AssertionError("packed")

    monkeypatch.setattr("recgan.training.data.packed", refused)
    recgan.train(written(frame, tmp_path / "log", 2), config=small_config.changed(epochs=0, game_steps=0))
    with pytest.raises(AssertionError, match="packed"):
        recgan.train(tmp_path / "log", config=small_config.changed(rows_in_memory=len(frame) - 1))


def test_the_future_is_hidden_from_those_who_are_not_drawn(frame, small_config, tmp_path):
    from recgan.training.data import read_data

    rows = frame.assign(timestamp=np.random.default_rng(0).integers(0, 10**8, len(frame)))
    config = small_config.changed(rows_in_memory=len(rows) // 3)
    data = read_data(written(rows, tmp_path / "log", 3), None, None, None, config)
    assert data.everyone is not None
    assert len(data.users) < len(data.everyone.users) == 150
    moment = data.whole.part(~np.isin(data.whole.times, data.histories.times)).oldest
    assert data.histories.newest < moment
    assert data.streamed.newest < moment <= data.everyone.histories.newest
    assert len(data.streamed.items) == (np.asarray(data.everyone.histories.times) < moment).sum()


def test_what_is_hidden_from_some_is_not_streamed(frame, small_config, tmp_path):
    from recgan.training.data import read_data

    config = small_config.changed(rows_in_memory=len(frame) // 3)
    data = read_data(written(frame, tmp_path / "log", 3), None, None, None, config)
    hidden = len(data.whole.items) - len(data.histories.items)
    assert hidden > 0
    assert len(data.streamed.items) == len(frame) - hidden
    numbers = data.everyone.users.numbers(data.users.all_ids)
    for own, number in enumerate(numbers):
        assert data.streamed.of(number).tolist() == data.histories.of(own).tolist()


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (
            {"user_id": [5, None], "item_id": [1, 2]},
            r"(?s)b\.parquet: .*'user_id' has 1 null id\(s\): drop or fill them \(row 1\)",
        ),
        (
            {"user_id": ["x"], "item_id": [1]},
            r"b\.parquet: its columns, or the types of its ids, are not those of .*a\.parquet",
        ),
        ({"user_id": [1], "item_id": [1], "timestamp": [5]}, r"b\.parquet: its columns, or the types"),
        ({"user_id": [1], "thing": [1]}, r"b\.parquet: column 'item_id' missing"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, second, told, small_config):
    pd.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 2, 1]}).to_parquet(tmp_path / "a.parquet")
    table = pd.DataFrame(second)
    if table["user_id"].isna().any():
        table["user_id"] = table["user_id"].astype("Int64")
    table.to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=told):
        recgan.train(tmp_path, config=small_config.changed(rows_in_memory=2))


def test_folders_in_a_folder_are_read_and_hidden_files_are_not(tmp_path, frame):
    half = len(frame) // 2
    for name, rows in (("log/day=1/a.parquet", slice(half)), ("log/day=2/a.parquet", slice(half, None))):
        (tmp_path / name).parent.mkdir(parents=True)
        frame.iloc[rows].to_parquet(tmp_path / name, index=False)
    for name in (".b.parquet", "_b.parquet", "._day=3/b.parquet"):
        (tmp_path / "log" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "log" / name).write_bytes(b"being written")
    pd.testing.assert_frame_equal(read_interactions(tmp_path / "log"), read_interactions(frame))
    assert packing.rows_on_disk(tmp_path / "log") == len(frame)
    same(packing.packed(tmp_path / "log").liked, in_memory(frame).liked)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda some: some.rename(columns={"item_id": "thing"}), "its columns are not those of"),
        (lambda some: some.assign(extra=1), "its columns are not those of"),
        (lambda some: some.assign(user_id=some["user_id"].astype(str)), "its types do not go with those of"),
        (lambda some: some.astype({"user_id": "int32", "item_id": "int16"}), None),
        (lambda some: some[["item_id", *[name for name in some if name != "item_id"]]], None),
        (lambda some: some[:0], None),
    ],
)
def test_a_file_of_a_small_folder_that_does_not_fit_is_named(tmp_path, frame, change, told):
    frame[:50].to_parquet(tmp_path / "a.parquet", index=False)
    change(frame[50:]).to_parquet(tmp_path / "b.parquet", index=False)
    if told is None:
        assert len(read_interactions(tmp_path)) in (50, len(frame))
        return
    with pytest.raises(DataError, match=f"b.parquet: {told}.*a.parquet"):
        read_interactions(tmp_path)


def test_unsigned_ids_beside_signed_ones_are_told_by_their_file(tmp_path, frame):
    frame[:50].to_parquet(tmp_path / "a.parquet", index=False)
    frame[50:].astype({"user_id": "uint32"}).to_parquet(tmp_path / "b.parquet", index=False)
    same(packing.packed(tmp_path).liked, in_memory(frame).liked)
    frame[50:].astype({"user_id": "uint64"}).to_parquet(tmp_path / "b.parquet", index=False)
    with pytest.raises(
        DataError, match=r"b.parquet: its columns, or the types of its ids, are not those of .*a.parquet"
    ):
        packing.packed(tmp_path)


def test_packed_rows_have_no_name_that_a_killed_process_leaves(tmp_path, frame, monkeypatch):
    frame.to_parquet(tmp_path / "a.parquet", index=False)
    room, left = tmp_path / "room", []
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    grouped = packing._grouped
    monkeypatch.setattr(packing, "_grouped", lambda *some: (left.extend(room.rglob("*/*")), grouped(*some))[1])
    found = packing.packed(tmp_path / "a.parquet")
    assert not left
    same(found.liked, in_memory(frame).liked)


def test_who_has_nearly_all_rows_is_no_sample(tmp_path):
    usual = pd.DataFrame({"user_id": np.repeat(np.arange(400), 20), "item_id": np.tile(np.arange(20), 400)})
    heavy = pd.DataFrame({"user_id": 400, "item_id": np.arange(6000)})
    table = in_memory(pd.concat([usual, heavy]))
    for seed in range(40):
        some, drawn = data._sampled(table, recgan.Config(rows_in_memory=3000, seed=seed))
        assert len(drawn) == 150
        assert 400 not in drawn
        assert len(some.liked.items) == 3000


def test_a_broken_row_group_is_named_and_nothing_is_left(tmp_path, small_config, monkeypatch):
    file = tmp_path / "log" / "a.parquet"
    file.parent.mkdir()
    rows = pa.table({"user_id": np.arange(4000) // 4, "item_id": np.random.default_rng(0).integers(0, 10**9, 4000)})
    pq.write_table(rows, file, row_group_size=1000, compression="NONE", use_dictionary=False)
    content = bytearray(file.read_bytes())
    offset = pq.read_metadata(file).row_group(2).column(1).data_page_offset
    content[offset : offset + 40] = bytes(40)
    file.write_bytes(content)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read: row group 2: "):
        recgan.train(file.parent, config=small_config.changed(rows_in_memory=100))
    assert not list(scratch.iterdir())


def test_a_missing_part_and_an_empty_folder(tmp_path, frame, small_config):
    folder = written(frame, tmp_path / "log", 3)
    (folder / "log-00001-of-00003.parquet").unlink()
    with pytest.raises(DataError, match="of 3 parts 1 are missing, such as number 1"):
        recgan.train(folder, config=small_config.changed(rows_in_memory=10))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.parquet file"):
        packing.packed(tmp_path / "empty")
    pd.DataFrame({"user_id": pd.Series([], dtype=int), "item_id": pd.Series([], dtype=int)}).to_parquet(
        tmp_path / "x.parquet"
    )
    with pytest.raises(DataError, match="no rows"):
        packing.packed(tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match="rows_in_memory"):
        recgan.Config(rows_in_memory=0)


def test_one_user_larger_than_a_portion(tmp_path):
    rows = pd.DataFrame({"user_id": np.repeat([1, 2, 3], [1, 50, 2]), "item_id": np.r_[0, np.arange(50), 0, 1]})
    found = packing.packed(written(rows, tmp_path / "log", 2)).liked
    assert found.lengths.tolist() == [1, 50, 2]
    assert found.of(1).tolist() == list(range(50))


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, frame, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder, scratch = written(frame, tmp_path / "log", 2), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"scratch: cannot hold 0\.0 GiB of rows \(No space left .*set TMPDIR"):
        packing.packed(folder)
    assert not list(scratch.iterdir())

"""Tables, models and shards in other file systems, reached by URL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import recgan
from recgan.batch import is_batch, read_batch, run_batch, score_shard
from recgan.remote import fetched, is_url
from recgan.tables import read_table

JOB = {"n": 4, "n_shards": 3, "progress": False}


@pytest.fixture
def store():
    """An empty store in memory; its URLs begin with memory://."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def put(store, source, name: str) -> str:
    store.put(str(source), f"/{name}", recursive=source.is_dir())
    return f"memory://{name}"


def content(store, name: str) -> dict[str, bytes]:
    return {path.rsplit("/", 1)[1]: store.cat_file(path) for path in store.find(f"/{name}")}


def test_urls():
    assert [is_url(one) for one in ("s3://a/b", "gs://a", "a/b", "file:///a", 3)] == [True, True, False, False, False]


def test_tables_are_read_from_a_store(store, tmp_path):
    frame = pd.DataFrame({"user_id": [1, 2], "item_id": ["a", "b"]})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for name in ("t.parquet", "t.csv"):
        pd.testing.assert_frame_equal(read_table(put(store, tmp_path / name, f"in/{name}")), frame, check_dtype=False)
    (tmp_path / "t.parquet").rename(tmp_path / "part.parquet")
    store.put(str(tmp_path / "part.parquet"), "/folder/part-0.parquet")
    store.put(str(tmp_path / "part.parquet"), "/folder/part-1.parquet")
    assert len(read_table("memory://folder")) == 4
    (tmp_path / "bad.csv").write_text("user_id,item_id\n1,\n")
    with pytest.raises(recgan.DataError, match=r"^memory://bad.csv: column 'item_id' has 1 null id"):
        recgan.read_interactions(put(store, tmp_path / "bad.csv", "bad.csv"))
    with pytest.raises(recgan.DataError, match=r"^memory://none.csv: there is no such file"):
        read_table("memory://none.csv")


def test_what_cannot_be_reached_is_told(tmp_path, model):
    for url in ("nowhere://a/b.csv", "gopher://a"):
        with pytest.raises(recgan.ConfigError, match=f"{url}: cannot be reached: "):
            read_table(url)
        with pytest.raises(recgan.ConfigError, match=f"{url}: cannot be reached: "):
            run_batch(model, url, **JOB)


def test_fetched_copies_do_not_stay(store, tmp_path):
    (tmp_path / "a").write_text("a")
    with fetched(put(store, tmp_path / "a", "a")) as path:
        assert path.read_text() == "a"
    assert not path.exists()
    with fetched(str(tmp_path / "a")) as path:
        assert path == tmp_path / "a"
    with fetched(f"file://{tmp_path}/a") as path:
        assert path == tmp_path / "a"
    assert path.exists()


def test_a_job_lies_in_a_store_as_in_a_folder(store, folder, tmp_path):
    url = put(store, folder, "models/m")
    pd.DataFrame({"user_id": [5, 3, 900]}).to_csv(tmp_path / "users.csv", index=False)
    pd.DataFrame({"user_id": [900], "item_id": [3]}).to_parquet(tmp_path / "given.parquet")
    tables = {"users": tmp_path / "users.csv", "histories": tmp_path / "given.parquet"}
    run_batch(folder, tmp_path / "lists", **tables, **JOB)
    there = {name: put(store, path, f"in/{path.name}") for name, path in tables.items()}
    planned = run_batch(url, "memory://out/lists", **there, **JOB, dry_run=True)
    assert (planned.done, is_batch("memory://out/lists")) == ((0, 1, 2), False)
    result = run_batch(url, "memory://out/lists", **there, **JOB)
    assert (result.folder, result.done, result.rows) == ("memory://out/lists", (0, 1, 2), 12)
    local = {path.name: path.read_bytes() for path in (tmp_path / "lists").iterdir() if path.name != ".lock"}
    assert content(store, "out/lists") == local
    assert read_batch("memory://out/lists").equals(read_batch(tmp_path / "lists"))
    assert is_batch("memory://out/lists/")
    alone = score_shard(url, there["users"], 1, 3, "memory://alone", n=4, histories=there["histories"])
    assert alone == "memory://alone/part-00001-of-00003.parquet"
    assert store.cat_file("/alone/part-00001-of-00003.parquet") == local["part-00001-of-00003.parquet"]


@pytest.mark.parametrize("harm", ["flip", "cut", "no file", "no sidecar", "broken sidecar"])
def test_a_rerun_makes_only_what_does_not_verify(store, model, harm):
    run_batch(model, "memory://lists", **JOB)
    whole, part = content(store, "lists"), "/lists/part-00001-of-00003"
    data = bytearray(store.cat_file(f"{part}.parquet"))
    if harm == "flip":
        data[len(data) // 2] ^= 1
        store.pipe_file(f"{part}.parquet", bytes(data))
    elif harm == "cut":
        store.pipe_file(f"{part}.parquet", bytes(data[:-10]))
    elif harm == "broken sidecar":
        store.pipe_file(f"{part}.json", b'{"rows": 3')
    else:
        store.rm_file(f"{part}.{'parquet' if harm == 'no file' else 'json'}")
    with pytest.raises(recgan.DataError, match="memory://lists: of 3 shards these are missing or damaged: 1; run"):
        read_batch("memory://lists")
    result = run_batch(model, "memory://lists", **JOB)
    assert (result.done, result.skipped) == ((1,), (0, 2))
    assert content(store, "lists") == whole


def test_other_jobs_and_other_things_are_refused(store, model):
    store.pipe_file("/other/notes.txt", b"x")
    with pytest.raises(recgan.ConfigError, match=r"memory://other: holds 'notes\.txt' and is no batch job"):
        run_batch(model, "memory://other", **JOB)
    run_batch(model, "memory://lists", **JOB)
    before = content(store, "lists")
    with pytest.raises(recgan.ConfigError, match="memory://lists: holds another batch job: n is 4 there and 5 here"):
        run_batch(model, "memory://lists", **{**JOB, "n": 5})
    assert content(store, "lists") == before
    store.pipe_file("/lists/notes.txt", b"x")
    assert run_batch(model, "memory://lists", **{**JOB, "n_shards": 2}, restart=True).done == (0, 1)
    parts = {f"part-0000{shard}-of-00002.{kind}" for shard in (0, 1) for kind in ("parquet", "json")}
    assert set(content(store, "lists")) == {"job.json", "shards.json", "notes.txt", *parts}


def test_a_store_that_fails_halfway_leaves_nothing_for_whole(store, model, monkeypatch):
    """The connection breaks in the middle of every object in turn, and half of it stays."""
    original, left = MemoryFileSystem.put_file, [0]

    def breaking(self, source, target, **more):
        left[0] -= 1
        if left[0] == 0:
            self.pipe_file(target, Path(source).read_bytes()[:20])
            raise ConnectionError("gone")
        return original(self, source, target, **more)

    run_batch(model, "memory://whole", **JOB)
    monkeypatch.setattr(MemoryFileSystem, "put_file", breaking)
    for step in range(2, 1 + 1 + 6 + 2):  # job.json, three shards with their sidecars, shards.json
        left[0] = step
        if step <= 8:
            with pytest.raises(recgan.RecganError, match=f"memory://{step}: cannot be written: .*gone"):
                run_batch(model, f"memory://{step}", **JOB)
            if step < 8:
                with pytest.raises(recgan.DataError, match="missing or damaged"):
                    read_batch(f"memory://{step}")
        run_batch(model, f"memory://{step}", **JOB)
        assert content(store, str(step)) == content(store, "whole")


def test_a_job_that_was_replaced_meanwhile_is_not_told_as_done(store, model, monkeypatch):
    def replaced(*arguments):
        original(*arguments)
        store.pipe_file("/lists/job.json", store.cat_file("/other/job.json"))

    original = recgan.batch.running.make_shards
    run_batch(model, "memory://other", **{**JOB, "n": 5})
    monkeypatch.setattr("recgan.batch.running.make_shards", replaced)
    with pytest.raises(recgan.ConfigError, match="memory://lists: holds another batch job: n is 5 there and 4 here"):
        run_batch(model, "memory://lists", **JOB)
    assert "shards.json" not in content(store, "lists")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
@pytest.mark.parametrize("handed_over", [False, True])
def test_workers_write_into_a_store(model, folder, tmp_path, handed_over):
    """`local://` is a file system like any other for fsspec, and all processes see it."""
    source = model if handed_over else f"local://{folder}"
    run_batch(folder, tmp_path / "a", **JOB)
    run_batch(source, f"local://{tmp_path}/b", **JOB, workers=2)
    files = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir() if path.name != ".lock"}


def test_the_command_line_takes_urls(folder, tmp_path):
    np.savetxt(tmp_path / "users.csv", [7, 3], fmt="%d", header="user_id", comments="")
    job = ["--out", f"local://{tmp_path}/lists", "--users", f"local://{tmp_path}/users.csv", "--shards", "1"]
    command = [sys.executable, "-m", "recgan", "batch", f"local://{folder}", *job]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"local://{tmp_path}/lists: 2 users, 20 rows; shards: 1 written, 0 already there\n"
    assert read_batch(tmp_path / "lists").user_id.unique().tolist() == [7, 3]

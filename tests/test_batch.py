from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from folders import content
from planted import planted

import recgan
from recgan.batch import BatchResult, is_batch, preparing, read_batch, run_batch, score_shard
from recgan.batch import files as batch_files
from recgan.batch import shards as batch_shards
from recgan.batch.job import Job
from recgan.preferences import Preferences
from recgan.progress import Pace, Progress

QUICK = {"epochs": 0, "game_steps": 0, "embedding_dim": 8, "hidden_dim": 8, "progress": False}


@pytest.fixture(scope="module")
def named_model():
    frame = planted(n_users=24, n_items=30, n_groups=3, noise=0.1, seed=1)
    frame["user_id"] = frame["user_id"].map("{:03d}".format)
    frame["item_id"] = frame["item_id"].map("item {}".format)
    return recgan.train(frame, config=recgan.Config(**QUICK))


def run(model, folder, *args, **options) -> BatchResult:
    return run_batch(model, folder, *args, progress=False, **options)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def same_lists(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Chunks of other sizes may move the last bits of a score."""
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-4, atol=1e-5)  # scores of 30 beside those near 0


def test_a_job_gives_the_lists_of_recommend_batch(model, tmp_path):
    result = run(model, tmp_path / "lists", n=7, n_shards=5)
    assert result == BatchResult(tmp_path / "lists", (0, 1, 2, 3, 4), (), 120 * 7, 120, 0)
    wanted = model.recommend_batch(n=7)
    wanted.attrs.clear()
    same_lists(read_batch(tmp_path / "lists"), wanted)
    parts = {f"part-{shard:05d}-of-00005.{kind}" for shard in range(5) for kind in ("parquet", "json")}
    assert names(tmp_path / "lists") == {".lock", "job.json", "shards.json", *parts}


@pytest.mark.parametrize(
    "histories",
    [
        pd.DataFrame({"userId": [901, 901, 902], "movieId": [1, 5, 6]}),
        pd.DataFrame({"user_id": pd.Categorical([901, 901, 902]), "item_id": [1, 5, 6]}),
        pd.DataFrame({"user_id": [901, 901, 902, 901], "item_id": [1, 5, 6, 1], "ts": [1, 2, 3, 0]}),
    ],
)
def test_histories_are_read_as_recommend_batch_reads_them(model, tmp_path, histories):
    run(model, tmp_path / "frame", histories=histories, n=5, n_shards=2)
    histories.to_csv(tmp_path / "h.csv", index=False)
    run(model, tmp_path / "file", histories=tmp_path / "h.csv", n=5, n_shards=2)
    wanted = model.recommend_batch(histories=histories, n=5)
    wanted.attrs.clear()
    for name in ("frame", "file"):
        same_lists(read_batch(tmp_path / name), wanted)


def test_who_is_unknown_is_told_before_anything_is_written(model, tmp_path):
    lost = pd.DataFrame({"user_id": [901, 902], "item_id": [1, 99_999]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(recgan.UnknownUserError, match="902"):
            run(model, tmp_path / "lists", histories=lost, n_shards=2, on_unknown="raise")
    assert not (tmp_path / "lists").exists() or not list((tmp_path / "lists").glob("part*"))
    stated = {902: {"items": [1]}}
    result = run(model, tmp_path / "told", [3, 902], n=4, n_shards=1, preferences=stated, on_unknown="raise")
    assert result.users == 2
    wanted = model.recommend_batch([3, 902], n=4, preferences=stated, on_unknown="raise")
    wanted.attrs.clear()
    same_lists(read_batch(tmp_path / "told"), wanted)
    with pytest.raises(recgan.UnknownUserError, match="903"):
        run(model, tmp_path / "no", [3, 902, 903], n=4, n_shards=1, preferences=stated, on_unknown="raise")


def test_the_sidecar_says_what_the_shard_holds(model, tmp_path):
    path = score_shard(model, [5, 3, 4, 999], 1, 2, tmp_path, n=6)
    assert path == tmp_path / "part-00001-of-00002.parquet"
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert (sidecar["rows"], sidecar["users"], sidecar["fallback_users"]) == (12, 2, 1)
    assert sidecar["sha256"] == recgan.artifact.file_hash(path)
    assert pq.read_table(path).column("user_id").to_pylist() == [4] * 6 + [999] * 6
    assert pq.read_schema(path).names == ["user_id", "item_id", "rank", "score"]


@pytest.mark.parametrize(("n_users", "n_shards"), [(10, 3), (3, 7), (1, 1), (0, 2)])
def test_shards_are_contiguous_slices_of_nearly_equal_size(model, tmp_path, n_users, n_shards):
    users = np.random.default_rng(0).permutation(120)[:n_users].tolist()
    run(model, tmp_path, users, n=1, n_shards=n_shards)
    parts = [pq.read_table(path).column("user_id").to_pylist() for path in sorted(tmp_path.glob("*.parquet"))]
    assert [user for part in parts for user in part] == users
    assert len(parts) == n_shards
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert read_batch(tmp_path).dtypes.tolist() == [np.int64, np.int64, np.int64, np.float64]


def test_a_shard_is_the_same_wherever_it_is_made(model, folder, tmp_path):
    options = {"n": 4, "explore": 0.5, "popularity": 0.4, "seed": 3, "explain": True}
    run(folder, tmp_path / "job", n_shards=3, **options)
    for which in (model, folder, str(folder), recgan.Recommender.load(folder)):
        path = score_shard(which, None, 2, 3, tmp_path / "alone", **options)
        for name in (path.name, path.with_suffix(".json").name):
            assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "job" / name).read_bytes()
    assert run(model, tmp_path / "job", n_shards=3, **options).done == ()


def test_users_are_served_in_chunks(model, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_shards, "CHUNK_USERS", 7)
    served = []
    original = recgan.Recommender.recommend_batch
    monkeypatch.setattr(
        recgan.Recommender, "recommend_batch", lambda *a, **o: served.append(original(*a, **o)) or served[-1]
    )
    run(model, tmp_path, n=3, n_shards=2)
    assert max(lists.user_id.nunique() for lists in served) == 7
    assert pq.ParquetFile(tmp_path / "part-00000-of-00002.parquet").num_row_groups == 9
    wanted = original(model, n=3)
    wanted.attrs.clear()
    same_lists(read_batch(tmp_path), wanted)


def test_long_lists_make_small_chunks(model, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_shards, "CHUNK_ROWS", 100)
    path = score_shard(model, range(20), 0, 1, tmp_path, n=50)
    assert pq.ParquetFile(path).num_row_groups == 10


@pytest.mark.parametrize("harm", ["flip", "cut", "no file", "no sidecar", "broken sidecar", "empty sidecar"])
def test_a_rerun_makes_only_what_does_not_verify(model, tmp_path, harm):
    run(model, tmp_path, n=3, n_shards=4)
    whole = content(tmp_path)
    part = tmp_path / "part-00002-of-00004.parquet"
    data, sidecar = bytearray(part.read_bytes()), part.with_suffix(".json")
    if harm == "flip":
        data[len(data) // 2] ^= 1
        part.write_bytes(data)
    elif harm == "cut":
        part.write_bytes(data[:-10])
    elif harm == "no file":
        part.unlink()
    elif harm == "no sidecar":
        sidecar.unlink()
    else:
        sidecar.write_text('{"rows": 3' if harm == "broken sidecar" else "[]")
    with pytest.raises(recgan.DataError, match=r"of 4 shards these are missing or damaged: 2; run the batch job again"):
        read_batch(tmp_path)
    result = run(model, tmp_path, n=3, n_shards=4)
    assert (result.done, result.skipped, result.rows) == ((2,), (0, 1, 3), 360)
    assert content(tmp_path) == whole


def test_the_sidecar_of_another_job_does_not_verify(model, tmp_path):
    run(model, tmp_path, n=3, n_shards=4)
    score_shard(model, None, 1, 4, tmp_path, n=3, seed=1)
    score_shard(model, range(100), 2, 4, tmp_path, n=3)
    assert run(model, tmp_path, n=3, n_shards=4).done == (1, 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n": 4}, "n is 3 there and 4 here"),
        ({"n_shards": 3}, "n_shards is 2 there and 3 here"),
        ({"users": [1, 0]}, "different users"),
        ({"users": [0]}, "different users, n_users is 2 there and 1 here"),
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"explore": 0.5}, "explore is 0.0 there and 0.5 here"),
        ({"format": "csv"}, "format is 'parquet' there and 'csv' here"),
        ({"model_version": True}, "model_version is False there and True here"),
        ({"explain": True}, "explain is False there and True here"),
        ({"popularity": 0.5}, "popularity is None there and 0.5 here"),
        ({"filter_seen": False}, "filter_seen is True there and False here"),
        ({"on_unknown": "skip"}, "on_unknown is 'fallback' there and 'skip' here"),
        ({"items": [1, 2, 3]}, "different items"),
        ({"exclude": {0: [1]}}, "different exclude"),
        ({"rules": {"pinned": {0: [1]}}}, "different pinned"),
        ({"rules": {"max_new": 1}}, r"rules is \{.*'max_new': None.*\} there and \{.*'max_new': 1.*\} here"),
        ({"histories": pd.DataFrame({"user_id": [0], "item_id": [3]})}, "different histories"),
    ],
)
def test_another_job_in_the_folder_is_refused(model, tmp_path, change, told):
    job = {"users": [0, 1], "n": 3, "n_shards": 2}
    run(model, tmp_path, **job)
    before = content(tmp_path)
    for dry_run in (True, False):
        with pytest.raises(recgan.ConfigError, match=rf"holds another batch job: {told}.*restart=True \(--restart\)"):
            run(model, tmp_path, **{**job, **change}, dry_run=dry_run)
    assert content(tmp_path) == before


def test_another_model_is_another_job(model, named_model, tmp_path):
    run(model, tmp_path, ["x"], n=2, n_shards=1)
    with pytest.raises(recgan.ConfigError, match="a different model"):
        run(named_model, tmp_path, ["x"], n=2, n_shards=1)


def test_equal_arguments_are_the_same_job_however_they_are_written(model, tmp_path):
    histories = pd.DataFrame({"user_id": [1, 0, 1], "item_id": [3, 4, 5], "note": [1, 2, 3]}, index=[7, 7, 9])
    first = {"items": [3, 1, 2, 1], "exclude": {0: (5, 4), 1: []}, "histories": histories}
    other = {"items": iter([1, 2, 3]), "exclude": {np.int64(1): [], np.int64(0): np.array([4, 5, 5])}}
    run(model, tmp_path, [0, 1], n=3, n_shards=2, **first)
    again = histories.drop(columns="note").reset_index(drop=True).astype("int32")
    assert run(model, tmp_path, np.array([0, 1]), n=np.int64(3), n_shards=2, **other, histories=again).done == ()
    run(model, tmp_path / "pins", n=3, n_shards=1, rules={"pinned": {0: [4, 5], 1: {2: 3}}})
    same = {"pinned": {np.int64(1): {2: np.int64(3)}, 0: np.array([4, 5])}}
    assert run(model, tmp_path / "pins", n=3, n_shards=1, rules=same).done == ()


def test_users_and_item_lists_may_be_tables(model, tmp_path):
    pd.DataFrame({"user_id": [5, 3], "age": [1, 2]}).to_parquet(tmp_path / "users.parquet")
    deny = pd.DataFrame({"user_id": [3, 3], "item_id": [1, 2]})
    deny.to_csv(tmp_path / "deny.csv", index=False)
    some = {"users": tmp_path / "users.parquet", "exclude": str(tmp_path / "deny.csv")}
    run(model, tmp_path / "a", **some, items=pd.DataFrame({"item_id": range(30)}), n=30, n_shards=2)
    wanted = model.recommend_batch([5, 3], 30, exclude={3: [1, 2]}, items=range(30))
    wanted.attrs.clear()
    same_lists(read_batch(tmp_path / "a"), wanted)
    assert run(model, tmp_path / "a", [5, 3], exclude={3: [2, 1]}, items=range(30), n=30, n_shards=2).done == ()


def test_restart_removes_its_own_files_only(model, tmp_path):
    run(model, tmp_path, n=3, n_shards=9)
    own_temporary = tmp_path / f".part-00001-of-00009.parquet.{'a' * 32}.tmp"
    foreign = ["notes.txt", "part-1.parquet", "part-00001-of-00009.tsv", "x-part-00001-of-00009.parquet"]
    for name in [*foreign, own_temporary.name]:
        (tmp_path / name).write_text("x")
    (tmp_path / "part-00003-of-00004.json").mkdir()
    result = run(model, tmp_path, n=2, n_shards=2, restart=True)
    assert result.done == (0, 1)
    parts = {f"part-0000{shard}-of-00002.{kind}" for shard in (0, 1) for kind in ("parquet", "json")}
    assert names(tmp_path) == {".lock", "job.json", "shards.json", "part-00003-of-00004.json", *parts, *foreign}
    assert len(read_batch(tmp_path)) == 240


@pytest.mark.parametrize("name", ["data.csv", "job.json", "part-00000-of-00001.parquet"])
@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_something_else_is_refused(model, tmp_path, name, restart):
    (tmp_path / name).write_text('{"n_shards": 3}')
    with pytest.raises(recgan.ConfigError, match=f"holds '{name}' and is no batch job; choose a new or an empty"):
        run(model, tmp_path, restart=restart)
    assert names(tmp_path) == {name}
    assert not is_batch(tmp_path)
    with pytest.raises(recgan.DataError, match="holds no batch job"):
        read_batch(tmp_path)


def test_places_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(recgan.ConfigError, match="file: is no folder"):
        run(model, tmp_path / "file")
    with pytest.raises(recgan.RecganError, match="lists: cannot be written: "):
        run(model, tmp_path / "file" / "lists")
    with pytest.raises(recgan.RecganError, match="lists: cannot be written: "):
        score_shard(model, None, 0, 1, tmp_path / "file" / "lists")


READ_ONLY = """
import os, sys
import recgan
from recgan.batch import run_batch
model = recgan.Recommender.load(sys.argv[1])
run_batch(model, sys.argv[3], progress=False)  # loads every module while they can be read
if os.getuid() == 0:
    os.setuid(65534)
try:
    run_batch(model, sys.argv[2], progress=False)
except recgan.RecganError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_read_only_folder_is_told(folder, mode, tmp_path):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        lists = Path(place) / "lists"
        lists.mkdir()
        lists.chmod(mode)
        command = [sys.executable, "-c", READ_ONLY, str(folder), str(lists), str(tmp_path / "x")]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        lists.chmod(0o755)
        assert re.match(rf"{lists}: cannot be written: .*Permission denied", told)
        assert names(lists) == set()


def test_a_full_disk_leaves_no_half_file(model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch_shards, "file_hash", full)
    with pytest.raises(recgan.RecganError, match=r"cannot be written: .*No space left"):
        run(model, tmp_path, n=2, n_shards=2)
    monkeypatch.undo()
    assert names(tmp_path) == {".lock", "job.json"}
    assert run(model, tmp_path, n=2, n_shards=2).done == (0, 1)


def test_two_runs_do_not_work_in_one_folder(model, tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(recgan.ConfigError, match="another run is at work here"):
        run(model, tmp_path)
    assert run(model, tmp_path, n=1, n_shards=1).done == (0,)


def test_a_dry_run_writes_nothing(model, tmp_path):
    place = tmp_path / "deep" / "lists"
    planned = run(model, place, n_shards=3, dry_run=True)
    assert planned == BatchResult(
        place, (0, 1, 2), (), 0, 120, 0, expected_rows=1200, expected_bytes=planned.expected_bytes
    )
    assert not (tmp_path / "deep").exists()
    run(model, place, n=2, n_shards=3)
    (place / "part-00001-of-00003.parquet").unlink()
    before = content(place)
    planned = run(model, place, n=2, n_shards=3, dry_run=True)
    assert planned == BatchResult(
        place, (1,), (0, 2), 160, 120, 0, expected_rows=240, expected_bytes=planned.expected_bytes
    )
    assert run(model, place, n=9, n_shards=3, dry_run=True, restart=True).done == (0, 1, 2)
    assert content(place) == before


def test_given_histories_are_served_as_by_recommend_batch(model, interactions, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_shards, "CHUNK_USERS", 3)
    others = interactions.sample(frac=1.0, random_state=0).query("user_id < 30")
    histories = others.assign(user_id=others.user_id + 110)  # ten known users, twenty new ones
    users = [*range(100, 140), 5000]
    run(model, tmp_path / "some", users, n=5, n_shards=4, histories=histories)
    wanted = model.recommend_batch(users, 5, histories=histories)
    assert wanted.attrs.pop("fallback_users") == [5000]
    same_lists(read_batch(tmp_path / "some"), wanted)
    histories.to_csv(tmp_path / "h.csv", index=False)
    result = run(model, tmp_path / "all", n=5, n_shards=4, histories=tmp_path / "h.csv")
    assert (result.users, result.fallback_users) == (30, 0)
    assert read_batch(tmp_path / "all").user_id.drop_duplicates().tolist() == list(histories.user_id.unique())


def test_unknown_items_of_histories_are_told_once(model, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_shards, "CHUNK_USERS", 1)
    histories = pd.DataFrame({"user_id": [1, 2, 3], "item_id": [900, 901, 5]})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(model, tmp_path, n=2, n_shards=2, histories=histories)
    assert [str(one.message).split(",")[0] for one in told] == [
        "histories: 2 of 3 rows have an item outside the catalogue"
    ]


def test_items_and_exclude_per_user_reach_every_chunk(model, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_shards, "CHUNK_USERS", 2)
    exclude = {user: [(user * 7 + step) % 60 for step in range(20)] for user in range(9)}
    run(model, tmp_path, range(9), n=60, n_shards=2, items=iter(range(30)), exclude=exclude)
    lists = read_batch(tmp_path)
    assert lists.item_id.max() < 30
    assert not any(item in exclude[user] for user, item in zip(lists.user_id, lists.item_id, strict=True))


def test_unknown_users(model, tmp_path):
    users = [1, 777, 2]
    assert run(model, tmp_path / "a", users, n=2, n_shards=3).fallback_users == 1
    result = run(model, tmp_path / "b", users, n=2, n_shards=3, on_unknown="skip")
    assert (result.rows, result.users, result.fallback_users) == (4, 3, 0)
    with pytest.raises(recgan.UnknownUserError, match="unknown user 777"):
        run(model, tmp_path / "c", users, on_unknown="raise")
    assert not (tmp_path / "c").exists()
    histories = pd.DataFrame({"user_id": [777], "item_id": [3]})
    assert run(model, tmp_path / "c", users, n=2, n_shards=1, on_unknown="raise", histories=histories).rows == 6


def test_text_ids_stay_text(named_model, tmp_path):
    run(named_model, tmp_path, ["007", "010", "anna"], n=3, n_shards=2)
    lists = read_batch(tmp_path)
    assert lists.user_id.drop_duplicates().tolist() == ["007", "010", "anna"]
    assert lists.item_id.str.startswith("item ").all()
    schema = pq.read_schema(tmp_path / "part-00001-of-00002.parquet")
    assert (schema.field("user_id").type, schema.field("item_id").type) == (pa.string(), pa.string())
    again = run(named_model, tmp_path, pd.Series(["007", "010", "anna"], dtype=object), n=3, n_shards=2)
    assert again.done == ()


def test_the_ids_are_never_confused(model, named_model, tmp_path):
    assert run(model, tmp_path / "a", ["7"], n=1, n_shards=1).fallback_users == 1
    assert run(named_model, tmp_path / "b", [7], n=1, n_shards=1).fallback_users == 1
    with pytest.raises(recgan.ConfigError, match="different users"):
        run(model, tmp_path / "a", [7], n=1, n_shards=1)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"n": -1}, recgan.ConfigError, "n: a whole number of at least 0, not -1"),
        ({"n": 1.5}, recgan.ConfigError, "n: a whole number"),
        ({"n_shards": 0}, recgan.ConfigError, "n_shards: a whole number of at least 1, not 0"),
        ({"n_shards": True}, recgan.ConfigError, "n_shards: a whole number of at least 1, not True"),
        ({"format": "xml"}, recgan.ConfigError, "format: 'parquet', 'csv' or 'jsonl', not 'xml'"),
        ({"explain": "yes"}, recgan.ConfigError, "explain: True or False, not 'yes'"),
        (
            {"popularity": "much"},
            recgan.ConfigError,
            "popularity: a number from .* or None, not 'much'",
        ),
        ({"explore": 2}, recgan.ConfigError, "explore: a number from 0 to 1, not 2"),
        ({"on_unknown": "x"}, recgan.ConfigError, "on_unknown"),
        ({"users": [1, 2, 1]}, recgan.DataError, "users: 1 asked for more than once, such as 1"),
        ({"users": "abc"}, recgan.DataError, "abc: there is no such file"),
        ({"users": 3}, recgan.DataError, "a list of ids, not the single value 3"),
        ({"exclude": {1: [2, None]}}, recgan.DataError, "null"),
        ({"exclude": {1: [2], 5: ["a"]}}, recgan.DataError, "mixed"),
        ({"exclude": {1: 2}}, recgan.DataError, r"exclude\[1\]: a list of ids, not the single value 2"),
        ({"items": {1: ["a"]}}, recgan.DataError, "items: holds string ids"),
        ({"rules": {"pinned": ["a"]}}, recgan.DataError, "rules: pinned ids such as 'a'"),
        ({"rules": {"max_per_category": 1}}, recgan.ConfigError, "the model knows no categories"),
        ({"users": [1, None]}, recgan.DataError, "1 null id"),
        ({"users": [1, "a"]}, recgan.DataError, "mixed"),
        ({"items": ["x"]}, recgan.DataError, "items: holds string ids"),
        ({"histories": 3}, recgan.DataError, "histories: a frame or a path, not int"),
        ({"histories": pd.DataFrame({"user_id": [1]})}, recgan.DataError, "column 'item_id' missing"),
        ({"histories": "nowhere.csv"}, recgan.DataError, "there is no such file"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_written(model, tmp_path, options, error, told):
    with pytest.raises(error, match=told):
        run(model, tmp_path / "lists", **options)
    assert not (tmp_path / "lists").exists()


def test_bad_models_and_shards(model, tmp_path):
    with pytest.raises(recgan.ConfigError, match="model: a Recommender or a model folder, not int"):
        run(3, tmp_path / "lists")
    with pytest.raises(recgan.ArtifactError, match="nowhere: no such model folder"):
        run(tmp_path / "nowhere", tmp_path / "lists")
    for shard in (-1, 2, 0.0, True):
        with pytest.raises(recgan.ConfigError, match="shard: a whole number from 0 to 1, not"):
            score_shard(model, None, shard, 2, tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


def test_a_model_that_is_replaced_while_it_is_read_is_refused(model, folder, tmp_path, monkeypatch):
    """What was read may be of both."""
    load = preparing._load

    def replaced(path, told):
        found = load(path, told)
        seal = place / "manifest.sha256"
        seal.write_text(seal.read_text().replace(seal.read_text()[0], "x"))
        return found

    place = shutil.copytree(folder, tmp_path / "model")
    monkeypatch.setattr(preparing, "_load", replaced)
    with pytest.raises(recgan.ArtifactError, match="model: was replaced while it was read; try again"):
        run(place, tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


def test_files_can_be_read_by_others(model, tmp_path):
    umask = os.umask(0o022)
    os.umask(umask)
    path = score_shard(model, [1], 0, 1, tmp_path)
    assert {file.stat().st_mode & 0o777 for file in (path, path.with_suffix(".json"))} == {0o666 & ~umask}


def test_n_zero_and_n_beyond_the_catalogue(model, tmp_path):
    assert run(model, tmp_path / "none", n=0, n_shards=2).rows == 0
    assert read_batch(tmp_path / "none").dtypes.tolist() == [np.int64, np.int64, np.int64, np.float64]
    run(model, tmp_path / "all", n=1000, n_shards=2)
    assert read_batch(tmp_path / "all").groupby("user_id").size().max() < 60


def test_the_manifest_lists_every_shard(model, tmp_path):
    run(model, tmp_path, [*range(50), 999], n=4, n_shards=3)
    manifest = json.loads((tmp_path / "shards.json").read_text())
    parts = sorted(tmp_path.glob("*.parquet"))
    assert [shard["file"] for shard in manifest["shards"]] == [part.name for part in parts]
    assert [shard["bytes"] for shard in manifest["shards"]] == [part.stat().st_size for part in parts]
    assert [shard["sha256"] for shard in manifest["shards"]] == [recgan.artifact.file_hash(part) for part in parts]
    assert [shard["users"] for shard in manifest["shards"]] == [17, 17, 17]
    assert (manifest["users"], manifest["rows"], manifest["fallback_users"]) == (51, 204, 1)
    assert manifest["bytes"] == sum(part.stat().st_size for part in parts)
    assert manifest["model"] == json.loads((tmp_path / "job.json").read_text())["model"]


def test_the_manifest_stands_only_beside_whole_shards(model, tmp_path, monkeypatch):
    run(model, tmp_path, n=3, n_shards=2)
    (tmp_path / "part-00001-of-00002.parquet").unlink()
    monkeypatch.setattr(Job, "table", lambda *_: tmp_path.read_text())
    with pytest.raises(recgan.RecganError, match="cannot be written"):
        run(model, tmp_path, n=3, n_shards=2)
    monkeypatch.undo()
    assert "shards.json" not in names(tmp_path)
    run(model, tmp_path, n=3, n_shards=2)
    assert "shards.json" in names(tmp_path)


def test_shards_that_do_not_verify_after_they_were_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr("recgan.batch.running.make_shards", lambda *_: None)
    with pytest.raises(recgan.RecganError, match="shard 0 was written and does not verify"):
        run(model, tmp_path, n=3, n_shards=2)
    assert names(tmp_path) == {".lock", "job.json"}


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_dry_run_tells_how_large_it_will_be(model, tmp_path, form):
    job = {"users": range(3000), "n": 10, "n_shards": 3, "format": form}
    planned = run(model, tmp_path, **job, dry_run=True)
    done = run(model, tmp_path, **job)
    size = json.loads((tmp_path / "shards.json").read_text())["bytes"]
    assert planned.expected_rows == done.rows
    assert 0.6 < planned.expected_bytes / size < 1.6
    again = run(model, tmp_path, **job, dry_run=True)
    assert (again.expected_rows, again.expected_bytes) == (done.rows, size)
    assert (done.expected_rows, done.expected_bytes) == (None, None)
    nobody = run(model, tmp_path / "none", [], format=form, dry_run=True)
    assert (nobody.expected_rows, nobody.expected_bytes) == (0, 0)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_dry_run_counts_the_reasons(model, interactions, tmp_path, form):
    many = [interactions.assign(user_id=interactions.user_id + 120 * copy) for copy in range(15)]
    job = {"histories": pd.concat(many), "n_shards": 2, "format": form}
    plain, planned = (run(model, tmp_path, **job, explain=one, dry_run=True) for one in (False, True))
    run(model, tmp_path, **job, explain=True)
    size = json.loads((tmp_path / "shards.json").read_text())["bytes"]
    assert 0.6 < planned.expected_bytes / size < 1.6
    assert planned.expected_bytes > 1.3 * plain.expected_bytes


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_other_formats_hold_the_same_lists(named_model, tmp_path, form):
    strange = ["007", 'a,"b"', "two\nlines", "ü", "NULL", "1e5", " "]
    for kind in ("parquet", form):
        assert run(named_model, tmp_path / kind, strange, n=5, n_shards=3, format=kind).rows == 35
    pd.testing.assert_frame_equal(read_batch(tmp_path / form), read_batch(tmp_path / "parquet"), check_exact=True)
    part = tmp_path / form / f"part-00001-of-00003.{form}"
    whole = content(tmp_path / form)
    part.write_bytes(part.read_bytes()[:-1])
    assert run(named_model, tmp_path / form, strange, n=5, n_shards=3, format=form).done == (1,)
    assert content(tmp_path / form) == whole


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_other_formats_of_number_ids_and_of_nothing(model, tmp_path, form):
    users = np.array([3, 119, 60000], np.int32)
    for kind in ("parquet", form):
        run(model, tmp_path / kind, users, n=4, n_shards=4, format=kind, model_version=True)
    found = read_batch(tmp_path / form)
    pd.testing.assert_frame_equal(found, read_batch(tmp_path / "parquet"), check_exact=True)
    assert found.dtypes.tolist()[:4] == [np.int32, np.int64, np.int64, np.float64]
    version = json.loads((tmp_path / form / "job.json").read_text())["model"][:12]
    assert found["model_version"].unique().tolist() == [version]
    run(model, tmp_path / "none", n=0, n_shards=1, format=form)
    assert read_batch(tmp_path / "none").dtypes.tolist() == [np.int64, np.int64, np.int64, np.float64]


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_reasons_are_a_column_of_every_format(interactions, tmp_path, form):
    strange = ["a,b", 'the "best"', "two\nlines", "ü, 50 %", "-> (x)"]
    items = pd.DataFrame({"item_id": range(60), "title": [strange[one % 5] for one in range(60)]})
    titled = recgan.train(interactions, items.assign(categories="A|B"), config=recgan.Config(**QUICK))
    users = [*range(20), 999]
    run(titled, tmp_path / form, users, n=4, n_shards=3, format=form, explain=True, model_version=True)
    found = read_batch(tmp_path / form)
    assert list(found) == ["user_id", "item_id", "rank", "score", "reason", "model_version"]
    wanted = titled.recommend_batch(users, 4, explain=True)
    assert found["reason"].tolist() == wanted["reason"].tolist()
    assert not found["reason"].str.contains("\n").any()
    parts = content(tmp_path / form)
    run(titled, tmp_path / "again", users, n=4, n_shards=3, format=form, explain=True, model_version=True, workers=2)
    assert content(tmp_path / "again") == parts
    assert (
        run(titled, tmp_path / form, users, n=4, n_shards=3, format=form, explain=True, model_version=True).done == ()
    )


def test_progress_counts_steps():
    with Progress(enabled=False) as bar:
        tick = bar.steps("users", 5)
        tick(2)
        tick(3)


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr("recgan.progress.SECONDS_A_LINE", 0.0)
    for enabled in (True, False):
        with Progress(enabled) as bar:
            bar.steps("users", 10_000, done=1000)(1500)
    out = capsys.readouterr()
    assert out.out == ""
    assert re.fullmatch(r"users: 2,500 of 10,000, [\d,]+/s, \d:\d\d:\d\d left\n", out.err)


def test_pace():
    now = iter([0.0, 1.0, 1.0, 10.0, 10.0, 11.0, 19.0])
    pace = Pace(10_000, 1000, clock=lambda: next(now))
    assert (pace.after(0), pace.due()) == ("0/s, unknown left", False)
    assert (pace.after(3000), pace.due()) == ("300/s, 0:00:20 left", True)
    assert (pace.after(2500), pace.due()) == ("500/s, 0:00:07 left", False)


SLOW_RUN = """
import sys, time
from recgan.batch import run_batch
from recgan.batch.job import Job
served = Job.served
def slowly(self, start, stop):
    time.sleep(0.05)
    return served(self, start, stop)
Job.served = slowly
run_batch(sys.argv[1], sys.argv[2], n=5, n_shards=20)
"""


def test_a_killed_job_is_taken_up_where_it_was(folder, tmp_path):
    run(folder, tmp_path / "whole", n=5, n_shards=20)
    place = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", SLOW_RUN, str(folder), str(place)])
    deadline = time.monotonic() + 60
    while len(list(place.glob("part-*.json"))) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    result = run(folder, place, n=5, n_shards=20)
    assert 5 <= len(result.skipped) < 20
    assert len(result.done) + len(result.skipped) == 20
    assert content(place) == content(tmp_path / "whole")


KILLED_ANYWHERE = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
import recgan
from recgan.batch import files, run_batch
from recgan.batch.job import Job

pa.set_cpu_count(1)
model, root = recgan.Recommender.load(sys.argv[1]), Path(sys.argv[2])
left = [0]

def dying(function):
    def wrapped(*arguments):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return wrapped

def attempt(folder, steps):
    pid = os.fork()
    if pid == 0:
        left[0] = steps
        files._sync, Job.served = dying(files._sync), dying(Job.served)
        run_batch(model, folder, n=5, n_shards=2, progress=False)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

steps = 1
while attempt(root / str(steps), steps) == -signal.SIGKILL:
    assert attempt(root / str(steps), 0) == 0
    steps += 1
print(steps - 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_job_may_be_killed_at_every_step(folder, tmp_path):
    run(folder, tmp_path / "whole", n=5, n_shards=2)
    command = [sys.executable, "-c", KILLED_ANYWHERE, str(folder), str(tmp_path / "killed")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    steps = int(done.stdout)
    assert steps == 2 + 2 * (1 + 2 * 2) + 2  # one chunk a shard; every file is synced, and then its folder
    for step in range(1, steps + 2):
        assert content(tmp_path / "killed" / str(step)) == content(tmp_path / "whole"), step


@pytest.mark.parametrize("step", ["remove", "write_json"])
def test_a_restart_that_broke_off_is_no_foreign_folder(model, tmp_path, monkeypatch, step):
    def broken(*_):
        raise KeyboardInterrupt

    run(model, tmp_path, n=3, n_shards=2)
    monkeypatch.setattr(f"recgan.batch.claiming.{step}", broken)
    with pytest.raises(KeyboardInterrupt):
        run(model, tmp_path, n=2, n_shards=3, restart=True)
    monkeypatch.undo()
    assert run(model, tmp_path, n=2, n_shards=3, restart=True).done == (0, 1, 2)


def test_whole_file_keeps_the_old_one_after_an_error(tmp_path):
    def half(path):
        with batch_files.whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyError

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError):
        half(path)
    assert content(tmp_path) == {"a.txt": b"old"}


# --- what users state ---


@pytest.fixture(scope="module")
def grouped_model():
    """A model that knows categories and has learned what they mean to those who state them."""
    items = pd.DataFrame({"item_id": range(40), "categories": [f"group {item % 4}" for item in range(40)]})
    frame = planted(n_users=60, n_items=40, n_groups=4, noise=0.1, seed=0)
    return recgan.train(frame, items, config=recgan.Config(**{**QUICK, "epochs": 4}))


@pytest.mark.parametrize("workers", [1, 2])
def test_preferences_count_as_in_one_call(grouped_model, tmp_path, workers):
    stated = {3: {"categories": ["group 1"]}, 7: {"items": [5], "avoid": [9, "group 2"]}, 99: {"items": [0]}}
    run(grouped_model, tmp_path / "lists", [3, 7, 8, 99], n_shards=2, preferences=stated, workers=workers)
    wanted = grouped_model.recommend_batch([3, 7, 8, 99], preferences=stated)
    wanted.attrs.clear()
    same_lists(read_batch(tmp_path / "lists"), wanted)


def test_a_table_of_preferences_is_what_it_says(grouped_model, tmp_path):
    rows = [(3, "category", "group 1"), (7, "item", "5"), (7, "avoid", "9"), (7, "avoid", "group 2")]
    table = pd.DataFrame(rows, columns=["user_id", "preference", "value"])
    table.to_csv(tmp_path / "stated.csv", index=False)
    stated = {3: {"categories": ["group 1"]}, 7: {"items": [5], "avoid": [9, "group 2"]}}
    run(grouped_model, tmp_path / "one", preferences=stated)
    run(grouped_model, tmp_path / "two", preferences=tmp_path / "stated.csv")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    run(grouped_model, tmp_path / "all", preferences=table[1:].drop(columns="user_id"))
    lists = read_batch(tmp_path / "all")
    assert not (lists["item_id"].isin([5, 9]) | (lists["item_id"] % 4 == 2)).any()


def test_a_job_with_other_preferences_is_refused(grouped_model, tmp_path):
    run(grouped_model, tmp_path / "lists", preferences={"avoid": [3]})
    assert not run(grouped_model, tmp_path / "lists", preferences={"avoid": [3]}).done
    assert not run(grouped_model, tmp_path / "lists", preferences=Preferences(avoid=[3])).done
    run(grouped_model, tmp_path / "one", preferences={5: {"items": [2]}})
    assert not run(grouped_model, tmp_path / "one", preferences={5: Preferences(items=[2])}).done
    for other in (None, {"avoid": [4]}, {3: {"avoid": [3]}}):
        with pytest.raises(recgan.ConfigError, match="preferences"):
            run(grouped_model, tmp_path / "lists", preferences=other)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({7: {"categories": ["no group"]}}, "no group"),
        ({7: {"category": ["group 1"]}}, "category"),
        (7, "a dictionary"),
        (pd.DataFrame({"preference": ["likes"], "value": ["group 1"]}), r"'likes', not category, item, avoid"),
        (pd.DataFrame({"preference": ["avoid"]}), "value"),
    ],
)
def test_bad_preferences_stop_a_job_before_it_begins(grouped_model, tmp_path, bad, told):
    with pytest.raises(recgan.RecganError, match=told):
        run(grouped_model, tmp_path / "lists", preferences=bad)
    assert not (tmp_path / "lists").exists()


@pytest.fixture(scope="module")
def large():
    sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))
    from untrained import Shape, untrained

    return untrained(Shape(3000, 40, 8, linear="dense", history=10))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_may_search_approximately_and_says_how_near_it_came(large, tmp_path, workers):
    asked = {"n": 5, "n_shards": 2, "workers": workers}
    result = run(large, tmp_path / "lists", **asked, search="ivf", recall=0.8)
    searching = large.with_search("ivf", 0.8)
    assert result.recall == searching.info()["search"]["recall"]
    wanted = searching.recommend_batch(n=5)
    wanted.attrs.clear()
    same_lists(read_batch(tmp_path / "lists"), wanted)
    sidecar = json.loads((tmp_path / "lists" / "part-00001-of-00002.json").read_text())
    assert sidecar["recall"] == result.recall
    again = run(searching, tmp_path / "lists", **asked)  # a model that is handed over brings its search
    assert (again.done, again.skipped, again.recall) == ((), (0, 1), result.recall)


def test_an_index_that_items_have_left_is_that_of_all_workers(tmp_path):
    frame, random = planted(n_users=100, n_items=2000, n_groups=20, noise=0.1, seed=0), np.random.default_rng(0)
    whole = recgan.train(frame, config=recgan.Config(**QUICK))
    gone = whole.items[random.permutation(len(whole.items))[:700]]
    changed, anew = (
        whole.with_search("ivf", 0.05).remove_items(gone), whole.remove_items(gone).with_search("ivf", 0.05)
    )  # fmt: skip
    pairs = [random.choice(changed.items.to_numpy(), 2, replace=False) for _ in range(200)]
    histories = pd.DataFrame({"user_id": np.repeat(np.arange(1000, 1200), 2), "item_id": np.concatenate(pairs)})
    wanted = changed.recommend_batch(n=5, histories=histories)
    wanted.attrs.clear()
    assert not anew.recommend_batch(n=5, histories=histories)["item_id"].equals(wanted["item_id"])
    for workers in (1, 2):
        run(changed, tmp_path / str(workers), histories=histories, n=5, n_shards=2, workers=workers)
        same_lists(read_batch(tmp_path / str(workers)), wanted)


def test_auto_in_a_job_and_a_folder_that_holds_a_search(large, tmp_path):
    asked = {"n": 5, "n_shards": 2, "workers": 1}
    assert run(large, tmp_path / "auto", **asked, search="auto", search_memory=50).recall == 1.0  # few items
    searching = large.with_search("ivf-pq", 0.8)
    searching.save(tmp_path / "model")
    result = run(tmp_path / "model", tmp_path / "lists", **asked)
    assert result.recall == searching.info()["search"]["recall"]
    wanted = searching.recommend_batch(n=5)
    wanted.attrs.clear()
    same_lists(read_batch(tmp_path / "lists"), wanted)
    with pytest.raises(recgan.ConfigError, match="memory"):
        run(large, tmp_path / "other", **asked, search="ivf", search_memory=0.001)


def test_another_search_is_another_job(large, tmp_path):
    asked = {"n": 5, "n_shards": 2, "workers": 1}
    assert run(large, tmp_path / "lists", **asked).recall is None
    for search in ({"search": "ivf"}, {"search": "hnsw"}):
        with pytest.raises(recgan.ConfigError, match=r"search is None there and \{'kind': '"):
            run(large, tmp_path / "lists", **asked, **search)
    run(large, tmp_path / "lists", **asked, search="ivf", restart=True)
    with pytest.raises(recgan.ConfigError, match=r"'recall': 0.95} there and .*'recall': 0.9} here"):
        run(large, tmp_path / "lists", **asked, search="ivf", recall=0.9)
    with pytest.raises(recgan.ConfigError, match=r"search is .* there and None here"):
        run(large, tmp_path / "lists", **asked)  # the exact one
    with pytest.raises(recgan.ConfigError, match="not 'flat'"):
        run(large, tmp_path / "other", **asked, search="flat")

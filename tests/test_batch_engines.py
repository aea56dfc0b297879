"""Batch jobs by Ray and by Spark, on this machine: the same files as in this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from folders import content

import recgan
from recgan.batch import engines, read_batch, run_batch
from recgan.batch.job import table_hash

LIBRARIES = {"ray": "ray", "spark": "pyspark"}
JOB = {"users": range(300), "n": 10, "n_shards": 5, "explore": 0.4, "seed": 2, "explain": True, "progress": False}
MORE = {
    "histories": pd.DataFrame({"user_id": [250, 3, 250], "item_id": [3, 4, 5]}),
    "exclude": {5: [1, 2]},
    "rules": {"pinned": {7: [4]}},
    "preferences": {9: {"items": [3, 7], "avoid": [5]}, 260: {"items": [1]}},
    "popularity": 0.3,
}

pytestmark = pytest.mark.slow


@pytest.fixture(params=LIBRARIES)
def engine(request):
    pytest.importorskip(LIBRARIES[request.param])
    return request.param


class Deadly:
    """An assignment that kills whoever attempts it."""

    def attempt(self, shard: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return shard


def lists_hash(folder) -> str:
    return table_hash(read_batch(folder)[["user_id", "item_id", "rank"]])


def test_every_engine_writes_the_same_lists(model, engine, tmp_path):
    result = run_batch(model, tmp_path / engine, engine=engine, workers=2, **JOB, **MORE)
    run_batch(model, tmp_path / "local", workers=2, **JOB, **MORE)
    run_batch(model, tmp_path / "alone", workers=1, **JOB, **MORE)
    assert result.done == (0, 1, 2, 3, 4)
    assert lists_hash(tmp_path / engine) == lists_hash(tmp_path / "local") == lists_hash(tmp_path / "alone")
    assert content(tmp_path / engine) == content(tmp_path / "alone")


def test_an_engine_reads_and_writes_by_url(model, folder, engine, tmp_path):
    """`local://` is a file system like any other for fsspec, and all processes see it."""
    run_batch(folder, tmp_path / "whole", **JOB)
    for name, source in (("given", model), ("read", f"local://{folder}")):
        run_batch(source, f"local://{tmp_path}/{name}", engine=engine, workers=2, **JOB)
        assert content(tmp_path / name) == content(tmp_path / "whole")


SLOW_RUN = """
import sys
from recgan.batch import run_batch
run_batch(sys.argv[1], sys.argv[2], range(4000), 20, 200, engine=sys.argv[3], workers=2, progress=False)
"""


def test_ctrl_c_ends_the_workers_and_keeps_what_is_whole(folder, engine, tmp_path):
    place = tmp_path / "lists"
    command = [sys.executable, "-c", SLOW_RUN, str(folder), str(place), engine]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(place.glob("part-*.json"))) < 5:
        assert time.monotonic() < deadline
        assert driver.poll() is None
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    _, told = driver.communicate(timeout=60)
    assert driver.returncode != 0
    assert "KeyboardInterrupt" in told
    there = len(list(place.glob("part-*.json")))
    assert there < 200
    time.sleep(1.5)
    assert len(list(place.glob("part-*.json"))) == there
    result = run_batch(folder, place, range(4000), 20, 200, progress=False)
    assert len(result.skipped) == there
    run_batch(folder, tmp_path / "whole", range(4000), 20, 200, progress=False)
    assert content(place) == content(tmp_path / "whole")


def test_an_engine_makes_what_is_missing_and_tells_what_fails(model, engine, tmp_path, monkeypatch):
    model.save(tmp_path / "model")
    place = tmp_path / "lists"
    assert run_batch(tmp_path / "model", place, engine=engine, **JOB).done == (0, 1, 2, 3, 4)
    whole = content(place)
    (place / "part-00003-of-00005.parquet").unlink()
    assert run_batch(tmp_path / "model", place, engine=engine, **JOB).done == (3,)
    assert content(place) == whole
    (place / "part-00003-of-00005.parquet").unlink()
    original = engines.import_module

    def damaged(name):
        (tmp_path / "model" / "weights.safetensors").write_bytes(b"x")
        return original(name)

    monkeypatch.setattr(engines, "import_module", damaged)
    with pytest.raises(recgan.ArtifactError, match=r"weights\.safetensors: does not match its SHA-256"):
        run_batch(tmp_path / "model", place, engine=engine, **JOB)


def test_workers_that_are_lost_again_and_again(model, engine, tmp_path, monkeypatch):
    module = engines.import_module(f"recgan.batch.{engine}")
    run = module.run
    monkeypatch.setattr(module, "run", lambda assignment, *more: run(Deadly(), *more))
    with pytest.raises(recgan.RecganError, match="run the job again to make the others"):
        run_batch(model, tmp_path, engine=engine, workers=1, **JOB)
    monkeypatch.undo()
    assert run_batch(model, tmp_path, **JOB).done == (0, 1, 2, 3, 4)


def test_a_ray_that_is_not_there_is_told(model, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    module = engines.import_module("recgan.batch.ray")

    def nobody(**_):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(module, "ALONE", False)
    monkeypatch.setattr(module.ray, "init", nobody)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    told = "Ray at RAY_ADDRESS=127.0.0.1:1 cannot be reached: nobody answers"
    with pytest.raises(recgan.RecganError, match=f"^{told}"):
        run_batch(model, tmp_path, engine="ray", **JOB)

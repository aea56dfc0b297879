"""Batch jobs in several processes: the same files, whoever dies."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from folders import content
from planted import planted

import recgan
from recgan.batch import engines, local, read_batch, run_batch, worker
from recgan.batch.assignment import Assignment
from recgan.batch.failure import Failure
from recgan.batch.folders import LocalFolder
from recgan.errors import ArtifactError, RecganError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
USERS = range(1500)  # most of them unknown
JOB = {"users": USERS, "n": 20, "n_shards": 60, "explore": 0.5, "seed": 3}


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The files of the job, made in this process."""
    place = tmp_path_factory.mktemp("whole")
    run_batch(folder, place, workers=1, progress=False, **JOB)
    return content(place)


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def n_whole(place: Path) -> int:
    return len(list(place.glob("part-*.json")))


def test_two_workers_write_the_same_files_as_one(model, tmp_path):
    histories = pd.DataFrame({"user_id": [1400, 3, 1400], "item_id": [3, 4, 5]})
    rules = {"calibration": 0.2, "max_new": 0, "pinned": {5: [3], 1498: {2: 9}}}
    more = {"histories": histories, "exclude": {5: [1, 2], 1499: [7]}, "rules": rules}
    for workers in (1, 2):
        options = {**JOB, "n_shards": 4, **more}
        result = run_batch(model, tmp_path / str(workers), workers=workers, progress=False, **options)
        assert (result.done, result.users, result.rows) == ((0, 1, 2, 3), 1500, 30000)
    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_a_script_needs_no_guard(folder, whole, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import recgan.batch\nrecgan.batch.run_batch({str(folder)!r}, 'lists', workers=3, **{JOB!r})\n")
    subprocess.run([sys.executable, script.name], cwd=tmp_path, check=True, timeout=120)
    assert content(tmp_path / "lists") == whole


def test_as_many_workers_as_pay(model, monkeypatch):
    monkeypatch.setattr(engines, "_cores", lambda: 4)
    monkeypatch.setattr(engines, "OWN", 40)
    monkeypatch.setattr(engines, "WORTH_A_WORKER", 10 * (60 + 40))
    job = engines_job(model, 35, 8)
    assert engines._local_workers(job, range(8), None) == 4
    assert engines._local_workers(job, range(3), None) == 2  # thirteen users
    assert engines._local_workers(job, range(3), 9) == 3
    assert engines._local_workers(job, range(8), 7) == 7
    assert engines._cores() >= 1


def engines_job(model, n_users: int, n_shards: int):
    from recgan.batch.preparing import prepare
    from recgan.batch.running import _options

    return prepare(
        model,
        range(n_users),
        3,
        n_shards,
        None,
        _options(None, None, True, "fallback", 0.0, None, None, None, False, 0),
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": "cloud"}, "engine: 'local', 'ray' or 'spark', not 'cloud'"),
        ({"workers": 0}, "workers: a whole number of at least 1, or None, not 0"),
        ({"workers": True}, "workers: a whole number"),
        ({"workers": 1.5}, "workers: a whole number"),
    ],
)
def test_bad_engines_and_workers(model, tmp_path, options, told):
    with pytest.raises(recgan.ConfigError, match=told):
        run_batch(model, tmp_path / "lists", **options)
    assert not (tmp_path / "lists").exists()


@pytest.mark.parametrize(("engine", "library"), [("ray", "ray"), ("spark", "pyspark")])
def test_an_engine_that_is_not_installed(model, tmp_path, monkeypatch, engine, library):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    told = rf"engine='{engine}': {library} is not installed; pip install 'recgan\[{engine}\]'"
    with pytest.raises(recgan.ConfigError, match=told):
        run_batch(model, tmp_path / "lists", engine=engine)
    assert not (tmp_path / "lists").exists()


def test_damaged_shards_are_made_again_by_two_workers(folder, whole, tmp_path):
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
    harmed = [tmp_path / f"part-000{shard}-of-00060.parquet" for shard in ("07", "21", "59")]
    harmed[0].unlink()
    harmed[1].write_bytes(harmed[1].read_bytes()[:-9])
    harmed[2].write_bytes(harmed[2].read_bytes().replace(b"\x00", b"\x01", 1))
    result = run_batch(folder, tmp_path, workers=2, progress=False, **JOB)
    assert result.done == (7, 21, 59)
    assert content(tmp_path) == whole


def test_a_full_disk_stops_two_workers(folder, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    options = {"users": USERS, "n": 20, "n_shards": 3, "progress": False}
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(recgan.RecganError, match=r"lists: cannot be written: .*File too large") as caught:
            run_batch(folder, tmp_path / "lists", workers=2, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert any("in a worker:\n" in note for note in caught.value.__cause__.__notes__)
    assert set(content(tmp_path / "lists")) == {"job.json"}
    assert run_batch(folder, tmp_path / "lists", **options).done == (0, 1, 2)


def test_another_model_in_the_folder_is_refused(model, folder, tmp_path, monkeypatch):
    def replaced(*arguments):
        frame = planted(n_users=24, n_items=30, n_groups=3, noise=0.1, seed=1)
        config = recgan.Config(epochs=0, game_steps=0, embedding_dim=8, hidden_dim=8, progress=False)
        other = recgan.train(frame, config=config)
        other.save(tmp_path / "model")
        original(*arguments)

    def unlinkable(*_):
        raise OSError(18, "Invalid cross-device link")

    original = local.run
    shutil.copytree(folder, tmp_path / "model")
    monkeypatch.setattr(local, "run", replaced)
    monkeypatch.setattr(os, "link", unlinkable)
    with pytest.raises(recgan.ArtifactError, match="model: holds another model than when the job began"):
        run_batch(tmp_path / "model", tmp_path / "lists", workers=2, progress=False, **JOB)
    assert set(content(tmp_path / "lists")) == {"job.json"}


def test_the_model_in_the_folder_may_be_replaced_before_the_workers_read_it(folder, whole, tmp_path, monkeypatch):
    def replaced(*arguments):
        (tmp_path / "model").rename(tmp_path / "old")
        shutil.rmtree(tmp_path / "old")
        original(*arguments)

    original = local.run
    shutil.copytree(folder, tmp_path / "model")
    monkeypatch.setattr(local, "run", replaced)
    run_batch(tmp_path / "model", tmp_path / "lists", workers=2, progress=False, **JOB)
    assert content(tmp_path / "lists") == whole


def test_workers_go_on_with_the_model_with_which_the_job_began(model, folder, whole, tmp_path):
    """The folder is replaced in the middle of the job: the lists are those of the model that `job.json` names."""

    def replace() -> None:
        until(lambda: n_whole(tmp_path / "lists") >= 3)
        changed = recgan.Recommender(*other)
        changed.save(tmp_path / "model")

    parts = (model._users, model._items, model._histories, model._profiles, model.item_table, model._blocks)
    other = (*parts, model._judge, model._config, {**model._report, "changed": True})
    shutil.copytree(folder, tmp_path / "model")
    replacing = threading.Thread(target=replace)
    replacing.start()
    run_batch(tmp_path / "model", tmp_path / "lists", workers=2, progress=False, **JOB)
    replacing.join()
    assert recgan.Recommender.load(tmp_path / "model").info()["changed"]
    assert content(tmp_path / "lists") == whole
    with pytest.raises(recgan.ConfigError, match="holds another batch job: a different model"):
        run_batch(tmp_path / "model", tmp_path / "lists", workers=2, progress=False, **JOB)


def test_errors_travel_as_they_are():
    for error in (recgan.DataError("bad"), OSError(28, "No space left on device", "some/file"), KeyError(3)):
        back = Failure.of(error).error()
        assert (type(back), str(back)) == (type(error), str(error))
        assert back.__notes__[0].startswith("in a worker:\n")
    strange = Failure(UnicodeDecodeError, ("too few",), "Traceback:\nValueError: told\n").error()
    assert (type(strange), str(strange)) == (recgan.RecganError, "a worker failed: ValueError: told")


def killed_worker(folder: Path, place: Path, after: int, seed: int) -> None:
    """Run the job with two workers, of which one is killed once some shards are there."""

    def kill() -> None:
        until(lambda: n_whole(place) >= after and len(workers_of(os.getpid())) == 2)
        os.kill(random.choice(workers_of(os.getpid())), signal.SIGKILL)

    random = np.random.default_rng(seed)
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(recgan.RecganError, match=r"a worker was killed by SIGKILL, .*run the job again"):
        run_batch(folder, place, workers=2, progress=False, **JOB)
    killer.join()
    assert workers_of(os.getpid()) == []


def killed_driver(folder: Path, place: Path, after: int, how: signal.Signals = signal.SIGKILL) -> int:
    """Run the job in a process of its own, which is killed once some shards are there; its exit status."""
    code = f"import sys; from recgan.batch import run_batch; run_batch({str(folder)!r}, {str(place)!r}, workers=2, "
    driver = subprocess.Popen([sys.executable, "-c", f"{code}**{JOB!r})"], stderr=subprocess.DEVNULL)
    until(lambda: n_whole(place) >= after and len(workers_of(driver.pid)) == 2)
    workers = workers_of(driver.pid)
    driver.send_signal(how)
    status = driver.wait(60)
    until(lambda: not any(map(running, workers)))
    return status


def finished(folder: Path, place: Path, whole: dict[str, bytes]) -> None:
    """What a kill left is whole, and the next run makes exactly what is missing."""
    there = {name: data for name, data in content(place).items() if name.endswith(".json")}
    assert all(whole[name] == data for name, data in there.items() if not name.startswith("."))
    result = run_batch(folder, place, workers=1, progress=False, **JOB)
    assert len(result.skipped) + 1 >= len([name for name in there if name.startswith("part-")])
    assert content(place) == whole
    assert read_batch(place).groupby("user_id").size().tolist() == [20] * len(USERS)


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_worker_loses_only_its_shard(folder, whole, tmp_path, seed):
    killed_worker(folder, tmp_path, 1 + 9 * seed, seed)
    assert ".tmp" not in "".join(content(tmp_path))
    finished(folder, tmp_path, whole)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemExit(3)", "a worker ended with exit code 3, .*run the job again"),
        ("import os, sys, time; os.close(int(sys.argv[1])); time.sleep(60)", "a worker hung up; .*run the job again"),
    ],
)
def test_a_worker_that_does_not_work_is_told_and_ended(folder, tmp_path, monkeypatch, code, told):
    monkeypatch.setattr(local, "ENTRY", code)
    monkeypatch.setattr(local, "PATIENCE", 10.0 if "Exit" in code else 0.1)
    with pytest.raises(RecganError, match=told):
        run_batch(folder, tmp_path, workers=2, progress=False, **JOB)
    assert workers_of(os.getpid()) == []
    assert set(content(tmp_path)) == {"job.json"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_driver_takes_its_workers_along(folder, whole, tmp_path, how):
    assert killed_driver(folder, tmp_path, 7, how) == -how
    finished(folder, tmp_path, whole)


@pytest.mark.long
def test_fifty_kills(folder, whole, tmp_path):
    random = np.random.default_rng(0)
    for turn in range(50):
        place = tmp_path / str(turn)
        if turn % 2:
            killed_worker(folder, place, int(random.integers(0, 40)), turn)
        else:
            assert killed_driver(folder, place, int(random.integers(0, 40))) == -signal.SIGKILL
        finished(folder, place, whole)
        shutil.rmtree(place)


class Deaf:
    """A connection through which the first message does not go."""

    def __init__(self):
        self.sent = []

    def send(self, message):
        if not self.sent:
            self.sent.append(None)
            raise TypeError("cannot be sent")
        self.sent.append(message)


def test_an_error_that_cannot_be_sent_is_told_in_words():
    deaf = Deaf()
    worker._tell(deaf, Failure(ValueError, (object(),), "Traceback\nValueError: in the middle"))
    error = deaf.sent[1].error()
    assert type(error) is RecganError
    assert str(error) == "a worker failed: ValueError: in the middle"


def test_a_shard_that_cannot_be_made_is_a_failure_with_its_reason(folder, tmp_path):
    assignment = Assignment(folder, "another", LocalFolder(tmp_path), {"search": None})
    failure = assignment.attempt(0)
    assert failure.kind is ArtifactError
    assert "holds another model than when the job began" in str(failure.error())
    assert "in a worker:" in failure.error().__notes__[0]

"""What survives kill -9, a full disk and a place that may not be written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import recgan
from recgan import artifact
from recgan.errors import ArtifactError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
SCRIPT = Path(__file__).parent / "crashes.py"
KILLS = pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.long)])


def account(what: str, folder: Path, root: Path, kills: int) -> dict:
    paths = [str(SCRIPT.parent), str(Path(recgan.__file__).parent.parent)]
    environment = {**os.environ, "PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), what, str(folder), str(root), str(kills), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@KILLS
def test_a_save_may_be_killed_anywhere(folder, tmp_path, kills):
    told = account("save", folder, tmp_path, kills)
    assert told["old"] + told["new"] == kills  # what is loaded is the one or the other, whole
    assert told["rest"] == ["model"]  # what the killed ones have left is gone


@KILLS
def test_a_fetch_may_be_killed_anywhere(folder, tmp_path, kills):
    told = account("fetch", folder, tmp_path, kills)
    assert told["kills"] == kills
    assert told["rest"] == [".ml-1m.lock", "ml-1m"]


@KILLS
def test_a_training_may_be_killed_anywhere(folder, tmp_path, kills):
    told = account("train", folder, tmp_path, kills)
    assert told["kills"] == kills
    assert told["gap"] <= 1e-6
    assert told["equal"] == told["finished"] >= 1


def test_between_the_two_renames_the_old_model_is_found(folder, tmp_path, monkeypatch):
    place = shutil.copytree(folder, tmp_path / "model")
    rename, model = Path.rename, recgan.Recommender.load(place)

    def killed(path, target):
        if Path(target) == place:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        model.remove_users([0]).save(place)
    monkeypatch.undo()
    assert not place.exists()
    assert recgan.recommend(0, model=place).equals(model.recommend(0))
    model.remove_users([0]).save(place)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert len(recgan.Recommender.load(place).users) == 119


def test_what_a_killed_save_has_left_is_removed_by_a_later_one(folder, tmp_path):
    fresh, stale, other = (tmp_path / name for name in (".model.a.new", ".model.b.new", ".models.c.new"))
    for path in (fresh, stale, other):
        path.mkdir()
        (path / "weights.safetensors").write_bytes(b"x")
    os.utime(stale, (0, 0))
    os.utime(other, (0, 0))
    recgan.Recommender.load(folder).save(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.a.new", ".models.c.new", "model"]


def in_a_child(work) -> str:
    """What a forked child says, for limits that cannot be taken back."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            said = "done"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as told:
        return told.read()


@pytest.mark.parametrize("bytes_left", [0, 1000, 5000, 60_000])
def test_a_full_disk_leaves_the_old_model(folder, tmp_path, bytes_left):
    place = shutil.copytree(folder, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    model = recgan.Recommender.load(place)

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, bytes_left))
        model.save(place)

    assert in_a_child(fill).startswith(f"ArtifactError: {place}: cannot be written")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights")
def test_a_place_that_may_not_be_written_is_told(folder, tmp_path):
    model = recgan.Recommender.load(folder)
    for path in (tmp_path, *list(tmp_path.parents)[:-1]):
        path.chmod(path.stat().st_mode | 0o055)

    def try_it():
        os.setuid(65534)
        model.save(tmp_path / "model")

    assert in_a_child(try_it).startswith(f"ArtifactError: {tmp_path / 'model'}: cannot be written")
    assert list(tmp_path.iterdir()) == []


def test_standing_is_the_folder_itself_unless_it_is_gone(tmp_path):
    assert artifact.standing(tmp_path / "none") == tmp_path / "none"
    with pytest.raises(ArtifactError, match="no such model folder"):
        recgan.Recommender.load(tmp_path / "none")

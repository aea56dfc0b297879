"""Hostile files: all are refused with a typed error, run nothing, write nothing elsewhere, and fill no memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import ARCHIVES, CANARY, FILES, HARMS, WANTED, good, sealed

import recgan
from recgan.datasets.archive import extract
from recgan.errors import ArtifactError, DataError

KIB, MIB = 1 << 10, 1 << 20
TRY_ALL = """
import json, os, sys
from pathlib import Path
import recgan
from hostile import HARMS
from recgan.errors import ArtifactError
import shutil

root, good = Path(sys.argv[1]), Path(sys.argv[2])
recgan.Recommender.load(good)
os.chdir(root / "work")
seen = []
watched = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect",
           "shutil.rmtree", "os.rename", "os.remove", "os.mkdir")
def watch(event, arguments):
    wrote = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if watching and (event in watched or wrote):
        seen.append(f"{event} {arguments!r}")
watching = False
sys.addaudithook(watch)

def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024

told = {}
for number, (name, harm) in enumerate(HARMS.items()):
    copy = root / "copies" / str(number) / "model"
    shutil.copytree(good, copy)
    harm(copy)
    size = sum(path.stat().st_size for path in copy.iterdir())
    open("/proc/self/clear_refs", "w").write("5")
    before, watching = status("VmRSS"), True
    try:
        recgan.Recommender.load(copy)
        error = None
    except Exception as raised:
        error = [type(raised).__name__, str(raised)]
    watching = False
    told[name] = {"error": error, "size": size, "memory": status("VmHWM") - before, "seen": list(seen)}
    seen.clear()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(folder, tmp_path_factory):
    """What became of every hostile folder, tried in one process that is watched."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "work").mkdir()
    command = [sys.executable, "-c", TRY_ALL, str(root), str(folder)]
    paths = [str(Path(__file__).parent), str(Path(recgan.__file__).parent.parent)]
    environment = {"PYTHONPATH": ":".join(paths), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return root, json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", HARMS)
def test_hostile_folders_are_refused_without_harm(name, told):
    root, found = told
    one = found[name]
    assert one["error"] is not None, "it was loaded"
    assert one["error"][0] == "ArtifactError", one["error"]
    assert len(one["error"][1]) < 1000
    assert one["seen"] == []
    assert one["memory"] <= 2 * one["size"] + 200 * MIB
    assert not list(root.rglob(CANARY))


REASONS = {
    "one vector more": "61 item vectors for 60 items",
    "events that weigh less than nothing": "weights are finite numbers above 0",
    "events that weigh NaN": "weights are finite numbers above 0",
    "preferences for categories that lack": "preferences are of the shape (16, 5), the model's is (16, 0)",
    "a strength of nothing": "a mean above 0 and a power from 0",
    "a strength without end": "a mean above 0 and a power from 0",
    "least squares of nothing": "unseen and ridge must be above 0",
    "least squares without end": "unseen and ridge must be above 0",
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", REASONS)
def test_they_are_refused_for_what_is_wrong_with_them(name, told):
    assert REASONS[name] in told[1][name]["error"][1]


def test_there_are_enough_of_them():
    assert len(HARMS) + len(ARCHIVES) >= 80


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.mark.parametrize("again", [False, True], ids=["as it is", "sealed anew"])
@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_file_cut_at_any_kib_is_refused(copy, name, again):
    whole = (copy / name).read_bytes()
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    for length in range(0, len(whole), KIB):
        (copy / name).write_bytes(whole[:length])
        if again and name != "manifest.json":
            sealed(copy)
        with pytest.raises(ArtifactError):
            recgan.Recommender.load(copy)
        for other, data in before.items():
            (copy / other).write_bytes(data)


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "manifest.sha256"])
def test_one_flipped_bit_in_any_file_is_refused(copy, name):
    whole = (copy / name).read_bytes()
    for place in {0, 7, len(whole) // 3, len(whole) // 2, len(whole) - 2}:
        for bit in (0, 7):
            changed = bytearray(whole)
            changed[place % len(whole)] ^= 1 << bit
            (copy / name).write_bytes(changed)
            with pytest.raises(ArtifactError):
                recgan.Recommender.load(copy)
    (copy / name).write_bytes(whole)
    recgan.Recommender.load(copy)


def test_a_good_archive_is_taken(tmp_path):
    good(tmp_path / "a.zip")
    (tmp_path / "out").mkdir()
    extract(tmp_path / "a.zip", WANTED, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["u.data", "u.item"]


@pytest.mark.parametrize("name", ARCHIVES)
def test_hostile_archives_are_refused(name, tmp_path):
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True)
    ARCHIVES[name](tmp_path / "a.zip")
    with pytest.raises(DataError):
        extract(tmp_path / "a.zip", WANTED, folder)
    assert {path.name for path in tmp_path.rglob("*")} <= {"deep", "out", "a.zip", "u.data", "u.item"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100 * (tmp_path / "a.zip").stat().st_size + 1


def test_an_archive_cut_anywhere_is_refused(tmp_path):
    good(tmp_path / "whole.zip")
    whole = (tmp_path / "whole.zip").read_bytes()
    for length in range(0, len(whole), 16):
        (tmp_path / "a.zip").write_bytes(whole[:length])
        (tmp_path / str(length)).mkdir()
        with pytest.raises(DataError):
            extract(tmp_path / "a.zip", WANTED, tmp_path / str(length))

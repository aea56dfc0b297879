from __future__ import annotations

import json
import os

import numpy as np
import pytest

from recgan import artifact
from recgan.errors import ArtifactError


def fill(folder):
    artifact.save_arrays(folder / "a.safetensors", {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})
    (folder / "b.txt").write_text("hello", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    artifact.write_folder(tmp_path / "some" / "model", fill, {"made": "here"})
    return tmp_path / "some" / "model"


def test_there_and_back(folder):
    manifest = artifact.read_manifest(folder)
    assert manifest["made"] == "here"
    assert set(manifest["files"]) == {"a.safetensors", "b.txt"}
    assert artifact.load_arrays(folder / "a.safetensors")["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["a.safetensors", "b.txt", "manifest.json", "manifest.sha256"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "link"])
def test_damage_is_told_with_the_name_of_the_file(folder, name, damage):
    path = folder / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-2])
    else:
        path.unlink()
        if damage == "link":
            other = folder.parent / "other"
            other.write_bytes(content)
            path.symlink_to(other)
    with pytest.raises(
        ArtifactError, match=r"manifest\.json" if name.startswith("manifest") and damage in ("flip", "cut") else name
    ):
        artifact.read_manifest(folder)


@pytest.mark.parametrize("name", ["../b.txt", "/etc/passwd", "sub/b.txt"])
def test_a_manifest_cannot_name_files_elsewhere(folder, name):
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: "0"}
    text = json.dumps(manifest)
    (folder / "manifest.json").write_text(text)
    (folder / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest())
    with pytest.raises(ArtifactError, match="no plain file"):
        artifact.read_manifest(folder)


def test_another_format_is_refused(folder, monkeypatch):
    monkeypatch.setattr(artifact, "FORMAT", 2)
    with pytest.raises(ArtifactError, match="format 1, this version reads 2"):
        artifact.read_manifest(folder)


def test_replacing_keeps_the_old_one_when_filling_fails(folder):
    def broken(place):
        fill(place)
        raise OSError("disk full")

    with pytest.raises(ArtifactError, match="disk full"):
        artifact.write_folder(folder, broken, {})
    assert artifact.read_manifest(folder)["made"] == "here"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    artifact.write_folder(folder, fill, {"made": "again"})
    assert artifact.read_manifest(folder)["made"] == "again"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_what_is_no_artifact_is_never_replaced(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("precious", "file"):
        with pytest.raises(ArtifactError, match="no recgan artifact"):
            artifact.write_folder(tmp_path / name, fill, {})
    (tmp_path / "empty").mkdir()
    artifact.write_folder(tmp_path / "empty", fill, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_target(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ArtifactError, match="cannot be written"):
        artifact.write_folder(tmp_path / "model", fill, {})


def test_missing_folder(tmp_path):
    with pytest.raises(ArtifactError, match="no such model folder"):
        artifact.read_manifest(tmp_path / "none")

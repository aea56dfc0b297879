"""Kill -9 at random moments: `python crashes.py WHAT MODEL ROOT KILLS SEED` prints a JSON account.

Children are forked from a process that has everything loaded, so that the moments fall into the work itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
from conftest import SMALL
from planted import planted

import recgan
from recgan import artifact
from recgan.datasets import fetch, known

CONFIG = {**SMALL, "epochs": 8, "game_steps": 20}


def killed_after(seconds: float | None, work: Callable[[], object]) -> bool:
    """Do the work in a child; whether it was killed before it was done."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"the child ended with {status}")
    return status != 0


def saving(model: Path, root: Path, kills: int, luck: random.Random) -> dict[str, object]:
    """One of two models is saved over the other, again and again."""
    one, place = recgan.Recommender.load(model), root / "model"
    two = one.remove_users([0])
    one.save(place)
    sizes, between, left = {len(one.users): 0, len(two.users): 0}, 0, 0

    def work() -> None:
        while True:
            two.save(place)
            one.save(place)

    for _ in range(kills):
        killed_after(luck.uniform(0.0, 0.25), work)
        between += not place.exists()
        sizes[len(recgan.Recommender.load(place).users)] += 1
        left = max(left, len(list(root.iterdir())))
    artifact.ABANDONED = 0.0
    one.save(place)
    rest = sorted(path.name for path in root.iterdir())
    return {"kills": kills, "old": sizes[120], "new": sizes[119], "between": between, "left": left, "rest": rest}


def archive() -> bytes:
    luck, place = random.Random(0), io.BytesIO()
    rows = "\n".join(f"{user}::{luck.randrange(900)}::{luck.randrange(1, 6)}::{user}" for user in range(1, 120_000))
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("ml-1m/ratings.dat", rows)
        opened.writestr("ml-1m/movies.dat", "\n".join(f"{item}::Film {item} (1990)::Drama" for item in range(900)))
        opened.writestr("ml-1m/users.dat", "\n".join(f"{user}::M::25::3::02139" for user in range(1, 120_000)))
        opened.writestr("ml-1m/README", "x")
    return place.getvalue()


class Slowly(http.server.SimpleHTTPRequestHandler):
    """Serves files in small pieces, and says nothing."""

    def copyfile(self, source, outputfile) -> None:
        while piece := source.read(1 << 15):
            outputfile.write(piece)
            time.sleep(0.004)

    def log_message(self, *_) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()


def fetching(model: Path, root: Path, kills: int, luck: random.Random) -> dict[str, object]:
    """A data set is fetched from this machine, and thrown away once it is there."""
    (root / "www").mkdir()
    data = archive()
    (root / "www" / "ml-1m.zip").write_bytes(data)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Slowly, directory=root / "www"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    known.BASE = f"http://127.0.0.1:{server.server_port}"
    known.KNOWN["ml-1m"] = replace(known.KNOWN["ml-1m"], md5=hashlib.md5(data).hexdigest())
    cache, died, whole = root / "cache", 0, 0
    os.environ["no_proxy"] = "127.0.0.1"

    def work() -> None:
        fetch.fetch_dataset("ml-1m", cache)

    killed_after(None, work)
    expected = {path.name: path.read_bytes() for path in (cache / "ml-1m").iterdir()}
    shutil.rmtree(cache)
    while died < kills:
        if killed_after(luck.uniform(0.0, 0.4), work):
            died += 1
        if not (cache / "ml-1m").exists():
            continue
        whole += {path.name: path.read_bytes() for path in (cache / "ml-1m").iterdir()} == expected
        shutil.rmtree(cache)
    killed_after(None, work)
    rest = sorted(path.name for path in cache.iterdir())
    return {"kills": died, "whole": whole, "rest": rest}


def training(model: Path, root: Path, kills: int, luck: random.Random) -> dict[str, object]:
    """A training is killed again and again until it comes to its end, and begun anew, until there were enough kills."""
    frame = planted(n_users=120, n_items=60, n_groups=4, noise=0.1, seed=0)
    config = recgan.Config(**CONFIG, checkpoint_dir=str(root / "checkpoints"))
    for _ in range(2):  # the first one loads libraries
        since = time.perf_counter()
        expected = recgan.train(frame, config=config.changed(checkpoint_dir=None))
    seconds, died, resumed, equal, gap = time.perf_counter() - since, 0, 0, 0, 0.0

    def work() -> None:
        recgan.train(frame, config=config).save(root / "model")

    while died < kills or not resumed:
        enough = died >= kills
        if killed_after(None if enough else luck.uniform(0.0, 0.6) * seconds, work):
            died += 1
            continue
        found = recgan.Recommender.load(root / "model")
        pd.testing.assert_frame_equal(found.recommend_batch(n=20), expected.recommend_batch(n=20))
        told = [one.info()["ablation"] for one in (found, expected)]
        gap = max(gap, *(abs(told[0][name] - told[1][name]) for name in told[0]))
        resumed += 1
        equal += found.item_vectors().equals(expected.item_vectors())
        for path in root.iterdir():
            shutil.rmtree(path)
    return {"kills": died, "finished": resumed, "equal": equal, "gap": gap}


if __name__ == "__main__":
    pa.set_cpu_count(1)
    what, model, root, kills, seed = sys.argv[1:]
    luck = random.Random(int(seed))
    account = {"save": saving, "fetch": fetching, "train": training}[what]
    print(json.dumps(account(Path(model), Path(root), int(kills), luck)))

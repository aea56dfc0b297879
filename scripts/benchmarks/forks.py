"""One start for many generators: closed forms and ranking phase run once a seed, and what comes after is compared."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import PACKAGE
from measuring import QUICK, write_json
from protocols import PROTOCOLS, fingerprint, load

import recgan
from recgan.progress import Progress
from recgan.ranking import Blocks
from recgan.training.data import read_data
from recgan.training.fitting import seeded
from recgan.training.run import Run

FIRST_SEED = 1
"""Constants of game, moods and dial were chosen on seed 0 of ml-100k and ml-1m, so measuring begins behind it."""
SETS = {"ml-100k": "cfgan", "ml-1m": "ml-1m-users", "beauty": "beauty", "movietweetings": "movietweetings"}
"""Data set: the protocol by which it is cut. The test part is left alone; all is measured on the validation part."""


@dataclass(frozen=True)
class Start:
    """Where the ranking phase has come.

    Args:
        run: its data, settings and phases.
        blocks: stage one with the generator that ranks.
        seed: of the run.
    """

    run: Run
    blocks: Blocks
    seed: int


def start(name: str, data: Path, seed: int, *, quick: bool = False) -> Start:
    """Closed forms and ranking phase of one seed, with the default settings."""
    task = load(PROTOCOLS[SETS[name]], data, 0)
    config = recgan.Config(seed=seed, progress=False, **({**QUICK, "game_steps": 20} if quick else {}))
    tables = read_data(task.fit, task.items, task.users, task.given, config)
    with Progress(False) as progress, seeded(seed):
        run = Run(tables, config, progress, time.perf_counter())
        return Start(run, run.ranked(), seed)


def kept(path: Path, make: Callable[[], dict[str, Any]], *, redo: bool = False) -> dict[str, Any]:
    """What was finished before, or what is made and written now."""
    if redo or not path.exists():
        write_json(path, make())
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def key(name: str, data: Path, quick: bool, own: list[Path]) -> str:
    """What a result depends on: the data, the package, and the benchmark's own files."""
    digest = hashlib.sha256(f"{name} {quick}".encode() + fingerprint(PROTOCOLS[SETS[name]], data).encode())
    for path in sorted([*PACKAGE.rglob("*.py"), *own]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]

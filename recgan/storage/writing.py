"""How the parts of a model become files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recgan import artifact
from recgan.cold import tower_arrays, tower_facts
from recgan.config import Config
from recgan.histories import Histories, slices
from recgan.linear import Factors
from recgan.ranking import Exact, Near
from recgan.schema import USER
from recgan.storage.parts import DISLIKES, HISTORIES, ITEMS, SEARCH, USERS, WEIGHTS, Parts


def save(
    folder: str | Path, parts: Parts, config: Config, report: dict[str, Any], near: Near | Exact | None = None
) -> None:
    """Write a model; see `Recommender.save`."""

    def fill(root: Path) -> None:
        artifact.save_arrays(root / WEIGHTS, _arrays(parts))
        artifact.save_table(root / USERS, pd.DataFrame({USER: parts.users.all_ids}))
        artifact.save_table(root / ITEMS, parts.item_table)
        artifact.save_tables(root / HISTORIES, _history_frames(parts.histories))
        if parts.disliked is not None:
            artifact.save_tables(root / DISLIKES, _history_frames(parts.disliked))
        if isinstance(near, Near):
            artifact.save_arrays(root / SEARCH, near.index.arrays())

    described = {
        "config": config.model_dump(),
        "report": report,
        "weights": asdict(parts.blocks.weights),
        "encoder": parts.blocks.generator.encoder.kind,
        "factors": None if parts.blocks.factors is None else _settings(parts.blocks.factors),
        "history_decay": None if parts.blocks.sparse is None else parts.blocks.sparse.decay,
        "clock": parts.histories.clock,
        "window": parts.blocks.window,
        "strength": asdict(parts.blocks.strength),
        "tower": None if parts.tower is None else tower_facts(parts.tower),
        **({} if near is None else {"search": {"asked": asdict(near.asked), "measured": near.measured}}),
    }
    artifact.write_folder(folder, fill, described)


def _arrays(parts: Parts) -> dict[str, np.ndarray]:
    blocks, judge = parts.blocks, parts.judge
    arrays = {"noise": blocks.noise, "popularity": blocks.popularity, "profiles": parts.profiles}
    arrays |= {f"generator.{name}": value.numpy() for name, value in blocks.generator.state_dict().items()}
    if blocks.dense is not None:
        arrays |= {"dense.fold": blocks.dense.fold, "dense.columns": blocks.dense.columns}
    if blocks.factors is not None:
        arrays["factors.columns"] = blocks.factors.columns
        arrays |= {} if blocks.factors.gram is None else {"factors.gram": blocks.factors.gram}
    constant = {"bias": blocks.bias, "opening": blocks.opening}
    arrays |= {name: array for name, array in constant.items() if array is not None}
    if parts.tower is not None:
        arrays |= {f"tower.{name}": array for name, array in tower_arrays(parts.tower).items()}
    if blocks.sparse is not None:
        rows = blocks.sparse.rows
        arrays |= {
            "sparse.indptr": rows.indptr.astype(np.int64),
            "sparse.indices": rows.indices.astype(np.int64),
            "sparse.data": rows.data.astype(np.float32),
        }
    if blocks.preferences is not None:
        arrays |= {f"preferences.{name}": value.numpy() for name, value in blocks.preferences.state_dict().items()}
    if judge is None:
        arrays["categories"] = blocks.categories
    else:
        arrays |= {f"discriminator.{name}": value.numpy() for name, value in judge.discriminator.state_dict().items()}
        named = [field.name for field in fields(judge.traits) if field.name != "vectors"]
        arrays |= {f"traits.{name}": getattr(judge.traits, name) for name in named}
    return arrays


def _history_frames(histories: Histories) -> Iterator[pd.DataFrame]:
    """The rows, some at once."""
    for some in slices(len(histories.items)) or [slice(0)]:
        users = np.searchsorted(histories.offsets, np.arange(some.start or 0, some.stop), side="right") - 1
        frame = pd.DataFrame({"user": users, "item": histories.items[some].astype(np.int64)})
        frame = frame if histories.times is None else frame.assign(time=histories.times[some])
        yield frame if histories.weights is None else frame.assign(weight=histories.weights[some])


def _settings(block: Factors) -> dict[str, float]:
    return {"unseen": block.unseen, "ridge": block.ridge}

"""One call from a model folder to a list."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from recgan import artifact
from recgan.errors import ConfigError
from recgan.recommender import Recommender

_loaded: dict[tuple[str, int], Recommender] = {}


def recommend(
    user_id: Any = None, n: int = 10, model: str | Path | Recommender | None = None, **options: Any
) -> pd.DataFrame:
    """The best items for one user from a model folder, which is loaded once.

    Args:
        user_id: the caller's id.
        n: most items in the list.
        model: a Recommender or a model folder; None reads the folder named by the environment's RECGAN_MODEL.
        options: the other arguments of `Recommender.recommend`.

    Returns:
        A frame user_id, item_id, rank, score.

    Raises:
        ConfigError: when no model is named.
        ArtifactError: when the folder is missing, damaged or foreign.
    """
    if isinstance(model, Recommender):
        return model.recommend(user_id, n, **options)
    folder = model or os.environ.get("RECGAN_MODEL")
    if not folder:
        raise ConfigError("recommend: give model=, a folder or a Recommender, or set RECGAN_MODEL")
    return _cached(Path(folder)).recommend(user_id, n, **options)


def _cached(folder: Path) -> Recommender:
    manifest = artifact.standing(folder) / artifact.MANIFEST
    key = (str(folder.resolve()), manifest.stat().st_mtime_ns if manifest.is_file() else 0)
    if key not in _loaded:
        model = Recommender.load(folder)
        _loaded.clear()
        _loaded[key] = model
    return _loaded[key]

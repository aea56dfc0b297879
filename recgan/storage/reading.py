"""How the files of a model become its parts again, each checked against the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recgan import artifact
from recgan.cold import Tower, load_tower
from recgan.config import Config
from recgan.errors import ArtifactError, RecganError
from recgan.features import FEATURES, ItemTraits, category_matrix
from recgan.histories import Histories, Strength
from recgan.index import NearIndex, Place
from recgan.linear import Factors, LowRank, SparseRows
from recgan.networks import (
    Generator,
    PreferenceEncoder,
    SequenceEncoder,
    build_discriminator,
    build_generator,
    build_preference_encoder,
)
from recgan.ranking import Blocks, Exact, Judge, Near, Search, Weights
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, ITEM, USER
from recgan.storage.parts import DISLIKES, HISTORIES, ITEMS, SEARCH, USERS, WEIGHTS, Parts
from recgan.vocabulary import Vocabulary

ATTEMPTS = 5
"""How often a model is read that is replaced meanwhile."""

MOST_WINDOW, MOST_CATEGORY_CELLS, MOST_DEEPER = 100_000, 1 << 23, 64


Loaded = tuple[Parts, Config, dict[str, Any], Near | Exact | None]


def load(folder: str | Path) -> Loaded:
    """Read a model; see `Recommender.load`. One that is replaced while it is read is read again."""
    for _ in range(ATTEMPTS):
        before = artifact.identity(folder)
        try:
            found = _read(folder)
        except ArtifactError:
            if artifact.identity(folder) == before:
                raise
        else:
            if artifact.identity(folder) == before:
                return found
    raise ArtifactError(f"{folder}: was replaced {ATTEMPTS} times while it was read; try again")


def _read(folder: str | Path) -> Loaded:
    root = artifact.standing(folder)
    manifest = artifact.read_manifest(root)
    if set(manifest["files"]) - {DISLIKES, SEARCH} != {WEIGHTS, USERS, ITEMS, HISTORIES}:
        raise ArtifactError(f"{root}: holds {', '.join(sorted(manifest['files'])) or 'nothing'}, which is no model")
    try:
        config = Config(**manifest["config"])
        parts = _parts(root, manifest, config)
        return parts, config, dict(manifest["report"]), _near(root, manifest, parts.blocks)
    except ArtifactError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OSError, RuntimeError, RecganError) as error:
        told = " ".join(str(error).split())[:300]
        raise ArtifactError(f"{root}: its files do not fit together: {told}") from error


def _parts(root: Path, manifest: dict[str, Any], config: Config) -> Parts:
    arrays = artifact.load_arrays(root / WEIGHTS)
    users = Vocabulary(artifact.load_table(root / USERS)[USER], USER)
    item_table = artifact.load_table(root / ITEMS)
    items = Vocabulary(item_table[ITEM], ITEM)
    names = [HISTORIES, *([DISLIKES] if DISLIKES in manifest["files"] else [])]
    sizes = len(users), len(items), bool(manifest["clock"])
    histories, *disliked = (_histories(artifact.load_table(root / name), *sizes) for name in names)
    generator = build_generator(config, manifest["encoder"], _tensors(arrays, "generator."))
    judge = _judge(arrays, config, generator, len(items))
    tower = _tower(arrays, manifest.get("tower"), len(items))
    blocks = Blocks(
        generator=generator,
        dense=_dense(arrays, len(items)),
        factors=_factors(arrays, manifest.get("factors"), len(items)),
        sparse=_sparse(arrays, manifest["history_decay"], len(items)),
        popularity=_checked(arrays, "popularity", (len(items),)),
        weights=_weights(manifest["weights"]),
        noise=_checked(arrays, "noise", (config.n_draws, config.noise_dim)),
        window=_window(manifest["window"], generator),
        categories=_categories(arrays, item_table) if judge is None else judge.traits.categories,
        preferences=_preferences(arrays, generator, item_table, tower),
        strength=_strength(manifest.get("strength", {})),
        bias=_constant(arrays, "bias", len(items)),
        opening=_constant(arrays, "opening", len(items)),
    )
    profiles = _checked(arrays, "profiles", (len(users), None))
    if judge is not None and judge.traits.audience.shape[1] != profiles.shape[1]:
        raise ArtifactError(f"{root / WEIGHTS}: users and items have profiles of different width")
    if len(generator.vectors) != len(items):
        raise ArtifactError(f"{root / WEIGHTS}: {len(generator.vectors)} item vectors for {len(items)} items")
    return Parts(users, items, histories, profiles, item_table, blocks, judge, disliked[0] if disliked else None, tower)


def _near(root: Path, manifest: dict[str, Any], blocks: Blocks) -> Near | Exact | None:
    """The approximate search, the cells of which stay in their file; None in models without one."""
    if "search" not in manifest:
        return None
    asked, measured = Search(**manifest["search"]["asked"]), dict(manifest["search"]["measured"])
    if measured["kind"] == "exact":
        return Exact(asked, measured)
    arrays, effort = artifact.map_arrays(root / SEARCH), measured["effort"]
    try:
        place = Place(root / SEARCH, artifact.first_byte(root / SEARCH, "lists")) if "lists" in arrays else None
        index = NearIndex.of(blocks.columns, measured["kind"], arrays, place)
    except (ValueError, KeyError) as error:
        raise ArtifactError(f"{root / SEARCH}: {error}") from error
    deeper = measured["deeper"]
    if type(deeper) is not int or not 1 <= deeper <= MOST_DEEPER:
        raise ArtifactError(f"{artifact.MANIFEST}: search: deeper from 1 to {MOST_DEEPER} is expected, not {deeper!r}")
    if type(effort) is not int or not 1 <= effort <= index.most:
        raise ArtifactError(
            f"{artifact.MANIFEST}: search: an effort from 1 to {index.most} is expected, not {effort!r}"
        )
    return Near(asked, index, effort, deeper, measured)


def _constant(arrays: dict[str, np.ndarray], name: str, n_items: int) -> np.ndarray | None:
    return _checked(arrays, name, (n_items,)) if name in arrays else None


def _strength(values: Mapping[str, float]) -> Strength:
    rule = Strength(**{name: float(value) for name, value in values.items()})
    if not (0.0 < rule.mean < math.inf and 0.0 <= rule.power < math.inf):
        raise ArtifactError(f"{artifact.MANIFEST}: strength: a mean above 0 and a power from 0, not {rule}")
    return rule


def _tower(arrays: dict[str, np.ndarray], facts: dict[str, Any] | None, n_items: int) -> Tower | None:
    """None in models that were made before there were towers, or without content."""
    if facts is None:
        return None
    return load_tower(facts, n_items, lambda name, width: _checked(arrays, f"tower.{name}", (None,) * width))


def _categories(arrays: dict[str, np.ndarray], item_table: pd.DataFrame) -> np.ndarray:
    if "categories" in arrays:
        return _checked(arrays, "categories", (len(item_table), None))
    names = _n_categories(item_table)
    if names * len(item_table) > MOST_CATEGORY_CELLS:
        raise ArtifactError(f"{ITEMS}: {names} categories of {len(item_table)} items are more than is safe")
    return category_matrix(item_table)[0]


def _n_categories(item_table: pd.DataFrame) -> int:
    """How many columns `category_flags` would have, without a table of them."""
    if CATEGORIES not in item_table.columns:
        return 0
    names = item_table[CATEGORIES].dropna().astype(str).str.split(CATEGORY_SEPARATOR).explode()
    return int(names[names != ""].nunique())


def _histories(frame: pd.DataFrame, n_users: int, n_items: int, clock: bool) -> Histories:
    users, items = frame["user"].to_numpy(np.int64), frame["item"].to_numpy(np.int64)
    if len(frame) and (users.min() < 0 or users.max() >= n_users or items.min() < 0 or items.max() >= n_items):
        raise ArtifactError(f"{HISTORIES}: numbers outside the {n_users} users and {n_items} items")
    if (np.diff(users) < 0).any():
        raise ArtifactError(f"{HISTORIES}: rows are not grouped by user")
    offsets = np.zeros(n_users + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=n_users), out=offsets[1:])
    times = frame["time"].to_numpy(np.float64) if "time" in frame.columns else None
    weights = frame["weight"].to_numpy(np.float32) if "weight" in frame.columns else None
    if weights is not None and not (np.isfinite(weights) & (weights > 0)).all():
        raise ArtifactError(f"{HISTORIES}: weights are finite numbers above 0")
    return Histories(offsets, items, n_items, times, clock, weights)


def _tensors(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    named = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return {name: torch.from_numpy(_finite(name, array)) for name, array in named.items()}


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ArtifactError(f"{WEIGHTS}: {name!r} is {array.dtype}, or holds NaN or infinity; expected finite float32")
    return array


def _weights(values: Mapping[str, Any]) -> Weights:
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values.values()):
        raise ArtifactError(f"{artifact.MANIFEST}: weights are finite numbers, not {values!r}")
    return Weights(**values)


def _window(value: Any, generator: Generator) -> int:
    encoder = generator.encoder
    most = len(encoder.positions) - 1 if isinstance(encoder, SequenceEncoder) else MOST_WINDOW
    if not isinstance(value, int) or not 1 <= value <= most:
        raise ArtifactError(f"{artifact.MANIFEST}: a window from 1 to {most} is expected, not {value!r}")
    return value


def _checked(arrays: dict[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    array = _finite(name, arrays[name])
    if array.ndim != len(shape) or not all(want in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        raise ArtifactError(f"{WEIGHTS}: {name!r} has the shape {array.shape}, expected {shape}")
    return array


def _dense(arrays: dict[str, np.ndarray], n_items: int) -> LowRank | None:
    if "dense.fold" not in arrays:
        return None
    fold = _checked(arrays, "dense.fold", (n_items, None))
    return LowRank(fold, _checked(arrays, "dense.columns", fold.shape))


def _factors(arrays: dict[str, np.ndarray], settings: dict[str, float] | None, n_items: int) -> Factors | None:
    if settings is None:
        return None
    unseen, ridge = (float(settings[name]) for name in ("unseen", "ridge"))
    if not (0.0 < unseen < np.inf and 0.0 < ridge < np.inf):
        raise ArtifactError(f"{artifact.MANIFEST}: factors: unseen and ridge must be above 0, not {settings}")
    columns = _checked(arrays, "factors.columns", (n_items, None))
    size = columns.shape[1]
    gram = _checked(arrays, "factors.gram", (size, size)) if "factors.gram" in arrays else None
    return Factors(columns, unseen, ridge, gram)


def _sparse(arrays: dict[str, np.ndarray], decay: float | None, n_items: int) -> SparseRows | None:
    if decay is None:
        return None
    from scipy.sparse import csr_matrix

    data = _checked(arrays, "sparse.data", (None,))
    rows = csr_matrix((data, arrays["sparse.indices"], arrays["sparse.indptr"]), shape=(n_items, n_items))
    rows.check_format(full_check=True)
    if not 0.0 < float(decay) <= 1.0:
        raise ArtifactError(f"{artifact.MANIFEST}: a history_decay in (0, 1] is expected, not {decay!r}")
    return SparseRows(rows, float(decay))


def _preferences(
    arrays: dict[str, np.ndarray], generator: Generator, item_table: pd.DataFrame, tower: Tower | None
) -> PreferenceEncoder | None:
    tensors = _tensors(arrays, "preferences.")
    if not tensors:
        return None
    encoder = build_preference_encoder(tensors)
    shape = (encoder.direct.out_features, encoder.n_categories)
    n_categories = _n_categories(item_table) if tower is None else len(tower.category_names)
    wanted = (generator.mean.in_features, n_categories)
    if shape != wanted:
        raise ArtifactError(f"{WEIGHTS}: preferences are of the shape {shape}, the model's is {wanted}")
    return encoder


def _judge(arrays: dict[str, np.ndarray], config: Config, generator: Generator, n_items: int) -> Judge | None:
    tensors = _tensors(arrays, "discriminator.")
    if not tensors:
        return None
    shapes = {"popularity": (n_items,), "trend": (n_items,), "year": (n_items,)}
    names = ("popularity", "trend", "categories", "year", "audience")
    traits = {name: _checked(arrays, f"traits.{name}", shapes.get(name, (n_items, None))) for name in names}
    vectors = generator.item_vectors().detach().numpy()
    if len(tensors["center"]) != len(FEATURES) + 1:
        raise ArtifactError(
            f"{WEIGHTS}: the discriminator reads {len(tensors['center'])} features, not {len(FEATURES) + 1}"
        )
    return Judge(build_discriminator(config, tensors), ItemTraits(**traits, vectors=vectors))

"""Everything that a model keeps of each item: taken apart, and put together again for other items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from recgan.config import Config
from recgan.linear import LowRank
from recgan.networks import Generator, build_generator
from recgan.ranking import Blocks, Judge

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

VECTORS, EMBEDDINGS = "vectors", "encoder.embeddings"
FOLD, DENSE, FACTORS, POPULARITY, CATEGORIES = "fold", "dense", "factors", "popularity", "categories"
BIAS, OPENING = "bias", "opening"
TRAITS = ("popularity", "trend", "year", "audience")
TRAIT = "traits."
YEARS = TRAIT + "year"


def item_arrays(blocks: Blocks, judge: Judge | None) -> dict[str, np.ndarray]:
    """All arrays with one row an item, (N, ...) float32 each, by name; the sparse rows are not among them."""
    state = blocks.generator.state_dict()
    arrays = {name: np.asarray(state[name].numpy()) for name in (VECTORS, EMBEDDINGS) if name in state}
    none = np.zeros(len(blocks.popularity), np.float32)
    arrays |= {POPULARITY: blocks.popularity, CATEGORIES: blocks.categories}
    arrays |= {name: none if (array := getattr(blocks, name)) is None else array for name in (BIAS, OPENING)}
    if blocks.dense is not None:
        arrays |= {FOLD: blocks.dense.fold, DENSE: blocks.dense.columns}
    if blocks.factors is not None:
        arrays[FACTORS] = blocks.factors.columns
    if judge is not None:
        arrays |= {TRAIT + name: getattr(judge.traits, name) for name in TRAITS}
    return arrays


def with_items(
    blocks: Blocks, judge: Judge | None, arrays: Mapping[str, np.ndarray], rows: csr_matrix | None, config: Config
) -> tuple[Blocks, Judge | None]:
    """The same model with other items; what it knows of users does not hang on which items there are.

    Args:
        blocks: of the model.
        judge: of the model.
        arrays: of the new items, N of them, under the names of `item_arrays`.
        rows: of the sparse block, (N, N); None where there is none.
        config: sizes of the networks.

    Returns:
        The blocks and the judge.
    """
    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    generator = _generator(blocks.generator, arrays, config)
    changed = replace(
        blocks,
        generator=generator,
        dense=None if blocks.dense is None else LowRank(arrays[FOLD], arrays[DENSE]),
        factors=None if blocks.factors is None else blocks.factors.with_columns(arrays[FACTORS]),
        sparse=None if blocks.sparse is None or rows is None else replace(blocks.sparse, rows=rows),
        popularity=arrays[POPULARITY],
        categories=arrays[CATEGORIES],
        bias=_told(arrays[BIAS]),
        opening=_told(arrays[OPENING]),
    )
    if judge is None:
        return changed, None
    traits = {name: arrays[TRAIT + name] for name in TRAITS}
    vectors = generator.item_vectors().numpy()
    return changed, replace(
        judge, traits=replace(judge.traits, **traits, categories=changed.categories, vectors=vectors)
    )


def _told(array: np.ndarray) -> np.ndarray | None:
    return array if array.any() else None


def _generator(generator: Generator, arrays: Mapping[str, np.ndarray], config: Config) -> Generator:
    state = dict(generator.state_dict())
    state |= {name: torch.from_numpy(arrays[name]) for name in (VECTORS, EMBEDDINGS) if name in state}
    return build_generator(config, generator.encoder.kind, state)

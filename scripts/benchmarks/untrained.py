"""A recommender of any size without training: planted tastes, and every part that a trained one may have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

import recgan
from recgan.features import FEATURES, ItemTraits, category_matrix
from recgan.histories import Histories, offsets_of
from recgan.linear import Factors, LowRank, SparseRows
from recgan.networks import Discriminator, build_generator
from recgan.ranking import Blocks, Judge, Weights
from recgan.schema import CATEGORIES, ITEM, USER
from recgan.vocabulary import Vocabulary

GROUPS, NEIGHBOURS, WINDOW = 200, 30, 50
"""Tastes, entries of a sparse row, and items that a sequence encoder reads."""


@dataclass(frozen=True)
class Shape:
    """What the recommender looks like.

    Args:
        items: N.
        users: U.
        dim: length of the generated vectors, D, and of dense columns and factors.
        encoder: "bag" or "sequence".
        linear: kind of the linear block: "dense", "sparse", "factors" or "none".
        judge: whether the discriminator re-orders the candidates.
        history: items of a user.
    """

    items: int
    users: int
    dim: int = 64
    encoder: str = "bag"
    linear: str = "none"
    judge: bool = False
    history: int = 50


def untrained(shape: Shape, seed: int = 0) -> recgan.Recommender:
    """A recommender whose users want what is like their history; its lists mean nothing beyond that."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    group = random.integers(0, GROUPS, shape.items)
    vectors = tasteful(group, shape.dim, random)
    histories = _histories(shape, group, random)
    config = recgan.Config(embedding_dim=shape.dim, progress=False)
    generator = build_generator(config, shape.encoder, {"vectors": torch.from_numpy(vectors)}, window=WINDOW)
    table = pd.DataFrame({ITEM: np.arange(shape.items), CATEGORIES: [f"taste {one % 20}" for one in group]})
    categories = category_matrix(table)[0]
    profiles = np.zeros((shape.users, 0), np.float32)
    traits = ItemTraits.of(histories, table, categories, generator.item_vectors().numpy(), profiles)
    kinds = {shape.linear: _linear(shape, group, random)}
    blocks = Blocks(
        generator=generator,
        **{kind: kinds.get(kind) for kind in ("dense", "factors", "sparse")},
        popularity=traits.popularity,
        weights=Weights(**dict.fromkeys(kinds.keys() - {"none"}, 1.0), popularity=0.3, discriminator=0.5 * shape.judge),
        noise=random.standard_normal((config.n_draws, config.noise_dim), np.float32),
        window=WINDOW,
        categories=categories,
    )
    judge = Judge(_discriminator(shape.dim, config.hidden_dim), traits) if shape.judge else None
    users, items = Vocabulary(np.arange(shape.users), USER), Vocabulary(table[ITEM], ITEM)
    return recgan.Recommender(users, items, histories, profiles, table, blocks, judge, config, {})


def tasteful(group: np.ndarray, dim: int, random: np.random.Generator) -> np.ndarray:
    """Unit vectors around the middle of their group, (N, D) float32."""
    middles = random.standard_normal((GROUPS, dim), np.float32)
    vectors = middles[group] + 0.8 * random.standard_normal((len(group), dim), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _histories(shape: Shape, group: np.ndarray, random: np.random.Generator) -> Histories:
    """Distinct items, most of two groups, popular ones more often."""
    order, sizes = np.argsort(group, kind="stable"), np.bincount(group, minlength=GROUPS)
    first = offsets_of(sizes)[:-1]
    liked = random.integers(0, GROUPS, (shape.users, 2))[
        np.arange(shape.users)[:, None], random.integers(0, 2, (shape.users, shape.history))
    ]
    place = (random.random(liked.shape) ** 2 * np.maximum(sizes[liked], 1)).astype(np.int64)
    items = np.sort(order[np.minimum(first[liked] + place, shape.items - 1)], axis=1)
    once = np.concatenate([np.ones((shape.users, 1), bool), np.diff(items, axis=1) > 0], axis=1)
    return Histories(offsets_of(once.sum(axis=1)), items[once], shape.items)


def _linear(shape: Shape, group: np.ndarray, random: np.random.Generator) -> LowRank | Factors | SparseRows | None:
    if shape.linear == "none":
        return None
    if shape.linear == "sparse":
        from scipy.sparse import csr_matrix

        near = random.integers(0, shape.items, (shape.items, NEIGHBOURS))
        values = random.random(near.size, np.float32)
        offsets = np.arange(shape.items + 1) * NEIGHBOURS
        rows = csr_matrix((values, near.ravel(), offsets), shape=(shape.items, shape.items))
        rows.sum_duplicates()
        return SparseRows(rows, 0.9)
    columns = tasteful(group, shape.dim, random)
    return LowRank(columns * np.float32(0.1), columns) if shape.linear == "dense" else Factors(columns, 0.2, 6.0)


def _discriminator(dim: int, hidden: int) -> Discriminator:
    discriminator = Discriminator(dim, dim, len(FEATURES) + 1, hidden)
    torch.nn.init.normal_(discriminator.head[-1].weight, std=0.05)
    return discriminator.eval().requires_grad_(False)

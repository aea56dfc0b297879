"""Ways to say which items of a history pull an item in, to be compared: each gives (L, K) numbers for one user."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from recgan.histories import Histories
from recgan.networks import BagEncoder, Generator
from recgan.ranking import Blocks, Query, Ranker
from recgan.reasons import pulls
from recgan.reasons.pulling import GENERATED

LINEAR_PARTS = ("dense", "factors", "sparse")
WHOLE, GENERATOR, LINEAR = "whole score", "generator alone", "linear parts alone"
OURS, GRADIENT, NEAREST, NEWEST = (
    "left out (recgan)",
    "gradient for the generator",
    "nearest item vector",
    "newest item",
)
METHODS = (OURS, GRADIENT, NEAREST, NEWEST)
Told = dict[str, dict[str, np.ndarray]]


def told(ranker: Ranker, query: Query, items: np.ndarray) -> Told:
    """What every method says of one user's items: of what is asked, by method, numbers (L, K), the larger the more.

    Args:
        ranker: of a model.
        query: of one user, whose history holds every item once.
        items: item numbers, (K,) int64.
    """
    blocks, history = ranker.blocks, query.histories.of(0)
    found = pulls(ranker, query, items[None])
    values = dict(zip(found.names, np.moveaxis(found.values[0], -1, 0), strict=True))
    slopes = gradients(blocks.generator, query.histories, items[None], blocks.window)[0] * blocks.weights.generated
    linear = np.sum([values[name] for name in LINEAR_PARTS if name in values], axis=0)
    whole, generator = np.sum(list(values.values()), axis=0), values[GENERATED]
    vectors = blocks.generator.item_vectors().numpy()
    same = {
        NEAREST: vectors[history] @ vectors[items].T,
        NEWEST: np.repeat(np.arange(float(len(history)))[:, None], len(items), axis=1),
    }
    return {
        WHOLE: {OURS: whole, GRADIENT: whole - generator + slopes, **same},
        GENERATOR: {OURS: generator, GRADIENT: slopes, **same},
        LINEAR: {OURS: linear, **same},
    }


def gradients(generator: Generator, histories: Histories, items: np.ndarray, window: int) -> np.ndarray:
    """Derivative of the generator's score by how much each item is there, at 1.

    Args:
        generator: of a model.
        histories: of B users; its longest is L.
        items: the items that are looked at, (B, K) int64.
        window: most items that the encoder reads.

    Returns:
        (B, L, K) float32; zeros beyond the window.
    """
    read, mask = histories.window(np.arange(len(histories)), window)
    there = torch.from_numpy(mask).float().requires_grad_(True)
    wanted = generator.wanted(_conditions(generator, torch.from_numpy(read), there))  # (B, D)
    scores = (generator.item_vectors()[torch.from_numpy(items)] @ wanted.unsqueeze(2)).squeeze(2)  # (B, K)
    found = np.zeros((len(histories), int(histories.lengths.max()), items.shape[1]), np.float32)
    columns = np.arange(found.shape[1])
    inside = (columns < histories.lengths[:, None]) & (columns >= (histories.lengths - mask.sum(axis=1))[:, None])
    for column in range(items.shape[1]):
        (slope,) = torch.autograd.grad(scores[:, column].sum(), there, retain_graph=True)
        found[..., column][inside] = slope.numpy()[mask]
    return found


def _conditions(generator: Generator, items: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    encoder = generator.encoder
    if isinstance(encoder, BagEncoder):
        total = (functional.embedding(items, encoder.embeddings) * there.unsqueeze(-1)).sum(1)
        bag = (total + encoder.opening) / there.sum(1, keepdim=True).clamp(min=1.0).sqrt()
        return bag + encoder.refine(bag)
    vectors = functional.embedding(items, generator.vectors) * there.unsqueeze(-1)
    return encoder(vectors, there > 0)


def copies(blocks: Blocks, histories: Histories, items: np.ndarray) -> list[np.ndarray]:
    """The generator's scores without each item of B users, (L, K) each, by a copy of the history an item."""
    vectors, found = blocks.generator.item_vectors(), []
    for user, length in enumerate(histories.lengths):
        many = histories.take(np.full(length, user))
        with torch.no_grad():
            wanted = blocks.generator.wanted(blocks.conditions(many.part(many.places != many.rows)))
        found.append((wanted @ vectors[items[user]].T).numpy())
    return found

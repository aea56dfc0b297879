"""Ways to say which items of a history pull an item in, to be compared: each gives (L, K) numbers for one user."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from recgan.histories import Histories
from recgan.networks import BagEncoder, Generator
from recgan.ranking import Query, Ranker
from recgan.reasons import pulls
from recgan.reasons.pulling import GENERATED

GRADIENT = "gradient for the generator"
Method = Callable[[Ranker, Query, np.ndarray], np.ndarray]


def left_out(ranker: Ranker, query: Query, items: np.ndarray) -> np.ndarray:
    """What recgan tells: the loss without each item, by closed forms."""
    return np.asarray(pulls(ranker, query, items[None]).values[0].sum(axis=-1))


def with_gradient(ranker: Ranker, query: Query, items: np.ndarray) -> np.ndarray:
    """The same, but for the generator the derivative by how much an item is there."""
    found = pulls(ranker, query, items[None])
    others = [place for place, name in enumerate(found.names) if name != GENERATED]
    blocks, history = ranker.blocks, query.histories
    return (
        np.asarray(found.values[0][..., others].sum(axis=-1))
        + blocks.weights.generated * gradients(blocks.generator, history, items[None], blocks.window)[0]
    )


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


def nearest(ranker: Ranker, query: Query, items: np.ndarray) -> np.ndarray:
    """What shops say: the cosine of the item's vector with that of each item of the history."""
    vectors = ranker.blocks.generator.item_vectors().numpy()
    return np.asarray(vectors[query.histories.of(0)] @ vectors[items].T)


def newest(ranker: Ranker, query: Query, items: np.ndarray) -> np.ndarray:
    """The newest item, whatever is looked at."""
    length = int(query.histories.lengths[0])
    return np.repeat(np.arange(length, dtype=np.float64)[:, None], len(items), axis=1)


METHODS: dict[str, Method] = {
    "left out (recgan)": left_out,
    GRADIENT: with_gradient,
    "nearest item vector": nearest,
    "newest item": newest,
}

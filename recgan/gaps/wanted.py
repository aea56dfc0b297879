"""Wanted vectors of users, and the items nearest to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recgan.draws import wanted_vectors
from recgan.histories import Histories
from recgan.ranking import CELLS, Blocks


@dataclass(frozen=True)
class Survey:
    """What B users want, against all N items that the model knows and against those on offer.

    Args:
        wanted: unit wanted vectors, (B, S, D) float32.
        demand: mean probability that an item is what is wanted, (N,) float64; sums to 1.
        nearest: number of the item nearest to every wanted vector, (B, S) int64, on offer or not.
        gap: 1 - cosine to it, (B, S) float64.
        offered: numbers of the items on offer, ascending, (A,) int64.
        offered_gap: 1 - cosine to the nearest item on offer, (B, S) float64.
    """

    wanted: np.ndarray
    demand: np.ndarray
    nearest: np.ndarray
    gap: np.ndarray
    offered: np.ndarray
    offered_gap: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Numbers of the items that are not on offer, ascending, (N - A,) int64."""
        return np.setdiff1d(np.arange(len(self.demand)), self.offered)


def survey(blocks: Blocks, histories: Histories, offered: np.ndarray) -> Survey:
    """Ask B users what they want.

    The demand is the softmax over all items of the generated block's logits and the weighted popularity.

    Args:
        blocks: the parts of a model.
        histories: of the B users, at least one.
        offered: numbers of the items on offer, ascending, (A,) int64, at least one.

    Returns:
        The survey.
    """
    wanted = wanted_vectors(blocks, histories)
    with torch.no_grad():
        items, scale = blocks.generator.item_vectors(), float(blocks.generator.scale)
    popular = torch.from_numpy(blocks.constant)
    draws, demand, found = wanted.reshape(-1, wanted.shape[2]), np.zeros(len(items)), []
    step = max(1, CELLS // len(items))
    for start in range(0, len(draws), step):
        cosines = torch.from_numpy(draws[start : start + step]) @ items.T
        demand += torch.softmax(scale * cosines + popular, dim=1).sum(dim=0, dtype=torch.float64).numpy()
        best, offer = cosines.max(dim=1), cosines[:, offered].max(dim=1).values
        found.append(np.stack([best.indices.numpy(), 1.0 - best.values.numpy(), 1.0 - offer.numpy()], dtype=np.float64))
    nearest, gap, offered_gap = np.concatenate(found, axis=1).reshape(3, *wanted.shape[:2])
    return Survey(wanted, demand / len(draws), nearest.astype(np.int64), gap, offered, offered_gap)

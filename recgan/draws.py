"""Draws from the generator: the vectors that users want under the noise, and typical ones."""

from __future__ import annotations

import numpy as np
import torch

from recgan.histories import Histories
from recgan.ranking import Blocks

AT_ONCE = 1 << 15
"""Most history items that are read at once."""


def wanted_vectors(blocks: Blocks, histories: Histories, n_draws: int | None = None, seed: int = 0) -> np.ndarray:
    """Unit wanted vectors of B users under draws of the noise.

    Args:
        blocks: the parts of a model.
        histories: of the B users.
        n_draws: S; None for as many as the model's noise bank holds.
        seed: of the draws that go beyond the bank.

    Returns:
        (B, S, D) float32.
    """
    bank = blocks.noise
    missing = max(0, (n_draws or 0) - len(bank))
    more = np.random.default_rng(seed).standard_normal((missing, bank.shape[1])).astype(np.float32)
    noise = torch.from_numpy(np.concatenate([bank, more])[:n_draws])
    wanted = np.empty((len(histories), len(noise), blocks.generator.vectors.shape[1]), np.float32)
    for rows in histories.groups(np.arange(len(histories)), blocks.window, AT_ONCE):
        with torch.no_grad():
            drawn = blocks.generator.wanted(blocks.conditions(histories.take(rows)), noise)
            wanted[rows] = torch.nn.functional.normalize(drawn, dim=-1).numpy()
    return wanted


def unlike(vectors: np.ndarray, n: int) -> np.ndarray:
    """The most typical of some vectors, then always the one least like those chosen before.

    Args:
        vectors: unit vectors, (S, D) float32.
        n: how many.

    Returns:
        Their numbers, (min(n, S),) int64.

    Example:
        >>> unlike(np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32), 3).tolist()
        [1, 3, 0]
    """
    cosines = vectors @ vectors.T
    chosen = [int((vectors @ vectors.mean(axis=0)).argmax())] if len(vectors) else []
    while len(chosen) < min(n, len(vectors)):
        likest = cosines[chosen].max(axis=0)
        likest[chosen] = np.inf
        chosen.append(int(likest.argmin()))
    return np.array(chosen[:n], np.int64)

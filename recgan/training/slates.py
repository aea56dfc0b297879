"""Items among which slates are drawn from the softmax over a large catalogue: the likeliest ones, and a sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recgan.losses import hits
from recgan.ranking import Catalogue
from recgan.training.softmax import UNREACHABLE

SAMPLED = 30_000
"""Catalogues up to this size are drawn from whole."""
LIKELIEST, SAMPLE = 128, 4096
"""Items of each user that are surely among those drawn from, and items that stand for all others."""


class Pool:
    """Draws from a softmax over many items, without reading more than its large entries of all but a few of them.

    Every user's likeliest items count as they are; each item of a uniform sample stands for as many others as it was
    drawn from. What only others find likely does not count.

    Args:
        vectors: of the items, (N, D) float32.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.n_items = len(vectors)
        self._catalogue = Catalogue(vectors.cpu().numpy())

    def of(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """What B users draw from.

        Args:
            wanted: (B, D) float32.

        Returns:
            Item numbers, (P,) int64, ascending, and what is added to their logits, (B, P) float32.
        """
        best = torch.from_numpy(self._catalogue.best(wanted.detach().cpu().numpy(), LIKELIEST)[0]).to(wanted.device)
        sample = torch.unique(torch.randint(self.n_items, (SAMPLE,), device=wanted.device))
        pool = torch.unique(torch.cat([best.flatten(), sample]))
        others = math.log(self.n_items / len(sample))
        sampled = torch.isin(pool, sample)
        added = torch.where(sampled, others, UNREACHABLE).expand(len(best), -1)
        return pool, torch.where(hits(best, torch.ones_like(best, dtype=torch.bool), pool), 0.0, added)

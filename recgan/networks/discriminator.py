"""The discriminator: the adversary of the generator, and the ranker of the second stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from recgan.config import Config
from recgan.networks.layers import zero_last

LIKENESS_SCALE = 10.0
"""Of the squared length of a slate's middle, which is small, so that it is as large as the other features."""

HEAD_WIDTH = 16
"""Wider, it learns no more from the validation users, and takes longer."""


class Discriminator(nn.Module):
    """Judges what the model proposes against real interactions, in two parts that share no weights.

    `realism` plays the adversarial game: are these items together what this user has in one mood? `forward` re-orders
    the proposals of stage one by what an inner product cannot hold, the pair features. Both start at zero.

    Args:
        condition_dim: C.
        vector_dim: D.
        n_features: F.
        hidden: width of its layers, H.
        head: width of the layer that reads the pair features.
    """

    def __init__(
        self, condition_dim: int, vector_dim: int, n_features: int, hidden: int, head: int = HEAD_WIDTH
    ) -> None:
        super().__init__()
        pair = condition_dim + vector_dim
        self.item = nn.Sequential(nn.Linear(pair, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.slate = nn.Sequential(nn.Linear(2 * hidden + vector_dim + 1, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.head = nn.Sequential(nn.Linear(n_features, head), nn.GELU(), nn.Linear(head, 1))
        self.center: Tensor
        self.spread: Tensor
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("spread", torch.ones(n_features))
        zero_last(self.slate)
        zero_last(self.head)

    def realism(self, condition: Tensor, slates: Tensor, present: Tensor) -> Tensor:
        """How real a slate looks for a user; the order of its items does not count (deep sets, Zaheer et al., 2017).

        Args:
            condition: (B, C) float32.
            slates: centred item vectors, (B, M, D) float32.
            present: where an item stands, (B, M) bool, at least one a row.

        Returns:
            Logits, (B,) float32.
        """
        features, weights = self._read(condition, slates), (present / present.sum(1, keepdim=True)).unsqueeze(-1)
        mean = (weights * features).sum(1)  # (B, H)
        spread = (weights * (features - mean.unsqueeze(1)).square()).sum(1)
        middle = (weights * slates).sum(1)  # (B, D)
        likeness = LIKENESS_SCALE * middle.square().sum(1, keepdim=True)
        together = torch.cat([mean, spread, middle, likeness], dim=1)
        return self.slate(together).squeeze(-1)  # type: ignore[no-any-return]

    def _read(self, condition: Tensor, slates: Tensor) -> Tensor:
        """Every item beside the condition, (B, M, H); what a slate's items share is computed once."""
        first, rest = cast(nn.Linear, self.item[0]), self.item[1:]
        width = slates.shape[-1]
        shared = functional.linear(condition, first.weight[:, width:], first.bias).unsqueeze(1)
        return rest(functional.linear(slates, first.weight[:, :width]) + shared)  # type: ignore[no-any-return]

    def forward(self, features: Tensor) -> Tensor:
        """Correction of the relevance of K proposals.

        Args:
            features: pair features, (B, K, F) float32, in their natural units.

        Returns:
            Logits to be added to the block scores, (B, K) float32.
        """
        return self.head((features - self.center) / self.spread).squeeze(-1)  # type: ignore[no-any-return]


def build_discriminator(config: Config, weights: Mapping[str, Tensor]) -> Discriminator:
    """The trained discriminator with these weights, in evaluation mode."""
    vector_dim = weights["slate.0.weight"].shape[1] - 2 * config.hidden_dim - 1
    condition_dim = weights["item.0.weight"].shape[1] - vector_dim
    with torch.device("meta"):
        sizes = len(weights["center"]), config.hidden_dim, len(weights["head.0.bias"])
        discriminator = Discriminator(condition_dim, vector_dim, *sizes)
    discriminator.load_state_dict(dict(weights), assign=True)
    return discriminator.eval().requires_grad_(False)

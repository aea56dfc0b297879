"""Condition encoders: what a history says of a user."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from recgan.networks.layers import Block, Dropout, residual_mlp, small


class BagEncoder(nn.Module):
    """Condition of an unordered history: the sum of its item embeddings over the root of their number, refined.

    A learned vector joins every sum, so an empty history has a condition too.

    Args:
        embeddings: starting values, (N, C) float32.
        hidden: width of the residual MLP.
        dropout: share of the condition dropped in training.
    """

    kind = "bag"

    def __init__(self, embeddings: Tensor, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(embeddings.clone())
        self.opening = nn.Parameter(small(embeddings.shape[1]))
        self.dropout = Dropout(dropout)
        self.refine = residual_mlp(embeddings.shape[1], hidden, dropout)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Condition of every user.

        Args:
            items: item numbers, (B, L) int64.
            mask: where an item stands, (B, L) bool.

        Returns:
            Conditions, (B, C) float32; an empty history gives the unconditional one.
        """
        lengths = mask.sum(1)
        starts = lengths.cumsum(0) - lengths
        total = functional.embedding_bag(items[mask], self.embeddings, starts, mode="sum")
        bag = (total + self.opening) / lengths.clamp(min=1).sqrt().unsqueeze(1)
        bag = self.dropout(bag)
        refined: Tensor = bag + self.refine(bag)
        return refined


class SequenceEncoder(nn.Module):
    """Condition of an ordered history: a causal pre-norm transformer, read at the newest item.

    A learned token opens every sequence, so an empty history has a condition too and no row is ever fully masked.

    Args:
        width: length of the item vectors that it reads, C.
        length: the most items read.
        heads: attention heads; divides C.
        dropout: dropout of embeddings and layers.
        layers: number of transformer blocks.
    """

    kind = "sequence"

    def __init__(self, width: int, length: int, heads: int, dropout: float, layers: int = 1) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(width**0.5))
        self.opening = nn.Parameter(small(width))
        self.positions = nn.Parameter(small(length + 1, width))
        self.dropout = Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def states(self, vectors: Tensor) -> Tensor:
        """Condition after every prefix: item vectors (B, L, C) float32 -> (B, L + 1, C), the first for no history."""
        opening = self.opening.expand(len(vectors), 1, -1)
        states = torch.cat([opening, self.scale * vectors], dim=1) + self.positions[: vectors.shape[1] + 1]
        refined: Tensor = self.norm(self.blocks(self.dropout(states)))
        return refined

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Condition of every user: (B, L, C) float32 and (B, L) bool, padded on the right -> (B, C) float32."""
        last = mask.sum(1)
        return self.states(vectors)[torch.arange(len(vectors), device=vectors.device), last]

"""Layers that several networks are made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Block(nn.Module):
    """Causal self-attention, then two layers, each added to what it reads, (B, L, D) -> (B, L, D).

    Args:
        width: length of the vectors, D.
        heads: attention heads; divides D.
        dropout: of what is added.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.split, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), Dropout(dropout), nn.Linear(width, width), Dropout(dropout)
        )
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """States refined, each from those up to it."""
        parts = self.split(self.before_attention(states)).unflatten(-1, (3, self.heads, -1))  # (B, L, 3, H, D / H)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.dropout(self.join(attended.transpose(1, 2).flatten(2)))
        refined: Tensor = states + self.layers(self.before_layers(states))
        return refined


FASTER, USUAL = (1.0, 8.0), 600.0
"""So many times as fast, at least and at most, what items share moves as what each has of its own; and how many items a
category has with which that would be as fast."""


class Shared(nn.Module):
    """What items of a category have in common: of every item, its categories' vectors summed up by their shares in it.

    What few items share may move fast, what thousands share would take all of them along.

    Args:
        categories: shares of the categories, (N, Q) float32, nought where an item does not have one.
        width: length of the vectors, D; all of them begin as zeros.
    """

    def __init__(self, categories: Tensor, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(categories.shape[1], width))
        there = categories != 0
        shares, labels = categories.topk(int(there.sum(1).max()), dim=1)
        items = float(there.sum()) / max(1, int(there.any(0).sum()))
        least, most = FASTER
        self.faster = min(most, max(least, USUAL / max(1.0, items)))
        self.labels: Tensor
        self.shares: Tensor
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("shares", self.faster * shares, persistent=False)

    def forward(self) -> Tensor:
        """Of every item, (N, D) float32."""
        return self.of(self.vectors)

    def of(self, vectors: Tensor) -> Tensor:
        """The same of other vectors of the categories, (Q, D) float32."""
        labels, shares = self.labels.to(vectors.device), self.shares.to(vectors.device)
        return functional.embedding_bag(labels, vectors, per_sample_weights=shares, mode="sum")


class Dropout(nn.Module):
    """Dropout in steps of 1/256, from one random byte a value: many times faster on a processor than torch's own.

    Args:
        share: dropped, below 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = min(round(256 * share), 255)

    def forward(self, values: Tensor) -> Tensor:
        """The values thinned in training, and as they are otherwise."""
        if not self.training or not self.dropped:
            return values
        words = torch.empty(values.numel() // 8 + 1, dtype=torch.int64, device=values.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= self.dropped
        return values * (kept * (256 / (256 - self.dropped)))


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., D) over their lengths; the gradient, which can be had once only, takes a third of torch's time."""
    return _Unit.apply(vectors)  # type: ignore[no-any-return,no-untyped-call]


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_(min=1e-12)
        found: Tensor = vectors / length
        ctx.save_for_backward(found, length)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        found, length = ctx.saved_tensors
        along = (gradient * found).sum(-1, keepdim=True)
        across: Tensor = torch.addcmul(gradient, found, along, value=-1.0)
        return across.div_(length)


def small(*shape: int) -> Tensor:
    """Random numbers near nought, or a shape only, of which torch would import its compiler to make random numbers."""
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_().mul_(0.02)


def residual_mlp(width: int, hidden: int, dropout: float) -> nn.Sequential:
    """Normalise, widen, narrow; ends in zeros so that a new block changes nothing."""
    mlp = nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), Dropout(dropout), nn.Linear(hidden, width)
    )
    return zero_last(mlp)


def zero_last(network: nn.Sequential) -> nn.Sequential:
    """Set the last linear layer to zero and return the network."""
    last = network[-1]
    if not isinstance(last, nn.Linear):
        raise TypeError("the last layer must be nn.Linear")
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return network

"""Conditions of a history without each of its items, for little more than the price of one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from recgan.networks import BagEncoder, Generator, SequenceEncoder
from recgan.networks.layers import Block


def conditions_without_each(generator: Generator, items: Tensor, mask: Tensor) -> Tensor:
    """What the condition would be if one item had never been there, for each item.

    A bag takes the item out of its sum. In a sequence the newer items move one place down; their keys and values are
    computed once at either place, and what the newest one attends to is a sum over the items before the gap and one
    over those behind it, so that all gaps together cost two passes instead of one each.

    Args:
        generator: in evaluation mode; a sequence encoder has one block.
        items: item numbers, (B, M) int64, oldest first, padded on the right; M is at most one more than the encoder's
            window.
        mask: where an item stands, (B, M) bool, at least one a row.

    Returns:
        Conditions, (B, M, C) float32; the one at m is that of the M - 1 other items. Without meaning where none stands.
    """
    with torch.no_grad():
        if isinstance(generator.encoder, BagEncoder):
            return _bag(generator.encoder, items, mask)
        vectors = functional.embedding(items, generator.vectors)
        return _sequence(generator.encoder, vectors, mask.sum(1))


def _bag(encoder: BagEncoder, items: Tensor, mask: Tensor) -> Tensor:
    vectors = functional.embedding(items, encoder.embeddings) * mask.unsqueeze(-1)
    rest = (mask.sum(1) - 1).clamp(min=1).sqrt()[:, None, None]
    bag = (vectors.sum(1, keepdim=True) - vectors + encoder.opening) / rest
    refined: Tensor = bag + encoder.refine(bag)
    return refined


def _sequence(encoder: SequenceEncoder, vectors: Tensor, lengths: Tensor) -> Tensor:
    (block,) = encoder.blocks
    if not isinstance(block, Block):
        raise TypeError(f"a sequence encoder is made of blocks, not of {type(block).__name__}")
    tokens, positions = encoder.scale * vectors, encoder.positions[: vectors.shape[1]]
    opening = encoder.opening.expand(len(tokens), 1, -1)
    before = torch.cat([opening, tokens[:, :-1]], dim=1) + positions  # (B, M, D): what stands at place m
    behind = tokens + positions  # (B, M, D): what moves down to place m
    column, last = torch.arange(vectors.shape[1]), (lengths - 1)[:, None]
    rows, newest = torch.arange(len(tokens)), lengths - 1
    attended = _attended(block, before, behind, behind[rows, newest], column <= last)
    alone = _attended(block, before, behind, before[rows, newest], column <= last)
    is_last = (column == last).unsqueeze(-1)
    own = torch.where(is_last, before[rows, newest].unsqueeze(1), behind[rows, newest].unsqueeze(1))
    states = own + block.join(torch.where(is_last, alone, attended))
    refined: Tensor = encoder.norm(states + block.layers(block.before_layers(states)))
    return refined


def _attended(block: Block, before: Tensor, behind: Tensor, newest: Tensor, there: Tensor) -> Tensor:
    """What a newest state (B, D) attends to when item m is missing, (B, M, D): those up to `before` m, and `behind` it.

    Args:
        block: whose attention it is.
        before: states of which those up to m count, (B, M, D).
        behind: states of which those after m count, (B, M, D).
        newest: the state that asks, (B, D).
        there: which states exist, (B, M) bool.
    """
    query = _split(block, newest.unsqueeze(1))[0]  # (B, 1, H, D / H)
    keys, values = zip(*(_split(block, states)[1:] for states in (before, behind)), strict=True)
    scores = torch.stack([(query * key).sum(-1) for key in keys]).double() / query.shape[-1] ** 0.5  # (2, B, M, H)
    scores = scores.masked_fill(~there.unsqueeze(-1), -torch.inf)
    weights = (scores - scores.amax((0, 2), keepdim=True)).exp()
    sums, totals = [], []
    for weight, value, up in zip(weights, values, (True, False), strict=True):
        sums.append(_running(weight.unsqueeze(-1) * value, up))
        totals.append(_running(weight, up))
    return ((sums[0] + sums[1]) / (totals[0] + totals[1]).unsqueeze(-1)).flatten(2).float()


def _split(block: Block, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of states (B, M, D), (B, M, H, D / H) each."""
    parts = block.split(block.before_attention(states)).unflatten(-1, (3, block.heads, -1))
    query, key, value = parts.unbind(2)
    return query, key, value


def _running(values: Tensor, up: bool) -> Tensor:
    """Sums over the second axis of what stands up to a place, or behind it."""
    if up:
        return values.cumsum(1)
    return torch.cat([values[:, 1:].flip(1).cumsum(1).flip(1), torch.zeros_like(values[:, :1])], dim=1)

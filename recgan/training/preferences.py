"""The encoder of stated preferences learns from histories: part of one is turned into what its user would state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recgan.histories import Histories
from recgan.losses import hits, ranking_loss, sampled_ranking_loss
from recgan.networks import PreferenceEncoder
from recgan.ranking import CELLS, Blocks
from recgan.training.fitting import seeded
from recgan.training.scoring import WHOLE

STEPS, USERS, RATE, WEIGHT_DECAY, HIDDEN = 300, 256, 5e-3, 0.01, 128
KEPT = (0, 0, 1, 2, 3, 5, 8, 12)
"""How many items are left of a history, each as likely as the others."""
NEGATIVES = 4096
"""Items that the targets are compared with in a large catalogue."""
FEWEST = 4
"""Items of a history that something can be learned from."""
MOST_TARGETS = 50
LIKED, STATED = 5, 3
"""A user's most typical categories, and most of them that are stated."""
UNREACHABLE = -1e4


@dataclass(frozen=True)
class Sample:
    """Some users as they are asked for: what is left of B histories, what they state, and what they want.

    Args:
        histories: of the B users.
        stated: (B, Q) float32 of 0 and 1.
        targets: item numbers, (B, T) int64.
        mask: where a target stands, (B, T) bool.
    """

    histories: Histories
    stated: np.ndarray
    targets: np.ndarray
    mask: np.ndarray


def fit_preferences(blocks: Blocks, histories: Histories, flags: np.ndarray, seed: int) -> PreferenceEncoder | None:
    """The encoder that turns stated categories into moves of the condition; nothing else of the model changes.

    Args:
        blocks: stage one as it serves.
        histories: training interactions.
        flags: which item has which category, (N, Q) float32 of 0 and 1.
        seed: of its start and of what it learns from.

    Returns:
        The encoder, in evaluation mode; None where there are no categories, or nobody to learn from.
    """
    able = np.flatnonzero(histories.lengths >= FEWEST)
    if not flags.size or flags.size > CELLS or not len(able):
        return None
    random = np.random.default_rng([seed, 3])
    users = max(1, min(USERS, len(able), CELLS // min(histories.n_items, WHOLE)))
    vectors = blocks.generator.item_vectors()
    with seeded(seed):
        encoder = PreferenceEncoder(flags.shape[1], blocks.generator.mean.in_features, HIDDEN)
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        for _ in range(STEPS):
            sample = draw(histories.take(random.choice(able, users)), flags, random)
            loss = _loss(blocks, encoder, sample, vectors)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return encoder.eval().requires_grad_(False)


def draw(taken: Histories, flags: np.ndarray, random: np.random.Generator) -> Sample:
    """Cut some histories into what is kept, what is stated instead of shown, and what is wanted.

    Args:
        taken: of B users.
        flags: which item has which category, (N, Q) float32.
        random: of the cuts.

    Returns:
        The sample; what is stated comes from half of the items that are not kept, what is wanted is the other half.
    """
    ranks = taken.ranks(random.random(len(taken.items)))
    kept = np.minimum(random.choice(KEPT, len(taken)), taken.lengths - 2)
    half = kept + (taken.lengths - kept) // 2
    told = taken.part((ranks >= kept[taken.rows]) & (ranks < half[taken.rows]))
    wanted = taken.part(ranks >= half[taken.rows])
    targets, mask = wanted.window(np.arange(len(taken)), MOST_TARGETS)
    stated = some_of(typical(told, flags, LIKED), random)
    return Sample(taken.part(ranks < kept[taken.rows]), stated, targets, mask)


def typical(histories: Histories, flags: np.ndarray, most: int) -> np.ndarray:
    """The categories that set users apart: the largest terms of the divergence of their mix from everybody's.

    Args:
        histories: of B users.
        flags: which item has which category, (N, Q) float32.
        most: categories a user.

    Returns:
        (B, Q) bool; only categories that the user has more of than others.
    """
    share = np.asarray(histories.matrix() @ flags) / np.maximum(histories.lengths, 1)[:, None]
    usual = flags.mean(axis=0) if not len(histories.items) else share.mean(axis=0)
    terms = share * np.log((share + 1e-6) / (usual + 1e-6))
    order = np.argsort(np.argsort(-terms, axis=1, kind="stable"), axis=1)
    return np.asarray((order < most) & (terms > 0.0))


def some_of(flags: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One to `STATED` random ones of each row's flags, (B, Q) float32."""
    keys = np.where(flags, random.random(flags.shape), np.inf)
    order = np.argsort(np.argsort(keys, axis=1), axis=1)
    return np.asarray(flags & (order < random.integers(1, STATED + 1, (len(flags), 1))), np.float32)


def _loss(blocks: Blocks, encoder: PreferenceEncoder, sample: Sample, vectors: Tensor) -> Tensor:
    """Softmax of the targets under generator and popularity, as they count for such a history.

    Of a large catalogue a uniform sample is compared with them.
    """
    histories, popular = sample.histories, torch.from_numpy(blocks.popularity)
    lengths = torch.from_numpy(histories.lengths)
    moved = encoder(blocks.conditions(histories), torch.from_numpy(sample.stated), lengths)
    generated, popularity = (torch.from_numpy(one) for one in blocks.fading_weights(histories.lengths))
    share, wanted = popularity / generated.clamp(min=math.ulp(1.0)), blocks.generator.wanted(moved)
    targets, mask = torch.from_numpy(sample.targets), torch.from_numpy(sample.mask)
    if len(vectors) > WHOLE:
        pool = torch.randint(len(vectors), (NEGATIVES,))
        chosen = (wanted.unsqueeze(1) * vectors[targets]).sum(-1) + share * popular[targets]  # (B, T)
        items, there = map(torch.from_numpy, histories.window(np.arange(len(histories)), max(KEPT)))
        known = hits(items, there, pool)
        rest = (wanted @ vectors[pool].T + share * popular[pool]).masked_fill(known, UNREACHABLE)
        return sampled_ranking_loss(chosen, rest, targets, mask, pool, len(vectors))
    logits = wanted @ vectors.T + share * popular
    rows = torch.from_numpy(histories.rows), torch.from_numpy(histories.items)
    logits = logits.index_put(rows, torch.tensor(UNREACHABLE))
    return ranking_loss(logits, targets, mask)

"""Losses as pure functions: what the generator is ranked by, and the adversarial game. No file else knows a formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

HELD = 1 << 28
"""Logits that a step may hold; of more, the rows are computed in portions, and once more for the gradient."""
Judge = Callable[[Tensor], Tensor]


def ranking_loss(logits: Tensor, targets: Tensor, target_mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Softmax cross-entropy of a user's targets, averaged so that a user counts with the root of their number.

    Args:
        logits: (B, N) float32, unreachable items at a large negative value.
        targets: item numbers, (B, T) int64.
        target_mask: where a target stands, (B, T) bool.
        weights: what every target counts, (B, T) float32; None: all alike.

    Returns:
        A scalar in nats.
    """
    return user_mean(logits.gather(1, targets) - logits.logsumexp(1, keepdim=True), target_mask, weights)


def set_likelihood_loss(logits: Tensor, targets: Tensor, target_mask: Tensor) -> Tensor:
    """`-log mean over draws of prod over targets of p(target | c, z)`, per target: one draw must explain them all.

    The logarithm stands outside the mean over draws; the mean of the logarithms would make the draws equal.

    Args:
        logits: one row a draw, (B, S, N) float32.
        targets: item numbers, (B, T) int64.
        target_mask: where a target stands, (B, T) bool.

    Returns:
        A scalar in nats a target.
    """
    draws = logits.shape[1]
    index = targets.unsqueeze(1).expand(-1, draws, -1)
    chosen = logits.gather(2, index) - logits.logsumexp(2, keepdim=True)  # (B, S, T)
    together = (chosen * target_mask.unsqueeze(1)).sum(2)  # (B, S)
    mixed = together.logsumexp(1) - torch.log(torch.tensor(float(draws)))
    count = target_mask.sum(1)
    there = count > 0
    return -(mixed[there] / count[there]).mean() if bool(there.any()) else logits.sum() * 0.0


def listwise_loss(logits: Tensor, positive: Tensor, present: Tensor) -> Tensor:
    """Relativistic loss in its listwise form: each real item against all proposals that are not real.

    Args:
        logits: (B, K) float32.
        positive: which proposals are real interactions, (B, K) bool.
        present: which proposals exist, (B, K) bool.

    Returns:
        A scalar in nats; 0 where no user has a real proposal.
    """
    fake = logits.masked_fill(positive | ~present, -torch.inf).logsumexp(1, keepdim=True)  # (B, 1)
    chosen = logits - torch.logaddexp(logits, fake)
    return -(chosen * positive).sum() / positive.sum().clamp(min=1)


def user_mean(log_probability: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean negative log probability of the targets, in which a user counts with the root of their number.

    Args:
        log_probability: of the targets, (B, T) float32.
        mask: where a target stands, (B, T) bool.
        weights: what every target counts, (B, T) float32; None: all alike.

    Returns:
        A scalar in nats.
    """
    count = mask.sum(1)
    log_probability = log_probability if weights is None else log_probability * weights
    weight = user_weights(mask)
    per_user = (log_probability * mask).sum(1) / count.clamp(min=1)
    return -(per_user * weight).sum() / weight.sum().clamp(min=1.0)


def user_weights(mask: Tensor) -> Tensor:
    """What every user counts in a ranking loss, (B,) float32: the root of the number of targets in a mask (B, T)."""
    return mask.sum(1).sqrt()


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises.

    Args:
        kind: "relativistic" (Jolicoeur-Martineau, ICLR 2019), "non-saturating" (Goodfellow et al., 2014),
            "wgan-gp" (Gulrajani et al., 2017) or "hinge" (Miyato et al., 2018).
        real: logits of real slates, any shape, float32.
        fake: logits of their generated partners, the same shape.

    Returns:
        A scalar.
    """
    if kind == "relativistic":
        return functional.softplus(fake - real).mean()
    if kind == "non-saturating":
        return functional.softplus(-real).mean() + functional.softplus(fake).mean()
    if kind == "wgan-gp":
        return fake.mean() - real.mean()
    if kind == "hinge":
        return functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean()
    raise ValueError(f"unknown adversarial loss {kind!r}")


def generator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the generator minimises in the game; arguments as in `discriminator_loss`."""
    if kind == "relativistic":
        return functional.softplus(real - fake).mean()
    if kind == "non-saturating":
        return functional.softplus(-fake).mean()
    if kind in ("wgan-gp", "hinge"):
        return -fake.mean()
    raise ValueError(f"unknown adversarial loss {kind!r}")


def judged(kind: str, judge: Judge, real: Tensor, fake: Tensor, mixing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of real and generated slates, with the gradient penalty of the game: in one pass, as both need it.

    The penalty is the zero-centred R1 + R2 (R3GAN, Huang et al., NeurIPS 2024), or the one-centred one of WGAN-GP.

    Args:
        kind: the adversarial loss; "wgan-gp" has its own penalty.
        judge: maps slates (B, M, D) to logits (B,).
        real: item vectors of real slates, (B, M, D).
        fake: those of generated slates, (B, M, D).
        mixing: uniform numbers, (B, 1, 1), the place between the two for WGAN-GP.

    Returns:
        Logits of both, (B,), and a scalar: half the mean squared gradient norm at both, or the mean squared distance of
        the norm from 1.
    """
    if kind == "wgan-gp":
        between = (mixing * real + (1.0 - mixing) * fake).detach().requires_grad_(True)
        slope = torch.autograd.grad(judge(between).sum(), between, create_graph=True)[0]
        norm = slope.square().sum((1, 2)).add(1e-12).sqrt()
        return judge(real.detach()), judge(fake.detach()), (norm - 1.0).square().mean()
    slates = [vectors.detach().requires_grad_(True) for vectors in (real, fake)]
    logits = [judge(vectors) for vectors in slates]
    slopes = torch.autograd.grad([values.sum() for values in logits], slates, create_graph=True)
    squares = [slope.square().sum((1, 2)).mean() for slope in slopes]
    return logits[0], logits[1], 0.5 * (squares[0] + squares[1])


def straight_through_items(logits: Tensor, vectors: Tensor, numbers: Tensor) -> Tensor:
    """Snap generated vectors to sampled catalogue items: the items forwards, the mean over the softmax backwards.

    Args:
        logits: of every item, (B, N) float32.
        vectors: item vectors, (N, D) float32.
        numbers: items drawn from the softmax of the logits, (B, K) int64.

    Returns:
        Vectors (B, K, D) equal to those of the items, with the gradient of their expectation (Bengio et al., 2013).
    """
    soft = (logits.softmax(-1) @ vectors).unsqueeze(1)  # (B, 1, D)
    return functional.embedding(numbers, vectors).detach() + soft - soft.detach()


def sampled_ranking_loss(
    chosen: Tensor,
    negatives: Tensor,
    targets: Tensor,
    target_mask: Tensor,
    pool: Tensor,
    n_items: int,
    weights: Tensor | None = None,
) -> Tensor:
    """Softmax cross-entropy against a shared uniform sample of the catalogue, corrected for its size.

    Args:
        chosen: logits of the targets, (B, T) float32.
        negatives: logits of the sample, (B, P) float32.
        targets: item numbers of the targets, (B, T) int64.
        target_mask: where a target stands, (B, T) bool.
        pool: item numbers of the sample, (P,) int64; hits of a user's own targets are left out.
        n_items: size N of the catalogue.
        weights: what every target counts, (B, T) float32; None: all alike.

    Returns:
        A scalar in nats.
    """
    rest = negatives.masked_fill(hits(targets, target_mask, pool), -torch.inf).logsumexp(1, keepdim=True)
    return sampled_loss(chosen, rest, n_items / len(pool), target_mask, weights)


def sampled_loss(
    chosen: Tensor, rest: Tensor, often: float, target_mask: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Softmax cross-entropy against the log sum of a sample, each item of which stands for so many.

    Args:
        chosen: logits of the targets, (B, T) float32.
        rest: log of the summed exponentials of the sample's logits, (B, 1) float32.
        often: items of the catalogue by items of the sample.
        target_mask: where a target stands, (B, T) bool.
        weights: what every target counts, (B, T) float32; None: all alike.

    Returns:
        A scalar in nats.
    """
    return user_mean(chosen - torch.logaddexp(chosen, rest + math.log(often)), target_mask, weights)


def hits(items: Tensor, mask: Tensor, pool: Tensor) -> Tensor:
    """Which items of a pool (P,) are among each row's own items (B, T) that stand where the mask says, (B, P) bool."""
    own = torch.zeros(len(mask), len(pool), dtype=torch.bool, device=pool.device)
    own[hit_places(items, mask, pool)] = True
    return own


def hit_places(items: Tensor, mask: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of what `hits` marks, (H,) int64 each, in no order, some perhaps more than once."""
    rows, column = mask.nonzero(as_tuple=True)
    wanted = items[rows, column]
    items, order = pool.sort()
    first = torch.searchsorted(items, wanted)
    often = torch.searchsorted(items, wanted, right=True) - first  # an item may be drawn more than once
    rows, first = rows.repeat_interleave(often), first.repeat_interleave(often)
    nth = torch.arange(len(rows), device=pool.device) - (often.cumsum(0) - often).repeat_interleave(often)
    return rows, order[first + nth]


def log_sums(
    wanted: Tensor,
    vectors: Tensor,
    added: Tensor | None,
    left_out: tuple[Tensor, Tensor],
    chosen: Tensor,
    halves: bool = False,
) -> tuple[Tensor, Tensor]:
    """Logits of chosen columns, (B, T), and the log of the summed exponentials of all logits, (B, 1).

    Args:
        wanted: (B, D) float32.
        vectors: (P, D) float32; the logits are the inner products with these.
        added: to the logits, (B, P) float32, without a gradient; None for nothing.
        left_out: rows and columns that are no part of the sum.
        chosen: columns, (B, T) int64.
        halves: multiply and keep the logits in bfloat16, whose steps are a 256th; sums are of float32.
    """
    size, (rows, columns) = max(1, HELD // max(1, len(vectors))), left_out
    if len(wanted) <= size:
        return _LogSums.apply(wanted, vectors, added, left_out, chosen, halves)  # type: ignore[no-any-return,no-untyped-call]
    parts = []
    for start in range(0, len(wanted), size):
        some, own = slice(start, start + size), (rows >= start) & (rows < start + size)
        moved, places = None if added is None else added[some], (rows[own] - start, columns[own])
        given = wanted[some], vectors, moved, places, chosen[some], halves
        parts.append(checkpoint(_LogSums.apply, *given, use_reentrant=False))
    found, sums = zip(*parts, strict=True)
    return torch.cat(found), torch.cat(sums)


class _LogSums(torch.autograd.Function):
    """The logits are made once and not copied: beyond the caches some passes over them take as long as the products."""

    @staticmethod
    def forward(
        ctx: Any,
        wanted: Tensor,
        vectors: Tensor,
        added: Tensor | None,
        left_out: tuple[Tensor, Tensor],
        chosen: Tensor,
        halves: bool,
    ) -> tuple[Tensor, Tensor]:
        exact = wanted.dtype
        if halves:
            wanted, vectors = wanted.bfloat16(), vectors.bfloat16()
        logits = wanted @ vectors.T
        if added is not None:
            logits += added
        found = logits.gather(1, chosen).to(exact)
        logits[left_out] = -torch.inf
        top = logits.amax(1, keepdim=True).clamp_(min=torch.finfo(logits.dtype).min)  # where all are left out
        shares = logits.sub_(top).exp_()
        sums = shares.sum(1, keepdim=True, dtype=exact)
        ctx.save_for_backward(wanted, vectors, shares, sums, chosen)
        return found, sums.log() + top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        wanted, vectors, shares, sums, chosen = ctx.saved_tensors
        of_chosen, of_sums = gradients
        exact, rough = sums.dtype, shares.dtype
        scale = of_sums / sums.clamp(min=torch.finfo(exact).tiny)
        if not chosen.shape[1]:  # rows are scaled where they are short
            of_wanted, of_vectors = (shares @ vectors).to(exact) * scale, shares.T @ (wanted * scale).to(rough)
            return of_wanted, of_vectors.to(exact), None, None, None, None
        moved = (shares * scale.to(rough)).scatter_add_(1, chosen, of_chosen.to(rough))
        return (moved @ vectors).to(exact), (moved.T @ wanted).to(exact), None, None, None, None

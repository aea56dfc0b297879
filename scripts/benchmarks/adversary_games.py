"""Games without a discriminator, beside those that the package plays: the same slates, another measure of realism."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recgan.training.batches import Batch
from recgan.training.module import ConditionalGAN

SLATES = 4
"""Generated slates a user."""


class EnergyScoreGame(ConditionalGAN):
    """The energy score (Gneiting and Raftery 2007) of a user's generated slates against the real one.

    ``E|f - r| - E|f - f'| / 2`` with the length of the difference of two slates' features.
    """

    def game_losses(self, batch: Batch, optimizer: Any = None) -> dict[str, Tensor]:
        """The set likelihood, and the score in the adversary's place."""
        real, fake = features_of_slates(self, batch)  # (B, Q), (S, B, Q)
        far = length(fake - real).mean()
        apart = torch.stack([length(fake[a] - fake[b]).mean() for a in range(len(fake)) for b in range(a)]).mean()
        return {**super().game_losses(batch), "adversarial": far - 0.5 * apart}


class MmdGame(ConditionalGAN):
    """Squared maximum mean discrepancy of the batch's generated slates from its real ones, Gaussian, median width."""

    def game_losses(self, batch: Batch, optimizer: Any = None) -> dict[str, Tensor]:
        """The set likelihood, and the discrepancy in the adversary's place."""
        real, fake = features_of_slates(self, batch)
        fake = fake.flatten(0, 1)
        width = torch.cdist(real, real).square().median().clamp(min=1e-6)

        def kernel(one: Tensor, other: Tensor) -> Tensor:
            return torch.exp(-0.5 * torch.cdist(one, other).square() / width)

        n = len(fake)
        among = (kernel(fake, fake).sum() - n) / (n * (n - 1))
        return {**super().game_losses(batch), "adversarial": among - 2.0 * kernel(fake, real).mean()}


def features_of_slates(module: ConditionalGAN, batch: Batch) -> tuple[Tensor, Tensor]:
    """Real slates and some generated ones a user as rows, (B, Q) and (S, B, Q): their middle and likeness."""
    generator = module.generator
    with torch.no_grad():
        condition = generator.condition(batch["items"], batch["mask"])
    noise = torch.randn(len(condition), SLATES, generator.noise_dim, device=condition.device)
    wanted = generator.wanted(condition, noise)
    there = batch["target_mask"] / batch["target_mask"].sum(1, keepdim=True)
    both = [module.slates(wanted[:, draw], batch) for draw in range(SLATES)]
    return _features(both[0][0], there), torch.stack([_features(fake, there) for _, fake in both])


def length(rows: Tensor) -> Tensor:
    """Euclidean length of rows (..., Q), with a gradient at zero."""
    return rows.square().sum(-1).add(1e-9).sqrt()


def _features(slates: Tensor, weights: Tensor) -> Tensor:
    middle = (weights.unsqueeze(-1) * slates).sum(1)
    return torch.cat([middle, middle.square().sum(1, keepdim=True)], dim=1)

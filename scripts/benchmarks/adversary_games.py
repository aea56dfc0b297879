"""Games without a discriminator's gradient, beside those that the package plays."""

from __future__ import annotations

import torch
from torch import Tensor

from recgan.training.batches import Batch
from recgan.training.module import ConditionalGAN

POOL = 2000
"""Most items over which a distance is summed; larger catalogues are sampled, with the targets among them."""
PROPOSED, NEGATIVES = 200, 50


class EnergyScoreGame(ConditionalGAN):
    """The energy score (Gneiting and Raftery 2007) of each user's softmax against the user's own targets.

    ``sum_ij p_i q_j |v_i - v_j| - sum_ij p_i p_j |v_i - v_j| / 2``: exact, no items are drawn.
    """

    def game_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The package's losses without an adversary, and the score in its place."""
        found = super().game_losses(batch)
        chance, real, vectors = softmax_and_targets(self, batch)
        apart = torch.cdist(vectors, vectors)
        score = ((chance @ apart) * (real - 0.5 * chance)).sum(1)
        found["adversarial"] = score[real.sum(1) > 0].mean()
        return found


class MmdGame(ConditionalGAN):
    """Squared maximum mean discrepancy of the batch's mean softmax from its targets, Gaussian kernel, median width."""

    def game_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The package's losses without an adversary, and the discrepancy in its place."""
        found = super().game_losses(batch)
        chance, real, vectors = softmax_and_targets(self, batch)
        there = real.sum(1) > 0
        off = chance[there].mean(0) - real[there].mean(0)
        apart = torch.cdist(vectors, vectors).square()
        kernel = torch.exp(-0.5 * apart / apart.median().clamp(min=1e-6))
        found["adversarial"] = off @ kernel @ off
        return found


class HardNegativesGame(ConditionalGAN):
    """Targets against hard negatives out of the generator's best proposals, drawn by its own softmax."""

    def hardness(self, condition: Tensor, logits: Tensor, numbers: Tensor) -> Tensor:
        """Logits by which the negatives are drawn, (B, K), for K proposals with their scores."""
        return logits

    def game_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The package's losses with the adversary's gradient taken out, and the negatives in its place."""
        found = super().game_losses(batch)
        condition = self.generator.condition(batch["items"], batch["mask"])
        logits = self.generator.wanted(condition) @ self.generator.item_vectors().T
        targets, mask = batch["targets"], batch["target_mask"]
        with torch.no_grad():
            free = logits.clone()
            for numbers, there in ((batch["items"], batch["mask"]), (targets, mask)):
                rows = there.nonzero()[:, 0]
                free[rows, numbers[there]] = -torch.inf
            best, numbers = free.topk(min(PROPOSED, logits.shape[1] // 2))
            chance = self.hardness(condition, best, numbers).masked_fill(best.isinf(), -torch.inf).softmax(1)
            drawn = numbers.gather(1, chance.multinomial(NEGATIVES, replacement=True))
        rest = logits.gather(1, drawn).logsumexp(1, keepdim=True)
        chosen = logits.gather(1, targets)
        loss = torch.logaddexp(chosen, rest) - chosen
        found["adversarial"] = (loss * mask).sum() / mask.sum().clamp(min=1)
        return found


class JudgedNegativesGame(HardNegativesGame):
    """The same with negatives that the discriminator takes for real."""

    def hardness(self, condition: Tensor, logits: Tensor, numbers: Tensor) -> Tensor:
        """The discriminator's realism in the place of the generator's scores."""
        return self.discriminator.realism(condition, self.generator.item_vectors()[numbers])


def softmax_and_targets(module: ConditionalGAN, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax under one draw of z and the targets' shares over a pool, (B, P) each, and its item vectors, (P, D)."""
    generator = module.generator
    vectors, targets = generator.item_vectors(), batch["targets"]
    condition = generator.condition(batch["items"], batch["mask"])
    noise = torch.randn(len(condition), 1, generator.noise_dim, device=vectors.device)
    pool = torch.randperm(len(vectors), device=vectors.device)[:POOL]
    pool = torch.unique(torch.cat([pool, targets.flatten()]))
    logits = generator.wanted(condition, noise)[:, 0] @ vectors[pool].T
    if module.trend is not None:
        logits = logits + module.trend[:, pool][batch["when"]]
    places = torch.searchsorted(pool, targets)
    real = torch.zeros_like(logits).scatter_add(1, places, batch["target_mask"].to(logits.dtype))
    shares = real / real.sum(1, keepdim=True).clamp(min=1)
    return logits.softmax(1), shares, vectors[pool].detach()

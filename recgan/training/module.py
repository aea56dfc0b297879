"""The Lightning module: one step of ranking, or one round of the adversarial game. Optimised by hand."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from recgan import losses
from recgan.config import Config
from recgan.errors import TrainingError
from recgan.networks import Discriminator, Generator, SequenceEncoder
from recgan.training.batches import Batch

UNREACHABLE = -1e4
GAME_RATE = 0.2
"""In the game the trained parts of the generator move this much slower than the variation, which is new."""
MOOD_DRAWS = 8
"""Draws of the noise one of which has to explain a slate."""
MOOD_NEGATIVES = 1024
"""Items that a slate is told from."""
Phase = Literal["ranking", "game", "moods"]


class ConditionalGAN(pl.LightningModule):
    """Trains a generator, alone or against a discriminator.

    Args:
        generator: trained in place; its running average is kept in `average`.
        discriminator: trained in place during the game.
        config: learning rates and weights.
        phase: what a step is: "ranking"; a round of the "game"; or "moods", in which only the variation learns.
        learning_rate: of the generator at the start.
        weight_decay: of the generator.
        n_steps: planned steps, for the cosine decay of the learning rate.
        full_softmax: whether the softmax runs over every item, or over a sample.
        seconds: the decay ends after this time where that comes first; None for no limit.
        trend: log popularity at the moments that batches name, (M, N), which is added to the logits so that the
            generator learns what popularity does not tell; None for none.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        config: Config,
        *,
        phase: Phase,
        learning_rate: float,
        weight_decay: float,
        n_steps: int,
        full_softmax: bool,
        seconds: float | None = None,
        trend: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.trend: Tensor | None
        self.generator = generator.train(phase != "moods").requires_grad_(phase != "moods")
        self.generator.variation.requires_grad_(True)
        self.discriminator = discriminator.train().requires_grad_(True)
        self.config = config
        self.phase = phase
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.full_softmax = full_softmax
        self.seconds = seconds
        self.register_buffer("trend", trend, persistent=False)
        self.began: float | None = None
        self.n_steps = max(1, n_steps)
        self.steps = 0
        self.average = {name: value.detach().clone() for name, value in generator.state_dict().items()}
        self.totals: dict[str, float] = {}
        self.counted = 0

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the generator; Adam with betas (0, .99) for the discriminator."""
        config, game = self.config, self.phase == "game"
        varied = [p for name, p in self.generator.named_parameters() if name.startswith("variation.")]
        rest = [p for name, p in self.generator.named_parameters() if not name.startswith("variation.")]
        groups: list[dict[str, Any]] = [
            {"params": varied},
            {"params": rest, "lr": self.learning_rate * (GAME_RATE if game else 1.0)},
        ]
        generator = torch.optim.AdamW(groups, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        playing = [p for name, p in self.discriminator.named_parameters() if not name.startswith("head.")]
        discriminator = torch.optim.Adam(playing, lr=config.discriminator_learning_rate, betas=(0.0, 0.99), fused=True)
        return [generator, discriminator]

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One ranking step, or one step of each player."""
        generator, discriminator = self.optimizers()  # type: ignore[attr-defined]
        losses_now: dict[str, Tensor] = {}
        if self.phase == "game" and self.config.adversarial != "none":
            losses_now["discriminator"] = self.discriminator_loss(batch)
            self._descend(discriminator, losses_now["discriminator"], self.discriminator, "discriminator")
        losses_now |= self._generator_losses(batch)
        weights = {"adversarial": self.config.adversarial_weight}
        total = sum(weights.get(name, 1.0) * loss for name, loss in losses_now.items() if name != "discriminator")
        self._decay(generator)
        self._descend(generator, total, self.generator, "generator")  # type: ignore[arg-type]
        self._average()
        self.counted += 1
        for name, loss in losses_now.items():
            self.totals[name] = self.totals.get(name, 0.0) + float(loss.detach())

    def _generator_losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.phase == "game":
            return self.game_losses(batch)
        if self.phase == "moods":
            return {"set": self.mood_loss(batch)}
        return {"ranking": self.ranking_loss(batch)}

    def progress(self) -> float:
        """Share of the planned steps, or of the time, that is behind, in [0, 1]."""
        self.began = self.began or time.perf_counter()
        spent = (time.perf_counter() - self.began) / self.seconds if self.seconds else 0.0
        return min(1.0, max(self.steps / self.n_steps, spent))

    def mean_losses(self) -> dict[str, float]:
        """Mean of every loss since the last call."""
        means = {name: total / max(1, self.counted) for name, total in self.totals.items()}
        self.totals, self.counted = {}, 0
        return means

    def ranking_loss(self, batch: Batch) -> Tensor:
        """Softmax over the catalogue for every target, with the noise-free vector."""
        generator = self.generator
        if isinstance(generator.encoder, SequenceEncoder) and "targets" not in batch:
            states = generator.states(batch["items"])[:, :-1][batch["mask"]]  # (T, C)
            targets = batch["items"][batch["mask"]].unsqueeze(1)  # (T, 1)
            there = torch.ones_like(targets, dtype=torch.bool)
            when = batch["when"][batch["mask"]] if self.trend is not None else None
            return self._softmax(generator.wanted(states), targets, there, None, when)
        condition = generator.condition(batch["items"], batch["mask"])
        targets, mask = batch["targets"], batch["target_mask"]
        return self._softmax(generator.wanted(condition), targets, mask, batch, batch.get("when"))

    def _softmax(
        self, wanted: Tensor, targets: Tensor, mask: Tensor, batch: Batch | None, when: Tensor | None
    ) -> Tensor:
        vectors = self.generator.item_vectors()
        if self.full_softmax:
            logits = self._in_fashion(wanted @ vectors.T, when)
            return losses.ranking_loss(_without_history(logits, batch), targets, mask)
        pool = torch.randint(len(vectors), (self.config.n_negatives,), device=wanted.device)
        chosen = (wanted.unsqueeze(1) * vectors[targets]).sum(-1)  # (B, 1, D) x (B, T, D) -> (B, T)
        if when is not None and self.trend is not None:
            chosen = chosen + self.trend[when.unsqueeze(1), targets]
        rest = self._in_fashion(wanted @ vectors[pool].T, when, pool)
        return losses.sampled_ranking_loss(chosen, rest, targets, mask, pool, len(vectors))

    def _in_fashion(self, logits: Tensor, when: Tensor | None, pool: Tensor | None = None) -> Tensor:
        """Logits (B, N), or (B, P) of a pool, with the log popularity of their time."""
        if when is None or self.trend is None:
            return logits
        return logits + (self.trend if pool is None else self.trend[:, pool])[when]

    def discriminator_loss(self, batch: Batch) -> Tensor:
        """What the discriminator minimises; nothing of the generator gets a gradient."""
        with torch.no_grad():
            condition = self.generator.condition(batch["items"], batch["mask"])
            fake, real, kept = self._pairs(condition, batch)
        kind, judge = self.config.adversarial, self.discriminator.realism
        real_logits = judge(condition, real)
        mismatched = judge(condition.roll(1, 0), real)
        loss = 0.5 * (
            losses.discriminator_loss(kind, real_logits[kept], judge(condition, fake)[kept])
            + losses.discriminator_loss(kind, real_logits[kept], mismatched[kept])
        )
        mixing = torch.rand(*real.shape[:2], 1, device=real.device)
        penalty = losses.gradient_penalty(kind, lambda v: judge(condition, v), real, fake, mixing)
        return loss + self.config.gradient_penalty * penalty

    def game_losses(self, batch: Batch) -> dict[str, Tensor]:
        """What the generator minimises in the game: ranking, set likelihood over draws, and to be taken for real."""
        generator, kind = self.generator, self.config.adversarial
        condition = generator.condition(batch["items"], batch["mask"])
        targets, mask = batch["targets"], batch["target_mask"]
        first = targets[:, :1] if isinstance(generator.encoder, SequenceEncoder) else targets
        ranking = self._softmax(generator.wanted(condition), first, mask[:, : first.shape[1]], batch, batch.get("when"))
        noise = self._noise(len(condition), 4)
        logits, places = self._pool_logits(generator.wanted(condition, noise), batch)  # (B, S, P)
        result = {"ranking": ranking, "set": losses.set_likelihood_loss(logits, places, mask)}
        if kind != "none":
            fake, real, kept = self._pairs(condition, batch)
            self.discriminator.requires_grad_(False)
            real_logits = self.discriminator.realism(condition.detach(), real.detach())
            fake_logits = self.discriminator.realism(condition.detach(), fake)
            self.discriminator.requires_grad_(True)
            result["adversarial"] = losses.generator_loss(kind, real_logits[kept], fake_logits[kept])
        return result

    def mood_loss(self, batch: Batch) -> Tensor:
        """Set likelihood over draws: one of them must explain a slate of items that are alike."""
        with torch.no_grad():
            condition = self.generator.condition(batch["items"], batch["mask"])
        wanted = self.generator.wanted(condition, self._noise(len(condition), MOOD_DRAWS))
        logits, places = self._pool_logits(wanted, batch, MOOD_NEGATIVES)
        return losses.set_likelihood_loss(logits, places, batch["target_mask"])

    def _pairs(self, condition: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Generated and real item vectors of every user, (B, T, D) each, and which of them count, (B, T)."""
        wanted = self.generator.wanted(condition, self._noise(len(condition), 1))[:, 0]
        vectors = self.generator.item_vectors()
        logits = _without_history(self._in_fashion(wanted @ vectors.T, batch.get("when")), batch)
        numbers = logits.detach().softmax(1).multinomial(batch["targets"].shape[1], replacement=True)
        fake = losses.straight_through_items(logits, vectors, numbers)
        return fake, vectors[batch["targets"]], batch["target_mask"]

    def _pool_logits(self, wanted: Tensor, batch: Batch, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Logits of a pool of items for every draw, and the places of the targets in it; None: all, or a sample."""
        vectors = self.generator.item_vectors()
        when = batch["when"].unsqueeze(1) if self.trend is not None else None  # (B, 1), for every draw
        if size is None and self.full_softmax:
            return self._in_fashion(wanted @ vectors.T, when), batch["targets"]
        pool = torch.randint(len(vectors), (size or self.config.n_negatives,), device=wanted.device)
        pool = torch.unique(torch.cat([pool, batch["targets"].flatten()]))
        return self._in_fashion(wanted @ vectors[pool].T, when, pool), torch.searchsorted(pool, batch["targets"])

    def _noise(self, users: int, draws: int) -> Tensor:
        return torch.randn(users, draws, self.generator.noise_dim, device=self.device)

    def _descend(self, optimizer: Any, loss: Tensor, network: torch.nn.Module, name: str) -> None:
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the {name}'s loss is {float(loss)} at step {self.steps}: lower the learning rate, or look for "
                "extreme values in the data"
            )
        optimizer.zero_grad()
        self.manual_backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), self.config.clip_norm)
        optimizer.step()

    def _decay(self, optimizer: Any) -> None:
        """Cosine decay of the generator's learning rate over the planned steps, or the time."""
        share = self.progress()
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("first_lr", group["lr"]) * 0.5 * (1.0 + math.cos(math.pi * share))
        self.steps += 1

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema_decay, (1.0 + self.steps) / (10.0 + self.steps))
        for name, value in self.generator.state_dict().items():
            self.average[name].lerp_(value.to(self.average[name].device), 1.0 - decay)


def _without_history(logits: Tensor, batch: Batch | None) -> Tensor:
    """The condition's own items are no candidates: (B, N) with those set to a large negative value."""
    if batch is None:
        return logits
    rows = torch.arange(len(logits), device=logits.device).unsqueeze(1).expand_as(batch["items"])[batch["mask"]]
    value = torch.full((1,), UNREACHABLE, device=logits.device)
    return logits.index_put((rows, batch["items"][batch["mask"]]), value)

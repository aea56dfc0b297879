"""The Lightning module: one step of ranking, or one round of the adversarial game. Optimised by hand."""

from __future__ import annotations

import hashlib
import math
import time
from functools import cached_property
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
DRAWS = 8
"""Draws of the noise one of which has to explain a slate."""
NEGATIVES = 1024
"""Items that the set likelihood tells a slate from."""
EXPLODED = 1e6
"""Loss beyond which a run is not going anywhere; a sound one stays below a hundred."""
Phase = Literal["ranking", "game"]


class ConditionalGAN(pl.LightningModule):
    """Trains a generator to rank, or its variation with the noise against a discriminator.

    Args:
        generator: trained in place, in the game only its variation; its running average is kept in `average`.
        discriminator: trained in place during the game; None where none is played.
        config: learning rates and weights.
        phase: what a step is: "ranking", or a round of the "game".
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
        discriminator: Discriminator | None,
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
        ranks = phase == "ranking"
        self.generator = generator.train(ranks).requires_grad_(ranks)
        self.generator.variation.requires_grad_(not ranks)
        self.discriminator = discriminator
        if discriminator is not None:
            discriminator.train().requires_grad_(True).head.requires_grad_(False)
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
        self.epoch = 0
        self.batch: Batch = {}
        self.checkpoint = "none, as Config(checkpoint_dir=...) was not set"

    def on_train_epoch_start(self) -> None:
        """Count the epochs, those before a resumption too."""
        self.epoch += 1

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the generator; Adam with betas (0, .99) for the discriminator."""
        trained = [parameter for parameter in self.generator.parameters() if parameter.requires_grad]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        ]
        if self.discriminator is not None:
            playing = [parameter for parameter in self.discriminator.parameters() if parameter.requires_grad]
            rate = self.config.discriminator_learning_rate
            optimizers.append(torch.optim.Adam(playing, lr=rate, betas=(0.0, 0.99), fused=True))
        return optimizers

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One ranking step, or one step of each player."""
        self.batch = batch
        optimizers = self.optimizers()
        generator, *rest = optimizers if isinstance(optimizers, list) else [optimizers]
        found = self.game_losses(batch, *rest) if self.phase == "game" else {"ranking": self.ranking_loss(batch)}
        weights = {"adversarial": self.config.adversarial_weight}
        own = [weights.get(name, 1.0) * loss for name, loss in found.items() if name != "discriminator"]
        total = torch.stack(own).sum()
        self._decay(generator)
        self._descend(generator, total, self.generator, "generator")
        self._average()
        self.counted += 1
        for name, loss in found.items():
            self.totals[name] = self.totals.get(name, 0.0) + float(loss.detach())

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
            weights = batch["target_weights"][batch["mask"]].unsqueeze(1) if "target_weights" in batch else None
            return self._softmax(generator.wanted(states), targets, there, None, when, weights)
        condition = generator.condition(batch["items"], batch["mask"])
        targets, mask = batch["targets"], batch["target_mask"]
        weights = batch.get("target_weights")
        return self._softmax(generator.wanted(condition), targets, mask, batch, batch.get("when"), weights)

    def _softmax(
        self,
        wanted: Tensor,
        targets: Tensor,
        mask: Tensor,
        batch: Batch | None,
        when: Tensor | None,
        weights: Tensor | None,
    ) -> Tensor:
        vectors = self.generator.item_vectors()
        if self.full_softmax:
            logits = self._in_fashion(wanted @ vectors.T, when)
            return losses.ranking_loss(_without_history(logits, batch), targets, mask, weights)
        pool = torch.randint(len(vectors), (self.config.n_negatives,), device=wanted.device)
        chosen = (wanted.unsqueeze(1) * vectors[targets]).sum(-1)  # (B, 1, D) x (B, T, D) -> (B, T)
        if when is not None and self.trend is not None:
            chosen = chosen + self.trend[when.unsqueeze(1), targets]
        rest = self._in_fashion(wanted @ vectors[pool].T, when, pool)
        return losses.sampled_ranking_loss(chosen, rest, targets, mask, pool, len(vectors), weights)

    def _in_fashion(self, logits: Tensor, when: Tensor | None, pool: Tensor | None = None) -> Tensor:
        """Logits (B, N), or (B, P) of a pool, with the log popularity of their time."""
        if when is None or self.trend is None:
            return logits
        return logits + (self.trend if pool is None else self.trend[:, pool])[when]

    def game_losses(self, batch: Batch, optimizer: Any = None) -> dict[str, Tensor]:
        """What the variation minimises: one draw must explain a slate of items that are alike, and be taken for real.

        Args:
            batch: conditions, and slates as their targets.
            optimizer: of the discriminator, which first takes a step on the same slates; None leaves it as it is.

        Returns:
            The set likelihood and, where there is an adversary, its two losses; the discriminator's without gradient.
        """
        with torch.no_grad():
            condition = self.generator.condition(batch["items"], batch["mask"])
        wanted = self.generator.wanted(condition, self._noise(len(condition)))  # (B, S, D)
        logits, places = self._pool_logits(wanted, batch)
        found = {"set": losses.set_likelihood_loss(logits, places, batch["target_mask"])}
        judge, kind = self.discriminator, self.config.adversarial
        if judge is None or kind == "none":
            return found
        real, fake, there = *self.slates(wanted[:, 0], batch), batch["target_mask"]
        loss = self.discriminator_loss(judge, condition, real, fake.detach(), there)
        if optimizer is not None:
            self._descend(optimizer, loss, judge, "discriminator")
        judge.requires_grad_(False)
        logits_of = [judge.realism(condition, slates, there) for slates in (real, fake)]
        found["adversarial"] = losses.generator_loss(kind, *logits_of)
        judge.requires_grad_(True).head.requires_grad_(False)
        return {**found, "discriminator": loss.detach()}

    @cached_property
    def frozen(self) -> tuple[Tensor, Tensor]:
        """Unit item vectors and centred ones, (N, D) each, which the game leaves as they are."""
        with torch.no_grad():
            return self.generator.item_vectors(), self.generator.centred_vectors()

    def slates(self, wanted: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Real slates, and as large ones of distinct items drawn from the softmax of the wanted vectors (B, D).

        Returns:
            Centred item vectors of both, (B, M, D); those drawn carry the gradient of the softmax.
        """
        vectors, centred = self.frozen
        logits = _without_history(self._in_fashion(wanted @ vectors.T, batch.get("when")), batch)
        luck = -torch.empty_like(logits).exponential_().log()  # Gumbel: the largest sums are a draw without repeats
        drawn = (logits.detach() + luck).topk(batch["targets"].shape[1], dim=1).indices
        return centred[batch["targets"]], losses.straight_through_items(logits, centred, drawn)

    def discriminator_loss(
        self, judge: Discriminator, condition: Tensor, real: Tensor, fake: Tensor, there: Tensor
    ) -> Tensor:
        """What the discriminator minimises, for slates (B, M, D) of which the items that are `there` (B, M) count."""
        kind = self.config.adversarial
        logits = (judge.realism(condition, slates, there) for slates in (real, fake))
        mixing = torch.rand(len(real), 1, 1, device=real.device)
        penalty = losses.gradient_penalty(
            kind, lambda slates: judge.realism(condition, slates, there), real, fake, mixing
        )
        return losses.discriminator_loss(kind, *logits) + self.config.gradient_penalty * penalty

    def _pool_logits(self, wanted: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits of a pool of items for every draw, (B, S, P), and the places of the targets in it, (B, M)."""
        vectors = self.frozen[0]
        when = batch["when"].unsqueeze(1) if self.trend is not None else None  # (B, 1), for every draw
        pool = torch.randint(len(vectors), (NEGATIVES,), device=wanted.device)
        pool = torch.unique(torch.cat([pool, batch["targets"].flatten()]))
        return self._in_fashion(wanted @ vectors[pool].T, when, pool), torch.searchsorted(pool, batch["targets"])

    def _noise(self, users: int) -> Tensor:
        return torch.randn(users, DRAWS, self.generator.noise_dim, device=self.device)

    def _descend(self, optimizer: Any, loss: Tensor, network: torch.nn.Module, name: str) -> None:
        if not torch.isfinite(loss) or loss.abs() > EXPLODED:
            raise TrainingError(self._stopped(f"the {name}'s loss is {float(loss.detach()):.6g}"))
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), self.config.clip_norm)
        if not torch.isfinite(norm):
            raise TrainingError(self._stopped(f"the {name}'s gradient is {float(norm):.6g} long"))
        optimizer.step()

    def _stopped(self, what: str) -> str:
        users = len(next(iter(self.batch.values()), ()))
        return (
            f"{what} at step {self.steps} (epoch {self.epoch} of the {self.phase} phase), in the batch "
            f"{batch_fingerprint(self.batch)} of {users} users; last good checkpoint: {self.checkpoint}. Lower the "
            "learning rate, or look for extreme values in the data"
        )

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


def batch_fingerprint(batch: Batch) -> str:
    """Twelve digits that tell one batch from another; with the same seed and data the same batch has the same ones."""
    digest = hashlib.sha256()
    for name, values in sorted(batch.items()):
        digest.update(f"{name}{tuple(values.shape)}".encode() + values.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]

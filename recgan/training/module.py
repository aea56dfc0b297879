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
from recgan.networks import Discriminator, Generator
from recgan.training.batches import Batch
from recgan.training.rows import RowAdam, RowAverage, Rows
from recgan.training.slates import SAMPLED, Pool
from recgan.training.softmax import EMBEDDINGS, UNREACHABLE, VECTORS, RankingLoss, without_history
from recgan.training.team import Team

DRAWS = 8
"""Draws of the noise one of which has to explain a slate."""
NEGATIVES = 1024
"""Items that the set likelihood tells a slate from."""
PENALISED = 4
"""One of so many users of a step shows how steep the discriminator is."""
MANY_ITEMS = 16
"""Items by the negatives of a step from which on only the rows that a step reads are moved."""
EXPLODED = 1e6
"""Loss beyond which a run is not going anywhere; a sound one stays below a hundred."""
EVERY = 5000
"""Steps after which a long epoch can be taken up."""
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
        team: the processes that rank together; None for this one alone. In the game each plays for itself, and alike,
            by one clock.
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
        team: Team | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
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
        self.seconds = seconds
        self.together = team or Team()
        self.team = self.together if ranks else Team()
        """Whose gradients are added up."""
        mixed = config.precision == "auto"
        self.ranking = RankingLoss(self.generator, full_softmax, config.n_negatives, trend, mixed)
        self.began: float | None = None
        self.spent = 0.0
        self.n_steps = max(1, n_steps)
        self.steps = 0
        self.by_rows = ranks and not full_softmax and len(generator.vectors) >= MANY_ITEMS * config.n_negatives
        self.rows: dict[str, Rows] = {}
        self.trained = {name for name, value in generator.named_parameters() if value.requires_grad}
        """Names of the weights that change; of the others there is one copy."""
        state = generator.state_dict()
        self.average = {name: value.clone() if name in self.trained else value for name, value in state.items()}
        self.totals: dict[str, float] = {}
        self.counted = 0
        self.epoch = 0
        self.batch: Batch = {}
        self.checkpoint = "none, as Config(checkpoint_dir=...) was not set"

    @property
    def trend(self) -> Tensor | None:
        """Log popularity at the moments that batches name, (M, N)."""
        return self.ranking.trend

    @property
    def tables(self) -> dict[str, torch.nn.Parameter]:
        """The tables of item vectors of which only some rows are moved in a step, by name; none for few items."""
        names = (VECTORS, EMBEDDINGS) if self.by_rows else ()
        return {name: value for name, value in self.generator.named_parameters() if name in names}

    @property
    def average(self) -> dict[str, Tensor]:
        """The running average of the generator's weights, by their names in its state."""
        return self._averages if self._row_average is None else self._row_average.whole()

    @average.setter
    def average(self, averages: dict[str, Tensor]) -> None:
        self._averages = averages
        self._row_average = RowAverage(self.tables, averages) if self.by_rows else None

    def on_train_epoch_start(self) -> None:
        """Count the epochs, those before a resumption too."""
        self.epoch += 1

    @property
    def rests(self) -> bool:
        """Whether the training can be taken up after this step, in the middle of an epoch."""
        return self.steps % EVERY == 0

    def on_train_batch_end(self, *_: Any) -> None:
        """Bring the averages up to date where the training can be taken up."""
        if self.rests:
            self.on_train_epoch_end()

    def on_train_epoch_end(self) -> None:
        """Bring the averages up to date, whether or not somebody reads them: it shows in their last bits."""
        if self._row_average is not None:
            self._row_average.whole()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the generator, row-wise for its large tables; Adam with betas (0, .99) for the discriminator."""
        named = self.generator.named_parameters()
        trained = [value for name, value in named if value.requires_grad and name not in self.tables]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        ]
        if self.by_rows:
            optimizers.append(RowAdam(self.tables.values(), self.learning_rate, self.weight_decay))
        if self.discriminator is not None:
            playing = [parameter for parameter in self.discriminator.parameters() if parameter.requires_grad]
            rate = self.config.discriminator_learning_rate
            optimizers.append(torch.optim.Adam(playing, lr=rate, betas=(0.0, 0.99), fused=True))
        return optimizers

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One ranking step, or one step of each player."""
        self.batch = batch
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        own, rest = optimizers[: 1 + self.by_rows], optimizers[1 + self.by_rows :]
        if self.phase == "game" and self.seconds:
            self._share_clock(batch["items"].device)
        found = self.game_losses(batch, *rest) if self.phase == "game" else {"ranking": self.ranking_loss(batch)}
        weights = {"adversarial": self.config.adversarial_weight}
        parts = [weights.get(name, 1.0) * loss for name, loss in found.items() if name != "discriminator"]
        self._decay(own)
        whole = self._descend(own, torch.stack(parts).sum(), self.generator, "generator")
        self._average()
        self.counted += 1
        for name, loss in found.items():
            value = whole if name == "ranking" else loss.detach()
            self.totals[name] = self.totals.get(name, 0.0) + float(value)

    def progress(self) -> float:
        """Share of the planned steps, or of the time, that is behind, in [0, 1]."""
        if self.together.size == 1:
            self.spent = self._clock()
        spent = self.spent / self.seconds if self.seconds else 0.0
        return min(1.0, max(self.steps / self.n_steps, spent))

    def _clock(self) -> float:
        """Seconds since the first step of this process."""
        self.began = self.began or time.perf_counter()
        return time.perf_counter() - self.began

    def mean_losses(self) -> dict[str, float]:
        """Mean of every loss since the last call."""
        means = {name: total / max(1, self.counted) for name, total in self.totals.items()}
        self.totals, self.counted = {}, 0
        return means

    def ranking_loss(self, batch: Batch) -> Tensor:
        """Softmax over the catalogue for every target, with the noise-free vector."""
        luck = torch.Generator().manual_seed((self.config.seed << 30) + self.steps)  # the same in all processes
        pool = self.ranking.negatives(batch["items"].device, luck)
        with self.team.own_luck(self.config.seed, self.steps):
            if self.by_rows and pool is not None:
                loss, self.rows = self.ranking.by_rows(batch, pool, self.team)
                return loss
            part, share = self.team.part(batch)
            return share * self.ranking(part, pool)  # type: ignore[no-any-return]

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
            self._descend([optimizer], loss, judge, "discriminator")
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
        real = centred[batch["targets"]]
        if self.pool is not None:
            numbers, added = self.pool.of(wanted)
            vectors, centred = vectors[numbers], centred[numbers]
            logits = self.ranking.in_fashion(wanted @ vectors.T, batch.get("when"), numbers) + added
            logits = logits.masked_fill(losses.hits(batch["items"], batch["mask"], numbers), UNREACHABLE)
        else:
            logits = without_history(self.ranking.in_fashion(wanted @ vectors.T, batch.get("when")), batch)
        luck = -torch.empty_like(logits).exponential_().log()  # Gumbel: the largest sums are a draw without repeats
        drawn = (logits.detach() + luck).topk(batch["targets"].shape[1], dim=1).indices
        return real, losses.straight_through_items(logits, centred, drawn)

    @cached_property
    def pool(self) -> Pool | None:
        """What slates are drawn from in a large catalogue."""
        return Pool(self.frozen[0]) if len(self.frozen[0]) > SAMPLED else None

    def discriminator_loss(
        self, judge: Discriminator, condition: Tensor, real: Tensor, fake: Tensor, there: Tensor
    ) -> Tensor:
        """What the discriminator minimises, for slates (B, M, D) of which the items that are `there` (B, M) count."""
        kind, some = self.config.adversarial, -(-len(real) // PENALISED)
        mixing = torch.rand(some, 1, 1, device=real.device)
        *first, penalty = losses.judged(
            kind, lambda slates: judge.realism(condition[:some], slates, there[:some]), real[:some], fake[:some], mixing
        )
        rest = [judge.realism(condition[some:], slates[some:], there[some:]) for slates in (real, fake)]
        logits = [torch.cat(both) for both in zip(first, rest, strict=True)]
        return losses.discriminator_loss(kind, *logits) + self.config.gradient_penalty * penalty

    def _pool_logits(self, wanted: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits of a pool of items for every draw, (B, S, P), and the places of the targets in it, (B, M)."""
        vectors = self.frozen[0]
        when = batch["when"].unsqueeze(1) if self.trend is not None else None  # (B, 1), for every draw
        pool = torch.randint(len(vectors), (NEGATIVES,), device=wanted.device)
        pool = torch.unique(torch.cat([pool, batch["targets"].flatten()]))
        return self.ranking.in_fashion(wanted @ vectors[pool].T, when, pool), torch.searchsorted(pool, batch["targets"])

    def _noise(self, users: int) -> Tensor:
        return torch.randn(users, DRAWS, self.generator.noise_dim, device=self.device)

    def _descend(self, optimizers: list[Any], loss: Tensor, network: torch.nn.Module, name: str) -> Tensor:
        """One step down; the loss, that of all processes."""
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        leaves = [*network.parameters(), *(some.values for some in self.rows.values())]
        whole = self._added_up(loss.detach(), leaves)
        if not torch.isfinite(whole) or whole.abs() > EXPLODED:
            raise TrainingError(self._stopped(f"the {name}'s loss is {float(whole):.6g}"))
        norm = torch.nn.utils.clip_grad_norm_(leaves, self.config.clip_norm)
        if not torch.isfinite(norm):
            raise TrainingError(self._stopped(f"the {name}'s gradient is {float(norm):.6g} long"))
        for table, some in self.rows.items():
            some.hand_over()
            if self._row_average is not None:
                self._row_average.before(table, some.numbers)
        for optimizer in optimizers:
            optimizer.step()
        return whole

    def _added_up(self, loss: Tensor, leaves: list[Tensor]) -> Tensor:
        """The loss of all processes, whose gradients then are the sums, and whose clocks show their mean."""
        if self.team.size == 1:
            return loss
        told = torch.stack([loss, loss.new_tensor(self._clock() / self.team.size)])
        self.team.add_up([*(leaf.grad for leaf in leaves if leaf.grad is not None), told])
        self.spent = float(told[1])
        return told[0]

    def _share_clock(self, device: torch.device) -> None:
        """The mean of all clocks, where nothing else is sent."""
        if self.together.size > 1:
            told = torch.tensor([self._clock() / self.together.size], device=device)
            self.together.add_up([told])
            self.spent = float(told)

    def _stopped(self, what: str) -> str:
        users = len(next(iter(self.batch.values()), ()))
        return (
            f"{what} at step {self.steps} (epoch {self.epoch} of the {self.phase} phase), in the batch "
            f"{batch_fingerprint(self.batch)} of {users} users; last good checkpoint: {self.checkpoint}. Lower the "
            "learning rate, or look for extreme values in the data"
        )

    def _decay(self, optimizers: list[Any]) -> None:
        """Cosine decay of the generator's learning rate over the planned steps, or the time."""
        share = self.progress()
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = group.setdefault("first_lr", group["lr"]) * 0.5 * (1.0 + math.cos(math.pi * share))
        self.steps += 1

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema_decay, (1.0 + self.steps) / (10.0 + self.steps))
        if self._row_average is not None:
            self._row_average.step(decay)
        for name, value in self.generator.state_dict().items():
            if name in self.trained and name not in self.tables:
                self._averages[name].lerp_(value.to(self._averages[name].device), 1.0 - decay)


def batch_fingerprint(batch: Batch) -> str:
    """Twelve digits that tell one batch from another; with the same seed and data the same batch has the same ones."""
    digest = hashlib.sha256()
    for name, values in sorted(batch.items()):
        digest.update(f"{name}{tuple(values.shape)}".encode() + values.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]

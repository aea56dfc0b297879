"""The phases in which the generator is trained: ranking, the adversarial game, some epochs after a refit."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from recgan.config import Config
from recgan.histories import Histories
from recgan.linear import RememberingFactors
from recgan.networks import Discriminator, Generator
from recgan.popularity import Trend
from recgan.progress import Progress
from recgan.ranking import CELLS, Blocks, Ranker, Weights
from recgan.training.batches import SequenceBatches, SplitBatches
from recgan.training.checkpoints import Checkpoints
from recgan.training.data import Data
from recgan.training.diagnostics import Diagnostics
from recgan.training.fitting import Measure, Notes, Watch, run_phase, seeded, served_copy
from recgan.training.module import ConditionalGAN, Phase
from recgan.training.plan import Plan
from recgan.training.short import choose_short, choose_unknown
from recgan.training.team import Team
from recgan.training.validation import Proposals, choose_weights, propose, units

REFIT_SHARE = 0.5
"""Share of the epochs that are run once more over all interactions."""

EARLY = 0.2
"""Share of the planned epochs in which a best one is early."""

SLATE_USERS, SLATE_TOKENS = 128, 8192
"""Most users in a batch of slates, and history items that they may have where these are read in order."""
GAME_RATES = {"bag": 4e-3, "sequence": 1e-2}
"""Learning rate of the variation, by encoder."""


@dataclass(frozen=True)
class Phases:
    """How the generator is trained on some data.

    Args:
        data: what is read.
        config: settings.
        plan: the settings that follow from the data.
        alone: weights of the generator without the linear block.
        half_life: days of the trend that sequences are read with; None for no trend.
        strongest: the shape of the linear block that does better alone, by its name in Weights.
        progress: told of every epoch.
        module: of the training; another one may play another game.
        checkpoints: where the phases are kept and taken up from; None for nowhere.
        stopped: names of the phases that Ctrl-C ended; after one no other is begun.
        team: the processes that train together.
        categories: unit rows of the items' categories, (N, Q) float32: what items of a category share is learned
            beside what each has of its own. None where that is not wanted.
    """

    data: Data
    config: Config
    plan: Plan
    alone: Weights
    half_life: float | None
    strongest: str
    progress: Progress
    module: type[ConditionalGAN] = ConditionalGAN
    checkpoints: Checkpoints | None = None
    stopped: list[str] = field(default_factory=list)
    team: Team = field(default_factory=Team)
    categories: np.ndarray | None = None

    def ranking(self, blocks: Blocks) -> tuple[Blocks, Plan, dict[str, Any]]:
        """Stage one with a generator that ranks, the plan by which it was trained, and the account of its training.

        A best epoch that comes early tells of an encoder that learns histories by heart: it is trained once more, so
        that it forgets, and the better one stays.
        """
        weights: dict[str, float] = {}
        measure, made = self._measure(blocks, weights), self.plan
        start = served_copy(blocks.generator, blocks.generator.state_dict()) if made.forgetting else blocks.generator
        trained, watch = self._ranked("ranking", blocks.generator, measure, weights)
        if made.forgetting and not self.stopped and 0 < watch.best_epoch <= EARLY * made.epochs:
            forgetful = replace(self, plan=replace(made, weight_decay=made.forgetting))
            with seeded(self.config.seed):
                other, again = forgetful._ranked("ranking again", start, measure, weights)
            if again.best > watch.best:
                trained, watch, made = other, again, forgetful.plan
        return replace(blocks, generator=trained), made, {"curve": watch.curve, "best_epoch": watch.best_epoch}

    def _ranked(
        self, name: str, generator: Generator, measure: Measure, weights: dict[str, float]
    ) -> tuple[Generator, Watch]:
        """The generator after one ranking phase, and what was noted of it."""
        config, epochs = self.config, self.plan.epochs
        batches = self._batches(self.data.streamed, self.data.histories)
        n_steps = len(batches) * epochs
        module = self._module(generator, None, batches.trend, "ranking", n_steps, share=0.5)
        told, n_users = self.progress.epochs("generator", epochs), len(self.data.validation)
        watch = Watch(measure, config.patience, told, weights, n_users)
        if n_steps:
            self._run(name, module, batches, epochs, watch)
        return served_copy(module.generator, watch.best_state or module.average, ()), watch

    def game(self, blocks: Blocks, discriminator: Discriminator) -> tuple[Blocks, Discriminator, dict[str, Any]]:
        """The generator with a variation that tells the moods of a user apart; the rest of it stays as it is.

        Slates of items that are alike are played for, which never hold what the validation users are judged by.

        Args:
            blocks: stage one with the generator that serves.
            discriminator: whose realism is to be trained.

        Returns:
            The blocks, a discriminator that has played, and an account of the game.
        """
        config, steps = self.config, self.config.game_steps
        batches = self._slates(blocks)
        if not steps or not len(batches) or self.stopped:
            return blocks, discriminator, {"curve": []}
        epochs = -(-steps // len(batches))
        state = blocks.generator.state_dict()
        generator = served_copy(blocks.generator, state, [name for name in state if name.startswith("variation.")])
        judge, rate = copy.deepcopy(discriminator), GAME_RATES[self.plan.encoder]
        module = self._module(generator, judge, batches.trend, "game", steps, share=0.2, learning_rate=rate)
        diagnostics = Diagnostics(replace(blocks, weights=self.alone), self.data.validation, epochs, config)
        start = diagnostics.start()
        notes = Notes(self.progress.epochs("adversarial game", epochs), diagnostics)
        with seeded(config.seed):
            self._run("game", module, batches, epochs, notes, -(-steps // epochs))
        played = replace(blocks, generator=served_copy(generator, module.average, ()))
        report = {"curve": notes.curve, "start": start, "pictures": diagnostics.pictures}
        return played, judge.cpu().eval().requires_grad_(False), report

    def tuned(self, blocks: Blocks, best_epoch: int) -> Blocks:
        """The generator after some more epochs on all interactions; as it was where Ctrl-C came before their end."""
        return self.more_epochs(blocks, math.ceil(best_epoch * REFIT_SHARE))

    def more_epochs(self, blocks: Blocks, epochs: int) -> Blocks:
        """The generator after so many more epochs on all interactions, or as it was after Ctrl-C."""
        batches = self._batches(self.data.all_histories, self.data.whole)
        if not epochs or not blocks.weights.generated or self.stopped:
            return blocks
        generator = served_copy(blocks.generator, blocks.generator.state_dict())
        module = self._module(generator, None, batches.trend, "ranking", len(batches) * epochs, share=0.2)
        with seeded(self.config.seed):
            finished = self._run("refit", module, batches, epochs, None)
        if not finished:
            return blocks
        return replace(blocks, generator=served_copy(generator, module.average, ()))

    def _run(
        self,
        name: str,
        module: ConditionalGAN,
        batches: SequenceBatches | SplitBatches,
        epochs: int,
        notes: Notes | None,
        most_batches: int | None = None,
    ) -> bool:
        finished = run_phase(
            module,
            batches,
            epochs,
            notes,
            self.config,
            name,
            most_batches=most_batches,
            checkpoints=self.checkpoints,
        )
        if not finished:
            self.stopped.append(name)
        return finished

    def weighed(self, blocks: Blocks) -> tuple[Blocks, Proposals]:
        """The weights that validation chooses; popularity alone where nobody has two items to validate with."""
        if not len(self.data.validation):
            nothing = Proposals(np.empty((0, 0), np.int64), {}, np.empty(0, np.int64))
            return replace(blocks, weights=Weights(generated=0.0, popularity=1.0)), nothing
        proposals = propose(blocks, self.data.validation)
        weights = choose_weights(proposals, self.data.validation, self.alone)
        weights = choose_short(blocks, self.data.validation, weights, self.config.seed)
        blocks = replace(blocks, weights=weights)
        unknown = choose_unknown(blocks, self.data.histories, self.data.validation.metric, self.config.seed)
        return replace(blocks, weights=unknown), proposals

    def _measure(self, blocks: Blocks, weights: dict[str, float]) -> Measure:
        """Validation metric of a generator beside the linear block with equal say, and of it alone.

        What an equal say is, is found at the first measurement, and noted in `weights`.
        """
        validation = self.data.validation.light()
        if blocks.factors is not None:  # the same users are asked for after every epoch
            blocks = replace(blocks, factors=RememberingFactors.of(blocks.factors))

        def measure(generator: Generator) -> dict[str, float]:
            candidate = replace(blocks, generator=generator, weights=self.alone)
            if not len(validation):
                return {"metric": 0.0, "alone": 0.0}
            if not weights:
                unit = units(propose(candidate, validation.first(200)))
                weights[self.strongest] = unit["generated"] / unit[self.strongest]
            beside = replace(candidate, weights=replace(self.alone, **weights))
            both = {"metric": beside, "alone": candidate}
            return {name: validation.measure(Ranker(some, None, 1)) for name, some in both.items()}

        return measure

    def _module(
        self,
        generator: Generator,
        discriminator: Discriminator | None,
        trend: Trend | None,
        phase: Phase,
        n_steps: int,
        *,
        share: float,
        learning_rate: float | None = None,
    ) -> ConditionalGAN:
        limit = self.config.time_limit
        if phase == "ranking" and self.categories is not None:
            generator.share(torch.from_numpy(self.categories))
        return self.module(
            generator,
            discriminator,
            self.config,
            phase=phase,
            learning_rate=learning_rate or self.plan.learning_rate,
            weight_decay=self.plan.weight_decay,
            n_steps=n_steps,
            full_softmax=self.plan.full_softmax,
            seconds=limit and limit * share,
            trend=None if trend is None else torch.from_numpy(trend.log_rates),
            team=self.team,
        )

    def _batches(self, histories: Histories, sample: Histories) -> SequenceBatches | SplitBatches:
        """Batches of all histories, with the trend of a sample of them."""
        if self.plan.encoder == "sequence":
            return SequenceBatches(histories, self.plan.window, self.config.seed, self._trend(sample))
        return SplitBatches(histories, self.config.batch_size, self.plan.window, self.config.seed)

    def _slates(self, blocks: Blocks) -> SplitBatches:
        """Conditions with slates of items that are alike, from a stream of random numbers of their own."""
        histories, ordered = self.data.histories, self.plan.encoder == "sequence"
        tokens = SLATE_TOKENS // self.plan.window if ordered else SLATE_USERS
        users = min(SLATE_USERS, max(16, min(tokens, CELLS // histories.n_items)))
        return SplitBatches(
            histories,
            users,
            self.plan.window,
            self.config.seed + 2,
            ordered=ordered,
            slate_size=self.config.slate_size,
            trend=self._trend(histories),
            space=blocks.space,
        )

    def _trend(self, histories: Histories) -> Trend | None:
        """What was popular when, where sequences are read and validation prefers what is popular now."""
        return Trend.of(histories, self.half_life) if self.half_life else None

"""From a table of interactions to a recommender: closed forms, ranking phase, game, second stage, ablation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch

from recgan import linear
from recgan.config import Config
from recgan.errors import ConfigError
from recgan.features import ItemTraits
from recgan.histories import Histories
from recgan.networks import Discriminator, Generator, build_generator
from recgan.popularity import Trend, popularity_spread
from recgan.progress import Progress
from recgan.ranking import Blocks, Judge, Ranker, Weights
from recgan.recommender import Recommender
from recgan.splits import Holdout
from recgan.training import judging
from recgan.training.batches import SequenceBatches, SplitBatches
from recgan.training.closed import ClosedForms
from recgan.training.data import Data, read_data
from recgan.training.fitting import Measure, Watch, new_discriminator, run_phase, seeded, served_copy
from recgan.training.module import ConditionalGAN
from recgan.training.plan import plan
from recgan.training.reporting import alarms, fingerprint, versions
from recgan.training.validation import Proposals, choose_weights, propose, units

Result = TypeVar("Result")
REFIT_SHARE = 0.5
"""Share of the epochs that are run once more over all interactions."""


def train(
    interactions: pd.DataFrame | str | Path,
    items: pd.DataFrame | str | Path | None = None,
    *,
    users: pd.DataFrame | str | Path | None = None,
    validation: Holdout | None = None,
    config: Config | None = None,
    seed: int | None = None,
) -> Recommender:
    """Train a recommender; nothing needs to be tuned.

    Args:
        interactions: user_id, item_id and, where they exist, timestamp or position; a frame or a path.
        items: item_id, title, categories, year; optional.
        users: user_id and features such as age or country; optional.
        validation: history and truth of some users for the inner validation; None carves it from the interactions.
        config: settings; None for the defaults.
        seed: of everything random; None for that of the config.

    Returns:
        The trained recommender; `info()` holds its ablation, weights and curves.

    Raises:
        DataError: when a table cannot be used.
        ConfigError: when a setting does not fit.
        TrainingError: when a loss is not a number.
    """
    started = time.perf_counter()
    config = settled(config, seed)
    data = read_data(interactions, items, users, validation, config)
    with Progress(config.progress) as progress, seeded(config.seed):
        return _Run(data, config, progress, started).recommender()


def settled(config: Config | None, seed: int | None) -> Config:
    """The settings of a run: the defaults where none are given, with the seed where one is."""
    config = Config() if config is None else config
    if not isinstance(config, Config):
        raise ConfigError(f"config: a recgan.Config, not {type(config).__name__}")
    return config if seed is None else config.changed(seed=seed)


class _Run:
    """One training run; its methods are its stages, in order."""

    def __init__(self, data: Data, config: Config, progress: Progress, started: float) -> None:
        self.data = data
        self.config = config
        self.progress = progress
        self.started = started
        self.report: dict[str, Any] = {}
        self.stage_seconds: dict[str, float] = {}

    def _timed(self, name: str, stage: Callable[[], Result]) -> Result:
        since = time.perf_counter()
        self.progress.stage(name)
        result = stage()
        self.stage_seconds[name] = round(time.perf_counter() - since, 2)
        return result

    def recommender(self) -> Recommender:
        data, config = self.data, self.config
        blocks = self._timed("closed forms", self._closed_forms)
        blocks = self._timed("ranking phase", partial(self._ranking_phase, blocks))
        blocks, proposals, discriminator = self._timed("game", partial(self._game, blocks))
        blocks, judge = self._timed("second stage", partial(self._second_stage, blocks, proposals, discriminator))
        blocks, judge = self._timed("refit", partial(self._refitted, blocks, judge))
        self.report |= {
            "weights": vars(blocks.weights),
            "alarms": alarms(blocks, data.validation),
            "seconds": round(time.perf_counter() - self.started, 1),
            "stage_seconds": self.stage_seconds,
            "versions": versions(),
            "data": fingerprint(data.whole),
        }
        return Recommender(
            data.users, data.items, data.whole, data.profiles, data.item_table, blocks, judge, config, self.report
        )

    def _closed_forms(self) -> Blocks:
        """Both shapes of the linear block, each with its best setting, and the start of the item vectors."""
        data, config = self.data, self.config
        forms = ClosedForms(data.histories, data.validation, config.seed)
        self.dense, self.sparse, self.popularity = forms.dense(), forms.sparse(), forms.popularity()
        kind = config.encoder
        if kind == "auto":
            kind = "sequence" if data.histories.ordered and self.sparse.value > self.dense.value else "bag"
        self.plan = plan(config, data.histories, kind)
        vectors = torch.from_numpy(_start_vectors(kind, forms, config))
        generator = build_generator(
            config, kind, {"vectors": vectors}, window=self.plan.window, dropout=self.plan.dropout
        )
        random = np.random.default_rng([config.seed, 1])
        noise = random.standard_normal((config.n_draws, config.noise_dim)).astype(np.float32)
        self.report |= {
            "encoder": kind,
            "plan": vars(self.plan),
            "dense": self.dense.value,
            "sparse": self.sparse.value,
        }
        self.report |= {**self.dense.settings, **self.popularity.settings}
        self.report["sparse_settings"] = dict(self.sparse.settings)
        linear_blocks = self.dense.block, self.sparse.block
        life = self.popularity.settings["half_life"]
        self.half_life = life if kind == "sequence" else None
        self.alone = Weights()
        if self.half_life:  # the generator knows of a user what the trend does not tell, and of a stranger nothing
            self.alone = Weights(popularity=popularity_spread(data.histories, life), unknown=0.0)
        return Blocks(generator, *linear_blocks, self.popularity.block, self.alone, noise, self.plan.window)

    @property
    def _strongest(self) -> str:
        """The shape of the linear block that does better alone, by its name in Weights."""
        return "dense" if self.report["dense"] >= self.report["sparse"] else "sparse"

    def _measure(self, blocks: Blocks) -> Measure:
        """Validation metric of a generator beside the linear block with equal say, and of it alone."""
        weights: dict[str, float] = {}
        validation = self.data.validation

        def measure(generator: Generator) -> dict[str, float]:
            candidate = replace(blocks, generator=generator, weights=self.alone)
            if not len(validation):
                return {"metric": 0.0, "alone": 0.0}
            if not weights:
                unit = units(propose(candidate, validation.first(200)))
                weights[self._strongest] = unit["generated"] / unit[self._strongest]
            beside = replace(candidate, weights=replace(self.alone, **weights))
            both = {"metric": beside, "alone": candidate}
            return {name: validation.measure(Ranker(some, None, 1)) for name, some in both.items()}

        return measure

    def _module(
        self,
        generator: Generator,
        discriminator: Discriminator,
        trend: Trend | None,
        *,
        game: bool,
        n_steps: int,
        share: float,
    ) -> ConditionalGAN:
        limit = self.config.time_limit
        return ConditionalGAN(
            generator,
            discriminator,
            self.config,
            game=game,
            learning_rate=self.plan.learning_rate,
            weight_decay=self.plan.weight_decay,
            n_steps=n_steps,
            full_softmax=self.plan.full_softmax,
            seconds=limit and limit * share,
            trend=None if trend is None else torch.from_numpy(trend.log_rates),
        )

    def _batches(self, histories: Histories) -> SequenceBatches | SplitBatches:
        if self.plan.encoder == "sequence":
            return SequenceBatches(histories, self.plan.window, self.config.seed, self._trend(histories))
        return SplitBatches(histories, self.config.batch_size, self.plan.window, self.config.seed)

    def _trend(self, histories: Histories) -> Trend | None:
        """What was popular when, where sequences are read and validation prefers what is popular now."""
        return Trend.of(histories, self.half_life) if self.half_life else None

    def _ranking_phase(self, blocks: Blocks) -> Blocks:
        config, epochs = self.config, self.plan.epochs
        batches = self._batches(self.data.histories)
        n_steps = len(batches) * epochs
        module = self._module(
            blocks.generator, new_discriminator(config), batches.trend, game=False, n_steps=n_steps, share=0.5
        )
        watch = Watch(self._measure(blocks), config.patience, self.progress.epochs("generator", epochs))
        if n_steps:
            run_phase(module, batches, epochs, watch, config, "ranking")
        self.report["ranking"] = {"curve": watch.curve, "best_epoch": watch.best_epoch}
        return replace(blocks, generator=served_copy(module.generator, watch.best_state or module.average))

    def _weighed(self, blocks: Blocks) -> tuple[Blocks, Proposals, float]:
        """The weights that validation chooses; popularity alone where nobody has two items to validate with."""
        if not len(self.data.validation):
            nothing = Proposals(np.empty((0, 0), np.int64), {})
            return replace(blocks, weights=Weights(popularity=1.0)), nothing, 0.0
        proposals = propose(blocks, self.data.validation)
        weights, value = choose_weights(proposals, self.data.validation, self.alone)
        return replace(blocks, weights=weights), proposals, value

    def _game(self, blocks: Blocks) -> tuple[Blocks, Proposals, Any]:
        """The adversarial phase, undone when it costs more of the validation metric than allowed."""
        config = self.config
        before, proposals, value = self._weighed(blocks)
        discriminator = new_discriminator(config)
        batches = SplitBatches(
            self.data.histories,
            self.plan.game_users,
            blocks.window,
            config.seed + 1,
            ordered=self.plan.encoder == "sequence",
            set_size=config.slate_size,
            trend=self._trend(self.data.histories),
        )
        epochs, n_batches = self.plan.game_epochs, self.plan.game_batches
        if not epochs * n_batches:
            self.report["game"] = {"curve": [], "before": value, "after": value, "kept": False}
            return before, proposals, discriminator
        generator = served_copy(before.generator, before.generator.state_dict())
        module = self._module(
            generator, discriminator, batches.trend, game=True, n_steps=n_batches * epochs, share=0.25
        )
        watch = Watch(self._measure(before), epochs + 1, self.progress.epochs("adversarial game", epochs))
        run_phase(module, batches, epochs, watch, config, "game", n_batches)
        played, played_proposals, played_value = self._weighed(
            replace(before, generator=served_copy(generator, module.average))
        )
        kept = played_value >= value * (1.0 - config.max_metric_drop)
        self.report["game"] = {"curve": watch.curve, "before": value, "after": played_value, "kept": kept}
        discriminator = discriminator.cpu().eval().requires_grad_(False)
        if kept:
            return played, played_proposals, discriminator
        return self._undone(before, module), proposals, new_discriminator(config)

    @staticmethod
    def _undone(before: Blocks, module: ConditionalGAN) -> Blocks:
        """The generator as it was before the game, but for its variation, which the default list does not use."""
        state = before.generator.state_dict()
        state |= {name: value for name, value in module.average.items() if name.startswith("variation.")}
        return replace(before, generator=served_copy(before.generator, state))

    def _second_stage(self, blocks: Blocks, proposals: Proposals, discriminator: Any) -> tuple[Blocks, Judge]:
        data, config = self.data, self.config
        judge = Judge(discriminator, self._traits(data.histories, blocks))
        if not len(data.validation):
            self.report["ablation"] = {}
            return blocks, judge
        cases = judging.gather(blocks, judge, proposals, blocks.weights, data.validation, config.n_candidates)
        fitted, weight, without, with_judge = judging.fit_judge(discriminator, cases, data.validation, config.seed)
        self.report["ablation"] = self._ablation(blocks, proposals, without, with_judge)
        weights = replace(blocks.weights, discriminator=weight)
        return replace(blocks, weights=weights), replace(judge, discriminator=fitted)

    def _traits(self, histories: Histories, blocks: Blocks) -> ItemTraits:
        """What the second stage knows of the items, in the vectors of the generator that serves."""
        vectors = blocks.generator.item_vectors().numpy()
        return ItemTraits.of(histories, self.data.item_table, vectors, self.data.profiles)

    def _ablation(self, blocks: Blocks, proposals: Proposals, without: float, with_judge: float) -> dict[str, float]:
        """Validation metric of every part alone and together; z on and off."""
        validation = self.data.validation
        chosen = blocks.weights

        def value(weights: Weights) -> float:
            return float(validation.values(proposals.ranked(weights)).mean())

        linear_only = replace(chosen, generated=0.0, popularity=0.0)
        if not chosen.dense and not chosen.sparse:
            linear_only = replace(linear_only, **{self._strongest: 1.0})
        keys = np.arange(len(validation), dtype=np.uint64)
        noisy = replace(validation, query=replace(validation.query, explore=1.0, keys=keys))
        return {
            "popularity": value(Weights(generated=0.0, popularity=1.0)),
            "linear": value(linear_only),
            "generator": value(self.alone),
            "both": without,
            "both + discriminator": with_judge,
            "both, z on": noisy.measure(Ranker(replace(blocks, weights=chosen), None, 1)),
        }

    def _refitted(self, blocks: Blocks, judge: Judge) -> tuple[Blocks, Judge]:
        """All once more with the held-out part of the interactions back in; of the second stage only what it reads."""
        data = self.data
        if data.whole is data.histories:
            return blocks, judge
        dense, sparse = blocks.dense, blocks.sparse
        if blocks.weights.dense:
            dense = self.dense.fit(data.whole)
        if blocks.weights.sparse:
            sparse = self.sparse.fit(data.whole)
        popularity = self.popularity.fit(data.whole)
        refitted = replace(self._tuned(blocks), dense=dense, sparse=sparse, popularity=popularity)
        return refitted, replace(judge, traits=self._traits(data.whole, refitted))

    def _tuned(self, blocks: Blocks) -> Blocks:
        """The generator after some more epochs on all interactions."""
        epochs = math.ceil(self.report["ranking"]["best_epoch"] * REFIT_SHARE)
        batches = self._batches(self.data.whole)
        if not epochs or not blocks.weights.generated:
            return blocks
        generator, judge = served_copy(blocks.generator, blocks.generator.state_dict()), new_discriminator(self.config)
        module = self._module(generator, judge, batches.trend, game=False, n_steps=len(batches) * epochs, share=0.25)
        with seeded(self.config.seed):
            run_phase(module, batches, epochs, None, self.config, "refit")
        return replace(blocks, generator=served_copy(generator, module.average))


def _start_vectors(kind: str, forms: ClosedForms, config: Config) -> np.ndarray:
    histories = forms.histories
    if kind == "bag":
        return linear.start_vectors(histories, config.embedding_dim, config.seed)
    counts = forms.transition_counts(half_life=None)
    return linear.order_vectors(counts, histories.counts(), config.embedding_dim, config.seed)

"""From a table of interactions to a recommender: closed forms, ranking phase, game, second stage, ablation."""

from __future__ import annotations

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
from recgan.networks import Generator, build_generator
from recgan.popularity import HALF_LIVES, log_popularity
from recgan.progress import Progress
from recgan.ranking import Blocks, Judge, Ranker, Weights, top_items
from recgan.recommender import Recommender
from recgan.splits import Holdout
from recgan.training import judging
from recgan.training.batches import TOKENS, SequenceBatches, SplitBatches
from recgan.training.data import Data, read_data
from recgan.training.fitting import Watch, new_discriminator, run_phase, seeded, served_copy
from recgan.training.module import ConditionalGAN
from recgan.training.reporting import alarms, fingerprint, versions
from recgan.training.validation import Proposals, choose_weights, propose, units

REGULARISATIONS = (20.0, 50.0, 100.0, 200.0, 350.0, 500.0, 750.0, 1000.0, 2000.0)
Result = TypeVar("Result")
GAME_STEPS = 200
"""Fewest steps of the game, however few users there are: with fewer the noise gets no meaning."""

DENSE_ITEMS = 20_000
"""Catalogues up to this size try the dense shape of the linear block."""


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
    config = _config(config, seed)
    data = read_data(interactions, items, users, validation, config)
    with Progress(config.progress) as progress, seeded(config.seed):
        return _Run(data, config, progress, started).recommender()


def _config(config: Config | None, seed: int | None) -> Config:
    config = Config() if config is None else config
    if not isinstance(config, Config):
        raise ConfigError(f"config: a recgan.Config, not {type(config).__name__}")
    return config if seed is None else Config(**{**config.model_dump(), "seed": seed})


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
        blocks = self._timed("refit", partial(self._refitted, blocks))
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
        vectors = torch.from_numpy(linear.start_vectors(data.histories, config.embedding_dim, config.seed))
        dense, dense_value = self._best_dense()
        sparse, sparse_value = self._best_sparse()
        kind = config.encoder
        if kind == "auto":
            kind = "sequence" if data.histories.ordered and sparse_value > dense_value else "bag"
        window = config.window or (1000 if kind == "bag" else 50)
        dropout = config.dropout if config.dropout is not None else (0.3 if kind == "bag" else 0.5)
        generator = build_generator(config, kind, {"vectors": vectors}, window=window, dropout=dropout)
        random = np.random.default_rng([config.seed, 1])
        noise = random.standard_normal((config.n_draws, config.noise_dim)).astype(np.float32)
        half_life, popularity = self._popularity()
        self.report |= {"encoder": kind, "dense": dense_value, "sparse": sparse_value, "half_life": half_life}
        return Blocks(generator, dense, sparse, popularity, Weights(), noise, window)

    def _value(self, scores: Callable[[Histories], np.ndarray]) -> float:
        k = int(self.config.metric.split("@")[1])
        validation, rows = self.data.validation, []
        chunk = max(1, (1 << 23) // len(self.data.items))
        for start in range(0, len(validation), chunk):
            query = validation.query.take(np.arange(start, min(start + chunk, len(validation))))
            rows.append(top_items(query.mask(scores(query.histories)), k)[0])
        return float(validation.values(np.concatenate(rows)).mean()) if rows else 0.0

    def _best_dense(self) -> tuple[linear.LowRank | None, float]:
        if len(self.data.items) > DENSE_ITEMS:
            return None, 0.0
        spectrum = linear.spectrum(self.data.histories, seed=self.config.seed)
        values = {lam: self._value(linear.ease(spectrum, lam).scores) for lam in REGULARISATIONS}
        best = max(values, key=lambda lam: values[lam])
        self.report["regularisation"] = best
        return linear.ease(spectrum, best), values[best]

    def _best_sparse(self) -> tuple[linear.SparseRows, float]:
        histories = self.data.histories
        tried = [linear.neighbours(histories)]
        if histories.ordered:
            tried.append(linear.transitions(histories))
        values = [self._value(partial(_dense_scores, block)) for block in tried]
        best = int(np.argmax(values))
        return tried[best], values[best]

    def _popularity(self) -> tuple[float | None, np.ndarray]:
        histories = self.data.histories
        lives = HALF_LIVES if histories.clock else (None,)
        tried = {life: log_popularity(histories, life) for life in lives}
        values = {life: self._value(partial(_same_for_all, popularity)) for life, popularity in tried.items()}
        best = max(values, key=lambda life: values[life])
        return best, tried[best]

    @property
    def _strongest(self) -> str:
        """The shape of the linear block that does better alone, by its name in Weights."""
        return "dense" if self.report["dense"] >= self.report["sparse"] else "sparse"

    def _measure(self, blocks: Blocks) -> Callable[[Generator], float]:
        """Validation metric of a generator beside the linear block, both with equal say."""
        weights: dict[str, float] = {}

        def measure(generator: Generator) -> float:
            candidate = replace(blocks, generator=generator)
            if not len(self.data.validation):
                return 0.0
            if not weights:
                unit = units(propose(candidate, self.data.validation.first(200)))
                weights[self._strongest] = unit["generated"] / unit[self._strongest]
            return self.data.validation.measure(Ranker(replace(candidate, weights=Weights(**weights)), None, 1))

        return measure

    def _ranking_phase(self, blocks: Blocks) -> Blocks:
        config, histories = self.config, self.data.histories
        batches: SequenceBatches | SplitBatches
        if blocks.generator.encoder.kind == "sequence":
            batches = SequenceBatches(histories, blocks.window, config.seed)
        else:
            batches = SplitBatches(histories, config.batch_size, blocks.window, config.seed)
        discriminator = new_discriminator(config)
        module = ConditionalGAN(
            blocks.generator, discriminator, config, game=False, n_steps=len(batches) * config.epochs
        )
        watch = Watch(self._measure(blocks), config.patience, self.progress.epochs("generator", config.epochs))
        if config.epochs and len(batches):
            run_phase(module, batches, config.epochs, watch, config, "ranking")
        self.report["ranking"] = {"curve": watch.curve, "best_epoch": watch.best_epoch}
        return replace(blocks, generator=served_copy(module.generator, watch.best_state or module.average))

    def _weighed(self, blocks: Blocks) -> tuple[Blocks, Proposals, float]:
        """The weights that validation chooses; popularity alone where nobody has two items to validate with."""
        if not len(self.data.validation):
            nothing = Proposals(np.empty((0, 0), np.int64), {})
            return replace(blocks, weights=Weights(popularity=1.0)), nothing, 0.0
        proposals = propose(blocks, self.data.validation)
        weights, value = choose_weights(proposals, self.data.validation)
        return replace(blocks, weights=weights), proposals, value

    def _game(self, blocks: Blocks) -> tuple[Blocks, Proposals, Any]:
        """The adversarial phase, undone when it costs more of the validation metric than allowed."""
        config = self.config
        before, proposals, value = self._weighed(blocks)
        discriminator = new_discriminator(config)
        ordered = blocks.generator.encoder.kind == "sequence"
        size = min(config.batch_size, max(16, TOKENS // (2 * blocks.window))) if ordered else config.batch_size
        batches = SplitBatches(
            self.data.histories, size, blocks.window, config.seed + 1, ordered=ordered, set_size=config.slate_size
        )
        epochs = config.adversarial_epochs and max(config.adversarial_epochs, -(-GAME_STEPS // max(1, len(batches))))
        if not epochs or not len(batches):
            self.report["game"] = {"curve": [], "before": value, "after": value, "kept": False}
            return before, proposals, discriminator
        generator = served_copy(before.generator, before.generator.state_dict())
        module = ConditionalGAN(generator, discriminator, config, game=True, n_steps=len(batches) * epochs)
        watch = Watch(self._measure(before), epochs + 1, self.progress.epochs("adversarial game", epochs))
        run_phase(module, batches, epochs, watch, config, "game")
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
        vectors = blocks.generator.item_vectors().numpy()
        traits = ItemTraits.of(data.histories, data.item_table, vectors, data.profiles)
        judge = Judge(discriminator, traits)
        if not len(data.validation):
            self.report["ablation"] = {}
            return blocks, judge
        cases = judging.gather(blocks, judge, proposals, blocks.weights, data.validation, config.n_candidates)
        fitted, weight, without, with_judge = judging.fit_judge(discriminator, cases, data.validation, config.seed)
        self.report["ablation"] = self._ablation(blocks, proposals, without, with_judge)
        weights = replace(blocks.weights, discriminator=weight)
        return replace(blocks, weights=weights), Judge(fitted, traits)

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
            "generator": value(Weights()),
            "both": without,
            "both + discriminator": with_judge,
            "both, z on": noisy.measure(Ranker(replace(blocks, weights=chosen), None, 1)),
        }

    def _refitted(self, blocks: Blocks) -> Blocks:
        """The closed forms once more, with the held-out part of the interactions back in."""
        data = self.data
        if data.whole is data.histories:
            return blocks
        dense, sparse = blocks.dense, blocks.sparse
        if dense is not None and blocks.weights.dense:
            dense = linear.ease(linear.spectrum(data.whole, seed=self.config.seed), self.report["regularisation"])
        if sparse is not None and blocks.weights.sparse:
            refit = linear.transitions if sparse.decay < 1.0 else linear.neighbours
            sparse = refit(data.whole)
        popularity = log_popularity(data.whole, self.report["half_life"])
        return replace(blocks, dense=dense, sparse=sparse, popularity=popularity)


def _dense_scores(block: linear.SparseRows, histories: Histories) -> np.ndarray:
    return np.asarray(block.scores(histories).toarray())


def _same_for_all(scores: np.ndarray, histories: Histories) -> np.ndarray:
    return np.tile(scores, (len(histories), 1))

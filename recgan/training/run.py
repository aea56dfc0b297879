"""From a table of interactions to a recommender: closed forms, ranking phase, game, second stage, refit."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from recgan import linear
from recgan.config import Config
from recgan.errors import ConfigError
from recgan.features import ItemTraits, category_flags, category_matrix
from recgan.histories import Histories, Strength, fingerprint
from recgan.networks import Discriminator, build_generator
from recgan.popularity import popularity_spread
from recgan.progress import Progress
from recgan.ranking import Blocks, Judge, Ranker, Weights
from recgan.recommender import Recommender
from recgan.splits import Holdout
from recgan.storage import Parts
from recgan.tables import Source
from recgan.training import judging
from recgan.training.checkpoints import Checkpoints
from recgan.training.closed import ClosedForms, strengthened
from recgan.training.content import with_content
from recgan.training.data import Data, read_data
from recgan.training.fitting import new_discriminator, seeded
from recgan.training.phases import Phases
from recgan.training.plan import plan
from recgan.training.preferences import fit_preferences
from recgan.training.reporting import alarms, versions
from recgan.training.scoring import WHOLE
from recgan.training.short import cover_pays, opened
from recgan.training.team import Team, team
from recgan.training.validation import LINEAR, Proposals

Result = TypeVar("Result")
INTERRUPTED = "training was interrupted in the {0} phase: the model is what had been learned until then"


def train(
    interactions: Source,
    items: Source | None = None,
    *,
    users: Source | None = None,
    validation: Holdout | None = None,
    config: Config | None = None,
    seed: int | None = None,
) -> Recommender:
    """Train a recommender; nothing needs to be tuned.

    Args:
        interactions: user_id, item_id and, where they exist, weight, timestamp or position; a frame of pandas, polars,
            Arrow or SciPy, or a path; Parquet files may be larger than memory, see `Config(rows_in_memory=...)`. How
            far weights are heeded validation decides, which then asks for events of at least the mean weight (for all
            where few users have one); weights of 0 or less are dislikes, see `read_interactions`.
        items: item_id, title, categories, year, likewise; optional.
        users: user_id and features such as age or country, likewise; optional.
        validation: history and truth of some users for the inner validation; None carves it from the interactions.
        config: settings; None for the defaults.
        seed: of everything random; None for that of the config.

    Returns:
        The trained recommender; `info()` holds its ablation, weights and curves.

    Raises:
        DataError: when a table cannot be used.
        ConfigError: when a setting does not fit.
        TrainingError: when a loss is not a number.

    Processes that torchrun or Ray Train started train one generator together: each calls this with the same arguments,
    computes its share of every batch, and gets the same model.

    Ctrl-C ends the training of the generator; what it has learned is weighed and comes back as a model, with a
    warning. A second Ctrl-C is a KeyboardInterrupt.
    """
    started = time.perf_counter()
    config, together = settled(config, seed), team()
    with Progress(config.progress and not together.rank) as progress, seeded(config.seed):
        progress.stage("reading")
        data = read_data(interactions, items, users, validation, config)
        return Run(strengthened(data, config), config, progress, started, together).recommender()


def settled(config: Config | None, seed: int | None) -> Config:
    """The settings of a run: the defaults where none are given, with the seed where one is."""
    config = Config() if config is None else config
    if not isinstance(config, Config):
        raise ConfigError(f"config: a recgan.Config, not {type(config).__name__}")
    return config if seed is None else config.changed(seed=seed)


class Run:
    """One training run; its methods are its stages, in order."""

    def __init__(
        self, data: Data, config: Config, progress: Progress, started: float, together: Team | None = None
    ) -> None:
        self.data = data
        self.team = together or Team()
        self.config = config
        self.progress = progress
        self.started = started
        self.checkpoints = Checkpoints.of(config, data, writes=not self.team.rank)
        self.report: dict[str, Any] = {}
        self.stage_seconds: dict[str, float] = {}

    def _timed(self, name: str, stage: Callable[[], Result]) -> Result:
        since = time.perf_counter()
        self.progress.stage(name)
        result = stage()
        if len(self.data.items) > WHOLE:
            gc.collect()  # what a stage leaves behind are large tables in circles
        self.stage_seconds[name] = round(time.perf_counter() - since, 2)
        return result

    def ranked(self) -> Blocks:
        """Closed forms and a generator that ranks."""
        blocks = self._timed("closed forms", self._closed_forms)
        return self._timed("ranking phase", partial(self._ranking_phase, blocks))

    def recommender(self) -> Recommender:
        """All stages, and what comes of them."""
        data, config = self.data, self.config
        blocks, discriminator = self._timed("game", partial(self._game, self.ranked()))
        blocks, judge = self._timed("second stage", partial(self._second_stage, blocks, discriminator))
        self.report["cover"] = self._timed("strangers", partial(self._cover_pays, blocks))
        blocks, judge = self._timed("refit", partial(self._refitted, blocks, judge))
        blocks = replace(blocks, opening=opened(self.report, data.whole, blocks.popularity))
        blocks = self._timed("preferences", partial(self._with_preferences, blocks))
        parts, self.report["content"] = self._timed("content", partial(self._content, blocks, judge))
        self.report |= {
            "weights": vars(blocks.weights),
            "alarms": alarms(blocks, data.validation, self.report["game"]),
            "seconds": round(time.perf_counter() - self.started, 1),
            "stage_seconds": self.stage_seconds,
            "versions": versions(),
            "data": fingerprint(parts.histories),
            "interrupted": self.phases.stopped,
        }
        if data.strength != Strength():
            self.report["strength"] = vars(data.strength)
        if self.phases.stopped:
            warnings.warn(INTERRUPTED.format(*self.phases.stopped), stacklevel=3)
        return Recommender.of(parts, config, self.report)

    def _content(self, blocks: Blocks, judge: Judge) -> tuple[Parts, dict[str, Any]]:
        data, all_of = self.data, self.data.everyone
        known = data.users, data.items, data.whole, data.profiles, data.item_table
        parts = Parts(*known, blocks, judge, data.disliked)
        parts, told = with_content(parts, data.others, data.validation, self.config)
        if all_of is not None:
            histories = replace(all_of.histories, n_items=len(parts.items))
            disliked = all_of.disliked and replace(all_of.disliked, n_items=len(parts.items))
            parts = replace(parts, users=all_of.users, histories=histories, profiles=all_of.profiles, disliked=disliked)
        unliked = Histories.from_frame(data.unliked, parts.users, parts.items)
        if len(unliked.items):  # of items that came with their content alone
            disliked = unliked if parts.disliked is None else parts.disliked.joined(unliked)
            parts = replace(parts, disliked=disliked)
        return parts, told

    def _closed_forms(self) -> Blocks:
        """The closed forms, each with its best setting, and the start of the item vectors."""
        data, config = self.data, self.config
        forms = ClosedForms(data.histories, data.validation, config.seed)
        self.dense, self.factors, self.sparse = forms.dense(), forms.factors(), forms.sparse()
        self.popularity = forms.popularity()
        values = {name: getattr(self, name).value for name in LINEAR}
        strongest = max(values, key=lambda name: values[name])
        kind = config.encoder
        if kind == "auto":
            kind = "sequence" if data.histories.ordered and strongest == "sparse" else "bag"
        made = plan(config, data.streamed, kind)
        vectors = torch.from_numpy(_start_vectors(kind, forms, config))
        shape: dict[str, Any] = {name: getattr(made, name) for name in ("window", "dropout", "layers")}
        generator = build_generator(config, kind, {"vectors": vectors}, **shape)
        random = np.random.default_rng([config.seed, 1])
        noise = random.standard_normal((config.n_draws, config.noise_dim)).astype(np.float32)
        self.report |= {
            "encoder": kind,
            "plan": vars(made),
        }
        self.report |= values
        self.report |= {**self.dense.settings, **self.popularity.settings}
        self.report |= {f"{name}_settings": dict(getattr(self, name).settings) for name in ("factors", "sparse")}
        closed = self.dense.block, self.factors.block, self.sparse.block
        categories = category_matrix(data.item_table)[0]
        life = self.popularity.settings["half_life"]
        half_life = life if kind == "sequence" else None
        alone = Weights()
        if half_life:  # the generator knows of a user what the trend does not tell, and of a stranger nothing
            alone = Weights(popularity=popularity_spread(data.histories, life), unknown=0.0)
        self.phases = Phases(
            data,
            config if not self.team.rank else config.changed(log_dir=None),
            made,
            alone,
            half_life,
            strongest,
            self.progress,
            checkpoints=self.checkpoints,
            team=self.team,
            categories=categories if kind == "sequence" and categories.any() else None,
        )
        popularity, strength = self.popularity.block, data.strength
        return Blocks(generator, *closed, popularity, alone, noise, made.window, categories, strength=strength)

    def _ranking_phase(self, blocks: Blocks) -> Blocks:
        trained, made, self.report["ranking"] = self.phases.ranking(blocks)
        self.phases, self.report["plan"] = replace(self.phases, plan=made), vars(made)
        return trained

    def _game(self, blocks: Blocks) -> tuple[Blocks, Discriminator]:
        blocks, discriminator, self.report["game"] = self.phases.game(blocks, new_discriminator(self.config))
        return blocks, discriminator

    def _second_stage(self, blocks: Blocks, discriminator: Discriminator) -> tuple[Blocks, Judge]:
        data, config = self.data, self.config
        blocks, proposals = self.phases.weighed(blocks)
        judge = Judge(discriminator, self._traits(data.histories, blocks))
        if not len(data.validation):
            self.report["ablation"] = {}
            return blocks, judge
        cases = judging.gather(judge, proposals, blocks.weights, data.validation, config.n_candidates)
        fitted, weight, without, with_judge = judging.fit_judge(discriminator, cases, data.validation, config.seed)
        self.report["ablation"] = self._ablation(blocks, proposals, without, with_judge)
        weights = replace(blocks.weights, discriminator=weight)
        return replace(blocks, weights=weights), replace(judge, discriminator=fitted)

    def _traits(self, histories: Histories, blocks: Blocks) -> ItemTraits:
        """What the second stage knows of the items, in the vectors of the generator that serves."""
        vectors = blocks.generator.item_vectors().numpy()
        return ItemTraits.of(histories, self.data.item_table, blocks.categories, vectors, self.data.profiles)

    def _ablation(self, blocks: Blocks, proposals: Proposals, without: float, with_judge: float) -> dict[str, float]:
        """Validation metric of every part alone and together; z on and off."""
        validation = self.data.validation
        chosen = blocks.weights

        def value(weights: Weights) -> float:
            return float(validation.values(proposals.ranked(weights, validation.k)).mean())

        linear_only = replace(chosen, generated=0.0, popularity=0.0, short_generated=0.0, short_popularity=0.0)
        if not any(getattr(chosen, name) for name in LINEAR):
            linear_only = replace(linear_only, **{self.phases.strongest: 1.0})
        noise = blocks.noise[np.arange(len(validation)) % len(blocks.noise)]
        noisy = replace(validation, query=replace(validation.query, noise=noise))
        return {
            "popularity": value(Weights(generated=0.0, popularity=1.0)),
            "linear": value(linear_only),
            "generator": value(self.phases.alone),
            "both": without,
            "both + discriminator": with_judge,
            "both, z on": noisy.measure(Ranker(replace(blocks, weights=chosen), None, 1)),
        }

    def _cover_pays(self, blocks: Blocks) -> bool:
        data = self.data
        return cover_pays(blocks, data.histories, self.report["half_life"], data.validation)

    def _refitted(self, blocks: Blocks, judge: Judge) -> tuple[Blocks, Judge]:
        """All once more with the held-out part of the interactions back in; of the second stage only what it reads."""
        data = self.data
        if data.whole is data.histories:
            return blocks, judge
        closed = {name: getattr(self, name).fit(data.whole) for name in LINEAR if getattr(blocks.weights, name)}
        closed["popularity"] = self.popularity.fit(data.all_histories)
        tuned = self.phases.tuned(blocks, self.report["ranking"]["best_epoch"])
        refitted = replace(tuned, **closed)
        return refitted, replace(judge, traits=self._traits(data.whole, refitted))

    def _with_preferences(self, blocks: Blocks) -> Blocks:
        """With an encoder of stated preferences, where the items have categories and nobody is in a hurry."""
        if self.phases.stopped:
            return blocks
        flags = category_flags(self.data.item_table).to_numpy(np.float32)
        return replace(blocks, preferences=fit_preferences(blocks, self.data.whole, flags, self.config.seed))


def _start_vectors(kind: str, forms: ClosedForms, config: Config) -> np.ndarray:
    histories = forms.histories
    if kind == "bag":
        return np.asarray(forms.start_vectors(config.embedding_dim))
    counts = forms.transition_counts(half_life=None)
    return linear.order_vectors(counts, histories.counts(), config.embedding_dim, config.seed)

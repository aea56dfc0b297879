"""What the adversary is worth: one ranked generator with the adversarial term off, on, and with rivals in its place.

Every seed has one ranking phase; every variant plays its game from there, with the default length. The lists are the
same for all. All is measured on inner validation users, generated against held-out slates; `adversary_tables` compares.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import adversary_games
import adversary_rows
import adversary_tables
import numpy as np
from adversary_games import EnergyScoreGame, MmdGame
from adversary_rows import ROWS, Sample
from adversary_tables import BASE, Row
from forks import FIRST_SEED, Start, kept, key, start

from recgan.config import Config
from recgan.errors import TrainingError
from recgan.features import ItemTraits
from recgan.ranking import ABSENT, Blocks, Judge
from recgan.training import judging
from recgan.training.fitting import new_discriminator, seeded
from recgan.training.module import ConditionalGAN
from recgan.training.reporting import alarms
from recgan.training.validation import Proposals


@dataclass(frozen=True)
class Variant:
    """One way to go on from the ranking phase.

    Args:
        adversarial: loss of the game, as in the settings.
        module: plays the game.
        weight: of what stands in the adversary's place; None for the default one.
        temperature: of the softmax from which items are drawn.
        plays: whether a game is played at all.
        same_as: the variant whose generator is used.
    """

    adversarial: str = "none"
    module: type[ConditionalGAN] = ConditionalGAN
    weight: float | None = None
    temperature: float = 1.0
    plays: bool = True
    same_as: str | None = None


GAMES: dict[str, Variant] = {
    "relativistic": Variant("relativistic"),
    "non-saturating": Variant("non-saturating"),
    "wgan-gp": Variant("wgan-gp"),
    "hinge": Variant("hinge"),
    "energy score": Variant(module=EnergyScoreGame),
    "MMD": Variant(module=MmdGame),
}
"""What stands in the adversary's place, with its default weight."""
HALF = 0.5 * Config().adversarial_weight
VARIANTS = {
    "no game": Variant(plays=False),
    BASE: Variant(),
    "off, temperature .8": Variant(temperature=0.8, same_as=BASE),
    "off, temperature .6": Variant(temperature=0.6, same_as=BASE),
    **GAMES,
    "relativistic, temperature .8": Variant("relativistic", temperature=0.8, same_as="relativistic"),
    **{f"{name}, half the weight": replace(one, weight=HALF) for name, one in GAMES.items()},
}
RANKERS = (BASE,)
"""Variants after which the second stage is fitted, by the discriminator and by boosting."""


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what is not finished yet, and compare."""
    own = [Path(module.__file__ or "") for module in (adversary_games, adversary_rows)] + [Path(__file__)]
    folder = options.work / key(options.set, options.data, options.quick, own)
    of_seeds = [of_seed(options, seed, folder) for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)]
    found = {name: [one[name] for one in of_seeds] for name in VARIANTS}
    return {
        "set": options.set,
        "seeds": options.seeds,
        "tests": list(ROWS),
        "variants": adversary_tables.compared(found),
    }


def of_seed(options: argparse.Namespace, seed: int, folder: Path) -> dict[str, Row]:
    """All variants of one seed; the ranking phase is only run where something is missing."""
    begun: list[Start] = []
    games: dict[str, Played] = {}

    def fork() -> Start:
        if not begun:
            begun.append(start(options.set, options.data, seed, quick=options.quick))
        return begun[0]

    def once(name: str) -> Callable[[], Row]:
        return lambda: of_variant(fork(), name, games)

    found = {}
    for name in VARIANTS:
        since = time.perf_counter()
        path = folder / f"{seed}-{name.replace(' ', '-')}.json"
        found[name] = kept(path, once(name), redo=options.redo)
        told = f"NDCG {found[name]['ndcg']:.4f}" if "ndcg" in found[name] else found[name]["failed"]
        print(f"seed {seed}, {name}: {told}  ({time.perf_counter() - since:.0f} s)", file=sys.stderr, flush=True)
    return found


def of_variant(begun: Start, name: str, games: dict[str, Played]) -> Row:
    """One variant of one seed: accuracy, rows with a value a user, alarms."""
    variant, run = VARIANTS[name], begun.run
    since = time.perf_counter()
    try:
        played = game(begun, variant.same_as or name, games)
    except TrainingError as error:
        return {"failed": str(error)}
    seconds = time.perf_counter() - since
    phases, validation = run.phases, run.data.validation
    sample = Sample.of(replace(begun.blocks, weights=phases.alone), validation, run.data.histories.counts(), begun.seed)
    rows = adversary_rows.rows(sample, played.blocks.generator, variant.temperature)
    values = validation.values(played.proposals.ranked(played.blocks.weights, validation.k))
    raised = alarms(played.blocks, validation, played.report)["collapsed"]
    return {
        "ndcg": float(values.mean()),
        "users": {"ndcg": values.tolist(), **{row: _plain(users) for row, (_, users) in rows.items()}},
        "values": {row: value for row, (value, _) in rows.items()},
        "rankers": rankers(begun, played) if name in RANKERS else {},
        "alarms": raised,
        "share_right": (played.report["curve"] or [{}])[-1].get("discriminator_share"),
        "seconds": round(seconds, 1),
    }


@dataclass(frozen=True)
class Played:
    """What a variant's game leaves: stage one with its weights, its proposals, and the account of the game."""

    blocks: Blocks
    proposals: Proposals
    report: dict[str, Any]


def game(begun: Start, name: str, games: dict[str, Played]) -> Played:
    """The game of a variant, played once."""
    if name not in games:
        games[name] = _played(begun, VARIANTS[name], next(iter(games.values()), None))
    return games[name]


def _played(begun: Start, variant: Variant, other: Played | None) -> Played:
    """After the game; the weights and proposals are those of another variant, if any, as no game moves the lists."""
    phases, blocks, report = begun.run.phases, begun.blocks, {"curve": []}
    if variant.plays:
        weight = phases.config.adversarial_weight if variant.weight is None else variant.weight
        config = phases.config.changed(adversarial=variant.adversarial, adversarial_weight=weight)
        with seeded(begun.seed):
            judge = new_discriminator(config)
            blocks, _, report = replace(phases, config=config, module=variant.module).game(blocks, judge)
    if other is not None:
        return Played(replace(blocks, weights=other.blocks.weights), other.proposals, report)
    return Played(*phases.weighed(blocks), report)


def rankers(begun: Start, played: Played) -> dict[str, float]:
    """NDCG out of fold of the second stage: the discriminator's head, and gradient boosting."""
    run, blocks = begun.run, played.blocks
    data, config = run.data, run.config
    vectors = blocks.generator.item_vectors().numpy()
    traits = ItemTraits.of(data.histories, data.item_table, blocks.categories, vectors, data.profiles)
    judge = Judge(new_discriminator(config), traits)
    cases = judging.gather(judge, played.proposals, blocks.weights, data.validation, config.n_candidates)
    fitted = judging.fit_judge(judge.discriminator, cases, data.validation, config.seed)[3]
    return {"D": fitted, "boosting": boosted(cases, data.validation, config.seed)}


def boosted(cases: judging.Cases, validation: Any, seed: int) -> float:
    """The same second stage by gradient boosting: same features, folds, and choice of its weight."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    features, positive, present = cases.features.numpy(), cases.positive.numpy(), cases.numbers != ABSENT
    added = np.zeros(cases.numbers.shape)
    parts = judging.folds(validation, seed)
    for fold, others in parts:
        if not positive[others][present[others]].any():
            continue
        model = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, max_leaf_nodes=8, random_state=seed)
        model.fit(features[others][present[others]], positive[others][present[others]])
        shown = present[fold]
        added[fold] = np.where(
            shown, model.decision_function(features[fold].reshape(-1, features.shape[2])).reshape(shown.shape), 0
        )
    relevance = np.where(present, cases.relevance.numpy(), -np.inf)
    judged = np.concatenate([fold for fold, _ in parts])

    def values(weight: float) -> np.ndarray:
        order = np.lexsort((cases.numbers, -(relevance + weight * added)), axis=1)
        return validation.values(np.take_along_axis(cases.numbers, order, 1))

    best = max(judging.WEIGHTS, key=lambda weight: values(weight)[judged].mean())
    return float(values(best).mean())


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]

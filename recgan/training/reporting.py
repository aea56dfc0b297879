"""What a training run says about itself: versions, the data's fingerprint, and alarms."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from recgan.draws import wanted_vectors
from recgan.fidelity import spread
from recgan.ranking import Blocks, Ranker
from recgan.training.validation import Validation

PACKAGES = ("recgan", "torch", "pytorch-lightning", "faiss-cpu", "numpy", "pandas", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of the packages that decide the result."""
    return {package: version(package) for package in PACKAGES}


DRAWS_ALIKE, LISTS_ALIKE = 1e-4, 0.9
"""Spread below which the noise is ignored, and overlap of the lists above which everybody gets the same one."""
DISCRIMINATOR_WINS = 0.98
"""Share of the slates, at the last measurement of the game, from which the discriminator wins everything."""
CONDITION_IGNORED = 0.01
"""Nats that held-out items lose when users exchange their conditions, below which the condition is ignored."""
ADVICE = {
    "draws are alike": "the noise is ignored: moods, uncertainty and ideal items will show next to nothing; raise "
    "game_steps, in which only the noise learns, or noise_dim; or the histories are too short to have moods",
    "lists are alike": "everybody gets the same list: the histories may be too short or too few to tell users apart; "
    "check that user and item ids are not mixed up, train longer (epochs, patience) and look at the popularity weight",
    "discriminator wins": "the discriminator wins everything: its gradient teaches the generator nothing; lower "
    "discriminator_learning_rate, raise gradient_penalty, or play a shorter game (game_steps)",
    "condition is ignored": "the generator wants the same for everybody: held-out items are as likely under another "
    "user's history; train longer (epochs, patience), raise learning_rate, or check that the histories hold a pattern",
}
"""What each alarm means, and what to do."""


def alarms(blocks: Blocks, validation: Validation, game: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Signs of a collapsed generator, measured on up to 256 validation users.

    Args:
        blocks: the parts of stage one.
        validation: the users.
        game: the account of the game, whose last measurements are read where there are any.

    Returns:
        `spread`: mean distance (1 - cosine) between the draws of one user; `unique_items`: share of the catalogue
        that the users' lists of ten hold; `overlap`: mean share of a list that two users have in common; `collapsed`:
        names of the alarms that are raised; `advice`: what each of them means and what to do, by its name.
    """
    query = validation.query.take(np.arange(min(256, len(validation))))
    if not len(query.histories):
        return {"spread": 0.0, "unique_items": 0.0, "overlap": 0.0, "collapsed": [], "advice": {}}
    apart = float(spread(wanted_vectors(blocks, query.histories)).mean())
    lists, _ = Ranker(blocks, None, 1).rank(query, 10)
    overlap = _overlap(lists)
    raised = {
        "draws are alike": len(blocks.noise) > 1 and apart < DRAWS_ALIKE,
        "lists are alike": len(lists) > 1 and overlap > LISTS_ALIKE,
        **_of_game({} if game is None else game),
    }
    names = [name for name, alarm in raised.items() if alarm]
    return {
        "spread": apart,
        "unique_items": len(np.unique(lists[lists >= 0])) / len(blocks.popularity),
        "overlap": overlap,
        "collapsed": names,
        "advice": {name: ADVICE[name] for name in names},
    }


def _of_game(game: Mapping[str, Any]) -> dict[str, bool]:
    """Alarms that follow from the last measurements of the game."""
    measured = [point for point in game.get("curve", []) if "discriminator_share" in point]
    last = measured[-1] if measured else {}
    played = "discriminator" in last  # without an adversarial loss nobody trains the discriminator
    return {
        "discriminator wins": played and last["discriminator_share"] >= DISCRIMINATOR_WINS,
        "condition is ignored": last.get("condition_gap", 1.0) < CONDITION_IGNORED,
    }


def _overlap(lists: np.ndarray) -> float:
    if len(lists) < 2:
        return 0.0
    counts = np.bincount(lists[lists >= 0])
    pairs = len(lists) * (len(lists) - 1) * lists.shape[1]
    return float((counts * (counts - 1)).sum() / pairs)

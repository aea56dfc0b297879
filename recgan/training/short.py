"""What counts while a history is short or not there at all: the generated block, and what is popular."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from recgan.histories import Histories
from recgan.opening import opening
from recgan.ranking import Blocks, Query, Ranker, Weights
from recgan.training.validation import Proposals, Validation, propose, units

LENGTHS = (1, 3, 10, 30)
"""Lengths to which histories are cut, so that users who are new stand beside those who are not."""
FEWEST, MOST = 50, 2000
"""Users of a length, or strangers, without whom nothing is concluded; and most users of a length."""
GENERATED = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
POPULARITY = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Steps in the weight of the generated block, and in the unit of popularity."""
FADES = (10.0, 3.0, 1.0)
"""Items of a history at which half is left of them."""

FEWEST_STRANGERS, STRANGERS, STRANGER_SCORES = 500, 5000, 1 << 28
"""Fewest and most users who are taken for strangers, and most scores that they may take."""
HIDDEN = 0.2
"""Share of their items for which strangers are asked."""
UNKNOWN = (1.0, 0.5, 0.25, 0.0)
"""Shares of the generated block for strangers."""


@dataclass(frozen=True)
class Case:
    """Users with what the blocks propose to them.

    Args:
        validation: the users.
        proposals: of the blocks.
        hits: which proposals were held out, (V, K) bool.
    """

    validation: Validation
    proposals: Proposals
    hits: np.ndarray

    @classmethod
    def of(cls, validation: Validation, blocks: Blocks) -> Case:
        """What these blocks propose to some users."""
        proposals = propose(blocks, validation)
        return cls(validation, proposals, validation.hits(proposals.numbers))

    def value(self, weights: Weights) -> float:
        """Mean of the metric over the users."""
        best = self.proposals.of_best(self.hits, False, weights, self.validation.k)
        return float(self.validation.values_of(best).mean())


def choose_short(blocks: Blocks, validation: Validation, weights: Weights, seed: int) -> Weights:
    """The weights with what short histories need in addition.

    Validation users are asked for as they are, and with their histories cut to a few items. The best mean of the
    relative gains is taken among the choices that cost the users as they are nothing, in lists as long as the metric
    looks at and ten times as long: what is popular fills the lower places first.

    Args:
        blocks: stage one with the weights under which every block proposes.
        validation: who shall like it.
        weights: chosen for the users as they are.
        seed: of the items that are kept of a history without order.

    Returns:
        The weights; unchanged where nothing better is found.
    """
    whole = Case.of(validation.light().first(MOST), blocks)
    longer = replace(whole, validation=whole.validation.longer())
    cut = [Case.of(one, blocks) for one in shortened(whole.validation, seed)]
    unit = units(whole.proposals)
    step = weights.generated * unit["generated"] / unit["popularity"]
    before, below = [case.value(weights) for case in (whole, *cut)], longer.value(weights)
    best, best_gain = weights, 1.0
    shares = GENERATED if weights.generated else (0.0,)
    for fade, generated, popularity in product(FADES, shares, POPULARITY):
        short = {"short_generated": generated * weights.generated, "short_popularity": popularity * step}
        tried = replace(weights, fade=fade, **short)
        as_they_are = whole.value(tried)
        if as_they_are < before[0]:
            continue
        after = [as_they_are, *(case.value(tried) for case in cut)]
        gain = float(np.mean([new / max(old, 1e-9) for new, old in zip(after, before, strict=True)]))
        if gain > best_gain and longer.value(tried) >= below:
            best, best_gain = tried, gain
    return best


def shortened(validation: Validation, seed: int) -> list[Validation]:
    """The users whose histories are longer than a few items, with only so many of them: the newest, or random ones."""
    histories = validation.query.histories
    random = np.random.default_rng(seed).random(len(histories.items))
    ranks = histories.ranks(-np.arange(len(random), dtype=np.float64) if histories.ordered else random)
    cut = []
    for length in LENGTHS:
        longer = np.flatnonzero(histories.lengths > length)
        if len(longer) >= FEWEST:
            short = replace(validation.query, histories=histories.part(ranks < length))
            cut.append(replace(validation, query=short).take(longer))
    return cut


def choose_unknown(blocks: Blocks, histories: Histories, metric: str, seed: int) -> Weights:
    """The weights with the generated block's share for who has no history.

    All strangers get one list, which has not learned anything of a single user: so users of the training are asked,
    who are many, and what differs little is told from chance.

    Args:
        blocks: stage one with its weights.
        histories: of the training.
        metric: what is maximised.
        seed: of users and hidden items.

    Returns:
        The weights; unchanged where strangers get nothing of the generated block already.
    """
    if not (blocks.weights.unknown and blocks.weights.generated):
        return blocks.weights
    random = np.random.default_rng(seed)
    users = np.flatnonzero(histories.lengths > 1)
    most = int(np.clip(STRANGER_SCORES // histories.n_items, FEWEST_STRANGERS, STRANGERS))
    some = histories.take(np.sort(random.permutation(users)[:most]))
    if not len(some):
        return blocks.weights
    last = np.arange(len(some.items), dtype=np.float64)
    ranks = some.ranks(-last if some.ordered else random.random(len(some.items)))
    hidden = ranks < np.maximum(1, np.round(HIDDEN * some.lengths).astype(np.int64))[some.rows]
    nothing, truth = some.part(np.zeros(len(hidden), bool)), some.part(hidden)
    query = Query(nothing, some.part(~hidden), np.zeros((len(some), 0), np.float32))
    asked = Validation(query, truth, truth.lengths, metric)

    def value(share: float) -> float:
        weighed = replace(blocks, weights=replace(blocks.weights, unknown=share))
        return asked.measure(Ranker(weighed, None, 1))

    return replace(blocks.weights, unknown=max(UNKNOWN, key=value))


def cover_pays(blocks: Blocks, histories: Histories, half_life: float | None, validation: Validation) -> bool:
    """Whether the strangers among the validation users have as many hits in the cover's list as in the popular one.

    Where fashion changes from day to day, what many have together is soon what many had.

    Args:
        blocks: stage one with its weights, without an opening.
        histories: of the training.
        half_life: days after which an interaction counts half; None counts all alike.
        validation: only its users without a history are asked.

    Returns:
        True where they are too few to tell.
    """
    strangers = np.flatnonzero(validation.query.histories.lengths == 0)
    if len(strangers) < FEWEST:
        return True
    asked = replace(validation.take(strangers), metric=f"hit@{validation.k}")
    covered = replace(blocks, opening=opening(histories, blocks.popularity, half_life))
    return asked.measure(Ranker(covered, None, 1)) >= asked.measure(Ranker(blocks, None, 1))


def opened(report: Mapping[str, Any], histories: Histories, popularity: np.ndarray) -> np.ndarray:
    """What strangers are shown, as `recgan.opening` has it, or nothing else than what is popular, as a report says."""
    if not report.get("cover", True):  # models of before always had the cover
        return np.zeros_like(popularity)
    return opening(histories, popularity, report["half_life"])

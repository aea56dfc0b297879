"""The inner validation: what is held out, how a model is measured on it, and how the weights are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from recgan import metrics
from recgan.foreign import as_frame
from recgan.histories import Histories, tastes
from recgan.interactions import by_taste
from recgan.ranking import ABSENT, CELLS, Blocks, Query, Ranker, Weights, fading, top_items
from recgan.schema import ITEM, USER, WEIGHT
from recgan.splits import Holdout
from recgan.training.scoring import WHOLE, Scorer, by_parts
from recgan.vocabulary import UNKNOWN, Vocabulary

PROPOSED = 200
"""Items that each block proposes when weights are chosen."""

LONGER = 10
"""Length of the lists in which nothing may be lost either, by that of the lists asked for."""

FEWEST_WEIGHTY = 50
"""Users with an event of weight for whom those without one are left out, where these are more than half."""

MEASURED = 2_000_000_000
"""Most scores, users by items, behind one of the measurements that are made many times."""


@dataclass(frozen=True)
class Validation:
    """Users whose last or hidden items are known.

    Args:
        query: histories, seen items and profiles of V users.
        truth: their held-out items that are in the catalogue.
        n_relevant: how many were held out, in the catalogue or not, (V,) int64.
        metric: what is maximised, such as "ndcg@10".
    """

    query: Query
    truth: Histories
    n_relevant: np.ndarray
    metric: str

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def k(self) -> int:
        """Length of the lists that the metric looks at."""
        return int(self.metric.split("@")[1])

    def portions(self) -> Iterator[Query]:
        """The query in portions whose scores of the whole catalogue, where it is scored whole, can be held."""
        size = max(1, CELLS // 2 // min(self.truth.n_items, WHOLE))
        for start in range(0, len(self), size):
            yield self.query.take(np.arange(start, min(start + size, len(self))))

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """The metric of every user's list of item numbers (V, K), -1 behind its end; (V,) float64."""
        return self.values_of(self.hits(numbers))

    def values_of(self, hits: np.ndarray) -> np.ndarray:
        """The metric of every user's list of which this was held out, (V, K) bool; (V,) float64."""
        return metrics.RANKING[self.metric.split("@")[0]](hits, self.n_relevant, self.k)

    def hits(self, numbers: np.ndarray) -> np.ndarray:
        """Which listed items were held out, (V, K) bool."""
        return self.truth.holds(numbers)

    def first(self, most: int) -> Validation:
        """The first users."""
        return self.take(np.arange(min(most, len(self))))

    def longer(self) -> Validation:
        """The same users, whose lists are looked at ten times as far down."""
        return replace(self, metric=f"{self.metric.split('@')[0]}@{LONGER * self.k}")

    def light(self) -> Validation:
        """As many of the users, at random, as can be asked for many times; all of them up to MEASURED scores."""
        most = max(1, MEASURED // self.truth.n_items)
        if len(self) <= most:
            return self
        return self.take(np.sort(np.random.default_rng(0).permutation(len(self))[:most]))

    def take(self, rows: np.ndarray) -> Validation:
        """Some of the users."""
        return Validation(self.query.take(rows), self.truth.take(rows), self.n_relevant[rows], self.metric)

    def measure(self, ranker: Ranker) -> float:
        """Mean of the metric over the users, by the code that serves."""
        numbers, _ = ranker.rank(self.query, self.k)
        return float(self.values(numbers).mean())


def carve(histories: Histories, most_users: int, seed: int) -> tuple[Histories, Histories]:
    """Hide what a model will be asked for, at most a tenth of it.

    With a clock that is what happened last, for everybody, where most of these users have a past; else the newest tenth
    of the items of some users, or without any order a random tenth (one item at least).

    Args:
        histories: training interactions of U users.
        most_users: most users that are asked.
        seed: of the draw.

    Returns:
        The remaining histories and the hidden items, both of all U users; empty where nothing was hidden.
    """
    if histories.clock:
        kept, hidden = _carve_last(histories, most_users)
        asked = hidden.lengths > 0
        if (kept.lengths[asked] > 0).sum() * 2 > asked.sum():
            return kept, hidden
    random = np.random.default_rng(seed)
    lengths = histories.lengths
    able = np.flatnonzero(lengths >= 2)
    chosen = np.zeros(len(histories), bool)
    chosen[random.permutation(able)[:most_users]] = True
    hidden_count = np.where(chosen, np.maximum(1, lengths // 10), 0)
    key = (
        np.arange(len(histories.items), dtype=np.float64) if histories.ordered else random.random(len(histories.items))
    )
    hidden = histories.ranks(-key) < hidden_count[histories.rows]
    return histories.part(~hidden), histories.part(hidden)


def _carve_last(histories: Histories, most_users: int) -> tuple[Histories, Histories]:
    """Everything before a moment, and everything after it: at most a tenth of the rows and `most_users` users."""
    times = np.asarray(histories.times)
    newest = np.argsort(-times, kind="stable")[: len(times) // 10]
    _, first = np.unique(histories.rows[newest], return_index=True)
    users_so_far = np.cumsum(np.bincount(first, minlength=len(newest)))
    after = newest[: int((users_so_far <= most_users).sum())]
    hidden = times > times[after].min(initial=np.inf)
    return histories.part(~hidden), histories.part(hidden)


def from_holdout(
    holdout: Holdout,
    items: Vocabulary,
    profiles_of: Callable[[pd.Series], np.ndarray],
    metric: str,
    most_users: int,
    seed: int,
    least: float = 0.0,
) -> Validation:
    """Validation from the caller's holdout; users without truth are left out.

    Args:
        holdout: history and truth of some users.
        items: numbers of the catalogue.
        profiles_of: maps user ids to their features, (V, P) float32.
        metric: what is maximised.
        most_users: most users that are read, drawn at random.
        seed: of the draw.
        least: weight from which an event of the truth counts, where it has weights.

    Returns:
        The validation.
    """
    asked = by_taste(as_frame(holdout.truth))[0]
    if WEIGHT in asked.columns:
        weighty = asked[asked[WEIGHT] >= least]
        asked = weighty if enough(weighty[USER].nunique(), asked[USER].nunique()) else asked
    users = Vocabulary.of(asked[USER])
    drawn = np.sort(np.random.default_rng(seed).permutation(len(users))[:most_users])
    users = Vocabulary(users.ids(drawn), USER)
    history, disliked = tastes(as_frame(holdout.history), users, items)
    truth = Histories.from_frame(asked[[USER, ITEM]], users, items)
    row = users.numbers(asked[USER])
    relevant = np.bincount(row[row != UNKNOWN], minlength=len(users))
    blocked = history if disliked is None else history.joined(disliked)
    query = Query(history, blocked, profiles_of(users.all_ids))
    return Validation(query, truth, relevant, metric)


def enough(weighty: int, users: int) -> bool:
    """Whether so many users with an event that weighs enough can stand for all of those who have one."""
    return weighty >= min(FEWEST_WEIGHTY, 0.5 * users)


@dataclass(frozen=True)
class Proposals:
    """What the blocks propose to the validation users, and how each scores it.

    Args:
        numbers: item numbers, ascending, (V, K) int64, -1 behind the end.
        scores: one array (V, K) float32 a block, by the block's name in Weights.
        lengths: of the histories, (V,) int64.
    """

    numbers: np.ndarray
    scores: dict[str, np.ndarray]
    lengths: np.ndarray

    def mixed(self, weights: Weights) -> np.ndarray:
        """Relevance of stage one, (V, K) float32; -inf behind the end."""
        total = np.where(self.numbers == ABSENT, np.float32(-np.inf), np.float32(0.0))
        fade = fading(self.lengths, weights.fade)
        for name, scores in self.scores.items():
            weight, short = np.float32(getattr(weights, name)), getattr(weights, f"short_{name}", 0.0)
            if weight or short:
                total += (weight + np.float32(short) * fade if short else weight) * scores
        return total

    def ranked(self, weights: Weights, k: int) -> np.ndarray:
        """Item numbers of the k best by the mixed relevance, (V, <= k) int64, -1 behind the end."""
        return self.of_best(self.numbers, ABSENT, weights, k)

    def of_best(self, told: np.ndarray, behind: Any, weights: Weights, k: int) -> np.ndarray:
        """What is told of every proposal, (V, K), of the k best by the mixed relevance, `behind` their end."""
        columns = top_items(self.mixed(weights), k)[0]
        return np.where(columns == ABSENT, behind, np.take_along_axis(told, columns, 1))


def propose(blocks: Blocks, validation: Validation) -> Proposals:
    """Let every block propose its best unseen items, and let all blocks score them all.

    Args:
        blocks: the parts of stage one.
        validation: the users asked for.

    Returns:
        The united proposals.
    """
    scorers = by_parts(blocks)
    parts = [_propose_chunk(scorers, query) for query in validation.portions()]
    width = max(part.numbers.shape[1] for part in parts)

    def wide(array: np.ndarray, fill: float) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=fill)

    scores = {name: np.concatenate([wide(part.scores[name], 0.0) for part in parts]) for name in parts[0].scores}
    numbers = np.concatenate([wide(part.numbers, ABSENT) for part in parts])
    return Proposals(numbers, scores, validation.query.histories.lengths)


def _propose_chunk(scorers: Mapping[str, Scorer], query: Query) -> Proposals:
    scores, beyond = {name: scorer(query) for name, scorer in scorers.items()}, query.histories.n_items
    united = np.concatenate([one.best(PROPOSED) for one in scores.values()], axis=1)
    united = np.sort(np.where(united == ABSENT, beyond, united), axis=1)
    united[:, 1:][united[:, 1:] == united[:, :-1]] = beyond
    united = np.sort(united, axis=1)
    united = united[:, : max(1, int((united != beyond).sum(axis=1).max()))]
    united = np.where(united == beyond, ABSENT, united)
    safe = np.where(united == ABSENT, 0, united)
    return Proposals(united, {name: one.at(safe) for name, one in scores.items()}, query.histories.lengths)


def units(proposals: Proposals) -> dict[str, float]:
    """What makes the blocks comparable: the median over users of each block's best score."""
    present = proposals.numbers != ABSENT
    best = {name: np.median(np.where(present, score, -np.inf).max(axis=1)) for name, score in proposals.scores.items()}
    return {name: float(value) if value > 1e-9 else 1.0 for name, value in best.items()}


LINEAR = ("dense", "factors", "sparse")
"""Blocks that are closed forms, by their names in Weights."""
GRID = (0.0, *(2.0**power for power in range(-6, 3)))
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
POPULARITY_GRID = (-0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


BAGS, FEWEST_BAGS, BAGGED_USERS = 8, 4, 10_000
"""Most bootstrap samples of the users, fewest that are of use, and users of all samples together."""


def choose_weights(proposals: Proposals, validation: Validation, alone: Weights) -> Weights:
    """Weights that maximise the validation metric.

    Where the users are few, the best of a grid is often best by chance: then the mean of what several bootstrap samples
    of the users choose is taken (bagging, Breiman 1996).

    Args:
        proposals: what the blocks propose.
        validation: who shall like it.
        alone: of the generator without the linear block.

    Returns:
        The weights.
    """
    known: dict[Weights, np.ndarray] = {}
    hits = validation.hits(proposals.numbers)

    def values(weights: Weights) -> np.ndarray:
        if weights not in known:
            known[weights] = validation.values_of(proposals.of_best(hits, False, weights, validation.k))
        return known[weights]

    bags = min(BAGS, BAGGED_USERS // max(1, len(validation)))
    if bags < FEWEST_BAGS:
        return _search(proposals, alone, lambda weights: float(values(weights).mean()))
    random, chosen = np.random.default_rng(0), []
    for _ in range(bags):
        often = np.bincount(random.integers(0, len(validation), len(validation)), minlength=len(validation))
        chosen.append(_search(proposals, alone, partial(_weighted, values, often / len(validation))))
    return _mean_weights(chosen, units(proposals))


def _mean_weights(chosen: list[Weights], unit: Mapping[str, float]) -> Weights:
    """The mean of some weights, each first brought to the same sum in the units of the blocks."""
    names = ("generated", "dense", "factors", "sparse", "popularity")
    table = np.array([[getattr(one, name) for name in names] for one in chosen])
    total = np.abs(table) @ np.array([unit.get(name, 0.0) for name in names])
    mean = (table * (total.mean() / np.maximum(total, 1e-12))[:, None]).mean(axis=0)
    return replace(chosen[0], **dict(zip(names, mean.tolist(), strict=True)))


def _weighted(values: Callable[[Weights], np.ndarray], share: np.ndarray, weights: Weights) -> float:
    return float(values(weights) @ share)


def _search(proposals: Proposals, alone: Weights, value: Callable[[Weights], float], rounds: int = 3) -> Weights:
    """The best weights of small grids, one block after the other, some times over.

    The search begins at the generator as it was trained, or at popularity alone where that does better. Where two are
    equal, the smaller change of the earlier choice stays.
    """
    unit = units(proposals)
    steps = {
        **{name: [step * unit["generated"] / unit.get(name, 1.0) for step in GRID] for name in LINEAR},
        "generated": list(SHARES),
        "popularity": [step * unit["generated"] / unit["popularity"] for step in POPULARITY_GRID],
    }
    trend = replace(alone, generated=0.0, popularity=unit["generated"] / unit["popularity"])
    best, best_value = max(((start, value(start)) for start in (alone, trend)), key=lambda one: one[1])
    for _ in range(rounds):
        for name in (name for name in steps if name in proposals.scores):
            for step in steps[name]:
                tried = replace(best, **{name: float(step)})
                if (result := value(tried)) > best_value:
                    best, best_value = tried, result
    return best

"""Rivals for new items: popularity of their categories, and means over the items whose content is most alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd

import recgan
from recgan import metrics
from recgan.cold.tower import unit
from recgan.content import Reader
from recgan.features import category_flags
from recgan.histories import Histories
from recgan.ranking import top_items
from recgan.schema import ITEM, RANK, SCORE, USER

WORDS = (1.0, 0.3, 0.0)
NEAREST = (5, 20, 50, 100, 200, 400)
PORTION = 500
MOST_USERS = 1000
Score = Callable[[Histories], np.ndarray]


@dataclass(frozen=True)
class Case:
    """Items that are ranked by their content for users of other items.

    Args:
        known: table of the N items of the histories.
        new: table of the M items that are ranked.
        counts: interactions of the known items, (N,).
        closed: scores of the known items by the model's closed form, (B, N) of B histories.
    """

    known: pd.DataFrame
    new: pd.DataFrame
    counts: np.ndarray
    closed: Score

    @property
    def alike(self) -> Callable[[float], np.ndarray]:
        """Cosines of the content by the factor of the words, (M, N)."""
        reader = Reader.of(self.known)
        return cache(
            lambda words: (
                unit(reader.read(self.new, {"words": words})) @ unit(reader.read(self.known, {"words": words})).T
            )
        )


def by_chance(case: Case, seed: int) -> Score:
    """Any order."""
    random = np.random.default_rng(seed)
    return lambda histories: random.random((len(histories), len(case.new)))


def by_category(case: Case, personal: bool) -> Score:
    """Mean popularity of the categories that an item has, or with the user's share of each as weights."""
    known, new = (category_flags(table) for table in (case.known, case.new))
    own = new.reindex(columns=known.columns, fill_value=0).to_numpy(np.float64)
    flags = known.to_numpy(np.float64)
    popular = own * (case.counts @ flags) / np.maximum(flags.sum(axis=0), 1)
    popular /= np.maximum(own.sum(axis=1, keepdims=True), 1)

    def score(histories: Histories) -> np.ndarray:
        mix = histories.matrix() @ flags if personal else np.ones((len(histories), flags.shape[1]))
        return np.asarray(mix @ popular.T)

    return score


def by_history(cosines: np.ndarray, k: int) -> Score:
    """Mean cosine with the k most alike items of the history."""

    def score(histories: Histories) -> np.ndarray:
        rows = [cosines[:, np.unique(histories.of(user))] for user in range(len(histories))]
        return np.stack([_largest(row, k).mean(axis=1) if row.shape[1] else row.sum(axis=1) for row in rows])

    return score


def by_neighbours(cosines: np.ndarray, k: int, closed: Score) -> Score:
    """Mean of the closed form's scores for the k most alike known items, weighted by the cosines."""
    least = _largest(cosines, k).min(axis=1, keepdims=True)
    shares = np.where(cosines >= least, np.maximum(cosines, 0.0), 0.0)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    return lambda histories: closed(histories) @ shares.T


def _largest(rows: np.ndarray, k: int) -> np.ndarray:
    return np.partition(rows, rows.shape[1] - k, axis=1)[:, -k:] if k < rows.shape[1] else rows


def lists(
    model: recgan.Recommender, grown: recgan.Recommender, users: pd.Series, k: int, seed: int
) -> dict[str, pd.DataFrame]:
    """Lists of the new items by every rival.

    Args:
        model: knows only the other items; brings histories and the closed form.
        grown: knows the content of the new ones.
        users: who gets lists.
        k: length of the lists.
        seed: of chance, and of the items that are hidden to choose the settings.
    """
    table, new = model.item_table, grown.item_table.iloc[len(model.items) :].reset_index(drop=True)
    dense = model._blocks.dense
    case = Case(table, new, model._histories.counts(), dense.scores)
    known = model._histories.take(model._users.numbers(users))
    scores = {
        "by chance": by_chance(case, seed),
        "popularity of its categories": by_category(case, personal=False),
        "the same by the user's mix of categories": by_category(case, personal=True),
    }
    alike, best = case.alike, _chosen(model, seed)
    words, nearest = best["history"]
    scores[f"content-kNN of the history (k {nearest}, words {words:g})"] = by_history(alike(words), nearest)
    words, nearest = best["neighbours"]
    name = f"content-kNN over the closed form (k {nearest}, words {words:g})"
    scores[name] = by_neighbours(alike(words), nearest, case.closed)
    return {name: _frame(score, known, users, new, k) for name, score in scores.items()}


def _frame(score: Score, known: Histories, users: pd.Series, new: pd.DataFrame, k: int) -> pd.DataFrame:
    found = [top_items(score(part).astype(np.float32), k) for part in _portions(known)]
    numbers, values = (np.concatenate([one[place] for one in found]) for place in (0, 1))
    width = numbers.shape[1]
    return pd.DataFrame(
        {
            USER: np.repeat(users.to_numpy(), width),
            ITEM: new[ITEM].to_numpy()[numbers.ravel()],
            RANK: np.tile(np.arange(1, width + 1), len(users)),
            SCORE: values.ravel().astype(np.float64),
        }
    )


def _portions(histories: Histories) -> Iterator[Histories]:
    for start in range(0, len(histories), PORTION):
        yield histories.take(np.arange(start, min(start + PORTION, len(histories))))


def _chosen(model: recgan.Recommender, seed: int) -> dict[str, tuple[float, int]]:
    """Factor of the words and number of neighbours of both rivals, best for a tenth of the known items, hidden."""
    random, histories, table = np.random.default_rng([seed, 11]), model._histories, model.item_table
    hidden = np.sort(random.permutation(len(table))[: len(table) // 10])
    kept = np.setdiff1d(np.arange(len(table)), hidden)
    place = np.full(len(table), -1)
    place[hidden] = np.arange(len(hidden))
    truth = histories.part(place[histories.items] >= 0)
    truth = replace(truth, items=place[truth.items], n_items=len(hidden))
    asked = random.permutation(np.flatnonzero(truth.lengths))[:MOST_USERS]
    past = histories.part(place[histories.items] < 0).take(asked)
    dense, truth = model._blocks.dense, truth.take(asked)
    own = np.full(len(table), -1)
    own[kept] = np.arange(len(kept))
    closed = dense.scores(past)[:, kept]
    past = replace(past, items=own[past.items], n_items=len(kept))
    tables = (table.iloc[rows].reset_index(drop=True) for rows in (kept, hidden))
    alike = Case(*tables, histories.counts()[kept], lambda _: closed).alike
    makers = {
        "history": lambda words, k: by_history(alike(words), k),
        "neighbours": lambda words, k: by_neighbours(alike(words), k, lambda _: closed),
    }

    def value(score: Score) -> float:
        numbers = top_items(score(past).astype(np.float32), 20)[0]
        return float(metrics.RANKING["ndcg"](truth.holds(numbers), truth.lengths, 20).mean())

    return {name: max(product(WORDS, NEAREST), key=lambda one: value(make(*one))) for name, make in makers.items()}

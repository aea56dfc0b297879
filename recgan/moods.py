"""Moods: draws of the noise that together explain a user's history, each with a list of its own and a name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from recgan.draws import wanted_vectors
from recgan.features import category_flags
from recgan.ranking import ABSENT, Query, Ranker
from recgan.schema import TITLE, YEAR

STRENGTH = 1.0
"""What a mood counts beside relevance, both in their deviations over the candidates."""

CATEGORY_SHARE = 0.5
"""What the categories that the moods cover count beside the history and the draws that they explain."""

SOON = 10
"""Items in which a category of the history is expected to come up again."""

LIFT, PREVALENCE, MOST_NAMES = 1.5, 0.5, 2
"""A mood is named by what is in half of its list, and this much more often than in the user's other moods."""


@dataclass(frozen=True)
class Mood:
    """One mode of a user's taste.

    Args:
        numbers: item numbers, best first, (<= n,) int64.
        scores: relevance under the mood, descending, (<= n,) float64.
        vector: the draw, a unit wanted vector, (D,) float32.
        share: of the history (without one, of the draws) that this mood explains best.
    """

    numbers: np.ndarray
    scores: np.ndarray
    vector: np.ndarray
    share: float


EMPTY = Mood(np.empty(0, np.int64), np.empty(0), np.empty(0, np.float32), 0.0)


def find_moods(ranker: Ranker, query: Query, n: int, moods: int, n_draws: int, seed: int) -> list[Mood]:
    """Several coherent lists for one user, an item in one of them only.

    Args:
        ranker: of the model.
        query: of one user.
        n: items in a list.
        moods: how many, at most as many as draws.
        n_draws: of the noise, among which they are found.
        seed: of the draws.

    Returns:
        The moods, the one that explains most first; fewer where the user may be shown too few items.
    """
    blocks = ranker.blocks
    numbers, relevance = ranker.rank(query, max(ranker.n_candidates, 2 * n * moods))
    there = numbers[0] != ABSENT
    numbers, relevance = numbers[0][there], relevance[0][there].astype(np.float64)
    if not n or not len(numbers):
        return []
    draws = wanted_vectors(blocks, query.histories, n_draws, seed)[0]
    scores = relevance + _mood_scores(blocks.columns[:, : draws.shape[1]][numbers], draws, relevance)
    chosen, share = _chosen(blocks.space, blocks.categories, query, draws, numbers, scores, n, moods)
    lists = _dealt(scores[chosen], n)
    found = [
        Mood(numbers[places], scores[draw, places], draws[draw], part)
        for draw, part, places in zip(chosen, share, lists, strict=True)
        if len(places)
    ]
    return sorted(found, key=lambda mood: -mood.share)


def _mood_scores(vectors: np.ndarray, draws: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """What each draw adds to the relevance of K candidates, (S, K): how much nearer it is than the mean draw."""
    nearer = (draws - draws.mean(axis=0)) @ vectors.T
    usual = nearer.std(axis=1).mean() if nearer.size else 0.0
    return np.asarray(STRENGTH * relevance.std() * nearer / usual if usual > 1e-6 else 0.0 * nearer, np.float64)


def _chosen(
    space: np.ndarray,
    categories: np.ndarray,
    query: Query,
    draws: np.ndarray,
    numbers: np.ndarray,
    scores: np.ndarray,
    n: int,
    moods: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws, one after the other, that together explain most of the history, and the share that each explains best.

    The gain of a draw is what it adds to the likeness of the history's items, and of the other draws, to the nearest
    chosen one (facility location), and to the categories of the history that the first n of its candidates have.
    """
    history = query.histories.of(0)
    top = numbers[np.argsort(-scores, axis=1, kind="stable")[:, :n]]  # (S, n)
    middle = space[top].mean(axis=1)
    middle /= np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-9)
    witnesses = [middle @ part.T / len(part) for part in (space[history], middle) if len(part)]
    likeness = np.concatenate(witnesses, axis=1)  # (S, H + S), every witness weighs the same in its part
    chance, shown = _expected(categories, history), (categories[top] > 0).any(axis=1)
    best, covered = np.full(likeness.shape[1], likeness.min(initial=0.0)), np.zeros(categories.shape[1], bool)
    chosen: list[int] = []
    while len(chosen) < min(moods, len(draws)):
        gain = np.maximum(likeness, best).sum(axis=1) + CATEGORY_SHARE * (shown | covered) @ chance
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        best, covered = np.maximum(best, likeness[chosen[-1]]), covered | shown[chosen[-1]]
    explained = likeness[chosen][:, : len(history) or len(draws)].argmax(axis=0)
    return np.array(chosen), np.bincount(explained, minlength=len(chosen)) / len(explained)


def _expected(categories: np.ndarray, history: np.ndarray) -> np.ndarray:
    """Chance of every category to come up in the next items, as shares of their sum, (Q,) float64."""
    often = (categories[history] > 0).mean(axis=0) if len(history) else np.zeros(categories.shape[1])
    chance = 1.0 - (1.0 - often) ** SOON
    return np.asarray(chance / max(chance.sum(), 1e-9))


def _dealt(scores: np.ndarray, n: int) -> list[np.ndarray]:
    """Places of every mood's candidates: in turn each takes its best one of those that are left, at most n."""
    order = np.argsort(-scores, axis=1, kind="stable")
    taken = np.zeros(scores.shape[1], bool)
    hands: list[list[int]] = [[] for _ in scores]
    for _ in range(n):
        for hand, ranked in zip(hands, order, strict=True):
            left = ranked[~taken[ranked]]
            if len(left):
                hand.append(int(left[0]))
                taken[left[0]] = True
    return [np.array(hand, np.int64) for hand in hands]


def names(moods: list[Mood], items: pd.DataFrame, space: np.ndarray, history: np.ndarray) -> list[str]:
    """What sets each mood apart from the user's other moods, such as "Film-Noir, 1940s".

    Args:
        moods: of one user.
        items: one row an item; categories, year and title are read where they exist.
        space: unit rows that say how alike items are, (N, Q) float32.
        history: item numbers of the user, (H,) int64.

    Returns:
        A name a mood: categories and decade that are more frequent in it than in the others; where none is, "like "
        and the title (or id) of the item of the history, or of its own list, that is nearest to it.
    """
    if not moods:
        return []
    shares = pd.concat([_flags(items.iloc[mood.numbers]).mean() for mood in moods], axis=1).fillna(0.0)
    table, labels = shares.to_numpy(), list(shares.index)
    return [
        ", ".join(_apart(table, labels, place)) or _likest(mood, items, space, history)
        for place, mood in enumerate(moods)
    ]


def _flags(items: pd.DataFrame) -> pd.DataFrame:
    """Categories and decades of some items as columns of 0 and 1."""
    parts = [category_flags(items)]
    if YEAR in items.columns:
        years = pd.to_numeric(items[YEAR], errors="coerce")
        decades = (years // 10 * 10).map(lambda year: f"{year:.0f}s", na_action="ignore")
        parts.append(pd.get_dummies(decades, dtype=float))
    both = pd.concat(parts, axis=1)
    if not both.columns.is_unique:  # a category may be called like a decade
        both = both.T.groupby(level=0, sort=False).max().T
    return both


def _apart(table: np.ndarray, labels: list[str], place: int) -> list[str]:
    """Labels that at least half of a mood's items have, and clearly more than those of the others; the surest first."""
    own, others = table[:, place], np.delete(table, place, axis=1)
    usual = others.mean(axis=1) if others.shape[1] else np.zeros(len(own))
    lift = own / (usual + 0.1)
    fits = np.flatnonzero((own >= PREVALENCE) & (lift >= LIFT))
    return [labels[label] for label in fits[np.argsort(-lift[fits], kind="stable")][:MOST_NAMES]]


def _likest(mood: Mood, items: pd.DataFrame, space: np.ndarray, history: np.ndarray) -> str:
    among = history if len(history) else mood.numbers
    likest = among[int((space[among] @ space[mood.numbers].mean(axis=0)).argmax())]
    row = items.iloc[int(likest)]
    title = row.get(TITLE)
    return f"like {row.iloc[0] if title is None or pd.isna(title) else title}"

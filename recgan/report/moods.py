"""What stands on the page about the noise: the moods of some users, and how sure the generator is of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recgan.draws import wanted_vectors
from recgan.generative import DRAWS, UNCERTAINTY
from recgan.moods import Mood
from recgan.recommender import Recommender
from recgan.report import figures
from recgan.report.page import Context, item
from recgan.report.reading import Catalogue
from recgan.report.theme import HUES, picture, plain
from recgan.schema import USER

N, MOODS = 5, 4
"""Length and number of the lists of a user."""

MOST_USERS = 1000
"""Most users in the figure of the uncertainty, beside those of the lists."""

ALIKE = 1e-6
"""Draws that lie no further apart than this (1 - cosine) have no modes."""


@dataclass(frozen=True)
class Cloud:
    """The draws of the noise for one user, on the plane of their two main directions.

    Args:
        name: of the user.
        draws: (S, 2).
        nearest: the mood that is nearest to each draw, (S,) int64.
        moods: the draws that became moods, (M, 2).
    """

    name: str
    draws: np.ndarray
    nearest: np.ndarray
    moods: np.ndarray


def moods(model: Recommender, catalogue: Catalogue, users: list[Any]) -> Context:
    """Lists of the moods of some users, and figures of their draws; no figure where the draws are alike.

    Args:
        model: read only.
        catalogue: its items.
        users: ids of known users.

    Returns:
        cards: name of the user, length of the history and the lists; n_draws; wide and narrow figures, or None.
    """
    cards, clouds = [], []
    for user in users:
        query = model._query(model._known([user]), items=None, exclude=None, filter_seen=True)
        found, names = model._find_moods(query, N, MOODS)
        lists = [_list(catalogue, *each) for each in zip(found, names, HUES, strict=False)]
        cards.append({"user": plain(user, 40), "length": int(query.histories.lengths[0]), "lists": lists})
        drawn = wanted_vectors(model._blocks, query.histories, DRAWS, model._config.seed)[0]
        clouds.append(_cloud(f"user {plain(user, 20)}", drawn, found))
    there = [cloud for cloud in clouds if cloud is not None]
    return {"cards": cards, "n_draws": DRAWS, **_pictures(there)}


def _list(catalogue: Catalogue, mood: Mood, name: str, hue: str) -> Context:
    pairs = zip(mood.numbers.tolist(), mood.scores.tolist(), strict=True)
    rows = [{**item(catalogue, number), "score": score} for number, score in pairs]
    return {"name": plain(name, 60), "share": mood.share, "hue": hue, "rows": rows}


def _cloud(name: str, drawn: np.ndarray, found: list[Mood]) -> Cloud | None:
    from sklearn.decomposition import PCA

    if not found or min(drawn.shape) < 2 or float(drawn.var(axis=0).sum()) < ALIKE:
        return None
    plane = PCA(2, svd_solver="full").fit(drawn)
    centres = np.stack([mood.vector for mood in found])
    return Cloud(name, plane.transform(drawn), (drawn @ centres.T).argmax(axis=1), plane.transform(centres))


def _pictures(clouds: list[Cloud]) -> Context:
    if not clouds:
        return {"wide": None, "narrow": None}
    rows = -(-len(clouds) // 2)
    return {
        "wide": picture("moods-wide", lambda f: figures.draws(f, clouds, 4), 13.0, 3.4 * -(-len(clouds) // 4)),
        "narrow": picture("moods-narrow", lambda f: figures.draws(f, clouds, 2), 5.2, 2.6 * rows),
    }


def uncertainty(model: Recommender, users: list[Any]) -> Context | None:
    """How sure the generator is of its users, against the length of their histories.

    Args:
        model: read only.
        users: ids of known users who are marked.

    Returns:
        Figure, rows of the marked users and what sums the others up; None where less than two users have a history, or
        the noise changes nothing.
    """
    lengths = pd.Series(model._histories.lengths, index=model.users.to_numpy())
    able = lengths[lengths > 0]
    if len(able) < 2:
        return None
    chosen = np.sort(np.random.default_rng(0).permutation(len(able))[:MOST_USERS])
    asked = pd.Index(able.index[chosen]).union(pd.Index(users, dtype=able.index.dtype).intersection(able.index))
    told = model.uncertainty(asked).set_index(USER)[UNCERTAINTY]
    if told.max() < ALIKE:
        return None
    rows = [_row(user, lengths[user], told) for user in users if user in told.index]
    x, y = able[told.index].to_numpy(), told.to_numpy()
    return {
        "rows": rows,
        "n_users": len(told),
        "median": float(told.median()),
        "correlation": _correlation(x, y),
        "figure": picture("uncertainty", lambda f: figures.uncertainty(f, x, y, rows)),
    }


def _row(user: Any, length: int, told: pd.Series) -> Context:
    value = float(told[user])
    return {"user": plain(user, 40), "length": int(length), "value": value, "surer": float((told > value).mean())}


def _correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Rank correlation; None where one of the two is the same for all."""
    ranks = pd.DataFrame({"x": x, "y": y}).rank()
    return None if ranks.std().min() == 0.0 else float(ranks.corr().to_numpy()[0, 1])

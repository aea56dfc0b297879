"""The lists of many users with titles and reasons, which the reader can search."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from recgan.ranking import ABSENT
from recgan.reasons import strongest
from recgan.recommender import Recommender
from recgan.report.reading import Catalogue
from recgan.report.theme import plain

N = 10
"""Length of a list."""

MOST_LISTS = 100
"""Most users whose lists can be searched, where the caller names none."""


def searchable(model: Recommender, catalogue: Catalogue, users: list[Any] | None) -> dict[str, Any]:
    """Lists of some users, every item with what pulled it in.

    Args:
        model: read only.
        catalogue: its items.
        users: ids of known users; None draws some who have a history.

    Returns:
        cards: user, length of the history and rows (name, categories, score, reasons as (name, share)); kinds: the
        categories that stand in the lists, the most frequent first; n_users: of the model; drawn: whether they were.
    """
    chosen = _drawn(model) if users is None else users
    cards = _cards(model, catalogue, chosen) if len(chosen) else []
    seen = Counter(kind for card in cards for row in card["rows"] for kind in row["categories"])
    kinds = sorted(seen, key=lambda kind: (-seen[kind], kind))
    return {"cards": cards, "kinds": kinds, "n_users": len(model.users), "drawn": users is None}


def _drawn(model: Recommender) -> list[Any]:
    able = np.flatnonzero(model._histories.lengths)
    chosen = np.sort(np.random.default_rng(0).permutation(able)[:MOST_LISTS])
    return list(model.users.iloc[chosen])


def _cards(model: Recommender, catalogue: Catalogue, users: list[Any]) -> list[dict[str, Any]]:
    query = model._query(model._known(users), items=None, exclude=None, filter_seen=True)
    numbers, scores = model._ranker.rank(query, min(N, len(catalogue.names)))
    because, shares = strongest(model._ranker, query, numbers)
    cards = []
    for place, user in enumerate(users):
        listed = zip(numbers[place], scores[place], because[place], shares[place], strict=True)
        rows = [_row(catalogue, *one) for one in listed if one[0] != ABSENT]
        cards.append({"user": plain(user, 40), "length": int(query.histories.lengths[place]), "rows": rows})
    return cards


def _row(
    catalogue: Catalogue, number: np.int64, score: np.float64, because: np.ndarray, shares: np.ndarray
) -> dict[str, Any]:
    told = zip(because.tolist(), shares.tolist(), strict=True)
    reasons = [(catalogue.names[one], share) for one, share in told if one != ABSENT]
    kinds = catalogue.categories[number]
    return {"name": catalogue.names[number], "categories": kinds, "score": float(score), "reasons": reasons}

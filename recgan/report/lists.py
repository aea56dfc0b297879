"""The lists of many users with titles and reasons, which the reader can search."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from recgan.reasons import pulls
from recgan.recommender import Recommender
from recgan.report.reading import Catalogue
from recgan.report.theme import plain

N, REASONS = 10, 2
"""Length of a list, and most reasons that stand beside an item."""

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
    cards = [_card(model, catalogue, user) for user in chosen]
    seen = Counter(kind for card in cards for row in card["rows"] for kind in row["categories"])
    kinds = sorted(seen, key=lambda kind: (-seen[kind], kind))
    return {"cards": cards, "kinds": kinds, "n_users": len(model.users), "drawn": users is None}


def _drawn(model: Recommender) -> list[Any]:
    able = np.flatnonzero(model._histories.lengths)
    chosen = np.sort(np.random.default_rng(0).permutation(able)[:MOST_LISTS])
    return list(model.users.iloc[chosen])


def _card(model: Recommender, catalogue: Catalogue, user: Any) -> dict[str, Any]:
    query = model._query(model._known([user]), items=None, exclude=None, filter_seen=True)
    numbers, scores = (rows[0] for rows in model._ranker.rank(query, min(N, len(catalogue.names))))
    there = numbers >= 0
    numbers, scores = numbers[there], scores[there]
    found = pulls(model._ranker, query, numbers)
    rows = []
    for place, (number, score) in enumerate(zip(numbers.tolist(), scores.tolist(), strict=True)):
        shares = found.shares(place)
        best = [one for one in np.argsort(-shares, kind="stable")[:REASONS].tolist() if shares[one] > 0.0]
        reasons = [(catalogue.names[found.history[one]], float(shares[one])) for one in best]
        kinds = catalogue.categories[number]
        rows.append({"name": catalogue.names[number], "categories": kinds, "score": score, "reasons": reasons})
    return {"user": plain(user, 40), "length": int(query.histories.lengths[0]), "rows": rows}

"""Are moods distinct, coherent, and do they reach more of a user's taste than one list of the same total length?"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from tables import Sheet
from tested import Tested, interval, likeness, models

from recgan import moods as taste
from recgan.draws import wanted_vectors
from recgan.fidelity import spread
from recgan.generative import DRAWS
from recgan.ranking import ABSENT

N, MOODS = 5, 4
SLATE = 4
ROWS = (
    ("likeness of categories inside a mood", "coherence, categories"),
    ("- inside the plain list of as many", "coherence, categories, plain short"),
    ("- inside the plain list of all", "coherence, categories, plain long"),
    ("- between two moods", "between, categories"),
    ("likeness of vectors inside a mood", "coherence, vectors"),
    ("- inside the plain list of as many", "coherence, vectors, plain short"),
    ("- inside the plain list of all", "coherence, vectors, plain long"),
    ("- between two moods", "between, vectors"),
    ("held-out categories reached by all moods", "categories reached"),
    ("- by the plain list of all", "categories reached, plain"),
    ("held-out items reached by all moods", "items reached"),
    ("- by the plain list of all", "items reached, plain"),
    ("moods that a category or decade names", "named"),
    ("spread of the draws (1 - cosine)", "spread"),
    ("nats an item: mixture of draws over the noise-free vector", "set likelihood"),
)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Every row of every user of every seed, as mean and interval."""
    found = [of_model(tested) for tested in models(options)]
    values = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    rows = {name: interval(value) for name, value in values.items()}
    return {"set": options.set, "seeds": options.seeds, "n": N, "moods": MOODS, "rows": rows}


def of_model(tested: Tested) -> dict[str, np.ndarray]:
    """The measurements of one model, (B,) each, NaN where a user has none."""
    plain, _ = tested.model._ranker.rank(tested.query, N * MOODS)
    users = [user for user in range(len(plain)) if (plain[user] != ABSENT).all()]
    rows = [_of_user(tested, user, plain[user]) for user in users]
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    wanted = wanted_vectors(tested.model._blocks, tested.query.histories, DRAWS)
    return {**found, "spread": spread(wanted), "set likelihood": _gained(tested, wanted)}


def _of_user(tested: Tested, user: int, plain: np.ndarray) -> dict[str, float]:
    model, query = tested.model, tested.query.take(np.array([user]))
    found = taste.find_moods(model._ranker, query, N, MOODS, DRAWS, 0)
    lists = np.stack([mood.numbers for mood in found])
    names = taste.names(found, model.item_table, model._blocks.space, query.histories.of(0))
    truth, row = tested.truth.of(user), {"named": float(np.mean([not name.startswith("like ") for name in names]))}
    for name, rows in (("categories", tested.categories), ("vectors", tested.vectors)):
        row |= _likenesses(name, rows, lists, plain)
    for name, numbers in (("", lists.ravel()), (", plain", plain)):
        row[f"items reached{name}"] = float(np.isin(truth, numbers).mean())
        wanted = (tested.categories[truth] > 0).any(axis=0)
        shown = (tested.categories[numbers] > 0).any(axis=0)
        row[f"categories reached{name}"] = float(shown[wanted].mean()) if wanted.any() else np.nan
    return row


def _likenesses(name: str, rows: np.ndarray, lists: np.ndarray, plain: np.ndarray) -> dict[str, float]:
    if not rows.shape[1]:
        rows = np.full((len(rows), 1), np.nan)
    middles = rows[lists].mean(axis=1)
    return {
        f"coherence, {name}": float(likeness(rows, lists).mean()),
        f"coherence, {name}, plain short": float(likeness(rows, plain[None, :N])[0]),
        f"coherence, {name}, plain long": float(likeness(rows, plain[None])[0]),
        f"between, {name}": float((middles @ middles.T)[~np.eye(len(middles), dtype=bool)].mean()),
    }


def _gained(tested: Tested, wanted: np.ndarray) -> np.ndarray:
    """Log-likelihood of held-out items that are alike under the mixture of draws, minus that of one vector; nats."""
    blocks, gained = tested.model._blocks, np.full(len(wanted), np.nan)
    vectors, space = torch.from_numpy(tested.model.item_vectors().to_numpy(copy=True)), blocks.space
    conditions, scale = blocks.conditions(tested.query.histories), float(blocks.generator.scale)
    for user in np.flatnonzero(tested.truth.lengths >= SLATE + 2):
        items = tested.truth.of(user)
        slate = items[np.argsort(-(space[items] @ space[items[0]]), kind="stable")[:SLATE]]
        single = (blocks.generator.wanted(conditions[user]) @ vectors.T).log_softmax(-1)[slate].sum()
        draws = (scale * torch.from_numpy(wanted[user]) @ vectors.T).log_softmax(-1)[:, slate].sum(1)
        gained[user] = float(draws.logsumexp(0) - np.log(len(draws)) - single) / SLATE
    return gained


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """One table."""
    title = f"Moods, {result['set']}: {result['moods']} lists of {result['n']}, {result['seeds']} seeds"
    rows = result["rows"]
    cells = [[label, *_cells(rows[name])] for label, name in ROWS if rows[name][0] is not None]
    return [Sheet(title, ["", "mean", "95 % interval"], cells)]


def _cells(row: list[float]) -> list[str]:
    return [f"{row[0]:.3f}", f"{row[1]:.3f} to {row[2]:.3f}"]

"""Gaps as a table, what is wanted in them told in attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recgan.attributes import TERMS, Attribute, AttributeDecoder
from recgan.gaps.holes import Gap
from recgan.gaps.wanted import Survey
from recgan.index import ItemIndex
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, RANK
from recgan.vocabulary import Vocabulary

NEAREST = 5
"""Items on offer that are named for every gap."""

USUAL = 20_000
"""Most wanted vectors that a gap's are compared with."""

NAMED = 3
"""Most categories and words that describe a gap."""


def gap_table(
    gaps: Sequence[Gap], found: Survey, vectors: np.ndarray, items: Vocabulary, decoder: AttributeDecoder
) -> pd.DataFrame:
    """One row a gap.

    Args:
        gaps: the most wanted first.
        found: the survey that they were found in.
        vectors: unit item vectors, (N, D) float32.
        items: ids of the items.
        decoder: of their attributes.

    Returns:
        A frame rank, kind, users, share, demand, p_value, categories, numbers, terms, gap, missing_items,
        nearest_items, nearest_gaps, as `Recommender.gaps` describes it.
    """
    kinds = pd.Series([gap.kind for gap in gaps], dtype=str)
    users = np.array([len(gap.users) for gap in gaps], np.int64)
    columns = {RANK: np.arange(1, len(gaps) + 1), "kind": kinds, "users": users, "share": users / len(found.wanted)}
    columns |= {"demand": [gap.demand for gap in gaps], "p_value": [gap.p_value for gap in gaps]}
    columns |= _told(gaps, found, decoder)
    columns["gap"] = [float(found.offered_gap[gap.draws].mean()) for gap in gaps]
    columns["missing_items"] = [items.ids(gap.missing).tolist() for gap in gaps]
    near = [_nearest(gap, found, vectors) for gap in gaps]
    columns["nearest_items"] = [items.ids(numbers).tolist() for numbers, _ in near]
    columns["nearest_gaps"] = [distances for _, distances in near]
    lists = dict.fromkeys(("missing_items", "nearest_items", "nearest_gaps"), object)
    return pd.DataFrame(columns).astype({"demand": float, "p_value": float, "gap": float, **lists})


def _told(gaps: Sequence[Gap], found: Survey, decoder: AttributeDecoder) -> dict[str, Any]:
    columns: dict[str, Any] = {CATEGORIES: pd.Series([""] * len(gaps), dtype=str)}
    draws = found.wanted.reshape(-1, found.wanted.shape[2])
    everything = draws[np.linspace(0, len(draws) - 1, min(len(draws), USUAL)).astype(np.int64)]
    for name in decoder.accuracy:
        attribute = decoder.get(name)
        if attribute is None:
            continue
        scores = attribute.scores(everything)
        inside = [attribute.scores(found.wanted[gap.draws]) for gap in gaps]
        if attribute.labels:
            separator = " " if name == TERMS else CATEGORY_SEPARATOR
            texts = [separator.join(named(attribute, part, scores)) for part in inside]
            columns[name] = pd.Series(texts, dtype=str)
        else:
            columns[name] = pd.Series([float(part.mean()) for part in inside], dtype=float)
    return columns


def named(attribute: Attribute, inside: np.ndarray, everything: np.ndarray) -> list[str]:
    """The labels that stand out in a gap, the most outstanding first.

    Args:
        attribute: with labels.
        inside: its scores of the wanted vectors in the gap, (M, Q).
        everything: its scores of all wanted vectors.

    Returns:
        At most three labels: those whose mean score is highest above that of all wanted vectors, in deviations, and at
        least half as far above as the first.
    """
    above = (inside.mean(axis=0) - everything.mean(axis=0)) / (everything.std(axis=0) + 1e-9)
    order = np.argsort(-above, kind="stable")[:NAMED]
    return [attribute.labels[label] for label in order if above[label] > max(0.0, 0.5 * above[order[0]])]


def _nearest(gap: Gap, found: Survey, vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Numbers of the items on offer nearest to the middle of a gap's wanted vectors, and 1 - cosine to it."""
    middle = found.wanted[gap.draws].mean(axis=0)
    cosines, places = ItemIndex(vectors[found.offered]).search(middle[None] / np.linalg.norm(middle), NEAREST)
    return found.offered[places[0]], (1.0 - cosines[0].astype(np.float64)).tolist()

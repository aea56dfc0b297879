"""Why an item is wanted: what each item of a history pulls, measured by leaving it out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from recgan.ranking import CELLS, Blocks, Query, Ranker
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR

MOST_REASONS = 500
"""Newest items of a history that are weighed as reasons."""

GENERATED, DISCRIMINATOR = "generated", "discriminator"


@dataclass(frozen=True)
class Pulls:
    """What the items of one history pull.

    Args:
        history: distinct item numbers, newest first, (H,) int64.
        names: of the P parts of the relevance, as in `Weights`.
        values: relevance of K items less the relevance without one item of the history, by part, (H, K, P) float64.
    """

    history: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray

    def shares(self, column: int) -> np.ndarray:
        """Shares of the history's items in what pulls item `column` in, (H,) float64; their sum is 1, or 0 for none."""
        pulled = np.maximum(self.values[:, column].sum(axis=1), 0.0)
        return np.asarray(pulled / max(pulled.sum(), 1e-30))

    def strongest(self, column: int) -> list[str]:
        """The part of the relevance through which each item of the history pulls most, H names."""
        return [self.names[part] for part in self.values[:, column].argmax(axis=1)]


def pulls(ranker: Ranker, query: Query, items: np.ndarray) -> Pulls:
    """Leave every item of a user's history out once, and see what the relevance of some items loses.

    For the linear blocks that is each item's exact contribution; for the generator, the least squares and the
    discriminator it is what the answer would be for a user who had everything but this item.

    Args:
        ranker: of the model.
        query: of one user; what is blocked does not count.
        items: item numbers, (K,) int64.

    Returns:
        The pulls of the newest 500 distinct items of the history.
    """
    own = query.histories.of(0)
    history = own[::-1][np.sort(np.unique(own[::-1], return_index=True)[1])][:MOST_REASONS]
    names, whole = _relevance(ranker, query, items)
    left = [np.empty((0, len(items), len(names)))]
    step = max(1, CELLS // max(len(own), 1, len(items)))
    for start in range(0, len(history), step):
        part = history[start : start + step]
        left.append(_relevance(ranker, _without_each(query, part), items)[1])
    return Pulls(history, names, whole - np.concatenate(left))


def _without_each(query: Query, left_out: np.ndarray) -> Query:
    """The user as often as items (H,) are to be left out, each time without one."""
    own = query.histories
    copies = query.take(np.zeros(len(left_out), np.int64))
    many = own.take(np.zeros(len(left_out), np.int64))
    histories = many.part(many.items != left_out[many.rows])
    return replace(copies, histories=histories)


def _relevance(ranker: Ranker, query: Query, items: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the parts of the relevance, and each part for K items and B users, (B, K, P) float64."""
    parts = _parts(ranker.blocks, query, items)
    weight = ranker.blocks.weights.discriminator
    if ranker.judge is not None and weight:
        asked = np.tile(items, (len(query.histories), 1))
        popular = ranker.blocks.fading_weights(query.histories)[1] * ranker.blocks.popularity[items]
        relevance = np.sum(list(parts.values()), axis=0) + popular
        parts[DISCRIMINATOR] = weight * ranker.judge.corrections(query, asked, relevance.astype(np.float32))
    return tuple(parts), np.stack(list(parts.values()), axis=-1).astype(np.float64)


def _parts(blocks: Blocks, query: Query, items: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted scores of stage one that hang on the history, (B, K) by the name of their weight."""
    histories, weights = query.histories, blocks.weights
    wanted = blocks.wanted(query, blocks.conditions(histories))
    vectors = blocks.columns[items, : wanted.shape[1]]
    parts = {GENERATED: blocks.fading_weights(histories)[0] * wanted @ vectors.T}
    for name in ("dense", "factors"):
        block, weight = getattr(blocks, name), getattr(weights, name)
        if block is not None and weight:
            parts[name] = weight * block.queries(histories) @ block.columns[items].T
    sparse = blocks.sparse_scores(histories)
    if sparse is not None:
        parts["sparse"] = sparse[:, items].toarray()
    return parts


def common_categories(items: pd.DataFrame, item: int, others: np.ndarray) -> list[str]:
    """Categories that an item shares with others, each joined by "|"; empty where the table knows none.

    Args:
        items: the item table, by item number.
        item: a number.
        others: the numbers of H others, (H,) int64.

    Returns:
        H strings.
    """
    if CATEGORIES not in items.columns:
        return [""] * len(others)
    named = [items[CATEGORIES].iloc[number] for number in (item, *others.tolist())]
    sets = [() if pd.isna(one) else tuple(str(one).split(CATEGORY_SEPARATOR)) for one in named]
    return [CATEGORY_SEPARATOR.join(name for name in sets[0] if name in one) for one in sets[1:]]

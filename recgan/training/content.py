"""What the content of items is good for: the tower of the items that were learned, and the items that were not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from recgan import changes
from recgan.cold import Chooser, Settings, Tower
from recgan.cold.smoothing import MOST_ITEMS
from recgan.config import Config
from recgan.content import Reader
from recgan.features import category_flags
from recgan.histories import Histories
from recgan.schema import ITEM
from recgan.storage import Parts
from recgan.training.validation import Validation


def with_content(
    parts: Parts, others: pd.DataFrame, validation: Validation, config: Config
) -> tuple[Parts, dict[str, Any]]:
    """The model with a tower, where its items carry content, and with the items that nobody has had yet.

    Nothing that was learned is changed: lists of the learned items stay as they are.

    Args:
        parts: of the trained model.
        others: checked table of the items without interactions; those without content are left out.
        validation: whom the settings are chosen for.
        config: settings of the run.

    Returns:
        The parts, and what the content is worth; JSON values, empty where there is none.
    """
    reader = Reader.of(parts.item_table)
    if not reader.columns and not category_flags(parts.item_table).shape[1]:
        return parts, {}
    settings, told = _chosen(parts, validation, config)
    tower = Tower.of(parts.item_table, settings)
    parts = replace(parts, tower=tower)
    ignored = [name for name in parts.item_table.columns if name != ITEM and name not in reader.columns]
    told |= {"columns": reader.columns, "ignored columns": ignored}
    if len(others):
        some = others[tower.told(others)].reset_index(drop=True)
        told |= {"new items": len(some), "items left out": len(others) - len(some)}
        parts = changes.with_new(parts, some, config) if len(some) else parts
    return parts, told


def _chosen(parts: Parts, validation: Validation, config: Config) -> tuple[Settings, dict[str, Any]]:
    """The best settings for the validation users; of a large catalogue, for its most popular part."""
    counts = parts.histories.counts()
    if len(validation) and len(counts) > MOST_ITEMS:
        rare = np.argsort(-counts, kind="stable")[MOST_ITEMS:]
        parts, validation = changes.removed(parts, rare, config), _without(validation, rare)
        counts = parts.histories.counts()
    if not len(validation) or not Reader.of(parts.item_table).columns or not validation.truth.lengths.any():
        return Settings(), {}
    query, truth = validation.query, validation.truth
    return Chooser(parts.item_table, counts, parts.blocks, query, truth, config.seed).choose()


def _without(validation: Validation, gone: np.ndarray) -> Validation:
    kept = np.setdiff1d(np.arange(validation.truth.n_items), gone)

    def left(histories: Histories) -> Histories:
        return changes.without(histories, kept)

    query = replace(
        validation.query, histories=left(validation.query.histories), blocked=left(validation.query.blocked)
    )
    return replace(validation, query=query, truth=left(validation.truth))

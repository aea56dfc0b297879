"""The tables as numbers: what one training run reads, and what it validates on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recgan.config import Config
from recgan.errors import DataError
from recgan.features import user_profiles
from recgan.histories import Histories
from recgan.interactions import read_interactions
from recgan.items import read_items, read_users
from recgan.ranking import Query
from recgan.schema import ITEM, USER
from recgan.splits import Holdout
from recgan.training.validation import Validation, carve, from_holdout
from recgan.vocabulary import Vocabulary


@dataclass(frozen=True)
class Data:
    """The tables as numbers.

    Args:
        users: numbers of the U users.
        items: numbers of the N items.
        histories: what the parts are fitted on.
        profiles: features of the users, (U, P) float32.
        item_table: one row an item, in the order of the numbers.
        validation: what weights and epochs are chosen on.
        whole: all interactions; more than `histories` where the validation was carved from them.
    """

    users: Vocabulary
    items: Vocabulary
    histories: Histories
    profiles: np.ndarray
    item_table: pd.DataFrame
    validation: Validation
    whole: Histories


def read_data(interactions: Any, items: Any, users: Any, validation: Holdout | None, config: Config) -> Data:
    """Read the tables of a run; arguments and errors as in `train`."""
    frame = read_interactions(interactions)
    user_vocabulary, item_vocabulary = Vocabulary.of(frame[USER]), Vocabulary.of(frame[ITEM])
    if len(item_vocabulary) < 2:
        raise DataError("interactions: one single item leaves nothing to choose from")
    item_table = pd.DataFrame({ITEM: item_vocabulary.all_ids})
    if items is not None:
        described = _same_ids(read_items(items), item_vocabulary, ITEM, "items")
        item_table = item_table.merge(described, on=ITEM, how="left")
    user_table = None if users is None else _same_ids(read_users(users), user_vocabulary, USER, "users")
    profiles = user_profiles(user_table, user_vocabulary.all_ids)
    whole = Histories.from_frame(frame, user_vocabulary, item_vocabulary)
    if validation is None:
        kept, hidden = carve(whole, config.max_validation_users, config.seed)
        chosen = np.flatnonzero(hidden.lengths)
        query = Query(kept.take(chosen), kept.take(chosen), profiles[chosen])
        inner = Validation(query, hidden.take(chosen), hidden.lengths[chosen], config.metric)
        return Data(user_vocabulary, item_vocabulary, kept, profiles, item_table, inner, whole)
    inner = from_holdout(
        validation,
        item_vocabulary,
        lambda ids: user_profiles(user_table, ids),
        config.metric,
        config.max_validation_users,
        config.seed,
    )
    return Data(user_vocabulary, item_vocabulary, whole, profiles, item_table, inner, whole)


def _same_ids(table: pd.DataFrame, vocabulary: Vocabulary, column: str, name: str) -> pd.DataFrame:
    if not vocabulary.same_type(table[column]):
        raise DataError(
            f"{name}: {column} holds ids such as {table[column].tolist()[0]!r}, the interactions hold "
            f"ids such as {vocabulary.all_ids.tolist()[0]!r}; convert one of them"
        )
    return table

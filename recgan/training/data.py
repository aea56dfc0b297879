"""The tables as numbers: what one training run reads, and what it validates on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from recgan.config import Config
from recgan.errors import DataError
from recgan.features import user_profiles
from recgan.histories import Histories, Strength, tastes
from recgan.interactions import by_taste, read_interactions
from recgan.items import read_items, read_users
from recgan.ranking import Query
from recgan.schema import ITEM, USER
from recgan.splits import Holdout
from recgan.training.validation import Validation, carve, from_holdout
from recgan.vocabulary import UNKNOWN, Vocabulary


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
        disliked: what must never be listed to the users; None for nothing.
        strength: what the weights of events are worth, as far as it is known.
        others: table of the items without interactions.
    """

    users: Vocabulary
    items: Vocabulary
    histories: Histories
    profiles: np.ndarray
    item_table: pd.DataFrame
    validation: Validation
    whole: Histories
    disliked: Histories | None = None
    strength: Strength = field(default_factory=Strength)
    others: pd.DataFrame = field(default_factory=pd.DataFrame)

    def strengthened(self, rule: Strength) -> Data:
        """The same with strengths in the place of the weights."""
        query = self.validation.query
        query = replace(query, histories=query.histories.strengthened(rule))
        histories, whole = self.histories.strengthened(rule), self.whole.strengthened(rule)
        return replace(
            self,
            histories=histories,
            validation=replace(self.validation, query=query),
            whole=histories if self.whole is self.histories else whole,
            strength=rule,
        )


def read_data(interactions: Any, items: Any, users: Any, validation: Holdout | None, config: Config) -> Data:
    """Read the tables of a run; arguments and errors as in `train`."""
    frame = read_interactions(interactions)
    liked = by_taste(frame)[0]
    user_vocabulary, item_vocabulary = Vocabulary.of(frame[USER]), Vocabulary.of(liked[ITEM])
    if liked.empty:
        raise DataError("interactions: no row has a weight above 0, so nobody likes anything")
    if len(item_vocabulary) < 2:
        raise DataError("interactions: one single item leaves nothing to choose from")
    item_table, others = _described(items, item_vocabulary)
    user_table = None if users is None else _same_ids(read_users(users), user_vocabulary, USER, "users")
    profiles = user_profiles(user_table, user_vocabulary.all_ids)
    whole, disliked = tastes(frame, user_vocabulary, item_vocabulary)
    if whole.weights is not None and np.ptp(whole.weights) == 0.0:
        whole = whole.strengthened(Strength())
    least = 0.0 if whole.weights is None else float(whole.weights.mean())
    kept = whole
    if validation is None:
        kept, inner = _carved(whole, disliked, profiles, least, config)
    else:

        def profiles_of(ids: pd.Series) -> np.ndarray:
            return user_profiles(user_table, user_vocabulary.all_ids, ids)

        limits = config.metric, config.max_validation_users, config.seed, least
        inner = from_holdout(validation, item_vocabulary, profiles_of, *limits)
    known = user_vocabulary, item_vocabulary, kept, profiles, item_table
    return Data(*known, inner, whole, disliked, others=others)


def _carved(
    whole: Histories, disliked: Histories | None, profiles: np.ndarray, least: float, config: Config
) -> tuple[Histories, Validation]:
    """Histories without what is hidden, and the validation that asks for it, as far as it weighs so much."""
    kept, hidden = carve(whole, config.max_validation_users, config.seed)
    if hidden.weights is not None:
        hidden = hidden.part(hidden.weights >= least)
    chosen = np.flatnonzero(hidden.lengths)
    history = kept.take(chosen)
    blocked = history if disliked is None else history.joined(disliked.take(chosen))
    query = Query(history, blocked, profiles[chosen])
    return kept, Validation(query, hidden.take(chosen), hidden.lengths[chosen], config.metric)


def _described(items: Any, vocabulary: Vocabulary) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of the items in the order of their numbers, and the rest of the table that was given."""
    table = pd.DataFrame({ITEM: vocabulary.all_ids})
    if items is None:
        return table, table[:0]
    described = _same_ids(read_items(items), vocabulary, ITEM, "items")
    unknown = vocabulary.numbers(described[ITEM]) == UNKNOWN
    return table.merge(described, on=ITEM, how="left"), described[unknown].reset_index(drop=True)


def _same_ids(table: pd.DataFrame, vocabulary: Vocabulary, column: str, name: str) -> pd.DataFrame:
    if not vocabulary.same_type(table[column]):
        raise DataError(
            f"{name}: {column} holds ids such as {table[column].tolist()[0]!r}, the interactions hold "
            f"ids such as {vocabulary.all_ids.tolist()[0]!r}; convert one of them"
        )
    return table

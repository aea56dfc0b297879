"""The tables as numbers: what one training run reads, and what it validates on.

Of interactions that are larger than memory a sample of the users is all that most of a training looks at; the generator
is trained on everybody, from disk.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from recgan import packing
from recgan.config import Config
from recgan.errors import DataError
from recgan.features import user_profiles
from recgan.foreign import as_frame
from recgan.histories import Histories, Strength, tastes
from recgan.interactions import by_taste, read_interactions
from recgan.items import read_items, read_users
from recgan.packing import Packed, packed, rows_on_disk, without
from recgan.ranking import Query
from recgan.schema import ITEM, USER
from recgan.splits import Holdout
from recgan.training.validation import Validation, carve, enough, from_holdout
from recgan.vocabulary import UNKNOWN, Vocabulary

HEAVY = 100
"""Users with more than this part of the rows that memory may hold are not drawn."""


@dataclass(frozen=True)
class Everyone:
    """All users, where the rest of the data is a sample of them; the histories lie on disk.

    Args:
        users: numbers of the U users.
        histories: all that they like.
        streamed: what of it the generator is trained on while validation judges.
        profiles: features of the users, (U, P) float32.
        disliked: what must never be listed to them; None for nothing.
    """

    users: Vocabulary
    histories: Histories
    streamed: Histories
    profiles: np.ndarray
    disliked: Histories | None

    def strengthened(self, rule: Strength) -> Everyone:
        """The same with strengths in the place of the weights."""
        histories, streamed = (packing.strengthened(one, rule) for one in (self.histories, self.streamed))
        return replace(self, histories=histories, streamed=streamed)


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
        everyone: all users, where those above are a sample; None where they are all.
        unliked: user_id and item_id of the dislikes of such items.
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
    everyone: Everyone | None = None
    unliked: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[USER, ITEM]))

    @property
    def streamed(self) -> Histories:
        """What the generator is trained on while validation judges."""
        return self.histories if self.everyone is None else self.everyone.streamed

    @property
    def all_histories(self) -> Histories:
        """Everything that is known of everybody."""
        return self.whole if self.everyone is None else self.everyone.histories

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
            everyone=None if self.everyone is None else self.everyone.strengthened(rule),
        )


def read_data(interactions: Any, items: Any, users: Any, validation: Holdout | None, config: Config) -> Data:
    """Read the tables of a run; arguments and errors as in `train`."""
    validation = None if validation is None else Holdout.checked(validation)
    large = rows_on_disk(interactions) > config.rows_in_memory
    table = packed(interactions) if large else _numbers(read_interactions(interactions))
    if not len(table.items):
        raise DataError("interactions: no row has a weight above 0, so nobody likes anything")
    if len(table.items) < 2:
        raise DataError("interactions: one single item leaves nothing to choose from")
    item_table, others = _described(items, table.items)
    user_table = None if users is None else _same_ids(read_users(users), table.users, USER, "users")
    if user_table is not None:
        _warn_of_strangers(table.users.numbers(user_table[USER]), user_table[USER], table.users, "users")
    some, drawn = _sampled(table, config) if large else (table, np.arange(len(table.users)))
    profiles = user_profiles(user_table, table.users.all_ids)
    own = profiles[drawn]
    whole, disliked = some.liked, some.disliked
    if whole.weights is not None and np.ptp(whole.weights) == 0.0:
        whole = whole.strengthened(Strength())
    least = 0.0 if whole.weights is None else float(whole.weights.mean())
    kept = whole
    if validation is None:
        kept, inner = _carved(whole, disliked, own, least, config)
    else:

        def profiles_of(ids: pd.Series) -> np.ndarray:
            return user_profiles(user_table, table.users.all_ids, ids)

        parts = {"history": validation.history, "truth": validation.truth}
        read = {name: _same_ids(as_frame(one), table.items, ITEM, f"validation.{name}") for name, one in parts.items()}
        limits = config.metric, config.max_validation_users, config.seed, least
        inner = from_holdout(Holdout(**read), table.items, profiles_of, *limits)
    known = some.users, table.items, kept, own, item_table
    unliked = table.unliked[table.unliked[ITEM].isin(others[ITEM])]
    data = Data(*known, inner, whole, disliked, others=others, unliked=unliked)
    return replace(data, everyone=_everyone(table, profiles, data, drawn)) if large else data


def _numbers(frame: pd.DataFrame) -> Packed:
    """A table in memory as numbers."""
    liked, disliked = by_taste(frame)
    users, items = Vocabulary.of(frame[USER]), Vocabulary.of(liked[ITEM])
    unliked = disliked[[USER, ITEM]][items.numbers(disliked[ITEM]) == UNKNOWN]
    return Packed(users, items, *tastes(frame, users, items), unliked)


def _sampled(table: Packed, config: Config) -> tuple[Packed, np.ndarray]:
    """Random users with as many rows as memory may hold, in memory, and their numbers in the table.

    Whoever has more than a hundredth of these rows, and than ten usual users, is left out: one such user is no sample.
    """
    lengths, most = table.liked.lengths, config.rows_in_memory
    order = np.random.default_rng([config.seed, 2]).permutation(len(lengths))
    usual = order[lengths[order] <= max(most // HEAVY, 10 * int(np.median(lengths)))]
    drawn = np.sort(usual[: max(1, int((np.cumsum(lengths[usual]) <= most).sum()))])
    disliked = None if table.disliked is None else table.disliked.take(drawn)
    some = Vocabulary(table.users.ids(drawn), USER)
    return Packed(some, table.items, table.liked.take(drawn), disliked, table.unliked), drawn


def _everyone(table: Packed, profiles: np.ndarray, data: Data, drawn: np.ndarray) -> Everyone:
    """All users, of whom nothing is streamed that was hidden from those who are drawn."""
    whole, kept, streamed = data.whole, data.histories, table.liked
    if len(kept.items) < len(whole.items):
        gone, until = whole.part(~np.isin(whole.pairs, kept.pairs)), np.inf
        if whole.clock and kept.newest < gone.oldest:  # what came after a moment is hidden
            until = gone.oldest
        streamed = without(table.liked, gone.spread(drawn, len(table.users)), until)
    return Everyone(table.users, table.liked, streamed, profiles, table.disliked)


def _carved(
    whole: Histories, disliked: Histories | None, profiles: np.ndarray, least: float, config: Config
) -> tuple[Histories, Validation]:
    """Histories without what is hidden, and the validation that asks for it, as far as it weighs enough."""
    kept, hidden = carve(whole, config.max_validation_users, config.seed)
    if hidden.weights is not None:
        weighty = hidden.part(hidden.weights >= least)
        hidden = weighty if enough((weighty.lengths > 0).sum(), (hidden.lengths > 0).sum()) else hidden
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
    place = vocabulary.numbers(described[ITEM])
    _warn_of_strangers(place, described[ITEM], vocabulary, "items")
    known = described.drop(columns=ITEM)[place != UNKNOWN].set_index(place[place != UNKNOWN])
    if len(known) < len(table):  # a flag of nobody is neither true nor false
        known = known.astype({name: np.float64 for name, dtype in known.dtypes.items() if dtype == np.bool_})
    others = described[place == UNKNOWN].reset_index(drop=True)
    return pd.concat([table, known.reindex(np.arange(len(table)))], axis=1), others


def _warn_of_strangers(place: np.ndarray, ids: pd.Series, vocabulary: Vocabulary, name: str) -> None:
    """Tell when a table describes nothing that occurs, which a wrong column of ids does."""
    if len(place) and (place == UNKNOWN).all():
        such, known = ids.tolist()[0], vocabulary.all_ids.tolist()[0]
        told = f"{name}: none of its {len(place):,} ids, such as {such!r}, occurs in the interactions"
        warnings.warn(f"{told}, which hold such as {known!r}; is it the right column?", stacklevel=4)


def _same_ids(table: pd.DataFrame, vocabulary: Vocabulary, column: str, name: str) -> pd.DataFrame:
    if len(table) and not vocabulary.same_type(table[column]):
        raise DataError(
            f"{name}: {column} holds ids such as {table[column].tolist()[0]!r}, the interactions hold "
            f"ids such as {vocabulary.all_ids.tolist()[0]!r}; convert one of them"
        )
    return table

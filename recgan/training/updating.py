"""New events in a trained model: histories, popularity and closed forms anew, the generator only on request."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from recgan import changes, storage
from recgan.errors import ArtifactError, ConfigError, DataError
from recgan.features import ItemTraits, category_flags
from recgan.histories import Histories, Strength, fingerprint
from recgan.interactions import by_taste, read_interactions
from recgan.progress import Progress
from recgan.ranking import Blocks, Judge, Query, Weights
from recgan.recommender import Recommender
from recgan.schema import ITEM, TIMESTAMP, USER, WEIGHT, order_column, shown
from recgan.tables import Source
from recgan.training.closed import refits
from recgan.training.data import Data
from recgan.training.phases import Phases
from recgan.training.plan import plan
from recgan.training.preferences import fit_preferences
from recgan.training.short import opened
from recgan.training.validation import LINEAR, Validation
from recgan.vocabulary import UNKNOWN, Vocabulary

TUNED_SHARE = 0.1
"""Epochs of fine-tuning, as a share of those that the ranking phase took to its best; one at least."""


def update(model: Recommender, new_interactions: Source, fine_tune: bool = False) -> Recommender:
    """A model that knows of new events; the old one stays as it is.

    Histories of known and new users take the events in; where a pair was known before, the new event replaces the old
    one. Popularity, the closed forms and what the second stage knows of the items are fitted anew to all histories,
    with the settings that validation chose in training; weights of the parts stay. The generator serves the new
    histories as it is, or is trained for some more epochs.

    Args:
        model: stays as it is.
        new_interactions: as for `train`: user_id, item_id, and timestamp where the model was trained with timestamps.
            Without a clock the new events come after the old ones, by position or as they stand. Weights are read by
            the model's rule, dislikes as in `read_interactions`.
        fine_tune: whether the generator is trained for a tenth of the epochs of its training, on all histories.

    Returns:
        The new model; `info()["updates"]` counts what came in. Items that the model does not know are left out with a
        warning; train anew to have them. Lists of `update(model, ...)` and of a model that is trained anew differ in
        the generator, the weights of the parts and the settings alone. The index of an approximate search is made anew.

    Raises:
        DataError: when the table cannot be used, its ids are of another type, or no row has an item that is known.
        ConfigError: when `model` is no Recommender, or the kind of search that was asked for no longer comes as near.
        ArtifactError: when the model does not say how its closed forms were fitted.
    """
    if not isinstance(model, Recommender):
        raise ConfigError(f"model: a Recommender, not {type(model).__name__}")
    frame = _readable(model, read_interactions(new_interactions))
    near, liked_items = model._ranker.near, model._items.numbers(by_taste(frame)[0][ITEM])
    model = model.of(changes.settled(model._parts, liked_items, model._config), model._config, model._report)
    users, liked, disliked = _Known.of(model).joined(frame)
    profiles = np.zeros((len(users), model._profiles.shape[1]), np.float32)
    profiles[: len(model._users)] = model._profiles
    whole = replace(model._parts, users=users, histories=liked, profiles=profiles, disliked=disliked)
    parts = changes.learned_alone(whole, model._config)
    known = parts.users, parts.items, parts.histories, parts.profiles, parts.item_table
    data = Data(*known, _nobody(parts.histories, profiles), parts.histories, parts.disliked)
    blocks = _refitted(parts.blocks, model, data.whole)
    tuned = bool(fine_tune) and _is_trained(model)
    if tuned:
        blocks = _fine_tuned(model, blocks, data)
    report = _report(model, replace(data, whole=liked), len(frame), tuned)
    parts = replace(parts, blocks=blocks, judge=_informed(parts.judge, blocks, data))
    newer = type(model).of(changes.with_the_rest(parts, whole, model._config), model._config, report)
    return newer if near is None else newer.with_search(near.asked.kind, near.asked.recall, near.asked.memory)


def _readable(model: Recommender, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of known items."""
    for column, vocabulary in ((USER, model._users), (ITEM, model._items)):
        if not vocabulary.same_type(frame[column]):
            new, known = (shown(ids.tolist()[0]) for ids in (frame[column], vocabulary.ids([0])))
            raise DataError(
                f"new_interactions: {column} holds ids such as {new}, the model knows ids such as {known}; convert one "
                "of them"
            )
    if model._histories.clock and TIMESTAMP not in frame.columns:
        raise DataError("new_interactions: column 'timestamp' missing; the model was trained with one")
    strange = model._items.numbers(frame[ITEM]) == UNKNOWN
    if strange.all():
        raise DataError("new_interactions: the model knows none of the items; train anew")
    if strange.any():
        items = frame[ITEM][strange]
        warnings.warn(
            f"new_interactions: {int(strange.sum())} of {len(frame)} rows have one of {items.nunique()} items that the "
            f"model does not know, such as {shown(items.tolist()[0])}; they are left out",
            stacklevel=3,
        )
    readable: pd.DataFrame = frame[~strange]
    return readable


@dataclass(frozen=True)
class _Known:
    """What a model remembers, one row a pair of numbers.

    Args:
        users: numbers of the known users.
        items: numbers of the items.
        rows: user, item, time, strength and taste (1, or -1 for a dislike).
        histories: of the model.
        strength: the model's rule for weights.
    """

    users: Vocabulary
    items: Vocabulary
    rows: pd.DataFrame
    histories: Histories
    strength: Strength

    @classmethod
    def of(cls, model: Recommender) -> _Known:
        """What a model remembers."""
        parts = [_rows(model._histories, 1)] + ([] if model._disliked is None else [_rows(model._disliked, -1)])
        rows = pd.concat(parts, ignore_index=True)
        return cls(model._users, model._items, rows, model._histories, model._blocks.strength)

    def joined(self, frame: pd.DataFrame) -> tuple[Vocabulary, Histories, Histories | None]:
        """All users, their histories, and what they dislike, with the events of a frame of known items."""
        users = self.users.extended(frame[USER])
        rows = pd.concat([self.rows, self._numbered(frame, users)], ignore_index=True)
        rows = rows.drop_duplicates(["user", "item"], keep="last")
        liked, disliked = rows[rows["taste"] > 0], rows[rows["taste"] < 0]
        refused = self._histories(disliked, users) if len(disliked) else None
        return users, self._histories(liked, users), refused

    def _numbered(self, frame: pd.DataFrame, users: Vocabulary) -> pd.DataFrame:
        likes = np.isin(np.arange(len(frame)), by_taste(frame.reset_index(drop=True))[0].index)
        numbers = {"user": users.numbers(frame[USER]), "item": self.items.numbers(frame[ITEM])}
        rows = pd.DataFrame({**numbers, "time": 0.0, "strength": np.float32(1.0), "taste": np.where(likes, 1, -1)})
        if WEIGHT in frame.columns and self.strength.power:
            rows.loc[likes, "strength"] = self.strength.of(frame[WEIGHT].to_numpy(np.float32)[likes])
        column = order_column(frame)
        if self.histories.clock:
            rows["time"] = frame[TIMESTAMP].to_numpy(np.float64)
        elif self.histories.ordered:  # after all that is there, in the order of the new events
            place = np.arange(len(frame)) if column is None else frame[column].rank(method="first").to_numpy()
            rows["time"] = place + 1.0 + self.rows["time"].to_numpy().max(initial=-1.0)
        return rows

    def _histories(self, rows: pd.DataFrame, users: Vocabulary) -> Histories:
        order = np.lexsort((rows["time"], rows["user"]))
        user, item, time = (rows[name].to_numpy()[order] for name in ("user", "item", "time"))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(users)))])
        weighs = self.histories.weights is not None
        weights = rows["strength"].to_numpy(np.float32)[order] if weighs else None
        times = time if self.histories.ordered else None
        return Histories(offsets, item, len(self.items), times, self.histories.clock, weights)


def _rows(histories: Histories, taste: int) -> pd.DataFrame:
    times = 0.0 if histories.times is None else histories.times
    strengths = np.float32(1.0) if histories.weights is None else histories.weights
    return pd.DataFrame(
        {"user": histories.rows, "item": histories.items, "time": times, "strength": strengths, "taste": taste}
    )


def _refitted(blocks: Blocks, model: Recommender, histories: Histories) -> Blocks:
    """The closed forms that count, and popularity, fitted to other histories."""
    try:
        fits = refits(model._report, model._config.seed)
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"update: the model does not say how its closed forms were fitted ({error} is missing); train anew"
        ) from error
    counting = [name for name in LINEAR if getattr(blocks.weights, name)]
    closed: Mapping[str, Any] = {name: fits[name](histories) for name in (*counting, "popularity")}
    return replace(blocks, **closed, opening=opened(model._report, histories, closed["popularity"]))


def _is_trained(model: Recommender) -> bool:
    return bool(model._blocks.weights.generated and model._report["ranking"]["best_epoch"])


def _fine_tuned(model: Recommender, blocks: Blocks, data: Data) -> Blocks:
    config, kind = model._config, blocks.generator.encoder.kind
    made = plan(config, data.whole, kind)
    decay = model._report.get("plan", {}).get("weight_decay", made.weight_decay)
    made = replace(made, window=blocks.window, weight_decay=decay)
    half_life = model._report["half_life"] if kind == "sequence" else None
    epochs = max(1, math.ceil(TUNED_SHARE * model._report["ranking"]["best_epoch"]))
    with Progress(config.progress) as progress:
        progress.stage("fine-tuning")
        phases = Phases(data, config, made, Weights(), half_life, "dense", progress)
        tuned = phases.more_epochs(blocks, epochs)
    if phases.stopped:
        warnings.warn("fine-tuning was interrupted: the generator is what it was", stacklevel=3)
    elif blocks.preferences is not None:
        names = list(model._learned_categories)
        flags = category_flags(data.item_table).reindex(columns=names, fill_value=0).to_numpy(np.float32)
        tuned = replace(tuned, preferences=fit_preferences(tuned, data.whole, flags, config.seed))
    return tuned


def _informed(judge: Judge | None, blocks: Blocks, data: Data) -> Judge | None:
    """The second stage with what it reads of the items, from all histories."""
    if judge is None:
        return None
    vectors = blocks.generator.item_vectors().numpy()
    return replace(judge, traits=ItemTraits.of(data.whole, data.item_table, blocks.categories, vectors, data.profiles))


def _nobody(histories: Histories, profiles: np.ndarray) -> Validation:
    """A validation of no users: nothing is chosen in an update."""
    none = histories.take(np.empty(0, np.int64))
    return Validation(Query(none, none, profiles[:0]), none, np.empty(0, np.int64), "ndcg@10")


def _report(model: Recommender, data: Data, came: int, tuned: bool) -> dict[str, Any]:
    report = storage.copied(model._report)
    before = len(model._users)
    report["data"] = fingerprint(data.whole)
    report.setdefault("updates", []).append(
        {"interactions": came, "new_users": len(data.users) - before, "fine_tuned": tuned}
    )
    return report

"""A model with more or fewer items, without training: its parts go in, new parts come out."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from recgan.cold import Tower, grown, item_arrays, shrunk, with_items
from recgan.cold.arrays import BIAS
from recgan.config import Config
from recgan.errors import ConfigError, DataError
from recgan.histories import Histories
from recgan.items import check_kept, read_items
from recgan.schema import ITEM, Problems, shown
from recgan.storage import Parts
from recgan.tables import Source
from recgan.vocabulary import UNKNOWN, Vocabulary

FEWEST = 2
"""Items that a catalogue must keep."""


def added(parts: Parts, source: Source, config: Config) -> Parts:
    """The model with new items; see `Growing.add_items`."""
    table, tower = read_items(source), _tower(parts, "add_items")
    _check_types(table, parts.items)
    known = parts.items.numbers(table[ITEM]) != UNKNOWN
    problems = Problems("add_items")
    if known.any():
        first = shown(table[ITEM][known].tolist()[0])
        problems.add(f"item {first} is in the catalogue already: use update_items", np.flatnonzero(known))
    _check_content(tower, table, problems)
    return with_new(parts, table, config)


def with_new(parts: Parts, table: pd.DataFrame, config: Config) -> Parts:
    """The model with the items of a checked table behind its own."""
    tower = _tower(parts, "add_items")
    arrays = item_arrays(parts.blocks, parts.judge)
    counts, first = parts.histories.counts(), slice(tower.learned)
    learned = {name: array[first] for name, array in arrays.items()}
    predicted, kin = tower.predict(table, parts.item_table.iloc[first], counts[first], learned)
    joined = {name: np.concatenate([array, predicted[name]]) for name, array in arrays.items()}
    rows = None
    if parts.blocks.sparse is not None:
        kin.resize(len(table), len(counts))
        rows = grown(parts.blocks.sparse.rows, kin)
    items = parts.items.extended(table[ITEM])
    blocks, judge = with_items(parts.blocks, parts.judge, joined, rows, config)
    return replace(
        parts,
        items=items,
        histories=replace(parts.histories, n_items=len(items)),
        disliked=None if parts.disliked is None else replace(parts.disliked, n_items=len(items)),
        item_table=_joined(parts.item_table, table, items),
        blocks=blocks,
        judge=judge,
    )


def removed(parts: Parts, numbers: np.ndarray, config: Config) -> Parts:
    """The model without the items of some numbers; see `Growing.remove_items`."""
    kept = np.setdiff1d(np.arange(len(parts.items)), numbers)
    if len(kept) < FEWEST:
        raise DataError(f"remove_items: {len(kept)} items would be left, at least {FEWEST} are needed")
    learned = len(kept) if parts.tower is None else int((kept < parts.tower.learned).sum())
    if learned < FEWEST:
        raise DataError(
            f"remove_items: {learned} items would be left that were learned in training, at least {FEWEST} are needed "
            "to predict the others from: update the model with events of these, or train it anew, first"
        )
    return _taken(parts, kept, learned, config)


def _taken(parts: Parts, kept: np.ndarray, learned: int, config: Config) -> Parts:
    """The model with the items of some numbers, in their order, of which the first ones are learned."""
    arrays = {name: array[kept] for name, array in item_arrays(parts.blocks, parts.judge).items()}
    sparse, tower = parts.blocks.sparse, parts.tower
    rows = None if sparse is None else shrunk(sparse.rows, kept)
    blocks, judge = with_items(parts.blocks, parts.judge, arrays, rows, config)
    return replace(
        parts,
        items=Vocabulary(parts.items.ids(kept), ITEM),
        histories=without(parts.histories, kept),
        disliked=None if parts.disliked is None else without(parts.disliked, kept),
        item_table=parts.item_table.iloc[kept].reset_index(drop=True),
        blocks=blocks,
        judge=judge,
        tower=None if tower is None else replace(tower, learned=learned),
    )


def settled(parts: Parts, seen: np.ndarray, config: Config) -> Parts:
    """The model in which new items that somebody has had by now count as learned; these come before the others.

    Args:
        parts: of the model.
        seen: numbers of items of new events.
        config: settings of the model.

    Returns:
        The parts, with the items in another order where some are new.
    """
    if parts.tower is None or parts.tower.learned == len(parts.items):
        return parts
    had = np.bincount(np.concatenate([parts.histories.items, seen]), minlength=len(parts.items)) > 0
    had[: parts.tower.learned] = True
    kept = np.argsort(~had, kind="stable")
    settled = _taken(parts, kept, int(had.sum()), config)
    bias = item_arrays(settled.blocks, None)[BIAS].copy()
    bias[: int(had.sum())] = 0.0
    return replace(settled, blocks=replace(settled.blocks, bias=bias if bias.any() else None))


def updated(parts: Parts, source: Source, config: Config) -> Parts:
    """The model with other content of known items; see `Growing.update_items`."""
    table, tower = read_items(source), _tower(parts, "update_items")
    _check_types(table, parts.items)
    tower.reader.check(table)
    numbers = parts.items.numbers(table[ITEM])
    problems = Problems("update_items")
    if (unknown := numbers == UNKNOWN).any():
        first = shown(table[ITEM][unknown].tolist()[0])
        problems.add(f"item {first} is not in the catalogue: use add_items", np.flatnonzero(unknown))
    new = numbers >= tower.learned
    merged = _changed(parts.item_table, table[~unknown], numbers[~unknown])
    for name in merged.columns.intersection(table.columns):
        check_kept(merged[name], problems)
    _check_content(tower, merged.iloc[numbers[new]].reset_index(drop=True), problems)
    parts = replace(parts, item_table=merged)
    if (~new).any():
        parts = _reread(parts, tower, numbers[~new], config)
    return _predicted_again(parts, config) if new.any() else parts


def _predicted_again(parts: Parts, config: Config) -> Parts:
    """All items that are not learned, from their content as it is now; the numbers of all items stay."""
    return with_the_rest(learned_alone(parts, config), parts, config)


def learned_alone(parts: Parts, config: Config) -> Parts:
    """The model without the items that are not learned."""
    learned = len(parts.items) if parts.tower is None else parts.tower.learned
    return _taken(parts, np.arange(learned), learned, config) if learned < len(parts.items) else parts


def with_the_rest(learned: Parts, whole: Parts, config: Config) -> Parts:
    """The learned items of a model, and behind them its others, predicted; with the histories of the whole."""
    table = whole.item_table
    rest = table.iloc[len(learned.items) :].reset_index(drop=True)
    again = with_new(learned, rest, config) if len(rest) else learned
    return replace(again, item_table=table, histories=whole.histories, disliked=whole.disliked)


def _reread(parts: Parts, tower: Tower, numbers: np.ndarray, config: Config) -> Parts:
    """Categories and years of learned items as their content is now; what was learned of them stays."""
    arrays = item_arrays(parts.blocks, parts.judge)
    for name, values in tower.read(parts.item_table.iloc[numbers]).items():
        if name in arrays:
            arrays[name] = arrays[name].copy()
            arrays[name][numbers] = values
    rows = None if parts.blocks.sparse is None else parts.blocks.sparse.rows
    blocks, judge = with_items(parts.blocks, parts.judge, arrays, rows, config)
    return replace(parts, blocks=blocks, judge=judge)


def _tower(parts: Parts, call: str) -> Tower:
    if parts.tower is None:
        raise ConfigError(f"{call}: the model knows no content of items; train it with items= that have some")
    return parts.tower


def _check_types(table: pd.DataFrame, items: Vocabulary) -> None:
    if not items.same_type(table[ITEM]):
        raise DataError(
            f"items: {ITEM} holds ids such as {shown(table[ITEM].tolist()[0])}, the catalogue ids such as "
            f"{shown(items.ids([0]).tolist()[0])}; convert one of them"
        )


def _check_content(tower: Tower, table: pd.DataFrame, problems: Problems) -> None:
    """Refuse items of which the tower knows nothing, and warn of categories that it does not know."""
    bare = ~tower.told(table)
    if bare.any():
        read = ", ".join(tower.reader.columns)
        first = shown(table[ITEM][bare].tolist()[0])
        problems.add(
            f"item {first} has no content that the model knows; it reads {read}, of which at least one must hold "
            "something that it has seen",
            np.flatnonzero(bare),
        )
    problems.raise_if_any()
    if strange := tower.unknown_categories(table):
        warnings.warn(
            f"items: {len(strange)} categories that the model has not learned, such as {strange[0]!r}, tell it nothing",
            stacklevel=4,
        )


def _joined(old: pd.DataFrame, new: pd.DataFrame, items: Vocabulary) -> pd.DataFrame:
    """Both tables, the columns of the first, one behind the other."""
    columns = {
        name: _typed([*old[name], *(new[name] if name in new.columns else [None] * len(new))], old[name])
        for name in old.columns
    }
    return pd.DataFrame({**columns, ITEM: items.all_ids})


def _changed(old: pd.DataFrame, new: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    """The table with other values in the rows of some numbers, in the columns that the new one has too."""
    columns = {name: old[name] for name in old.columns}
    for name in [name for name in old.columns if name in new.columns and name != ITEM]:
        values = old[name].tolist()
        for number, value in zip(numbers.tolist(), new[name].tolist(), strict=True):
            values[number] = value
        columns[name] = _typed(values, old[name])
    return pd.DataFrame(columns)


def _typed(values: list[Any], like: pd.Series) -> pd.Series:
    """A column of the type of another one, or of a wider one where that cannot hold the values."""
    flags = like.dtype != np.bool_ or all(isinstance(value, bool | np.bool_) for value in values)
    for kind in (like.dtype, np.dtype(np.float64))[not flags :]:  # any text and nothing would be flags too
        try:
            return pd.Series(values, dtype=kind)
        except (TypeError, ValueError):
            continue
    return pd.Series(values, dtype=object)


def without(histories: Histories, kept: np.ndarray) -> Histories:
    """The histories without the rows of items that are gone, in the numbers of those that are kept."""
    place = np.full(histories.n_items, UNKNOWN, np.int64)
    place[kept] = np.arange(len(kept))
    left = histories.part(place[histories.items] != UNKNOWN)
    return replace(left, items=place[left.items], n_items=len(kept))

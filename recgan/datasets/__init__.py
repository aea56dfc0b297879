"""Public data sets: fetched from their publisher on first use, never shipped."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import pandas as pd

from recgan.datasets.fetch import dataset_folder, fetch_dataset
from recgan.datasets.known import KNOWN, KnownDataset, dataset_names, dataset_table, known_dataset
from recgan.datasets.movielens import read_folder

__all__ = [
    "KNOWN",
    "Dataset",
    "KnownDataset",
    "dataset_folder",
    "dataset_names",
    "dataset_table",
    "fetch_dataset",
    "known_dataset",
    "load_dataset",
]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set as canonical frames.

    Args:
        interactions: user_id, item_id (int64), rating (float64), timestamp (int64, seconds); one row a pair.
        items: item_id (int64), title (text, without the year), categories (text, joined by `|`), year (float64, NaN
            where unknown); one row an item.
        users: user_id, age (int64), gender, occupation, zip_code (text); one row a user; None where unpublished.
    """

    interactions: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame | None = None


def load_dataset(name: str, cache: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a public data set; the first time it is fetched, and its licence is named on stderr.

    Args:
        name: one of `dataset_names()`, such as "ml-100k".
        cache: folder for fetched data; None: the environment variable RECGAN_DATA, else the user's cache folder.

    Returns:
        The data set; the frames look the same whatever source the data came from.

    Raises:
        ConfigError: when the name is unknown.
        DataError: when the data cannot be fetched, or is not what was expected.
    """
    known = known_dataset(name)
    if not dataset_folder(name, cache).exists():
        print(f"{name}: {known.licence} {known.page}", file=sys.stderr)
    folder = fetch_dataset(name, cache)
    interactions, items, users = read_folder(folder)
    return Dataset(interactions, items, users)

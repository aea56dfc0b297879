"""A personalised recommendation engine on a conditional GAN.

Hand it a table of interactions, tune nothing, get recommendations::

    model = recgan.train(interactions)
    model.recommend("some user", n=10)

Heavy libraries load when they are first needed, so that the import itself is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recgan import baselines as baselines
    from recgan.bias import popularity_bias as popularity_bias
    from recgan.config import Config as Config
    from recgan.datasets import Dataset as Dataset
    from recgan.datasets import load_dataset as load_dataset
    from recgan.errors import ArtifactError as ArtifactError
    from recgan.errors import ConfigError as ConfigError
    from recgan.errors import DataError as DataError
    from recgan.errors import RecganError as RecganError
    from recgan.errors import TrainingError as TrainingError
    from recgan.errors import UnknownItemError as UnknownItemError
    from recgan.errors import UnknownUserError as UnknownUserError
    from recgan.evaluation import Comparison as Comparison
    from recgan.evaluation import compare as compare
    from recgan.evaluation import evaluate as evaluate
    from recgan.interactions import read_interactions as read_interactions
    from recgan.items import read_items as read_items
    from recgan.items import read_users as read_users
    from recgan.recommender import Recommender as Recommender
    from recgan.rules import Rules as Rules
    from recgan.shortcut import recommend as recommend
    from recgan.splits import Holdout as Holdout
    from recgan.splits import Split as Split
    from recgan.splits import split_by_time as split_by_time
    from recgan.splits import split_leave_last as split_leave_last
    from recgan.splits import split_ratio as split_ratio
    from recgan.splits import split_users as split_users
    from recgan.training import train as train
    from recgan.training import tune as tune
    from recgan.training import update as update

_HOME = {
    "ArtifactError": "errors",
    "Comparison": "evaluation",
    "Config": "config",
    "ConfigError": "errors",
    "DataError": "errors",
    "Dataset": "datasets",
    "Holdout": "splits",
    "RecganError": "errors",
    "Recommender": "recommender",
    "Rules": "rules",
    "Split": "splits",
    "TrainingError": "errors",
    "UnknownItemError": "errors",
    "UnknownUserError": "errors",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "load_dataset": "datasets",
    "popularity_bias": "bias",
    "read_interactions": "interactions",
    "read_items": "items",
    "read_users": "items",
    "recommend": "shortcut",
    "split_by_time": "splits",
    "split_leave_last": "splits",
    "split_ratio": "splits",
    "split_users": "splits",
    "train": "training",
    "tune": "training",
    "update": "training",
}

__all__ = sorted([*_HOME, "baselines"])
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "baselines":
        return importlib.import_module("recgan.baselines")
    if name not in _HOME:
        raise AttributeError(f"module 'recgan' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recgan.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

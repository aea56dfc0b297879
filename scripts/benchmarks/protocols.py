"""The protocols: which data, how they are cut, what is measured, and what others have published on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

import recgan
from recgan.schema import CATEGORIES, ITEM, POSITION, TIMESTAMP, TITLE, USER, YEAR

OURS, OURS_METADATA, OURS_REFIT = "recgan", "recgan+metadata", "recgan-refit"
LABELS = {OURS_METADATA: "recgan + metadata", OURS_REFIT: "recgan, refit"}
AT_LARGE = ("Popular", "ItemKNN", "RP3Beta", "NormalisedSVD", "GFCF", "IALS", "BPR")
"""Rivals that a catalogue of 40,000 items does not stop."""
AT_MEDIUM = (*AT_LARGE, "EASE", "MultVAE")
"""Those for 12,000 items, above what SLIM can do; EASE is truncated there."""
AT_SMALL = (*AT_MEDIUM, "SLIM")
ORDERED = ("Transitions", "SASRec")
PROFILE = (USER, "gender", "age")
OWN = "."


@dataclass(frozen=True, eq=False)
class Task:
    """What one seed of a protocol hands to the models.

    Args:
        train: what rivals are tuned on.
        validation: whom they are tuned for.
        fit: what every model is fitted on when it is measured.
        given: the validation that recgan is handed; None: it carves its own from `fit`.
        test: whom every model is measured on.
        whole: everything before the test, for the row that is refitted.
        items: metadata of the items, where there are any.
        users: metadata of the users, where there are any.
    """

    train: pd.DataFrame
    validation: recgan.Holdout
    fit: pd.DataFrame
    given: recgan.Holdout | None
    test: recgan.Holdout
    whole: pd.DataFrame
    items: pd.DataFrame | None = None
    users: pd.DataFrame | None = None


@dataclass(frozen=True)
class Protocol:
    """One way to measure, on one data set.

    Args:
        name: on the command line.
        title: over the tables.
        folder: of the data set inside the folder of the data; `OWN`: the latter itself is the data set.
        cut: makes the task from the interactions and a seed.
        metric_sets: metrics, one table a set.
        tuning_metric: what the rivals are tuned for, and what the p-value of its table is about.
        rivals: names in `recgan.baselines`, in the order in which they are run.
        published: name of a model to its published values.
        shares_validation: whether recgan is handed the validation that the rivals are tuned on.
        split_varies: whether a seed is another split (of data and training) or another training only.
        seeds: how many by default.
        metadata: whether the row with metadata is run.
        refit: whether the row that is trained on everything before the test is run.
        groups: whether known and unknown users are also told apart.
    """

    name: str
    title: str
    folder: str
    cut: Callable[[pd.DataFrame, int], Task]
    metric_sets: tuple[tuple[str, ...], ...]
    tuning_metric: str
    rivals: tuple[str, ...]
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    shares_validation: bool = False
    split_varies: bool = False
    seeds: int = 3
    metadata: bool = False
    refit: bool = False
    groups: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics."""
        return tuple(metric for group in self.metric_sets for metric in group)

    @property
    def depth(self) -> int:
        """Length of the lists that are asked for."""
        return max(int(metric.split("@")[1]) for metric in self.metrics)

    @property
    def ours(self) -> tuple[str, ...]:
        """The rows of recgan."""
        return (OURS, *[OURS_METADATA] * self.metadata, *[OURS_REFIT] * self.refit)

    def main_metric(self, metrics: tuple[str, ...]) -> str:
        """The one of a set of metrics that its p-values are about."""
        ranked = [metric for metric in metrics if metric.startswith("ndcg")]
        return self.tuning_metric if self.tuning_metric in metrics else [*ranked, metrics[0]][0]


def load(protocol: Protocol, data: Path, seed: int) -> Task:
    """The task of a seed, with the metadata that the protocol's data set has."""
    folder = data / protocol.folder
    task = protocol.cut(pd.read_parquet(folder / "interactions.parquet"), seed)
    if not protocol.metadata:
        return task
    items = described(pd.read_parquet(folder / "items.parquet"), task.fit[ITEM].dtype)
    users = folder / "users.parquet"
    return replace(task, items=items, users=pd.read_parquet(users)[list(PROFILE)] if users.exists() else None)


def fingerprint(protocol: Protocol, data: Path) -> str:
    """A hash of the data set's tables."""
    digest = hashlib.sha256()
    for path in sorted((data / protocol.folder).glob("*.parquet")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def described(items: pd.DataFrame, id_type: object) -> pd.DataFrame:
    """Titles, categories and the year that stands behind a title; lists of attributes become categories."""
    items = items.assign(**{ITEM: items[ITEM].astype(id_type)})
    if "attributes" in items.columns:
        joined = ["|".join(map(str, numbers)) for numbers in items.pop("attributes")]
        items[CATEGORIES] = pd.Series(joined, index=items.index, dtype=str)
    if TITLE in items.columns:
        items[YEAR] = items[TITLE].str.extract(r"\((\d{4})\)\s*$", expand=False).astype("float64")
    return items


def _published_split(share: float) -> Callable[[pd.DataFrame, int], Task]:
    """A split that came with the data; a share of every user's train items is the validation of the rivals."""

    def cut(frame: pd.DataFrame, seed: int) -> Task:
        pairs = frame[[USER, ITEM]]
        fit, truth = (pairs[frame["split"] == part].reset_index(drop=True) for part in ("train", "test"))
        parts = recgan.split_ratio(fit, test=share, seed=0)
        train = pd.concat([parts.train, parts.validation.truth], ignore_index=True)
        history = fit[fit[USER].isin(truth[USER])].reset_index(drop=True)
        return Task(train, parts.test, fit, None, recgan.Holdout(history, truth), fit)

    return cut


def _held_out_users(frame: pd.DataFrame, seed: int) -> Task:
    """Users that training never sees; what they like is unordered."""
    liked = recgan.read_interactions(frame, min_rating=4, min_user_items=5)[[USER, ITEM]]
    split = recgan.split_users(liked, history=0.8, seed=seed)
    return Task(split.train, split.validation, split.train, split.validation, split.test, split.train)


def _last_item(frame: pd.DataFrame, seed: int) -> Task:
    """Every user's last item; everything is fitted on all but the last two, and tuned on the last but one."""
    split = recgan.split_leave_last(frame[[USER, ITEM, POSITION]])
    whole = pd.concat([split.train, split.validation.truth], ignore_index=True)
    return Task(split.train, split.validation, split.train, split.validation, split.test, whole)


def _after_today(frame: pd.DataFrame, seed: int) -> Task:
    """The latest tenth of all rows; rivals are tuned on the latest tenth of the rest, all are fitted on the rest."""
    split = recgan.split_by_time(recgan.read_interactions(frame)[[USER, ITEM, TIMESTAMP]], fraction=0.1)
    before = pd.concat([split.train, split.validation.truth], ignore_index=True)
    return Task(split.train, split.validation, before, None, split.test, before)


def _part_of_everybody(frame: pd.DataFrame, seed: int) -> Task:
    """A fifth of every user's items; rivals are tuned on a fifth of the rest, all are fitted on the rest."""
    split = recgan.split_ratio(recgan.read_interactions(frame)[[USER, ITEM]], test=0.2, seed=seed)
    before = pd.concat([split.train, split.validation.truth], ignore_index=True)
    return Task(split.train, split.validation, before, None, split.test, before)


def _values(metrics: tuple[str, ...], *values: float) -> dict[str, float]:
    return dict(zip(metrics, values, strict=True))


AT_5 = ("precision@5", "recall@5", "ndcg@5", "mrr@5")
AT_20 = ("precision@20", "recall@20", "ndcg@20", "mrr@20")
GOWALLA = ("recall@20", "ndcg@20")
LAST = ("hit@10", "ndcg@10")
OF_OWN = ("ndcg@10", "recall@20", "hit@10")
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "cfgan",
            "MovieLens-100K, the split of CFGAN, all ratings positive",
            "cfgan-ml100k",
            _published_split(0.2),
            (AT_5, AT_20),
            "ndcg@20",
            AT_SMALL,
            {"CFGAN": _values(AT_5, 0.444, 0.152, 0.476, 0.681) | _values(AT_20, 0.294, 0.360, 0.433, 0.693)},
        ),
        Protocol(
            "ml-1m-users",
            "MovieLens-1M, users that training never saw, ratings from 4",
            "ml-1m",
            _held_out_users,
            (("ndcg@100", "recall@20", "recall@50", "ndcg@10"),),
            "ndcg@100",
            AT_SMALL,
            shares_validation=True,
            split_varies=True,
            metadata=True,
        ),
        Protocol(
            "gowalla",
            "Gowalla, the split of LightGCN",
            "gowalla",
            _published_split(0.1),
            (GOWALLA,),
            "recall@20",
            AT_LARGE,
            {
                "LightGCN": _values(GOWALLA, 0.1830, 0.1554),
                "UltraGCN": _values(GOWALLA, 0.1862, 0.1580),
                "SimpleX": _values(GOWALLA, 0.1872, 0.1557),
                "EASE": _values(GOWALLA, 0.1765, 0.1467),
            },
            seeds=1,
        ),
        Protocol(
            "beauty",
            "Amazon Beauty, every user's last item",
            "amazon-beauty",
            _last_item,
            (LAST,),
            "ndcg@10",
            (*AT_MEDIUM, *ORDERED),
            {
                "SASRec, first published": _values(LAST, 0.0605, 0.0318),
                "TIGER": _values(LAST, 0.0648, 0.0384),
                "SASRec, tuned sampled softmax": _values(LAST, 0.0921, 0.0531),
                "best": _values(LAST, 0.0928, 0.0531),
            },
            shares_validation=True,
            metadata=True,
            refit=True,
        ),
        Protocol(
            "ml-1m-last",
            "MovieLens-1M, every user's last item (equal times in an arbitrary order), all ratings positive",
            "ml-1m",
            _last_item,
            (LAST,),
            "ndcg@10",
            (*AT_SMALL, *ORDERED),
            {"gSASRec": _values(LAST, 0.3003, 0.1726), "best": _values(LAST, 0.3164, 0.1857)},
            shares_validation=True,
            seeds=1,
            metadata=True,
        ),
        Protocol(
            "movietweetings",
            "MovieTweetings, the latest tenth of all ratings, all positive",
            "movietweetings",
            _after_today,
            (("ndcg@10", "hit@10", "recall@20"),),
            "ndcg@10",
            (*AT_MEDIUM, *ORDERED),
            metadata=True,
            groups=True,
        ),
        Protocol(
            "own",
            "A fifth of every user's items, at random",
            OWN,
            _part_of_everybody,
            (OF_OWN,),
            "ndcg@10",
            AT_MEDIUM,
            split_varies=True,
        ),
        Protocol(
            "own-latest",
            "The latest tenth of all interactions",
            OWN,
            _after_today,
            (OF_OWN,),
            "ndcg@10",
            (*AT_MEDIUM, *ORDERED),
            groups=True,
        ),
    )
}

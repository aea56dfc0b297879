"""How well are items recommended that nobody has had yet?

    python scripts/benchmarks/new_items.py --data DIR --set ml-1m [--seeds 1] [--out FILE] [--table markdown]

A tenth of the items is drawn at random and all their interactions are taken from training. The model is trained on
80 % of what every user has of the others, and is then told the content of the tenth. New items are ranked among
themselves, and among all. Everything is chosen on items that the model knows and hides from itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cold_rivals
import numpy as np
import pandas as pd
from measuring import QUICK
from protocols import described
from results import settled
from tables import Sheet, show

import recgan
from recgan import metrics
from recgan.schema import ITEM, USER

HERE = Path(__file__).parent
LIKED: dict[str, dict[str, Any]] = {"ml-1m": {"min_rating": 4}, "movietweetings": {"min_user_items": 20}}
"""Data sets, and what of them is read: of MovieTweetings every rating of the users who have twenty or more."""
SETTINGS: dict[str, dict[str, Any]] = {
    "ml-1m": {"game_steps": 0},
    "movietweetings": {"game_steps": 0, "epochs": 10, "max_validation_users": 300},
}
"""The game changes no list; the other two save time."""
K = 20
METRICS = (f"recall@{K}", f"ndcg@{K}")
QUOTA = 2
OURS = "recgan"


@dataclass(frozen=True)
class Cut:
    """What one seed hands to the models.

    Args:
        train: interactions with the items that stay.
        learned: their held-out part.
        new: interactions with the items that are new.
        items: content of the items that stay.
        added: content of the new ones.
    """

    train: pd.DataFrame
    learned: pd.DataFrame
    new: pd.DataFrame
    items: pd.DataFrame
    added: pd.DataFrame


def cut(data: Path, name: str, seed: int) -> Cut:
    """A tenth of the items is new, and a fifth of every user's others is held out; without times, as at random."""
    rows = pd.read_parquet(data / name / "interactions.parquet")
    liked = recgan.read_interactions(rows, **LIKED[name])[[USER, ITEM]]
    ids = np.sort(liked[ITEM].unique())
    chosen = np.random.default_rng([seed, 7]).permutation(len(ids))[: len(ids) // 10]
    new = liked[ITEM].isin(ids[chosen])
    split = recgan.split_ratio(liked[~new].reset_index(drop=True), test=0.2, seed=seed)
    train = pd.concat([split.train, split.validation.truth], ignore_index=True)
    items = described(pd.read_parquet(data / name / "items.parquet"), liked[ITEM].dtype)
    known, added = items[ITEM].isin(train[ITEM]), items[ITEM].isin(ids[chosen])
    rows = liked[new & liked[USER].isin(train[USER])]
    return Cut(train, split.test.truth, rows, items[known], items[added])


def model_of(options: argparse.Namespace, found: Cut, seed: int) -> recgan.Recommender:
    """The model that has not heard of the new items; what was trained before is read."""
    folder = options.work / f"{options.set}-{seed}"
    if not folder.exists():
        settings = QUICK if options.quick else SETTINGS[options.set]
        model = recgan.train(found.train, found.items, config=recgan.Config(progress=False, **settings), seed=seed)
        model.save(folder)
    return recgan.Recommender.load(folder)


def of_seed(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """All values of a seed."""
    found = cut(options.data, options.set, seed)
    model = model_of(options, found, seed)
    grown = model.add_items(found.added)
    users = pd.concat([found.new[USER], found.learned[USER]]).drop_duplicates()
    new = grown.new_items
    alone = {OURS: grown.recommend_batch(found.new[USER].drop_duplicates(), K, items=new)}
    alone |= cold_rivals.lists(model, grown, found.new[USER].drop_duplicates(), K, seed)
    result = {name: _values(lists, found.new) for name, lists in alone.items()}
    before, after = model.recommend_batch(users, K), grown.recommend_batch(users, K)
    same = grown.recommend_batch(users, K, items=model.items)
    quota = grown.recommend_batch(users, K, rules={"min_new": QUOTA, "new_below": 1})
    among = {"without new items": before, "with new items": after, f"with at least {QUOTA} new items": quota}
    return {
        "alone": result,
        "among": {name: _among(lists, found, set(new)) for name, lists in among.items()},
        "lists of learned items are equal": bool(before.equals(same)),
        "content": model.info()["content"],
        "new items": len(new),
    }


def _values(lists: pd.DataFrame, truth: pd.DataFrame) -> dict[str, list[float]]:
    frame = pd.DataFrame(recgan.evaluate(lists, truth, METRICS, per_user=True))
    return {metric: frame[metric].tolist() for metric in METRICS}


def _among(lists: pd.DataFrame, found: Cut, new: set[Any]) -> dict[str, float]:
    parts = {"all": pd.concat([found.learned, found.new]), "learned": found.learned, "new": found.new}
    values = {
        f"{metric}, {name}": float(recgan.evaluate(lists, truth, (metric,))[metric])  # type: ignore[arg-type,index]
        for name, truth in parts.items()
        for metric in METRICS
    }
    return {**values, "share of new items": float(lists[ITEM].isin(new).mean())}


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """All seeds together."""
    seeds = [of_seed(options, seed) for seed in range(options.seeds)]
    pooled = {
        name: {metric: np.concatenate([one["alone"][name][metric] for one in seeds]) for metric in METRICS}
        for name in seeds[0]["alone"]
    }
    alone = {name: _compared(values, pooled[OURS]) for name, values in pooled.items()}
    among = {
        name: {key: float(np.mean([one["among"][name][key] for one in seeds])) for key in row}
        for name, row in seeds[0]["among"].items()
    }
    kept = [{key: one[key] for key in one if key not in ("alone", "among")} for one in seeds]
    return {"set": options.set, "seeds": options.seeds, "alone": alone, "among": among, "runs": kept}


def _compared(values: dict[str, np.ndarray], ours: dict[str, np.ndarray]) -> dict[str, Any]:
    found: dict[str, Any] = {metric: float(one.mean()) for metric, one in values.items()}
    main = METRICS[-1]
    if values is not ours:
        found["p_value"] = metrics.sign_flip_p_value(ours[main] - values[main], 9999, 0)
    return found | {"users": len(values[main])}


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """New items among themselves, and all items."""
    rows = sorted(result["alone"].items(), key=lambda row: -row[1][METRICS[-1]])
    first = [
        [name, *(f"{row[metric]:.4f}" for metric in METRICS), f"{row['p_value']:.3g}" if "p_value" in row else "-"]
        for name, row in rows
    ]
    keys = list(next(iter(result["among"].values())))
    second = [[name, *(f"{row[key]:.4f}" for key in keys)] for name, row in result["among"].items()]
    return [
        Sheet(f"{result['set']}: new items among themselves", ["", *METRICS, "p"], first),
        Sheet(f"{result['set']}: all items", ["lists", *keys], second),
    ]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets")
    add("--set", choices=list(LIKED), required=True, help="data set")
    add("--seeds", type=int, default=1, help="how many draws of the new items")
    add("--out", type=Path, help="JSON file of the result; results/new-items-SET.json")
    add("--work", type=Path, help="folder of the trained models; beside the result")
    add("--stored", action="store_true", help="measure nothing: the tables of the result that is there")
    add("--table", choices=["rich", "markdown"], default="rich")
    add("--quick", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out = options.out or HERE / "results" / f"new-items-{options.set}.json"
    options.work = options.work or options.out.with_name(f"{options.out.name}.work")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    options = parsed(arguments)
    show(sheets(settled(options, measured)), options.table, 200)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How well users are served from their first clicks on, and by what they say of themselves.

    python scripts/benchmarks/new_users.py --data DIR --set ml-1m [--seeds 1] [--out FILE] [--table markdown]

DIR holds a folder for every data set. Users are held out whole; each is asked for with nothing, one item, two, five,
ten or twenty of the history that is known, and judged by the hidden fifth; what is known but not shown is excluded for
every model. Rivals are tuned on validation users whose histories are cut to the same lengths; recgan has its defaults.
With an order the newest items are shown, else random ones. The stated categories are the three by which the part that
is not shown differs most from what everybody has: they never come from the items that are looked for.

Every seed has other held-out users; means are over the users of all seeds. Whoever is known by nothing is compared
with the popular list user by user (paired sign flips).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import QUICK
from protocols import PROFILE, PROTOCOLS, described
from results import settled
from tables import NOTHING, Sheet, show

import recgan
from recgan import metrics
from recgan.features import category_flags
from recgan.histories import Histories
from recgan.schema import ITEM, TIMESTAMP, USER
from recgan.splits import Holdout, Split
from recgan.training.preferences import typical
from recgan.vocabulary import Vocabulary

HERE = Path(__file__).parent
LENGTHS = (0, 1, 2, 5, 10, 20)
RIVALS = {
    "ml-1m": ("Popular", "ItemKNN", "EASE", "IALS"),
    "movietweetings": ("Popular", "ItemKNN", "EASE", "IALS", "SASRec"),
}
STATED, TURNED = "recgan, three categories stated", "recgan, explore=1"
METRICS = ("ndcg@10", "hit@10")
METRIC, UNLIKE = METRICS[0], "diversity@10"
Values = dict[str, pd.Series]
"""By metric what every user gets."""


def split_of(data: Path, name: str, seed: int) -> tuple[Split, pd.DataFrame, pd.DataFrame | None]:
    """Held-out users, the items' metadata and the users'."""
    protocol = PROTOCOLS["ml-1m-users" if name == "ml-1m" else name]
    folder = data / protocol.folder
    frame = pd.read_parquet(folder / "interactions.parquet")
    liked = recgan.read_interactions(frame, min_rating=4 if name == "ml-1m" else None, min_user_items=5)
    order = [TIMESTAMP] if TIMESTAMP in liked.columns else []
    split = recgan.split_users(liked[[USER, ITEM, *order]], history=0.8, seed=seed)
    items = described(pd.read_parquet(folder / "items.parquet"), split.train[ITEM].dtype)
    users = folder / "users.parquet"
    return split, items, pd.read_parquet(users)[list(PROFILE)] if users.exists() else None


def shown(holdout: Holdout, length: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Histories cut to a length, and the rest of them."""
    history = holdout.history.sample(frac=1.0, random_state=seed)
    if TIMESTAMP in history.columns:
        history = history.sort_values(TIMESTAMP, ascending=False, kind="stable")
    kept = history.groupby(USER).cumcount() < length
    return history[kept], history[~kept]


def mixed(holdout: Holdout) -> Holdout:
    """The users as often as there are lengths, each time with so many items, under names of their own."""
    parts = []
    for number, length in enumerate(LENGTHS):
        both = shown(holdout, length)[0], holdout.truth
        parts.append([part.assign(**{USER: part[USER].astype(str) + f"/{number}"}) for part in both])
    history, truth = (pd.concat(part, ignore_index=True) for part in zip(*parts, strict=True))
    return Holdout(history, truth)


def stated_by(rest: pd.DataFrame, items: pd.DataFrame, users: Sequence[Any]) -> dict[Any, dict[str, list[str]]]:
    """The categories by which what is not shown of each user differs most from what all have."""
    flags = category_flags(items)
    histories = Histories.from_frame(rest, Vocabulary(users, USER), Vocabulary(items[ITEM], ITEM))
    names = np.array(flags.columns)
    chosen = typical(histories, flags.to_numpy(np.float32), 3)
    return {user: {"categories": names[row].tolist()} for user, row in zip(users, chosen, strict=True) if row.any()}


def models(
    split: Split, items: pd.DataFrame, users: pd.DataFrame | None, rivals: Sequence[str], quick: bool
) -> Iterator[tuple[str, Any]]:
    """The engine with its defaults and the rivals, tuned."""
    config = recgan.Config(**QUICK) if quick else recgan.Config(progress=sys.stderr.isatty())
    yield "recgan", recgan.train(split.train, items, users=users, validation=split.validation, config=config)
    cut = mixed(split.validation)
    for rival in rivals:
        print(f"{rival} ...", file=sys.stderr)
        yield rival, getattr(recgan.baselines, rival).tune(split.train, cut, metric=METRIC)


def of_model(label: str, model: Any, test: Holdout, items: pd.DataFrame) -> dict[str, list[Values]]:
    """What each user gets from a model, with each length of the history."""
    users = test.truth[USER].drop_duplicates().tolist()
    found: dict[str, list[Values]] = {}
    for length in LENGTHS:
        history, rest = shown(test, length)
        hidden = rest.groupby(USER)[ITEM].agg(list).to_dict()
        asked: dict[str, dict[str, Any]] = {label: {}}
        if label == "recgan":
            asked |= {STATED: {"preferences": stated_by(rest, items, users)}, TURNED: {"explore": 1.0}}
        for name, more in asked.items():
            lists = model.recommend_batch(users, 10, histories=history, exclude=hidden, **more)
            values = dict(recgan.evaluate(lists, test.truth, METRICS, per_user=True).set_index(USER))
            unlike = recgan.evaluate(lists, test.truth, [UNLIKE], items=items)
            found.setdefault(name, []).append({**values, UNLIKE: pd.Series(unlike[UNLIKE], users)})
    return found


def of_split(options: argparse.Namespace, seed: int) -> dict[str, list[Values]]:
    """What the users of one split get from every model."""
    split, items, users = split_of(options.data, options.set, seed)
    known = split.test.history[ITEM].isin(split.train[ITEM])
    test = Holdout(split.test.history[known], split.test.truth)
    found: dict[str, list[Values]] = {}
    for label, model in models(split, items, users, options.rivals.split(","), options.quick):
        found |= of_model(label, model, test, items)
    return found


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """The curves of all models over all splits."""
    splits = [of_split(options, seed) for seed in range(options.seeds)]
    curves: dict[str, list[dict[str, float]]] = {}
    strangers: dict[str, pd.DataFrame] = {}
    for name in splits[0]:
        tables = [pd.concat([pd.DataFrame(one[name][place]) for one in splits]) for place in range(len(LENGTHS))]
        curves[name] = [{"length": length, **table.mean()} for length, table in zip(LENGTHS, tables, strict=True)]
        strangers[name] = tables[0]
    told = {"set": options.set, "seeds": options.seeds, "users": len(next(iter(strangers.values())))}
    return {**told, "curves": curves, "strangers": against_popular(strangers)}


def against_popular(strangers: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """By how much what a stranger gets differs from the popular list, with 95 % intervals and p-values."""
    popular = strangers.get("Popular")
    found: dict[str, dict[str, float]] = {}
    for name, table in strangers.items() if popular is not None else ():
        for metric in METRICS if name != "Popular" else ():
            apart = (table[metric] - popular[metric]).to_numpy()
            low, high = metrics.mean_interval(apart, 9999, 0)
            told = {"difference": apart.mean(), "low": low, "high": high}
            found.setdefault(name, {})[metric] = {**told, "p": metrics.sign_flip_p_value(apart, 9999, 0)}
    return found


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """NDCG@10 by length, and the list of a stranger beside the popular one."""
    columns = ["", *(f"{length} items" for length in LENGTHS)]
    rows = [[name, *(f"{one[METRIC]:.4f}" for one in curve)] for name, curve in result["curves"].items()]
    first = []
    for name, curve in result["curves"].items():
        apart = result["strangers"].get(name, {}).get(METRICS[1])
        told = NOTHING if apart is None else f"{apart['low']:+.3f} to {apart['high']:+.3f}, p = {apart['p']:.2f}"
        first.append([name, *(f"{curve[0][metric]:.4f}" for metric in (*METRICS, UNLIKE)), told])
    title = f"NDCG@10 by what is known of a user: {result['set']}, {result['users']:,} users"
    heads = ["", "NDCG@10", "HR@10", "unlikeness of categories in a list", "HR@10 against Popular"]
    return [Sheet(title, columns, rows), Sheet("Without any history", heads, first)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure or read, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets")
    add("--set", choices=list(RIVALS), required=True, help="data set")
    add("--seeds", type=int, default=1, help="how many splits")
    add("--out", type=Path, help="JSON file of the result; results/new-users-SET.json")
    add("--stored", action="store_true", help="print what the file holds")
    add("--table", choices=["rich", "markdown"], default="rich")
    add("--rivals", help="names with commas between; those of the data set")
    add("--quick", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.rivals = options.rivals or ",".join(RIVALS[options.set])
    options.out = options.out or HERE / "results" / f"new-users-{options.set}.json"
    show(sheets(settled(options, measured)), options.table, 140)
    return 0


if __name__ == "__main__":
    sys.exit(main())

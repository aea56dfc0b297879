"""Accuracy against the share of the long tail: corrections of popularity, and the tuned rivals.

    python scripts/benchmarks/long_tail.py --data DIR --set ml-1m [--seed 1] [--models DIR] [--table markdown]

DIR holds a folder for every data set. The model is trained once and kept in the folder of the models; the rivals have
the settings that the accuracy benchmark found. Every curve gives up some of a method's accuracy for rarer items.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rivals
from forks import FIRST_SEED, SETS
from measuring import QUICK
from protocols import PROTOCOLS, Task, load
from results import settled
from tables import Sheet, show

import recgan
from recgan import bias, metrics
from recgan.histories import Histories
from recgan.popularity import log_popularity
from recgan.ranking import ABSENT, Query
from recgan.ranking.calibrating import Calibration
from recgan.schema import ITEM, USER
from recgan.vocabulary import Vocabulary

HERE = Path(__file__).parent
N, K, WIDTH = 10, recgan.Config().n_candidates, 200
COSTS = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.1, 1.5)
"""What one deviation of the log popularity costs, in deviations of the user's best K scores."""
MIXES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
"""Weight of a list whose head, middle and tail follow the user's own."""
STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the dial."""
AXES = ("NDCG@10", "tail", "head", "lift", "deviation", "coverage", "effective items", "NDCG@10, niche")
Search = Callable[[float], tuple[np.ndarray, np.ndarray]]
"""From what popularity costs to the K best item numbers and their scores."""


class Users:
    """The users who are tested, with what a list of theirs is worth.

    Args:
        task: of the protocol.
        items: numbers of the items.
    """

    def __init__(self, task: Task, items: Vocabulary) -> None:
        known = set(items.ids(np.arange(len(items))))
        history, truth = (part[part[ITEM].isin(known)] for part in (task.test.history, task.test.truth))
        self.ids = Vocabulary.of(truth[USER])
        self.history, self.truth = (Histories.from_frame(part, self.ids, items) for part in (history, truth))
        self.train = Histories.from_frame(task.fit, Vocabulary.of(task.fit[USER]), items)
        self.popularity = self.train.counts()

    def point(self, numbers: np.ndarray) -> list[float]:
        """The values of the lists (B, >= N) on all axes."""
        lists = numbers[:, :N]
        values = metrics.ndcg(self.truth.holds(lists) & (lists != ABSENT), self.truth.lengths, N)
        table = bias.table(lists, self.history.rows, self.history.items, self.popularity, values, "ndcg")
        rows = table.set_index("group")
        row, shown = rows.loc["all"], len(np.unique(lists[lists != ABSENT])) / len(self.popularity)
        told = [row["lists_tail"], row["lists_head"], row["lift"], row["deviation"], shown, row["effective_items"]]
        return [float(value) for value in (row["ndcg"], *told, rows.loc["niche", "ndcg"])]


def served(model: recgan.Recommender, users: Users) -> tuple[Query, Search]:
    """The question for the users, and the model's own search with another weight of popularity."""
    profiles = np.zeros((len(users.history), model._profiles.shape[1]), np.float32)
    query = Query(users.history, users.history, profiles)

    def search(cost: float) -> tuple[np.ndarray, np.ndarray]:
        return model._ranker.rank(replace(query, popularity=cost), K)

    return query, search


def scored(rival: Any, users: Users) -> Search:
    """A rival's scores of the whole catalogue, less what popularity costs."""
    popular = log_popularity(users.train, None)
    query = Query(users.history, users.history, np.zeros((len(users.history), 0), np.float32))
    plain_scores = rival._scores(users.history, np.full(len(users.history), -1))
    unit = spread(best(query, plain_scores)[1])[:, None]

    def search(cost: float) -> tuple[np.ndarray, np.ndarray]:
        return best(query, plain_scores - cost * unit * popular)

    return search


def best(query: Query, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The K best items that a user has not had, from scores of the catalogue (B, N)."""
    masked = query.mask(np.array(scores, np.float32))
    order = np.argsort(-masked, axis=1, kind="stable")[:, :K]
    return order, np.take_along_axis(masked, order, 1)


def filled(numbers: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns in which every user has an item: in a small catalogue less than K."""
    width = int(np.isfinite(scores).sum(axis=1).min())
    return numbers[:, :width], scores[:, :width]


def spread(scores: np.ndarray) -> np.ndarray:
    """Deviation of every user's K best scores, (B,)."""
    there = np.isfinite(scores)
    return np.asarray(np.nanstd(np.where(there, scores, np.nan), axis=1))


def whole(search: Search, users: Users) -> list[list[float]]:
    """Popularity is charged over the whole catalogue."""
    return [users.point(search(cost)[0]) for cost in COSTS]


def among_best(search: Search, users: Users) -> list[list[float]]:
    """Popularity is charged among the K best, which stay the same."""
    numbers, scores = filled(*search(0.0))
    popular = log_popularity(users.train, None)[numbers] * spread(scores)[:, None]
    return [
        users.point(np.take_along_axis(numbers, np.argsort(-(scores - cost * popular), axis=1, kind="stable"), 1))
        for cost in COSTS
    ]


def mixed(search: Search, users: Users) -> list[list[float]]:
    """Head, middle and tail of a list follow those of the user's history, one place after the other (Steck 2018)."""
    numbers, scores = filled(*search(0.0))
    merit = (scores - scores.mean(axis=1, keepdims=True)) / np.maximum(spread(scores), 1e-9)[:, None]
    votes = np.eye(len(bias.PARTS))[bias.parts(users.popularity)]
    return [users.point(np.take_along_axis(numbers, _greedy(merit, numbers, users, votes, mix), 1)) for mix in MIXES]


def _greedy(merit: np.ndarray, numbers: np.ndarray, users: Users, votes: np.ndarray, weight: float) -> np.ndarray:
    """Columns of the N items that are chosen, (B, N)."""
    calibration, left, rows = Calibration(users.history, votes, numbers), merit.copy(), np.arange(len(merit))
    chosen = []
    for _ in range(N):
        best = ((1.0 - weight) * left - weight * 5.0 * calibration.costs()).argmax(axis=1)
        chosen.append(best)
        left[rows, best] = -1e9
        calibration.add(numbers[rows, best], np.ones(len(rows), bool))
    return np.stack(chosen, axis=1)


def dialled(model: recgan.Recommender, query: Query, users: Users) -> list[list[float]]:
    """The exploration dial."""
    keys = np.random.default_rng(7).integers(0, 2**63, len(users.history), dtype=np.int64).astype(np.uint64)
    return [users.point(model._ranker.rank(replace(query, explore=step, keys=keys), N)[0]) for step in STEPS]


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """All curves: name, what was turned, and the points."""
    protocol = PROTOCOLS[SETS[options.set]]
    task = load(protocol, options.data, options.seed)
    model = trained(options, protocol.name, task)
    users = Users(task, model._items)
    query, search = served(model, users)
    curves = {
        "recgan, popularity=": (COSTS, whole(search, users)),
        "recgan, among the candidates": (COSTS, among_best(search, users)),
        "recgan, calibrated head/middle/tail": (MIXES, mixed(search, users)),
        "recgan, explore=": (STEPS, dialled(model, query, users)),
    }
    for name, rival in fitted(options, protocol.name, task):
        of_rival = Users(task, rival._items)
        curves[f"{name}, popularity charged"] = (COSTS, whole(scored(rival, of_rival), of_rival))
    own = users.point(_histories_as_lists(users))
    told = {"set": options.set, "seed": options.seed, "users": len(users.history), "tail of the histories": own[1]}
    return {**told, "curves": {name: {"levels": levels, "points": points} for name, (levels, points) in curves.items()}}


def _histories_as_lists(users: Users) -> np.ndarray:
    items, there = users.history.window(np.arange(len(users.history)), N)
    return np.where(there, items, ABSENT)


def trained(options: argparse.Namespace, protocol: str, task: Task) -> recgan.Recommender:
    """The model that is kept, or a new one that is kept from now on."""
    folder = options.models / f"{protocol}-{options.seed}"
    if not folder.exists():
        config = recgan.Config(progress=False, **(QUICK if options.quick else {}))
        found = recgan.train(
            task.fit, task.items, users=task.users, validation=task.given, config=config, seed=options.seed
        )
        found.save(folder)
    return recgan.Recommender.load(folder)


def fitted(options: argparse.Namespace, protocol: str, task: Task) -> Iterator[tuple[str, Any]]:
    """The rivals with the settings that were found for the split, or for the first one."""
    kept = json.loads((HERE / "settings" / f"{protocol}.json").read_text(encoding="utf-8"))
    for name in options.rivals:
        found = kept[name].get(str(options.seed), next(iter(kept[name].values())))
        yield name, rivals.find(name)(**found["params"]).fit(task.fit)


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """The points of all curves, and how much of the tail each curve shows where it keeps so much of its accuracy."""
    cells = [
        [f"{name} {level:g}", *_told(point)]
        for name, curve in result["curves"].items()
        for level, point in zip(curve["levels"], curve["points"], strict=True)
    ]
    title = f"Long tail, {result['set']}, {result['users']:,} users, seed {result['seed']}"
    kept = [[name, *(_cell(value) for value in row)] for name, row in at_equal(result["curves"]).items()]
    columns = ["", *(f"{share:.0%} of the best NDCG@10" for share in SHARES)]
    return [Sheet(title, ["", *AXES], cells), Sheet("Share of the tail (%) at equal accuracy", columns, kept)]


def _told(point: Sequence[float]) -> list[str]:
    ndcg, tail, head, lift, deviation, shown, effective, niche = point
    shares = [f"{100 * value:.1f} %" for value in (tail, head)]
    return [
        f"{ndcg:.4f}",
        *shares,
        f"{lift:+.2f}",
        f"{deviation:.3f}",
        f"{shown:.3f}",
        f"{effective:.0f}",
        f"{niche:.4f}",
    ]


SHARES = (1.0, 0.99, 0.98, 0.95, 0.9)
"""Of the NDCG@10 of the accurate list of recgan, at which curves are compared."""


def at_equal(curves: dict[str, Any]) -> dict[str, list[float]]:
    """The most of the tail that each curve shows at levels of NDCG@10, per cent; NaN where it never was so accurate."""
    best = curves["recgan, popularity="]["points"][0][0]
    return {
        name: [_reached(np.array(curve["points"]), share * best) for share in SHARES] for name, curve in curves.items()
    }


def _reached(points: np.ndarray, ndcg: float) -> float:
    """The most of the tail among a curve's straight pieces where NDCG@10 is at least so high."""
    found = [100.0 * tail for value, tail in points[:, :2] if value >= ndcg - 1e-12]
    for (high, one), (low, other) in zip(points[:-1, :2], points[1:, :2], strict=True):
        if min(high, low) < ndcg <= max(high, low):
            found.append(100.0 * (one + (other - one) * (high - ndcg) / (high - low)))
    return max(found, default=float("nan"))


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets")
    add("--set", choices=list(SETS), required=True, help="data set")
    add("--seed", type=int, default=FIRST_SEED, help="of split and training")
    add("--models", type=Path, default=HERE / "results" / "models", help="folder of the trained models")
    add("--rivals", nargs="*", default=["EASE", "IALS"], help="names in recgan.baselines")
    add("--out", type=Path, help="JSON file of the result; results/long-tail-SET.json")
    add("--stored", action="store_true", help="measure nothing: the tables of the result that is there")
    add("--table", choices=["rich", "markdown"], default="rich")
    add("--quick", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out = options.out or HERE / "results" / f"long-tail-{options.set}.json"
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    options = parsed(arguments)
    show(sheets(settled(options, measured)), options.table, WIDTH)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Do the reasons say what moves the score? Take the first reason out of the history, and a random other item.

    python scripts/benchmarks/faithfulness.py --data DIR --set ml-1m [--model FOLDER] [--users 600] [--n 2] [--out FILE]

A case is an item of a test user's list. The model is asked anew for the user without the first reason, and without one
random other item of the history; the reason is right where the score falls by more, and half right where it falls as
much. The generator and the linear parts are asked alone, too, about what they tell alone. Once more with three items at
once, which no reason has looked at; and how often the generator's strongest item is the one that is named. Then the
users a second with `recommend_batch(explain=True)` and without. Users with one item have no other and are left out; an
item that the model does not know is no part of a history. The realism that `explain` tells is that of a held-out item.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from attributions import GENERATOR, LINEAR, LINEAR_PARTS, METHODS, OURS, WHOLE, copies, gradients, told
from forks import SETS
from measuring import QUICK, write_json
from protocols import PROTOCOLS, Task, load
from results import environment, plain
from tables import Sheet, show
from tested import interval

import recgan
from recgan.histories import Histories
from recgan.ranking import Query, Ranker
from recgan.reasons.parts import Asked, generated
from recgan.schema import ITEM, POSITION, USER
from recgan.vocabulary import Vocabulary

WIDTH = 170
AT_ONCE = 3
THREE, STRONGEST = f"{AT_ONCE} at once", "strongest of generator"
ZEROS: dict[str, tuple[str, ...]] = {
    WHOLE: (),
    GENERATOR: (*LINEAR_PARTS, "popularity", "discriminator"),
    LINEAR: ("generated", "popularity", "discriminator"),
}
"""What is asked: the weights that are set to zero."""

SMALL = {"epochs": 5, "game_steps": 0}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that holds the folders of the data sets")
    add("--set", choices=list(SETS), default="ml-1m", help="data set, cut as by its protocol")
    add("--model", type=Path, help="folder of the trained model; where there is none, it is trained and kept there")
    add("--users", type=int, default=600, help="most test users")
    add("--n", type=int, default=2, help="items of each list")
    add("--seed", type=int, default=0, help="of the split, the training and what is drawn")
    add("--out", type=Path, help="JSON file of the result; results/faithfulness-SET.json")
    add("--table", choices=["rich", "markdown"], default="rich")
    add("--small", type=int, help="train on so many users only, for five epochs and without a game")
    add("--quick", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out = options.out or Path(__file__).parent / "results" / f"faithfulness-{options.set}.json"
    return options


def tested(options: argparse.Namespace) -> tuple[recgan.Recommender, Query, Histories]:
    """The model, the question of the test users who had two items or more, and their held-out items."""
    task = load(PROTOCOLS[SETS[options.set]], options.data, options.seed)
    if options.small:
        task = _part(task, options.small)
    if options.model is None or not options.model.exists():
        settings = QUICK if options.quick else SMALL if options.small else {}
        config = recgan.Config(progress=False, **settings)
        tables = {"users": task.users, "validation": task.given}
        model = recgan.train(task.fit, task.items, **tables, config=config, seed=options.seed)
        if options.model is not None:
            model.save(options.model)
    else:
        model = recgan.Recommender.load(options.model)
    history = task.test.history[task.test.history[ITEM].isin(set(model.items))]
    users = Vocabulary.of(history[USER])
    whole = Histories.from_frame(history, users, model._items)
    able = np.flatnonzero(whole.lengths > 1)
    drawn = np.sort(np.random.default_rng(options.seed).permutation(able)[: options.users])
    taken = whole.take(drawn)
    truth = Histories.from_frame(task.test.truth, Vocabulary(users.ids(drawn), USER), model._items)
    return model, Query(taken, taken, np.zeros((len(drawn), model._profiles.shape[1]), np.float32)), truth


def _part(task: Task, n_users: int) -> Task:
    """The task of some users only."""
    users = np.random.default_rng(0).permutation(task.fit[USER].unique())[:n_users]

    def of(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame[USER].isin(users)].reset_index(drop=True)

    given = None if task.given is None else recgan.Holdout(of(task.given.history), of(task.given.truth))
    test = recgan.Holdout(of(task.test.history), of(task.test.truth))
    return replace(task, fit=of(task.fit), given=given, test=test)


def cases(ranker: Ranker, query: Query, lists: np.ndarray, seed: int) -> dict[str, Any]:
    """Share of right reasons by what is asked and by method, one number a user, (B,); and with three items at once."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in (*ZEROS, THREE, STRONGEST)}
    asked = {name: _with_zeros(ranker, zeros) for name, zeros in ZEROS.items()}
    random = np.random.default_rng([seed, 1])
    for user, items in enumerate(lists):
        one = query.take(np.array([user]))
        luck = random.random((int(one.histories.lengths[0]), len(items)))
        for name, methods in told(ranker, one, items).items():
            for method, values in methods.items():
                answers = {name: _right(asked[name], one, items, values, luck, 1)}
                if name == WHOLE and len(values) >= 2 * AT_ONCE:
                    answers[THREE] = _right(asked[name], one, items, values, luck, AT_ONCE)
                if name == GENERATOR:
                    answers[STRONGEST] = float(np.mean(values.argmax(axis=0) == methods[OURS].argmax(axis=0)))
                for what, value in answers.items():
                    found[what].setdefault(method, []).append(value)
    return found


def _with_zeros(ranker: Ranker, zeros: Sequence[str]) -> Ranker:
    names = [name for name in vars(ranker.blocks.weights) if name.removeprefix("short_") in zeros]
    weights = replace(ranker.blocks.weights, **dict.fromkeys(names, 0.0))
    return Ranker(replace(ranker.blocks, weights=weights), ranker.judge, ranker.n_candidates)


def _right(ranker: Ranker, one: Query, items: np.ndarray, told: np.ndarray, luck: np.ndarray, at_once: int) -> float:
    """Share of a user's items whose score falls more without the first reasons than without random other items."""
    order = np.argsort(-told, axis=0, kind="stable")
    first, rest = order[:at_once], order[at_once:]
    others = np.take_along_axis(rest, np.argsort(np.take_along_axis(luck, rest, 0), axis=0)[:at_once], 0)
    without = [_scores_without(ranker, one, items, places) for places in (first, others)]
    return float(np.mean((without[0] < without[1]) + 0.5 * (without[0] == without[1])))


def _scores_without(ranker: Ranker, one: Query, items: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Score of each of K items for the user without some places (P, K) of the history, asked anew, (K,)."""
    copies = one.take(np.zeros(len(items), np.int64))
    gone = np.zeros((len(items), int(one.histories.lengths[0])), bool)
    np.put_along_axis(gone, places.T, True, axis=1)
    copies = replace(copies, histories=copies.histories.part(~gone.ravel()))
    return ranker.scores(copies, items[:, None])[:, 0]


def realism(model: recgan.Recommender, query: Query, truth: Histories) -> Sequence[float] | None:
    """Realism of a held-out item a user, mean and interval; None where no game was played."""
    able = np.flatnonzero(truth.lengths)
    values = [model._realism(query.take(np.array([user])), int(truth.of(user)[0])) for user in able]
    found = [value for value in values if value is not None]
    return interval(np.array(found)) if found else None


def costs(model: recgan.Recommender, query: Query, lists: np.ndarray) -> dict[str, float]:
    """Users a second of processor time, the best of three: lists, lists with reasons, and the generator's two ways."""
    ids = np.arange(len(query.histories))
    columns = {USER: query.histories.rows, ITEM: model._items.ids(query.histories.items).to_numpy()}
    frame = pd.DataFrame({**columns, POSITION: query.histories.places})
    blocks = model._blocks
    groups = query.histories.groups(ids, int(query.histories.lengths.max()), 1 << 14)
    parts = [(query.histories.take(group), lists[group]) for group in groups]
    work: dict[str, Callable[[], Any]] = {
        "recommend_batch": lambda: model.recommend_batch(histories=frame),
        "recommend_batch, explain=True": lambda: model.recommend_batch(histories=frame, explain=True),
        "generator, left out": lambda: [generated(blocks, Asked.of(*part)) for part in parts],
        "generator, gradient": lambda: [gradients(blocks.generator, *part, blocks.window) for part in parts],
        "generator, a copy of the history an item": lambda: copies(blocks, query.histories, lists),
    }
    return {name: len(ids) / min(_seconds(call) for _ in range(3)) for name, call in work.items()}


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, for one model."""
    model, query, truth = tested(options)
    lists, _ = model._ranker.rank(query, options.n)
    found = cases(model._ranker, query, lists, options.seed)
    rows = {
        name: {method: interval(np.array(values)) for method, values in methods.items() if values}
        for name, methods in found.items()
    }
    account = {"set": options.set, "seed": options.seed, "users": len(lists), "cases": lists.size, "rows": rows}
    account |= {"small": options.small, "realism": realism(model, query, truth)}
    facts = {"encoder": model.info()["encoder"], "weights": model.info()["weights"]}
    return {**account, **facts, "length": query.histories.lengths.mean(), "users_a_second": costs(model, query, lists)}


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """The shares, and the speed."""
    names = list(result["rows"])
    cells = [[method, *(_cell(result["rows"][name].get(method)) for name in names)] for method in METHODS]
    part = f", trained on {result['small']:,} users for {SMALL['epochs']} epochs" if result["small"] else ""
    title = (
        f"{result['set']} ({result['encoder']}{part}): right reasons of {result['cases']:,} of {result['users']} users"
    )
    speed = [[name, f"{value:,.0f}"] for name, value in result["users_a_second"].items()]
    speed.append(["realism of a held-out item; .5 is chance", _cell(result["realism"])])
    length = f"{result['length']:.0f} items a history"
    return [
        Sheet(title, ["first reason", *names], cells),
        Sheet(f"Speed in users/s of one core, {length}; realism", ["", ""], speed),
    ]


def _cell(value: Sequence[float] | None) -> str:
    return "-" if value is None else "{:.3f} ({:.3f}-{:.3f})".format(*value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    options = parsed(arguments)
    result = plain({**measured(options), "quick": options.quick, "environment": environment()})
    write_json(options.out, result)
    show(sheets(result), options.table, WIDTH)
    return 0


if __name__ == "__main__":
    sys.exit(main())

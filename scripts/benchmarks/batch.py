"""How fast the exact search of a batch job is, beside implicit, torch and FAISS on the same factors.

    python scripts/benchmarks/batch.py [--items 3700,20000,100000] [--dims 64,256] [--n 100] [--table markdown]

Random factors, the same for all; every user has 100 seen items that must not be listed. Each contender has a process
of its own; they warm up and then take turns, so that what else the machine does meets all alike. Users a second are
those of the best round, ratios are medians over the rounds. "product" is torch's matrix product alone, in float32.
Lists are compared with those of torch. The memory is what a search needs beyond the factors.

What is measured is written after every size; a size that is there already, of the same code, is not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jobs import PACKAGE
from measuring import forget_peak, peak_mib, write_json
from results import environment, plain
from rich.console import Console
from tables import NOTHING, Sheet

from recgan.histories import Histories
from recgan.ranking import Query
from recgan.ranking.catalogue import Catalogue

HERE = Path(__file__).parent
SEEN, ROUNDS, SCORES = 100, 7, 40_000_000
"""Seen items a user, rounds, and scores of one round, from which the number of users follows."""
COMPARED = 200
"""Lists that are compared."""
Lists = np.ndarray
Factors = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One size of the problem: items, length of the vectors, draws a user, length of the lists, threads."""

    items: int
    dim: int
    draws: int
    n: int
    threads: int

    @property
    def users(self) -> int:
        """Users of one round."""
        return max(16, SCORES // self.items // self.draws)

    @property
    def portion(self) -> int:
        """Wanted vectors of one product."""
        return max(1, min(1024, 2**25 // self.items))


def factors(case: Case) -> Factors:
    """Item vectors (N, D), wanted vectors (B * S, D), a user's draws in rows together, and seen items (B * S, 100)."""
    random = np.random.default_rng(0)
    columns = random.standard_normal((case.items, case.dim), np.float32)
    queries = random.standard_normal((case.users * case.draws, case.dim), np.float32)
    return columns, queries, np.repeat(random.integers(0, case.items, (case.users, SEEN)), case.draws, axis=0)


def by_recgan(case: Case, given: Factors) -> Callable[[], Lists]:
    """The search of recgan, with its own filter."""
    columns, queries, seen = given
    blocked = Histories.from_lists(list(seen), case.items)
    query = Query(blocked, blocked, np.zeros((len(queries), 0), np.float32))
    catalogue = Catalogue(columns)
    return lambda: catalogue.best(queries, case.n, masks=lambda users: query.take(users).mask)[0]


def by_implicit(case: Case, given: Factors) -> Callable[[], Lists]:
    """`recommend` of implicit, with its own filter."""
    import implicit
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, "blas")  # as it asks for itself: its own threads each call BLAS

    columns, queries, seen = given
    model = implicit.als.AlternatingLeastSquares(factors=case.dim, num_threads=case.threads)
    model.item_factors, model.user_factors = columns, queries
    rows = np.repeat(np.arange(len(queries)), SEEN)
    liked = csr_matrix((np.ones(len(rows), np.float32), (rows, seen.ravel())), shape=(len(queries), case.items))
    everybody = np.arange(len(queries))
    return lambda: model.recommend(everybody, liked, N=case.n, filter_already_liked_items=True)[0]


def by_torch(case: Case, given: Factors) -> Callable[[], Lists]:
    """Product, filter and `topk`, a thousand users at a time."""
    columns, queries, seen = given
    step = case.portion

    def lists() -> Lists:
        found = []
        for start in range(0, len(queries), step):
            scores = torch.from_numpy(queries[start : start + step]) @ torch.from_numpy(columns).T
            scores.scatter_(1, torch.from_numpy(seen[start : start + step]), -torch.inf)
            found.append(scores.topk(case.n, dim=1).indices.numpy())
        return np.concatenate(found)

    return lists


def by_faiss(case: Case, given: Factors) -> Callable[[], Lists]:
    """The flat index of FAISS, asked for as many more as were seen, which are taken out afterwards."""
    import faiss

    faiss.omp_set_num_threads(case.threads)
    columns, queries, seen = given
    index = faiss.IndexFlatIP(case.dim)
    index.add(columns)

    def lists() -> Lists:
        numbers = index.search(queries, case.n + SEEN)[1]
        known = np.stack([np.isin(row, some) for row, some in zip(numbers, seen, strict=True)])
        order = np.argsort(known, axis=1, kind="stable")[:, : case.n]
        return np.asarray(np.take_along_axis(numbers, order, 1))

    return lists


def product(case: Case, given: Factors) -> Callable[[], Lists]:
    """The matrix product alone, a thousand users at a time."""
    columns, queries, _ = given
    step = case.portion

    def nothing() -> Lists:
        for start in range(0, len(queries), step):
            torch.from_numpy(queries[start : start + step]) @ torch.from_numpy(columns).T
        return np.empty((0, case.n), np.int64)

    return nothing


CONTENDERS = {
    "recgan": by_recgan,
    "implicit": by_implicit,
    "torch": by_torch,
    "FAISS flat": by_faiss,
    "product": product,
}


@dataclass
class Runner:
    """A contender in a process of its own; one that ends before it has answered has failed.

    Args:
        process: the contender's.
        channel: to it.
        failed: how it ended; empty while it has not.
        seconds: of its rounds.
        told: what it says at the end: its lists, and its memory in MiB.
    """

    process: BaseProcess
    channel: Connection
    failed: str = ""
    seconds: list[float] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, name: str, case: Case, closing: ExitStack) -> Runner:
        """Start a contender, which builds what it needs and does one round to warm up."""
        context = multiprocessing.get_context("spawn")
        mine, other = context.Pipe()
        process = context.Process(target=measured, args=(name, case, other), daemon=True)
        process.start()
        other.close()  # else its end would stay open here, and whoever waits for a dead process would wait for ever
        closing.callback(process.join)
        closing.callback(process.terminate)
        closing.callback(mine.close)
        return cls(process, mine)

    def answer(self, asked: str | None = None) -> Any:
        """What the process answers, None where it is dead."""
        try:
            if asked is not None and not self.failed:
                self.channel.send(asked)
            return None if self.failed else self.channel.recv()
        except (EOFError, OSError):
            self.process.join()
            self.failed = f"ended with exit code {self.process.exitcode}"
            return None

    def result(self, users: int, wanted: Lists | None) -> dict[str, Any]:
        """Users a second of the best round, seconds of all, MiB, and the share of the places with torch's item."""
        if self.failed:
            return {"failed": self.failed}
        lists = self.told["lists"]
        same = float((lists == wanted).mean()) if len(lists) and wanted is not None else None
        return {"rate": users / min(self.seconds), "seconds": self.seconds, "mib": self.told["mib"], "same": same}


def measured(name: str, case: Case, channel: Connection) -> None:
    """Warm up, then do a round whenever asked and answer with its seconds; at the end tell lists and memory."""
    torch.set_num_threads(case.threads)
    given = factors(case)
    before = forget_peak()
    lists = CONTENDERS[name](case, given)
    found = lists()[:COMPARED]
    channel.send("ready")
    while channel.recv() == "round":
        began = time.perf_counter()
        lists()
        channel.send(time.perf_counter() - began)
    channel.send({"lists": found, "mib": round(peak_mib() - before, 1)})


def of_case(case: Case) -> dict[str, dict[str, Any]]:
    """Every contender, in turn, round by round."""
    with ExitStack() as closing:
        runners = {name: Runner.start(name, case, closing) for name in CONTENDERS}
        for runner in runners.values():
            runner.answer()
        for _ in range(ROUNDS):
            for runner in runners.values():
                seconds = runner.answer("round")
                runner.seconds += [] if seconds is None else [seconds]
        for runner in runners.values():
            runner.told = runner.answer("end") or {}
    wanted = runners["torch"].told.get("lists")
    return {name: runner.result(case.users, wanted) for name, runner in runners.items()}


def ratio(results: dict[str, dict[str, Any]], one: str, other: str) -> float | None:
    """How many times as fast one contender is as another, the median over the rounds; None where one failed."""
    if results[one].get("failed") or results[other].get("failed"):
        return None
    return float(np.median(np.divide(results[other]["seconds"], results[one]["seconds"])))


def code() -> str:
    """Hash of the code that is measured, and of this file."""
    digest = hashlib.sha256()
    for path in sorted([*(PACKAGE / "ranking").glob("*.py"), *(PACKAGE / "histories").glob("*.py"), Path(__file__)]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def finished(path: Path) -> list[dict[str, Any]]:
    """The sizes that were measured before, with this code."""
    there = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.exists() else []
    return [one for one in there if one.get("code") == code()]


def sheet(results: list[dict[str, Any]]) -> Sheet:
    """A row a case: users a second, and recgan's as ratios."""
    pairs = [("recgan", "implicit"), ("recgan", "product")]
    columns = ["items", "D", "draws", "n", *CONTENDERS, *(" / ".join(pair) for pair in pairs)]
    rows = []
    for one in results:
        case, found = one["case"], one["results"]
        rates, own = [found[name].get("rate") for name in CONTENDERS], found["recgan"]
        rows.append(
            [f"{case['items']:,}", str(case["dim"]), str(case["draws"]), str(case["n"])]
            + [_number(rate, ",.0f") for rate in rates]
            + [_number(ratio(found, *pair), ".2f") for pair in pairs]
            + [_number(own.get("same"), ".4f"), _number(own.get("mib"), ",.0f")]
        )
    threads = ", ".join(sorted({str(one["case"]["threads"]) for one in results}))
    columns += ["lists as torch", "MiB beyond the factors"]
    return Sheet(f"Users a second, threads: {threads}", columns, rows, left=())


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--items", default="3700,20000,100000,1000000", help="sizes of the catalogue")
    add("--dims", default="64,256", help="lengths of the vectors")
    add("--draws", default="1,8", help="wanted vectors a user")
    add("--n", type=int, default=100, help="length of the lists")
    add("--threads", type=int, default=torch.get_num_threads(), help="of every contender")
    add("--out", type=Path, help="else results/batch-THREADS.json; cases that are there already are kept")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def cases(options: argparse.Namespace) -> list[Case]:
    """All sizes that are asked for."""
    items, dims, draws = (
        [int(one) for one in getattr(options, name).split(",")] for name in ("items", "dims", "draws")
    )
    return [Case(n, dim, s, options.n, options.threads) for n in items for dim in dims for s in draws]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    options = parsed(arguments)
    out = options.out or HERE / "results" / f"batch-{options.threads}.json"
    results = finished(out)
    for case in cases(options):
        if any(one["case"] == asdict(case) for one in results):
            continue
        found = of_case(case)
        results.append({"case": asdict(case), "code": code(), "results": found})
        write_json(out, plain({"cases": results, "environment": environment()}))
        rates = ", ".join(f"{name} {one.get('failed') or format(one['rate'], ',.0f')}" for name, one in found.items())
        print(f"{case.items:,} items, D = {case.dim}, {case.draws} draws: {rates}", file=sys.stderr, flush=True)
    table = sheet(results)
    print(table.markdown()) if options.table == "markdown" else table.show(Console())
    return int(any(one.get("failed") for case in results for one in case["results"].values()))


if __name__ == "__main__":
    sys.exit(main())

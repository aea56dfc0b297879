"""How fast the exact search of a batch job is, beside implicit, torch and FAISS on the same factors.

    python scripts/benchmarks/batch.py [--items 3700,20000,100000] [--dims 64,256] [--n 100] [--table markdown]

Random factors, the same for all; every user has 100 seen items that must not be listed. Each contender runs in a
process of its own, which warms up and then takes turns with nothing: the best of some rounds counts. "product" is the
matrix product alone, which no exact search by torch can beat. Lists are compared with those of torch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import write_json
from results import environment, plain
from rich.console import Console
from tables import Sheet

from recgan.histories import Histories
from recgan.ranking import Query
from recgan.ranking.catalogue import Catalogue

HERE = Path(__file__).parent
SEEN, ROUNDS, SCORES = 100, 5, 40_000_000
"""Seen items a user, rounds, and scores of one round, from which the number of users follows."""
Lists = np.ndarray


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


def factors(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item vectors (N, D), wanted vectors (B * S, D), a user's draws in rows together, and seen items (B * S, 100)."""
    random = np.random.default_rng(0)
    columns = random.standard_normal((case.items, case.dim)).astype(np.float32)
    queries = random.standard_normal((case.users * case.draws, case.dim)).astype(np.float32)
    return columns, queries, np.repeat(random.integers(0, case.items, (case.users, SEEN)), case.draws, axis=0)


def by_recgan(case: Case) -> Callable[[], Lists]:
    """The search of recgan, with its own filter."""
    columns, queries, seen = factors(case)
    blocked = Histories.from_lists(list(seen), case.items)
    query = Query(blocked, blocked, np.zeros((len(queries), 0), np.float32))
    catalogue = Catalogue(columns)
    return lambda: catalogue.best(queries, case.n, masks=lambda users: query.take(users).mask)[0]


def by_implicit(case: Case) -> Callable[[], Lists]:
    """`recommend` of implicit, with its own filter."""
    import implicit
    from scipy.sparse import csr_matrix

    columns, queries, seen = factors(case)
    model = implicit.als.AlternatingLeastSquares(factors=case.dim, num_threads=case.threads)
    model.item_factors, model.user_factors = columns, queries
    rows = np.repeat(np.arange(len(queries)), SEEN)
    liked = csr_matrix((np.ones(len(rows), np.float32), (rows, seen.ravel())), shape=(len(queries), case.items))
    everybody = np.arange(len(queries))
    return lambda: model.recommend(everybody, liked, N=case.n, filter_already_liked_items=True)[0]


def by_torch(case: Case) -> Callable[[], Lists]:
    """Product, filter and `topk`, a thousand users at a time."""
    columns, queries, seen = factors(case)
    step = case.portion

    def lists() -> Lists:
        found = []
        for start in range(0, len(queries), step):
            scores = torch.from_numpy(queries[start : start + step]) @ torch.from_numpy(columns).T
            scores.scatter_(1, torch.from_numpy(seen[start : start + step]), -torch.inf)
            found.append(scores.topk(case.n, dim=1).indices.numpy())
        return np.concatenate(found)

    return lists


def by_faiss(case: Case) -> Callable[[], Lists]:
    """The flat index of FAISS, asked for as many more as were seen, which are taken out afterwards."""
    import faiss

    faiss.omp_set_num_threads(case.threads)
    columns, queries, seen = factors(case)
    index = faiss.IndexFlatIP(case.dim)
    index.add(columns)

    def lists() -> Lists:
        numbers = index.search(queries, case.n + SEEN)[1]
        known = np.stack([np.isin(row, some) for row, some in zip(numbers, seen, strict=True)])
        order = np.argsort(known, axis=1, kind="stable")[:, : case.n]
        return np.asarray(np.take_along_axis(numbers, order, 1))

    return lists


def product(case: Case) -> Callable[[], Lists]:
    """The matrix product alone, a thousand users at a time."""
    columns, queries, _ = factors(case)
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


def measured(name: str, case: Case, channel: Any) -> None:
    """Users a second of the best round, peak memory above that of the factors, and the lists."""
    torch.set_num_threads(case.threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lists = CONTENDERS[name](case)
    found, best = lists(), np.inf
    for _ in range(ROUNDS):
        began = time.perf_counter()
        lists()
        best = min(best, time.perf_counter() - began)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    channel.send({"rate": case.users / best, "mib": peak, "lists": found[:200]})


def of_case(case: Case) -> dict[str, dict[str, float]]:
    """Every contender, in turn."""
    context, results = multiprocessing.get_context("spawn"), {}
    for name in CONTENDERS:
        mine, other = context.Pipe()
        process = context.Process(target=measured, args=(name, case, other))
        process.start()
        results[name] = mine.recv()
        process.join()
    wanted = results["torch"]["lists"]
    for found in results.values():
        lists = found.pop("lists")
        found["same"] = float((lists == wanted[: len(lists)]).mean()) if len(lists) else np.nan
    return results


def sheet(results: list[dict[str, Any]]) -> Sheet:
    """A row a case: users a second, and recgan's as ratios."""
    columns = ["items", "D", "draws", *CONTENDERS, "recgan / implicit", "recgan / product", "lists as torch", "MiB"]
    rows = []
    for one in results:
        rates = {name: found["rate"] for name, found in one["results"].items()}
        own = one["results"]["recgan"]
        rows.append(
            [f"{one['case']['items']:,}", str(one["case"]["dim"]), str(one["case"]["draws"])]
            + [f"{rate:,.0f}" for rate in rates.values()]
            + [f"{rates['recgan'] / rates['implicit']:.2f}", f"{rates['recgan'] / rates['product']:.2f}"]
            + [f"{own['same']:.4f}", f"{own['mib']:,.0f}"]
        )
    return Sheet(f"Users a second, lists of {results[0]['case']['n']}", columns, rows, left=())


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--items", default="3700,20000,100000,1000000", help="sizes of the catalogue")
    add("--dims", default="64,256", help="lengths of the vectors")
    add("--draws", default="1,8", help="wanted vectors a user")
    add("--n", type=int, default=100, help="length of the lists")
    add("--threads", type=int, default=torch.get_num_threads(), help="of every contender")
    add("--out", type=Path, default=HERE / "results" / "batch.json")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    options = parsed(arguments)
    results = []
    for items, dim, draws in (
        (int(items), int(dim), int(draws))
        for items in options.items.split(",")
        for dim in options.dims.split(",")
        for draws in options.draws.split(",")
    ):
        case = Case(items, dim, draws, options.n, options.threads)
        results.append({"case": asdict(case), "results": of_case(case)})
        rates = ", ".join(f"{name} {found['rate']:,.0f}" for name, found in results[-1]["results"].items())
        print(f"{items:,} items, D = {dim}, {draws} draws: {rates}", file=sys.stderr, flush=True)
    write_json(options.out, plain({"cases": results, "environment": environment()}))
    if options.table == "markdown":
        print(sheet(results).markdown())
    else:
        sheet(results).show(Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())

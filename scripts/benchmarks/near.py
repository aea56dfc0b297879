"""What an approximate search gains, and what it costs, beside the exact one.

    python scripts/benchmarks/near.py [--items 100000,1000000] [--alone 1000000,10000000] [--kinds ivf-pq,ivf]
        [--dim 64] [--recall 0.95] [--stored] [--keep] [--table markdown]

Two tables; every size and kind has a process of its own. "Lists": untrained models with planted tastes; exact and
approximate search take turns over the same users, lists of ten; users a second are those of the best round, the ratio
is the median over the rounds; recall is what `info()["search"]` tells (of the 100 best candidates, held-out users), and
"as exact" the share of the ten items that both searches list. "Search alone": as many vectors with planted tastes, and
a popularity, made in portions; queries are the mean of a history of two tastes; the 100 best with their exact scores.
Peaks of memory are beyond the model or the vectors while the index is built and measured, building is timed in the
processor. "Opened" is the time in which a saved index is ready (its cells stay in the file), "own MiB" what it then
takes that other processes with the same index do not share, after all queries; "1 % anew" is the time in which one item
in a hundred goes and as many come, and the recall is measured again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import forget_peak, peak_mib
from results import settled
from tables import NOTHING, Sheet, show
from untrained import GROUPS, Shape, untrained

import recgan
from recgan import artifact
from recgan.index import Kind, NearIndex, Place, index_bytes
from recgan.ranking import Catalogue, Near, Search

USERS, ASKED, ROUNDS, BEST = 2000, 400, 5, 100
QUERIES, IN_TURN, HISTORY, PORTION = 512, 128, 50, 1 << 18
RESULT = Path(__file__).parent / "results" / "near.json"
MOST = 2048
"""MiB of an index without a model; what would take more is left out, and its size is that of the formula."""
Row = dict[str, Any]


def rate(model: recgan.Recommender) -> tuple[float, np.ndarray]:
    """Seconds for the users asked, and their items."""
    began = time.perf_counter()
    items = model.recommend_batch(range(ASKED))["item_id"].to_numpy()
    return time.perf_counter() - began, items


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that something takes, and what comes of it."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def lists(items: int, dim: int, kind: str, recall: float) -> Row:
    """One size and kind, in a process of its own: whole lists."""
    exact = untrained(Shape(items, USERS, dim))
    wanted = rate(exact)[1]
    before, used = forget_peak(), time.process_time()
    near = exact.with_search(kind, recall)
    building, mib = time.process_time() - used, peak_mib() - before
    found = rate(near)[1]
    seconds = np.array([(rate(exact)[0], rate(near)[0]) for _ in range(ROUNDS)])
    with tempfile.TemporaryDirectory() as folder:
        exact.save(Path(folder) / "exact")
        near.save(Path(folder) / "near")
        loads = [timed(lambda name=name: recgan.Recommender.load(Path(folder) / name))[0] for name in ("exact", "near")]
    return {
        "told": near.info()["search"],
        "same": len(_pairs(found) & _pairs(wanted)) / len(wanted),
        "rates": (ASKED / seconds.min(axis=0)).tolist(),
        "ratio": float(np.median(seconds[:, 0] / seconds[:, 1])),
        "building": round(building, 1),
        "peak_mib": round(mib),
        "loads": loads,
    }


def _pairs(items: np.ndarray) -> set[tuple[Any, Any]]:
    return set(zip(np.arange(len(items)) // 10, items, strict=True))


def alone(items: int, dim: int, kind: Kind, recall: float) -> Row:
    """One size and kind, in a process of its own: the search of stage one without a model around it."""
    columns, queries = planted(items, dim)
    before, used = forget_peak(), time.process_time()
    near = Near.built(columns, queries, Search(kind, recall, MOST), kind, BEST)
    building, mib = time.process_time() - used, peak_mib() - before
    catalogue, few = Catalogue(columns), queries[:IN_TURN]
    catalogue.best(few[:1], BEST)

    def search() -> None:
        found = near.search(few, BEST)[1]
        np.argpartition(-catalogue.scores(few, found), BEST - 1, axis=1)

    turns = [
        (timed(lambda: catalogue.best(few, BEST))[0], timed(search)[0]) for _ in range(ROUNDS if items < 1e7 else 2)
    ]
    seconds = np.array(turns)
    opened, own = opening(near, columns, few)
    origin = np.where(np.random.default_rng(1).random(items) < 0.01, -1, np.arange(items))
    anew, changed = timed(lambda: near.changed(columns, origin, queries, BEST))
    return {
        "told": near.measured,
        "rates": (IN_TURN / seconds.min(axis=0)).tolist(),
        "ratio": float(np.median(seconds[:, 0] / seconds[:, 1])),
        "building": round(building, 1),
        "peak_mib": round(mib),
        "opened": opened,
        "own_mib": own,
        "anew": anew,
        "changed": None if changed is None else changed.measured,
    }


def opening(near: Near, columns: np.ndarray, queries: np.ndarray) -> tuple[float, float]:
    """Seconds until a saved index can be asked, and MiB of the process that it takes beside its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "search.safetensors"
        artifact.save_arrays(path, near.index.arrays())
        before = anonymous_mib()

        def opened() -> NearIndex:
            place = Place(path, artifact.first_byte(path, "lists"))
            return NearIndex.of(columns, near.index.kind, artifact.map_arrays(path), place)

        seconds, index = timed(opened)
        replace(near, index=index).search(queries, BEST)
        return seconds, anonymous_mib() - before


def anonymous_mib() -> float:
    """Memory of this process that is no file's, in MiB."""
    told = Path("/proc/self/status").read_text(encoding="ascii")
    return int(told.split("RssAnon:")[1].split()[0]) / 1024


def planted(items: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around tastes and a popularity, (N, D + 1) float32, and queries (B, D + 1) float32."""
    random = np.random.default_rng(0)
    middles = random.standard_normal((GROUPS, dim), np.float32)
    columns, group = np.empty((items, dim + 1), np.float32), random.integers(0, GROUPS, items)
    for first in range(0, items, PORTION):
        some = group[first : first + PORTION]
        vectors = middles[some] + 0.8 * random.standard_normal((len(some), dim), np.float32)
        columns[first : first + len(some), :dim] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    columns[:, dim] = random.standard_normal(items, np.float32)
    liked = random.integers(0, GROUPS, (QUERIES, 2))[:, np.arange(HISTORY) % 2]
    had = middles[liked] + 0.8 * random.standard_normal((QUERIES, HISTORY, dim), np.float32)
    wanted = had.mean(axis=1)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    return columns, np.concatenate([wanted, np.full((QUERIES, 1), 0.05, np.float32)], axis=1)


def measured(options: argparse.Namespace) -> Row:
    """All sizes and kinds, each in a process of its own; what does not come as near has an error instead."""
    rows = []
    for work, sizes in ((lists, options.items), (alone, options.alone)):
        for items in map(int, filter(None, sizes.split(","))):
            for kind in options.kinds.split(","):
                row = {"table": work.__name__, "items": items, "kind": kind}
                try:
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        row |= pool.apply(work, (items, options.dim, kind, options.recall))
                except recgan.ConfigError as error:  # it does not come as near with any effort
                    row["error"] = str(error)
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
    return {"dim": options.dim, "recall": options.recall, "rows": [*others(options, rows), *rows]}


def others(options: argparse.Namespace, rows: list[Row]) -> list[Row]:
    """Rows of the result that is there which were not measured again, where they are to be kept."""
    if not options.keep:
        return []
    anew = {(row["table"], row["items"], row["kind"]) for row in rows}
    before: list[Row] = json.loads(options.out.read_text(encoding="utf-8"))["rows"]
    return [row for row in before if (row["table"], row["items"], row["kind"]) not in anew]


def sheets(result: Row) -> list[Sheet]:
    """Both tables."""
    asked = f"D = {result['dim']}, recall asked {result['recall']}"
    first = ["items", "search", "recall@100", "effort", "index MiB"]
    last = ["ratio", "build s, processor", "peak MiB"]
    found = []
    for name, title, middle, end in (
        ("lists", "Lists of ten", ["lists@10 as exact", "exact users/s", "users/s"], ["load s, exact", "load s"]),
        (
            "alone",
            "Search alone, 100 best",
            ["exact queries/s", "queries/s"],
            ["opened s", "own MiB", "1 % anew s", "recall then"],
        ),
    ):
        columns = [*first, *middle, *last, *end]
        rows = [cells(row, result["dim"], len(columns)) for row in result["rows"] if row["table"] == name]
        found.append(Sheet(f"{title}, {asked}", columns, rows))
    return found


def cells(row: Row, dim: int, width: int) -> list[str]:
    """A row of a table."""
    name = [f"{row['items']:,}", row["kind"]]
    if "error" in row:
        size = index_bytes(row["kind"], row["items"], dim + 1) / 2**20
        return [*name, NOTHING, NOTHING, f"{size:,.0f}", *[NOTHING] * (width - 5)]
    told = row["told"]
    found = [*name, f"{told['recall']:.3f}", str(told["effort"]), f"{told['memory']:,.0f}"]
    found += [f"{row['same']:.3f}"] if "same" in row else []
    found += [f"{rate:,.0f}" for rate in row["rates"]]
    found += [f"{row['ratio']:.1f}", f"{row['building']:,.0f}", f"{row['peak_mib']:,.0f}"]
    if "loads" in row:
        return [*found, *(f"{load:.1f}" for load in row["loads"])]
    then = f"{row['changed']['recall']:.3f}" if row["changed"] else "built anew"
    return [*found, f"{row['opened']:.2f}", f"{row['own_mib']:,.0f}", f"{row['anew']:.1f}", then]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--items", default="100000,1000000", help="sizes of the catalogues of the models")
    add("--alone", default="1000000,10000000", help="sizes of the sets of vectors without a model")
    add("--dim", type=int, default=64, help="length of the item vectors")
    add("--kinds", default="ivf-pq,ivf")
    add("--recall", type=float, default=0.95, help="that is asked for")
    add("--out", type=Path, default=RESULT)
    add("--stored", action="store_true", help="print what was measured before")
    add("--keep", action="store_true", help="keep the rows of the result that are not measured again")
    add("--quick", action="store_true", help="says in the result that it is no measurement")
    add("--table", choices=["rich", "markdown"], default="rich")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parsed(arguments)
    show(sheets(settled(options, measured)), options.table, 160)
    return 0


if __name__ == "__main__":
    sys.exit(main())

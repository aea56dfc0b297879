"""How many small mistakes the tests notice: `python scripts/mutants.py [--most 60] [MODULE ...]`.

Every mutant is one changed operator, number, comparison or condition of a module. The module's own test files run on it
in a forked process that has the large libraries loaded already; a mutant is killed where a test fails or time runs out.
Hypothesis draws the same examples for every mutant, and does not shrink what fails.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.machinery
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = {
    "metrics.py": ["test_metrics.py", "test_evaluation.py"],
    "splits.py": ["test_splits.py"],
    "vocabulary.py": ["test_vocabulary.py"],
    "features.py": ["test_features.py"],
    "ranking/arranging.py": ["test_ranking.py"],
    "ranking/blocks.py": ["test_blocks.py", "test_ranking.py", "test_ruling.py"],
    "ranking/calibrating.py": ["test_ranking.py"],
    "ranking/catalogue.py": ["test_catalogue.py"],
    "ranking/gate.py": ["test_ruling.py"],
    "ranking/limits.py": ["test_ruling.py", "test_catalogue.py"],
    "ranking/choosing.py": ["test_near.py"],
    "ranking/near.py": ["test_near.py"],
    "ranking/ranker.py": ["test_ranking.py", "test_ruling.py", "test_near.py"],
    "ranking/rough.py": ["test_catalogue.py"],
    "ranking/ruling.py": ["test_ruling.py"],
    "ranking/threads.py": ["test_catalogue.py"],
    "ranking/top.py": ["test_catalogue.py", "test_ranking.py"],
}
TIME, UNUSED = "takes other time for the same result", "is never read"
EQUIVALENT = {
    "metrics.py": {
        "np.cumsum(falling) > head * falling.sum() - 1e-09": "no whole number is that near",
        "vectorized=False": TIME,
        "3 ** 22 // len": TIME,
    },
    "ranking/arranging.py": {
        "return np.where(there, values - mean, 1.0)": "what does not stand is admitted nowhere",
        "np.where(spread > 0.0, spread, 2.0)": "nought is divided by it",
    },
    "ranking/catalogue.py": {
        "CELLS, BLOCK = (": TIME,
        "GATHERED = ": TIME,
        "MANY = ": TIME,
        "step = max(2, CELLS": TIME,
        "step = max(1, CELLS * min(": TIME,
        "scores = np.full((len(queries), k), +np.inf": UNUSED,
        "step = max(1, CELLS // min(BLOCK, max(2,": TIME,
        "if not best.shape[1] == k else": TIME,
        "padded(pairs.rows, pairs.items, len(queries), 2, 0)": UNUSED,
        "step = max(2, GATHERED": TIME,
        "step = max(1, GATHERED *": TIME,
        "step = max(1, GATHERED // max(2": TIME,
    },
    "ranking/near.py": {
        "Query(part, part, np.empty((len(part), 1)": UNUSED,
    },
    "ranking/ranker.py": {
        "SCORED_WHOLE = 1000001": TIME,
        "if len(self.blocks.columns) < SCORED_WHOLE": TIME,
        "load = query.histories.lengths - query.blocked.lengths": TIME,
        "CELLS // max(n_items, 2)": TIME,
        "sum(axis=1) < k - most": TIME,
        "max(n, self.n_candidates) + 2)": TIME,
        "max(initial=1)": TIME,
        "np.where(pinned == ABSENT, 1, pinned)": UNUSED,
        "np.minimum(k, n_items + blocked)": TIME,
        "values = np.where(pinned == ABSENT, +np.inf": "no pin stands there, which is looked at later",
        "old = np.where(support.holds(numbers), +np.inf, scores)": "only what is finite stays",
        "np.where(top >= below,": "the shift is nought",
        "np.maximum(tail[:, :1], -1e+30)": "the same number",
        "new = np.where(there, dense + values, +np.inf)": "no item stands there, which is looked at later",
    },
    "ranking/ruling.py": {
        "relevance = np.full(more.shape, +np.inf)": UNUSED,
        "users = np.arange(len(more))[:, None] << 33": "the keys are as distinct",
        "could |= short @": TIME,
        ".T.astype(np.float32) >= 0": TIME,
    },
    "ranking/top.py": {
        "GROUPS = 33": TIME,
        "size = max(1, n_items * (GROUPS * max(1, k)))": TIME,
        "size = max(1, n_items // (GROUPS * max(2, k)))": TIME,
        "np.full((len(scores), k), +np.inf": "an empty array",
        "np.searchsorted(rows, np.arange(n_rows + 2))": UNUSED,
    },
    "ranking/rough.py": {
        "_value(keys), 1.0)": "an infinite slack is taken from it",
        "np.maximum(bound, 2), first)": TIME,
        "(n_columns + 3) * ADDED": TIME,
        "n_columns * TINY * (2.0 + length": TIME,
    },
    "ranking/gate.py": {
        "NO_CLASSES = Classes(np.zeros((1, 0), bool), np.empty(1": UNUSED,
        "NO_CLASSES = Classes(np.zeros((1, 1), bool)": UNUSED,
        "self._items = np.where(pool.numbers == ABSENT, 1": UNUSED,
        "self.lacks_help &= lacks_help": TIME,
        "self._places = np.empty((n_users, 1)": UNUSED,
    },
}
"""Changes that no test can notice, by a piece of the changed statement that no other has, with the reason."""
QUIET = "ignore:Module already imported"
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A module with one change, and the first line of the statement that it is in."""

    tree: ast.AST
    line: int
    statement: str


def changes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Places (in the order of `ast.walk`) that can be changed, and what is done there."""
    types = {id(part) for node in ast.walk(tree) for part in annotations(node)}
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in types:
            continue
        if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
            yield place, "operator"
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield place, "comparison"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            yield place, "sign"
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            yield place, "condition"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            yield place, "constant"


def annotations(node: ast.AST) -> Iterator[ast.AST]:
    """What only a type checker reads, and the settings of data classes, which tell what nobody may do."""
    parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    if isinstance(node, ast.ClassDef):
        parts += node.decorator_list
    for part in parts:
        if part is not None:
            yield from ast.walk(part)
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        yield from ast.walk(node)


def changed(tree: ast.AST, place: int, how: str) -> Mutant:
    """A copy with one change."""
    tree = copy.deepcopy(tree)
    node = list(ast.walk(tree))[place]
    around = [part for part in ast.walk(tree) if isinstance(part, ast.stmt) and node in ast.walk(part)]
    if how == "operator":
        node.op = SWAPS[type(node.op)]()
    elif how == "comparison":
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif how == "sign":
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif how == "condition":
        node.test = ast.UnaryOp(ast.Not(), node.test)
    else:
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    ast.fix_missing_locations(tree)
    return Mutant(tree, node.lineno, ast.unparse(around[-1]).splitlines()[0])


def killed(path: Path, tree: ast.AST | None, tests: list[str], seconds: float) -> bool:
    """Whether the tests notice, or take more processor time than that; with no tree, whether they fail as it is."""
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
        os._exit(tested(path, tree, tests))
    until = time.monotonic() + 20 * seconds  # by the clock, for those that wait for ever
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def tested(path: Path, tree: ast.AST | None, tests: list[str]) -> int:
    """The exit code of pytest with another content of one module."""
    import pytest

    source_of = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, name: str) -> object:
        if tree is not None and Path(self.path) == path:
            return compile(tree, self.path, "exec")
        return source_of(self, name)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        files = [str(ROOT / "tests" / name) for name in tests]
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-W", QUIET, *files]))


def prepared() -> None:
    """Load what every test needs, once."""
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    import hypothesis.extra.numpy
    import pandas
    import scipy.stats
    import torch

    torch.set_num_threads(1)
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    del pandas, scipy


def measured(name: str, most: int) -> tuple[int, int, int]:
    """Print a module's row and its survivors; how many were tried, killed, and equivalent."""
    path, since = ROOT / "recgan" / name, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if killed(path, None, TESTS[name], 600):
        raise SystemExit(f"{name}: its tests fail without any change")
    limit = 4 * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - since) + 10
    places = list(changes(tree))
    some = sorted(random.Random(0).sample(places, min(most, len(places))))
    mutants = [changed(tree, place, how) for place, how in some]
    equal = EQUIVALENT.get(name, {})
    real = [mutant for mutant in mutants if not any(piece in mutant.statement for piece in equal)]
    alive = []
    for mutant in real:
        if not killed(path, mutant.tree, TESTS[name], limit):
            alive.append(mutant)
            print(f"<!-- {name}:{mutant.line} lives: {mutant.statement} -->", file=sys.stderr, flush=True)
    dead = len(real) - len(alive)
    print(row(name, len(places), len(some), dead, len(some) - len(real)), flush=True)
    return len(some), dead, len(some) - len(real)


def row(name: str, possible: int | str, tried: int, dead: int, equal: int) -> str:
    """A row of the table."""
    return f"| `{name}` | {possible} | {tried} | {equal} | {dead} | {dead / max(1, tried - equal):.0%} |"


def main() -> None:
    """Print a row a module and, on stderr, every mutant that lives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    parser.add_argument("--most", type=int, default=60, help="mutants of one module, drawn at random")
    arguments = parser.parse_args()
    prepared()
    print(
        "| module | possible mutants | tried | equivalent | killed | share |\n|---|---:|---:|---:|---:|---:|",
        flush=True,
    )
    counts = [measured(name, arguments.most) for name in arguments.modules]
    tried, dead, equal = (sum(column) for column in zip(*counts, strict=True))
    print(row("all", "", tried, dead, equal))


if __name__ == "__main__":
    main()

"""How many small mistakes the tests notice: `python scripts/mutants.py [--most 60] [MODULE ...]`.

Every mutant is one changed operator, number, comparison or condition of a module. The module's own test files run on it
in a forked process that has the large libraries loaded already; a mutant is killed where a test fails or time runs out.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.machinery
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = {
    "metrics.py": ["test_metrics.py", "test_evaluation.py"],
    "splits.py": ["test_splits.py"],
    "vocabulary.py": ["test_vocabulary.py"],
    "ranking/top.py": ["test_ranking.py"],
    "ranking/ranker.py": ["test_ranking.py", "test_serving.py"],
    "ranking/arranging.py": ["test_ranking.py"],
    "ranking/calibrating.py": ["test_ranking.py"],
}
QUIET = "ignore:Module already imported"
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


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
    """What only a type checker reads."""
    for name in ("annotation", "returns"):
        part = getattr(node, name, None)
        if part is not None:
            yield from ast.walk(part)


def changed(tree: ast.AST, place: int, how: str) -> tuple[ast.AST, int]:
    """A copy with one change, and its line."""
    tree = copy.deepcopy(tree)
    node = list(ast.walk(tree))[place]
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
    return ast.fix_missing_locations(tree), node.lineno


def killed(path: Path, tree: ast.AST | None, tests: list[str], seconds: float) -> bool:
    """Whether the tests notice; with no tree, whether they fail as it is."""
    pid = os.fork()
    if pid == 0:
        os._exit(tested(path, tree, tests))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.02)
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


def main() -> None:
    """Print a line a module, and every mutant that lived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    parser.add_argument("--most", type=int, default=60, help="mutants of one module, drawn at random")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    import hypothesis.extra.numpy
    import pandas
    import scipy.stats
    import torch

    torch.set_num_threads(1)
    del hypothesis, pandas, scipy
    dead, all_of_them = 0, 0
    for name in arguments.modules:
        path = ROOT / "recgan" / name
        tree = ast.parse(path.read_text(encoding="utf-8"))
        since = time.monotonic()
        if killed(path, None, TESTS[name], 600):
            raise SystemExit(f"{name}: its tests fail without any change")
        limit = 5 * (time.monotonic() - since) + 10
        places = list(changes(tree))
        some = sorted(random.Random(0).sample(places, min(arguments.most, len(places))))
        alive = []
        for place, how in some:
            mutant, line = changed(tree, place, how)
            if not killed(path, mutant, TESTS[name], limit):
                alive.append(f"{line} ({how})")
        dead, all_of_them = dead + len(some) - len(alive), all_of_them + len(some)
        share = 1 - len(alive) / max(1, len(some))
        told = ", ".join(alive) or "none"
        print(f"{name}: {share:.0%} of {len(some)} killed ({len(places)} possible); alive: {told}", flush=True)
    print(f"all: {dead / max(1, all_of_them):.1%} of {all_of_them} killed")


if __name__ == "__main__":
    main()

"""Run notebooks and keep what their cells show: `python scripts/notebooks.py [NAME ...]`; without a name, all of them.

Tables are kept as HTML and text, figures as PNG, warnings not at all. Files that the cells write go to a folder that is
thrown away.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
DOTS = 110
"""Pixels to the inch of the figures."""
Json = dict[str, Any]


def run(path: Path) -> float:
    """Run a notebook from its first cell to its last, keep the outputs in it, and tell the seconds it took."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    begun, names, number = time.perf_counter(), {"__name__": "__main__"}, 0
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in (one for one in notebook["cells"] if one["cell_type"] == "code"):
            number += 1
            cell |= {"execution_count": number, "outputs": outputs("".join(cell["source"]), names, number)}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return time.perf_counter() - begun


def outputs(source: str, names: Json, number: int) -> list[Json]:
    """What a cell prints, then its last value, then its figures, as a notebook keeps them."""
    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), names)  # noqa: S102
        value = None if last is None else eval(compile(last, "cell", "eval"), names)  # noqa: S307
    found: list[Json] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": lines(printed.getvalue())})
    if value is not None and not source.rstrip().endswith(";"):
        told = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown(value)}
        found.append(told)
    for place in plt.get_fignums():
        found.append({"output_type": "display_data", "metadata": {}, "data": picture(plt.figure(place))})
    plt.close("all")
    return found


def shown(value: Any) -> Json:
    """A value as text and, where it knows how, as HTML."""
    data: Json = {"text/plain": lines(repr(value))}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = lines(value._repr_html_())
    return data


def picture(figure: Figure) -> Json:
    """A figure as PNG, its colours reduced where nobody sees it."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS, facecolor="white", bbox_inches="tight", pad_inches=0.12)
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return {"image/png": base64.b64encode(small.getvalue()).decode(), "text/plain": ["<Figure>"]}


def lines(text: str) -> list[str]:
    """Text as a notebook keeps it."""
    return text.splitlines(keepends=True)


def main(names: list[str]) -> int:
    """Run the named notebooks, or all of them."""
    mpl.use("Agg")
    chosen = [NOTEBOOKS / name for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in chosen:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            print(f"{path.name}: {run(path):.0f} s, {path.stat().st_size / 1024:.0f} KiB", flush=True)
            os.chdir(NOTEBOOKS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The program itself: its commands in order, and its way in and out."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Annotated

import typer

import recgan
from recgan.cli.changing import forget, items
from recgan.cli.data import data_app
from recgan.cli.explaining import explain
from recgan.cli.gaps import gaps, ideal
from recgan.cli.guard import INTERRUPTED, Guarded
from recgan.cli.judging import compare, evaluate
from recgan.cli.making import demo, report, train
from recgan.cli.moods import moods, uncertainty
from recgan.cli.serving import batch, recommend
from recgan.cli.updating import update

app = typer.Typer(
    cls=Guarded, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.add_typer(data_app, name="data")
EXAMPLES: dict[Callable[..., None], str] = {
    demo: "recgan demo --out demo",
    train: "recgan train ratings.csv --out model --items films.csv --min-rating 4",
    update: "recgan update model new.csv --out model-2",
    items: "recgan items model --add arrivals.csv --remove gone.csv --out model-2",
    forget: "recgan forget model leaving.csv --out model-2",
    recommend: "recgan recommend model 42 -n 20 --format csv",
    explain: "recgan explain model 42 50",
    batch: "recgan batch model --out lists --shards 16 --workers 4",
    evaluate: "recgan evaluate lists truth.csv --metric ndcg@10 --metric recall@20",
    compare: "recgan compare lists rival.csv truth.csv --metric ndcg@10",
    report: "recgan report model --out report.html",
    moods: "recgan moods model 42 -n 5 --moods 4",
    uncertainty: "recgan uncertainty model --users some.csv --out uncertainty.csv",
    ideal: "recgan ideal model 42 --items available.csv",
    gaps: "recgan gaps model --out gaps.html --items available.csv",
}
for command, example in EXAMPLES.items():
    app.command(epilog=f"\b\nExample:\n  {example}")(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"recgan {recgan.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Personalised recommendations from a table of interactions.

    Train a model, ask it for one user or for all of them, and judge the lists. Data goes to stdout, everything else to
    stderr.
    """


def main() -> None:
    """Run the command line and exit: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="recgan")
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None

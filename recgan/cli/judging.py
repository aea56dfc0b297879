"""`recgan evaluate` and `recgan compare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.cli.output import show, show_json

if TYPE_CHECKING:
    import pandas as pd

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TruthArgument = Annotated[Path, typer.Argument(help="Table user_id, item_id: the relevant items.")]


def evaluate(
    recs: Annotated[Path, typer.Argument(help="Lists: a folder of `recgan batch`, or a table user_id, item_id, rank.")],
    truth: TruthArgument,
    metric: Annotated[list[str] | None, typer.Option(help="Such as ndcg@10; repeatable.")] = None,
    items: Annotated[Path | None, typer.Option(help="Table item_id, categories: for coverage, diversity.")] = None,
    train: Annotated[Path | None, typer.Option(help="Table user_id, item_id: for novelty, long_tail.")] = None,
    history: Annotated[Path | None, typer.Option(help="Table user_id, item_id: for calibration.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Score lists against the truth.

    Each metric per user first, then the mean.

    Ranking metrics: hit, map, mrr, ndcg, precision, recall, recall_capped. List metrics: calibration, coverage,
    diversity, effective_items, long_tail, novelty, personalisation. All with their k, as in recall@20.
    """
    import pandas as pd

    from recgan.evaluation import evaluate as score

    names = [name for text in metric or ["ndcg@10,recall@20"] for name in text.split(",")]
    tables: dict[str, Any] = {"items": items, "train": train, "history": history}
    values: Any = score(_lists(recs), truth, names, **tables)
    if as_json:
        show_json(values)
    else:
        show(pd.DataFrame({"metric": values.keys(), "value": values.values()}))


def compare(
    a: Annotated[Path, typer.Argument(help="Lists: a folder of `recgan batch`, or a table user_id, item_id, rank.")],
    b: Annotated[Path, typer.Argument(help="The rival's.")],
    truth: TruthArgument,
    metric: Annotated[str, typer.Option(help="A ranking metric with its k.")] = "ndcg@10",
    as_json: JsonOption = False,
) -> None:
    """Which lists are better? And could it be chance?

    Paired by user, with a 95 % interval and a p-value.
    """
    from recgan.evaluation import compare as judge

    found = judge(_lists(a), _lists(b), truth, metric)
    if as_json:
        show_json(asdict(found))
    else:
        print(found)


def _lists(path: Path) -> Path | pd.DataFrame:
    """A folder of shards is read only when all of them are there and whole."""
    if not (path / "job.json").is_file():
        return path
    from recgan.batch import is_batch, read_batch

    return read_batch(path) if is_batch(path) else path

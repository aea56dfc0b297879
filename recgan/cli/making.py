"""`recgan train`, `report` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.cli.data import read_data
from recgan.cli.guard import INTERRUPTED
from recgan.cli.ids import matched
from recgan.cli.output import check_writable, note, show
from recgan.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from recgan.config import Config
    from recgan.recommender import Recommender

ModelArgument = Annotated[Path, typer.Argument(help="A model folder, as `recgan train` writes it.")]
OutOption = Annotated[Path, typer.Option(help="Folder of the model; an older model there is replaced.")]
ItemsOption = Annotated[Path | None, typer.Option(help="Table with the item_id of what is on offer; else all items.")]


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="Interactions: a .csv, .tsv or .parquet file, a folder of .parquet files, or a data set's name."
        ),
    ],
    out: OutOption,
    items: Annotated[Path | None, typer.Option(help="Table item_id, title, categories, year.")] = None,
    users: Annotated[Path | None, typer.Option(help="Table user_id and features such as age.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of settings, see recgan.Config.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    min_rating: Annotated[float | None, typer.Option(help="Leave out rows with a lower rating.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column's name in DATA and its meaning: uid=user_id. Repeatable.")
    ] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="A kind of event and its weight: buy=5, dislike=-1. Repeatable.")
    ] = None,
    max_dislike_rating: Annotated[float | None, typer.Option(help="Rows rated so or lower are dislikes.")] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Folder for CSV and TensorBoard logs.")] = None,
    checkpoint_dir: Annotated[
        Path | None, typer.Option(help="Folder that keeps the training; run the same command again to go on.")
    ] = None,
) -> None:
    """Train a model; nothing needs to be tuned.

    What each part of the model is worth on validation data goes to stdout. Ctrl-C writes what has been learned, and
    exits with 130. Under torchrun (`torchrun --nproc-per-node 2 -m recgan train ...`) the processes train together.
    """
    columns = columns_of(column or [])
    check_model_place(out)
    settings = _settings(config, log_dir=log_dir, checkpoint_dir=checkpoint_dir)
    heeded = {"weights": weights_of(event or []), "max_dislike_rating": max_dislike_rating}
    filtered = columns or any(one is not None for one in (min_rating, *heeded.values()))
    interactions: Any = Path(data).expanduser()
    known_items = known_users = None
    if filtered or not _stays_on_disk(interactions, settings):
        interactions, known_items, known_users = read_data(data, columns, min_rating, **heeded)
    from recgan.training import train as train_model
    from recgan.training.team import team

    model = train_model(
        interactions,
        known_items if items is None else items,
        users=known_users if users is None else users,
        config=settings,
        seed=seed,
    )
    if team().rank:  # of several processes that have trained together the first one writes
        return
    model.save(out)
    _tell(model.info(), out)
    if model.info()["interrupted"]:
        raise typer.Exit(INTERRUPTED)


def report(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    items: ItemsOption = None,
) -> None:
    """Write an HTML page about a model."""
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; --out names a file")
    check_writable(out)
    from recgan.recommender import Recommender
    from recgan.report import write_report

    loaded = Recommender.load(model)
    print(write_report(loaded, out, items=offered(items, loaded)))


def demo(
    out: Annotated[Path, typer.Option(help="Folder for what the demonstration writes.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run.")] = False,
) -> None:
    """Everything once, on a public data set."""
    check_writable(out)
    from recgan import demonstration

    demonstration.run(out, quick=quick)


def offered(path: Path | None, model: Recommender) -> pd.Series | None:
    """Ids of the items on offer, from a table; None for all."""
    if path is None:
        return None
    from recgan.items import read_items

    return matched(read_items(path)["item_id"], model.items, str(path))


def users_in(table: Path | str, model: Recommender, *, strict: bool = True) -> pd.Series:
    """Ids of the users of a table, in the type of the model's; `strict` as in `matched`."""
    from recgan.items import read_users

    return matched(read_users(table)["user_id"], model.users, str(table), strict=strict)


def _stays_on_disk(path: Path, settings: Config) -> bool:
    """Whether a table is larger than memory: no filter of ours can be applied to it then."""
    from recgan.packing import rows_on_disk

    return rows_on_disk(path) > settings.rows_in_memory


def weights_of(pairs: list[str]) -> dict[str, float] | None:
    """Weights of events from values such as buy=5; None where there is none."""
    weights = {}
    for pair in pairs:
        name, _, weight = pair.rpartition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            name = ""
        if not name:
            raise typer.BadParameter(f"{pair!r} is no NAME=WEIGHT, such as buy=5", param_hint="'--event'")
    return weights or None


def columns_of(pairs: list[str]) -> dict[str, str]:
    """Names in a table to canonical names, from values such as uid=user_id."""
    columns = {}
    for pair in pairs:
        name, sign, meaning = pair.rpartition("=")
        if not (name and sign and meaning):
            raise typer.BadParameter(f"{pair!r} is no NAME=MEANING, such as uid=user_id", param_hint="'--column'")
        columns[name] = meaning
    return columns


def check_model_place(out: Path) -> None:
    """Refuse before the training what would be refused after it."""
    is_model = (out / "manifest.json").is_file()
    if out.exists() and not is_model and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: exists and is no model; choose another folder or remove it")
    check_writable(out)


def _settings(path: Path | None, **folders: Path | None) -> Config:
    from recgan.config import Config

    config = Config() if path is None else Config.read(path)
    return config.changed(**{name: str(folder) for name, folder in folders.items() if folder is not None})


def _tell(info: dict[str, Any], out: Path) -> None:
    import pandas as pd

    ablation, data = info["ablation"], info["data"]
    show(pd.DataFrame({"part": ablation.keys(), info["config"]["metric"]: ablation.values()}))
    for alarm, advice in info["alarms"]["advice"].items():
        note(f"warning: {alarm}: {advice}")
    sizes = ", ".join(f"{data[name]:,} {name}" for name in ("users", "items", "interactions"))
    note(f"{out}: a model of {sizes}, trained in {info['seconds']:.0f} s")

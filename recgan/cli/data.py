"""`recgan data`, and how every command reads interactions: from a file, or as a public data set by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.cli.output import Format, note, show
from recgan.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    Tables = tuple[pd.DataFrame, pd.DataFrame | None, pd.DataFrame | None]

FormatOption = Annotated[Format, typer.Option("--format", help="How the rows are printed.")]

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Public data sets.")


@data_app.command("list", epilog="Example: recgan data list --format json")
def list_datasets(form: FormatOption = Format.table) -> None:
    """The public data sets that can be fetched."""
    from recgan.datasets import dataset_table

    table = dataset_table()
    show(table if form is not Format.table else table.drop(columns=["md5", "url"]), form)


@data_app.command(epilog="Example: recgan data fetch ml-100k")
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a data set, as in `recgan data list`.")],
    cache: Annotated[
        Path | None, typer.Option(help="Folder for fetched data; without it RECGAN_DATA, else the user's cache folder.")
    ] = None,
) -> None:
    """Fetch a public data set, unless it is there.

    Its licence goes to stderr, its folder to stdout.
    """
    from recgan.datasets import fetch_dataset, known_dataset

    known = known_dataset(name)
    note(f"{name}: {known.licence} {known.page}")
    print(fetch_dataset(name, cache))


def read_data(source: str, columns: dict[str, str], min_rating: float | None, **options: Any) -> Tables:
    """Interactions from a path or by the name of a public data set, with the items and users that come with it.

    Args:
        source: a path, else a name.
        columns: names in the table to canonical names.
        min_rating: rows with a lower rating are dropped.
        options: others of `read_interactions`.

    Returns:
        Interactions, items and users; the last two are None where only a path is given.

    Raises:
        RecganError: when nothing can be read.
    """
    from recgan.datasets import dataset_names, load_dataset
    from recgan.interactions import read_interactions

    if Path(source).expanduser().exists():
        return read_interactions(source, columns, min_rating, **options), None, None
    if source not in dataset_names():
        raise DataError(
            f"{source}: there is no such file or folder, and no data set of that name in `recgan data list`"
        )
    known = load_dataset(source)
    return read_interactions(known.interactions, columns, min_rating, **options), known.items, known.users

"""`recgan ideal` and `recgan gaps`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recgan.cli.data import FormatOption
from recgan.cli.ids import one_id
from recgan.cli.making import ItemsOption, ModelArgument, offered, users_in
from recgan.cli.output import Format, check_writable, note, show
from recgan.cli.serving import titled
from recgan.errors import ConfigError


def ideal(
    model: ModelArgument,
    user: Annotated[str, typer.Argument(help="A user's id.")],
    n: Annotated[int, typer.Option("--n", "-n", min=0, help="How many.")] = 3,
    items: ItemsOption = None,
    form: FormatOption = Format.table,
) -> None:
    """The items that a user would like best, whether or not there are any.

    Decoded to attributes, with the nearest item on offer and its distance (1 - cosine).
    """
    from recgan.recommender import Recommender

    loaded = Recommender.load(model)
    found = loaded.ideal_items(one_id(user, loaded.users), n, items=offered(items, loaded))
    if not found.attrs["accuracy"]:
        note("the items of this model have no attributes: only the nearest items are told")
    show(titled(found, loaded.item_table, "nearest_item_id", "nearest_title"), form)


def gaps(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    items: ItemsOption = None,
    users: Annotated[Path | None, typer.Option(help="Table with the user_id of those asked; else all users.")] = None,
    alpha: Annotated[
        float, typer.Option(help="Probability of reporting anything where items were left out at random.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of the random withdrawals.")] = 0,
) -> None:
    """Write an HTML page about what users want and the catalogue lacks."""
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; --out names a file")
    check_writable(out)
    from recgan.recommender import Recommender
    from recgan.report import write_gaps

    loaded = Recommender.load(model)
    asked = None if users is None else users_in(users, loaded)
    print(write_gaps(loaded, out, users=asked, items=offered(items, loaded), alpha=alpha, seed=seed))

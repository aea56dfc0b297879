"""`recgan items` and `recgan forget`: another catalogue, and fewer users, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recgan.cli.ids import matched
from recgan.cli.making import ModelArgument, OutOption, check_model_place, offered, users_in
from recgan.cli.output import note
from recgan.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from recgan.recommender import Recommender


def items(
    model: ModelArgument,
    out: OutOption,
    remove: Annotated[Path | None, typer.Option(help="Table with the item_id of those that go.")] = None,
    change: Annotated[Path | None, typer.Option(help="Table with item_id and the content that is new.")] = None,
    add: Annotated[Path | None, typer.Option(help="Table with item_id and content of those that come.")] = None,
) -> None:
    """Remove, change and add items, in this order; the old folder stays as it is.

    What the model would have learned of a new item is predicted from its content.
    """
    if remove is change is add is None:
        raise ConfigError("nothing to do: --remove, --change or --add names a table")
    check_model_place(out)
    from recgan.recommender import Recommender

    loaded = Recommender.load(model)
    before = len(loaded.items)
    if remove is not None:
        loaded = loaded.remove_items(offered(remove, loaded))
    if change is not None:
        loaded = loaded.update_items(_items(change, loaded))
    if add is not None:
        loaded = loaded.add_items(_items(add, loaded))
    loaded.save(out)
    note(f"{out}: {len(loaded.items):,} items, there were {before:,}; {len(loaded.new_items):,} known by content alone")


def forget(
    model: ModelArgument,
    users: Annotated[Path, typer.Argument(help="Table with the user_id of those that go.")],
    out: OutOption,
) -> None:
    """Leave out ids, histories and profiles of users; the trained weights stay, and so does the old folder."""
    check_model_place(out)
    from recgan.recommender import Recommender

    loaded = Recommender.load(model)
    gone = users_in(users, loaded)
    left = loaded.remove_users(gone)
    left.save(out)
    note(f"{out}: {len(gone):,} users are gone, {len(left.users):,} are left; the trained weights are what they were")


def _items(path: Path, model: Recommender) -> pd.DataFrame:
    from recgan.items import read_items

    table = read_items(path)
    return table.assign(item_id=matched(table["item_id"], model.items, str(path)))

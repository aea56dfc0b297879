"""`recgan update`."""

from __future__ import annotations

from typing import Annotated

import typer

from recgan.cli.ids import matched
from recgan.cli.making import ModelArgument, OutOption, check_model_place, columns_of, weights_of
from recgan.cli.output import note


def update(
    model: ModelArgument,
    data: Annotated[str, typer.Argument(help="New interactions: a .csv, .tsv or .parquet file.")],
    out: OutOption,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Train the generator for some more epochs.")] = False,
    min_rating: Annotated[float | None, typer.Option(help="Leave out rows with a lower rating.")] = None,
    max_dislike_rating: Annotated[float | None, typer.Option(help="Rows rated so or lower are dislikes.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column's name in DATA and its meaning: uid=user_id. Repeatable.")
    ] = None,
    event: Annotated[list[str] | None, typer.Option(help="A kind of event and its weight: buy=5. Repeatable.")] = None,
) -> None:
    """Take new events into a model: histories, popularity and closed forms; the old folder stays as it is.

    Items that the model does not know are left out, with a warning.
    """
    check_model_place(out)
    from recgan.interactions import read_interactions
    from recgan.recommender import Recommender
    from recgan.training import update as update_model

    new = read_interactions(
        data,
        columns_of(column or []),
        min_rating,
        weights=weights_of(event or []),
        max_dislike_rating=max_dislike_rating,
    )
    old = Recommender.load(model)
    users, items = matched(new["user_id"], old.users, data), matched(new["item_id"], old.items, data)
    updated = update_model(old, new.assign(user_id=users, item_id=items), fine_tune)
    updated.save(out)
    came = updated.info()["updates"][-1]
    note(f"{out}: {came['interactions']:,} interactions came in, {came['new_users']:,} users are new")

"""`recgan explain`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.cli.data import FormatOption
from recgan.cli.ids import many_ids, one_id
from recgan.cli.making import ModelArgument
from recgan.cli.output import Format, note, printable, show, show_json
from recgan.cli.serving import HistoryOption, titled
from recgan.errors import UnknownUserError

if TYPE_CHECKING:
    import pandas as pd

    from recgan.recommender import Recommender


def explain(
    model: ModelArgument,
    user: Annotated[str, typer.Argument(help="A user's id.")],
    item: Annotated[str, typer.Argument(help="An item's id, listed or not.")],
    n: Annotated[int, typer.Option("--n", "-n", min=0, help="Most items of the history that are shown.")] = 10,
    history: HistoryOption = None,
    form: FormatOption = Format.table,
) -> None:
    """Why one item is recommended to one user, or is not.

    The items of the history without which its relevance would be lower, each with its share in all of them and the part
    of the model through which it counts most. Beside them: which of the user's moods the item belongs to, and the share
    of the catalogue that looks less real to the discriminator for this user.
    """
    from recgan.recommender import Recommender

    loaded = Recommender.load(model)
    given = many_ids(history or [], loaded.items, "--history")
    found = _explained(loaded, one_id(user, loaded.users), one_id(item, loaded.items), given)
    told = found.attrs
    reasons = titled(found.head(n), loaded.item_table, "item_id", "title")
    if form is Format.json:
        show_json({**told, "reasons": reasons.to_dict("records")})
        return
    show(reasons, form)
    for line in _lines(told, len(found)):
        note(printable(line))


def _explained(model: Recommender, user: int | str, item: int | str, history: list[int | str] | None) -> pd.DataFrame:
    try:
        return model.explain(user, item, history=history)
    except UnknownUserError:
        raise UnknownUserError(
            f"unknown user {user!r}: the model knows {len(model.users):,} users, such as {model.users.iloc[0]}; "
            "--history ID,ID tells what the user had"
        ) from None


def _lines(told: Mapping[Any, Any], n_reasons: int) -> list[str]:
    """What is known besides the reasons, a line each."""
    lines = [] if n_reasons else ["nothing of the history pulls this item in"]
    if told["shared"]:
        lines.append("shared: " + ", ".join(f"{name} {share:.0%}" for name, share in told["shared"].items()))
    if told["name"] is not None:
        lines.append(f"mood: {told['name']}")
    if told["realism"] is not None:
        lines.append(f"more real than {told['realism']:.0%} of the other items")
    return lines

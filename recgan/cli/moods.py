"""`recgan moods` and `recgan uncertainty`."""

from __future__ import annotations

import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recgan.cli.data import FormatOption
from recgan.cli.ids import many_ids, one_id
from recgan.cli.making import ModelArgument, users_in
from recgan.cli.output import Format, as_table, check_writable, note, printable, show
from recgan.cli.serving import ExcludeOption, HistoryOption, LengthOption, UserArgument, with_titles
from recgan.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from recgan.recommender import Recommender

FILES = (".csv", ".parquet")
"""How the name of a table to be written may end."""

AT_ONCE = 4096
"""Users between two steps of the progress display."""


def moods(
    model: ModelArgument,
    user: UserArgument = None,
    n: LengthOption = 5,
    moods: Annotated[int, typer.Option(min=1, max=64, help="How many lists.")] = 4,
    exclude: ExcludeOption = None,
    history: HistoryOption = None,
    form: FormatOption = Format.table,
) -> None:
    """Several lists for one user, each a side of the user's taste.

    Every list is named by what sets it apart from the user's other lists; beside it, the share of the history that it
    explains best. An item stands in one list only.
    """
    if user is None and not history:
        raise typer.BadParameter("give a USER, or a --history", param_hint="'USER'")
    from recgan.recommender import Recommender

    loaded = Recommender.load(model)
    found = loaded.moods(
        None if user is None else one_id(user, loaded.users),
        n,
        moods,
        history=many_ids(history or [], loaded.items, "--history"),
        exclude=many_ids(exclude or [], loaded.items, "--exclude"),
    )
    share = found.attrs["share"]
    if n and len(share) < moods:
        note(f"{len(share)} of {moods} lists: no more items may be listed")
    lists = with_titles(found, loaded.item_table)
    if form is Format.table:
        sys.stdout.write(_grouped(lists, share))
    else:
        show(lists, form)


def _grouped(lists: pd.DataFrame, share: list[float]) -> str:
    """One table whose columns stand below each other in all moods, each mood under its name."""
    head, *rows = as_table(lists.drop(columns=["user_id", "mood", "name"], errors="ignore")).splitlines(keepends=True)
    text = head
    places = zip(lists["mood"].tolist(), lists["name"].tolist(), rows, strict=True)
    for (mood, name), part in groupby(places, key=itemgetter(0, 1)):
        text += f"\n{printable(name)} ({share[mood]:.0%})\n" + "".join(row for *_, row in part)
    return text


def uncertainty(
    model: ModelArgument,
    users: Annotated[Path | None, typer.Option(help="Table with the user_id of those asked; else all users.")] = None,
    out: Annotated[Path | None, typer.Option(help="The .csv or .parquet file to write; else stdout.")] = None,
    form: FormatOption = Format.table,
) -> None:
    """How far apart the generator's draws for a user lie.

    Where it is small the generator is sure; measured on MovieLens, those users are also served best.
    """
    if out is not None:
        _check_file(out)
    from recgan.recommender import Recommender

    loaded = Recommender.load(model)
    asked = loaded.users if users is None else users_in(users, loaded)
    found = _uncertain(loaded, asked)
    if out is None:
        show(found, form)
    else:
        _write(found, out)
        print(out)


def _check_file(out: Path) -> None:
    """Refuse before the work what would be refused after it."""
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; --out names a file")
    if out.suffix.lower() not in FILES:
        raise ConfigError(f"{out}: the file's name must end in {' or '.join(FILES)}")
    check_writable(out)


def _uncertain(model: Recommender, users: pd.Series) -> pd.DataFrame:
    import pandas as pd

    from recgan.progress import Progress

    parts = []
    with Progress() as progress:
        tick = progress.steps("users", len(users))
        for start in range(0, max(1, len(users)), AT_ONCE):
            parts.append(model.uncertainty(users.iloc[start : start + AT_ONCE]))
            tick(len(parts[-1]))
    return pd.concat(parts, ignore_index=True)


def _write(frame: pd.DataFrame, out: Path) -> None:
    from recgan.batch.files import whole_file

    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as temporary:
        if out.suffix.lower() == ".csv":
            frame.to_csv(temporary, index=False, lineterminator="\n")
        else:
            frame.to_parquet(temporary, index=False)

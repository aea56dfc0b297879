"""Ids from a command line or a CSV file, which know no types, against the ids of a model, which do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from recgan.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,19}")


def one_id(text: str, known: pd.Series) -> int | str:
    """The id that a text stands for in a model: "42" is 42 where the model's ids are integers.

    Args:
        text: as typed.
        known: ids of the model.

    Example:
        >>> import pandas as pd
        >>> one_id("42", pd.Series([1, 2])), one_id("42", pd.Series(["a"])), one_id("x", pd.Series([1, 2]))
        (42, '42', 'x')
    """
    return int(text) if _integers(known) and WHOLE.fullmatch(text) else text


def many_ids(texts: Iterable[str], known: pd.Series, option: str) -> list[int | str] | None:
    """Item ids from the values of an option; a value that is no id itself is a list with commas.

    Args:
        texts: as typed.
        known: ids of the model's items.
        option: its name, for the message.

    Returns:
        The ids; None where there is no value.

    Raises:
        ConfigError: for text where the model's ids are integers.
    """
    there = set() if _integers(known) else set(known)
    parts = [part for text in texts for part in ([text] if text in there else text.split(","))]
    ids = [one_id(part.strip(), known) for part in parts if part.strip()]
    wrong = [one for one in ids if isinstance(one, str)] if _integers(known) else []
    if wrong:
        raise ConfigError(
            f"{option}: {wrong[0]!r} is no item id of this model: its ids are integers, such as {known[0]}"
        )
    return ids or None


def preferences_of(
    categories: list[str] | None, liked: list[str] | None, avoided: list[str] | None, known: pd.Series
) -> dict[str, list[int | str]] | None:
    """What a user states, from the values of options; None where there are none.

    Example:
        >>> import pandas as pd
        >>> preferences_of(["Drama"], None, ["7", "Horror"], pd.Series([7, 8]))
        {'categories': ['Drama'], 'items': [], 'avoid': [7, 'Horror']}
    """
    if not (categories or liked or avoided):
        return None
    items = many_ids(liked or [], known, "--like") or []
    return {
        "categories": list(categories or []),
        "items": items,
        "avoid": [one_id(one, known) for one in avoided or []],
    }


def matched(ids: pd.Series, known: pd.Series, table: str, *, strict: bool = True) -> pd.Series:
    """The ids of a file in the type of a model's ids.

    Args:
        ids: an id column, checked: all integers or all text.
        known: ids of the model.
        table: the file, for the message.
        strict: whether text is refused where the model's ids are integers; else it stays as it is.

    Raises:
        DataError: for text where the model's ids are integers.
    """
    if _integers(known) == _integers(ids) or not (strict or _integers(ids)):
        return ids
    if _integers(ids):
        return ids.astype(str)
    raise DataError(
        f"{table}: column {ids.name!r} holds text such as {str(ids.iloc[0])[:40]!r}, but the model's ids are integers "
        f"such as {known.iloc[0]}"
    )


def _integers(ids: pd.Series) -> bool:
    return ids.dtype.kind in "iu"

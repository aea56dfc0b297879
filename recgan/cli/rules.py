"""Options for the rules of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from recgan.recommender import Recommender

CalibrationOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="How much the mix of categories follows the user's own.")
]
MostOption = Annotated[
    list[str] | None, typer.Option(help="At most so many items of every category: N, or of one: CATEGORY=N.")
]
LeastOption = Annotated[
    list[str] | None, typer.Option(help="At least so many items of a category, where there are any: CATEGORY=N.")
]
MinNewOption = Annotated[int, typer.Option(min=0, help="At least so many new items, where there are any.")]
MaxNewOption = Annotated[int | None, typer.Option(min=0, help="At most so many new items.")]
NewBelowOption = Annotated[int, typer.Option(min=1, help="An item with fewer interactions is new.")]


def rules_of(
    calibration: float,
    most: list[str] | None,
    least: list[str] | None,
    min_new: int,
    max_new: int | None,
    new_below: int,
    pinned: Any = None,
) -> dict[str, Any]:
    """Rules as `recommend` and `run_batch` take them.

    Raises:
        ConfigError: for an option that is neither N nor CATEGORY=N.
    """
    numbers = {"calibration": calibration, "min_new": min_new, "max_new": max_new, "new_below": new_below}
    per_category = {
        "max_per_category": _most(most or []),
        "min_per_category": dict(_category(text, "--min-per-category") for text in least or []),
    }
    return {**numbers, **per_category, "pinned": pinned}


def matched_lists(frame: pd.DataFrame, known: Recommender, table: str) -> pd.DataFrame:
    """Lists of a file, their ids in the type of the model's."""
    from recgan.cli.ids import matched

    frame = frame.assign(item_id=matched(frame["item_id"], known.items, table))
    if "user_id" in frame.columns:
        frame = frame.assign(user_id=matched(frame["user_id"], known.users, table, strict=False))
    return frame


def _most(texts: list[str]) -> int | dict[str, int] | None:
    if len(texts) == 1 and texts[0].isdecimal():
        return int(texts[0])
    return dict(_category(text, "--max-per-category") for text in texts) or None


def _category(text: str, option: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal():
        raise ConfigError(f"{option}: CATEGORY=N{' or, once, N' * ('max' in option)}, not {text!r}")
    return name, int(number)

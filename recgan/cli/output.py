"""Data on stdout: frames as an aligned table, CSV or JSON; and whether a place can be written to."""

from __future__ import annotations

import json
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recgan.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


class Format(StrEnum):
    """How a frame is printed."""

    table = "table"
    csv = "csv"
    json = "json"


def show(frame: pd.DataFrame, form: Format = Format.table) -> None:
    """Print a frame on stdout.

    Args:
        frame: any columns.
        form: how.
    """
    if form is Format.csv:
        frame.to_csv(sys.stdout, index=False, lineterminator="\n")
    elif form is Format.json:
        show_json(frame.to_dict("records"))
    else:
        sys.stdout.write(as_table(frame))


def show_json(value: Any) -> None:
    """Print JSON on stdout; numbers that are none become null."""
    sys.stdout.write(json.dumps(_finite(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def as_table(frame: pd.DataFrame) -> str:
    r"""A frame as lines of aligned columns, whole at any width.

    Example:
        >>> import pandas as pd
        >>> print(as_table(pd.DataFrame({"rank": [1, 2], "title": ["Heat", "A\tz"], "score": [0.5, 10.25]})))
        rank  title    score
           1  Heat    0.5000
           2  A?z    10.2500
    """
    from rich.cells import cell_len

    columns = [[str(name), *(_cell(value) for value in frame[name])] for name in frame.columns]
    right = [frame[name].dtype.kind in "iuf" for name in frame.columns]
    widths = [max(map(cell_len, column)) for column in columns]
    lines = []
    for row in zip(*columns, strict=True):
        cells = []
        for text, width, to_right in zip(row, widths, right, strict=True):
            gap = " " * (width - cell_len(text))
            cells.append(gap + text if to_right else text + gap)
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def printable(text: str) -> str:
    """A text that no terminal obeys, on one line."""
    return "".join(character if character.isprintable() else "?" for character in text)


def note(text: str) -> None:
    """Say something that is no data, on stderr."""
    print(text, file=sys.stderr)


def check_writable(path: Path) -> None:
    """Refuse a place that cannot be written to, before the work is done.

    Raises:
        ConfigError: when nothing can be made in the nearest folder that exists.
    """
    above = path.absolute().parent
    while not above.exists():
        above = above.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".recgan-", dir=above):
            pass
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror} in {above}") from error


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return printable(str(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and value - value != 0.0 else value

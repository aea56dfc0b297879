"""What stands on the page about popularity bias: head, middle and tail in the histories and in the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recgan import bias
from recgan.report.theme import LIGHT, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = dict(zip(bias.PARTS, ("accent", "muted", "second"), strict=True))
LABELLED = 7.0
"""Per cent from which a piece of a bar has room for its number."""


def popularity_bias(lists: np.ndarray, rows: np.ndarray, items: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """The table and the picture of the bias; no picture where nobody has a history and a list.

    Args:
        lists: item numbers of B lists, -1 behind the end, (B, K) int64.
        rows: list of every history item, (P,) int64.
        items: the items of the histories, (P,) int64.
        counts: interactions of every item, (N,) int64.

    Returns:
        rows of the table by group, and figure, or None.
    """
    there = (lists >= 0).any(axis=1) & (np.bincount(rows, minlength=len(lists)) > 0)
    if not there.any():
        return {"rows": [], "figure": None}
    place = np.where(there, np.cumsum(there) - 1, -1)[rows]
    table = bias.table(lists[there], place[place >= 0], items[place >= 0], counts)
    drawn = picture("bias", lambda f: pieces(f, table), height=0.9 + 0.72 * len(table))
    return {"rows": table.to_dict("records"), "figure": drawn}


def pieces(figure: Figure, table: pd.DataFrame) -> None:
    """Two bars a group, what its users chose and what they are shown, each cut into head, middle and tail."""
    axes = figure.subplots()
    heights, names = [], []
    for number, row in enumerate(table.to_dict("records")):
        for what, label, up in (("history", "chosen", -0.19), ("lists", "shown", 0.19)):
            height, start = number + up, 0.0
            for part, colour in COLOURS.items():
                width = 100.0 * row[f"{what}_{part}"]
                axes.barh(height, width, 0.34, left=start, color=LIGHT[colour], edgecolor=LIGHT["paper"], linewidth=0.8)
                if width >= LABELLED:
                    middle = start + width / 2.0
                    axes.annotate(
                        f"{width:.0f}", (middle, height), ha="center", va="center", color=LIGHT["paper"], fontsize=9
                    )
                start += width
            heights.append(height)
            names.append(f"{row['group']}, {label}")
    axes.set_yticks(heights, names)
    axes.set_ylim(len(table) - 0.45, -0.55)
    axes.set_xlim(0, 100)
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=LIGHT["ink"], labelsize=10)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("share of the items (%)")

"""What stands on the page about the data: sizes, sparsity, time range, repeats, and three pictures of its spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recgan.histories import Histories
from recgan.recommender import Recommender
from recgan.report import figures, words
from recgan.report.reading import Catalogue
from recgan.report.theme import LIGHT, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = {"width": 4.2, "height": 2.9}
"""Of a picture, three of which stand side by side."""

MOST_SPANS = 60
"""Most bars of the picture over time."""


def profile(model: Recommender, catalogue: Catalogue) -> dict[str, Any]:
    """The data that the model holds, in words and pictures.

    Args:
        model: read only.
        catalogue: its items.

    Returns:
        rows: (what, value) pairs; figures: (name, caption, picture) of histories, items and, with a clock, time.
    """
    histories, counts = model._histories, catalogue.counts
    lengths, taken = histories.lengths[histories.lengths > 0], np.sort(counts[counts > 0])[::-1]
    pictures = []
    if len(taken):
        drawn = picture("lengths", lambda f: _lengths(f, lengths), **SIZE)
        pictures.append(("Histories by length", "Users by the length of their history.", drawn))
        drawn = picture("items", lambda f: _items(f, taken), **SIZE)
        pictures.append(("Items by popularity", f"Marked: {_half(taken)} of the interactions.", drawn))
    days = _days(histories)
    if days is not None and np.ptp(days):
        drawn = picture("time", lambda f: _time(f, days), **SIZE)
        pictures.append(("Interactions over time", f"Interactions from {_date(days[0])} to {_date(days[-1])}.", drawn))
    rows = [
        *_sizes(model, histories),
        *_lengths_told(lengths),
        *_items_told(counts, taken),
        *_repeats(model, catalogue),
    ]
    return {"rows": rows + _time_told(histories, days), "figures": pictures}


def _sizes(model: Recommender, histories: Histories) -> list[tuple[str, str]]:
    n_users, n_items, n_rows = len(model.users), len(model.items), len(histories.items)
    pairs = n_users * n_items
    return [
        ("Users, items, interactions", ", ".join(map(words.number, (n_users, n_items, n_rows)))),
        ("Sparsity", f"{words.exact_percent(1.0 - n_rows / max(1, pairs))} of all pairs of user and item are empty"),
    ]


def _lengths_told(lengths: np.ndarray) -> list[tuple[str, str]]:
    if not len(lengths):
        return []
    low, middle, high, most = (words.number(round(float(np.quantile(lengths, q)))) for q in (0.1, 0.5, 0.9, 1.0))
    return [
        (
            "History of a user",
            f"{middle} interactions in the middle; a tenth has at most {low}, a tenth at least {high}, one {most}",
        )
    ]


def _items_told(counts: np.ndarray, taken: np.ndarray) -> list[tuple[str, str]]:
    never, once = int((counts == 0).sum()), int((counts == 1).sum())
    told = f"{words.number(once)} item{'s' * (once != 1)} with a single interaction"
    told += f", {words.number(never)} with none" if never else ""
    if not len(taken):
        return [("Rare items", told)]
    return [("Long tail", f"{_half(taken)} of the interactions"), ("Rare items", told)]


def _half(taken: np.ndarray) -> str:
    """How many of the most popular items hold half of the interactions."""
    n = _holding(taken)
    return (
        f"the {words.number(n)} most popular items ({words.percent(n / len(taken))}) hold half"
        if n > 1
        else "one item holds half"
    )


def _holding(taken: np.ndarray, share: float = 0.5) -> int:
    return int(np.searchsorted(np.cumsum(taken), share * taken.sum())) + 1


def _repeats(model: Recommender, catalogue: Catalogue) -> list[tuple[str, str]]:
    """Pairs, titles and histories that are there more than once."""
    histories = model._histories
    pairs = len(histories.items) - len(np.unique(histories.pairs))
    names = pd.Series(catalogue.names)
    titles = int(names.duplicated(keep=False).sum())
    contents = [np.sort(histories.of(int(user))).tobytes() for user in np.flatnonzero(histories.lengths)]
    alike = int(pd.Series(contents, dtype=object).duplicated(keep=False).sum())
    told = [f"{words.number(pairs)} repeated pair{'s' * (pairs != 1)} of user and item"]
    told.append(f"{words.number(titles)} items with the title and year of another")
    told.append(f"{words.number(alike)} users with the history of another")
    return [("Duplicates", ", ".join(told))]


def _days(histories: Histories) -> np.ndarray | None:
    """Days since 1970 of all rows, ascending, where the clock gives a date that can be told."""
    if histories.times is None or not histories.clock or not len(histories.times):
        return None
    days = np.sort(histories.times) / 86_400.0
    return days if abs(days[0]) < 100_000 and abs(days[-1]) < 100_000 else None


def _date(day: float) -> str:
    return str(np.datetime64(int(np.floor(day)), "D"))


def _time_told(histories: Histories, days: np.ndarray | None) -> list[tuple[str, str]]:
    if days is not None:
        span = words.number(round(float(days[-1] - days[0])))
        return [("Time", f"{_date(days[0])} to {_date(days[-1])}, {span} days")]
    return [("Time", "no date, only the order inside a history" if histories.ordered else "none: histories are sets")]


def _lengths(figure: Figure, lengths: np.ndarray) -> None:
    axes, top = figure.subplots(), max(2, int(lengths.max()))
    edges = np.unique(np.round(np.geomspace(1, top + 1, 25)))
    axes.hist(lengths, bins=edges.tolist(), color=LIGHT["accent"])
    figures.log_ticks(axes)
    _marked(axes, float(np.median(lengths)), f"median {np.median(lengths):,.0f}")
    axes.set_xlabel("length of the history")
    axes.set_ylabel("users")


def _items(figure: Figure, taken: np.ndarray) -> None:
    axes, rank = figure.subplots(), np.arange(1, len(taken) + 1)
    shown = np.unique(np.round(np.geomspace(1, len(taken), 300)).astype(np.int64)) - 1
    axes.plot(rank[shown], taken[shown], color=LIGHT["accent"])
    axes.set_yscale("log")
    figures.log_ticks(axes)
    figures.log_ticks(axes, "y")
    _marked(axes, float(_holding(taken)), "half of all")
    axes.set_xlabel("items, the most popular first")
    axes.set_ylabel("interactions")


def _marked(axes: Axes, x: float, text: str) -> None:
    axes.axvline(x, color=LIGHT["second"], linewidth=1.4)
    right = axes.transAxes.inverted().transform(axes.transData.transform((x, axes.get_ylim()[0])))[0] > 0.6
    away, side = ((-4, 3), "right") if right else ((4, 3), "left")
    frame = ("data", "axes fraction")
    axes.annotate(text, (x, 1.0), away, xycoords=frame, textcoords="offset points", ha=side, va="bottom")


def _time(figure: Figure, days: np.ndarray) -> None:
    import matplotlib.dates as dates

    axes, ends = figure.subplots(), (float(days[0]), float(days[-1]))
    axes.hist(days, bins=int(np.clip(np.ptp(days), 1, MOST_SPANS)), range=ends, color=LIGHT["accent"])
    locator = dates.AutoDateLocator(maxticks=5)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_ylabel(f"interactions in {_span(ends, days)}")


def _span(ends: Sequence[float], days: np.ndarray) -> str:
    width = (ends[1] - ends[0]) / int(np.clip(np.ptp(days), 1, MOST_SPANS))
    return f"{width:.0f} days" if width >= 1.5 else "a day"

"""The figures but the map; each function draws into an empty figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recgan.report.theme import HUES, LIGHT, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from recgan.report.moods import Cloud

FIDELITY = (
    ("energy_distance", "energy distance of slates", "accent"),
    ("c2st", "two-sample AUC of slates", "accent"),
    ("coverage", "coverage of items", "accent"),
    ("noise_cosine", "draws apart (1 - cosine)", "hue2"),
    ("noise_jaccard", "lists of two draws differ", "hue2"),
    ("discriminator_share", "discriminator is right", "second"),
)
"""The panels of the measurements during the game: name in the curve, name in words, colour."""
LINES = ("accent", "second", "hue2", "hue5", "hue6", "muted", "hue4", "hue7")
"""Colours of lines that are named at their ends."""
Curve = Sequence[Mapping[str, float]]
LOSSES = (
    (("ranking", "ranking", "accent"), ("set", "set likelihood", "hue2")),
    (("adversarial", "adversarial (generator)", "second"), ("discriminator", "discriminator", "hue5")),
)
"""The panels of the losses: name in the curve, name in words, colour."""


def metric_curve(figure: Figure, ranking: Curve, best_epoch: int, metric: str) -> None:
    """Validation metric after every epoch of the ranking phase, the best one marked."""
    axes = figure.subplots()
    axes.plot(*_line(ranking, "metric", 0), marker="o", color=LIGHT["accent"])
    best = [point["metric"] for point in ranking if int(point["epoch"]) == best_epoch]
    axes.plot([best_epoch] * len(best), best, "o", ms=10, mfc="none", mew=1.4, color=LIGHT["ink"], zorder=4)
    axes.margins(y=0.12)
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric)
    _whole_ticks(axes)


def loss_curves(figure: Figure, ranking: Curve, game: Curve) -> None:
    """Losses of both phases; the game's own, which live on another scale, in a panel of their own."""
    panels = [panel for panel in LOSSES if any(name in point for name, *_ in panel for point in [*ranking, *game])]
    for axes, panel in zip(np.atleast_1d(figure.subplots(len(panels), sharex=True)), panels, strict=True):
        for name, words, colour in panel:
            _loss(axes, ranking, game, name, words, LIGHT[colour])
        axes.set_ylabel("loss")
        axes.margins(y=0.15)
        axes.ticklabel_format(useOffset=False, axis="y")
        _legend(axes)
        _whole_ticks(axes)
    axes.set_xlabel("epoch")


def _loss(axes: Axes, ranking: Curve, game: Curve, name: str, words: str, colour: str) -> None:
    for curve, before, line in ((ranking, 0, "-"), (game, len(ranking), "--" if ranking else "-")):
        present = [point for point in curve if name in point]
        if present:
            label = words if not any(text.get_label() == words for text in axes.lines) else None
            axes.plot(*_line(present, name, before), line, marker=".", color=colour, label=label)


def _line(curve: Curve, name: str, before: int) -> tuple[list[float], list[float]]:
    return [before + point["epoch"] for point in curve], [point[name] for point in curve]


def _legend(axes: Axes) -> None:
    """What the lines are, above the axes where nothing can be hidden."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2, columnspacing=1.2, borderpad=0.2
    )


def fidelity_curves(figure: Figure, points: Curve) -> None:
    """Realism, use of condition and noise, and the discriminator's share, one panel each.

    Args:
        figure: an empty figure.
        points: measured epochs of the game; epoch 0 stands for the end of the ranking phase.
    """
    axes_of = figure.subplots(2, 3, sharex=True).flat
    for axes, (name, words, colour) in zip(axes_of, FIDELITY, strict=True):
        present = [point for point in points if name in point]
        axes.plot(*_line(present, name, 0), marker="o", color=LIGHT[colour])
        axes.set_title(words, loc="left", fontsize=9.5)
        axes.tick_params(labelsize=8.5)
        axes.margins(y=0.25)
        axes.ticklabel_format(useOffset=False, axis="y")
        _whole_ticks(axes, 4)


def clouds(figure: Figure, real: np.ndarray, made: Mapping[str, np.ndarray]) -> None:
    """Generated items over real ones, one panel a measured epoch.

    Args:
        figure: an empty figure.
        real: real held-out items on the plane of their two main directions, (n, 2).
        made: generated items on the same plane, (n, 2) each, by the title of the panel.
    """
    columns = min(3, len(made))
    grid = figure.subplots(-(-len(made) // columns), columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (title, points) in zip(grid, made.items(), strict=False):
        axes.plot(*real.T, "o", color=LIGHT["other"], markersize=5, markeredgewidth=0)
        axes.plot(*points.T, "o", color=LIGHT["second"], markersize=3, markeredgewidth=0)
        axes.set_title(title, fontsize=9.5)


def _whole_ticks(axes: Axes, most: int = 8) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=most))


def bars(figure: Figure, values: Mapping[str, float], metric: str) -> None:
    """One horizontal bar a part, the best in full colour, with its value."""
    axes = figure.subplots()
    names, lengths = list(values), np.array(list(values.values()))
    best = lengths >= lengths.max() - 1e-12
    colours = [LIGHT["accent" if wins else "other"] for wins in best]
    axes.barh(np.arange(len(names)), lengths, height=0.62, color=colours)
    for place, length in enumerate(lengths):
        axes.annotate(f"{length:.4f}", (length, place), (5, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, max(lengths.max(), 1e-9) * 1.2)
    axes.set_xlabel(metric)
    _rows(axes, names)


def intervals(figure: Figure, rows: Sequence[Mapping[str, Any]], metric: str) -> None:
    """Mean and 95 % interval of every model, the first one in colour."""
    axes = figure.subplots()
    for place, row in enumerate(rows):
        colour = LIGHT["accent" if place == 0 else "muted"]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot(row["mean"], place, "o", color=colour, markersize=7)
    axes.margins(x=0.08)
    axes.set_xlabel(f"{metric}, mean and 95 % interval")
    _rows(axes, [row["model"] for row in rows])


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=LIGHT["ink"])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=6)


def exposure(figure: Figure, taken: np.ndarray, shown: np.ndarray) -> None:
    """Cumulative shares over the items ranked by popularity.

    Args:
        figure: an empty figure.
        taken: interactions of every item, the most popular first, (N,).
        shown: how often each of them is recommended, (N,).
    """
    axes = figure.subplots()
    places = np.unique(np.linspace(0, len(taken), 301).astype(np.int64))
    x = 100.0 * places / len(taken)
    for counts, name, colour, line in (
        (taken, "interactions", "muted", "-"),
        (shown, "recommendations", "accent", "-"),
    ):
        share = np.append(0.0, np.cumsum(counts) / max(1, counts.sum()))
        axes.plot(x, 100.0 * share[places], line, color=LIGHT[colour], label=name)
    axes.plot([0, 100], [0, 100], ":", color=LIGHT["other"], label="every item alike")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 102)
    axes.set_xlabel("items, the most popular first (% of the catalogue)")
    axes.set_ylabel("cumulative share (%)")
    axes.legend(loc="lower right")


def draws(figure: Figure, clouds: Sequence[Cloud], columns: int) -> None:
    """The draws of the noise for some users, one panel each, in the colours of the moods nearest to them.

    Args:
        figure: an empty figure.
        clouds: one a panel.
        columns: panels side by side.
    """
    grid = figure.subplots(-(-len(clouds) // columns), columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, cloud in zip(grid, clouds, strict=False):
        for mood, place in enumerate(cloud.moods):
            colour, own = LIGHT[HUES[mood]], cloud.draws[cloud.nearest == mood]
            axes.plot(*own.T, "o", color=colour, markersize=5, markeredgewidth=0, alpha=0.7)
            axes.plot(*place, "D", color=colour, markersize=9, markeredgecolor=LIGHT["ink"], markeredgewidth=1.2)
        axes.set_title(cloud.name, fontsize=10.5)
        axes.margins(0.1)


def uncertainty(figure: Figure, lengths: np.ndarray, values: np.ndarray, marked: Sequence[Mapping[str, Any]]) -> None:
    """Uncertainty against the length of the history, its distribution beside it, and some users by their names.

    Args:
        figure: an empty figure.
        lengths: of the histories, (B,) int64, at least 1.
        values: uncertainty, (B,).
        marked: user, length and value of those who are named.
    """
    axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1))
    axes.plot(lengths, values, "o", color=LIGHT["accent"], markersize=3, markeredgewidth=0, alpha=0.45)
    for row in marked:
        point = (row["length"], row["value"])
        axes.plot(*point, "*", color=LIGHT["ink"], markersize=13, markeredgecolor=LIGHT["paper"], markeredgewidth=0.8)
        name = plain(row["user"], 14)
        axes.annotate(name, point, (0, 8), textcoords="offset points", ha="center", fontweight="bold")
    log_ticks(axes)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("length of the history")
    axes.set_ylabel("uncertainty")
    beside.hist(values, bins=20, orientation="horizontal", color=LIGHT["other"])
    beside.set_axis_off()


def log_ticks(axes: Axes, which: Literal["x", "y"] = "x") -> None:
    """A logarithmic axis of counts that are written out: the page knows no formulas."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 600 * max(low, 1.0) else (1.0,)))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_minor_locator(NullLocator())


def by_length(figure: Figure, curves: Mapping[str, tuple[Sequence[int], Sequence[float]]], metric: str) -> None:
    """A metric against the length of the list, one line a model, the first one in full colour, named at its end."""
    axes = figure.subplots()
    ends = sorted(curves, key=lambda name: curves[name][1][-1])
    values = [value for _, line in curves.values() for value in line]
    low, high = min(values), max(values)
    room, height = 0.062 * max(high - low, 1e-9), -np.inf
    for place, name in enumerate(curves):
        axes.plot(*curves[name], marker="o", color=LIGHT[LINES[place % len(LINES)]], zorder=3 if place == 0 else 2)
    last = max(k for ks, _ in curves.values() for k in ks)
    for name in ends:
        height = max(height + room, curves[name][1][-1])
        colour = LIGHT[LINES[list(curves).index(name) % len(LINES)]]
        axes.annotate(
            plain(name, 18),
            (1.0, height),
            (6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=9.5,
        )
    log_ticks(axes)
    axes.set_xlim(right=last)
    axes.set_xlabel("k, places of the list that count")
    axes.set_ylabel(metric)

"""The map of item vectors: two main directions, users and their draws among the items."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from recgan.draws import wanted_vectors
from recgan.recommender import Recommender
from recgan.report.reading import Catalogue
from recgan.report.theme import HUES, LIGHT, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

DRAWN = 500
"""Most items on the map; the directions are those of these items."""

KNOWN = 150
"""Only so many of the most popular items are named: names that a reader may know."""

PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""Where a label may stand beside its point, in the order of preference."""


@dataclass(frozen=True)
class Atlas:
    """Positions on the map.

    Args:
        items: the M most popular items, the most popular first, (M, 2).
        names: their names.
        hues: their category's place in `categories`, len(categories) for any other, (M,) int64.
        counts: their interactions, (M,) int64.
        categories: the most frequent categories, at most 8.
        users: wanted vectors without noise, (B, 2).
        user_names: names of the users.
        draws: wanted vectors under S draws of the noise, (B, S, 2).
        spread: largest distance (1 - cosine) of a draw from its user's noise-free vector.
        explained: share of the items' variance along the two directions, (2,).
    """

    items: np.ndarray
    names: list[str]
    hues: np.ndarray
    counts: np.ndarray
    categories: list[str]
    users: np.ndarray
    user_names: list[str]
    draws: np.ndarray
    spread: float
    explained: np.ndarray


def atlas(model: Recommender, catalogue: Catalogue, users: list[Any]) -> Atlas | None:
    """The map of a model, or None when its items do not span a plane.

    Args:
        model: read only.
        catalogue: its items.
        users: ids of the B users on the map.

    Returns:
        The map; principal components of the drawn items' vectors, users projected alike.
    """
    names = [f"user {plain(user, 20)}" for user in users]
    wanted = model.user_vectors(users).to_numpy() if users else np.empty((0, 0))
    varied = wanted_vectors(model._blocks, model._known(users).histories) if users else np.empty((0, 0, 0))
    return mapped(model, catalogue, catalogue.by_popularity[:DRAWN], names, wanted, varied)


def mapped(
    model: Recommender,
    catalogue: Catalogue,
    drawn: np.ndarray,
    names: list[str],
    wanted: np.ndarray,
    varied: np.ndarray,
) -> Atlas | None:
    """A map of some items with B places among them, or None when the items do not span a plane.

    Args:
        model: read only.
        catalogue: its items.
        drawn: numbers of the items, the most popular first, (M,) int64.
        names: of the places.
        wanted: unit vectors of the places, (B, D).
        varied: unit vectors around every place, (B, S, D).

    Returns:
        The map; principal components of the drawn items' vectors, the places projected alike.
    """
    from sklearn.decomposition import PCA

    vectors = model.item_vectors().to_numpy()[drawn]
    if len(drawn) < 3 or float(vectors.var(axis=0).sum()) < 1e-12:
        return None
    plane = PCA(2, svd_solver="full").fit(vectors)
    categories, hues = _hues([catalogue.categories[number] for number in drawn])
    return Atlas(
        items=plane.transform(vectors),
        names=[catalogue.names[number] for number in drawn],
        hues=hues,
        counts=catalogue.counts[drawn],
        categories=categories,
        users=plane.transform(wanted) if names else np.empty((0, 2)),
        user_names=names,
        draws=np.stack([plane.transform(rows) for rows in varied]) if names else np.empty((0, 0, 2)),
        spread=float((1.0 - np.einsum("bd,bsd->bs", wanted, varied)).max(initial=0.0)),
        explained=plane.explained_variance_ratio_,
    )


def _hues(categories: list[list[str]]) -> tuple[list[str], np.ndarray]:
    """The most frequent categories, and for every item the place of the first of its own among them."""
    counted = Counter(name for names in categories for name in names)
    frequent = sorted(counted, key=lambda name: (-counted[name], name))[: len(HUES)]
    place = {name: number for number, name in enumerate(frequent)}
    first = [next((place[name] for name in names if name in place), len(frequent)) for names in categories]
    return frequent, np.array(first, np.int64)


def draw(figure: Figure, found: Atlas, n_labels: int, *, key: bool = False) -> None:
    """Draw the map into an empty figure.

    Args:
        figure: of any size; the map fills it.
        found: what to draw.
        n_labels: most items that are named.
        key: whether the figure tells its colours itself, for a picture that stands alone.
    """
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.13 if key else 0.0, 1.0, 0.87 if key else 1.0))
    axes.set_axis_off()
    colours = [*(LIGHT[hue] for hue in HUES[: len(found.categories)]), LIGHT["other" if found.categories else "accent"]]
    _dots(axes, found, np.array(colours), min(1.0, figure.get_figwidth() / 8.0))
    for user, varied in zip(found.users, found.draws, strict=True):
        for end in varied:
            axes.plot(*np.stack([user, end]).T, color=LIGHT["ink"], linewidth=0.7, alpha=0.6)
        axes.plot(*varied.T, "D", color=LIGHT["ink"], markersize=3.5, markeredgewidth=0)
        axes.plot(*user, "*", color=LIGHT["ink"], markersize=15, markeredgecolor=LIGHT["paper"], markeredgewidth=0.8)
    axes.margins(0.05)
    axes.autoscale_view()
    _label(axes, found, n_labels, halo=key)
    if key:
        _key(figure, found, colours)


def _dots(axes: Axes, found: Atlas, colours: np.ndarray, scale: float) -> None:
    """The items in eight sizes, the large ones below; a size is drawn at once, which keeps the figure small."""
    level = np.ceil(8.0 * found.counts / max(1, found.counts.max()))
    for size in np.unique(level)[::-1]:
        x, y = found.items[level == size].T
        axes.scatter(
            x, y, s=scale * (10.0 + 17.0 * size), c=colours[found.hues[level == size]], alpha=0.7, linewidths=0
        )


def _label(axes: Axes, found: Atlas, most: int, *, halo: bool) -> None:
    """Name users, then popular items that have room, at most `most` of them and not two side by side."""
    shown = axes.transData.transform(found.items)
    ends = axes.transData.transform(np.concatenate([found.users, found.draws.reshape(-1, 2)]))
    taken = [_around(end, 9 if place < len(found.users) else 4) for place, end in enumerate(ends)]
    for point, name in zip(found.users, found.user_names, strict=True):
        _named(axes, point, name, taken, halo=halo, star=True)
    named: list[np.ndarray] = []
    room = float(np.hypot(*np.ptp(shown, axis=0))) / (2.6 * max(1, most) ** 0.5)
    for point, place, name in zip(found.items[:KNOWN], shown, found.names, strict=False):
        if len(named) == most:
            break
        near = any(float(np.hypot(*(place - other))) < room for other in named)
        hidden = any(_around(place, 4).overlaps(other) for other in taken)
        if not near and not hidden and _named(axes, point, plain(name, 32), taken, halo=halo):
            named.append(place)
            taken.append(_around(place, 4))


def _around(place: np.ndarray, reach: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox([place - reach, place + reach])


def _named(axes: Axes, point: np.ndarray, name: str, taken: list[Bbox], *, halo: bool, star: bool = False) -> bool:
    """Write a name beside a point where nothing else stands; whether there was such a place."""
    from matplotlib.patheffects import withStroke

    effects = [withStroke(linewidth=2.5, foreground=LIGHT["paper"])] if halo else None
    for away, (right, up) in product((9.0, 16.0, 28.0) if star else (6.0,), PLACES):
        text = axes.annotate(
            name,
            (float(point[0]), float(point[1])),
            (away * right, away * up),
            textcoords="offset points",
            ha={1: "left", 0: "center", -1: "right"}[right],
            va={1: "bottom", 0: "center", -1: "top"}[up],
            fontweight="bold" if star else "normal",
            path_effects=effects,
        )
        box = text.get_window_extent()
        inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 <= box.y1 <= axes.bbox.y1
        if inside and not any(box.overlaps(other) for other in taken):
            taken.append(box)
            return True
        text.remove()
    return False


def _key(figure: Figure, found: Atlas, colours: list[str]) -> None:
    from matplotlib.lines import Line2D

    def mark(shape: str, colour: str, size: float) -> Line2D:
        return Line2D([], [], linestyle="", marker=shape, color=colour, markersize=size)

    handles = [mark("*", LIGHT["ink"], 11), mark("D", LIGHT["ink"], 4)] if len(found.users) else []
    names = ["generated for a user", "its draws over z"] if len(found.users) else []
    handles += [mark("o", colour, 7) for colour in colours]
    names += [*(plain(name, 16) for name in found.categories), "other" if found.categories else "item"]
    figure.legend(handles, names, loc="lower center", ncols=6, columnspacing=1.4, handletextpad=0.2)

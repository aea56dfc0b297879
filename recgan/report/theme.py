"""One quiet look for the page and its figures: colours for light and dark, and figures as inline SVG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

LIGHT = {
    "paper": "#fdfdfc",
    "card": "#f4f5f5",
    "ink": "#1c1f23",
    "muted": "#63686f",
    "line": "#dcdfe2",
    "accent": "#2b6ca3",
    "second": "#bf5b2c",
    "hue0": "#3f78b6",
    "hue1": "#d9566c",
    "hue2": "#2f8f5b",
    "hue3": "#c9971d",
    "hue4": "#3ba5c5",
    "hue5": "#8b50a5",
    "hue6": "#9b6539",
    "hue7": "#7d982a",
    "other": "#b3b7bc",
}
"""Colours of the light page by their name in the style sheet; the figures are drawn with them."""

DARK = {
    "paper": "#16181b",
    "card": "#1f2226",
    "ink": "#e9eaec",
    "muted": "#a0a6ae",
    "line": "#363b41",
    "accent": "#72aee6",
    "second": "#eb9a70",
    "hue0": "#6fa4de",
    "hue1": "#f08797",
    "hue2": "#5fbf8b",
    "hue3": "#e3bd59",
    "hue4": "#70cbe4",
    "hue5": "#bc89d6",
    "hue6": "#cb9c76",
    "hue7": "#b1ca60",
    "other": "#666c74",
}
"""The same names on a dark page."""

HUES = tuple(f"hue{place}" for place in range(8))
"""Names of the colours of categories."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11.5,
    "axes.titlesize": 11.5,
    "axes.labelsize": 11.5,
    "axes.edgecolor": LIGHT["line"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.7,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["line"],
    "ytick.color": LIGHT["line"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "lines.linewidth": 1.8,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextmanager
def styled(salt: str) -> Iterator[None]:
    """The report's matplotlib settings, whatever the user's are; outside everything is as before.

    Args:
        salt: makes the ids of one figure differ from those of the others, and equal in every run.
    """
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        matplotlib.rcdefaults()
        settings: Any = {**_STYLE, "svg.hashsalt": salt}
        matplotlib.rcParams.update(settings)
        yield


def picture(name: str, draw: Callable[[Figure], None], width: float = 5.6, height: float = 3.4) -> Markup:
    """A figure as inline SVG whose colours follow the page.

    Args:
        name: unique on the page.
        draw: draws into the empty figure.
        width: in units of 72 to the figure's own pixels.
        height: likewise.

    Returns:
        An `<svg>` element without ids but those that it refers to, without metadata and without any address.
    """
    from markupsafe import Markup
    from matplotlib.figure import Figure

    with styled(name):
        figure = Figure((width, height), layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return Markup(_inline(text.getvalue()))  # noqa: S704


def _inline(document: str) -> str:
    """The `<svg>` element of a document that matplotlib wrote; it has escaped every label."""
    _, head, body = re.split(r"(<svg[^>]*>)", document, maxsplit=1)
    box = re.search(r'viewBox="[^"]*"', head)
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    for name, colour in LIGHT.items():
        body = re.sub(rf"(fill|stroke): {colour}\b", rf"\1: var(--{name})", body)
    return f'<svg {box[0] if box else ""} aria-hidden="true">{body}'


def plain(label: Any, most: int = 1000) -> str:
    """A label as one line of printable text, cut where it is too long.

    Example:
        >>> plain("two lines"), plain("a long title", most=7)
        ('two lines', 'a long…')
    """
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(label)).split())
    return text if len(text) <= most else text[: most - 1].rstrip(" ([{,:;-") + "…"

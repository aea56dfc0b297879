"""The page put together, and the map as a picture of its own."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from recgan.errors import ConfigError
from recgan.recommender import Recommender
from recgan.report import moods as noise
from recgan.report import page as sections
from recgan.report import reading, words
from recgan.report.atlas import atlas, draw
from recgan.report.gaps import summary
from recgan.report.lists import searchable
from recgan.report.profile import profile
from recgan.report.reading import Catalogue
from recgan.report.templates import search_script, template
from recgan.report.theme import DARK, LIGHT, plain, styled
from recgan.serving import id_series

MOST_BYTES = 150_000
DOTS = 100
"""Pixels to the inch of the picture."""


def page(model: Recommender, comparison: pd.DataFrame | None, users: Any, items: Any, title: str) -> str:
    """The HTML of the report.

    Args:
        model: read only.
        comparison: as `read_comparison` returns it, or None.
        users: ids of known users; None chooses some.
        items: ids of the items on offer, for the gaps; None for the whole catalogue.
        title: heading.

    Returns:
        One document without any address outside itself, and with no script but the one that filters the lists.
    """
    info, catalogue, chosen = model.info(), Catalogue.of(model), _users(model, users)
    script, script_source = search_script()
    return template("report.html.j2").render(
        title=plain(title),
        light=LIGHT,
        dark=DARK,
        info=info,
        script=script,
        script_source=script_source,
        facts=_facts(model, info),
        profile=profile(model, catalogue),
        parts=words.parts(model, info),
        alarms=words.alarms(info),
        curves=sections.curves(info),
        realism=sections.realism(info),
        comparison=[] if comparison is None else sections.comparison(comparison),
        lengths=[] if comparison is None else sections.by_length(comparison),
        ablation=sections.ablation(info),
        exposure=sections.exposure(model, catalogue),
        map=sections.chart(atlas(model, catalogue, chosen)),
        ordered=model._histories.ordered,
        search=searchable(model, catalogue, None if users is None else chosen),
        examples=sections.examples(model, catalogue, chosen),
        ideal=sections.ideal(model, catalogue, chosen),
        moods=noise.moods(model, catalogue, chosen),
        uncertainty=noise.uncertainty(model, chosen),
        gaps=summary(model, catalogue, items),
        similar=sections.similar(model, catalogue),
    )


def _users(model: Recommender, users: Any) -> list[Any]:
    if users is None:
        return reading.example_users(model)
    chosen: list[Any] = id_series(users, "users").tolist()
    return chosen


def _facts(model: Recommender, info: dict[str, Any]) -> list[tuple[str, str]]:
    n_users, n_items, rows = len(model.users), len(model.items), int(model._histories.lengths.sum())
    values = info["ablation"]
    return [
        ("users", words.number(n_users)),
        ("items", words.number(n_items)),
        ("interactions", words.number(rows)),
        ("density", words.percent(rows / max(1, n_users * n_items))),
        ("training", words.duration(info["seconds"])),
        (f"validation {info['config']['metric']}", f"{max(values['both'], values['both + discriminator']):.4f}"),
    ]


def map_picture(model: Recommender, users: Any, width: int, height: int) -> bytes:
    """The map as a PNG, with fewer colours where it would be large; see `save_map`."""
    from matplotlib.figure import Figure
    from PIL import Image

    found = atlas(model, Catalogue.of(model), _users(model, users))
    if found is None:
        raise ConfigError("save_map: the item vectors do not span a plane")
    drawn, small = io.BytesIO(), io.BytesIO()
    with styled("picture"):
        figure = Figure((width / DOTS, height / DOTS), facecolor=LIGHT["paper"])
        draw(figure, found, 20, key=True)
        figure.savefig(drawn, format="png", dpi=DOTS, facecolor=LIGHT["paper"])
    picture = Image.open(drawn).convert("RGB")
    picture.save(small, format="png", optimize=True)
    if small.tell() > MOST_BYTES:
        small = io.BytesIO()
        picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(small, format="png", optimize=True)
    return small.getvalue()

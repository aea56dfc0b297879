"""The page of the gaps: what is wanted and not there, by how many, and what comes nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recgan.gaps import Gap, Settings, Survey
from recgan.generative import GAP
from recgan.recommender import Recommender
from recgan.report import page as sections
from recgan.report import words
from recgan.report.atlas import DRAWN, mapped
from recgan.report.page import Context
from recgan.report.reading import Catalogue
from recgan.report.templates import template
from recgan.report.theme import DARK, LIGHT, plain
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR

SHOWN = 10
"""Most missing items that are named for a gap."""

DIAMONDS = 8
"""Wanted vectors that the map shows for a gap."""


def gaps_page(model: Recommender, users: Any, items: Any, settings: Settings, title: str) -> str:
    """The HTML of the page.

    Args:
        model: read only.
        users: ids of the users who are asked; None for all who have a history.
        items: ids of the items on offer; None for the whole catalogue.
        settings: how gaps are looked for.
        title: heading.

    Returns:
        One document without script and without any address outside itself.
    """
    found = model._survey(users, items)
    gaps, table = model._find_gaps(found, settings)
    catalogue = Catalogue.of(model)
    cards = [_card(row, catalogue, table.attrs["accuracy"]) for row in table.to_dict("records")]
    return template("gaps.html.j2").render(
        title=plain(title),
        light=LIGHT,
        dark=DARK,
        info=model.info(),
        facts=_facts(found, table),
        verdict=verdict(table),
        gaps=cards,
        accuracy=table.attrs["accuracy"],
        alpha=settings.alpha,
        n_permutations=settings.n_permutations,
        map=_map(model, catalogue, gaps, found, [card["short"] for card in cards]),
    )


def summary(model: Recommender, catalogue: Catalogue, items: Any) -> Context | None:
    """What the report tells of the gaps; None where nobody has a history.

    Args:
        model: read only.
        catalogue: its items.
        items: ids of the items on offer; None for the whole catalogue.
    """
    if not model._histories.lengths.any():
        return None
    found, settings = model._survey(None, items), Settings()
    _, table = model._find_gaps(found, settings)
    cards = [_card(row, catalogue, table.attrs["accuracy"]) for row in table.to_dict("records")]
    n_users, n_offered = len(found.wanted), len(found.offered)
    return {"cards": cards, "verdict": verdict(table), "n_users": n_users, "n_offered": n_offered}


def _facts(found: Survey, table: pd.DataFrame) -> list[tuple[str, str]]:
    n_items, n_offered = len(found.demand), len(found.offered)
    return [
        ("users asked", words.number(len(found.wanted))),
        ("wanted vectors", words.number(found.gap.size)),
        ("items known", words.number(n_items)),
        ("on offer", words.number(n_offered)),
        ("not on offer", words.number(n_items - n_offered)),
        ("gaps", words.number(len(table))),
    ]


def verdict(table: pd.DataFrame) -> list[str]:
    """What was found, or that nothing was, in whole sentences."""
    told, n_missing = table.attrs, table.attrs["n_items"] - table.attrs["n_offered"]
    withdrawn, never = (int((table["kind"] == kind).sum()) for kind in ("withdrawn", "never filled"))
    if withdrawn:
        kinds = f"{withdrawn} kind{'s' * (withdrawn != 1)} of items that users want {'is' if withdrawn == 1 else 'are'}"
        first = f"{kinds} not on offer, beyond what leaving items out at random would explain (p = {_p(told)})."
    elif told["p_value"] is None:
        first = "No gap: all items that the model knows are on offer" + (", but one." if n_missing else ".")
    elif told["p_value"] > told["alpha"]:
        first = (
            f"No gap: the {words.number(n_missing)} items that are not on offer could have been left out at random "
            f"(p = {_p(told)}, reported below {told['alpha']:g})."
        )
    else:
        first = (
            f"No gap: items that belong together are not on offer (p = {_p(told)}), but no user asked wants them most."
        )
    regions = (
        f"{never} region{'s' * (never != 1)} of wanted vectors {'lies' if never == 1 else 'lie'} far from every item"
    )
    return [
        first,
        f"{regions}: a hint, not a test." if never else "No region of wanted vectors lies far from every item.",
    ]


def _p(told: Any) -> str:
    return words.p_value(told["p_value"])


def _card(row: dict[Any, Any], catalogue: Catalogue, accuracy: Context) -> Context:
    near, missing = (catalogue.numbers(row[name]).tolist() for name in ("nearest_items", "missing_items"))
    categories = plain(", ".join(filter(None, row[CATEGORIES].split(CATEGORY_SEPARATOR))))
    pairs = zip(near, row["nearest_gaps"], strict=True)
    return {
        "rank": row["rank"],
        "name": categories or "items that cannot be described",
        "short": f"gap {row['rank']}" + (f": {plain(categories, 28)}" if categories else ""),
        "kind": row["kind"],
        "told": words.wanted({**row, CATEGORIES: ""}, accuracy),
        "users": row["users"],
        "share": row["share"],
        "demand": row["demand"],
        "p_value": row["p_value"],
        "gap": row[GAP],
        "near": [{**sections.item(catalogue, number), "score": gap} for number, gap in pairs],
        "missing": [sections.item(catalogue, number) for number in missing[:SHOWN]],
        "n_missing": len(missing),
    }


def _map(
    model: Recommender, catalogue: Catalogue, gaps: Sequence[Gap], found: Survey, names: list[str]
) -> Context | None:
    """The items on offer, the middle of every gap as a star, some of its wanted vectors as diamonds."""
    order = catalogue.by_popularity
    drawn = order[np.isin(order, found.offered)][:DRAWN]
    inside = [found.wanted[gap.draws] for gap in gaps]
    middles = np.array([rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0)) for rows in inside])
    around = np.array([rows[np.linspace(0, len(rows) - 1, DIAMONDS).astype(np.int64)] for rows in inside])
    if not gaps:
        middles, around = np.empty((0, 0)), np.empty((0, 0, 0))
    return sections.chart(mapped(model, catalogue, drawn, names, middles, around))

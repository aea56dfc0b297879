"""The tower as named arrays and JSON values, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recgan.cold.tower import Settings, Tower
from recgan.content import Number, Reader, Terms, Vector

TERMS = ("categories", "pairs", "words")
Get = Callable[[str, int], np.ndarray]


def tower_facts(tower: Tower) -> dict[str, Any]:
    """All of a tower that is no array; JSON values."""
    reader, settings = tower.reader, tower.settings
    terms = {name: getattr(reader, name) for name in TERMS} | {"labels": tower.labels}
    return {
        "terms": {name: list(one.names) for name, one in terms.items() if one is not None},
        "wide": [name for name, one in terms.items() if one is not None and one.directions is not None],
        "texts": list(reader.texts),
        "numbers": list(reader.numbers),
        "vectors": list(reader.vectors),
        "years": list(tower.years),
        "learned": tower.learned,
        "settings": {**vars(settings), "scales": dict(settings.scales)},
    }


def tower_arrays(tower: Tower) -> dict[str, np.ndarray]:
    """The arrays of a tower by name, float32."""
    reader = tower.reader
    terms = {name: getattr(reader, name) for name in TERMS} | {"labels": tower.labels}
    arrays = {}
    for name, one in terms.items():
        if one is not None:
            arrays[f"{name}.rarity"] = one.rarity
            arrays |= {} if one.directions is None else {f"{name}.directions": one.directions}
    arrays |= {f"numbers.{place}": one.knots for place, one in enumerate(reader.numbers.values())}
    return arrays | {f"vectors.{place}": one.mean for place, one in enumerate(reader.vectors.values())}


def load_tower(facts: Mapping[str, Any], n_items: int, get: Get) -> Tower:
    """The tower of some facts.

    Args:
        facts: from `tower_facts`.
        n_items: of the model.
        get: a finite float32 array by its name and number of dimensions.

    Raises:
        ValueError: when facts and arrays do not fit together.
    """
    terms = {name: _terms(name, names, facts["wide"], get) for name, names in facts["terms"].items()}
    numbers = {str(name): Number(_knots(get(f"numbers.{place}", 1))) for place, name in enumerate(facts["numbers"])}
    vectors = {str(name): Vector(get(f"vectors.{place}", 1)) for place, name in enumerate(facts["vectors"])}
    parts = [terms.get(name) for name in TERMS]
    reader = Reader(parts[0], parts[1], tuple(map(str, facts["texts"])), parts[2], numbers, vectors)
    years, learned = (float(facts["years"][0]), float(facts["years"][1])), int(facts["learned"])
    if not (0 < learned <= n_items and np.isfinite(years).all() and years[1] > 0.0):
        raise ValueError(f"tower: {learned} learned items of {n_items}, years on the scale {years}")
    return Tower(reader, terms.get("labels"), years, _settings(facts["settings"]), learned)


def _terms(name: str, names: list[str], wide: list[str], get: Get) -> Terms:
    rarity = get(f"{name}.rarity", 1)
    directions = get(f"{name}.directions", 2) if name in wide else None
    if len(rarity) != len(names) or (directions is not None and len(directions) != len(names)):
        raise ValueError(f"tower: {len(names)} {name} do not fit their arrays")
    return Terms(tuple(map(str, names)), rarity, directions)


def _knots(knots: np.ndarray) -> np.ndarray:
    if len(knots) < 2 or (np.diff(knots) <= 0).any():
        raise ValueError("tower: knots must ascend")
    return knots


def _settings(values: Mapping[str, Any]) -> Settings:
    scales = {str(name): float(value) for name, value in values["scales"].items()}
    numbers = {name: float(values[name]) for name in ("penalty", "kin", "popularity", "handicap")}
    if not np.isfinite([*scales.values(), *numbers.values()]).all() or numbers["penalty"] <= 0.0:
        raise ValueError(f"tower: settings must be finite and the penalty above 0, not {dict(values)}")
    return Settings(scales=scales, **numbers)

"""What the numbers of a model mean, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recgan.recommender import Recommender
from recgan.report.theme import plain
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR

MINUS, UNKNOWN, SPACE = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NO-BREAK SPACE}"
ENCODERS = {
    "bag": "reads a history as a set (masked bag with residual network)",
    "sequence": "reads a history in its order (causal transformer)",
}
PARTS = {
    "popularity": "popularity",
    "linear": "linear block",
    "generator": "generator",
    "both": "both blocks",
    "both, z on": "both, noise on",
    "both + discriminator": "both + discriminator",
}
ALARMS = {
    "draws are alike": "the noise changes next to nothing in what the generator wants",
    "lists are alike": "different users get nearly the same list",
}


def place(part: str) -> int:
    """Where a part of the ablation stands in the report; unknown ones last."""
    return list(PARTS).index(part) if part in PARTS else len(PARTS)


def number(value: float) -> str:
    """A count with thousands separated, or a float with one decimal where it is small.

    Example:
        >>> number(1447), number(12.34), number(1234.5)
        ('1,447', '12.3', '1,234')
    """
    return f"{value:,.1f}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"


def percent(share: float | None, *, signed: bool = False) -> str:
    """A share in per cent, its sign not parted from it by a line break; a dash where it is unknown.

    Example:
        >>> [percent(share).split() for share in (0.0406, 0.5, None)]
        [['4.1', '%'], ['50', '%'], ['–']]
    """
    if share is None or math.isnan(share):
        return UNKNOWN
    value = 100.0 * share
    digits = 0 if not value else 2 if abs(value) < 0.995 else 1 if abs(value) < 9.95 or signed else 0
    return f"{value:{'+' if signed else ''}.{digits}f}{SPACE}%".replace("-", MINUS)


def exact_percent(share: float) -> str:
    """A share near 1 in per cent, with as many digits as tell it from all.

    Example:
        >>> exact_percent(0.96) == f"96.00{SPACE}%", exact_percent(0.99997) == f"99.997{SPACE}%"
        (True, True)
    """
    digits = 2 if share <= 0.0 or share >= 1.0 else max(2, math.ceil(-math.log10(1.0 - share)) - 2)
    return f"{100.0 * share:.{digits}f}{SPACE}%"


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> duration(9.31), duration(101), duration(7380)
        ('9.3 s', '1 min 41 s', '2 h 3 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def p_value(value: float) -> str:
    """A p-value; a dash where none was made.

    Example:
        >>> p_value(0.0312), p_value(0.00004), p_value(float("nan"))
        ('0.031', '< 0.001', '–')
    """
    if math.isnan(value):
        return UNKNOWN
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def parts(model: Recommender, info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the model is made of: name of a part, and what was chosen for it."""
    weights, blocks = info["weights"], model._blocks
    ordered = blocks.sparse is not None and blocks.sparse.decay < 1.0
    life = info.get("half_life")
    counted = "counted over all time" if life is None else f"half-life of {life:g} days"
    judged = "re-orders the candidates" if weights["discriminator"] else "trained, but re-ordering did not pay"
    return [
        ("Condition encoder", ENCODERS.get(info["encoder"], str(info["encoder"]))),
        ("Generated block", _weight(weights["generated"]) + ("" if weights["unknown"] else ", not without a history")),
        (f"Linear block, dense ({'low-pass filter' if 'rank' in info else 'EASE'})", _weight(weights["dense"])),
        (f"Linear block, sparse ({'transitions' if ordered else 'neighbours'})", _weight(weights["sparse"])),
        ("Popularity", f"{_weight(weights['popularity'])}; {counted}"),
        ("Adversarial game", game(info)),
        ("Discriminator", f"{judged} ({_weight(weights['discriminator'])})"),
    ]


def _weight(weight: float) -> str:
    return f"weight {weight:.3g}".replace("-", MINUS) if weight else "weight 0, not used"


def game(info: Mapping[str, Any]) -> str:
    """What came of the adversarial game."""
    played, config = info["game"], info["config"]
    if not played["curve"]:
        return "not played"
    loss = "no adversarial loss, set likelihood only" if config["adversarial"] == "none" else config["adversarial"]
    return (
        f"{loss}{' loss' * (config['adversarial'] != 'none')}, {config['game_steps']} steps; it leaves the lists alone"
    )


def verdict(values: Mapping[str, float]) -> str:
    """Whether the parts pay, from the ablation."""
    alone = [values.get("linear", 0.0), values.get("generator", 0.0)]
    both, judged = values.get("both", 0.0), values.get("both + discriminator", 0.0)
    if not max(alone) or not both:
        return ""
    gain, extra = both / max(alone) - 1.0, judged / both - 1.0
    name = "linear block" if alone[0] >= alone[1] else "generator"
    first = f"Both blocks together: {percent(gain, signed=True)} against the {name} alone"
    second = (
        f"the discriminator on top: {percent(extra, signed=True)}"
        if judged != both
        else "the discriminator adds nothing"
    )
    return f"{first}; {second}."


def accuracy(value: float) -> str:
    """A measure of at most 1, which may be negative.

    Example:
        >>> accuracy(0.693), accuracy(-0.004)
        ('0.69', '0.00')
    """
    return f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)


def wanted(row: Mapping[Any, Any], accuracy: Mapping[str, Mapping[str, Any]]) -> str:
    """The decoded attributes of a wanted vector or of a gap in one line.

    Example:
        >>> row = {"categories": "Film-Noir|Crime", "year": 1947.6}
        >>> wanted(row, {"categories": {"used": True}, "year": {"used": True}})
        'Film-Noir, Crime; year 1948'
    """
    told = []
    for name in (name for name, one in accuracy.items() if one["used"]):
        value = row[name]
        if isinstance(value, str):
            text = plain(", ".join(value.split(CATEGORY_SEPARATOR if name == CATEGORIES else None)))
            told.append(f"words: {text}" if text and name != CATEGORIES else text)
        else:
            told.append(f"{plain(name, 30)} {value:.0f}" if abs(value) >= 100 else f"{plain(name, 30)} {value:.2g}")
    return "; ".join(text for text in told if text)


def alarms(info: Mapping[str, Any]) -> list[str]:
    """The alarms that are raised, each with its meaning and what to do."""
    told = {**ALARMS, **info["alarms"].get("advice", {})}
    return [f"{name}: {told.get(name, 'see info()')}" for name in info["alarms"]["collapsed"]]

"""The variants of the adversary compared: what is clearly better, and all of it as tables.

A variant is *clearly better* in a row than the game without an adversary ("off") where the 95 % bootstrap interval
over seeds and users, paired by user within a seed and corrected for the number of rows (Bonferroni), lies on its
better side.
The goal: an NDCG that is at most .5 % lower, and three such rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from adversary_rows import ROWS, TOLD
from tables import NOTHING, Sheet

NEEDED, SAME_NDCG, RESAMPLES = 3, 0.005, 10_000
"""Rows that a claim needs, relative loss of NDCG that still counts as equal, and bootstrap samples."""
BASE, DEFAULT = "off", "relativistic"
HALVED = ("energy score, half the weight", "MMD, half the weight")
RIVALS = (BASE, "off, temperature .8", "off, temperature .6", "energy score", "MMD", *HALVED)
"""Variants without a discriminator, with which the default is compared too."""
DIRECT = ["beside", "the default is clearly better", "clearly worse"]
Row = dict[str, Any]


def compared(found: Mapping[str, Sequence[Row]]) -> dict[str, Row]:
    """Every variant: means over the seeds, and its difference from the game without an adversary."""
    table = {}
    for name, seeds in found.items():
        there = [one for one in seeds if "failed" not in one]
        table[name] = {
            "ndcg": [one["ndcg"] for one in there],
            "values": {row: [one["values"].get(row) for one in there] for row in (*ROWS, *TOLD)},
            "rankers": [one["rankers"] for one in there],
            "alarms": [one["alarms"] for one in there],
            "share_right": [one["share_right"] for one in there],
            "seconds": [one["seconds"] for one in there],
            "failed": [one["failed"] for one in seeds if "failed" in one],
        }
        if name != BASE and not _failed(seeds) and not _failed(found[BASE]):
            table[name] |= against(seeds, found[BASE])
        if name in RIVALS and DEFAULT in found and not _failed(seeds) and not _failed(found[DEFAULT]):
            beside = against(found[DEFAULT], seeds)
            table[name]["default"] = {side: beside[side] for side in ("better", "worse")}
    return table


def _failed(seeds: Sequence[Row]) -> bool:
    return any("failed" in one for one in seeds)


def against(seeds: Sequence[Row], base: Sequence[Row]) -> Row:
    """Differences from the base by row, with corrected intervals, and the rows that are clearly better or worse."""
    differences = {}
    for row in ROWS:
        pairs = [
            np.array(one["users"][row], float) - np.array(other["users"][row], float)
            for one, other in zip(seeds, base, strict=True)
            if row in one["users"] and row in other["users"]
        ]
        if pairs:
            differences[row] = interval(pairs, 0.05 / len(ROWS))
    side = {row: ROWS[row][1] for row in differences}
    better = [row for row, d in differences.items() if min(side[row] * d["low"], side[row] * d["high"]) > 0]
    worse = [row for row, d in differences.items() if max(side[row] * d["low"], side[row] * d["high"]) < 0]
    change = float(np.mean([one["ndcg"] for one in seeds]) / np.mean([one["ndcg"] for one in base]) - 1.0)
    claim = change >= -SAME_NDCG
    told = {"ndcg_change": change, "better": better, "worse": worse, "differences": differences}
    return {**told, "reached": claim and len(better) >= NEEDED}


def interval(pairs: Sequence[np.ndarray], level: float) -> dict[str, float]:
    """Mean difference and its bootstrap interval over seeds, and over users within a seed, at a level."""
    random = np.random.default_rng(0)
    pairs = [one[np.isfinite(one)] for one in pairs]
    means = np.stack([_resampled_means(one, random) for one in pairs])  # (seeds, R)
    chosen = random.integers(0, len(pairs), (len(pairs), RESAMPLES))
    drawn = np.take_along_axis(means, chosen, 0).mean(axis=0)
    low, high = np.quantile(drawn, [level / 2, 1.0 - level / 2])
    return {"mean": float(np.mean([one.mean() for one in pairs])), "low": float(low), "high": float(high)}


def _resampled_means(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Means of R bootstrap samples, (R,), by how often each value is drawn."""
    counts = random.multinomial(len(values), np.full(len(values), 1.0 / len(values)), RESAMPLES)
    return np.asarray(counts @ values / len(values))


def sheets(result: Mapping[str, Any]) -> list[Sheet]:
    """Fidelity and diversity, accuracy of the three jobs, stability."""
    variants = result["variants"]
    names = {row: title for row, (title, _) in ROWS.items()} | TOLD
    about = f"{result['set']}, {result['seeds']} seeds"
    columns = ["variant", "NDCG", *names.values(), "clearly better", "clearly worse", "goal"]
    cells = [[name, *_line(one, names), *_claims(one)] for name, one in variants.items()]
    fidelity = f"{about}: mean over the seeds; +/-: corrected 95 % interval against '{BASE}' on the better / worse side"
    ranked = [[name, *_ranks(one)] for name, one in variants.items() if any(one["rankers"])]
    second = ["variant", "stage one", "discriminator as ranker", "boosting as ranker"]
    direct = [[name, *_beside(one["default"], names)] for name, one in variants.items() if "default" in one]
    calm = ["variant", "seeds that failed", "seeds with an alarm", "alarms", "NDCG by seed", "D right", "seconds"]
    beside = Sheet(f"{about}: the default beside what has no discriminator", DIRECT, direct, left=(1, 2))
    return [
        Sheet(fidelity, columns, cells),
        *([beside] if direct else []),
        Sheet(f"{about}: NDCG of the second stage, out of fold", second, ranked),
        Sheet(f"{about}: stability", calm, [[name, *_calm(one)] for name, one in variants.items()], left=(3,)),
    ]


def _line(one: Row, names: Mapping[str, str]) -> list[str]:
    marks = {**dict.fromkeys(one.get("better", []), " +"), **dict.fromkeys(one.get("worse", []), " -")}
    return [_mean(one["ndcg"]), *(_mean(one["values"][row]) + marks.get(row, "") for row in names)]


def _claims(one: Row) -> list[str]:
    if "better" not in one:
        return [NOTHING] * 3
    return [str(len(one["better"])), str(len(one["worse"])), "reached" if one["reached"] else "no"]


def _beside(default: Row, names: Mapping[str, str]) -> list[str]:
    return ["; ".join(names[row] for row in default[side]) or NOTHING for side in ("better", "worse")]


def _ranks(one: Row) -> list[str]:
    return [
        _mean(one["ndcg"]),
        *(_mean([seed[name] for seed in one["rankers"]]) for name in ("D", "boosting")),
    ]


def _calm(one: Row) -> list[str]:
    raised = sorted({name for names in one["alarms"] for name in names})
    shares = [share for share in one["share_right"] if share is not None]
    by_seed = " ".join(f"{value:.4f}" for value in one["ndcg"])
    alarmed = str(sum(bool(names) for names in one["alarms"]))
    return [
        str(len(one["failed"])),
        alarmed,
        ", ".join(raised) or NOTHING,
        by_seed,
        _mean(shares),
        f"{np.mean(one['seconds'] or [0]):.0f}",
    ]


def _mean(values: Sequence[float | None]) -> str:
    there = [value for value in values if value is not None]
    return f"{np.mean(there):.4f}" if there else NOTHING

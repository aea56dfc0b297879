"""Kinds of items that users want and that nobody offers, told from what chance alone would leave out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recgan.errors import ConfigError
from recgan.gaps.wanted import Survey

SHARPNESS = 4.0
"""How fast items cease to replace each other: a neighbour counts exp(SHARPNESS * cosine) - 1."""

STRATUM = 20
"""Fewest items of about the same popularity that stand in for each other in a random withdrawal."""

REFERENCES = 50
"""Most items of a stratum from which its moments are taken."""

PAIRS = 1_000_000
"""Most pairs of a place and a missing item in a withdrawal; with more, only the places most asked for are looked at."""

ALIKE = 0.25
"""Missing items make one kind as long as their mean cosine lies this many deviations above that of random items."""

JOINS = 1.5
"""The same for a missing item that lies in the gap without being significant itself."""

REGIONS = 32
"""Most regions of wanted vectors that are looked at for a kind that has never been there."""

FEWEST_REGIONS, REGION = 8, 100
"""Fewest regions, and wanted vectors a region."""

FAR = 5.0
"""Robust deviations by which a region must lie further from every item than the others do."""

Kind = Literal["withdrawn", "never filled"]


@dataclass(frozen=True)
class Settings:
    """How gaps are looked for.

    Args:
        alpha: probability that anything withdrawn is reported where it was withdrawn at random.
        n_permutations: random withdrawals that the real one is compared with.
        seed: of the random withdrawals and of the regions.

    Raises:
        ConfigError: when alpha cannot be reached, or a value is out of range.
    """

    alpha: float = 0.01
    n_permutations: int = 999
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise ConfigError(f"gaps: alpha between 0 and 1, not {self.alpha!r}")
        if self.n_permutations < 1 or 1.0 / (self.n_permutations + 1) > self.alpha:
            needed = int(np.ceil(1.0 / self.alpha)) - 1
            raise ConfigError(
                f"gaps: alpha={self.alpha} needs at least {needed} permutations, not {self.n_permutations}"
            )


@dataclass(frozen=True)
class Gap:
    """A kind of item that is wanted and not there.

    Args:
        kind: "withdrawn": items that the model knows and that are not on offer lie together more than a random
            withdrawal's; "never filled": a region of wanted vectors lies far from every item, without a p-value.
        missing: numbers of the missing items, those nearest to the others first, (M,) int64.
        draws: wanted vectors in the gap, (B, S) bool: those whose nearest item is missing, or those of the region.
        p_value: smallest adjusted p-value of a missing item; NaN for "never filled".
    """

    kind: Kind
    missing: np.ndarray
    draws: np.ndarray
    p_value: float

    @property
    def users(self) -> np.ndarray:
        """Rows of the users with a wanted vector in the gap, ascending."""
        return np.flatnonzero(self.draws.any(axis=1))

    @property
    def demand(self) -> float:
        """Share of all wanted vectors that lie in the gap, every user counting alike."""
        return float(self.draws.mean())


def find_gaps(
    found: Survey, vectors: np.ndarray, counts: np.ndarray, settings: Settings
) -> tuple[list[Gap], float | None]:
    """The gaps, the most wanted first, and how likely as much would be missing by chance.

    Args:
        found: what users want.
        vectors: unit item vectors, (N, D) float32.
        counts: popularity of the items, (N,).
        settings: how to look.

    Returns:
        The gaps; none where what is missing could have been left out at random and no region lies apart. Then the
        smallest adjusted p-value of a missing item; None where fewer than two are missing.
    """
    p_values = withdrawal_test(found, vectors, counts, settings) if len(found.missing) > 1 else np.empty(0)
    gaps = _withdrawn(found, vectors, p_values, settings) + _never_filled(found, vectors, counts, settings)
    smallest = float(p_values.min()) if len(p_values) else None
    return sorted((gap for gap in gaps if gap.draws.any()), key=lambda gap: -gap.demand), smallest


def withdrawal_test(found: Survey, vectors: np.ndarray, counts: np.ndarray, settings: Settings) -> np.ndarray:
    """Whether the missing items lie together more than items of the same popularity withdrawn at random.

    The statistic of a missing item is the demand for the missing items near it, standardised by its mean and deviation
    under random withdrawals. Every p-value is that of the largest statistic of a withdrawal, so that the probability
    of any one below alpha is alpha however many items are missing (Westfall & Young, 1993).

    Args:
        found: what users want.
        vectors: unit item vectors, (N, D) float32.
        counts: popularity of the items, (N,).
        settings: how to look.

    Returns:
        Adjusted p-values of the missing items, (M,) float64; 1 for one that was not looked at.
    """
    missing, random = found.missing, np.random.default_rng(settings.seed)
    field = _Field(vectors, np.sqrt(found.demand), _strata(counts, random), missing, random)
    values, places = field.statistics(missing)
    largest = np.empty(settings.n_permutations)
    for number in range(settings.n_permutations):
        largest[number] = field.statistics(field.withdrawal(random))[0].max()
    exceeding = (largest[:, None] >= values - 1e-9).sum(axis=0)
    p_values = np.ones(len(missing))
    p_values[places] = (1.0 + exceeding) / (settings.n_permutations + 1.0)
    return p_values


class _Field:
    """The items with their weights, and what withdrawals of the same sizes in every stratum do on average."""

    def __init__(
        self,
        vectors: np.ndarray,
        weights: np.ndarray,
        strata: list[np.ndarray],
        missing: np.ndarray,
        random: np.random.Generator,
    ) -> None:
        self.vectors, self.weights = vectors, weights.astype(np.float32)
        sizes = [int(np.isin(stratum, missing).sum()) for stratum in strata]
        self.touched = [(stratum, size) for stratum, size in zip(strata, sizes, strict=True) if size]
        total, variance = np.zeros(len(vectors)), np.zeros(len(vectors))
        for stratum, size in self.touched:
            shown = random.permutation(stratum)[:REFERENCES]
            near = np.concatenate([self._near(part, shown) for part in _parts(len(vectors), len(shown))])
            total += size * near.mean(axis=1)
            spread = near.var(axis=1, ddof=1) if len(shown) > 1 else np.zeros(len(near))
            variance += size * (1.0 - size / len(stratum)) * spread
        deviation = np.sqrt(variance)
        self.mean, self.deviation = total, deviation + 0.05 * deviation.mean() + 1e-12

    def withdrawal(self, random: np.random.Generator) -> np.ndarray:
        """Numbers of as many random items of every stratum as are missing there."""
        return np.concatenate([random.choice(stratum, size, replace=False) for stratum, size in self.touched])

    def statistics(self, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standardised demand for missing items near some of them, and which of them these are."""
        most = max(1, PAIRS // max(1, len(missing)))
        places = (
            np.argsort(-self.weights[missing], kind="stable")[:most] if most < len(missing) else np.arange(len(missing))
        )
        chosen = missing[places]
        near = self._near(chosen, missing).sum(axis=1)
        return (near - self.mean[chosen]) / self.deviation[chosen], places

    def _near(self, places: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What every item counts at every place, (places, items); nothing at its own."""
        counted = np.expm1(SHARPNESS * (self.vectors[places] @ self.vectors[items].T)) * self.weights[items]
        return np.where(places[:, None] == items, 0.0, counted)


def _parts(n_items: int, width: int) -> list[np.ndarray]:
    return np.array_split(np.arange(n_items), max(1, n_items * width // (1 << 22)))


def _strata(counts: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Items of about the same popularity, equal ones in random order."""
    order = np.lexsort((random.random(len(counts)), counts))
    return np.array_split(order, int(np.clip(len(counts) // STRATUM, 1, 100)))


def _withdrawn(found: Survey, vectors: np.ndarray, p_values: np.ndarray, settings: Settings) -> list[Gap]:
    """Significant missing items in groups that are alike, with the missing items that lie among them."""
    missing, core = found.missing, np.flatnonzero(p_values <= settings.alpha)
    if not len(core):
        return []
    mean, deviation = _background(vectors, settings.seed)
    groups = _kinds(vectors[missing[core]], mean + ALIKE * deviation)
    likeness = np.stack(
        [(vectors[missing] @ vectors[missing[core[groups == group]]].T).mean(axis=1) for group in np.unique(groups)],
        axis=1,
    )
    own = likeness.argmax(axis=1)
    inside = likeness.max(axis=1) > mean + JOINS * deviation
    own[core], inside[core] = groups, True
    gaps = []
    for group in np.unique(groups):
        members = np.flatnonzero(inside & (own == group))
        members = members[np.argsort(-likeness[members, group], kind="stable")]
        if len(members) > 1:
            draws = np.isin(found.nearest, missing[members])
            gaps.append(Gap("withdrawn", missing[members], draws, float(p_values[core[groups == group]].min())))
    return gaps


def _background(vectors: np.ndarray, seed: int) -> tuple[float, float]:
    """Mean and deviation of the cosine of two random items."""
    shown = vectors[np.random.default_rng(seed).permutation(len(vectors))[:2000]]
    cosines = (shown @ shown.T)[np.triu_indices(len(shown), 1)]
    return float(cosines.mean()), float(cosines.std())


def _kinds(vectors: np.ndarray, least: float) -> np.ndarray:
    """Groups of vectors whose mean cosine with each other is at least `least`, numbered from 0."""
    from sklearn.cluster import AgglomerativeClustering

    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int64)
    merging = AgglomerativeClustering(None, metric="cosine", linkage="average", distance_threshold=1.0 - least)
    return np.asarray(merging.fit(vectors).labels_, np.int64)


def _never_filled(found: Survey, vectors: np.ndarray, counts: np.ndarray, settings: Settings) -> list[Gap]:
    """Regions of wanted vectors that lie apart: far from every item for wanted vectors, and for items too."""
    from sklearn.cluster import KMeans

    draws = found.wanted.reshape(-1, vectors.shape[1])
    n_regions = min(REGIONS, len(draws) // REGION)
    known = vectors[counts > 0]
    if n_regions < FEWEST_REGIONS or len(known) < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different vectors than regions
        regions = KMeans(n_regions, n_init=1, random_state=settings.seed).fit(draws).labels_
    gaps = np.bincount(regions, found.gap.ravel(), n_regions) / np.maximum(np.bincount(regions, minlength=n_regions), 1)
    usual = np.median(gaps)
    deviation = 1.4826 * np.median(np.abs(gaps - usual))
    apart = (gaps > usual + FAR * deviation) & (gaps > _item_gap(known))
    none = np.empty(0, np.int64)
    shape = found.gap.shape
    return [Gap("never filled", none, (regions == r).reshape(shape), float("nan")) for r in np.flatnonzero(apart)]


def _item_gap(vectors: np.ndarray) -> float:
    """What 95 % of the items are nearer to another item, 1 - cosine."""
    from recgan.index import ItemIndex

    shown = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), 2000)).astype(np.int64)]
    return float(np.quantile(1.0 - ItemIndex(vectors).search(shown, 2)[0][:, 1], 0.95))

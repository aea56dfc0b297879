"""The closed forms of a run: each with the settings that serve the validation users best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from recgan import linear
from recgan.histories import Histories, Strength
from recgan.popularity import HALF_LIVES, log_popularity
from recgan.training.scoring import WHOLE, Scorer, by_block, by_rows, by_values
from recgan.training.validation import Validation

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from recgan.config import Config
    from recgan.training.data import Data

Block = TypeVar("Block")

REGULARISATIONS = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 80.0)
"""Of EASE, in mean degrees of the items."""

EASE: Mapping[str, Any] = {"user_power": 0.5, "growth": 0.3}
"""A long history counts less than in proportion, and popular items are regularised more."""

EASE_ITEMS = 20_000
"""Catalogues up to this size try EASE."""

LOW_PASS = (128, 256, 512)
"""Ranks of the low-pass filter that larger catalogues try; twice the largest as long as that is better."""

LOW_PASS_CELLS = 80_000_000
"""Most numbers in its singular vectors, of users and items together."""

NEIGHBOURS: Sequence[Mapping[str, Any]] = (
    {"user_power": 0.65, "from_power": 0.5, "to_power": 0.35, "shrinkage": 0.0},
    {"user_power": 0.0, "from_power": 0.5, "to_power": 0.5, "shrinkage": 20.0},
)
"""Settings tried for histories without order: sizes of users and items divided out, and the shrunk cosine."""

POPULAR_NEIGHBOURS: Mapping[str, Any] = {"user_power": 0.5, "from_power": 0.5, "to_power": 0.0, "shrinkage": 0.0}
"""Tried too in catalogues that are scored whole: where items are rare, what many have tells more of them."""

FACTORS: Mapping[str, float] = {"rank": 64, "unseen": 0.2, "ridge": 6.0}
"""Where the search for the settings of least squares begins."""

FACTORS_SEARCH = (("ridge", 1.3), ("unseen", 2.0), ("ridge", 1.3), ("rank", 2.0), ("ridge", 1.3))
"""Which setting is changed by which factor, either way and for as long as that is better, one after the other."""

LONG_FIT, LONG_STEP = 5e10, 2.0
"""Operations of one fit from which on every factor is at least so large, so that fewer fits are needed."""

FACTORS_RANKS, FACTORS_CELLS = (32, 512), 300_000_000
"""Least and most columns tried, and most numbers of all users and items together."""

FACTORS_COST, FACTORS_BUDGET = 3e11, 8e11
"""Operations that one fit may take, and all fits of a search."""

POWERS = (0.0, 0.5, 1.0, 2.0)
"""How far weights are heeded: powers of the weight that validation chooses from; 0 heeds none."""

TRANSITIONS: Mapping[str, Sequence[float]] = {
    "history_decay": (0.6, 0.8, 0.9),
    "backward": (0.2, 0.0),
    "shrinkage": (60.0, 20.0),
}
"""Values tried for ordered histories, one setting after the other; the first of each is where the search starts."""


@dataclass(frozen=True)
class Chosen(Generic[Block]):
    """A closed form with its best settings.

    Args:
        fit: makes the block from histories.
        block: made from the training part.
        value: validation metric of the block alone.
        settings: what was chosen.
    """

    fit: Callable[[Histories], Block]
    block: Block
    value: float
    settings: Mapping[str, float | None]


class ClosedForms:
    """Fits the closed forms and measures each alone.

    Args:
        histories: the training part.
        validation: whom they have to serve.
        seed: of a large spectrum's iteration.
    """

    def __init__(self, histories: Histories, validation: Validation, seed: int) -> None:
        self.histories = histories
        self.validation = validation.light()
        self.seed = seed
        self.transition_counts = lru_cache(maxsize=2)(partial(linear.transition_counts, histories))
        """By half-life, the last two kept: they are large."""
        self.start_vectors = cache(self._start_vectors)
        """Leading singular vectors by their number, computed once."""
        self._leading: linear.Leading | None = None
        self._tried: set[tuple[float, ...]] = set()
        """Settings of least squares that were tried: none of them is better than the best so far."""
        self._spent = 0.0
        """Operations that their fits took."""

    def _start_vectors(self, rank: int) -> np.ndarray:
        return linear.start_vectors(self.histories, rank, self.seed, self._parts(rank))

    def _parts(self, rank: int) -> linear.Leading | None:
        """The decomposition that serves every rank where it takes long; None where each has one of its own."""
        if self.histories.n_items <= WHOLE:
            return None
        if self._leading is None or len(self._leading.values) < rank:
            self._leading = linear.leading(self.histories, rank, self.seed)
        return self._leading

    def dense(self) -> Chosen[linear.LowRank]:
        """EASE where the whole spectrum can be had, the low-pass filter where it cannot; the better one in between."""
        tried = []
        if self.histories.n_items <= EASE_ITEMS:
            tried.append(self._ease())
        if self.histories.n_items > linear.FULL_SPECTRUM:
            tried += self._low_pass()
        return max(tried, key=lambda one: one.value)

    def _ease(self) -> Chosen[linear.LowRank]:
        parts = linear.spectrum(self.histories, seed=self.seed, **EASE)
        tried = [float(f"{degrees * parts.mean_degree:.4g}") for degrees in REGULARISATIONS]
        values = {lam: self._value(by_block(linear.ease(parts, lam))) for lam in tried}
        best = max(values, key=lambda lam: values[lam])
        settings: dict[str, Any] = {"regularisation": best, **EASE}
        return Chosen(partial(_ease, seed=self.seed, **settings), linear.ease(parts, best), values[best], settings)

    def _low_pass(self) -> list[Chosen[linear.LowRank]]:
        """Every rank from one decomposition, and larger ones while they pay and can be held."""
        most = LOW_PASS_CELLS // (len(self.histories) + self.histories.n_items)
        ranks: Sequence[int] = sorted({min(rank, max(most, LOW_PASS[0])) for rank in LOW_PASS})
        tried: list[Chosen[linear.LowRank]] = []
        while ranks:
            whole = linear.low_pass(self.histories, ranks[-1], self.seed, parts=self._parts(ranks[-1]))
            for rank in ranks:
                block = whole.leading(rank)
                fit = partial(linear.low_pass, rank=rank, seed=self.seed)
                settings = {"rank": rank, "user_power": linear.USER_POWER, "item_power": linear.ITEM_POWER}
                tried.append(Chosen(fit, block, self._value(by_block(block)), settings))
            best = max(tried, key=lambda one: one.value)
            twice = 2 * ranks[-1]
            ranks = [twice] if best is tried[-1] and twice <= min(most, self.histories.n_items) else []
        return tried

    def factors(self) -> Chosen[linear.Factors]:
        """Least squares, one setting after the other changed for as long as that is better."""
        best = self.first_factors()
        least = LONG_STEP if linear.factors_cost(self.histories, best.settings["rank"] or 0) > LONG_FIT else 1.0
        for name, usual in FACTORS_SEARCH:
            factor = max(usual, least)
            for step in (factor, 1.0 / factor):
                while (changed := self._changed(best, name, step)).value > best.value:
                    best = changed
        return best

    def first_factors(self) -> Chosen[linear.Factors]:
        """Least squares with the settings that the search begins with."""
        rank = min(FACTORS["rank"] if self._affordable(FACTORS["rank"]) else FACTORS_RANKS[0], self.histories.n_items)
        return self._made_factors(int(rank), FACTORS["unseen"], FACTORS["ridge"])

    def _changed(self, best: Chosen[linear.Factors], name: str, step: float) -> Chosen[linear.Factors]:
        """The block with one setting changed, or as it is where that leaves what may be tried."""
        settings: dict[str, Any] = dict(best.settings)
        settings[name] = int(settings[name] * step) if name == "rank" else float(f"{settings[name] * step:.4g}")
        least, most = FACTORS_RANKS
        new = tuple(settings[one] for one in ("rank", "unseen", "ridge")) not in self._tried
        allowed = new and least <= settings["rank"] <= min(most, self.histories.n_items)
        return self._made_factors(**settings) if allowed and self._affordable(settings["rank"]) else best

    def _affordable(self, rank: float) -> bool:
        cells, cost = (len(self.histories) + self.histories.n_items) * rank, linear.factors_cost(self.histories, rank)
        return cells <= FACTORS_CELLS and cost <= min(FACTORS_COST, FACTORS_BUDGET - self._spent)

    def _made_factors(self, rank: int, unseen: float, ridge: float) -> Chosen[linear.Factors]:
        self._tried.add((rank, unseen, ridge))
        self._spent += linear.factors_cost(self.histories, rank)
        block = linear.factors(self.histories, self.start_vectors(rank), unseen=unseen, ridge=ridge)
        fit = partial(_factors, rank=rank, unseen=unseen, ridge=ridge, seed=self.seed)
        return Chosen(fit, block, self._value(by_block(block)), {"rank": rank, "unseen": unseen, "ridge": ridge})

    def sparse(self) -> Chosen[linear.SparseRows]:
        """The better of neighbours and, where there is an order, transitions."""
        tried, small = [], self.histories.n_items <= WHOLE
        for settings in (*NEIGHBOURS, *[POPULAR_NEIGHBOURS] * small):
            fit: Callable[[Histories], linear.SparseRows] = partial(linear.neighbours, **settings)
            tried.append(self._rows(fit, fit(self.histories), settings))
        if self.histories.ordered:
            tried.append(self._transitions())
        return max(tried, key=lambda one: one.value)

    def popularity(self) -> Chosen[np.ndarray]:
        """Log popularity with its best half-life."""
        tried = []
        for life in HALF_LIVES if self.histories.clock else (None,):
            scores = log_popularity(self.histories, life)
            value = self._value(by_values(scores))
            tried.append(Chosen(partial(log_popularity, half_life=life), scores, value, {"half_life": life}))
        return max(tried, key=lambda one: one.value)

    def _transitions(self) -> Chosen[linear.SparseRows]:
        """One setting after the other, each at its best value so far."""

        def tried(settings: Mapping[str, Any]) -> Chosen[linear.SparseRows]:
            counts = self.transition_counts(half_life=settings["half_life"])
            block = _transitions(self.histories, counts=counts, **settings)
            return self._rows(partial(_transitions, **settings), block, settings)

        names = {"half_life": (None, 90.0, 30.0, 7.0)} if self.histories.clock else {}
        steps: dict[str, Sequence[float | None]] = {**names, **TRANSITIONS}
        settings: dict[str, Any] = {name: values[0] for name, values in steps.items()}
        best = tried({"half_life": None, **settings})
        for name, values in steps.items():
            for value in values[1:]:
                best = max(best, tried({**best.settings, name: value}), key=lambda one: one.value)
        return best

    def _rows(
        self,
        fit: Callable[[Histories], linear.SparseRows],
        block: linear.SparseRows,
        settings: Mapping[str, float | None],
    ) -> Chosen[linear.SparseRows]:
        return Chosen(fit, block, self._value(by_rows(block)), settings)

    def _value(self, scorer: Scorer) -> float:
        """Validation metric of lists made of these scores alone."""
        validation = self.validation
        rows = [scorer(query).best(validation.k) for query in validation.portions()]
        return float(validation.values(np.concatenate(rows)).mean()) if rows else 0.0


def refits(report: Mapping[str, Any], seed: int) -> dict[str, Callable[[Histories], Any]]:
    """How the closed forms of a training are made from histories, by their names in Weights.

    Args:
        report: `info()` of the trained model, which holds the chosen settings.
        seed: of the training.

    Raises:
        KeyError: when a setting is missing.
    """
    sparse = dict(report["sparse_settings"])
    if "regularisation" in report:
        settings = {name: report[name] for name in ("regularisation", *EASE) if name in report}
        dense: Callable[[Histories], Any] = partial(_ease, seed=seed, **settings)
    else:
        powers = {name: report.get(name, 0.5) for name in ("user_power", "item_power")}  # .5 in models of before
        dense = partial(linear.low_pass, rank=report["rank"], seed=seed, **powers)
    return {
        "dense": dense,
        "factors": partial(_factors, seed=seed, **report["factors_settings"]),
        "sparse": partial(_transitions if "history_decay" in sparse else linear.neighbours, **sparse),
        "popularity": partial(log_popularity, half_life=report["half_life"]),
    }


def strengthened(data: Data, config: Config) -> Data:
    """The data with strengths in the place of weights, by the rule under which least squares serve validation best."""
    weights = data.whole.weights
    if weights is None:
        return data.strengthened(Strength())
    mean, tried = float(weights.mean()), []
    for power in POWERS:
        some = data.strengthened(Strength(mean, power))
        tried.append((ClosedForms(some.histories, some.validation, config.seed).first_factors().value, some))
    return max(tried, key=lambda one: one[0])[1]


def _ease(histories: Histories, regularisation: float, seed: int, **settings: Any) -> linear.LowRank:
    """With the settings that the spectrum was made with; models of before those were there have none of them."""
    return linear.ease(linear.spectrum(histories, seed=seed, **settings), regularisation)


def _factors(histories: Histories, rank: int, seed: int, **settings: float) -> linear.Factors:
    return linear.factors(histories, linear.start_vectors(histories, rank, seed), **settings)


def _transitions(
    histories: Histories, half_life: float | None, counts: csr_matrix | None = None, **settings: Any
) -> linear.SparseRows:
    counts = linear.transition_counts(histories, half_life=half_life) if counts is None else counts
    return linear.transitions(histories, counts=counts, **settings)

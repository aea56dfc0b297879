"""Linear rivals in closed form that filter a history on the graph of users and items."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from recgan.baselines.base import Baseline, number_above_zero, whole_number
from recgan.histories import Histories
from recgan.linear import LowRank, low_pass, normalised
from recgan.ranking import CELLS

Grid = Mapping[str, Sequence[Any]]


class NormalisedSVD(Baseline):
    """An ideal low-pass filter of the normalised interactions: the linear part of GF-CF (Shen et al., CIKM 2021).

    `score = r D_I^-b V V' D_I^b` for a history r and the leading right singular vectors V of `D_U^-a R D_I^-b`, with
    the counts D of users and items, a = user_power and b = item_power; powers of 0 make it PureSVD.

    Args:
        factors: how many singular vectors.
        user_power: how strongly the lengths of histories are divided out, 0 or more.
        item_power: how strongly the popularity of items is divided out, 0 or more.
        seed: of the start of the iteration that finds the vectors, 0 or more.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "item_id": ["a", "b", "a", "b", "b", "c"]})
        >>> NormalisedSVD(factors=1).fit(inter).recommend(history=["a"]).score.round(3).tolist()
        [0.5, 0.167]
    """

    grid: ClassVar[Grid] = {"factors": (32, 64, 128, 256, 512, 1024)}

    def __init__(self, factors: int = 256, user_power: float = 0.5, item_power: float = 0.5, seed: int = 0) -> None:
        self.factors = whole_number("factors", factors)
        self.user_power = number_above_zero("user_power", user_power, or_zero=True)
        self.item_power = number_above_zero("item_power", item_power, or_zero=True)
        self.seed = whole_number("seed", seed, least=0)

    @classmethod
    def _prepare(cls, histories: Histories) -> Callable[..., LowRank]:
        return functools.cache(functools.partial(low_pass, histories))

    def _learn(self, histories: Histories, prepared: Callable[..., LowRank]) -> None:
        self._filter = prepared(self.factors, self.seed, user_power=self.user_power, item_power=self.item_power)

    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        return self._filter.scores(histories)


class GFCF(NormalisedSVD):
    """Graph filters in closed form (Shen et al., CIKM 2021): normalised neighbours plus an ideal low-pass filter.

    `score = r (R~'R~ + alpha D_I^-1/2 V V' D_I^1/2)` for a history r, with `R~ = D_U^-1/2 R D_I^-1/2`, the counts D of
    users and items, and the leading right singular vectors V of R~. No item-by-item matrix is formed.

    Args:
        factors: how many singular vectors.
        alpha: weight of the low-pass filter, 0 or more.
        seed: of the start of the iteration that finds the vectors, 0 or more.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> GFCF(factors=128)
        GFCF(factors=128, alpha=0.3, seed=0)
    """

    grid: ClassVar[Grid] = {"factors": (64, 128, 256, 512, 1024), "alpha": (0.1, 0.3, 0.6, 1.0, 2.0)}

    def __init__(self, factors: int = 256, alpha: float = 0.3, seed: int = 0) -> None:
        super().__init__(factors, seed=seed)
        self.alpha = number_above_zero("alpha", alpha, or_zero=True)

    def _learn(self, histories: Histories, prepared: Callable[..., LowRank]) -> None:
        super()._learn(histories, prepared)
        self._normalised = normalised(histories, self.user_power, self.item_power)

    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        scores = super()._scores(histories, numbers) * np.float32(self.alpha)
        given, block = histories.matrix(), max(1, CELLS // self._normalised.shape[0])
        for start in range(0, len(scores), block):
            users = (self._normalised @ given[start : start + block].T).toarray()
            scores[start : start + block] += (self._normalised.T @ users).T
        return scores

"""Baselines in closed form: nothing iterates, nothing is random below 4,096 items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from recgan.baselines.base import Baseline, number_above_zero, whole_number
from recgan.errors import ConfigError, DataError
from recgan.histories import Histories
from recgan.linear import SparseRows, Spectrum, ease, spectrum
from recgan.popularity import HALF_LIVES, decayed_counts
from recgan.ranking import ABSENT, CELLS, top_items

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Kind = Literal["bm25", "tfidf", "cosine"]
KINDS: tuple[Kind, ...] = ("bm25", "tfidf", "cosine")
BM25_SATURATION, BM25_LENGTH = 1.2, 0.75


class Popular(Baseline):
    """What most users have, the same for everybody but for what each has seen.

    Args:
        half_life: days after which an interaction counts half, measured from the newest one; None: all count alike.
            Needs a column 'timestamp'.

    Raises:
        ConfigError: when half_life is not a number above 0 or None.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 2, 3, 3], "item_id": ["a", "a", "b", "a"]})
        >>> Popular().fit(inter).recommend(1)
           user_id item_id  rank  score
        0        1       b     1    1.0
    """

    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"half_life": HALF_LIVES}

    def __init__(self, half_life: float | None = None) -> None:
        self.half_life = None if half_life is None else number_above_zero("half_life", half_life)

    @classmethod
    def _grid_for(cls, histories: Histories) -> Mapping[str, Sequence[Any]]:
        return cls.grid if histories.clock else {"half_life": (None,)}

    def _learn(self, histories: Histories, prepared: Any) -> None:
        if self.half_life is not None and not histories.clock:
            raise DataError("interactions: half_life needs a column 'timestamp'; leave half_life=None without one")
        self._popularity = decayed_counts(histories, self.half_life).astype(np.float32)

    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        return np.repeat(self._popularity[None], len(numbers), axis=0)


class Neighbourhood(Baseline):
    """What scores by the neighbours of the history; an item without any ranks behind, by popularity, in [-1, 0)."""

    _rows: SparseRows

    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        scores = self._rows.scores(histories).toarray()
        behind = self._popularity / (self._popularity.max() + 1.0) - 1.0
        return np.asarray(np.where(scores > 0, scores, behind), np.float32)


class ItemKNN(Neighbourhood):
    """The nearest neighbours of the candidate item among the user's items (Sarwar et al., WWW 2001).

    `score_i = sum over the history of s_ih`, where h is among the k items most similar to i, and
    `s_ih = w_i . w_h / (|w_i| |w_h| + shrinkage)` for the weighted columns of the interactions, as in the comparison of
    Dacrema et al. (TOIS 2021). An item without a neighbour in the history ranks behind all others, by popularity, with
    a score in [-1, 0).

    Args:
        k: neighbours kept for an item.
        shrinkage: how strongly similarities that rest on few users are lowered.
        kind: weight of an interaction: "cosine" 1; "tfidf" more, the fewer items the user has; "bm25" as tfidf, and
            less, the more users the item has, which shows through the shrinkage alone.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "c", "a"]})
        >>> ItemKNN(shrinkage=0, kind="cosine").fit(inter).recommend(history=["b"], items=["a", "c"]).item_id.tolist()
        ['a', 'c']
    """

    grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "k": (50, 100, 200, 400),
        "shrinkage": (0.0, 10.0, 50.0, 200.0, 500.0),
        "kind": KINDS,
    }

    def __init__(self, k: int = 100, shrinkage: float = 20.0, kind: Kind = "bm25") -> None:
        self.k = whole_number("k", k)
        self.shrinkage = number_above_zero("shrinkage", shrinkage, or_zero=True)
        if kind not in KINDS:
            raise ConfigError(f"kind: one of {', '.join(map(repr, KINDS))}, not {kind!r}")
        self.kind = kind

    def _learn(self, histories: Histories, prepared: csr_matrix) -> None:
        from scipy.sparse import csr_matrix

        weighted = _weighted(prepared, self.kind)
        lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=0)).ravel())
        parts = []
        block = max(1, CELLS // histories.n_items)
        for start in range(0, histories.n_items, block):
            items = np.arange(start, min(start + block, histories.n_items))
            dense = (weighted[:, items].T @ weighted).toarray()
            dense /= np.maximum(lengths[items, None] * lengths + self.shrinkage, 1e-12)
            dense[np.arange(len(items)), items] = 0.0
            neighbours, similarities = top_items(dense.astype(np.float32), self.k)
            rows, columns = np.nonzero((similarities > 0) & (neighbours != ABSENT))
            parts.append((similarities[rows, columns], neighbours[rows, columns], items[rows]))
        values, sources, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
        shape = (histories.n_items, histories.n_items)
        self._rows = SparseRows(csr_matrix((values, (sources, targets)), shape=shape))


class EASE(Baseline):
    """The linear item-item model in closed form (Steck, WWW 2019): each item from all the others, ridge regression.

    Exact for catalogues of up to 4,096 items; above, the 512 leading eigenvectors of the co-occurrence counts stand for
    all of them, which is a truncated EASE, and on sparse data a weaker one.

    Args:
        regularisation: the ridge, in counts, above 0.

    Raises:
        ConfigError: when regularisation is not above 0.

    Example:
        >>> import pandas as pd
        >>> inter = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "b", "c"]})
        >>> EASE(regularisation=1).fit(inter).recommend(history=["a"]).round(3)
          user_id item_id  rank  score
        0    None       b     1  0.667
        1    None       c     2  0.000
    """

    grid: ClassVar[Mapping[str, Sequence[Any]]] = {
        "regularisation": (10.0, 20.0, 50.0, 100.0, 200.0, 350.0, 500.0, 750.0, 1000.0, 2000.0)
    }

    def __init__(self, regularisation: float = 200.0) -> None:
        self.regularisation = number_above_zero("regularisation", regularisation)

    @classmethod
    def _prepare(cls, histories: Histories) -> Spectrum:
        return spectrum(histories)

    def _learn(self, histories: Histories, prepared: Spectrum) -> None:
        self._columns = ease(prepared, self.regularisation)
        self._own = (self._columns.fold * self._columns.columns).sum(axis=1)

    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        scores = self._columns.scores(histories)
        seen = histories.matrix().tocoo()
        scores[seen.row, seen.col] -= self._own[seen.col]  # an item does not speak for itself
        return scores


def _weighted(matrix: csr_matrix, kind: Kind) -> csr_matrix:
    """Interactions weighted by what is rare, (U, N) float64."""
    weighted = matrix.astype(np.float64)
    if kind == "cosine":
        return weighted
    lengths = np.diff(matrix.indptr)
    weighted.data *= np.repeat(np.log1p(matrix.shape[1] / (1.0 + lengths)), lengths)
    if kind == "bm25":
        popularity = np.bincount(matrix.indices, minlength=matrix.shape[1])
        size = 1.0 - BM25_LENGTH + BM25_LENGTH * popularity / popularity.mean()
        weighted.data *= ((BM25_SATURATION + 1.0) / (BM25_SATURATION * size + 1.0))[matrix.indices]
    return weighted

"""The item tower: from the content of an item to everything that the model would have learned of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recgan.cold.arrays import BIAS, CATEGORIES, OPENING, POPULARITY, VECTORS, YEARS
from recgan.cold.smoothing import Smoother
from recgan.content import Reader, Terms, category_names, category_terms
from recgan.features import year_scale, years_on
from recgan.linear import largest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KIN = 20
"""Items that a new one is most alike: it takes the mean of their sparse rows, and of what the regression misses."""
ROWS = 1024
READ = (CATEGORIES, YEARS, BIAS, OPENING)
"""Arrays that are not predicted."""


@dataclass(frozen=True)
class Settings:
    """What validation chooses.

    Args:
        penalty: of the ridge regression, above 0.
        kin: share of what the regression misses of the most alike items that is added.
        scales: factors of groups of features.
        popularity: what one deviation of the predicted popularity counts beside all else.
        handicap: what is added to the score of a new item, so that new items are listed as often as it pays.
    """

    penalty: float = 3.0
    kin: float = 0.0
    scales: Mapping[str, float] = field(default_factory=lambda: {"words": 0.3})
    popularity: float = 0.0
    handicap: float = 0.0


@dataclass(frozen=True)
class Tower:
    """Predicts the arrays of an item from its content and from the items that are learned.

    Args:
        reader: of the content.
        labels: categories in which items are compared, or None.
        years: mean and deviation of the years.
        settings: of the prediction.
        learned: how many items, the first ones, have arrays of their own; those of the others come from here.
    """

    reader: Reader
    labels: Terms | None
    years: tuple[float, float]
    settings: Settings
    learned: int

    @classmethod
    def of(cls, items: pd.DataFrame, settings: Settings) -> Tower:
        """The tower of a table of learned items, one row an item."""
        return cls(Reader.of(items), category_terms(items), year_scale(items), settings, len(items))

    @property
    def category_names(self) -> tuple[str, ...]:
        """Categories of the learned items, sorted."""
        return () if self.labels is None else self.labels.names

    def features(self, items: pd.DataFrame) -> np.ndarray:
        """What the tower reads of some items, (M, F) float32; a row of zeros where it knows nothing."""
        return self.reader.read(items, self.settings.scales)

    def told(self, items: pd.DataFrame) -> np.ndarray:
        """Which of some items, (M,) bool, carry content that the tower can read, whatever it counts."""
        return np.asarray((self.reader.read(items) != 0.0).any(axis=1))

    def predict(
        self, items: pd.DataFrame, learned: pd.DataFrame, counts: np.ndarray, arrays: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], csr_matrix]:
        """Arrays of new items.

        Args:
            items: their table, M rows.
            learned: table of the learned items, L rows.
            counts: interactions of the learned items, (L,).
            arrays: of the learned items, under the names of `item_arrays`.

        Returns:
            The same arrays with M rows, and the share of every learned item in the sparse rows of the new ones, (M, L).
        """
        known, new = self.features(learned), self.features(items)
        smoother, shares = Smoother(known, counts, self.settings.penalty), kin(new, known)
        predicted = {}
        for name, array in {**arrays, VECTORS: unit(arrays[VECTORS])}.items():
            if name not in READ:
                values = array.reshape(len(array), -1)
                missed = shares @ (values - smoother.left_out(values)) * np.float32(self.settings.kin)
                predicted[name] = (smoother.predict(values, new) + missed).reshape(len(items), *array.shape[1:])
        length = np.median(np.linalg.norm(arrays[VECTORS], axis=1))
        predicted[VECTORS] = unit(predicted[VECTORS]) * np.float32(length)
        liked = self.settings.popularity * predicted[POPULARITY] + self.settings.handicap
        predicted |= {**self.read(items), BIAS: np.asarray(liked, np.float32), OPENING: np.zeros_like(liked)}
        return {name: predicted[name] for name in arrays}, shares

    def read(self, items: pd.DataFrame) -> dict[str, np.ndarray]:
        """The arrays of some items that their table tells, on the scales of the learned ones."""
        none = np.zeros((len(items), 0), np.float32)
        categories = none if self.labels is None else self.labels.read(category_names(items))
        return {CATEGORIES: categories, YEARS: years_on(items, *self.years)}

    def unknown_categories(self, items: pd.DataFrame) -> list[str]:
        """Categories of some items that no learned item has, sorted."""
        return sorted({name for row in category_names(items) for name in row} - set(self.category_names))


def kin(new: np.ndarray, known: np.ndarray, *, alone: bool = True) -> csr_matrix:
    """The most alike known items of some others, by the cosine of their features.

    Args:
        new: features of M items, (M, F).
        known: features of L items, (L, F).
        alone: whether the items are others than the known ones; otherwise they are the same, and none is its own kin.

    Returns:
        Shares, (M, L) sparse float32: KIN entries a row that add up to 1, fewer where fewer are alike at all.
    """
    from scipy.sparse import csr_matrix, vstack

    rows, columns = unit(new), unit(known)
    parts = [csr_matrix((0, len(known)), dtype=np.float32)]
    for start in range(0, len(rows), ROWS):
        cosines = rows[start : start + ROWS] @ columns.T
        if not alone:
            np.fill_diagonal(cosines[:, start:], 0.0)
        parts.append(largest(csr_matrix(np.maximum(cosines, 0.0)), KIN))
    shares = vstack(parts, format="csr")
    total = np.asarray(shares.sum(axis=1)).ravel()
    shares.data /= np.repeat(total, np.diff(shares.indptr))
    return shares


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; zeros stay zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0.0, lengths, 1.0), np.float32)

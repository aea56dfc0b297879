"""What is known of items as numbers, read with the statistics of the items that were learned from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, ITEM, Problems

WORD = re.compile(r"\w\w+")
MOST_TERMS, WIDTH = 20_000, 256
"""Most categories or words that are read, and most columns that they become (latent semantic analysis)."""
KNOTS = 16
"""Points, at quantiles, between which a number counts linearly."""
PAIRS, WORDS, VECTORS = "pairs", "words", "vectors"
"""Groups of features that may count less than categories and numbers, or nothing."""


@dataclass(frozen=True)
class Terms:
    """Categories or words: unit rows of inverse-frequency weights, in their leading directions where they are many.

    Args:
        names: the T terms, sorted.
        rarity: weight of every term, (T,) float32.
        directions: leading right singular vectors, (T, S) float32; None where the terms are few.
    """

    names: tuple[str, ...]
    rarity: np.ndarray
    directions: np.ndarray | None

    @classmethod
    def of(cls, rows: list[list[str]]) -> Terms | None:
        """The terms that at least two of N items have, the most frequent ones; None where there are none."""
        counts = pd.Series([term for row in rows for term in set(row)], dtype=object).value_counts()
        names = tuple(sorted(counts[counts >= 2].sort_index().nlargest(MOST_TERMS, keep="first").index))
        if not names:
            return None
        rarity = np.log(len(rows) / counts[list(names)].to_numpy(np.float64) + 1.0).astype(np.float32)
        plain = cls(names, rarity, None)
        return plain if len(names) <= WIDTH else cls(names, rarity, _directions(plain, rows))

    def read(self, rows: list[list[str]]) -> np.ndarray:
        """Features of N items, (N, S) float32; zeros for an item that has none of the terms."""
        weighted = self._weighted(rows)
        return np.asarray(weighted.toarray() if self.directions is None else weighted @ self.directions, np.float32)

    def _weighted(self, rows: list[list[str]]) -> Any:
        from scipy.sparse import csr_matrix

        place = {name: number for number, name in enumerate(self.names)}
        found = [sorted({place[term] for term in row if term in place}) for row in rows]
        ends = np.cumsum([0, *map(len, found)])
        columns = np.array([number for row in found for number in row], np.int64)
        weighted = csr_matrix((self.rarity[columns], columns, ends), shape=(len(rows), len(self.names)))
        lengths = np.sqrt(weighted.multiply(weighted).sum(axis=1)).A1
        weighted.data /= np.repeat(lengths, np.diff(weighted.indptr))
        return weighted


def _directions(terms: Terms, rows: list[list[str]]) -> np.ndarray:
    from sklearn.utils.extmath import randomized_svd

    _, _, leading = randomized_svd(terms._weighted(rows), WIDTH, n_iter=4, svd_lapack_driver="gesvd", random_state=0)
    return np.ascontiguousarray(leading.T, np.float32)


@dataclass(frozen=True)
class Number:
    """A column of numbers, piecewise linear between quantiles.

    Args:
        knots: where it bends, (K,) float32, ascending; two at least.
    """

    knots: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Number | None:
        """The column with these values, (N,) float64, NaN where unknown; None where all are alike."""
        known = values[np.isfinite(values)].astype(np.float32)
        knots = np.quantile(known, np.linspace(0.0, 1.0, KNOTS)).astype(np.float32) if len(known) else known
        knots = np.unique(knots)  # as they are kept: what differs by less than float32 can tell is one knot
        return cls(knots) if len(knots) > 1 else None

    def read(self, values: np.ndarray) -> np.ndarray:
        """Share of every knot in every value, (N, K) float32: its row adds up to 1, or to 0 where it is unknown."""
        shares = np.zeros((len(values), len(self.knots)), np.float32)
        known, last = np.isfinite(values), len(self.knots) - 1
        inside = np.clip(values[known], self.knots[0], self.knots[-1])
        left = np.clip(np.searchsorted(self.knots, inside, side="right") - 1, 0, last - 1)
        share = (inside - self.knots[left]) / (self.knots[left + 1] - self.knots[left])
        rows = np.flatnonzero(known)
        shares[rows, left], shares[rows, left + 1] = 1.0 - share, share
        return shares


@dataclass(frozen=True)
class Vector:
    """A column of vectors that the caller brought, such as embeddings of texts or pictures.

    Args:
        mean: of the known ones, (E,) float32; what is read is the unit vector of what differs from it.
    """

    mean: np.ndarray

    def read(self, values: np.ndarray) -> np.ndarray:
        """Unit rows, (N, E) float32; zeros where unknown (NaN)."""
        known = np.isfinite(values).all(axis=1)
        apart = np.where(known[:, None], values - self.mean, 0.0)
        length = np.linalg.norm(apart, axis=1, keepdims=True)
        return np.asarray(apart / np.where(length > 0, length, 1.0), np.float32)


@dataclass(frozen=True)
class Reader:
    """Reads the content of items as one row of features each.

    Args:
        categories: of the column of categories, or None.
        pairs: of categories that stand together, or None.
        texts: columns whose words are read together.
        words: of these columns, or None.
        numbers: by their column.
        vectors: by their column.

    Example:
        >>> items = pd.DataFrame({"item_id": [1, 2, 3], "categories": ["War", "War|Drama", "Drama"]})
        >>> reader = Reader.of(items)
        >>> reader.read(items).astype(float).round(2).tolist()
        [[0.0, 1.0], [0.71, 0.71], [1.0, 0.0]]
    """

    categories: Terms | None
    pairs: Terms | None
    texts: tuple[str, ...]
    words: Terms | None
    numbers: Mapping[str, Number]
    vectors: Mapping[str, Vector]

    @classmethod
    def of(cls, items: pd.DataFrame) -> Reader:
        """The reader of a table of items, one row an item, whose statistics it keeps."""
        kinds = {name: kind_of(items[name]) for name in items.columns if name not in (ITEM, CATEGORIES)}
        texts = tuple(name for name, kind in kinds.items() if kind == "text")
        numbers = {name: Number.of(_numbers(items[name])) for name, kind in kinds.items() if kind == "number"}
        vectors = {name: _stacked(items[name]) for name, kind in kinds.items() if kind == "vector"}
        names = category_names(items)
        return cls(
            Terms.of(names),
            Terms.of(_pairs(names)),
            texts,
            Terms.of(_tokens(items, texts)),
            {name: number for name, number in numbers.items() if number is not None},
            {name: Vector(np.nanmean(values, axis=0).astype(np.float32)) for name, values in vectors.items()},
        )

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are read."""
        texts = self.texts if self.words is not None else ()
        return [*[CATEGORIES] * (self.categories is not None), *texts, *self.numbers, *self.vectors]

    def read(self, items: pd.DataFrame, scales: Mapping[str, float] | None = None) -> np.ndarray:
        """Features of N items, (N, F) float32; a row of zeros for an item of which nothing is known.

        Args:
            items: one row an item; columns that are missing count as unknown, others than those known are not read.
            scales: factors of the groups "pairs", "words" and "vectors"; 1 where they are not given.

        Raises:
            DataError: when a column holds something else than it held when the model was trained.
        """
        self.check(items)
        names = category_names(items)
        parts = [(CATEGORIES, self.categories.read(names))] if self.categories is not None else []
        parts += [(PAIRS, self.pairs.read(_pairs(names)))] if self.pairs is not None else []
        parts += [(WORDS, self.words.read(_tokens(items, self.texts)))] if self.words is not None else []
        parts += [(name, one.read(_numbers(_column(items, name)))) for name, one in self.numbers.items()]
        parts += [
            (VECTORS, one.read(_stacked(_column(items, name), len(one.mean)))) for name, one in self.vectors.items()
        ]
        scaled = [part * np.float32((scales or {}).get(name, 1.0)) for name, part in parts]
        return np.concatenate([np.empty((len(items), 0), np.float32), *scaled], axis=1)

    @property
    def groups(self) -> list[str]:
        """Which of the groups that may be scaled there are."""
        there = ((PAIRS, self.pairs), (WORDS, self.words), (VECTORS, self.vectors or None))
        return [name for name, part in there if part is not None]

    def check(self, items: pd.DataFrame) -> None:
        """Refuse columns that hold something else than they held when the model was trained."""
        expected: dict[str, str] = dict.fromkeys(self.texts, "text")
        expected |= dict.fromkeys(self.numbers, "number") | dict.fromkeys(self.vectors, "vector")
        problems = Problems("items")
        for name, kind in expected.items():
            if name in items.columns and items[name].notna().any() and (found := kind_of(items[name])) != kind:
                problems.add(
                    f"column {name!r} holds {found or 'something unknown'}, the model has learned it as {kind}"
                )
            elif name in self.vectors and (lengths := set(_column(items, name).dropna().map(len))):
                width = len(self.vectors[name].mean)
                if lengths != {width}:
                    problems.add(f"column {name!r} holds vectors of {sorted(lengths)} numbers, not of {width}")
        problems.raise_if_any()


def category_terms(items: pd.DataFrame) -> Terms | None:
    """All categories with the weights of `category_matrix`; None where there are none."""
    names = category_names(items)
    counts = pd.Series([name for row in names for name in set(row)], dtype=object).value_counts()
    if not len(counts):
        return None
    kept = sorted(counts.index)
    return Terms(tuple(kept), np.log(len(items) / counts[kept].to_numpy() + 1.0).astype(np.float32), None)


def kind_of(values: pd.Series) -> str | None:
    """What a column holds: "text", "number", "vector" (numbers, equally many in every row), or None for all else."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return None if pd.api.types.is_complex_dtype(values) else "number"
    known = values.dropna()
    if pd.api.types.infer_dtype(known, skipna=True) == "string":
        return "text"
    return "vector" if len(known) and all(map(_is_vector, known)) and known.map(len).nunique() == 1 else None


def _is_vector(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and len(value) > 1 and np.asarray(value).dtype.kind in "iuf"


def _column(items: pd.DataFrame, name: str) -> pd.Series:
    return items[name] if name in items.columns else pd.Series([None] * len(items), dtype=object)


def category_names(items: pd.DataFrame) -> list[list[str]]:
    """The categories of every item."""
    told = _column(items, CATEGORIES)
    return [[] if pd.isna(one) else [name for name in str(one).split(CATEGORY_SEPARATOR) if name] for one in told]


def _pairs(names: list[list[str]]) -> list[list[str]]:
    """Categories that stand together at every item."""
    return [[CATEGORY_SEPARATOR.join(pair) for pair in combinations(sorted(set(row)), 2)] for row in names]


def _tokens(items: pd.DataFrame, texts: tuple[str, ...]) -> list[list[str]]:
    """The words of every item."""
    rows: list[list[str]] = [[] for _ in range(len(items))]
    for name in texts:
        for row, told in zip(rows, _column(items, name), strict=True):
            row += [] if pd.isna(told) else WORD.findall(str(told).lower())
    return rows


def _numbers(values: pd.Series) -> np.ndarray:
    """As float64, NaN where unknown or infinite; times as seconds."""
    if pd.api.types.is_datetime64_any_dtype(values):
        values = (values - pd.Timestamp(0, tz=values.dt.tz)) / pd.Timedelta(seconds=1)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _stacked(values: pd.Series, width: int = 0) -> np.ndarray:
    """Vectors as rows, (N, E) float64, NaN where there is none."""
    known = values.notna().to_numpy()
    rows = np.full((len(values), width or len(values[known].iloc[0])), np.nan)
    if known.any():
        rows[known] = np.stack([np.asarray(one, np.float64) for one in values[known]])
    return rows

"""What the discriminator knows of a (user, item) pair beyond an inner product."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from recgan.histories import Histories
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, USER, YEAR

FEATURES = (
    "popularity",
    "popularity against the user's mean",
    "distance from the user's popularity",
    "trend",
    "length of the history",
    "nearest history item",
    "mean of the history",
    "newest history item",
    "category match",
    "category share",
    "year against the user's mean",
    "distance from the user's years",
    "user features match",
)
"""Names of the pair features, in the order of their columns."""

COMPARED = 200
"""Newest items of a history with which a candidate is compared."""

ROUNDING = 1e-12
"""A deviation that is so small beside the mean is that of equal numbers, by rounding."""

MOST_VALUES = 50
"""Of a text about users that tells something of them."""


@dataclass(frozen=True)
class ItemTraits:
    """Numbers about every item that the pair features compare with the user's habit.

    Args:
        popularity: standardised log counts, (N,) float32.
        trend: standardised log counts of the newest tenth of the rows minus `popularity`, (N,) float32; zeros
            without time.
        categories: unit rows of inverse-frequency-weighted categories, (N, Q) float32; Q may be 0.
        year: standardised, (N,) float32; zeros where unknown.
        audience: mean user features of an item's users, shrunk and centred, (N, P) float32; P may be 0.
        vectors: unit item vectors in which histories are compared, (N, D) float32.
    """

    popularity: np.ndarray
    trend: np.ndarray
    categories: np.ndarray
    year: np.ndarray
    audience: np.ndarray
    vectors: np.ndarray

    @cached_property
    def habits(self) -> np.ndarray:
        """What a user's habit is the mean of: popularity, year and categories side by side, (N, 2 + Q) float32."""
        return np.concatenate([self.popularity[:, None], self.year[:, None], self.categories], axis=1)

    @classmethod
    def of(
        cls,
        histories: Histories,
        items: pd.DataFrame,
        categories: np.ndarray,
        vectors: np.ndarray,
        profiles: np.ndarray,
    ) -> ItemTraits:
        """Traits from the training interactions and the item table.

        Args:
            histories: training interactions of U users over N items.
            items: one row an item, in the order of the item numbers; `year` is read where it exists.
            categories: of the items, from `category_matrix`.
            vectors: unit item vectors, (N, D) float32.
            profiles: features of the users, (U, P) float32 from `user_profiles`.

        Returns:
            The traits.
        """
        popularity = _standardised(np.log1p(histories.counts()))
        return cls(
            popularity=popularity,
            trend=_trend(histories),
            categories=categories,
            year=years_on(items, *year_scale(items)),
            audience=_audience(histories, profiles),
            vectors=vectors,
        )


def category_matrix(items: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Categories as unit rows, weighted by inverse frequency.

    Args:
        items: one row an item; `categories` joined by `|` where the column exists.

    Returns:
        Matrix (N, Q) float32 (a row of zeros for an item without category) and the Q names, sorted.
    """
    flags = category_flags(items)
    weighted = flags.to_numpy(np.float32) * np.log(len(items) / flags.sum().to_numpy() + 1.0)
    return _unit(weighted), list(flags.columns)


def category_flags(items: pd.DataFrame) -> pd.DataFrame:
    """Which item has which category, one column of 0 and 1 a category, sorted; none without the column."""
    if CATEGORIES not in items.columns:
        return pd.DataFrame(index=items.index)
    flags = items[CATEGORIES].fillna("").astype(str).str.get_dummies(CATEGORY_SEPARATOR)
    return flags[[name for name in flags.columns if name]]


def likeness_space(vectors: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Items as unit rows whose inner products say how alike they are: by taste, and by category where both have one.

    Args:
        vectors: centred unit item vectors, (N, D) float32; what all have in common is popularity more than taste.
        categories: unit rows of `category_matrix`, (N, Q) float32; Q may be 0.

    Returns:
        (N, D + Q) float32.
    """
    return _unit(np.concatenate([vectors, categories], axis=1))


def user_profiles(users: pd.DataFrame | None, ids: pd.Series, asked: pd.Series | None = None) -> np.ndarray:
    """Numbers and frequent values of a user table as standardised columns.

    Args:
        users: a row a user: user_id and any columns; numbers are scaled, texts with 2..50 values become one column a
            value.
        ids: the U users of the training, whose values decide on columns and scale.
        asked: the V users wanted, in the order of their numbers; None for the U.

    Returns:
        Matrix (V, P) float32; zeros for what the table lacks; P is 0 without a table.
    """
    asked = ids if asked is None else asked
    if users is None:
        return np.zeros((len(asked), 0), np.float32)
    table = users.set_index(USER)
    columns = [np.zeros((len(asked), 0), np.float32)]
    for name in table.columns:
        for numbers in _profile_numbers(table[name], ids):
            told = _on_scale(numbers.reindex(asked).to_numpy(), *_scale(numbers.reindex(ids).to_numpy()))
            columns.append(told[:, None])
    return np.concatenate(columns, axis=1)


def _profile_numbers(values: pd.Series, ids: pd.Series) -> list[pd.Series]:
    """A column of a user table, by user, as numbers, NaN for none; a text as a column for each of its users' values."""
    if pd.api.types.is_numeric_dtype(values):
        return [pd.Series(values.to_numpy(np.float64, na_value=np.nan), values.index)]
    texts = values.astype(object).map(str, na_action="ignore")
    distinct = sorted(texts.reindex(ids).dropna().unique())
    told = distinct if 2 <= len(distinct) <= MOST_VALUES else []
    return [(texts == one).astype(np.float64).where(texts.notna()) for one in told]


@dataclass(frozen=True)
class Habit:
    """What users are compared by, and what of their histories is nearest to K candidates.

    Args:
        lengths: of the histories, (B,) int64.
        popularity: mean over the history, (B,) float32; zero without one.
        taste: mean categories of the history, (B, Q) float32.
        year: mean over the history, (B,) float32.
        similarities: cosines of the candidates with the nearest history item, the history's mean and its newest item,
            (B, 3, K) float32.
    """

    lengths: np.ndarray
    popularity: np.ndarray
    taste: np.ndarray
    year: np.ndarray
    similarities: np.ndarray


def pair_features(traits: ItemTraits, histories: Histories, profiles: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Features of B users with K candidates each.

    Args:
        traits: of the N items.
        histories: of the B users.
        profiles: of the B users, (B, P) float32.
        candidates: item numbers, (B, K) int64.

    Returns:
        (B, K, F) float32 with F = len(FEATURES), in their natural units.
    """
    return pair_columns(traits, habits_of(traits, histories, candidates), profiles, candidates)


def habits_of(traits: ItemTraits, histories: Histories, candidates: np.ndarray) -> Habit:
    """The habits of B users with respect to K candidates each, (B, K) int64."""
    habits = histories.sums(traits.habits, (1.0 / np.maximum(histories.lengths, 1)).astype(np.float32))
    similarities = _similarities(traits.vectors, histories, candidates)
    return Habit(histories.lengths, habits[:, 0], habits[:, 2:], habits[:, 1], similarities)


def pair_columns(traits: ItemTraits, habit: Habit, profiles: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Features of B users with these habits with K candidates each, as `pair_features` gives them."""
    popularity, year, categories = (part[candidates] for part in (traits.popularity, traits.year, traits.categories))
    usual, years, dated = habit.popularity[:, None], habit.year[:, None], year != 0.0
    columns = (
        popularity,
        popularity - usual,
        np.abs(popularity - usual),
        traits.trend[candidates],
        np.log1p(habit.lengths)[:, None],
        *habit.similarities.transpose(1, 0, 2),
        _products(_unit(habit.taste), categories),
        _products(habit.taste, categories),
        (year - years) * dated,
        np.abs(year - years) * dated,
        _products(profiles, traits.audience[candidates]),
    )
    features = np.empty((*candidates.shape, len(columns)), np.float32)
    for place, column in enumerate(columns):
        features[..., place] = column
    return features


def _products(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Inner products of users (B, Q) with items (B, K, Q); zeros where Q is 0, where einsum reads what lies behind."""
    return np.einsum("bq,bkq->bk", users, items) if users.shape[1] else np.zeros(items.shape[:2], users.dtype)


def _similarities(vectors: np.ndarray, histories: Histories, candidates: np.ndarray) -> np.ndarray:
    """Cosines of the candidates with the nearest history item, the history's mean and its newest item, (B, 3, K)."""
    items, mask = histories.window(np.arange(len(histories)), COMPARED)
    known, wanted = vectors[items], vectors[candidates]  # (B, L, D), (B, K, D)
    cosines = wanted @ known.transpose(0, 2, 1)  # (B, K, D) x (B, D, L) -> (B, K, L)
    there = mask[:, None, :]
    count = np.maximum(mask.sum(1), 1)
    any_item = (mask.sum(1) > 0)[:, None]
    nearest = np.where(there, cosines, -1.0).max(axis=2) * any_item
    newest = cosines[np.arange(len(cosines)), :, count - 1] * any_item
    return np.stack([nearest, (cosines * there).sum(axis=2) / count[:, None], newest], axis=1)


def _trend(histories: Histories) -> np.ndarray:
    if histories.times is None or not histories.clock:
        return np.zeros(histories.n_items, np.float32)
    newest = histories.times >= np.quantile(histories.times, 0.9)
    recent = np.bincount(histories.items[newest], minlength=histories.n_items)
    return np.asarray(_standardised(np.log1p(recent)) - _standardised(np.log1p(histories.counts())))


def year_scale(items: pd.DataFrame) -> tuple[float, float]:
    """Mean and deviation of the known years; 0 and 1 where there are none."""
    return _scale(_year_numbers(items))


def years_on(items: pd.DataFrame, mean: float, spread: float) -> np.ndarray:
    """Years on this scale, (N,) float32; 0 where unknown."""
    return _on_scale(_year_numbers(items), mean, spread)


def _year_numbers(items: pd.DataFrame) -> np.ndarray:
    if YEAR not in items.columns:
        return np.full(len(items), np.nan)
    return np.asarray(pd.to_numeric(items[YEAR], errors="coerce").to_numpy(np.float64, na_value=np.nan))


def _audience(histories: Histories, profiles: np.ndarray) -> np.ndarray:
    if profiles.shape[1] == 0:
        return np.zeros((histories.n_items, 0), np.float32)
    matrix = histories.matrix()
    mean = np.asarray(matrix.T @ profiles) / (histories.counts() + 20.0)[:, None]
    return np.asarray(mean - mean.mean(axis=0), np.float32)


def _standardised(values: np.ndarray) -> np.ndarray:
    return _on_scale(values, *_scale(values))


def _scale(numbers: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of the numbers that are finite; 0 and 1 where there are none, or 1 where all are equal."""
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return 0.0, 1.0
    mean, spread = float(known.mean()), float(known.std())
    return mean, spread if spread > ROUNDING * max(1.0, abs(mean)) else 1.0


def _on_scale(numbers: np.ndarray, mean: float, spread: float) -> np.ndarray:
    """Numbers on this scale, float32; 0 where they are not finite."""
    return np.asarray(np.where(np.isfinite(numbers), (numbers - mean) / spread, 0.0), np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0), np.float32)

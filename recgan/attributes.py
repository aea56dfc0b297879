"""What a vector of the item space stands for: categories, numbers and words decoded from it, each with its accuracy."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recgan.features import category_flags
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, ITEM

TERMS = "terms"
"""Column of the decoded words."""

TAKEN = frozenset(
    {"user_id", "rank", "nearest_item_id", "gap", "kind", "users", "share", "demand", "p_value", TERMS}
    | {"missing_items", "nearest_items", "nearest_gaps"}
)
"""Columns of the tables in which decoded attributes stand; a number of such a name is called item_..."""

FOLDS = 5
FEWEST = 20
"""An attribute that fewer items have is not decoded."""

MOST = 10_000
"""Most items that a decoder is fitted on."""

LABELS = 300
"""Most categories and most words; the frequent ones are kept."""

SHOWN = 5
"""Most categories and words that one vector is given."""

WORD = r"(?u)\b[^\W\d]{3,}\b"
"""Three letters or more, no digits."""

SIGNIFICANT = 3.0
"""Standard errors by which a decoder must beat its shuffled control."""


@dataclass(frozen=True)
class Attribute:
    """One attribute, its fitted decoder, and what the decoder is worth on items that it was not fitted on.

    Args:
        name: the column.
        labels: the categories or words; empty for a number.
        known: the attribute of the items, (N, Q) float64, NaN in rows without it.
        model: the fitted decoder, vectors (M, D) to (M, Q).
        method: "linear" (ridge regression) or "neighbours", whichever was better out of fold.
        value: mean out-of-fold accuracy: average precision of the labels' order, or R2 of a number.
        shuffled: the same where the attribute was dealt out to the items at random.
        used: whether `value` is above `shuffled` by more than chance.
        threshold: score from which a label is given, the one with the best F1 out of fold.
        n_items: items that it was measured on.
    """

    name: str
    labels: list[str]
    known: np.ndarray
    model: Any
    method: str
    value: float
    shuffled: float
    used: bool
    threshold: float
    n_items: int

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Decoded values, (M, Q) float64, kept within the range that the items have."""
        decoded = np.asarray(self.model.predict(vectors), np.float64).reshape(len(vectors), -1)
        return np.clip(decoded, np.nanmin(self.known, axis=0), np.nanmax(self.known, axis=0))

    def told(self) -> dict[str, Any]:
        """Its accuracy as JSON values."""
        metric = "average precision" if self.labels else "r2"
        return {
            "method": self.method,
            "metric": metric,
            "value": self.value,
            "shuffled": self.shuffled,
            "n_items": self.n_items,
            "used": self.used,
        }


class AttributeDecoder:
    """Decodes vectors of the item space into attributes of the item table.

    Args:
        attributes: the fitted attributes, categories first, then numbers, then words.
    """

    def __init__(self, attributes: list[Attribute]) -> None:
        self._attributes = {attribute.name: attribute for attribute in attributes}

    @classmethod
    def fit(cls, items: pd.DataFrame, vectors: np.ndarray, seed: int = 0) -> AttributeDecoder:
        """A decoder for the attributes that the item table has.

        Args:
            items: one row an item; `categories` joined by `|`, any column of numbers, and the words of all other
                columns of text are decoded.
            vectors: unit item vectors, (N, D) float32.
            seed: of the folds, of the shuffled control, and of the sample of a large catalogue.

        Returns:
            The decoder; it has no attribute where the table has none that enough items share.
        """
        targets = {CATEGORIES: _categories(items), **_numbers(items), TERMS: _terms(items)}
        fitted = [_fitted(name, *target, vectors, seed) for name, target in targets.items() if target is not None]
        return cls([attribute for attribute in fitted if attribute is not None])

    @property
    def accuracy(self) -> dict[str, dict[str, Any]]:
        """What every attribute's decoder is worth on items that it was not fitted on; JSON values.

        Returns:
            Name of the attribute to method ("linear" or "neighbours"), metric ("average precision" of the order of
            the labels, or "r2"), value, the value of the shuffled control, n_items, and whether it is used.
        """
        return {name: attribute.told() for name, attribute in self._attributes.items()}

    def get(self, name: str) -> Attribute | None:
        """One attribute, or None where it is not there or cannot be told from the vectors."""
        attribute = self._attributes.get(name)
        return attribute if attribute is not None and attribute.used else None

    def decode(self, vectors: np.ndarray) -> pd.DataFrame:
        """Attributes that vectors stand for.

        Args:
            vectors: unit vectors of the item space, (M, D) float32.

        Returns:
            M rows: categories (text joined by `|`, the surest first, "" where they cannot be told), then every number
            (float64) and terms (text parted by a space) that the vectors tell better than chance.
        """
        columns: dict[str, Any] = {CATEGORIES: [""] * len(vectors)}
        for attribute in filter(None, map(self.get, self._attributes)):
            if not attribute.labels:
                columns[attribute.name] = attribute.scores(vectors)[:, 0] if len(vectors) else np.empty(0)
            elif len(vectors):
                separator = CATEGORY_SEPARATOR if attribute.name == CATEGORIES else " "
                columns[attribute.name] = [separator.join(names) for names in _named(attribute, vectors)]
            else:
                columns[attribute.name] = []
        texts = {name: str for name in (CATEGORIES, TERMS) if name in columns}
        return pd.DataFrame(columns).astype(texts)


def _named(attribute: Attribute, vectors: np.ndarray) -> list[list[str]]:
    """The labels of every vector that reach the threshold, the surest first; at least one."""
    scores = attribute.scores(vectors)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :SHOWN]
    given = np.maximum((np.take_along_axis(scores, order, 1) >= attribute.threshold).sum(axis=1), 1)
    return [[attribute.labels[label] for label in row[:n]] for row, n in zip(order, given, strict=True)]


def _categories(items: pd.DataFrame) -> tuple[np.ndarray, list[str]] | None:
    flags = category_flags(items)
    if flags.empty:
        return None
    frequent = flags.sum(axis="index").sort_values(ascending=False, kind="stable").index[:LABELS]
    kept = flags[sorted(frequent)]
    return _without_empty(kept.to_numpy(np.float64)), list(kept.columns)


def _numbers(items: pd.DataFrame) -> dict[str, tuple[np.ndarray, list[str]] | None]:
    found: dict[str, tuple[np.ndarray, list[str]] | None] = {}
    for name in items.columns:
        if name not in (ITEM, CATEGORIES) and pd.api.types.is_numeric_dtype(items[name]):
            values = items[name].to_numpy(np.float64, na_value=np.nan)
            found[f"item_{name}" if name in TAKEN else str(name)] = (
                np.where(np.isfinite(values), values, np.nan)[:, None],
                [],
            )
    return found


def _terms(items: pd.DataFrame) -> tuple[np.ndarray, list[str]] | None:
    """TF-IDF weights of the words of all columns of text but ids and categories."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    others = [name for name in items.columns if name not in (ITEM, CATEGORIES)]
    texts = [name for name in others if pd.api.types.infer_dtype(items[name], skipna=True) == "string"]
    if not texts:
        return None
    joined = items[texts].fillna("").astype(str).agg(" ".join, axis=1)
    reader = TfidfVectorizer(
        max_features=LABELS, min_df=min(FOLDS, len(items)), stop_words="english", token_pattern=WORD
    )
    try:
        weights = reader.fit_transform(joined)
    except ValueError:  # no word is frequent enough
        return None
    return _without_empty(np.asarray(weights.toarray(), np.float64)), list(reader.get_feature_names_out())


def _without_empty(values: np.ndarray) -> np.ndarray:
    return np.where(values.any(axis=1, keepdims=True), values, np.nan)


def _fitted(name: str, known: np.ndarray, labels: list[str], vectors: np.ndarray, seed: int) -> Attribute | None:
    """The better of two decoders, measured out of fold; None where too few items have the attribute, or all alike."""
    rows = np.flatnonzero(np.isfinite(known).all(axis=1)) if known.shape[1] else np.empty(0, np.int64)
    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(rows)[:MOST])
    if len(rows) < FEWEST or not known[rows].std(axis=0).any():
        return None
    x, y = vectors[rows], known[rows]
    guesses = {method: _out_of_fold(method, x, y, seed) for method in ("linear", "neighbours")}
    values = {method: _accuracies(y, guess, labels) for method, guess in guesses.items()}
    method = max(values, key=lambda one: float(values[one].mean()))
    dealt = random.permutation(y)
    control = _accuracies(dealt, _out_of_fold(method, x, dealt, seed), labels)
    error = float(np.sqrt((values[method].var() + control.var()) / len(rows)))
    value, shuffled = float(values[method].mean()), float(control.mean())
    used = value - shuffled > SIGNIFICANT * error and value > 0.0
    threshold = _threshold(y > 0, guesses[method]) if labels else 0.0
    model = _estimator(method).fit(x, y)
    return Attribute(name, labels, known, model, method, value, shuffled, used, threshold, len(rows))


def _estimator(method: str) -> Any:
    from sklearn.linear_model import RidgeCV
    from sklearn.neighbors import KNeighborsRegressor

    if method == "linear":
        return RidgeCV(np.logspace(-2, 3, 6))
    return KNeighborsRegressor(10, weights="distance", metric="cosine", algorithm="brute")


def _out_of_fold(method: str, x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guess = cross_val_predict(_estimator(method), x, y, cv=folds)
    return np.asarray(guess, np.float64).reshape(y.shape)


def _accuracies(y: np.ndarray, guess: np.ndarray, labels: list[str]) -> np.ndarray:
    """Accuracy of every item, (M,): average precision of its labels' order, or its share of R2."""
    if not labels:
        return np.asarray(1.0 - (y - guess)[:, 0] ** 2 / y.var())
    order = np.argsort(-guess, axis=1, kind="stable")
    hits = np.take_along_axis(y > 0, order, 1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return np.asarray((precision * hits).sum(axis=1) / hits.sum(axis=1))


def _threshold(truth: np.ndarray, guess: np.ndarray) -> float:
    """The score from which on labels are given so that F1 over all of them is best."""
    order = np.argsort(-guess, axis=None, kind="stable")
    hits = truth.ravel()[order].cumsum()
    f1 = 2.0 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
    return float(guess.ravel()[order[int(f1.argmax())]])

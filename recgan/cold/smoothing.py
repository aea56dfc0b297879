"""Weighted ridge regression as a smoother: what an item is like is a weighted sum of what the known items are."""

from __future__ import annotations

import numpy as np

MOST_ITEMS = 20_000
"""Most items that are learned from; those with the most interactions."""
SHRINKAGE = 20.0
"""Interactions at which an item counts half."""


class Smoother:
    """Minimises `sum of w (y - x b - a)^2 + penalty |b|^2` over items with features x and any values y.

    The weights are `n / (n + 20)` for n interactions, brought to the mean 1: what many have is known best.

    Args:
        features: of the N known items, (N, F).
        counts: their interactions, (N,).
        penalty: above 0.
    """

    def __init__(self, features: np.ndarray, counts: np.ndarray, penalty: float) -> None:
        self._features = features
        self.rows = np.sort(np.argsort(-counts, kind="stable")[:MOST_ITEMS])
        counts = np.maximum(counts[self.rows], 0.5)
        self._weights = counts / (counts + SHRINKAGE)
        self._weights /= self._weights.mean()
        known = np.asarray(features[self.rows], np.float64)
        self._middle = self._weights @ known / len(known)
        self._apart = known - self._middle
        self._weighted = self._apart * self._weights[:, None]
        gram = self._weighted.T @ self._apart
        self._inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))

    def predict(self, values: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Values of M items that are not known.

        Args:
            values: of the N known items, (N, W).
            features: of the M items, (M, F).

        Returns:
            (M, W) float32.
        """
        mean, slopes = self._fitted(np.asarray(values[self.rows], np.float64))
        return np.asarray((features - self._middle) @ slopes + mean, np.float32)

    def left_out(self, values: np.ndarray) -> np.ndarray:
        """What would be predicted of every known item if it were not known: exact, and no fit is repeated.

        Args:
            values: of the N known items, (N, W).

        Returns:
            (N, W) float32.
        """
        known = np.asarray(values[self.rows], np.float64)
        mean, slopes = self._fitted(known)
        fitted = self._apart @ slopes + mean
        own = (self._weighted @ self._inverse * self._apart).sum(axis=1) + self._weights / len(known)
        found = self.predict(values, self._features)
        found[self.rows] = known - (known - fitted) / np.maximum(1.0 - own, 1e-6)[:, None]
        return found

    def _fitted(self, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean, (W,), and slopes, (F, W)."""
        mean = self._weights @ known / len(known)
        return mean, self._inverse @ (self._weighted.T @ (known - mean))

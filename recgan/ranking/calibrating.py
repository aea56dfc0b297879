"""Lists whose mix of categories follows the user's own (Steck, RecSys 2018)."""

from __future__ import annotations

import numpy as np

from recgan.histories import Histories

ALPHA = 0.01
"""Share of the user's own mix that smooths the list's, as in `metrics.calibration`."""


class Calibration:
    """How far the categories of B growing lists are from those of the users' histories.

    Args:
        histories: of the B users.
        votes: of the items for their categories, (N, Q) float64, as `Blocks.votes` has them.
        numbers: item numbers of the candidates, (B, K) int64, any where none stands.
    """

    def __init__(self, histories: Histories, votes: np.ndarray, numbers: np.ndarray) -> None:
        taste = np.asarray(histories.matrix() @ votes)  # (B, N) x (N, Q) -> (B, Q)
        self.taste = taste / np.maximum(taste.sum(axis=1, keepdims=True), 1e-12)
        self.told = self.taste.any(axis=1, keepdims=True)
        """Whose taste is known, (B, 1) bool."""
        self.all_votes = votes
        self.votes = votes[numbers]  # (B, K, Q)
        self.cast = np.zeros((len(numbers), votes.shape[1]))

    def costs(self) -> np.ndarray:
        """Smoothed KL divergence of every list with each candidate added, from the user's own mix, nats, (B, K)."""
        together = self.cast[:, None] + self.votes
        mix = together / np.maximum(together.sum(axis=2, keepdims=True), 1e-12)
        p = self.taste[:, None]
        ratio = p / np.maximum((1.0 - ALPHA) * mix + ALPHA * p, 1e-300)
        return np.asarray((p * np.log(np.where(p > 0.0, ratio, 1.0))).sum(axis=2))

    def add(self, items: np.ndarray, there: np.ndarray) -> None:
        """Put an item (B,) into every list where one is left, (B,) bool."""
        self.cast += np.where(there[:, None], self.all_votes[items], 0.0)

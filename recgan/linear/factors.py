"""Weighted least squares on implicit feedback: user vectors are solved for, item vectors come from one pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recgan.histories import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS = 1 << 22
"""Most numbers that are held at once of history items' vectors, and of the users' equations."""


@dataclass(frozen=True)
class Factors:
    """Scores `w . columns[i]`, where w is what a history wants by least squares.

    w minimises `sum over the history of s_h (1 - w . y_h)^2 + unseen * sum over all items of (w . y_i)^2 + ridge
    |w|^2`, where s_h is the weight of the event (its confidence): the loss of iALS (Hu, Koren and Volinsky, ICDM 2008;
    in this form Rendle et al., RecSys 2022). There is no table of users, so a new history is served like an old one.

    Args:
        columns: item vectors y, (N, R) float32.
        unseen: weight of an item that is not in the history, above 0.
        ridge: weight of the squared length, above 0.
        gram: sum of `y y'` over the items that count as unseen, (R, R) float32; None for all of them.

    Example:
        >>> block = Factors(np.eye(2, dtype=np.float32), unseen=0.5, ridge=0.5)
        >>> block.scores(Histories.from_lists([np.array([1]), np.array([], np.int64)], 2)).tolist()
        [[0.0, 0.5], [0.0, 0.0]]
    """

    columns: np.ndarray
    unseen: float
    ridge: float
    gram: np.ndarray | None = None

    @cached_property
    def prior(self) -> Tensor:
        """What every user's equations begin with, (R, R) float32."""
        return self.unseen * self._counted + self.ridge * torch.eye(self.columns.shape[1])

    @property
    def _counted(self) -> Tensor:
        vectors = torch.from_numpy(self.columns)
        return vectors.T @ vectors if self.gram is None else torch.from_numpy(self.gram)

    def with_columns(self, columns: np.ndarray) -> Factors:
        """The block for other items, (N, R) float32, in which a history of items that stay wants what it wanted."""
        return Factors(columns, self.unseen, self.ridge, self._counted.numpy())

    def queries(self, histories: Histories) -> np.ndarray:
        """Wanted vectors w of B users, (B, R) float32; zeros for an empty history."""
        rank, found = self.columns.shape[1], np.zeros((len(histories), self.columns.shape[1]), np.float32)
        distinct = _distinct(histories)
        able, most = np.flatnonzero(distinct.lengths), max(1, CELLS // rank**2)
        for group in distinct.groups(able, max(1, distinct.n_items), max(1, CELLS // rank)):
            for start in range(0, len(group), most):
                users = group[start : start + most]
                items, mask = distinct.window(users, distinct.n_items)
                weights = None if distinct.weights is None else distinct.window_weights(users, distinct.n_items)
                found[users] = self._solved(items, mask, weights)
        return found

    def _solved(self, items: np.ndarray, mask: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Item numbers, mask and weights, (B, L) each -> (B, R)."""
        had = torch.from_numpy(self.columns[items] * mask[..., None])  # (B, L, R)
        counted = had if weights is None else had * torch.from_numpy(weights).unsqueeze(2)
        equations = torch.baddbmm(self.prior, counted.transpose(1, 2), had)  # (B, R, R)
        root = torch.linalg.cholesky(equations)
        return np.asarray(torch.cholesky_solve(counted.sum(1).unsqueeze(2), root).squeeze(2).numpy())

    def scores(self, histories: Histories) -> np.ndarray:
        """Scores of every item for B users, (B, N) float32."""
        return np.asarray(self.queries(histories) @ self.columns.T, np.float32)


def factors(histories: Histories, start: np.ndarray, *, unseen: float = 0.2, ridge: float = 6.0) -> Factors:
    """One pass of alternating least squares: users for the starting item vectors, then items for these users.

    From the leading singular vectors one pass is enough; further ones fit the training data, not the future.

    Args:
        histories: training interactions of U users over N items.
        start: item vectors to begin with, (N, R) float32, for example of `start_vectors`.
        unseen: weight of a pair without interaction, above 0.
        ridge: weight of the squared lengths, above 0; the larger, the fewer directions survive.

    Returns:
        The block.
    """
    users = Factors(start, unseen, ridge).queries(histories)
    return Factors(Factors(users, unseen, ridge).queries(_transposed(histories)), unseen, ridge)


def factors_cost(histories: Histories, rank: float) -> float:
    """Operations of `factors`, about: for the equations of users and items, and for their solution."""
    equations = 4.0 * len(histories.items) * rank**2
    return equations + (len(histories) + histories.n_items) * rank**3 / 3.0


def _distinct(histories: Histories) -> Histories:
    """The histories without order, every item once."""
    return _of_matrix(histories.weighted(), histories.n_items, histories.weights is not None)


def _transposed(histories: Histories) -> Histories:
    """Who had every item: histories of N items over U users."""
    return _of_matrix(histories.weighted().T.tocsr(), len(histories), histories.weights is not None)


def _of_matrix(matrix: csr_matrix, n_items: int, weighs: bool) -> Histories:
    offsets, items = (part.astype(np.int64) for part in (matrix.indptr, matrix.indices))
    return Histories(offsets, items, n_items, weights=matrix.data if weighs else None)

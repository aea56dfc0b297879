"""Weighted least squares on implicit feedback: user vectors are solved for, item vectors come from one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recgan.histories import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS = 1 << 20
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

    @cached_property
    def root(self) -> Tensor:
        """The lower triangle T with `T T' = prior`, (R, R) float32."""
        root: Tensor = torch.linalg.cholesky(self.prior.double())
        return root.float()

    def queries(self, histories: Histories) -> np.ndarray:
        """Wanted vectors w of B users, (B, R) float32; zeros for an empty history.

        A history of fewer than R items is solved for its items, a longer one for the columns: the same w, by the
        identity of Woodbury.
        """
        rank, distinct = self.columns.shape[1], _distinct(histories)
        found = np.zeros((len(histories), rank), np.float32)
        for users, items, weights in _portions(distinct, distinct.lengths >= rank, rank):
            found[users] = self._by_columns(torch.from_numpy(self.columns[items]), weights)
        short = (distinct.lengths > 0) & (distinct.lengths < rank)
        if short.any():
            table, numbers = self._whitened(distinct)
            for users, items, weights in _portions(replace(distinct, items=numbers), short, rank):
                found[users] = self._by_items(torch.from_numpy(table[items]), weights)
        return found

    def _whitened(self, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        """Rows y of the items that are asked for as `inverse(T) y`, and the rows of the table that they have there."""
        some, numbers = self.columns, histories.items
        if len(numbers) < len(some):
            kept, numbers = np.unique(numbers, return_inverse=True)
            some = some[kept]
        rows = torch.linalg.solve_triangular(self.root.T, torch.from_numpy(some), upper=True, left=False)
        return rows.contiguous().numpy(), numbers

    def _by_columns(self, vectors: Tensor, weights: Tensor) -> np.ndarray:
        """Vectors of the items (B, L, R) and their weights (B, L), 0 where none stands -> (B, R)."""
        counted = vectors * weights.unsqueeze(2)
        equations = torch.baddbmm(self.prior, counted.transpose(1, 2), vectors)  # (B, R, R)
        solved = torch.cholesky_solve(counted.sum(1).unsqueeze(2), torch.linalg.cholesky(equations))
        return np.asarray(solved.squeeze(2).numpy())

    def _by_items(self, vectors: Tensor, weights: Tensor) -> np.ndarray:
        """Whitened vectors of the items (B, L, R) and their weights (B, L), 0 where none stands -> (B, R)."""
        roots = weights.sqrt().unsqueeze(2)
        counted = vectors * roots
        equations = torch.baddbmm(torch.eye(vectors.shape[1]), counted, counted.transpose(1, 2))  # (B, L, L)
        shares = torch.cholesky_solve(roots, torch.linalg.cholesky(equations))
        wanted = (counted.transpose(1, 2) @ shares).squeeze(2)
        return np.asarray(torch.linalg.solve_triangular(self.root, wanted, upper=False, left=False).numpy())

    def scores(self, histories: Histories) -> np.ndarray:
        """Scores of every item for B users, (B, N) float32."""
        return np.asarray(self.queries(histories) @ self.columns.T, np.float32)


@dataclass(frozen=True)
class RememberingFactors(Factors):
    """The same block for who asks for the same histories time and again: it solves for them once."""

    known: dict[tuple[bytes, ...], np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, block: Factors) -> RememberingFactors:
        """A block that remembers what it has solved."""
        return cls(block.columns, block.unseen, block.ridge, block.gram)

    def queries(self, histories: Histories) -> np.ndarray:
        """Wanted vectors w of B users, (B, R) float32."""
        parts = (histories.offsets, histories.items, histories.weights)
        key = tuple(b"" if part is None else part.tobytes() for part in parts)
        if key not in self.known:
            self.known[key] = super().queries(histories)
        return self.known[key]


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
    lengths = np.concatenate([histories.lengths, histories.counts()]).astype(np.float64)
    least, most = np.minimum(lengths, rank), np.maximum(lengths, rank)
    return float((2.0 * least**2 * most + least**3 / 3.0 + 2.0 * rank**2).sum())


def _portions(histories: Histories, asked: np.ndarray, rank: int) -> Iterator[tuple[np.ndarray, np.ndarray, Tensor]]:
    """Users of similar length with their items and weights, 0 where none stands, (B,), (B, L) and (B, L) float32.

    Args:
        histories: distinct items of U users.
        asked: whose turn it is, (U,) bool.
        rank: numbers of an item.
    """
    n = max(1, histories.n_items)
    for group in histories.groups(np.flatnonzero(asked), n, max(1, CELLS // rank)):
        most = max(1, CELLS // min(rank, int(histories.lengths[group].max())) ** 2)  # as many as have their equations
        for start in range(0, len(group), most):
            users = group[start : start + most]
            items, mask = histories.window(users, n)
            weights = mask.astype(np.float32) if histories.weights is None else histories.window_weights(users, n)
            yield users, items, torch.from_numpy(weights)


def _distinct(histories: Histories) -> Histories:
    """The histories without order, every item once."""
    return _of_matrix(histories.weighted(), histories.n_items, histories.weights is not None)


def _transposed(histories: Histories) -> Histories:
    """Who had every item: histories of N items over U users."""
    return _of_matrix(histories.weighted().T.tocsr(), len(histories), histories.weights is not None)


def _of_matrix(matrix: csr_matrix, n_items: int, weighs: bool) -> Histories:
    offsets, items = (part.astype(np.int64) for part in (matrix.indptr, matrix.indices))
    return Histories(offsets, items, n_items, weights=matrix.data if weighs else None)

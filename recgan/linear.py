"""The linear block: closed forms of the interactions, fitted in seconds without a gradient.

Two shapes. `LowRank` scores a history by an inner product of R columns, so it lives beside the generated vectors in one
search. `SparseRows` keeps the strongest neighbours of every item and never forms a dense N x N matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recgan.histories import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FULL_SPECTRUM = 4096
"""Catalogues up to this size get every eigenvector; larger ones the leading ones."""


@dataclass(frozen=True)
class Spectrum:
    """Leading eigenvalues and eigenvectors of X'X, the item-by-item co-occurrence counts.

    Args:
        values: eigenvalues, (R,) float64, descending, all positive.
        vectors: orthonormal eigenvectors, (N, R) float32.
        degrees: diagonal of X'X, (N,) float64.
    """

    values: np.ndarray
    vectors: np.ndarray
    degrees: np.ndarray


@dataclass(frozen=True)
class LowRank:
    """Scores `sum over the history of fold[h]`, times `columns[i]`.

    Args:
        fold: maps a history to a query, (N, R) float32.
        columns: what the query is compared with, (N, R) float32.
    """

    fold: np.ndarray
    columns: np.ndarray

    def queries(self, histories: Histories) -> np.ndarray:
        """Queries of B users, (B, R) float32: the sum of the fold rows of their distinct items."""
        return np.asarray(histories.matrix() @ self.fold, np.float32)

    def scores(self, histories: Histories) -> np.ndarray:
        """Scores of every item for B users, (B, N) float32."""
        return np.asarray(self.queries(histories) @ self.columns.T, np.float32)


@dataclass(frozen=True)
class SparseRows:
    """Scores `sum over the history of decay ** age(h) * rows[h, i]`; the newest item has age 0.

    Args:
        rows: the strongest neighbours of every item, (N, N) sparse float32, non-negative.
        decay: how much less an item counts for every newer one, in (0, 1]; 1 where there is no order.
    """

    rows: csr_matrix
    decay: float = 1.0

    def weights(self, histories: Histories) -> csr_matrix:
        """Weight of every history item, (B, N) sparse float32; a repeated item keeps its newest weight."""
        from scipy.sparse import csr_matrix

        shape = (len(histories), histories.n_items)
        if self.decay == 1.0:
            return histories.matrix()
        age = np.repeat(histories.offsets[1:], histories.lengths) - 1 - np.arange(len(histories.items))
        keys = histories.rows * histories.n_items + histories.items
        newest = np.zeros(len(keys), bool)
        newest[len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]] = True
        weights = np.power(self.decay, np.minimum(age[newest], 200)).astype(np.float32)
        return csr_matrix((weights, (histories.rows[newest], histories.items[newest])), shape=shape)

    def scores(self, histories: Histories) -> csr_matrix:
        """Scores of the neighbours for B users, (B, N) sparse float32; items without an entry score 0."""
        return (self.weights(histories) @ self.rows).tocsr()


def spectrum(histories: Histories, rank: int | None = None, seed: int = 0) -> Spectrum:
    """Eigendecomposition of X'X: complete for catalogues up to 4,096 items, else its leading part.

    Args:
        histories: training interactions of U users.
        rank: how many eigenvectors; None for all of them (small catalogues) or 512.
        seed: of the random start, where the leading part is computed by iteration.

    Returns:
        The spectrum; eigenvalues that are numerically zero are left out.
    """
    matrix = histories.matrix()
    degrees = np.asarray(matrix.sum(axis=0), np.float64).ravel()
    most = min(rank or (histories.n_items if histories.n_items <= FULL_SPECTRUM else 512), *matrix.shape)
    if histories.n_items <= FULL_SPECTRUM:
        values, vectors = _dense_eigen(matrix)
        values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
    else:
        from sklearn.utils.extmath import randomized_svd

        _, singular, transposed = randomized_svd(matrix, most, n_iter=4, random_state=seed)
        values, vectors = np.square(singular.astype(np.float64)), transposed.T
    kept = values > 1e-6 * max(float(values[0]), 1e-12)
    return Spectrum(values[kept], np.ascontiguousarray(vectors[:, kept], np.float32), degrees)


def _dense_eigen(matrix: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    from scipy.linalg import eigh

    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    values, vectors = eigh(gram, overwrite_a=True, check_finite=False, driver="evd")
    return values, vectors


def ease(parts: Spectrum, regularisation: float) -> LowRank:
    """EASE in the form of inner products (Steck, WWW 2019): `score = -(x P)_j / P_jj` with `P = (X'X + lam I)^-1`.

    With the eigenvectors V and eigenvalues w, P = I / lam - V diag(w / (lam (w + lam))) V'. For an item outside the
    history the first term is zero, so the score is an exact inner product of at most rank(X) columns. One spectrum
    serves every regularisation.

    Args:
        parts: spectrum of X'X; an incomplete one gives the leading part of EASE.
        regularisation: lam > 0.

    Returns:
        The block; for items outside the history its scores equal those of EASE.
    """
    shrunk = parts.values / (regularisation * (parts.values + regularisation))
    energy = np.square(parts.vectors, dtype=np.float64)
    diagonal = 1.0 / regularisation - energy @ shrunk
    rest = np.maximum(parts.degrees - energy @ parts.values, 0.0)
    outside = np.maximum(1.0 - energy.sum(axis=1), 1e-12)
    diagonal -= outside * (rest / outside) / (regularisation * (rest / outside + regularisation))
    root = np.sqrt(shrunk)
    fold = parts.vectors * root
    return LowRank(fold.astype(np.float32), (fold / diagonal[:, None]).astype(np.float32))


def transitions(
    histories: Histories,
    *,
    reach: int = 30,
    gap_decay: float = 0.9,
    backward: float = 0.2,
    shrinkage: float = 60.0,
    from_power: float = 0.7,
    to_power: float = 0.3,
    history_decay: float = 0.6,
    keep: int = 50,
) -> SparseRows:
    """Decayed, shrunk, directed transition counts: what comes within `reach` steps after an item.

    `T[i, j] = sum over users and gaps g of gap_decay^(g - 1) (1[i before j] + backward 1[j before i])`, divided by
    `(n_i + shrinkage)^from_power (n_j + shrinkage)^to_power`; only the `keep` largest entries of a row stay.

    Args:
        histories: training interactions, oldest first.
        reach: longest gap in steps.
        gap_decay: weight lost with every step of the gap, in (0, 1].
        backward: weight of a transition read against time, in [0, 1].
        shrinkage: counts added to both items.
        from_power: how strongly the popularity of the earlier item is divided out.
        to_power: how strongly the popularity of the later item is divided out.
        history_decay: weight lost by a history item with every newer one, in (0, 1].
        keep: entries kept a row.

    Returns:
        The block, with at most N x keep entries.
    """
    forward = _gap_counts(histories, reach, gap_decay)
    counts = (forward + backward * forward.T).tocsr()
    counts.setdiag(0)
    counts.eliminate_zeros()
    popularity = histories.counts() + shrinkage
    rows = np.repeat(np.arange(histories.n_items), np.diff(counts.indptr))
    counts.data = counts.data / (popularity[rows] ** from_power * popularity[counts.indices] ** to_power)
    return SparseRows(_largest(counts.astype(np.float32), keep), history_decay)


def neighbours(histories: Histories, *, shrinkage: float = 20.0, power: float = 0.5, keep: int = 50) -> SparseRows:
    """Shrunk co-occurrence counts for histories without order: `(X'X)_ij / ((n_i + lam)(n_j + lam))^power`.

    Args:
        histories: training interactions.
        shrinkage: lam, counts added to both items.
        power: how strongly popularity is divided out; .5 is the cosine.
        keep: entries kept a row.

    Returns:
        The block, with at most N x keep entries.
    """
    matrix = histories.matrix()
    popularity = histories.counts() + max(shrinkage, 1e-6)
    blocks = []
    for start in range(0, histories.n_items, 4096):
        part = (matrix[:, start : start + 4096].T @ matrix).tocsr()
        rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr)) + start
        part.data = part.data / (popularity[rows] * popularity[part.indices]) ** power
        part.data[rows == part.indices] = 0.0
        blocks.append(_largest(part.astype(np.float32), keep))
    from scipy.sparse import vstack

    return SparseRows(vstack(blocks, format="csr"))


def start_vectors(histories: Histories, dim: int, seed: int = 0) -> np.ndarray:
    """Starting values of the item vectors: leading right singular vectors of the normalised interactions.

    Interactions are divided by the roots of the user's and the item's counts, so that neither heavy users nor popular
    items rule the leading directions; singular values weigh the columns, rows have unit length.

    Args:
        histories: training interactions of U users over N items.
        dim: length D of the vectors.
        seed: of the iteration's start and of the small noise that fills missing columns.

    Returns:
        Unit vectors, (N, D) float32.
    """
    from sklearn.utils.extmath import randomized_svd

    matrix = histories.matrix()
    users = 1.0 / np.sqrt(np.maximum(np.diff(matrix.indptr), 1))
    items = 1.0 / np.sqrt(np.maximum(np.bincount(matrix.indices, minlength=matrix.shape[1]), 1))
    matrix.data *= np.repeat(users, np.diff(matrix.indptr)).astype(np.float32) * items[matrix.indices].astype(
        np.float32
    )
    _, singular, transposed = randomized_svd(matrix, min(dim, *matrix.shape), n_iter=4, random_state=seed)
    vectors = np.random.default_rng(seed).normal(0.0, 1e-4, (matrix.shape[1], dim))
    vectors[:, : len(singular)] += transposed.T * singular
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _gap_counts(histories: Histories, reach: int, decay: float) -> csr_matrix:
    from scipy.sparse import csr_matrix

    total = csr_matrix((histories.n_items, histories.n_items), dtype=np.float64)
    items, users = histories.items, histories.rows
    for gap in range(1, min(reach, int(histories.lengths.max(initial=0)) - 1) + 1):
        same = users[gap:] == users[:-gap]
        earlier, later = items[:-gap][same], items[gap:][same]
        weight = np.full(len(earlier), decay ** (gap - 1))
        total = total + csr_matrix((weight, (earlier, later)), shape=total.shape)
    return total


def _largest(matrix: csr_matrix, keep: int) -> csr_matrix:
    """The `keep` largest positive entries of every row."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], np.diff(matrix.indptr))
    kept = order[(rank < keep) & (matrix.data[order] > 0)]
    return csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape)

"""What follows from the eigenvectors of the interactions: EASE, and the start of the item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recgan.histories import Histories
from recgan.linear.blocks import LowRank
from recgan.linear.counts import normalised

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FULL_SPECTRUM = 4096
"""Catalogues up to this size get every eigenvector; larger ones the leading ones."""

USER_POWER, ITEM_POWER = 0.35, 0.4
"""How strongly the counts of users and items are divided out before interactions are decomposed."""

ORDER_SHRINKAGE = 5.0
"""Counts added to every item before transitions are normalised."""


@dataclass(frozen=True)
class Spectrum:
    """Leading eigenvalues and eigenvectors of X'X, the item-by-item co-occurrence counts, X holding the weights.

    Args:
        values: eigenvalues, (R,) float64, descending, all positive.
        vectors: orthonormal eigenvectors, (N, R) float32.
        degrees: diagonal of X'X, (N,) float64.
        sizes: what the columns of X were divided by, (N,) float64.
        mean_degree: of X'X before that division.
    """

    values: np.ndarray
    vectors: np.ndarray
    degrees: np.ndarray
    sizes: np.ndarray
    mean_degree: float


def spectrum(
    histories: Histories, rank: int | None = None, seed: int = 0, *, user_power: float = 0.0, growth: float = 0.0
) -> Spectrum:
    """Eigendecomposition of X'X: complete for catalogues up to 4,096 items, else its leading part.

    Args:
        histories: training interactions of U users.
        rank: how many eigenvectors; None for all of them (small catalogues) or 512.
        seed: of the random start, where the leading part is computed by iteration.
        user_power: how strongly the length of a user's history is divided out of what it counts in X'X.
        growth: how much regularisation an item gets beside the constant 1, per mean degree of its own degree.

    Returns:
        The spectrum; eigenvalues that are numerically zero are left out.
    """
    matrix = histories.weighted()
    lengths = np.maximum(matrix.getnnz(axis=1), 1.0)
    matrix.data = matrix.data * np.repeat(lengths ** (-user_power / 2), np.diff(matrix.indptr)).astype(np.float32)
    degrees = np.asarray(matrix.power(2).sum(axis=0), np.float64).ravel()
    mean = max(float(degrees.mean()), 1e-12)
    sizes = np.sqrt(1.0 + growth * degrees / mean)
    matrix.data /= sizes[matrix.indices].astype(np.float32)
    degrees /= np.square(sizes)
    most = min(rank or (histories.n_items if histories.n_items <= FULL_SPECTRUM else 512), *matrix.shape)
    if histories.n_items <= FULL_SPECTRUM:
        values, vectors = _dense_eigen(matrix)
        values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
    else:
        singular, vectors = _leading(matrix, most, seed)
        values = np.square(singular.astype(np.float64))
    kept = values > 1e-6 * max(float(values[0]), 1e-12)
    return Spectrum(values[kept], np.ascontiguousarray(vectors[:, kept], np.float32), degrees, sizes, mean)


def _dense_eigen(matrix: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    from scipy.linalg import eigh

    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    values, vectors = eigh(gram, overwrite_a=True, check_finite=False, driver="evd")
    return values, vectors


def ease(parts: Spectrum, regularisation: float) -> LowRank:
    """EASE in the form of inner products (Steck, WWW 2019): `score = -(x P)_j / P_jj` with `P = (X'X + lam I)^-1`.

    With the eigenvectors V and eigenvalues w, P = I / lam - V diag(w / (lam (w + lam))) V'. For an item outside the
    history the first term is zero, so the score is an exact inner product of at most rank(X) columns. One spectrum
    serves every regularisation. Where the columns of X were divided by sizes d, it is the P of regularisation lam d^2:
    with one part of it that grows with the degree, that is EDLAE (Steck, NeurIPS 2020), EASE that learns from histories
    of which a share is dropped.

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
    fold, sizes = parts.vectors * root, parts.sizes[:, None]
    return LowRank((fold / sizes).astype(np.float32), (fold * sizes / diagonal[:, None]).astype(np.float32))


ROWS = 1 << 14
"""Of a table, that are held at once in double precision."""


@dataclass(frozen=True)
class Leading:
    """Leading part of the singular value decomposition of the interactions over powers of the counts.

    Args:
        values: singular values, (R,) float32, descending.
        vectors: right singular vectors, (N, R) float32.
    """

    values: np.ndarray
    vectors: np.ndarray


def leading(histories: Histories, rank: int, seed: int = 0) -> Leading:
    """What `start_vectors` and `low_pass` are made of, so that one decomposition may serve many."""
    return Leading(*_leading(normalised(histories, USER_POWER, ITEM_POWER), rank, seed))


def start_vectors(histories: Histories, dim: int, seed: int = 0, parts: Leading | None = None) -> np.ndarray:
    """Starting values of the item vectors: leading right singular vectors of the normalised interactions.

    Interactions are divided by powers of the user's and the item's counts, so that neither heavy users nor popular
    items rule the leading directions; singular values weigh the columns, rows have unit length.

    Args:
        histories: training interactions of U users over N items.
        dim: length D of the vectors.
        seed: of the iteration's start and of the small noise that fills missing columns.
        parts: of the same histories, of which the first `dim` columns are read; None decomposes anew.

    Returns:
        Unit vectors, (N, D) float32.
    """
    parts = leading(histories, dim, seed) if parts is None else parts
    return _unit_rows(parts.vectors[:, :dim], parts.values[:dim], dim, seed)


def low_pass(
    histories: Histories,
    rank: int,
    seed: int = 0,
    *,
    user_power: float = USER_POWER,
    item_power: float = ITEM_POWER,
    parts: Leading | None = None,
) -> LowRank:
    """The ideal low-pass filter of GF-CF (Shen et al., CIKM 2021): `score = r D_I^-b V V' D_I^b` for a history r.

    V are the leading right singular vectors of the interactions over `D_U^a` and `D_I^b`, powers of the counts D of
    users and items; in the paper both are .5.

    Args:
        histories: training interactions of U users over N items.
        rank: how many singular vectors.
        seed: of the iteration's start.
        user_power: a, how strongly the lengths of histories are divided out.
        item_power: b, how strongly the popularity of items is divided out.
        parts: of the same histories, for the default powers; its first `rank` columns are read. None decomposes anew.

    Returns:
        The block, with at most `rank` columns.
    """
    size = np.maximum(histories.matrix().getnnz(axis=0), 1.0)[:, None] ** item_power
    if parts is None:
        parts = Leading(*_leading(normalised(histories, user_power, item_power), rank, seed))
    vectors = parts.vectors[:, :rank][:, parts.values[:rank] > 1e-5 * parts.values[0]]
    return LowRank((vectors / size).astype(np.float32), (vectors * size).astype(np.float32))


def _leading(matrix: csr_matrix, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Leading singular values, (R,), and right singular vectors, (N, R)."""
    from sklearn.utils.extmath import randomized_svd

    most, driver = min(rank, *matrix.shape), "gesvd"  # "gesdd", the default, fails to converge on some sparse tables
    _, singular, transposed = randomized_svd(matrix, most, n_iter=4, svd_lapack_driver=driver, random_state=seed)
    return singular, transposed.T


def order_vectors(counts: csr_matrix, popularity: np.ndarray, dim: int, seed: int = 0) -> np.ndarray:
    """Starting values where order matters: leading eigenvectors of the symmetrised, shrunk transition counts.

    Args:
        counts: from `transition_counts`, (N, N) sparse.
        popularity: interactions of every item, (N,).
        dim: length D of the vectors.
        seed: of the iteration's start and of the small noise that fills missing columns.

    Returns:
        Unit vectors, (N, D) float32.
    """
    from scipy.sparse import diags
    from scipy.sparse.linalg import eigsh

    size = diags(1.0 / np.sqrt(popularity + ORDER_SHRINKAGE))
    both = (size @ (counts + counts.T) @ size).tocsr()
    both.setdiag(0)
    both.eliminate_zeros()
    if not both.nnz:  # nothing follows anything
        return _unit_rows(np.empty((both.shape[0], 0)), np.empty(0), dim, seed)
    most = min(dim, both.shape[0] - 1)
    start = np.random.default_rng(seed).standard_normal(both.shape[0])
    values, vectors = eigsh(both, most, which="LA", v0=start)
    return _unit_rows(vectors, np.sqrt(np.maximum(values, 0.0)), dim, seed)


def _unit_rows(columns: np.ndarray, weights: np.ndarray, dim: int, seed: int) -> np.ndarray:
    """Columns (N, R) by their weights (R,), with a little noise and at unit length, (N, D) float32."""
    random, found = np.random.default_rng(seed), np.empty((len(columns), dim), np.float32)
    for start in range(0, len(columns), ROWS):
        some = columns[start : start + ROWS]
        vectors = random.normal(0.0, 1e-4, (len(some), dim))
        vectors[:, : len(weights)] += some * weights
        found[start : start + ROWS] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found

"""Exact search over the item vectors."""

from __future__ import annotations

import numpy as np

from recgan.errors import DataError


class ItemIndex:
    """Exact maximum inner product search over the item vectors, by FAISS.

    Args:
        vectors: item vectors, (N, Q) float32; copied, all finite.

    Raises:
        DataError: when a vector holds NaN or infinity, which FAISS would make unreachable without a word.

    Example:
        >>> index = ItemIndex(np.eye(3, dtype=np.float32))
        >>> scores, numbers = index.search(np.array([[0.1, 0.9, 0.5]], np.float32), 2)
        >>> numbers.tolist()
        [[1, 2]]
    """

    def __init__(self, vectors: np.ndarray) -> None:
        import faiss

        vectors = finite(vectors)
        self._flat = faiss.IndexFlatIP(vectors.shape[1])
        self._flat.add(vectors)

    def __len__(self) -> int:
        return int(self._flat.ntotal)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k items with the largest inner products.

        Args:
            queries: (B, Q) float32, finite.
            k: how many; at most N come back.

        Returns:
            Scores (B, k) float32, descending, and item numbers (B, k) int64; equal scores by ascending number.

        Raises:
            DataError: when a query holds NaN or infinity.
        """
        scores, numbers = self._flat.search(finite_queries(queries), min(k, len(self)))
        order = np.lexsort((numbers, -scores), axis=1)
        return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)


def finite(vectors: np.ndarray) -> np.ndarray:
    """Item vectors, (N, Q) float32, contiguous.

    Raises:
        DataError: when one holds NaN or infinity, which FAISS would make unreachable without a word.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(vectors).all():
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        raise DataError(f"item vectors: {len(broken)} hold NaN or infinity, first at number {broken[0]}")
    return vectors


def finite_queries(queries: np.ndarray) -> np.ndarray:
    """Queries, (B, Q) float32, contiguous.

    Raises:
        DataError: when one holds NaN or infinity.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    if not np.isfinite(queries).all():
        raise DataError("search: a query holds NaN or infinity; was the model trained to the end?")
    return queries

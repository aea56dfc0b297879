"""The search for the items nearest to a wanted vector. No other module imports faiss."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from recgan.errors import DataError

Kind = Literal["ivf", "hnsw"]
ROWS_A_CELL, TRAINING_STEPS = 40, 8
"""Vectors of each cell that k-means sees, and its steps."""
LINKS, LINKING = 24, 80
"""Neighbours of a vector in the graph, and candidates among which they are looked for."""
MOST_EFFORT = 4096
"""Candidates that a search in the graph keeps at most."""


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

        vectors = _finite(vectors)
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
        scores, numbers = self._flat.search(_finite_queries(queries), min(k, len(self)))
        order = np.lexsort((numbers, -scores), axis=1)
        return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)


class NearIndex:
    """Approximate maximum inner product search over the item vectors, by FAISS; how near it comes must be measured.

    "ivf" looks into the cells of k-means whose middles are nearest to the query (Sivic and Zisserman, ICCV 2003),
    "hnsw" walks a graph of neighbours (Malkov and Yashunin, TPAMI 2020). Built in one thread, so that equal vectors
    give an equal index on equal machines.

    Args:
        vectors: item vectors, (N, Q) float32; copied, all finite.
        kind: "ivf" or "hnsw".

    Raises:
        DataError: when a vector holds NaN or infinity.

    Example:
        >>> index = NearIndex(np.eye(3, dtype=np.float32), "ivf")
        >>> index.search(np.array([[0.1, 0.9, 0.5]], np.float32), 2, index.most)[1].tolist()
        [[1, 2]]
    """

    def __init__(self, vectors: np.ndarray, kind: Kind) -> None:
        from threadpoolctl import threadpool_limits

        vectors = _finite(vectors)
        self.kind = kind
        with threadpool_limits(1):
            self._index = _cells(vectors) if kind == "ivf" else _graph(vectors)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def most(self) -> int:
        """The largest effort: all cells, with which the search is exact, or the most candidates kept in the graph."""
        return int(self._index.nlist) if self.kind == "ivf" else MOST_EFFORT

    def search(self, queries: np.ndarray, k: int, effort: int) -> tuple[np.ndarray, np.ndarray]:
        """The k items with the largest inner products, as far as they are found.

        Args:
            queries: (B, Q) float32, finite.
            k: how many; at most N come back.
            effort: cells that are looked into, or candidates that are kept in the graph, those of the list included.

        Returns:
            Scores (B, k) float32, descending, and item numbers (B, k) int64; -inf and -1 behind a short list's end.

        Raises:
            DataError: when a query holds NaN or infinity.
        """
        import faiss

        k = min(k, len(self))
        if self.kind == "ivf":
            parameters = faiss.SearchParametersIVF(nprobe=effort)  # type: ignore[call-arg]
        else:
            parameters = faiss.SearchParametersHNSW(efSearch=max(k, effort))  # type: ignore[attr-defined]
        scores, numbers = self._index.search(_finite_queries(queries), k, params=parameters)
        return np.where(numbers < 0, np.float32(-np.inf), scores), numbers


def _cells(vectors: np.ndarray) -> Any:
    import faiss

    n_cells = max(1, min(round(2.0 * len(vectors) ** 0.5), len(vectors) // ROWS_A_CELL))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], n_cells, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.spherical, index.cp.max_points_per_centroid = TRAINING_STEPS, True, ROWS_A_CELL
    index.train(vectors)
    index.add(vectors)
    return index


def _graph(vectors: np.ndarray) -> Any:
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = LINKING
    index.add(vectors)
    return index


def _finite(vectors: np.ndarray) -> np.ndarray:
    vectors = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(vectors).all():
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        raise DataError(f"item vectors: {len(broken)} hold NaN or infinity, first at number {broken[0]}")
    return vectors


def _finite_queries(queries: np.ndarray) -> np.ndarray:
    queries = np.ascontiguousarray(queries, np.float32)
    if not np.isfinite(queries).all():
        raise DataError("search: a query holds NaN or infinity; was the model trained to the end?")
    return queries

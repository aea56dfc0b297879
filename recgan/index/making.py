"""How an approximate index is made, and how large it becomes."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np

Kind = Literal["ivf-pq", "ivf", "hnsw"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROWS_A_CELL, TRAINING_STEPS = 40, 8
"""Vectors of each cell that k-means sees, and its steps."""
LINKS, LINKING = 24, 80
"""Neighbours of a vector in the graph, and candidates among which they are looked for."""
SPARE, LEVELS, PACKED = 1, 16, 32
"""Columns of noughts in every index, for one that items may get later; values that "ivf-pq" knows of a column, and
codes of one of its blocks."""


def index_bytes(kind: Kind, n_items: int, width: int) -> int:
    """About how many bytes an index of N vectors with Q columns takes beside them.

    With the spare column, q = Q + 1. "ivf": 4 q + 8 bytes an item; "ivf-pq": q / 2 + 8, and half a block of 32 a cell
    that is not full; both 4 q a cell besides. "hnsw": 4 q + 8 * 24 for the links at the bottom + 4 * 24 / 23 above it
    + 12. Beside any of them 8 an item for its number.

    Example:
        >>> [index_bytes(kind, 1_000_000, 64) >> 20 for kind in ("ivf", "ivf-pq", "hnsw")]
        [263, 48, 451]
    """
    columns, middles = width + SPARE, n_cells(n_items)
    if kind == "hnsw":
        return n_items * (4 * columns + 8 * LINKS + 4 * LINKS // (LINKS - 1) + 12 + 8)
    code = 4 * columns if kind == "ivf" else (columns + 1) // 2
    unused = 0 if kind == "ivf" else middles * PACKED // 2 * code
    return n_items * (code + 8 + 8) + unused + middles * 4 * columns


def n_cells(n_items: int) -> int:
    """Cells for so many items: twice the root, and at least forty items in each."""
    return max(1, min(round(2.0 * math.sqrt(n_items)), n_items // ROWS_A_CELL))


def cells(vectors: np.ndarray, kind: Kind) -> Any:
    """FAISS's index of cells, "ivf" or "ivf-pq", of vectors (N, q) float32, finite."""
    index = unlearned(kind, vectors.shape[1], n_cells(len(vectors)))
    index.cp.niter, index.cp.spherical, index.cp.max_points_per_centroid = TRAINING_STEPS, True, ROWS_A_CELL
    index.cp.min_points_per_centroid = 1
    index.train(np.resize(vectors, (max(len(vectors), LEVELS), vectors.shape[1])))
    index.add(vectors)
    return index


def unlearned(kind: Kind, width: int, n: int) -> Any:
    """FAISS's index of n cells, "ivf" or "ivf-pq", of vectors of so many columns, that knows nothing yet."""
    import faiss

    middles = faiss.IndexFlatIP(width)
    if kind == "ivf":
        return faiss.IndexIVFFlat(middles, width, n, faiss.METRIC_INNER_PRODUCT)
    index: Any = faiss.IndexIVFPQFastScan(middles, width, n, width, 4, faiss.METRIC_INNER_PRODUCT, PACKED)
    index.pq.cp.min_points_per_centroid = 1
    return index


def graph(vectors: np.ndarray) -> Any:
    """FAISS's index "hnsw" of vectors (N, q) float32, finite."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = LINKING
    index.add(vectors)
    return index


def spread(vectors: np.ndarray, width: int | None = None) -> np.ndarray:
    """Vectors with columns of noughts behind their own."""
    spare = SPARE if width is None else width - vectors.shape[1]
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, spare))), np.float32)

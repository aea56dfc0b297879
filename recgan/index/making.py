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
LEARNED, PORTION = 5000, 1 << 16
"""Vectors that the values of "ivf-pq" are learned from at least, and that are added at once."""
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
        [263, 48, 453]
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


def cells(vectors: np.ndarray, scale: np.ndarray, kind: Kind) -> Any:
    """FAISS's index of cells, "ivf" or "ivf-pq", of scaled vectors; they are read in portions, and some are learned."""
    n, width = n_cells(len(vectors)), vectors.shape[1] + SPARE
    index = unlearned(kind, width, n)
    index.cp.niter, index.cp.spherical, index.cp.max_points_per_centroid = TRAINING_STEPS, True, ROWS_A_CELL
    index.cp.min_points_per_centroid = 1
    shown = np.random.default_rng(0).permutation(len(vectors))[: max(n * ROWS_A_CELL, LEARNED)]
    learned = spread(vectors[np.sort(shown)], scale, width)
    index.train(np.resize(learned, (max(len(learned), LEVELS), width)))
    for first in range(0, len(vectors), PORTION):
        index.add(spread(vectors[first : first + PORTION], scale, width))
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


def graph(vectors: np.ndarray, scale: np.ndarray) -> Any:
    """FAISS's index "hnsw" of scaled vectors."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1] + SPARE, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = LINKING
    index.add(spread(vectors, scale, vectors.shape[1] + SPARE))
    return index


def spread(vectors: np.ndarray, scale: np.ndarray, width: int) -> np.ndarray:
    """Vectors (B, Q) times a scale (Q,), with columns of noughts behind them, (B, width) float32."""
    scaled = np.zeros((len(vectors), width), np.float32)
    np.multiply(vectors, scale, out=scaled[:, : vectors.shape[1]])
    return scaled

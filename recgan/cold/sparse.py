"""Rows of the sparse block for items that have none: the mean of those of similar items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recgan.linear.counts import kept_entries, largest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def grown(rows: csr_matrix, kin: csr_matrix) -> csr_matrix:
    """Sparse rows with M more items, each of which pulls and is pulled as its kin are.

    Args:
        rows: of N items, (N, N) sparse float32.
        kin: share of every one of the N items in each new one, (M, N) sparse, rows of sum 1 or 0.

    Returns:
        Rows, (N + M, N + M) sparse float32; of a new item's entries the largest are kept, in its row and its column.
    """
    from scipy.sparse import bmat

    keep = kept_entries(sum(kin.shape))
    pulling = largest((kin @ rows).tocsr(), keep)
    pulled = largest((kin @ rows.T.tocsr()).tocsr(), keep)
    among = largest((pulling @ kin.T).tocsr(), keep)
    return bmat([[rows, pulled.T], [pulling, among]], format="csr", dtype=np.float32)


def shrunk(rows: csr_matrix, kept: np.ndarray) -> csr_matrix:
    """The rows of some items only, by their numbers (K,), in their order."""
    return rows[kept][:, kept].tocsr()

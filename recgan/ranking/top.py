"""The largest scores of every row, with a stated rule for ties."""

from __future__ import annotations

import numpy as np
import torch

from recgan.ranking.blocks import ABSENT


def top_items(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest scores of every row; equal ones by ascending item number.

    Args:
        scores: (B, N) float32; -inf where an item must not be listed.
        k: how many.

    Returns:
        Item numbers (B, min(k, N)) int64 and scores, descending; -1 where only -inf was left.

    Example:
        >>> top_items(np.array([[1.0, 3.0, 3.0, -np.inf]], np.float32), 4)[0].tolist()
        [[1, 2, 0, -1]]
    """
    k = min(k, scores.shape[1])
    values, numbers = (part.numpy() for part in torch.topk(torch.from_numpy(scores), k, dim=1))
    if 0 < k < scores.shape[1]:
        _settle_ties(scores, values, numbers)
    order = np.lexsort((numbers, -values), axis=1)
    values, numbers = np.take_along_axis(values, order, 1), np.take_along_axis(numbers, order, 1)
    return np.where(np.isfinite(values), numbers, ABSENT), values


def _settle_ties(scores: np.ndarray, values: np.ndarray, numbers: np.ndarray) -> None:
    """Of the items that tie at the edge of the list keep those with the smallest numbers, in place."""
    edge = values.min(axis=1)
    tied = (scores == edge[:, None]).sum(axis=1) > (values == edge[:, None]).sum(axis=1)
    for row in np.flatnonzero(tied & np.isfinite(edge)):
        at_edge = values[row] == edge[row]
        numbers[row, at_edge] = np.flatnonzero(scores[row] == edge[row])[: at_edge.sum()]

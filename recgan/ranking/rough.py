"""A first pass in half the bits, whose proven error bound tells which items need their exact scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from recgan.ranking.top import Groups, Pairs, largest

UNIT = 2.0**-8
"""Largest relative error of rounding to bfloat16, whose significand has eight bits."""
ADDED = 2.0**-22
"""Relative error of adding one more product, in the rough and in the exact sum together."""
TINY = 2.0**-126
"""What may be lost of a product where small numbers count as zero."""
HUGE = 2.0**120
"""Products of lengths from here on are left alone: a sum may overflow."""
OFTEN = 8
"""Exact scores of a user that still pay, by the k best."""
Mask = Callable[[np.ndarray, int], object]


class RoughPass:
    """Item vectors in bfloat16, which finds all items that can be among the k best of a user.

    A bfloat16 that is positive grows with its bits, so the scores are compared as 16-bit integers; a user whose bound
    is not positive is left to the exact pass.

    Args:
        columns: item vectors, (N, Q) float32, finite.
        block: items that are read at once.
    """

    def __init__(self, columns: np.ndarray, block: int) -> None:
        parts = [columns[first : first + block] for first in range(0, len(columns), block)]
        self._blocks = [torch.from_numpy(part).bfloat16().T.contiguous() for part in parts]
        self._longest = float(np.sqrt(max(np.einsum("nq,nq->n", part, part, dtype=np.float64).max() for part in parts)))

    def pairs(self, queries: np.ndarray, k: int, mask: Mask | None = None) -> tuple[Pairs, np.ndarray]:
        """Every pair that may be among the k best of its user.

        Args:
            queries: (B, Q) float32, finite.
            k: how many.
            mask: see `Catalogue.best`.

        Returns:
            The pairs, with keys as values, and which users are answered, (B,) bool; pairs of the others mean nothing.
        """
        near, slack = torch.from_numpy(queries).bfloat16(), self._slack(queries)
        best, first = np.empty((len(queries), 0), np.int16), 0
        kept, bound = [], np.zeros(len(queries), np.int16)
        for block in self._blocks:
            keys = (near @ block).view(torch.int16).numpy()
            if mask is not None:
                mask(keys, first)
            groups = Groups.of(keys, k)
            best = largest(np.concatenate([best, groups.maxima], axis=1), k)
            if best.shape[1] == k:
                bound = _lowered(best.min(axis=1), slack)
            kept.append(groups.reaching(np.maximum(bound, 1), first))
            first += block.shape[1]
        pairs = Pairs.joined(kept)
        pairs = pairs.take(pairs.values >= bound[pairs.rows])
        return pairs, (bound > 0) & (np.bincount(pairs.rows, minlength=len(queries)) <= OFTEN * k)

    def _slack(self, queries: np.ndarray) -> np.ndarray:
        """How far rough scores, before they are rounded themselves, and exact ones may lie apart, (B,) float64."""
        length = np.sqrt(np.einsum("bq,bq->b", queries, queries, dtype=np.float64))
        n_columns = queries.shape[1]
        share = 2 * UNIT + UNIT**2 + (n_columns + 2) * ADDED
        slack = share * length * self._longest + n_columns * TINY * (1.0 + length + self._longest)
        return np.where(length * self._longest < HUGE, slack, np.inf)


def _lowered(keys: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """Keys that all of the k best reach, (B,) int16, from the k-th largest keys; 0 where there is no such bound."""
    kth = np.where(np.isfinite(slack), _value(keys), 0.0)
    least = np.maximum((kth * (1.0 - UNIT) - 2.0 * slack) * (1.0 - UNIT), 0.0)
    return (least.astype(np.float32).view(np.int32) >> 16).astype(np.int16)


def _value(keys: np.ndarray) -> np.ndarray:
    """The numbers whose bfloat16 has these bits, float32."""
    return np.left_shift(keys.astype(np.int32), 16).view(np.float32)

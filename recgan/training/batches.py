"""Batches of (condition, target) pairs, drawn afresh in every epoch from a seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset

from recgan.histories import Histories
from recgan.popularity import Trend

Batch = dict[str, torch.Tensor]
Bools = npt.NDArray[np.bool_]

EMPTY_SHARE = 0.05
"""Share of the conditions that are emptied, so that the unconditional list is trained too."""

TOKENS = 2048
"""Most history items in one batch of sequences."""

LIKENESS = 0.05
"""How much less like its anchor an item of a slate may be: the width of the noise on the cosines."""


class SplitBatches(IterableDataset[Batch]):
    """A random part of each history as condition and the rest as targets.

    Args:
        histories: training interactions.
        batch_size: users in a batch.
        window: most items of a condition.
        seed: of the order and the splits.
        ordered: cut the history at a random place in time instead of drawing a part of it.
        set_size: most targets a user, drawn at random (or next in time); None for all.
        trend: whose span of the first target is told as "when", (B,) int64; None tells nothing.
        space: unit vectors of the items, (N, Q) float32; with them a user's targets are a slate of items that are
            alike: one at random, and those most like it. None draws them without regard to likeness.
    """

    def __init__(
        self,
        histories: Histories,
        batch_size: int,
        window: int,
        seed: int,
        *,
        ordered: bool = False,
        set_size: int | None = None,
        trend: Trend | None = None,
        space: np.ndarray | None = None,
    ) -> None:
        self.histories = histories
        self.users = np.flatnonzero(histories.lengths >= 2)
        self.batch_size = batch_size
        self.window = window
        self.random = np.random.default_rng(seed)
        self.ordered = ordered
        self.set_size = set_size
        self.trend = trend
        self.space = space

    def __len__(self) -> int:
        return -(-len(self.users) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = self.random.permutation(self.users)
        for start in range(0, len(order), self.batch_size):
            yield self._batch(self.histories.take(order[start : start + self.batch_size]))

    def _batch(self, taken: Histories) -> Batch:
        known, target = self._cut(taken) if self.ordered else self._draw(taken)
        empty = (self.random.random(len(taken)) < EMPTY_SHARE)[taken.rows]
        condition = taken.part(known & ~empty)
        chosen = taken.part(target)
        items, mask = condition.window(np.arange(len(taken)), self.window)
        targets, target_mask = chosen.window(np.arange(len(taken)), int(chosen.lengths.max(initial=1)))
        arrays = {"items": items, "mask": mask, "targets": targets, "target_mask": target_mask}
        if self.trend is not None:
            arrays["when"] = self.trend.spans(np.asarray(chosen.times)[chosen.offsets[:-1]])
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _draw(self, taken: Histories) -> tuple[Bools, Bools]:
        """Each item is a target with a probability that the user drew from 20 to 80 %; at least one is."""
        share = self.random.uniform(0.2, 0.8, len(taken))
        luck = self.random.random(len(taken.items))
        place = taken.ranks(luck)
        target = (luck < share[taken.rows]) | (place == 0)
        if self.space is not None:
            return ~target, self._alike(taken, target)
        return ~target, target & (place < (self.set_size or len(taken.items)))

    def _cut(self, taken: Histories) -> tuple[Bools, Bools]:
        """What stands before a random place in time is known; what follows it is the target."""
        cut = np.floor(self.random.random(len(taken)) * taken.lengths).astype(np.int64)
        size = self.set_size or len(taken.items)
        behind = taken.places - cut[taken.rows]
        if self.space is not None:
            return behind < 0, self._alike(taken, behind >= 0)
        return behind < 0, (behind >= 0) & (behind < size)

    def _alike(self, taken: Histories, target: Bools) -> Bools:
        """Of a user's targets one at random, and those most like it, up to the size of a set."""
        first = taken.ranks(np.where(target, self.random.random(len(target)), np.inf)) == 0
        anchor = np.zeros(len(taken), np.int64)
        anchor[taken.rows[first]] = taken.items[first]
        space = np.asarray(self.space)
        likeness = np.einsum("tq,tq->t", space[taken.items], space[anchor[taken.rows]])
        likeness = likeness + LIKENESS * self.random.gumbel(size=len(target))
        place = taken.ranks(-np.where(first, np.inf, np.where(target, likeness, -np.inf)))
        return target & (place < (self.set_size or len(target)))


class SequenceBatches(IterableDataset[Batch]):
    """Whole histories, in batches of similar length; every item is the target of what stands before it.

    Args:
        histories: training interactions, oldest first.
        window: most items of a sequence; longer histories give their newest ones.
        seed: of the order.
        trend: whose spans of the items are told as "when", (B, L) int64; None tells nothing.
    """

    def __init__(self, histories: Histories, window: int, seed: int, trend: Trend | None = None) -> None:
        self.histories = histories
        self.trend = trend
        self.when = None if trend is None else trend.when(histories)
        self.window = window
        self.users = np.flatnonzero(histories.lengths >= 1)
        self.random = np.random.default_rng(seed)
        self._length = len(histories.groups(self.users, window, TOKENS))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        groups = self.histories.groups(self.random.permutation(self.users), self.window, TOKENS)
        for group in self.random.permutation(len(groups)):
            items, mask = self.histories.window(groups[group], self.window)
            batch = {"items": torch.from_numpy(items), "mask": torch.from_numpy(mask)}
            if self.when is not None:
                batch["when"] = torch.from_numpy(self.when.window(groups[group], self.window)[0])
            yield batch

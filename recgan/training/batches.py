"""Batches of (condition, target) pairs, drawn afresh in every epoch from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

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


class Batches(IterableDataset[Batch]):
    """Batches of an epoch, which can be taken up in its middle.

    Args:
        seed: of everything random.
    """

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.begun = self.random.bit_generator.state
        """State of the random numbers when the epoch began."""
        self.skipped = 0
        """Batches with which the next epoch does not begin: they are made, so that the others are as ever."""

    def __iter__(self) -> Iterator[Batch]:
        self.begun, skipped, self.skipped = self.random.bit_generator.state, self.skipped, 0
        yield from islice(self.epoch(), skipped, None)  # not before the first batch is asked for

    def epoch(self) -> Iterator[Batch]:
        """All batches of one epoch."""
        raise NotImplementedError


class SplitBatches(Batches):
    """A random part of each history as condition and the rest as targets.

    Args:
        histories: training interactions.
        batch_size: users in a batch.
        window: most items of a condition.
        seed: of the order and the splits.
        ordered: cut the history at a random place in time instead of drawing a part of it.
        trend: whose span of the first target is told as "when", (B,) int64; None tells nothing.
        slate_size: most targets a user where they shall be a slate, items that are alike; None for all of them.
        space: unit vectors of the items, (N, Q) float32, that say how alike they are; needed for slates.
    """

    def __init__(
        self,
        histories: Histories,
        batch_size: int,
        window: int,
        seed: int,
        *,
        ordered: bool = False,
        trend: Trend | None = None,
        slate_size: int | None = None,
        space: np.ndarray | None = None,
    ) -> None:
        super().__init__(seed)
        self.histories = histories
        self.users = np.flatnonzero(histories.lengths >= 2)
        self.batch_size = batch_size
        self.window = window
        self.ordered = ordered
        self.trend = trend
        self.slate_size = slate_size
        self.space = space

    def __len__(self) -> int:
        return -(-len(self.users) // self.batch_size)

    def epoch(self) -> Iterator[Batch]:
        """All users once, in random order."""
        order = self.random.permutation(self.users)
        for start in range(0, len(order), self.batch_size):
            yield self._batch(self.histories.take(order[start : start + self.batch_size]))

    def _batch(self, taken: Histories) -> Batch:
        known = self._before(taken) if self.ordered else self._part(taken)
        target = ~known
        if self.slate_size is not None and self.space is not None:
            target = alike(taken, target, self.space, self.slate_size, self.random)
        empty = (self.random.random(len(taken)) < EMPTY_SHARE)[taken.rows]
        condition = taken.part(known & ~empty)
        chosen = taken.part(target)
        items, mask = condition.window(np.arange(len(taken)), self.window)
        targets, target_mask = chosen.window(np.arange(len(taken)), int(chosen.lengths.max(initial=1)))
        arrays = {"items": items, "mask": mask, "targets": targets, "target_mask": target_mask}
        if chosen.weights is not None:
            arrays["target_weights"] = chosen.window_weights(np.arange(len(taken)), targets.shape[1])
        if self.trend is not None:
            arrays["when"] = self.trend.spans(np.asarray(chosen.times)[chosen.offsets[:-1]])
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _part(self, taken: Histories) -> Bools:
        """Each item is held out with a probability that the user drew from 20 to 80 %; at least one is."""
        share = self.random.uniform(0.2, 0.8, len(taken))
        luck = self.random.random(len(taken.items))
        return np.asarray((luck >= share[taken.rows]) & (taken.ranks(luck) > 0))

    def _before(self, taken: Histories) -> Bools:
        """What stands before a random place in time."""
        cut = np.floor(self.random.random(len(taken)) * taken.lengths).astype(np.int64)
        return np.asarray(taken.places < cut[taken.rows])


def alike(histories: Histories, among: Bools, space: np.ndarray, size: int, random: np.random.Generator) -> Bools:
    """A slate a user: one of the user's items at random, and those most like it.

    Args:
        histories: of B users.
        among: which of their items may be taken, one flag an item of the histories.
        space: unit vectors of the items, (N, Q) float32.
        size: most items of a slate.
        random: draws the first item, and blurs how alike the others are.

    Returns:
        Which items are taken, one flag an item of the histories.
    """
    first = histories.ranks(np.where(among, random.random(len(among)), np.inf)) == 0
    anchor = np.zeros(len(histories), np.int64)
    anchor[histories.rows[first]] = histories.items[first]
    likeness = np.einsum("tq,tq->t", space[histories.items], space[anchor[histories.rows]])
    likeness = likeness + LIKENESS * random.gumbel(size=len(among))
    place = histories.ranks(-np.where(first, np.inf, np.where(among, likeness, -np.inf)))
    return np.asarray(among & (place < size))


class SequenceBatches(Batches):
    """Whole histories, in batches of similar length; every item is the target of what stands before it.

    Args:
        histories: training interactions, oldest first.
        window: most items that are read before a target; longer histories give their newest ones.
        seed: of the order.
        trend: whose spans of the items are told as "when", (B, L) int64; None tells nothing.
    """

    def __init__(self, histories: Histories, window: int, seed: int, trend: Trend | None = None) -> None:
        super().__init__(seed)
        self.histories = histories
        self.trend = trend
        self.window = window + 1  # a full one has a target behind it too
        self.users = np.flatnonzero(histories.lengths >= 1)
        self._length = len(histories.groups(self.users, self.window, TOKENS))

    def __len__(self) -> int:
        return self._length

    def epoch(self) -> Iterator[Batch]:
        """All users once, the batches in random order."""
        groups = self.histories.groups(self.random.permutation(self.users), self.window, TOKENS)
        for group in self.random.permutation(len(groups)):
            items, mask = self.histories.window(groups[group], self.window)
            batch = {"items": torch.from_numpy(items), "mask": torch.from_numpy(mask)}
            if self.histories.weights is not None:
                batch["target_weights"] = torch.from_numpy(self.histories.window_weights(groups[group], self.window))
            if self.trend is not None:
                taken = self.trend.when(self.histories.take(groups[group]))
                batch["when"] = torch.from_numpy(taken.window(np.arange(len(taken)), self.window)[0])
            yield batch

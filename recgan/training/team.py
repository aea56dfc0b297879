"""Processes that train one generator together, each on its part of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed

from recgan import losses
from recgan.errors import TrainingError
from recgan.training.batches import Batch


@dataclass(frozen=True)
class Team:
    """Who this process is among those that train together.

    Every process reads the same data and makes the same batches, so that users are shared out without a word: only
    gradients are sent, one sum a step.

    Args:
        rank: number of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def part(self, batch: Batch) -> tuple[Batch, float]:
        """This process's rows of a batch, and what its mean loss counts in that of the whole batch."""
        if self.size == 1:
            return batch, 1.0
        mine = {name: values[self.rank :: self.size] for name, values in batch.items()}
        if not len(next(iter(mine.values()))):
            return {name: values[:1] for name, values in batch.items()}, 0.0
        return mine, float(_weight(mine) / _weight(batch).clamp(min=1.0))

    @contextmanager
    def own_luck(self, seed: int, step: int) -> Iterator[None]:
        """Random numbers of a step that every process draws for its part, and all have the same ones again after it."""
        if self.size == 1:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(int(np.random.SeedSequence([seed, step, self.rank]).generate_state(1, np.uint64)[0] >> 1))
            yield

    def meet(self) -> None:
        """Wait for the others.

        Raises:
            TrainingError: when another process has gone.
        """
        if self.size > 1:
            try:
                distributed.barrier()
            except RuntimeError as error:
                raise self._lost(error) from error

    def _lost(self, error: Exception) -> TrainingError:
        return TrainingError(f"process {self.rank} of {self.size} lost the others: {error}")

    @property
    def devices(self) -> int | list[int]:
        """What Lightning shall train on: one processor, or the GPU of this process."""
        if self.size == 1 or not torch.cuda.is_available():
            return 1
        return [int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes, in one message; the same to the bit in all of them.

        Raises:
            TrainingError: when another process has gone.
        """
        if self.size == 1 or not tensors:
            return
        sent = torch.cat([one.detach().reshape(-1) for one in tensors])
        try:
            distributed.all_reduce(sent)
        except RuntimeError as error:
            raise self._lost(error) from error
        start = 0
        for one in tensors:
            one.copy_(sent[start : start + one.numel()].view_as(one))
            start += one.numel()


def team() -> Team:
    """The processes that torchrun or Ray Train started; without them this one alone.

    Raises:
        TrainingError: when the others cannot be reached.
    """
    if not distributed.is_available():
        return Team()
    if not distributed.is_initialized() and distributed.is_torchelastic_launched():
        try:
            distributed.init_process_group()  # NCCL between GPUs, gloo between processors
        except (RuntimeError, ValueError) as error:
            raise TrainingError(f"process {os.environ.get('RANK')} cannot reach the others: {error}") from error
    if not distributed.is_initialized():
        return Team()
    return Team(distributed.get_rank(), distributed.get_world_size())


def _weight(batch: Batch) -> Tensor:
    """What the users of a batch count together in its loss: the roots of their targets, in sequences their items."""
    if "targets" in batch:
        return losses.user_weights(batch["target_mask"]).sum()
    return batch["mask"].sum().float()

"""Portions of work in several threads, each of which computes alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

Portion = TypeVar("Portion")
Result = TypeVar("Result")


def each(work: Callable[[Portion], Result], portions: Sequence[Portion]) -> list[Result]:
    """The results of some portions, in their order, made in as many threads as torch may use in the calling one.

    A portion is computed by one thread alone, so that a result does not hang on their number; the settings of the
    caller's thread stay as they are.

    Args:
        work: what is done with a portion; must not call `each` itself.
        portions: of the work.

    Example:
        >>> each(len, ["four", "seven"])
        [4, 5]
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1 or not portions:
        return [work(portion) for portion in portions]
    return list(_pool(n_threads, os.getpid()).map(work, portions))


@lru_cache
def _pool(n_threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process (a fork has none of its parent's) in which torch, and the MKL, use one thread.

    `torch.set_num_threads` holds for its own thread and for those that begin to use torch later, so the pool is made
    whole at once and what later threads shall find is put back.
    """
    pool = ThreadPoolExecutor(n_threads, "recgan", initializer=_alone)
    there = Barrier(n_threads + 1)
    for _ in range(n_threads):
        pool.submit(there.wait)
    there.wait()
    torch.set_num_threads(n_threads)
    return pool


def _alone() -> None:
    torch.get_num_threads()  # the first look at it in a thread sets it
    torch.set_num_threads(1)

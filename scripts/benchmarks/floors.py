"""What a step of training has to do at least, and how long one thread of this machine takes for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from recgan.halves import fast
from recgan.training.module import ConditionalGAN
from recgan.training.plan import Plan

FLOAT = 4
"""Bytes of a number."""


@dataclass(frozen=True)
class Machine:
    """What one thread can do, by the fastest of some calls.

    Args:
        repeats: how many.
    """

    repeats: int = 20

    def best(self, what: Callable[[], Any]) -> float:
        """Processor seconds of the fastest of some calls."""
        found = []
        for _ in range(self.repeats):
            since = time.process_time()
            what()
            found.append(time.process_time() - since)
        return min(found)

    def products(self, rows: int, inner: int, columns: int, halves: bool = False) -> tuple[float, float]:
        """Seconds of a product (rows, inner) x (inner, columns), and of the two of its backward pass."""
        kind = torch.bfloat16 if halves else torch.float32
        left, right = torch.randn(rows, inner).to(kind), torch.randn(columns, inner).to(kind)
        both = torch.randn(rows, columns).to(kind)
        forward = self.best(lambda: left @ right.T)
        return forward, self.best(lambda: both @ right) + self.best(lambda: both.T @ left)

    def bandwidth(self, numbers: int) -> float:
        """Bytes a second of an addition of two arrays of so many numbers into a third."""
        left, right, to = (torch.ones(max(numbers, 1 << 14)) for _ in range(3))
        return 3 * FLOAT * left.numel() / self.best(lambda: torch.add(left, right, out=to))


@dataclass(frozen=True)
class Work:
    """What a part has to do at least.

    Args:
        products: rows, inner length and columns of its matrix products, with how many of each there are.
        backward: whether these are the two products of the backward pass.
        numbers: that elementwise operations move.
        of: numbers of the arrays that they pass over, where the bandwidth is measured.
        halves: whether the products are of bfloat16.
    """

    products: Sequence[tuple[int, int, int, float]] = ()
    backward: bool = False
    numbers: float = 0.0
    of: int = 0
    halves: bool = False

    @property
    def flops(self) -> float:
        """Floating point operations of the products."""
        return sum(2.0 * rows * inner * columns * n for rows, inner, columns, n in self.products) * (1 + self.backward)

    def floor(self, machine: Machine) -> tuple[float, float]:
        """Seconds of the products, and of the moving."""
        seconds = [
            n * machine.products(rows, inner, columns, self.halves)[self.backward]
            for rows, inner, columns, n in self.products
        ]
        return sum(seconds), self.numbers * FLOAT / machine.bandwidth(self.of) if self.numbers else 0.0


def work(made: Plan, module: ConditionalGAN, size: dict[str, int], moved: dict[str, int]) -> dict[str, Work]:
    """The least work of every part but the making of batches, for a step of the usual size.

    Args:
        made: which encoder and softmax are trained.
        module: of the training.
        size: users of a batch, places of its histories, items in them, and targets.
        moved: rows that a step reads, by table; none where it reads whole tables.
    """
    config, generator = module.config, module.generator
    n_items, width = generator.vectors.shape
    asked = size["users"] if made.encoder == "bag" else size["targets"]
    columns = n_items if made.full_softmax else config.n_negatives
    logits, read = asked * columns, sum(moved.values()) * width
    looked_for = moved.get("vectors", n_items) * width
    dense = sum(one.numel() for name, one in generator.named_parameters() if name not in module.tables)
    held = sum(one.numel() for name, one in generator.state_dict().items() if name not in module.tables)
    score, halves = [(asked, width, columns, 1.0)], module.ranking.mixed and fast()
    logits = logits // 2 if halves else logits
    encoder = _encoder(made, size, width, config.hidden_dim)
    embedded = 0 if moved else n_items * width  # the gradient of the whole table is filled
    gathered = size["items"] * width
    table = n_items * width
    return {
        "rows": Work(numbers=2 * read, of=table),
        "encoder forward": Work(encoder, numbers=2 * gathered, of=gathered),
        "softmax forward": Work(score, False, logits + 2 * looked_for, logits, halves),
        "softmax backward": Work(score, True, 2 * logits + 3 * looked_for, logits, halves),
        "encoder backward": Work(encoder, True, 2 * gathered + embedded, gathered),
        "clipping": Work(numbers=3 * (dense + read), of=table),
        "optimizer": Work(numbers=7 * dense + 5 * read, of=table),
        "average": Work(numbers=3 * (held + read), of=table),
    }


def _encoder(made: Plan, size: dict[str, int], width: int, hidden: int) -> list[tuple[int, int, int, float]]:
    """Matrix products of an encoder and of the layer behind it; those of attention as one by the head's width."""
    if made.encoder == "bag":
        users = size["users"]
        return [(users, width, hidden, 1.0), (users, hidden, width, 1.0), (users, width, width, 1.0)]
    places = size["places"] + 1
    tokens = size["users"] * places
    square = [(tokens, width, 3 * width, 1.0), (tokens, width, width, 3.0), (size["targets"], width, width, 1.0)]
    return [*square, (places, width, places, 2.0 * size["users"])]

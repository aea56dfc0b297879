"""Tables of item vectors of which a step moves a few rows: what it costs does not hang on the number of items."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

PORTION = 1 << 14
"""Rows that are brought up to date at once."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, as a leaf that takes a gradient.

    Args:
        table: the parameter, (N, D).
        numbers: of the rows, distinct and ascending, (M,) int64.
        values: of the rows, (M, D).
    """

    table: nn.Parameter
    numbers: Tensor
    values: Tensor

    @classmethod
    def of(cls, table: nn.Parameter, numbers: Tensor) -> Rows:
        """The rows with these numbers."""
        return cls(table, numbers, table.detach().index_select(0, numbers).requires_grad_(True))

    def hand_over(self) -> None:
        """Give the table the gradient of the rows, sparse."""
        if self.values.grad is not None:
            self.table.grad = torch.sparse_coo_tensor(
                self.numbers.unsqueeze(0), self.values.grad, self.table.shape, is_coalesced=True, check_invariants=False
            )


class RowAdam(torch.optim.Optimizer):
    """Adam with decoupled weight decay that moves the rows of a table that have a gradient, and no others.

    Every row counts its own steps, so that one that is seldom met is not moved as if it had rested at zero. The second
    moment is one number a row, the mean over its columns, as in the row-wise Adagrad of DLRM (Naumov et al., 2019).

    Args:
        tables: parameters (N, D) whose gradients are sparse in the rows, coalesced.
        lr: learning rate.
        weight_decay: decoupled, of the rows that are moved.
        betas: decay of the two moments.
        eps: added to the root of the second moment.
    """

    def __init__(
        self,
        tables: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(tables, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient."""
        if closure is not None:
            with torch.enable_grad():
                closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, table.grad.indices()[0], table.grad.values(), group)

    def _move(self, table: Tensor, rows: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> None:
        state, (first, second) = self._remembered(table), group["betas"]
        steps = state["steps"].index_select(0, rows).add_(1.0)
        mean = state["mean"].index_select(0, rows).lerp_(gradient, 1.0 - first)  # (M, D)
        square = state["square"].index_select(0, rows).lerp_(gradient.square().mean(1), 1.0 - second)
        for name, value in (("steps", steps), ("mean", mean), ("square", square)):
            state[name].index_copy_(0, rows, value)
        root = (square / (1.0 - second**steps)).sqrt_().add_(group["eps"])
        size = group["lr"] / ((1.0 - first**steps) * root)
        kept = table.index_select(0, rows).mul_(1.0 - group["lr"] * group["weight_decay"])
        table.index_copy_(0, rows, kept.addcmul_(mean, size.unsqueeze(1), value=-1.0))

    def _remembered(self, table: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[table]
        if not state:
            state["mean"] = torch.zeros_like(table)
            for name in ("square", "steps"):
                state[name] = torch.zeros(len(table), device=table.device)
        return state


class RowAverage:
    """Running averages of tables whose rows are brought up to date when they are moved or read.

    A row that does not move nears its average by the same factor in every step, so that what many steps do to it is one
    power of that factor.

    Args:
        tables: parameters (N, D) by name.
        averages: of the tables, by the same names; written to.
    """

    def __init__(self, tables: Mapping[str, Tensor], averages: dict[str, Tensor]) -> None:
        self.tables = tables
        self.averages = averages
        self.decayed = 0.0
        """Sum of the logarithms of the decays of all steps."""
        self.known = {
            name: torch.zeros(len(table), dtype=torch.float64, device=averages[name].device)
            for name, table in tables.items()
        }
        """What that sum was when the average of a row was up to date."""

    @torch.no_grad()
    def before(self, name: str, rows: Tensor) -> None:
        """To be called before some rows of a table are moved."""
        known, average, now = self.known[name], self.averages[name], self.tables[name].index_select(0, rows)
        now, rows = now.to(average.device), rows.to(average.device)
        gone = -torch.expm1(self.decayed - known.index_select(0, rows)).to(now.dtype).unsqueeze(1)
        average.index_copy_(0, rows, average.index_select(0, rows).lerp_(now, gone))
        known.index_fill_(0, rows, self.decayed)

    def step(self, decay: float) -> None:
        """To be called after a step."""
        self.decayed += math.log(max(decay, 1e-30))

    def whole(self) -> dict[str, Tensor]:
        """The averages, all rows up to date."""
        for name, table in self.tables.items() if self.decayed else ():
            for some in torch.split(torch.arange(len(table), device=table.device), PORTION):
                self.before(name, some)
            self.known[name].zero_()
        self.decayed = 0.0
        return self.averages

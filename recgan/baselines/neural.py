"""What the neural baselines share: plain training by epochs, of which the best on items held out inside is kept."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from recgan.baselines.base import Baseline
from recgan.errors import TrainingError
from recgan.histories import Histories
from recgan.metrics import ndcg
from recgan.ranking import top_items

Batch = dict[str, Tensor]

AT_ONCE = 512
"""Users in one pass of a network that is served."""

JUDGES = 25
"""Fewest users worth judging an epoch by; with fewer, the last epoch is kept."""


@dataclass(frozen=True)
class Inner:
    """How the epoch is chosen.

    Args:
        users: most users with held out items; never more than a quarter of them.
        share: held out of a user's items, at least one and not all.
        k: length of the lists that are judged by NDCG.
        patience: epochs without a better one before the training ends; None: never, as a plan of steps wants.
    """

    users: int
    share: float
    k: int
    patience: int | None


class Neural(Baseline):
    """A network of its own, trained in plain torch.

    Some users' newest items (drawn ones, where there is no order) are held out of the training data itself; the epoch
    that finds them best is kept. So `fit` needs no validation data, and one run serves for every number of epochs.
    """

    inner: ClassVar[Inner]
    """How the epoch is chosen."""

    curve: pd.DataFrame | None = None
    """One row an epoch: its loss, its NDCG of the held out items (NaN without any), its seconds; None before `fit`."""

    _network: nn.Module
    epochs: int
    learning_rate: float
    seed: int

    @classmethod
    def _prepare(cls, histories: Histories) -> None:
        """Nothing."""

    def _learn(self, histories: Histories, prepared: None) -> None:
        random = np.random.default_rng(self.seed)
        kept, held = hold_out(histories, self.inner, random)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._network = self._build(kept)
            best = self._train(kept, held, random)
        self._network.load_state_dict(best)
        self._network.eval().requires_grad_(False)

    @abstractmethod
    def _build(self, histories: Histories) -> nn.Module:
        """A new network."""

    @abstractmethod
    def _optimizer(self) -> torch.optim.Optimizer:
        """What moves the weights of the new network."""

    def _rate(self, progress: float) -> float:
        """Share of the learning rate, by the share of the training that is done."""
        return 1.0

    @abstractmethod
    def _batches(self, histories: Histories, random: np.random.Generator) -> Iterator[Batch]:
        """The batches of one epoch."""

    @abstractmethod
    def _loss(self, batch: Batch, progress: float) -> Tensor:
        """What is minimised, a scalar; `progress` is the share of the training that is done."""

    @abstractmethod
    def _logits(self, histories: Histories) -> Tensor:
        """Scores of the catalogue, (B, N) float32."""

    def _train(self, kept: Histories, held: Histories, random: np.random.Generator) -> dict[str, Tensor]:
        """Run the epochs and return the weights of the best one."""
        optimizer = self._optimizer()
        rows: list[dict[str, float]] = []
        best, state, waited = -1.0, dict[str, Tensor](), 0
        for epoch in range(self.epochs):
            begin = time.perf_counter()
            loss = self._epoch(epoch, optimizer, list(self._batches(kept, random)))
            value = self._judge(kept, held)
            rows.append({"loss": loss, f"ndcg@{self.inner.k}": value, "seconds": time.perf_counter() - begin})
            waited += 1
            if not value <= best:  # nan, without judges, is not
                best, waited = value, 0
                state = {name: weights.clone() for name, weights in self._network.state_dict().items()}
            if waited == self.inner.patience:
                break
        self.curve = pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="epoch"))
        return state

    def _epoch(self, epoch: int, optimizer: torch.optim.Optimizer, batches: list[Batch]) -> float:
        """Mean loss of one epoch."""
        losses = []
        self._network.train()
        for step, batch in enumerate(batches):
            progress = (epoch + (step + 0.5) / len(batches)) / self.epochs
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * self._rate(progress)
            loss = self._loss(batch, progress)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        self._network.eval()
        mean = float(np.mean(losses))
        if not np.isfinite(mean):
            raise TrainingError(f"{self!r}: training diverged: lower learning_rate")
        return mean

    def _judge(self, kept: Histories, held: Histories) -> float:
        """Mean NDCG of the held out items, nan where none are."""
        users, values = np.flatnonzero(held.lengths), []
        for start in range(0, len(users), AT_ONCE):
            block = users[start : start + AT_ONCE]
            given, truth = kept.take(block), held.take(block)
            scores = self._scores(given, block)
            scores[given.rows, given.items] = -np.inf
            found = truth.holds(top_items(scores, self.inner.k)[0])
            values.append(ndcg(found, truth.lengths, self.inner.k))
        return float(np.concatenate(values).mean()) if values else float("nan")

    def _scores(self, histories: Histories, numbers: np.ndarray) -> np.ndarray:
        scores = np.empty((len(histories), histories.n_items), np.float32)
        order = np.argsort(histories.lengths, kind="stable")  # little padding
        with torch.inference_mode():
            for start in range(0, len(order), AT_ONCE):
                users = order[start : start + AT_ONCE]
                scores[users] = self._logits(histories.take(users)).numpy()
        return scores


def hold_out(histories: Histories, inner: Inner, random: np.random.Generator) -> tuple[Histories, Histories]:
    """Take the newest items of some users out, drawn ones where there is no order.

    Args:
        histories: U users.
        inner: of how many users, and how much.
        random: draws users and items.

    Returns:
        Histories of the U users with what stays, and with what was taken.
    """
    lengths = histories.lengths
    able = np.flatnonzero(lengths >= 2)
    n_users = min(inner.users, len(able) // 4)
    taken = np.zeros(len(histories), np.int64)
    if n_users >= JUDGES:
        users = random.choice(able, n_users, replace=False)
        taken[users] = np.ceil(inner.share * lengths[users]).clip(1, lengths[users] - 1)
    keys = histories.places if histories.ordered else random.random(len(histories.items))
    held = histories.ranks(keys) >= (lengths - taken)[histories.rows]
    return histories.part(~held), histories.part(held)

"""The causal transformer over histories."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recgan import losses
from recgan.baselines.base import below_one, number_above_zero, whole_number
from recgan.baselines.neural import Batch, Inner, Neural
from recgan.errors import ConfigError, DataError
from recgan.histories import Histories
from recgan.networks import SequenceEncoder
from recgan.networks.layers import unit

DECAY = 0.1
"""Weight decay of all tables and matrices."""

WARM = 0.1
"""Share of the training over which the steps grow to their full size."""

TOKENS = 2048
"""Most history items in one batch."""

TEMPERATURE = 0.07
"""Of the softmax over cosines at the start; it is learned."""

WINDOWS = (50, 200)
"""Most items of a history that are read: of short histories, and of long ones."""


class SASRec(Neural):
    """Self-attention over ordered histories (Kang and McAuley, ICDM 2018), trained by a softmax of its own time.

    A causal pre-norm transformer reads the newest items; what it makes of every prefix is compared with the item that
    came next. The loss is the cross-entropy of that item against `n_negatives` items, drawn uniformly for a whole batch
    (Klenitskiy and Vasilev, RecSys 2023: many negatives in a softmax are what the original lacked). Scores are cosines
    times a learned factor; one table of random starting values embeds the items that are read and those that are
    predicted. Steps grow for a tenth of the training and then shrink to zero; the epoch that finds the newest item of
    up to 2,000 users best, by NDCG@10, is kept.

    Args:
        embedding_dim: length of the vectors, a multiple of heads.
        layers: transformer blocks.
        heads: attention heads.
        window: most items of a history, the newest ones.
        dropout: of embeddings and blocks, at least 0 and below 1.
        n_negatives: items in the softmax beside the right one; None, or at least as many as there are: all items.
        epochs: passes over the histories.
        learning_rate: first step size of AdamW, above 0.
        seed: of starting values, samples and held out items, 0 or more.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> steps = [(user, (user + place) % 6, place) for user in range(6) for place in range(4)]
        >>> inter = pd.DataFrame(steps, columns=["user_id", "item_id", "position"])
        >>> model = SASRec(embedding_dim=16, dropout=0.0, epochs=20).fit(inter)
        >>> model.recommend(history=[3, 4], n=1)["item_id"].tolist()
        [5]
    """

    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"dropout": (0.2, 0.5), "learning_rate": (0.002, 0.005)}
    _network: Transformer
    inner = Inner(users=2000, share=0.0, k=10, patience=None)

    def __init__(
        self,
        embedding_dim: int = 128,
        layers: int = 2,
        heads: int = 2,
        window: int = 50,
        dropout: float = 0.5,
        n_negatives: int | None = 2048,
        epochs: int = 16,
        learning_rate: float = 5e-3,
        seed: int = 0,
    ) -> None:
        self.embedding_dim = whole_number("embedding_dim", embedding_dim)
        self.layers = whole_number("layers", layers)
        self.heads = whole_number("heads", heads)
        if embedding_dim % heads:
            raise ConfigError(f"embedding_dim: a multiple of heads, {heads}, not {embedding_dim!r}")
        self.window = whole_number("window", window)
        self.dropout = below_one("dropout", dropout)
        self.n_negatives = None if n_negatives is None else whole_number("n_negatives", n_negatives)
        self.epochs = whole_number("epochs", epochs)
        self.learning_rate = number_above_zero("learning_rate", learning_rate)
        self.seed = whole_number("seed", seed, least=0)

    @classmethod
    def _grid_for(cls, histories: Histories) -> Mapping[str, Sequence[Any]]:
        long = histories.lengths.mean() > WINDOWS[0]
        return {**cls.grid, "window": (WINDOWS[int(long)],)}

    @classmethod
    def _prepare(cls, histories: Histories) -> None:
        if not histories.ordered:
            raise DataError("interactions: SASRec needs an order: a column 'timestamp' or 'position'")

    def _build(self, histories: Histories) -> nn.Module:
        return Transformer(histories.n_items, self.embedding_dim, self.window, self.layers, self.heads, self.dropout)

    def _optimizer(self) -> torch.optim.Optimizer:
        weights = [{"params": [one for one in self._network.parameters() if one.dim() > 1], "weight_decay": DECAY}]
        others = [{"params": [one for one in self._network.parameters() if one.dim() <= 1], "weight_decay": 0.0}]
        return torch.optim.AdamW(weights + others, self.learning_rate, betas=(0.9, 0.98), fused=True)

    def _rate(self, progress: float) -> float:
        return min(1.0, progress / WARM) * 0.5 * (1.0 + math.cos(math.pi * progress))

    def _batches(self, histories: Histories, random: np.random.Generator) -> Iterator[Batch]:
        read = self.window + 1  # a full window has a target behind it too
        groups = histories.groups(random.permutation(np.flatnonzero(histories.lengths)), read, TOKENS)
        for group in random.permutation(len(groups)):
            items, mask = histories.window(groups[group], read)
            yield {"items": torch.from_numpy(items), "mask": torch.from_numpy(mask)}

    def _loss(self, batch: Batch, progress: float) -> Tensor:
        items, mask = batch["items"], batch["mask"]
        wanted, targets = self._network(items[:, :-1])[mask], items[mask].unsqueeze(1)  # (tokens, D), (tokens, 1)
        table = self._network.embeddings
        if self.n_negatives is None or self.n_negatives >= len(table):
            nowhere = targets[:0, 0], targets[:0, 0]
            chosen, whole = losses.log_sums(wanted, unit(table), None, nowhere, targets)
            return (whole - chosen).mean()
        negatives = torch.randint(len(table), (self.n_negatives,))
        right, wrong = (unit(functional.embedding(part, table)) for part in (targets[:, 0], negatives))
        own = losses.hit_places(targets, torch.ones_like(targets, dtype=torch.bool), negatives)
        _, rest = losses.log_sums(wanted, wrong, None, own, targets[:, :0])
        chosen = (wanted * right).sum(1, keepdim=True)
        loss: Tensor = (torch.logaddexp(rest, chosen) - chosen).mean()
        return loss

    def _logits(self, histories: Histories) -> Tensor:
        items, mask = (torch.from_numpy(part) for part in histories.window(np.arange(len(histories)), self.window))
        wanted: Tensor = self._network(items)[torch.arange(len(items)), mask.sum(1)]
        return wanted @ functional.normalize(self._network.embeddings, dim=1).T


class Transformer(nn.Module):
    """Histories in, the item vector wanted after every prefix out.

    A learned token opens every sequence, so an empty history has a state too; items are padded on the right, where a
    causal mask suffices.

    Args:
        n_items: size N of the catalogue.
        width: length of the vectors, D.
        window: most items read.
        layers: number of blocks.
        heads: attention heads; divides D.
        dropout: of embeddings and blocks.
    """

    def __init__(self, n_items: int, width: int, window: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(functional.normalize(torch.randn(n_items, width), dim=1))
        self.encoder = SequenceEncoder(width, window, heads, dropout, layers)
        self.log_scale = nn.Parameter(torch.tensor(1.0 / TEMPERATURE).log())

    def forward(self, items: Tensor) -> Tensor:
        """Wanted vectors, whose inner products with the unit item vectors are the logits.

        Args:
            items: item numbers, (B, L) int64, oldest first.

        Returns:
            Vectors, (B, L + 1, D) float32, the first for the empty history, the last for all L items.
        """
        states = self.encoder.states(functional.embedding(items, self.embeddings))
        return self.log_scale.exp() * functional.normalize(states, dim=-1)

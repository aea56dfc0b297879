"""The variational autoencoder for collaborative filtering."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recgan.baselines.base import below_one, number_above_zero, whole_number
from recgan.baselines.neural import Batch, Inner, Neural
from recgan.histories import Histories

ANNEALED = 0.5
"""Share of the epochs over which the weight of the KL term rises to `beta`."""


class MultVAE(Neural):
    """The variational autoencoder with multinomial likelihood (Liang et al., WWW 2018).

    The history, scaled to length 1 and thinned by dropout, is encoded as a normal distribution of a latent vector,
    from which a decoder gives the logits of a softmax over the catalogue. Minimises `- sum over the history of
    log softmax(logits) + weight KL`, where the weight rises linearly to beta over the first half of the epochs. Served
    are the logits of the mean. The order of a history counts for nothing. The epoch that finds a tenth of the items of
    up to 1,000 users best, by NDCG@100, is kept.

    Args:
        hidden: width of the layer on either side of the latent vector.
        latent: length of the latent vector.
        dropout: share of the history that is dropped in training, at least 0 and below 1.
        beta: final weight of the KL term, 0 or more.
        epochs: most passes over the users.
        learning_rate: step size of Adam, above 0.
        batch_size: users in a batch.
        seed: of starting values, samples and held out items, 0 or more.

    Raises:
        ConfigError: when an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> pairs = [(user, item) for user in range(8) for item in "abcdef" if (user + ord(item)) % 2]
        >>> inter = pd.DataFrame(pairs, columns=["user_id", "item_id"])
        >>> model = MultVAE(hidden=16, latent=4, epochs=200, learning_rate=0.01).fit(inter)
        >>> sorted(model.recommend(history=["a"], n=2)["item_id"])
        ['c', 'e']
    """

    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"beta": (0.1, 0.2, 0.5), "dropout": (0.5, 0.7)}
    inner = Inner(users=1000, share=0.1, k=100, patience=20)

    def __init__(
        self,
        hidden: int = 600,
        latent: int = 200,
        dropout: float = 0.5,
        beta: float = 0.2,
        epochs: int = 200,
        learning_rate: float = 1e-3,
        batch_size: int = 500,
        seed: int = 0,
    ) -> None:
        self.hidden = whole_number("hidden", hidden)
        self.latent = whole_number("latent", latent)
        self.dropout = below_one("dropout", dropout)
        self.beta = number_above_zero("beta", beta, or_zero=True)
        self.epochs = whole_number("epochs", epochs)
        self.learning_rate = number_above_zero("learning_rate", learning_rate)
        self.batch_size = whole_number("batch_size", batch_size)
        self.seed = whole_number("seed", seed, least=0)

    def _build(self, histories: Histories) -> nn.Module:
        return Autoencoder(histories.n_items, self.hidden, self.latent, self.dropout)

    def _optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self._network.parameters(), self.learning_rate, fused=True)

    def _batches(self, histories: Histories, random: np.random.Generator) -> Iterator[Batch]:
        order = random.permutation(np.flatnonzero(histories.lengths))
        for start in range(0, len(order), self.batch_size):
            yield _bags(histories.take(order[start : start + self.batch_size]))

    def _loss(self, batch: Batch, progress: float) -> Tensor:
        logits, kl = self._network(batch["items"], batch["offsets"])
        lengths = batch["offsets"].diff()
        rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        likelihood = logits[rows, batch["items"]].sum() - (lengths * logits.logsumexp(1)).sum()
        weight = self.beta * min(1.0, progress / ANNEALED)
        return (weight * kl.sum() - likelihood) / len(lengths)  # type: ignore[no-any-return]

    def _logits(self, histories: Histories) -> Tensor:
        bags = _bags(histories)
        return self._network(bags["items"], bags["offsets"])[0]  # type: ignore[no-any-return]


class Autoencoder(nn.Module):
    """Bags of items in, logits of the catalogue out.

    Args:
        n_items: size N of the catalogue.
        hidden: width of the hidden layers, H.
        latent: length of the latent vector.
        dropout: share of the items dropped in training.
    """

    def __init__(self, n_items: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(n_items, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.latent = nn.Linear(hidden, 2 * latent)
        self.hidden = nn.Linear(latent, hidden)
        self.items = nn.Linear(hidden, n_items)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_normal_(self.table)
        for layer in (self.latent, self.hidden, self.items):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, items: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the catalogue, from a sample of the latent vector in training, else from its mean.

        Args:
            items: item numbers of B histories, one behind the other, (rows,) int64.
            offsets: where each begins and ends, (B + 1,) int64.

        Returns:
            Logits, (B, N) float32, and the divergence of the latent vectors from the standard normal, (B,), in nats.
        """
        lengths = offsets.diff()
        weights = self.dropout(torch.repeat_interleave(lengths.clamp(min=1).rsqrt(), lengths))
        total = functional.embedding_bag(
            items, self.table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )
        mean, log_variance = self.latent(torch.tanh(total + self.bias)).chunk(2, dim=1)
        kl = 0.5 * (log_variance.exp() - 1.0 - log_variance + mean.square()).sum(1)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
        return self.items(torch.tanh(self.hidden(latent))), kl


def _bags(histories: Histories) -> Batch:
    """Every user's items, each once."""
    matrix = histories.matrix()
    return {
        "items": torch.from_numpy(matrix.indices.astype(np.int64)),
        "offsets": torch.from_numpy(matrix.indptr.astype(np.int64)),
    }

"""The generator: from a condition and noise to the item vector that a user wants."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from recgan.config import Config
from recgan.networks.encoders import BagEncoder, SequenceEncoder
from recgan.networks.layers import Shared, unit, zero_last


class Generator(nn.Module):
    """`G(c, z) = mu(c) + R(c, z)`: the item vector that a user wants, and its variation with the noise.

    R ends in zeros, so a new generator is deterministic; training gives the noise its meaning.

    Args:
        encoder: turns a history into a condition (B, C).
        vectors: starting values of the item vectors, (N, D) float32; a sequence encoder reads the same ones.
        condition_dim: C.
        noise_dim: Z.
        hidden: width of R.
        temperature: starting value of the softmax temperature of the cosine logits.
    """

    def __init__(
        self,
        encoder: BagEncoder | SequenceEncoder,
        vectors: Tensor,
        *,
        condition_dim: int,
        noise_dim: int,
        hidden: int,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.vectors = nn.Parameter(vectors.clone())
        self.shared: Shared | None = None
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.mean = nn.Linear(condition_dim, vectors.shape[1])
        if condition_dim == vectors.shape[1] and not self.mean.weight.is_meta:
            nn.init.eye_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)
        self.variation = nn.Sequential(
            nn.Linear(condition_dim + noise_dim, hidden), nn.GELU(), nn.Linear(hidden, vectors.shape[1])
        )
        zero_last(self.variation)
        self.noise_dim = noise_dim

    @property
    def scale(self) -> Tensor:
        """Factor of the cosine logits, a scalar kept below 50."""
        return self.log_scale.exp().clamp(max=50.0)

    @property
    def table(self) -> Tensor:
        """Item vectors of any length, (N, D) float32: an item's own and, in training, what its categories share."""
        return self.vectors if self.shared is None else self.vectors + self.shared()

    def share(self, categories: Tensor) -> None:
        """Let the item vectors of a category, (N, Q) float32, have something in common."""
        self.shared = Shared(categories, self.vectors.shape[1])

    def item_vectors(self) -> Tensor:
        """Unit item vectors, (N, D) float32."""
        return unit(self.table)

    def centred_vectors(self) -> Tensor:
        """Unit item vectors after their mean is taken out, (N, D) float32: what items have in common tells nothing."""
        vectors = self.item_vectors()
        return functional.normalize(vectors - vectors.mean(0), dim=1)

    def condition(self, items: Tensor, mask: Tensor) -> Tensor:
        """Condition of every user: item numbers (B, L) int64, mask (B, L) bool -> (B, C) float32."""
        if isinstance(self.encoder, SequenceEncoder):
            return self.encoder(functional.embedding(items, self.table), mask)  # type: ignore[no-any-return]
        return self.encoder(items, mask)  # type: ignore[no-any-return]

    def states(self, items: Tensor) -> Tensor:
        """Condition after every prefix of a sequence: (B, L) int64 -> (B, L + 1, C) float32."""
        if not isinstance(self.encoder, SequenceEncoder):
            raise TypeError("only a sequence has states")
        return self.encoder.states(functional.embedding(items, self.table))

    def wanted(self, condition: Tensor, noise: Tensor | None = None) -> Tensor:
        """Wanted item vectors, scaled so that their inner products with the item vectors are the logits.

        Args:
            condition: (..., C) float32.
            noise: (S, Z) or (..., S, Z) float32; None for the noise-free vector.

        Returns:
            Vectors, (..., S, D) float32, or (..., D) without noise.
        """
        mean = self.mean(condition)
        if noise is None:
            return self.scale * functional.normalize(mean, dim=-1)
        noise = noise.expand(*condition.shape[:-1], *noise.shape[-2:])
        pair = torch.cat([condition.unsqueeze(-2).expand(*noise.shape[:-1], condition.shape[-1]), noise], dim=-1)
        varied = mean.unsqueeze(-2) + self.variation(pair)  # (..., S, D)
        return self.scale * functional.normalize(varied, dim=-1)

    def forward(self, items: Tensor, mask: Tensor, noise: Tensor | None = None) -> Tensor:
        """Histories (B, L) int64 with mask (B, L) bool -> wanted vectors (B, D), or (B, S, D) with noise (S, Z)."""
        return self.wanted(self.condition(items, mask), noise)


def build_generator(
    config: Config, kind: str, start: Mapping[str, Tensor], *, window: int = 0, dropout: float = 0.0, layers: int = 1
) -> Generator:
    """A generator of the shape that the settings say.

    Args:
        config: sizes of the networks.
        kind: encoder, "bag" or "sequence".
        start: all weights of a trained generator, or only "vectors", (N, D), of a new one.
        window: most history items of a sequence encoder; read from the weights of a trained one.
        dropout: of the encoder.
        layers: blocks of a sequence encoder; counted in the weights of a trained one.

    Returns:
        The generator, in evaluation mode.
    """
    vectors = start["vectors"]
    width = vectors.shape[1]
    positions = start.get("encoder.positions")
    length = window if positions is None else len(positions) - 1
    trained = len(start) > 1
    encoder: BagEncoder | SequenceEncoder
    with torch.device("meta" if trained else "cpu"):  # shapes only, until it is known that the weights fit them
        if kind == "bag":
            encoder = BagEncoder(vectors, config.hidden_dim, dropout)
        else:
            heads = max(head for head in (4, 2, 1) if (width % head == 0 and head <= width // 32) or head == 1)
            numbers = {name.split(".")[2] for name in start if name.startswith("encoder.blocks.")}
            encoder = SequenceEncoder(width, length, heads, dropout, len(numbers) or layers)
        sizes = {"condition_dim": width, "noise_dim": config.noise_dim, "hidden": config.hidden_dim}
        generator = Generator(encoder, vectors, **sizes)
    if trained:
        generator.load_state_dict(dict(start), assign=True)
    return generator.eval().requires_grad_(False)

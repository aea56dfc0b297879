"""The networks: condition encoders, the generator and the discriminator. None of them knows a loss or a data set.

Letters: B users, L history, C condition, Z noise, S draws, D item vector, N items, K candidates, M items of a slate,
F pair features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from recgan.config import Config

LIKENESS_SCALE = 10.0
"""Of the squared length of a slate's middle, which is small, so that it is as large as the other features."""


class BagEncoder(nn.Module):
    """Condition of an unordered history: the sum of its item embeddings over the root of their number, refined.

    A learned vector joins every sum, so an empty history has a condition too.

    Args:
        embeddings: starting values, (N, C) float32.
        hidden: width of the residual MLP.
        dropout: share of the condition dropped in training.
    """

    kind = "bag"

    def __init__(self, embeddings: Tensor, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(embeddings.clone())
        self.opening = nn.Parameter(_small(embeddings.shape[1]))
        self.dropout = Dropout(dropout)
        self.refine = residual_mlp(embeddings.shape[1], hidden, dropout)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Condition of every user.

        Args:
            items: item numbers, (B, L) int64.
            mask: where an item stands, (B, L) bool.

        Returns:
            Conditions, (B, C) float32; an empty history gives the unconditional one.
        """
        weights = mask.to(self.embeddings.dtype)
        total = functional.embedding_bag(items, self.embeddings, mode="sum", per_sample_weights=weights)
        bag = (total + self.opening) / weights.sum(1, keepdim=True).clamp(min=1.0).sqrt()
        bag = self.dropout(bag)
        refined: Tensor = bag + self.refine(bag)
        return refined


class SequenceEncoder(nn.Module):
    """Condition of an ordered history: a causal pre-norm transformer, read at the newest item.

    A learned token opens every sequence, so an empty history has a condition too and no row is ever fully masked.

    Args:
        width: length of the item vectors that it reads, C.
        length: the most items read.
        heads: attention heads; divides C.
        dropout: dropout of embeddings and layers.
        layers: number of transformer blocks.
    """

    kind = "sequence"

    def __init__(self, width: int, length: int, heads: int, dropout: float, layers: int = 1) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(width**0.5))
        self.opening = nn.Parameter(_small(width))
        self.positions = nn.Parameter(_small(length + 1, width))
        self.dropout = Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def states(self, vectors: Tensor) -> Tensor:
        """Condition after every prefix: item vectors (B, L, C) float32 -> (B, L + 1, C), the first for no history."""
        opening = self.opening.expand(len(vectors), 1, -1)
        states = torch.cat([opening, self.scale * vectors], dim=1) + self.positions[: vectors.shape[1] + 1]
        refined: Tensor = self.norm(self.blocks(self.dropout(states)))
        return refined

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Condition of every user: (B, L, C) float32 and (B, L) bool, padded on the right -> (B, C) float32."""
        last = mask.sum(1)
        return self.states(vectors)[torch.arange(len(vectors), device=vectors.device), last]


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

    def item_vectors(self) -> Tensor:
        """Unit item vectors, (N, D) float32."""
        return functional.normalize(self.vectors, dim=1)

    def centred_vectors(self) -> Tensor:
        """Unit item vectors after their mean is taken out, (N, D) float32: what items have in common tells nothing."""
        vectors = self.item_vectors()
        return functional.normalize(vectors - vectors.mean(0), dim=1)

    def condition(self, items: Tensor, mask: Tensor) -> Tensor:
        """Condition of every user: item numbers (B, L) int64, mask (B, L) bool -> (B, C) float32."""
        if isinstance(self.encoder, SequenceEncoder):
            return self.encoder(functional.embedding(items, self.vectors), mask)  # type: ignore[no-any-return]
        return self.encoder(items, mask)  # type: ignore[no-any-return]

    def states(self, items: Tensor) -> Tensor:
        """Condition after every prefix of a sequence: (B, L) int64 -> (B, L + 1, C) float32."""
        if not isinstance(self.encoder, SequenceEncoder):
            raise TypeError("only a sequence has states")
        return self.encoder.states(functional.embedding(items, self.vectors))

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


class Discriminator(nn.Module):
    """Judges what the model proposes against real interactions, in two parts that share no weights.

    `realism` plays the adversarial game: are these items together what this user has in one mood? `forward` re-orders
    the proposals of stage one by what an inner product cannot hold, the pair features. Both start at zero.

    Args:
        condition_dim: C.
        vector_dim: D.
        n_features: F.
        hidden: width of its layers, H.
    """

    def __init__(self, condition_dim: int, vector_dim: int, n_features: int, hidden: int) -> None:
        super().__init__()
        pair = condition_dim + vector_dim
        self.item = nn.Sequential(nn.Linear(pair, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.slate = nn.Sequential(nn.Linear(2 * hidden + vector_dim + 1, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.head = nn.Sequential(nn.Linear(n_features, hidden // 8), nn.GELU(), nn.Linear(hidden // 8, 1))
        self.center: Tensor
        self.spread: Tensor
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("spread", torch.ones(n_features))
        zero_last(self.slate)
        zero_last(self.head)

    def realism(self, condition: Tensor, slates: Tensor, present: Tensor) -> Tensor:
        """How real a slate looks for a user; the order of its items does not count (deep sets, Zaheer et al., 2017).

        Args:
            condition: (B, C) float32.
            slates: centred item vectors, (B, M, D) float32.
            present: where an item stands, (B, M) bool, at least one a row.

        Returns:
            Logits, (B,) float32.
        """
        pairs = torch.cat([slates, condition.unsqueeze(1).expand(-1, slates.shape[1], -1)], dim=-1)
        features, weights = self.item(pairs), (present / present.sum(1, keepdim=True)).unsqueeze(-1)
        mean = (weights * features).sum(1)  # (B, H)
        spread = (weights * (features - mean.unsqueeze(1)).square()).sum(1)
        middle = (weights * slates).sum(1)  # (B, D)
        likeness = LIKENESS_SCALE * middle.square().sum(1, keepdim=True)
        together = torch.cat([mean, spread, middle, likeness], dim=1)
        return self.slate(together).squeeze(-1)  # type: ignore[no-any-return]

    def forward(self, features: Tensor) -> Tensor:
        """Correction of the relevance of K proposals.

        Args:
            features: pair features, (B, K, F) float32, in their natural units.

        Returns:
            Logits to be added to the block scores, (B, K) float32.
        """
        return self.head((features - self.center) / self.spread).squeeze(-1)  # type: ignore[no-any-return]


def build_generator(
    config: Config, kind: str, start: Mapping[str, Tensor], *, window: int = 0, dropout: float = 0.0
) -> Generator:
    """A generator of the shape that the settings say.

    Args:
        config: sizes of the networks.
        kind: encoder, "bag" or "sequence".
        start: all weights of a trained generator, or only "vectors", (N, D), of a new one.
        window: most history items of a sequence encoder; read from the weights of a trained one.
        dropout: of the encoder.

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
            encoder = SequenceEncoder(width, length, heads, dropout)
        sizes = {"condition_dim": width, "noise_dim": config.noise_dim, "hidden": config.hidden_dim}
        generator = Generator(encoder, vectors, **sizes)
    if trained:
        generator.load_state_dict(dict(start), assign=True)
    return generator.eval().requires_grad_(False)


def build_discriminator(config: Config, weights: Mapping[str, Tensor]) -> Discriminator:
    """The trained discriminator with these weights, in evaluation mode."""
    vector_dim = weights["slate.0.weight"].shape[1] - 2 * config.hidden_dim - 1
    condition_dim = weights["item.0.weight"].shape[1] - vector_dim
    with torch.device("meta"):
        discriminator = Discriminator(condition_dim, vector_dim, len(weights["center"]), config.hidden_dim)
    discriminator.load_state_dict(dict(weights), assign=True)
    return discriminator.eval().requires_grad_(False)


class Block(nn.Module):
    """Causal self-attention, then two layers, each added to what it reads, (B, L, D) -> (B, L, D).

    Args:
        width: length of the vectors, D.
        heads: attention heads; divides D.
        dropout: of what is added.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.split, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), Dropout(dropout), nn.Linear(width, width), Dropout(dropout)
        )
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """States refined, each from those up to it."""
        parts = self.split(self.before_attention(states)).unflatten(-1, (3, self.heads, -1))  # (B, L, 3, H, D / H)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.dropout(self.join(attended.transpose(1, 2).flatten(2)))
        refined: Tensor = states + self.layers(self.before_layers(states))
        return refined


class Dropout(nn.Module):
    """Dropout in steps of 1/256, from one random byte a value: many times faster on a processor than torch's own.

    Args:
        share: dropped, below 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = min(round(256 * share), 255)

    def forward(self, values: Tensor) -> Tensor:
        """The values thinned in training, and as they are otherwise."""
        if not self.training or not self.dropped:
            return values
        words = torch.empty(values.numel() // 8 + 1, dtype=torch.int64, device=values.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= self.dropped
        return values * (kept * (256 / (256 - self.dropped)))


def _small(*shape: int) -> Tensor:
    """Random numbers near nought, or a shape only, of which torch would import its compiler to make random numbers."""
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_().mul_(0.02)


def residual_mlp(width: int, hidden: int, dropout: float) -> nn.Sequential:
    """Normalise, widen, narrow; ends in zeros so that a new block changes nothing."""
    mlp = nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), Dropout(dropout), nn.Linear(hidden, width)
    )
    return zero_last(mlp)


def zero_last(network: nn.Sequential) -> nn.Sequential:
    """Set the last linear layer to zero and return the network."""
    last = network[-1]
    if not isinstance(last, nn.Linear):
        raise TypeError("the last layer must be nn.Linear")
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return network

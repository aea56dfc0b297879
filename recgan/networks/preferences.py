"""The encoder of stated preferences: what a user says moves the condition."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from recgan.networks.layers import zero_last


class PreferenceEncoder(nn.Module):
    """Moves a condition by the categories that a user says to like; the less, the longer the history is.

    It starts at zero, and a user who states nothing keeps the condition to the bit.

    Args:
        n_categories: Q.
        condition_dim: C.
        hidden: width of its layer.
    """

    def __init__(self, n_categories: int, condition_dim: int, hidden: int) -> None:
        super().__init__()
        wide = nn.Linear(n_categories + condition_dim, hidden)
        self.moves = zero_last(nn.Sequential(wide, nn.GELU(), nn.Linear(hidden, condition_dim)))
        self.direct = nn.Linear(n_categories, condition_dim, bias=False)
        nn.init.zeros_(self.direct.weight)
        self.doubt = nn.Parameter(torch.zeros(()))

    @property
    def n_categories(self) -> int:
        """Q."""
        return self.direct.in_features

    def forward(self, condition: Tensor, stated: Tensor, lengths: Tensor) -> Tensor:
        """Conditions after what was stated.

        Args:
            condition: of the histories, (B, C) float32.
            stated: 1 for a category that the user likes, else 0, (B, Q) float32.
            lengths: items of the histories, (B,).

        Returns:
            (B, C) float32.
        """
        move = self.direct(stated) + self.moves(torch.cat([stated, condition], dim=1))
        weight = stated.amax(1) / (1.0 + functional.softplus(self.doubt) * lengths.to(move.dtype).sqrt())
        return condition + weight[:, None] * move  # type: ignore[no-any-return]


def build_preference_encoder(weights: Mapping[str, Tensor]) -> PreferenceEncoder:
    """The trained encoder with these weights, in evaluation mode."""
    condition_dim, n_categories = weights["direct.weight"].shape
    with torch.device("meta"):
        encoder = PreferenceEncoder(n_categories, condition_dim, len(weights["moves.0.bias"]))
    encoder.load_state_dict(dict(weights), assign=True)
    return encoder.eval().requires_grad_(False)

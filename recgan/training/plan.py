"""How the settings that were left open follow from the data: its size, its density, its order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from recgan.config import Config
from recgan.histories import Histories
from recgan.training.batches import TOKENS
from recgan.training.scoring import WHOLE

Value = TypeVar("Value", int, float)
FULL_LOGITS = 1_300_000_000
"""Most logits of one epoch with the softmax over every item; above, negatives are sampled."""

FREQUENT = 20.0
"""Events an item from which on an encoder is in less danger to learn by heart."""

MANY_EVENTS = 400_000
"""Events in order from which on further blocks of the encoder pay."""

REMEMBERED, DECAYS = 0.8, (0.1, 0.3)
"""Share of all planned epochs after which the weight decay of a sequence encoder has forgotten a weight; its bounds."""

STEPS, LONG_EPOCHS = 3750, 16
"""Of a set encoder with the full softmax: planned steps where 50 epochs would have more; fewest epochs."""

MOVED, SLOWEST = 0.25, 1e-3
"""Of a set encoder with the full softmax: most that the rates of an epoch's steps add up to; smallest rate."""

FORGETTING = 3.0
"""Most weight decay of a set encoder that is trained once more."""


@dataclass(frozen=True)
class Plan:
    """Settings of a run with nothing left open.

    Args:
        encoder: "bag" or "sequence".
        window: most history items that the encoder reads.
        dropout: of the encoder.
        layers: blocks of a sequence encoder.
        epochs: most epochs of the ranking phase.
        learning_rate: of the generator.
        weight_decay: of the generator.
        full_softmax: whether the ranking loss runs over every item, or over a sample.
        forgetting: weight decay of a second ranking phase where the first learns by heart; None for no second one.
    """

    encoder: str
    window: int
    dropout: float
    layers: int
    epochs: int
    learning_rate: float
    weight_decay: float
    full_softmax: bool
    forgetting: float | None = None


def plan(config: Config, histories: Histories, encoder: str) -> Plan:
    """The plan for an encoder: what the settings say, and where they are silent what the data say.

    Args:
        config: settings; None is silent.
        histories: training interactions.
        encoder: "bag" or "sequence".

    Returns:
        The plan.
    """
    ordered = encoder == "sequence"
    window = config.window or (_usual_length(histories) if ordered else 1000)
    most = config.full_softmax_items
    predictions = len(histories.items) if ordered else len(histories)
    few = histories.n_items <= config.n_negatives or predictions * histories.n_items <= FULL_LOGITS
    full = few if most is None else histories.n_items <= most
    n_batches = len(histories) / config.batch_size if full else 1.0  # of a sample only some vectors move in a step
    bag_epochs, bag_rate, bag_decay = _bag_pace(len(histories), n_batches)
    epochs = _or(config.epochs, 12 if ordered else bag_epochs)
    rate = _or(config.learning_rate, 5e-3 if ordered else bag_rate)
    rare = histories.n_items <= WHOLE and len(histories.items) <= FREQUENT * histories.n_items
    again = rare and full and not ordered and config.weight_decay is None and config.time_limit is None
    return Plan(
        encoder=encoder,
        window=window,
        dropout=_or(config.dropout, _sequence_dropout(histories) if ordered else 0.3),
        layers=3 if ordered and predictions > MANY_EVENTS else 1,
        epochs=epochs,
        learning_rate=rate,
        weight_decay=_or(
            config.weight_decay, _sequence_decay(epochs, predictions / TOKENS, rate) if ordered else bag_decay
        ),
        full_softmax=full,
        forgetting=_forgetting(config, histories, rate) if again else None,
    )


def _or(value: Value | None, default: Value) -> Value:
    return default if value is None else value


def _sequence_dropout(histories: Histories) -> float:
    """A half up to FREQUENT events an item, falling with their third root."""
    rarity = min(1.0, FREQUENT * histories.n_items / max(1, len(histories.items)))
    return round(0.5 * math.cbrt(rarity), 3)


def _sequence_decay(epochs: int, n_batches: float, rate: float) -> float:
    """So much that weights are forgotten over epochs (AdamW's timescale; Wang and Aitchison, 2024)."""
    return round(float(np.clip(_forgotten(REMEMBERED * max(1, epochs), n_batches, rate), *DECAYS)), 4)


def _forgetting(config: Config, histories: Histories, rate: float) -> float:
    """So much that weights are forgotten over as many epochs as an item has events."""
    epochs = len(histories.items) / max(1, histories.n_items)
    return round(min(FORGETTING, _forgotten(epochs, len(histories) / config.batch_size, rate)), 4)


def _forgotten(epochs: float, n_batches: float, rate: float) -> float:
    """Weight decay that has forgotten a weight after some epochs, however many steps these have."""
    return 1.0 / (max(0.1, epochs) * max(1.0, n_batches) * rate)


def _bag_pace(n_users: int, n_batches: float) -> tuple[int, float, float]:
    """Epochs, learning rate and weight decay of a set encoder.

    The rate is 1e-3 for a thousand users, grows with the root of their number to 4e-3, and falls where an epoch of
    many steps would go further than MOVED. There are 50 epochs, fewer where these are more than STEPS, and LONG_EPOCHS
    at least. A step forgets as much at any rate.
    """
    steps = max(1.0, n_batches)
    usual = float(np.clip(SLOWEST * math.sqrt(n_users / 1000), SLOWEST, 4e-3))
    rate = float(np.clip(MOVED / steps, SLOWEST, usual))
    return int(np.clip(round(STEPS / steps), LONG_EPOCHS, 50)), rate, round(0.01 * usual / rate, 4)


def _usual_length(histories: Histories) -> int:
    """What nine of ten users have, from 20 to 200."""
    return int(np.clip(np.quantile(histories.lengths, 0.9), 20, 200))

"""The networks: condition encoders, the generator and the discriminator. None of them knows a loss or a data set.

Letters: B users, L history, C condition, Z noise, S draws, D item vector, N items, K candidates, M items of a slate,
F pair features.
"""

from recgan.networks.discriminator import Discriminator, build_discriminator
from recgan.networks.encoders import BagEncoder, SequenceEncoder
from recgan.networks.generator import Generator, build_generator
from recgan.networks.layers import Dropout
from recgan.networks.preferences import PreferenceEncoder, build_preference_encoder

__all__ = [
    "BagEncoder",
    "Discriminator",
    "Dropout",
    "Generator",
    "PreferenceEncoder",
    "SequenceEncoder",
    "build_discriminator",
    "build_generator",
    "build_preference_encoder",
]

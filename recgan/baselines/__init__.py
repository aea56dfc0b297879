"""The classics behind the same calls as the Recommender: what a new model has to beat."""

from __future__ import annotations

from recgan.baselines.base import Baseline
from recgan.baselines.closed import EASE, ItemKNN, Popular
from recgan.baselines.factors import BPR, IALS
from recgan.baselines.filters import GFCF, NormalisedSVD
from recgan.baselines.graph import SLIM, RP3Beta, Transitions
from recgan.baselines.sasrec import SASRec
from recgan.baselines.vae import MultVAE

__all__ = [
    "BPR",
    "EASE",
    "GFCF",
    "IALS",
    "SLIM",
    "Baseline",
    "ItemKNN",
    "MultVAE",
    "NormalisedSVD",
    "Popular",
    "RP3Beta",
    "SASRec",
    "Transitions",
]

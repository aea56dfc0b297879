"""The classics behind the same calls as the Recommender: what a new model has to beat."""

from __future__ import annotations

from recgan.baselines.base import Baseline
from recgan.baselines.closed import EASE, ItemKNN, Popular
from recgan.baselines.factors import BPR, IALS

__all__ = ["BPR", "EASE", "IALS", "Baseline", "ItemKNN", "Popular"]

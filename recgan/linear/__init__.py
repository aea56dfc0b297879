"""The linear block: closed forms of the interactions, fitted in seconds without a gradient."""

from recgan.linear.blocks import LowRank, SparseRows
from recgan.linear.counts import largest, neighbours, normalised, transition_counts, transitions
from recgan.linear.factors import Factors, RememberingFactors, factors, factors_cost
from recgan.linear.spectral import (
    FULL_SPECTRUM,
    ITEM_POWER,
    USER_POWER,
    Leading,
    Spectrum,
    ease,
    leading,
    low_pass,
    order_vectors,
    spectrum,
    start_vectors,
)

__all__ = [
    "FULL_SPECTRUM",
    "ITEM_POWER",
    "USER_POWER",
    "Factors",
    "Leading",
    "LowRank",
    "RememberingFactors",
    "SparseRows",
    "Spectrum",
    "ease",
    "factors",
    "factors_cost",
    "largest",
    "leading",
    "low_pass",
    "neighbours",
    "normalised",
    "order_vectors",
    "spectrum",
    "start_vectors",
    "transition_counts",
    "transitions",
]

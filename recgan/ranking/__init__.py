"""From blocks of scores to ranked lists."""

from recgan.ranking.blocks import ABSENT, CELLS, Blocks, Judge, Query, Weights
from recgan.ranking.exploring import Dial, explored
from recgan.ranking.ranker import SCORED_WHOLE, Ranker
from recgan.ranking.top import top_items

__all__ = [
    "ABSENT",
    "CELLS",
    "SCORED_WHOLE",
    "Blocks",
    "Dial",
    "Judge",
    "Query",
    "Ranker",
    "Weights",
    "explored",
    "top_items",
]

"""From blocks of scores to ranked lists."""

from recgan.ranking.arranging import Dial, arranged
from recgan.ranking.blocks import ABSENT, CELLS, Blocks, Judge, Query, Weights, fading
from recgan.ranking.catalogue import Catalogue
from recgan.ranking.choosing import chosen, kept
from recgan.ranking.limits import Classes, Pins
from recgan.ranking.near import Asked, Exact, Near, Search
from recgan.ranking.ranker import SCORED_WHOLE, Ranker
from recgan.ranking.top import top_items

__all__ = [
    "ABSENT",
    "CELLS",
    "SCORED_WHOLE",
    "Asked",
    "Blocks",
    "Catalogue",
    "Classes",
    "Dial",
    "Exact",
    "Judge",
    "Near",
    "Pins",
    "Query",
    "Ranker",
    "Search",
    "Weights",
    "arranged",
    "chosen",
    "fading",
    "kept",
    "top_items",
]

"""How every recommender is asked, and what it answers."""

from recgan.serving.arguments import check_n, id_list, id_series, refuse_repeats, unknown_users
from recgan.serving.base import BaseRecommender, OnUnknown

__all__ = [
    "BaseRecommender",
    "OnUnknown",
    "check_n",
    "id_list",
    "id_series",
    "refuse_repeats",
    "unknown_users",
]

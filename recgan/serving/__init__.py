"""How every recommender is asked, and what it answers."""

from recgan.serving.arguments import (
    check_histories,
    check_n,
    id_list,
    id_series,
    lists_of,
    refuse_repeats,
    unknown_users,
)
from recgan.serving.base import BaseRecommender, OnUnknown

__all__ = [
    "BaseRecommender",
    "OnUnknown",
    "check_histories",
    "check_n",
    "id_list",
    "id_series",
    "lists_of",
    "refuse_repeats",
    "unknown_users",
]

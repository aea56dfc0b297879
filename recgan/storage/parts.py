"""What a model is made of, and the names of its files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from recgan.cold import Tower
from recgan.histories import Histories
from recgan.ranking import Blocks, Judge
from recgan.vocabulary import Vocabulary

WEIGHTS, USERS, ITEMS, HISTORIES = "weights.safetensors", "users.parquet", "items.parquet", "histories.parquet"
DISLIKES = "dislikes.parquet"
"""There only where somebody dislikes something."""
SEARCH = "search.safetensors"
"""There only where the model searches approximately."""


@dataclass(frozen=True)
class Parts:
    """Everything that a recommender is made of, but its settings."""

    users: Vocabulary
    items: Vocabulary
    histories: Histories
    profiles: np.ndarray
    item_table: pd.DataFrame
    blocks: Blocks
    judge: Judge | None
    disliked: Histories | None = None
    tower: Tower | None = None

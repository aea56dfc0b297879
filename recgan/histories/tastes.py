"""Histories of what users like and dislike, and what tells some histories from others."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from recgan.histories.rows import slices
from recgan.histories.table import Histories
from recgan.interactions import by_taste
from recgan.schema import ITEM, USER
from recgan.vocabulary import Vocabulary


def tastes(frame: pd.DataFrame, users: Vocabulary, items: Vocabulary) -> tuple[Histories, Histories | None]:
    """Histories of what the users like, and of what they dislike; None where nobody dislikes a known item."""
    liked, disliked = by_taste(frame)
    refused = Histories.from_frame(disliked[[USER, ITEM]], users, items) if len(disliked) else None
    return Histories.from_frame(liked, users, items), refused if refused is not None and len(refused.items) else None


def fingerprint(histories: Histories) -> dict[str, Any]:
    """Sizes of some histories and a hash of their content; JSON values."""
    content = hashlib.sha256(histories.offsets.tobytes())
    for some in slices(len(histories.items)):
        content.update(histories.items[some].astype(np.int64, copy=False).tobytes())
    digest = content.hexdigest()
    return {
        "users": len(histories),
        "items": histories.n_items,
        "interactions": len(histories.items),
        "ordered": histories.ordered,
        "sha256": digest,
    }

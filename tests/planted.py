"""Interactions whose structure is known, so that a test can demand that it is found."""

from __future__ import annotations

import numpy as np
import pandas as pd


def planted(n_users: int, n_items: int, n_groups: int, noise: float, seed: int, ordered: bool = False) -> pd.DataFrame:
    """Users of a group like items of their group; a share `noise` of the rows is drawn from all items."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        own = np.flatnonzero(np.arange(n_items) % n_groups == user % n_groups)
        liked = random.permutation(own)[: max(2, len(own) * 2 // 3)]
        liked = np.where(random.random(len(liked)) < noise, random.integers(0, n_items, len(liked)), liked)
        rows.append(pd.DataFrame({"user_id": user, "item_id": np.unique(liked)}))
    frame = pd.concat(rows, ignore_index=True)
    if ordered:
        frame["timestamp"] = random.integers(10**9, 10**9 + 10**7, len(frame))
    return frame


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same users and item counts with the structure destroyed."""
    items = np.random.default_rng(seed).permutation(frame["item_id"].to_numpy())
    return frame.assign(item_id=items).drop_duplicates(["user_id", "item_id"], ignore_index=True)


def checkerboard(n: int) -> pd.DataFrame:
    """User u has every item of the same parity but item u, which is therefore the right first recommendation."""
    pairs = [(u, i) for u in range(n) for i in range(n) if (u + i) % 2 == 0 and u != i]
    return pd.DataFrame(pairs, columns=["user_id", "item_id"])

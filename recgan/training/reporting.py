"""What a training run says about itself: versions, the data's fingerprint, and alarms."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from recgan.histories import Histories
from recgan.ranking import Blocks, Ranker
from recgan.training.validation import Validation

PACKAGES = ("recgan", "torch", "pytorch-lightning", "faiss-cpu", "numpy", "pandas", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of the packages that decide the result."""
    return {package: version(package) for package in PACKAGES}


def fingerprint(histories: Histories) -> dict[str, Any]:
    """Sizes of the training data and a hash of its content."""
    digest = hashlib.sha256(histories.offsets.tobytes() + histories.items.tobytes()).hexdigest()
    return {
        "users": len(histories),
        "items": histories.n_items,
        "interactions": len(histories.items),
        "ordered": histories.ordered,
        "sha256": digest,
    }


def alarms(blocks: Blocks, validation: Validation) -> dict[str, Any]:
    """Signs of a collapsed generator, measured on up to 256 validation users.

    Args:
        blocks: the parts of stage one.
        validation: the users.

    Returns:
        `spread`: mean distance (1 - cosine) between the draws of one user; `unique_items`: share of the catalogue
        that the users' lists of ten hold; `overlap`: mean share of a list that two users have in common; `collapsed`:
        names of the alarms that are raised.
    """
    query = validation.query.take(np.arange(min(256, len(validation))))
    if not len(query.histories):
        return {"spread": 0.0, "unique_items": 0.0, "overlap": 0.0, "collapsed": []}
    with torch.no_grad():
        draws = blocks.generator.wanted(blocks.conditions(query.histories), torch.from_numpy(blocks.noise))
        draws = torch.nn.functional.normalize(draws, dim=-1)
        cosine = draws @ draws.transpose(1, 2)  # (B, S, D) x (B, D, S) -> (B, S, S)
    n_draws = draws.shape[1]
    spread = float(1.0 - (cosine.sum((1, 2)) - n_draws).mean() / max(1, n_draws * (n_draws - 1)))
    lists, _ = Ranker(blocks, None, 1).rank(query, 10)
    overlap = _overlap(lists)
    unique = len(np.unique(lists[lists >= 0])) / len(blocks.popularity)
    raised = {"draws are alike": n_draws > 1 and spread < 1e-4, "lists are alike": len(lists) > 1 and overlap > 0.9}
    return {
        "spread": spread,
        "unique_items": unique,
        "overlap": overlap,
        "collapsed": [name for name, alarm in raised.items() if alarm],
    }


def _overlap(lists: np.ndarray) -> float:
    if len(lists) < 2:
        return 0.0
    counts = np.bincount(lists[lists >= 0])
    pairs = len(lists) * (len(lists) - 1) * lists.shape[1]
    return float((counts * (counts - 1)).sum() / pairs)

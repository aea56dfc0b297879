"""Popularity bias: what lists show of the popular, the middling and the rare, and to whom, against what users chose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recgan import metrics as formulas
from recgan.errors import ConfigError
from recgan.evaluation import HISTORY, RECS, TRAIN, TRUTH, _board, _read
from recgan.foreign import as_frame
from recgan.metrics import RANKING, Floats, Ints
from recgan.schema import ITEM, USER
from recgan.tables import Source

PARTS = ("head", "middle", "tail")
"""Of the catalogue, from the popular items to the rare ones."""
GROUPS = ("niche", "mixed", "mainstream")
"""Of the users, from those whose history holds rare items to those whose history holds popular ones."""
EDGE = 0.2
"""Share of the interactions in the head and in the tail, and of the users in the first and the last group."""


def popularity_bias(
    recommendations: Source, train: Source, *, history: Source | None = None, truth: Source | None = None, k: int = 10
) -> pd.DataFrame:
    """Where recommendations go, head, middle or tail of the catalogue, for mainstream and for niche users.

    The head are the most popular items that together hold a fifth of the training interactions, the tail the least
    popular ones that hold a fifth, as in the metric `long_tail`. Users are niche (the fifth with the least mean log
    popularity in the history), mainstream (the fifth with the most) or mixed (Abdollahpouri et al. 2021).

    Args:
        recommendations: user_id, item_id and rank or score, as for `recgan.evaluate`.
        train: user_id, item_id: what popularity is counted in.
        history: user_id, item_id: what the users chose; None for their rows of `train`. Users without any are left out.
        truth: user_id, item_id: relevant items, for a column "ndcg@k"; None for none.
        k: places of a list that count, at least 1.

    Returns:
        A row for all users and one for every group that has users: group, users; history_head, history_middle,
        history_tail and lists_head, lists_middle, lists_tail (mean shares over the users, in [0, 1]); lift (mean
        popularity of the lists over that of the histories, less 1: Abdollahpouri et al. 2019); deviation (mean
        Jensen-Shannon divergence of the three shares, bits: their user popularity deviation); effective_items; gini
        (of how often every catalogue item is listed, 0 all alike, 1 one item alone); ndcg@k where there is a truth
        (NaN for a group without).

    Raises:
        ConfigError: for a bad k.
        DataError: when a table cannot be used.

    Example:
        >>> train = pd.DataFrame({"user_id": [1, 2, 3, 4, 5, 5], "item_id": [*["hit"] * 5, "rare"]})
        >>> lists = pd.DataFrame({"user_id": [1, 2], "item_id": ["rare", "rare"], "rank": [1, 1]})
        >>> popularity_bias(lists, train, k=1).loc[0, ["history_head", "lists_head", "lists_tail"]].tolist()
        [1.0, 0.0, 1.0]
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ConfigError(f"popularity_bias: k must be a whole number of at least 1, not {k!r}")
    recommendations, train = as_frame(recommendations), as_frame(train)  # what can be read once is read once
    past = _read(train if history is None else history, TRAIN if history is None else HISTORY, RECS).drop_duplicates(
        [USER, ITEM]
    )
    given = {RECS: recommendations, TRUTH: past, TRAIN: train}
    board = _board({"": ("long_tail", int(k))}, given)
    rows, items = board.row[board.users[TRUTH]], board.items[TRUTH]
    there = np.bincount(rows, minlength=len(board.lists)) > 0
    there &= (board.lists[:, :k] >= 0).any(axis=1) if board.lists.shape[1] else False
    place = np.where(there, np.cumsum(there) - 1, -1)[rows]
    values = None if truth is None else _ndcg(recommendations, truth, board.user_ids[there], int(k))
    return table(board.lists[there, :k], place[place >= 0], items[place >= 0], board.popularity, values, f"ndcg@{k}")


def _ndcg(recommendations: Source, truth: Source, users: pd.Series, k: int) -> Floats:
    """NDCG of these users, NaN for one without truth, (B,)."""
    board = _board({"": ("ndcg", k)}, {RECS: recommendations, TRUTH: truth})
    values = pd.Series(RANKING["ndcg"](board.hits, board.n_relevant, k), index=board.user_ids)
    return np.asarray(values.reindex(users).to_numpy(np.float64))


def table(
    lists: Ints, rows: Ints, items: Ints, popularity: Ints, values: Floats | None = None, name: str = ""
) -> pd.DataFrame:
    """The table of `popularity_bias` from numbers.

    Args:
        lists: item numbers of B lists, none of them empty, -1 behind the end, (B, K) int64.
        rows: list of every history item, (P,) int64; every list has one.
        items: the items of the histories, (P,) int64.
        popularity: training users who have each item, (N,) int64.
        values: a metric of every list, (B,), NaN where it is not defined; None for none.
        name: of the metric.
    """
    n, width = lists.shape
    part, (shown_rows, places) = parts(popularity), np.nonzero(lists >= 0)
    shown = lists[shown_rows, places]
    shares = {"history": _shares(rows, part[items], n), "lists": _shares(shown_rows, part[shown], n)}
    means = [_means(r, popularity[i], n) for r, i in ((rows, items), (shown_rows, shown))]
    apart = _divergence(*shares.values())
    group = groups(_means(rows, np.log1p(popularity[items]), n))
    found = []
    for label, chosen in (("all", group >= 0), *((name, group == number) for number, name in enumerate(GROUPS))):
        if not chosen.any():
            continue
        row: dict[str, Any] = {"group": label, "users": int(chosen.sum())}
        for what, of_users in shares.items():
            row |= {f"{what}_{one}": float(of_users[chosen, place].mean()) for place, one in enumerate(PARTS)}
        counts = np.bincount(shown[chosen[shown_rows]], minlength=len(popularity))
        row |= {"lift": _lift(means[0][chosen], means[1][chosen]), "deviation": float(apart[chosen].mean())}
        row |= {"effective_items": formulas.effective_items(lists[chosen], width), "gini": gini(counts)}
        if values is not None:
            row[name] = _defined_mean(values[chosen])
        found.append(row)
    return pd.DataFrame(found)


def _defined_mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else np.nan


def parts(popularity: Ints) -> Ints:
    """Where every item belongs: 0 head, 1 middle, 2 tail, (N,) int64; items that are equally popular go together.

    Example:
        >>> parts(np.array([1, 5, 5, 1])), parts(np.array([10, 5, 4, 1]))
        (array([2, 0, 0, 2]), array([0, 1, 1, 2]))
    """
    falling = np.sort(popularity)[::-1]
    taken = np.cumsum(falling) / max(1, falling.sum()) + 1e-9
    head, middle = (falling[min(int(np.searchsorted(taken, share)), len(falling) - 1)] for share in (EDGE, 1.0 - EDGE))
    return np.where(popularity >= head, 0, np.where(popularity >= middle, 1, 2))


def groups(mainstream: Floats) -> Ints:
    """The group of every user, (B,) int64: 0 the lowest fifth, 2 the highest, ties in the order of the users."""
    place = np.argsort(np.argsort(mainstream, kind="stable"), kind="stable")
    share = (place + 0.5) / max(1, len(mainstream))
    return np.where(share < EDGE, 0, np.where(share < 1.0 - EDGE, 1, 2))


def gini(counts: Ints) -> float:
    """Gini coefficient of N counts, in [0, 1): 0 where all are alike; 0 where nothing is counted.

    ``sum((2 i - N - 1) c_i) / (N sum(c))``, counts ascending, i from 1.

    Example:
        >>> gini(np.array([2, 2])), gini(np.array([0, 0, 0, 8]))
        (0.0, 0.75)
    """
    rising, n = np.sort(counts), len(counts)
    total = float(rising.sum())
    return float(((2.0 * np.arange(1, n + 1) - n - 1.0) * rising).sum() / (n * total)) if total else 0.0


def _shares(rows: Ints, part: Ints, n: int) -> Floats:
    """Share of each part among the items of every user, (B, 3)."""
    counts = np.bincount(rows * len(PARTS) + part, minlength=n * len(PARTS)).reshape(n, len(PARTS))
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _means(rows: Ints, values: Any, n: int) -> Floats:
    return np.asarray(np.bincount(rows, values, n) / np.maximum(np.bincount(rows, minlength=n), 1))


def _lift(past: Floats, now: Floats) -> float:
    return float(now.mean() / past.mean() - 1.0) if past.mean() > 0.0 else np.nan


def _divergence(p: Floats, q: Floats) -> Floats:
    """Jensen-Shannon divergence of rows of shares, bits in [0, 1], (B,)."""
    middle = np.where(p + q > 0.0, (p + q) / 2.0, 1.0)
    terms = [np.where(some > 0.0, some * np.log2(np.where(some > 0.0, some, 1.0) / middle), 0.0) for some in (p, q)]
    return np.asarray(np.clip((terms[0] + terms[1]).sum(axis=1) / 2.0, 0.0, 1.0))

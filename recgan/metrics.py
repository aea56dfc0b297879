"""Formulas of the metrics: arrays in, one number per user (or per set of lists) out; no frame, no model.

Arguments, the same in every function:
    hits: whether the item at each position is relevant, (B, K) bool, best first; False past the list's end.
    n_relevant: relevant items of each user, (B,) int64; taken by all ranking metrics, so that they are called alike.
    lists: item number at each position, (B, K) int64, best first; -1 past the list's end.
    k: positions that count, from 1; K may be smaller.
    catalogue: which item numbers belong to it, (N,) bool; listed items outside it do not count.
    popularity: training users who have each item, (N,) int64.
    categories: multi-hot categories of the items, (N, C), array or sparse; a row of zeros says "unknown".

Ranking metrics return (B,) float64 in [0, 1], without a unit; 0 for a user without relevant items. List metrics of one
user return (B,) float64, NaN where the list is empty or the metric is not defined for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def hit(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Whether any of the first k items is relevant, 0 or 1 (success@k in TREC's words).

    Example:
        >>> hit(np.array([[False, True], [False, False]]), np.array([1, 1]), k=2)
        array([1., 0.])
    """
    return np.asarray(hits[:, :k].any(axis=1), np.float64)


def precision(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Relevant items among the first k, divided by k, however short the list is (TREC's P@k).

    Example:
        >>> precision(np.array([[True, False, True, False]]), np.array([3]), k=4)
        array([0.5])
    """
    return np.asarray(hits[:, :k].sum(axis=1) / k, np.float64)


def recall(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Relevant items among the first k, divided by the number of relevant items (TREC's R@k).

    Example:
        >>> recall(np.array([[True, False, True, False]]), np.array([8]), k=4)
        array([0.25])
    """
    return np.asarray(hits[:, :k].sum(axis=1) / np.maximum(n_relevant, 1), np.float64)


def recall_capped(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Recall divided by min(k, n_relevant), so that a perfect list scores 1 (Liang et al. 2018, their Recall@R).

    Example:
        >>> recall_capped(np.array([[True, False, True, False]]), np.array([8]), k=4)
        array([0.5])
    """
    return np.asarray(hits[:, :k].sum(axis=1) / np.clip(n_relevant, 1, k), np.float64)


def ndcg(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Discounted gain of the list over that of the ideal list, binary gains (Järvelin and Kekäläinen 2002).

    ``sum(hits[p] / log2(p + 1)) / sum(1 / log2(p + 1) for p in 1..min(k, n_relevant))``, positions p from 1.

    Example:
        >>> ndcg(np.array([[True, False], [False, True]]), np.array([1, 1]), k=2).round(4)
        array([1.    , 0.6309])
    """
    gain = np.zeros(len(hits))
    for p in range(min(k, hits.shape[1])):  # column by column: no (B, K) floats
        gain += hits[:, p] / np.log2(p + 2)
    depth = min(k, int(n_relevant.max(initial=0)))
    ideal = np.concatenate([[np.inf], np.cumsum(1 / np.log2(np.arange(depth) + 2))])
    return np.asarray(gain / ideal[np.minimum(n_relevant, depth)], np.float64)


def average_precision(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Sum of the precision at each hit among the first k, over the number of relevant items (TREC's AP@k).

    Example:
        >>> average_precision(np.array([[True, False, True, False]]), np.array([2]), k=4).round(4)  # (1/1 + 2/3) / 2
        array([0.8333])
    """
    found, total = np.zeros(len(hits)), np.zeros(len(hits))
    for p in range(min(k, hits.shape[1])):
        found += hits[:, p]
        total += hits[:, p] * found / (p + 1)
    return total / np.maximum(n_relevant, 1)


def reciprocal_rank(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """One over the position of the first hit among the first k, 0 without one (Voorhees 1999; its mean is MRR).

    Example:
        >>> reciprocal_rank(np.array([[False, True, True], [False, False, False]]), np.array([2, 1]), k=3)
        array([0.5, 0. ])
    """
    if hits.shape[1] == 0:
        return np.zeros(len(hits))
    return np.asarray(hits[:, :k].any(axis=1) / (1 + hits[:, :k].argmax(axis=1)), np.float64)


RANKING: dict[str, Callable[[Bools, Ints, int], Floats]] = {
    "hit": hit,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "ndcg": ndcg,
    "precision": precision,
    "recall": recall,
    "recall_capped": recall_capped,
}


def coverage(lists: Ints, catalogue: Bools, k: int) -> float:
    """Share of the catalogue, in [0, 1], that stands in the first k of at least one list (Ge et al. 2010).

    Example:
        >>> coverage(np.array([[0, 1], [1, -1]]), np.ones(4, bool), k=2)
        0.5
    """
    shown = np.unique(_flat(lists, k)[1])
    return float(catalogue[shown].sum() / catalogue.sum())


def effective_items(lists: Ints, k: int) -> float:
    """How many items the lists use in effect: exp of the entropy of the recommendation counts (Hill 1973, order 1).

    A number of items: N when N items are recommended equally often, 1 when one item takes all places, 0 without lists.

    Example:
        >>> round(effective_items(np.array([[0, 1], [2, 3]]), k=2), 6)
        4.0
    """
    counts = np.unique(_flat(lists, k)[1], return_counts=True)[1]
    share = counts / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum())) if len(counts) else 0.0


def personalisation(lists: Ints, k: int) -> float:
    """One minus the mean overlap of the lists of two users, in [0, 1], over all pairs of users (Zhou et al. 2010).

    The overlap of lists A and B is ``|A & B| / sqrt(|A| |B|)``, for full lists ``|A & B| / k``. No pair is formed: let
    ``w[i]`` be the sum of ``1 / sqrt(|A|)`` over the lists A that hold item i; then the overlaps of all ordered pairs
    sum to ``sum(w ** 2) - B``. NaN for fewer than two lists; empty lists do not count.

    Example:
        >>> round(personalisation(np.array([[0, 1], [1, 2]]), k=2), 6)
        0.5
    """
    rows, items = _flat(lists, k)
    lengths = np.bincount(rows, minlength=len(lists))
    n_lists = int((lengths > 0).sum())
    if n_lists < 2:
        return float("nan")
    weights = np.bincount(items, weights=1 / np.sqrt(lengths[rows]))
    overlap = (weights @ weights - n_lists) / (n_lists * (n_lists - 1))
    return float(np.clip(1 - overlap, 0, 1))


def novelty(lists: Ints, popularity: Ints, n_users: int, k: int) -> Floats:
    """Mean over the list of ``-log2(share of the n_users training users who have the item)`` (Zhou et al. 2010).

    Bits, from 0 to log2(n_users); an item that nobody has counts like an item of one user.

    Example:
        >>> novelty(np.array([[0, 1], [0, -1]]), np.array([4, 1]), n_users=4, k=2)
        array([1., 0.])
    """
    return _mean_of(-np.log2(np.maximum(popularity, 1) / n_users), lists, k)


def long_tail(lists: Ints, popularity: Ints, k: int, head: float = 0.8) -> Floats:
    """Share of the listed items, in [0, 1], that lie outside the popular head (Abdollahpouri et al. 2019, APLT).

    The head: the most popular items that together hold the share ``head`` of the training interactions, and everything
    as popular as the last of them. Popularity bias is one minus this share.

    Example:
        >>> long_tail(np.array([[0, 1], [1, 2]]), np.array([8, 1, 1]), k=2)
        array([0.5, 1. ])
    """
    falling = np.sort(popularity)[::-1]
    last = int(np.argmax(np.cumsum(falling) >= head * falling.sum() - 1e-9))
    return _mean_of((popularity < falling[last]).astype(np.float64), lists, k)


def diversity(lists: Ints, categories: Any, k: int) -> Floats:
    """Mean of one minus the cosine of the categories, in [0, 1], over all pairs of listed items (Ziegler et al. 2005).

    Items without a category are left out; NaN for a list with fewer than two others.

    Example:
        >>> diversity(np.array([[0, 1], [0, 2]]), np.array([[1, 0], [1, 0], [0, 1]]), k=2)
        array([0., 1.])
    """
    unit = _scaled(categories, norm=2)
    rows, items = _flat(lists, k)
    known = np.diff(unit.indptr)[items] > 0
    n = np.bincount(rows[known], minlength=len(lists)).astype(np.float64)
    n[n < 2] = np.nan
    total = _summed(rows, items, unit, len(lists))
    likeness = (np.asarray(total.multiply(total).sum(axis=1)) - n) / (n * (n - 1))
    return np.clip(1 - likeness, 0, 1)


def category_profile(rows: Ints, items: Ints, categories: Any, n_rows: int) -> Any:
    """Distribution of the categories over each user's items; an item shares one vote equally among its categories.

    The pairs are ``rows``, (P,) user numbers below ``n_rows`` = B, and ``items``, (P,). Returns a sparse (B, C) float64
    matrix: a row sums to 1, or is empty where no item of the user has a category.

    Example:
        >>> category_profile(np.array([0, 0]), np.array([0, 1]), np.array([[1, 0], [1, 1]]), n_rows=1).toarray()
        array([[0.75, 0.25]])
    """
    return _scaled(_summed(rows, items, _scaled(categories, norm=1), n_rows), norm=1)


def calibration(lists: Ints, profile: Any, categories: Any, k: int, alpha: float = 0.01) -> Floats:
    """Smoothed KL divergence of the list's categories q from the history's p, 0 the best (Steck 2018).

    ``sum_c p(c) ln(p(c) / ((1 - alpha) q(c) + alpha p(c)))`` nats, from 0 to ln(1 / alpha). ``profile``, (B, C), is p
    as ``category_profile`` makes it; q is made likewise from the first k items. NaN where either has no category.

    Example:
        >>> calibration(np.array([[0], [1]]), np.eye(2), np.array([[1, 0], [1, 0]]), k=1).round(4)
        array([0.    , 4.6052])
    """
    p = _scaled(profile, norm=1)
    q = category_profile(*_flat(lists, k), categories, len(lists))
    gain = p.copy()
    gain.data = 1 / gain.data
    gain = gain.multiply(q).tocsr()  # q / p where both are positive
    gain.data = np.log1p(gain.data * (1 - alpha) / alpha)
    divergence = np.asarray(-np.log(alpha) - p.multiply(gain).sum(axis=1), np.float64)
    divergence[(np.diff(p.indptr) == 0) | (np.diff(q.indptr) == 0)] = np.nan
    return np.maximum(divergence, 0)


def mean_interval(values: Floats, n_resamples: int, seed: int) -> tuple[float, float]:
    """Ends of the 95 % percentile bootstrap interval of the mean of (B,) values (Efron and Tibshirani 1993).

    Example:
        >>> mean_interval(np.array([0.5, 0.5]), 99, seed=0)
        (0.5, 0.5)
    """
    from scipy.stats import bootstrap

    if values.min() == values.max():
        return float(values.mean()), float(values.mean())
    how: Any = {"batch": max(1, 2**22 // len(values)), "random_state": np.random.default_rng(seed)}
    found = bootstrap((values,), np.mean, n_resamples=n_resamples, method="percentile", vectorized=True, **how)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def sign_flip_p_value(values: Floats, n_resamples: int, seed: int) -> float:
    """Two-sided p-value of the sign-flip test of (B,) paired differences, exact where all flips fit (Fisher 1935).

    Example:
        >>> sign_flip_p_value(np.array([1.0, 2.0, 3.0]), 99, seed=0)  # 2 of 8 flips are as extreme
        0.25
    """
    from scipy.stats import monte_carlo_test, permutation_test

    moved = values[values != 0]  # flipping a zero changes nothing
    if len(moved) < 2:
        return 1.0
    how: Any = {"n_resamples": n_resamples, "batch": max(1, 2**22 // len(moved)), "vectorized": True}
    if len(moved) <= np.log2(n_resamples):
        return float(permutation_test((moved,), np.mean, permutation_type="samples", **how).pvalue)
    rng = np.random.default_rng(seed)
    sampled = monte_carlo_test(
        np.ones(len(moved)),
        lambda size: 2 * rng.integers(0, 2, size, dtype=np.int8) - 1,
        lambda signs, axis: signs @ moved,  # (R, B) x (B,) -> (R,)
        **how,
    )
    return float(sampled.pvalue)


def _flat(lists: Ints, k: int) -> tuple[Ints, Ints]:
    """User row and item number of every filled place among the first k, both (P,)."""
    rows, places = np.nonzero(lists[:, :k] >= 0)
    return rows, lists[rows, places]


def _mean_of(values: Floats, lists: Ints, k: int) -> Floats:
    """Mean over each list of a value per item; NaN for an empty list."""
    rows, items = _flat(lists, k)
    n = np.bincount(rows, minlength=len(lists)).astype(np.float64)
    n[n == 0] = np.nan
    return np.bincount(rows, weights=values[items], minlength=len(lists)) / n


def _scaled(matrix: Any, norm: int) -> Any:
    """Rows of a non-negative matrix divided by their norm, sparse, without stored zeros; empty rows stay empty."""
    from scipy.sparse import csr_array

    rows = csr_array(matrix, dtype=np.float64, copy=True)
    rows.eliminate_zeros()
    lengths = np.asarray(rows.power(norm).sum(axis=1)) ** (1 / norm)
    rows.data = rows.data / np.repeat(lengths, np.diff(rows.indptr))
    return rows


def _summed(rows: Ints, items: Ints, matrix: Any, n_rows: int) -> Any:
    """Sum of each user's rows of a sparse item matrix."""
    pairs = type(matrix)((np.ones(len(rows)), (rows, items)), shape=(n_rows, matrix.shape[0]))
    return pairs @ matrix  # (B, N) x (N, C) -> (B, C)

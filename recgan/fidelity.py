"""How near generated samples come to real ones, and whether condition and noise are used: arrays in, floats out.

Arguments, the same in every function:
    real, fake: a sample each, one vector a row, (n, D) and (m, D) floats.
    most: rows of each sample that are looked at, drawn at random, so that large samples cost no more than that many.
    seed: of everything random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MOST = 1500
SLATE_STATISTICS = ("spread", "likeness", "likeness_spread", "popularity", "popularity_spread")
"""Last columns of `slate_features`."""


def energy_distance(real: Floats, fake: Floats, *, most: int = MOST, seed: int = 0) -> float:
    """Energy distance ``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` (Szekely and Rizzo 2013), with Euclidean distances.

    The unbiased U-statistic: the distance itself is >= 0, and 0 for equal distributions only; its estimate scatters
    around that and may lie a little below 0. 0 for fewer than two rows.

    Example:
        >>> energy_distance(np.array([[0.0], [1.0]]), np.array([[4.0], [5.0]]))  # 2 * 4 - 1 - 1
        6.0
    """
    from scipy.spatial.distance import cdist

    return _two_sample(*_drawn((real, fake), most, seed), cdist)


def mmd(real: Floats, fake: Floats, *, most: int = MOST, seed: int = 0) -> float:
    """Squared maximum mean discrepancy (Gretton et al. 2012), the unbiased U-statistic, in [-1, 2].

    The kernel is Gaussian, ``exp(-|x - y|^2 / (2 h^2))``; h is the median distance between all rows of both samples.

    Example:
        >>> mmd(np.array([[0.0], [0.0]]), np.array([[9.0], [9.0]])) > 0.5
        True
    """
    from scipy.spatial.distance import cdist, pdist

    real, fake = _drawn((real, fake), most, seed)
    apart = pdist(np.concatenate([real, fake])[:: max(1, (len(real) + len(fake)) // 1000)], "sqeuclidean")
    width = float(np.median(apart)) if len(apart) else 0.0
    width = width or float(apart.mean() if len(apart) else 0.0) or 1.0
    return _two_sample(real, fake, lambda x, y: -np.exp(-0.5 * cdist(x, y, "sqeuclidean") / width))


def _two_sample(real: Floats, fake: Floats, distance: Any) -> float:
    """``2 E d(X, Y) - E d(X, X') - E d(Y, Y')`` without a row's distance to itself."""
    n, m = len(real), len(fake)
    if min(n, m) < 2:
        return 0.0
    within = [
        (apart.sum() - np.trace(apart)) / (len(rows) * (len(rows) - 1))
        for rows in (real, fake)
        for apart in [distance(rows, rows)]
    ]
    return float(2.0 * distance(real, fake).mean() - sum(within))


def classifier_two_sample(
    real: Floats, fake: Floats, seed: int = 0, *, most: int = MOST, folds: int = 5
) -> dict[str, float]:
    """Classifier two-sample test (Lopez-Paz and Oquab 2017): how well a fresh classifier tells real from generated.

    A logistic regression on the values, their squares and random features of a Gaussian kernel, so it sees a shift, a
    spread and dependence; every row is judged by a classifier that has not seen it. Pass `slate_features`, or sets of
    vectors (n, M, D), whose statistics it then sees: mean, spread and pairwise similarity.

    Returns:
        "accuracy" (.5: no difference; both samples count alike) and "auc" (.5 likewise); .5 for fewer rows than folds.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((200, 2))
        >>> classifier_two_sample(x, x + 5)["auc"]
        1.0
    """
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    real, fake = _drawn([set_statistics(rows) if rows.ndim == 3 else rows for rows in (real, fake)], most, seed)
    if min(len(real), len(fake)) < folds:
        return {"accuracy": 0.5, "auc": 0.5}
    label = np.repeat([1, 0], [len(real), len(fake)])
    score = out_of_fold(np.concatenate([real, fake]), label, seed, folds)
    return {
        "accuracy": float(balanced_accuracy_score(label, score > 0.5)),
        "auc": float(roc_auc_score(label, score)),
    }


def out_of_fold(rows: Floats, label: Ints, seed: int = 0, folds: int = 5) -> Floats:
    """Probability that a row has label 1, (n,), each from a classifier that was fitted without it."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    kernel = Nystroem(gamma=1.0 / rows.shape[1], n_components=min(100, len(rows) // 2), random_state=seed)
    seen = make_union(FunctionTransformer(), FunctionTransformer(np.square), kernel)
    classifier = LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    model = make_pipeline(StandardScaler(), seen, StandardScaler(), classifier)
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return np.asarray(cross_val_predict(model, rows, label, cv=cut, method="predict_proba")[:, 1], np.float64)


def density_coverage(
    real: Floats, fake: Floats, k: int = 5, *, distinct: bool = False, most: int = MOST, seed: int = 0
) -> dict[str, float]:
    """Density and coverage (Naeem et al., ICML 2020): fidelity and diversity by k-nearest-neighbour balls.

    Around every real row lies a ball that reaches to its k-th nearest other real row. Density: in how many balls a
    generated row lies, over k; it may exceed 1. Coverage: share of the balls that hold a generated row, in [0, 1].
    Equal distributions have density 1 and coverage near ``1 - 2 ** -k``.

    Args:
        real: real rows.
        fake: generated rows.
        k: neighbours, from 1.
        distinct: count equal rows once, for vectors that were snapped to items and would have balls of radius 0.
        most: rows looked at.
        seed: of their draw.

    Example:
        >>> density_coverage(np.array([[0.0], [1.0], [9.0]]), np.array([[0.5]]), k=1)["coverage"] > 0.5
        True
    """
    if distinct:
        real, fake = np.unique(real, axis=0), np.unique(fake, axis=0)
    real, fake = _drawn((real, fake), most, seed)
    inside, k = ball_members(real, fake, k)
    return {"density": float(inside.sum(axis=0).mean() / k), "coverage": float(inside.any(axis=1).mean())}


def ball_members(real: Floats, fake: Floats, k: int) -> tuple[npt.NDArray[np.bool_], int]:
    """Which generated rows lie in the ball of each real row, (n, m) bool, and k, smaller where rows are few."""
    from scipy.spatial.distance import cdist

    if not len(real) or not len(fake):
        return np.zeros((max(1, len(real)), max(1, len(fake))), bool), k
    k = max(1, min(k, len(real) - 1))
    apart = cdist(real, real)
    radius = np.partition(apart, min(k, len(real) - 1), axis=1)[:, min(k, len(real) - 1)]
    return cdist(real, fake) <= radius[:, None] * (1.0 + 1e-9), k


def slate_features(slates: Ints, vectors: Floats, popularity: Floats) -> Floats:
    """A slate of items as one row: what it holds on average, how far it spreads, how popular it is.

    Args:
        slates: item numbers, (B, M) int64, at least one a row; -1 behind the end of a short one.
        vectors: of the items, (N, D) floats.
        popularity: of the items, (N,) floats, for example the log of their interactions.

    Returns:
        (B, D + 5) float64: the mean vector and the columns of `SLATE_STATISTICS`: mean squared distance to the mean,
        mean and deviation of the cosines of all pairs, mean and deviation of the popularity.

    Example:
        >>> slate_features(np.array([[0, 1]]), np.eye(2), np.array([1.0, 3.0])).tolist()
        [[0.5, 0.5, 0.5, 0.0, 0.0, 2.0, 1.0]]
    """
    there = slates >= 0
    safe = np.where(there, slates, 0)
    liked = np.asarray(popularity, np.float64)[safe]
    count = np.maximum(there.sum(axis=1), 1)
    mean = np.where(there, liked, 0.0).sum(axis=1) / count
    spread = np.sqrt(np.where(there, (liked - mean[:, None]) ** 2, 0.0).sum(axis=1) / count)
    return np.column_stack([set_statistics(vectors[safe], there), mean, spread])


def set_statistics(sets: Floats, present: npt.NDArray[np.bool_] | None = None) -> Floats:
    """Sets of vectors (B, M, D), with a mask (B, M) of those that count, as rows (B, D + 3): mean, spread, likeness."""
    sets = np.asarray(sets, np.float64)
    there = np.ones(sets.shape[:2]) if present is None else present.astype(np.float64)
    count = np.maximum(there.sum(axis=1), 1.0)
    mean = np.einsum("bmd,bm->bd", sets, there) / count[:, None]
    spread = (((sets - mean[:, None]) ** 2).sum(axis=2) * there).sum(axis=1) / count
    unit = sets / np.maximum(np.linalg.norm(sets, axis=2, keepdims=True), 1e-12)
    pairs = there[:, :, None] * there[:, None] * (1.0 - np.eye(sets.shape[1]))
    cosine, total = unit @ unit.transpose(0, 2, 1), np.maximum(pairs.sum(axis=(1, 2)), 1.0)
    likeness = (cosine * pairs).sum(axis=(1, 2)) / total
    variance = ((cosine - likeness[:, None, None]) ** 2 * pairs).sum(axis=(1, 2)) / total
    return np.column_stack([mean, spread, likeness, np.sqrt(variance)])


def standardised(real: Floats, *others: Floats) -> list[Floats]:
    """All samples in units of the real one: its mean becomes 0 and its deviation 1, column by column."""
    mean, deviation = real.mean(axis=0), real.std(axis=0)
    return [(rows - mean) / np.where(deviation > 1e-12, deviation, 1.0) for rows in (real, *others)]


def condition_gap(scores: Floats, users: Ints, items: Ints, seed: int = 0, *, likelihood: bool = True) -> float:
    """How much worse held-out items fare when users are given each other's conditions; 0: the condition is ignored.

    Args:
        scores: logits of all items for B users, (B, N) floats.
        users: row of each held-out pair, (P,) int64.
        items: item of each held-out pair, (P,) int64.
        seed: of the exchange, in which nobody keeps the own condition.
        likelihood: compare log-likelihoods under the softmax, in nats an item; False compares the scores themselves.

    Returns:
        Mean over the users of the mean over their items, own minus exchanged; 0 for a single user.

    Example:
        >>> round(condition_gap(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([0, 1]), np.array([0, 1])), 6)
        2.0
    """
    gaps = condition_gaps(scores, users, items, seed, likelihood=likelihood)
    return float(np.nanmean(gaps)) if np.isfinite(gaps).any() else 0.0


def condition_gaps(scores: Floats, users: Ints, items: Ints, seed: int = 0, *, likelihood: bool = True) -> Floats:
    """The gap of every user, (B,) float64, NaN without held-out items; arguments as in `condition_gap`."""
    scores = np.asarray(scores, np.float64)
    if likelihood:
        highest = scores.max(axis=1, keepdims=True)
        scores = scores - highest - np.log(np.exp(scores - highest).sum(axis=1, keepdims=True))
    order = np.random.default_rng(seed).permutation(len(scores))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    gained = scores[users, items] - scores[other[users], items]
    count = np.bincount(users, minlength=len(scores)).astype(np.float64)
    count[count == 0] = np.nan
    return np.bincount(users, weights=gained, minlength=len(scores)) / count


def noise_sensitivity(draws: Floats, vectors: Floats | None = None, k: int = 10) -> dict[str, float]:
    """How much the noise changes of what is wanted for a user; 0: it is ignored.

    Args:
        draws: wanted vectors of B users under S draws of the noise, (B, S, D) floats.
        vectors: of the items, (N, D) floats; None leaves the lists out.
        k: length of the lists.

    Returns:
        "cosine": mean over users and pairs of draws of 1 - cosine, in [0, 2]; "jaccard": mean Jaccard distance of the
        draws' k nearest items by inner product, in [0, 1], only where the item vectors are given.

    Example:
        >>> noise_sensitivity(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.eye(2), k=1)
        {'cosine': 1.0, 'jaccard': 1.0}
    """
    cosine, jaccard = noise_sensitivities(draws, vectors, k)
    found = {"cosine": float(cosine.mean()) if len(cosine) else 0.0}
    if vectors is not None:
        found["jaccard"] = float(jaccard.mean()) if len(jaccard) else 0.0
    return found


def spread(draws: Floats) -> Floats:
    """How far the draws of each user lie apart: mean 1 - cosine over all pairs of them.

    Args:
        draws: unit wanted vectors, (B, S, D) floats.

    Returns:
        (B,) float64, in [0, 2]; 0 for a single draw.

    Example:
        >>> spread(np.array([[[1.0, 0.0], [0.0, 1.0]]]))
        array([1.])
    """
    n_draws = draws.shape[1]
    if n_draws < 2:
        return np.zeros(len(draws))
    square = np.square(draws.sum(axis=1, dtype=np.float64)).sum(axis=1)  # n + sum of the cosines of all pairs
    return np.asarray(np.maximum(1.0 - (square - n_draws) / (n_draws * (n_draws - 1)), 0.0))


def noise_sensitivities(draws: Floats, vectors: Floats | None = None, k: int = 10) -> tuple[Floats, Floats]:
    """Both distances of every user, (B,) float64 each; arguments as in `noise_sensitivity`."""
    draws = np.asarray(draws, np.float64)
    cosine = spread(draws / np.maximum(np.linalg.norm(draws, axis=2, keepdims=True), 1e-12))
    first, second = np.triu_indices(draws.shape[1], 1)
    if vectors is None or not len(first):
        return cosine, np.zeros(len(draws))
    k = min(k, len(vectors))
    top = np.stack([np.argpartition(-(some @ vectors.T), k - 1, axis=1)[:, :k] for some in draws])  # (B, S, k)
    common = (top[:, first, :, None] == top[:, second, None]).sum(axis=(2, 3))
    return cosine, (1.0 - common / (2 * top.shape[2] - common)).mean(axis=1)


def _drawn(samples: Sequence[Floats], most: int, seed: int) -> tuple[Floats, Floats]:
    """Two samples as float64, at most `most` rows of each, in their order."""
    random = np.random.default_rng(seed)
    real, fake = (np.asarray(rows, np.float64) for rows in samples)
    real, fake = (
        rows if len(rows) <= most else rows[np.sort(random.choice(len(rows), most, replace=False))]
        for rows in (real, fake)
    )
    return real, fake

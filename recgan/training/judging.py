"""The discriminator as second stage: fitted on the validation users, judged on folds that it has not seen."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recgan.losses import listwise_loss
from recgan.networks import Discriminator
from recgan.ranking import ABSENT, Judge, Weights
from recgan.training.validation import Proposals, Validation

FOLDS = 5
STEPS = 150
WEIGHT_DECAY = 3.0
FEWEST_USERS = 50
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Cases:
    """Proposals of stage one with everything that the discriminator reads.

    Args:
        numbers: item numbers, (V, K) int64, -1 behind the end.
        relevance: of stage one, (V, K) float32.
        features: (V, K, F) float32.
        positive: which were held out, (V, K) bool.
    """

    numbers: np.ndarray
    relevance: Tensor
    features: Tensor
    positive: Tensor

    @property
    def present(self) -> Tensor:
        """Which proposals exist, (V, K) bool."""
        return torch.from_numpy(self.numbers != ABSENT)

    def take(self, rows: np.ndarray) -> Cases:
        """Some of the users."""
        index = torch.from_numpy(rows)
        tensors = (self.relevance, self.features, self.positive)
        return Cases(self.numbers[rows], *(tensor[index] for tensor in tensors))


def gather(judge: Judge, proposals: Proposals, weights: Weights, validation: Validation, k: int) -> Cases:
    """The k best proposals of stage one for every validation user, with their features.

    Args:
        judge: whose features are read.
        proposals: of stage one.
        weights: of its blocks.
        validation: the users.
        k: proposals a user, K.

    Returns:
        The cases, in the order of the validation users.
    """
    mixed = proposals.mixed(weights)
    order = np.lexsort((proposals.numbers, -mixed), axis=1)[:, :k]
    numbers, relevance = np.take_along_axis(proposals.numbers, order, 1), np.take_along_axis(mixed, order, 1)
    present = numbers != ABSENT
    safe, relevance = np.where(present, numbers, 0), np.where(present, relevance, 0.0).astype(np.float32)
    parts = np.array_split(np.arange(len(validation)), -(-len(validation) // 256))
    features = [
        judge.features(validation.query.take(rows), safe[rows], present[rows], relevance[rows]) for rows in parts
    ]
    return Cases(
        numbers=numbers,
        relevance=torch.from_numpy(relevance),
        features=torch.from_numpy(np.concatenate(features)),
        positive=torch.from_numpy(validation.hits(numbers)),
    )


def fit_head(discriminator: Discriminator, cases: Cases, seed: int) -> Discriminator:
    """A copy of the discriminator whose feature head corrects the relevance listwise.

    Args:
        discriminator: a new one, or any other.
        cases: whom to learn from.
        seed: of the order.

    Returns:
        The fitted copy, in evaluation mode; its head is as it was where no proposal is real.
    """
    judge = copy.deepcopy(discriminator).train().requires_grad_(False)
    judge.head.requires_grad_(True)
    shown = cases.features[cases.present]
    if len(shown):
        judge.center.copy_(shown.mean(0))
        judge.spread.copy_(shown.std(0, correction=0).clamp(min=1e-3))
    scale = torch.ones((), requires_grad=True)
    optimizer = torch.optim.AdamW([*judge.head.parameters(), scale], lr=5e-3, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    useful = np.flatnonzero(cases.positive.any(1).numpy())
    random = np.random.default_rng(seed)
    for _ in range(STEPS if len(useful) else 0):
        part = cases.take(random.permutation(useful)[:256])
        logits = scale * (part.relevance + judge(part.features))
        loss = listwise_loss(logits, part.positive, part.present)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return judge.eval().requires_grad_(False)


def corrections(discriminator: Discriminator, cases: Cases) -> np.ndarray:
    """What the discriminator adds to the relevance, (V, K) float32."""
    with torch.no_grad():
        return np.asarray(discriminator(cases.features).numpy())


def fit_judge(
    discriminator: Discriminator, cases: Cases, validation: Validation, seed: int
) -> tuple[Discriminator, float, float, float]:
    """Fit the second stage and choose its weight on users that it has not learned from; with a clock, on later ones.

    The best mean of the relative gains is taken in lists as long as the metric looks at and in longer ones, among the
    weights that cost nothing in either.

    Args:
        discriminator: a new one.
        cases: proposals for the validation users.
        validation: the users.
        seed: of folds and training.

    Returns:
        The discriminator fitted on all users, its weight (0 where it does not pay), and the validation metric without
        it and with it at that weight, the latter out of fold.
    """
    added = np.zeros(cases.relevance.shape, np.float32)
    judged = np.arange(len(cases.numbers))
    if len(judged) >= FEWEST_USERS:
        parts = folds(validation, seed)
        for fold, others in parts:
            added[fold] = corrections(fit_head(discriminator, cases.take(others), seed), cases.take(fold))
        judged = np.concatenate([fold for fold, _ in parts])
    relevance = np.where(cases.numbers == ABSENT, -np.inf, cases.relevance.numpy())

    lengths = validation, validation.longer()

    def values(weight: float) -> np.ndarray:
        order = np.lexsort((cases.numbers, -(relevance + weight * added)), axis=1)
        hits = np.take_along_axis(cases.positive.numpy(), order, 1)
        return np.stack([lists.values_of(hits) for lists in lengths])

    tried = {weight: values(weight) for weight in WEIGHTS}  # (2, V) each
    before = tried[0.0][:, judged].mean(axis=1)

    def gain(weight: float) -> float:
        after = tried[weight][:, judged].mean(axis=1)
        return float((after / np.maximum(before, 1e-9)).mean()) if (after >= before).all() else 0.0

    best = max(WEIGHTS, key=gain)
    return fit_head(discriminator, cases, seed), best, float(tried[0.0][0].mean()), float(tried[best][0].mean())


def folds(validation: Validation, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Users who are judged, and users who are learned from: all others, or with a clock those who were asked before."""
    users = np.random.default_rng(seed).permutation(len(validation))
    truth = validation.truth
    if not (truth.clock and len(truth.items)):
        return [(fold, np.setdiff1d(users, fold)) for fold in np.array_split(users, FOLDS)]
    asked = np.where(
        truth.lengths > 0, np.asarray(truth.times)[np.minimum(truth.offsets[:-1], len(truth.items) - 1)], np.inf
    )
    parts = np.array_split(users[np.argsort(asked[users], kind="stable")], FOLDS)
    return [(parts[place], np.concatenate(parts[:place])) for place in range(1, FOLDS)]

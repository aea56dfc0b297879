"""The rows of the table about the adversary, each with a value of every user, so that two variants can be paired.

A row that is no mean over users (a distance between samples, the share of the catalogue) is told apart by users with
the jackknife: the pseudo-value ``n T - (n - 1) T_without_u`` (Tukey 1958), whose mean is T up to its bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.distance import cdist
from tested import likeness

from recgan import fidelity, metrics
from recgan import moods as taste
from recgan.config import Config
from recgan.networks import Generator
from recgan.ranking import ABSENT, Blocks, Ranker, top_items
from recgan.training.batches import alike
from recgan.training.validation import Validation

ROWS = {
    "slates_energy": ("energy distance, slates", -1),
    "slates_c2st": ("AUC of C2ST, slates", -1),
    "slates_likelihood": ("nats an item, slates", 1),
    "items_energy": ("energy distance, items", -1),
    "items_c2st": ("AUC of C2ST, items", -1),
    "items_coverage": ("coverage, items", 1),
    "calibration": ("calibration of popularity", -1),
    "catalogue": ("catalogue coverage", 1),
    "noise_jaccard": ("z: lists differ", 1),
    "mood_inside": ("likeness inside a mood", 1),
    "mood_between": ("likeness between moods", -1),
    "mood_items": ("held-out items, four moods", 1),
}
"""The tests: what is compared, and whether more of it is better; written down before any run, and nothing else is."""
TOLD = {"slates_likeness": "likeness inside a slate"}
"""Shown beside them without a test."""
USERS, DRAWS, NEAREST, GROUPS = 300, 2, 1, 10
MOOD_USERS, MOOD_DRAWS, MOODS, MOOD_ITEMS = 150, 64, 4, 5
Floats = np.ndarray
Row = tuple[float, Floats]


@dataclass(frozen=True)
class Sample:
    """Whom everything is measured on, and in which space; the same for all variants of a seed.

    Args:
        validation: B users with held-out items.
        real: held-out items of each that are alike, (B, M) int64, -1 behind the end.
        space: centred item vectors, which no game moves, (N, D) float64.
        groups: popularity group of each item, one-hot, (N, G).
        blocks: stage one before the game, with the weights of the generator alone.
        seed: of draws and exchanges.
    """

    validation: Validation
    real: np.ndarray
    space: Floats
    groups: Floats
    blocks: Blocks
    seed: int

    @classmethod
    def of(cls, blocks: Blocks, validation: Validation, counts: np.ndarray, seed: int) -> Sample:
        """Up to 300 users, those with several held-out items first."""
        random, size = np.random.default_rng([seed, 3]), Config().slate_size
        order = random.permutation(len(validation))
        lengths = validation.truth.lengths[order]
        chosen = np.sort(order[np.argsort(-np.minimum(lengths, size), kind="stable")][:USERS])
        some = validation.take(chosen[validation.truth.lengths[chosen] > 0])
        everything = np.ones(len(some.truth.items), bool)
        truth = some.truth.part(alike(some.truth, everything, blocks.space, size, random))
        numbers, there = truth.window(np.arange(len(truth)), size)
        share = (np.cumsum(np.sort(counts)[::-1]) - 1e-9) / max(1, counts.sum())
        place = np.empty(len(counts), np.int64)
        place[np.argsort(-counts, kind="stable")] = np.minimum((share * GROUPS).astype(np.int64), GROUPS - 1)
        space = blocks.generator.centred_vectors().numpy().astype(np.float64)
        return cls(some, np.where(there, numbers, ABSENT), space, np.eye(GROUPS)[place], blocks, seed)

    def drawn(self, generator: Generator, temperature: float) -> np.ndarray:
        """Slates as long as the real ones, (S, B, M) int64: one draw of z each, distinct items by Gumbel noise."""
        random = np.random.default_rng([self.seed, 4])
        query, slates = self.validation.query, []
        with torch.no_grad():
            condition = replace(self.blocks, generator=generator).conditions(query.histories)
            for _ in range(DRAWS):
                noise = torch.from_numpy(random.standard_normal((len(condition), 1, generator.noise_dim), np.float32))
                logits = (generator.wanted(condition, noise)[:, 0] @ generator.item_vectors().T).numpy()
                logits += self.blocks.weights.popularity * self.blocks.popularity
                luck = -np.log(random.standard_exponential(logits.shape, np.float32) + 1e-30)
                slates.append(top_items(query.mask(logits / np.float32(temperature) + luck), self.real.shape[1])[0])
        return np.where(self.real[None] == ABSENT, ABSENT, np.stack(slates))


def rows(sample: Sample, generator: Generator, temperature: float) -> dict[str, Row]:
    """Every row as (value, values of the users (B,), NaN where there is none)."""
    slates = sample.drawn(generator, temperature)
    found = (
        of_items(sample, slates) | of_slates(sample, slates) | of_use(sample, generator) | of_moods(sample, generator)
    )
    histories = sample.validation.query.histories
    profile = metrics.category_profile(histories.rows, histories.items, sample.groups, len(histories))
    drift = [metrics.calibration(one, profile, sample.groups, slates.shape[2]) for one in slates]
    drift = np.mean(drift, axis=0)
    found["calibration"] = (float(np.nanmean(drift)), drift)
    found["catalogue"] = catalogue(slates.transpose(1, 0, 2).reshape(-1, DRAWS * slates.shape[2]), len(sample.space))
    return found


def of_items(sample: Sample, slates: np.ndarray) -> dict[str, Row]:
    """Held-out against generated items, one vector each, by user."""
    real_user, place = np.nonzero(sample.real != ABSENT)
    draw, fake_user, spot = np.nonzero(slates != ABSENT)
    real, fake = sample.space[sample.real[real_user, place]], sample.space[slates[draw, fake_user, spot]]
    n = len(sample.real)
    distinct = np.unique(real, axis=0)
    inside, _ = fidelity.ball_members(distinct, fake, NEAREST)
    which = cdist(real, distinct).argmin(axis=1)
    covered = per_user(inside.any(axis=1)[which].astype(np.float64), real_user, n)
    return {
        "items_energy": energy(real, fake, real_user, fake_user, n),
        "items_c2st": told_apart(real, fake, real_user, fake_user, n, sample.seed),
        "items_coverage": (float(np.nanmean(covered)), covered),
    }


def of_slates(sample: Sample, slates: np.ndarray) -> dict[str, Row]:
    """Real against generated slates of two items and more; nothing where hardly anybody has one."""
    able = np.flatnonzero((sample.real != ABSENT).sum(axis=1) >= 2)
    if len(able) < 50:
        return {}
    made = slates[:, able].reshape(-1, slates.shape[2])
    user = np.tile(np.arange(len(able)), len(slates))
    liked = np.asarray(sample.blocks.popularity, np.float64)
    features = [fidelity.slate_features(one, sample.space, liked) for one in (sample.real[able], made)]
    real, fake = fidelity.standardised(*features)
    own, n = np.arange(len(able)), len(able)
    whole = [one for one in made if (one != ABSENT).all()]
    close = likeness(sample.space, np.array(whole)) if whole else np.full(1, np.nan)
    return {
        "slates_energy": energy(real, fake, own, user, n),
        "slates_c2st": told_apart(real, fake, own, user, n, sample.seed),
        "slates_likeness": (float(np.nanmean(close)), close),
    }


def of_use(sample: Sample, generator: Generator) -> dict[str, Row]:
    """Whether the noise is used, and what it explains: the real slates under the mixture of draws."""
    query, vectors = sample.validation.query, generator.item_vectors()
    random = np.random.default_rng([sample.seed, 5])
    noise = torch.from_numpy(random.standard_normal((MOOD_DRAWS, generator.noise_dim), np.float32))
    gained = np.full(len(sample.real), np.nan)
    with torch.no_grad():
        condition = replace(sample.blocks, generator=generator).conditions(query.histories)
        draws = generator.wanted(condition, torch.from_numpy(sample.blocks.noise[:4])).numpy()
        for user in np.flatnonzero((sample.real != ABSENT).sum(axis=1) >= 2):
            items = sample.real[user][sample.real[user] != ABSENT]
            single = (generator.wanted(condition[user]) @ vectors.T).log_softmax(-1)[items].sum()
            mixed = (generator.wanted(condition[user], noise) @ vectors.T).log_softmax(-1)[:, items].sum(1)
            gained[user] = float(mixed.logsumexp(0) - np.log(len(mixed)) - single) / len(items)
    parts = np.array_split(np.arange(len(draws)), -(-len(draws) // 50))
    table = vectors.numpy().astype(np.float64)
    lists = np.concatenate([fidelity.noise_sensitivities(draws[part], table)[1] for part in parts])
    found = {"slates_likelihood": gained, "noise_jaccard": lists}
    return {name: (float(np.nanmean(some)), some) for name, some in found.items() if np.isfinite(some).any()}


def of_moods(sample: Sample, generator: Generator) -> dict[str, Row]:
    """Likeness inside and between the moods that are shown to some users, and held-out items in them."""
    ranker = Ranker(replace(sample.blocks, generator=generator), None, Config().n_candidates)
    truth, n = sample.validation.truth, len(sample.validation)
    found = {name: np.full(n, np.nan) for name in ("mood_inside", "mood_between", "mood_items")}
    for user in range(min(n, MOOD_USERS)):
        query = sample.validation.query.take(np.array([user]))
        moods = taste.find_moods(ranker, query, MOOD_ITEMS, MOODS, MOOD_DRAWS, 0)
        lists = [mood.numbers for mood in moods if len(mood.numbers) == MOOD_ITEMS]
        if len(lists) < 2:
            continue
        middles = sample.space[np.stack(lists)].mean(axis=1)
        found["mood_inside"][user] = likeness(sample.space, np.stack(lists)).mean()
        found["mood_between"][user] = (middles @ middles.T)[~np.eye(len(middles), dtype=bool)].mean()
        found["mood_items"][user] = np.isin(truth.of(user), np.concatenate(lists)).mean()
    return {name: (float(np.nanmean(some)), some) for name, some in found.items() if np.isfinite(some).any()}


def per_user(values: Floats, users: np.ndarray, n: int) -> Floats:
    """Mean of each user's values, (n,), NaN without any."""
    count = np.bincount(users, minlength=n).astype(np.float64)
    count[count == 0] = np.nan
    return np.bincount(users, weights=values, minlength=n) / count


def energy(real: Floats, fake: Floats, real_user: np.ndarray, fake_user: np.ndarray, n: int) -> Row:
    """Energy distance as in `fidelity`, with its pseudo-values."""
    r, f = np.bincount(real_user, minlength=n), np.bincount(fake_user, minlength=n)
    cross = by_users(cdist(real, fake), real_user, fake_user, n)
    within = [by_users(cdist(one, one), user, user, n) for one, user in ((real, real_user), (fake, fake_user))]

    def value(left: Floats, out: Floats) -> Floats:
        """The distance of what is left: sums of the distances, and how many rows of each sample are gone."""
        a, b = len(real) - out[0], len(fake) - out[1]
        return 2 * left[0] / (a * b) - left[1] / (a * (a - 1)) - left[2] / (b * (b - 1))

    tables = (cross, *within)
    whole = float(value(np.array([table.sum() for table in tables]), np.zeros(2)))
    less = np.stack([without(table) for table in tables])
    return whole, n * whole - (n - 1) * value(less, np.stack([r, f]).astype(np.float64))


def told_apart(real: Floats, fake: Floats, real_user: np.ndarray, fake_user: np.ndarray, n: int, seed: int) -> Row:
    """AUC of the classifier two-sample test as in `fidelity`, with its pseudo-values at fixed out-of-fold scores."""
    label = np.repeat([1, 0], [len(real), len(fake)])
    score = fidelity.out_of_fold(np.concatenate([real, fake]), label, seed)
    yes, no = score[: len(real), None], score[None, len(real) :]
    wins = by_users((yes > no) + 0.5 * (yes == no), real_user, fake_user, n)
    r, f = (np.bincount(user, minlength=n) for user in (real_user, fake_user))
    whole = float(wins.sum() / (len(real) * len(fake)))
    return whole, n * whole - (n - 1) * without(wins) / ((len(real) - r) * (len(fake) - f))


def by_users(table: Floats, rows_of: np.ndarray, columns_of: np.ndarray, n: int) -> Floats:
    """Sums of a table over the rows and columns of each pair of users, (n, n)."""
    first = np.zeros((n, table.shape[1]))
    np.add.at(first, rows_of, table)
    both = np.zeros((n, n))
    np.add.at(both.T, columns_of, first.T)
    return both


def without(table: Floats) -> Floats:
    """Sum of a table (n, n) without each user's row and column, (n,)."""
    return np.asarray(table.sum() - table.sum(axis=0) - table.sum(axis=1) + np.diag(table))


def catalogue(lists: np.ndarray, n_items: int) -> Row:
    """Share of the catalogue that stands in the lists of B users, with its pseudo-values."""
    user, place = np.nonzero(lists != ABSENT)
    pairs = np.unique(np.column_stack([user, lists[user, place]]), axis=0)
    owners = np.bincount(pairs[:, 1], minlength=n_items)
    whole, n = float((owners > 0).sum() / n_items), len(lists)
    alone = np.bincount(pairs[:, 0], weights=owners[pairs[:, 1]] == 1, minlength=n) / n_items
    return whole, n * whole - (n - 1) * (whole - alone)

"""What the game does to realism, measured while it is played: generated against real slates of held-out items."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from recgan import fidelity
from recgan.config import Config
from recgan.networks import Discriminator, Generator
from recgan.ranking import ABSENT, CELLS, Blocks, top_items
from recgan.training.batches import alike
from recgan.training.scoring import WHOLE
from recgan.training.validation import Validation

MOST_USERS = 256
TIMES, APART = 4, 20
"""Most epochs of a game in which it is measured, the last one among them, and so many steps for each: the classifiers
are fitted afresh every time."""
NOISE_USERS, NOISE_DRAWS = 64, 4
DOTS = 60
"""Points of the picture, real and generated ones each."""
Values = dict[str, float]


@dataclass(frozen=True)
class Cases:
    """Slates of held-out items of some users, and everything random that makes the generated ones.

    Args:
        validation: the B users, each with a held-out item at least.
        real: held-out items that are alike, (B, M) int64, -1 behind the end.
        noise: one draw a user, (B, 1, Z) float32.
        luck: Gumbel noise, (B, N) float32.
        space: centred item vectors in which real and generated slates are compared, (N, D), float64 for few items.
        popularity: of the items, (N,) float64.
    """

    validation: Validation
    real: np.ndarray
    noise: np.ndarray
    luck: np.ndarray
    space: np.ndarray
    popularity: np.ndarray

    @classmethod
    def of(cls, blocks: Blocks, validation: Validation, slate_size: int, seed: int) -> Cases:
        """Up to 256 users, fewer for large catalogues, those with several held-out items first."""
        random = np.random.default_rng([seed, 2])
        n_items = validation.truth.n_items
        able = random.permutation(np.flatnonzero(validation.truth.lengths))
        able = able[np.argsort(-np.minimum(validation.truth.lengths[able], slate_size), kind="stable")]
        some = validation.take(np.sort(able[: min(MOST_USERS, max(2, CELLS // 4 // n_items))]))
        everything = np.ones(len(some.truth.items), bool)
        slates = some.truth.part(alike(some.truth, everything, blocks.space, slate_size, random))
        numbers, there = slates.window(np.arange(len(slates)), slate_size)
        noise = random.standard_normal((len(some), 1, blocks.noise.shape[1])).astype(np.float32)
        luck = random.gumbel(size=(len(some), n_items)).astype(np.float32)
        space = _precise(blocks.generator.centred_vectors())
        real = np.where(there, numbers, ABSENT)
        return cls(some, real, noise, luck, space, np.asarray(blocks.popularity, np.float64))

    @cached_property
    def plane(self) -> tuple[np.ndarray, np.ndarray]:
        """Middle of the real vectors, (D,), and their two main directions, (D, 2)."""
        real = self.space[self.real[self.real != ABSENT]]
        middle = real.mean(axis=0)
        directions = np.zeros((2, len(middle)))
        found = np.linalg.svd(real - middle, full_matrices=False)[2][:2]
        directions[: len(found)] = found
        return middle, directions.T

    def dots(self, slates: np.ndarray) -> list[list[float]]:
        """Some items of the slates on the plane of the real ones."""
        middle, directions = self.plane
        items = slates[slates != ABSENT][:DOTS]
        placed: list[list[float]] = ((self.space[items] - middle) @ directions).round(3).tolist()
        return placed


class Diagnostics:
    """Measures a generator, and the discriminator beside it, in some epochs of the game.

    Args:
        blocks: stage one before the game, with the weights of the generator alone.
        validation: whose held-out items are the real ones.
        epochs: of the game.
        config: size of the slates, and the seed of users, noise and draws, which are the same in all epochs.
    """

    def __init__(self, blocks: Blocks, validation: Validation, epochs: int, config: Config) -> None:
        self.blocks = blocks
        self.seed = config.seed
        self.cases = Cases.of(blocks, validation, config.slate_size, config.seed)
        times = max(1, min(TIMES, epochs, config.game_steps // APART))
        self.epochs = set(np.linspace(epochs, 1, times).round().astype(int).tolist())
        self.pictures: list[dict[str, Any]] = []

    def start(self) -> Values:
        """What came before the game, without a discriminator; empty where nothing was held out."""
        if not len(self.cases.real):
            return {}
        self.pictures.append({"epoch": None, "points": self.cases.dots(self.cases.real)})
        return self._measured(0, self.blocks.generator, None)

    def __call__(self, epoch: int, generator: Generator, discriminator: Discriminator | None) -> Values:
        """The measurements of an epoch, empty in most of them."""
        if epoch not in self.epochs or not len(self.cases.real):
            return {}
        return self._measured(epoch, generator, discriminator)

    def _measured(self, epoch: int, generator: Generator, discriminator: Discriminator | None) -> Values:
        cases = self.cases
        with torch.no_grad():
            condition = self._conditions(generator)
            made = generated(self.blocks, generator, condition, cases)
            found = self._used(generator, condition)
            if discriminator is not None:
                found["discriminator_share"] = _share_right(discriminator, condition, cases, made)
        self.pictures.append({"epoch": epoch, "points": cases.dots(made)})
        real, fake = fidelity.standardised(
            *(fidelity.slate_features(one, cases.space, cases.popularity) for one in (cases.real, made))
        )
        told = fidelity.classifier_two_sample(real, fake, self.seed)
        items = [cases.space[one[one != ABSENT]] for one in (cases.real, made)]
        near = fidelity.density_coverage(*items, distinct=True)
        return {"energy_distance": fidelity.energy_distance(real, fake), "c2st": told["auc"], **near, **found}

    def _conditions(self, generator: Generator) -> torch.Tensor:
        histories = self.cases.validation.query.histories
        items, mask = histories.window(np.arange(len(histories)), self.blocks.window)
        condition: torch.Tensor = generator.condition(torch.from_numpy(items), torch.from_numpy(mask))
        return condition

    def _used(self, generator: Generator, condition: torch.Tensor) -> Values:
        """Whether condition and noise are used."""
        vectors = generator.item_vectors()
        users, places = np.nonzero(self.cases.real != ABSENT)
        logits = (generator.wanted(condition) @ vectors.T).numpy()
        gap = fidelity.condition_gap(logits, users, self.cases.real[users, places], self.seed)
        bank = torch.from_numpy(self.blocks.noise[:NOISE_DRAWS])
        varied = fidelity.noise_sensitivity(generator.wanted(condition[:NOISE_USERS], bank).numpy(), _precise(vectors))
        return {"condition_gap": gap, "noise_cosine": varied["cosine"], "noise_jaccard": varied["jaccard"]}


def _precise(vectors: torch.Tensor) -> np.ndarray:
    """The same in float64, where that is no large table."""
    return np.asarray(vectors.numpy(), np.float64 if len(vectors) <= WHOLE else np.float32)


def generated(blocks: Blocks, generator: Generator, condition: torch.Tensor, cases: Cases) -> np.ndarray:
    """Slates as large as the real ones, distinct items drawn under each user's draw of the noise, (B, M) int64."""
    wanted = generator.wanted(condition, torch.from_numpy(cases.noise))[:, 0]
    logits = (wanted @ generator.item_vectors().T).numpy() + blocks.weights.popularity * blocks.popularity
    drawn = top_items(cases.validation.query.mask(logits + cases.luck), cases.real.shape[1])[0]
    return np.where(cases.real == ABSENT, ABSENT, drawn)


def _share_right(discriminator: Discriminator, condition: torch.Tensor, cases: Cases, made: np.ndarray) -> float:
    """Share of the users whose real slate looks more real than the generated one; half for a tie."""
    judge = copy.deepcopy(discriminator).cpu()
    there = torch.from_numpy((cases.real != ABSENT) & (made != ABSENT))
    some = there.any(1)
    space = torch.from_numpy(cases.space.astype(np.float32))
    real, fake = (
        judge.realism(condition[some], space[torch.from_numpy(one)[some].clamp(min=0)], there[some]).numpy()
        for one in (cases.real, made)
    )
    return float(np.where(real == fake, 0.5, real > fake).mean()) if len(real) else 0.5

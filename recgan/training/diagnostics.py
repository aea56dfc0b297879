"""What the game does to realism, measured while it is played: generated against real held-out items of some users."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from recgan import fidelity
from recgan.networks import Discriminator, Generator
from recgan.ranking import CELLS, Blocks
from recgan.training.validation import Validation

MOST_USERS = 256
ITEMS = 2
"""Most held-out items of a user that are compared, and as many generated ones."""
TIMES = 4
"""Epochs of a game in which it is measured, the last one among them: the classifiers are fitted afresh each time."""
NOISE_USERS, NOISE_DRAWS = 64, 4
DOTS = 60
"""Points of the picture, real and generated ones each."""
Values = dict[str, float]


@dataclass(frozen=True)
class Cases:
    """Held-out pairs of some users, and everything random that makes the generated ones.

    Args:
        validation: the B users, each with a held-out item at least.
        users: user of each pair, (P,) int64.
        items: its held-out item, (P,) int64.
        noise: one draw a user, (B, 1, Z) float32.
        luck: uniform numbers, one a pair, (P,).
        space: item vectors in which real and generated items are compared, (N, D) float64: those before the game.
    """

    validation: Validation
    users: np.ndarray
    items: np.ndarray
    noise: np.ndarray
    luck: np.ndarray
    space: np.ndarray

    @classmethod
    def of(cls, blocks: Blocks, validation: Validation, most_items: int, seed: int) -> Cases:
        """Up to 256 users, fewer for large catalogues, and up to `most_items` held-out items of each."""
        random = np.random.default_rng([seed, 2])
        able = np.flatnonzero(validation.truth.lengths)
        most = min(MOST_USERS, max(2, CELLS // 4 // validation.truth.n_items))
        some = validation.take(np.sort(random.permutation(able)[:most]))
        kept = some.truth.ranks(random.random(len(some.truth.items))) < most_items
        users, items = some.truth.rows[kept], some.truth.items[kept]
        noise = random.standard_normal((len(some), 1, blocks.noise.shape[1])).astype(np.float32)
        space = blocks.generator.item_vectors().numpy().astype(np.float64)
        return cls(some, users, items, noise, random.random(len(items)), space)

    @cached_property
    def plane(self) -> tuple[np.ndarray, np.ndarray]:
        """Middle of the real vectors, (D,), and their two main directions, (D, 2)."""
        real = self.space[self.items]
        middle = real.mean(axis=0)
        directions = np.zeros((2, len(middle)))
        found = np.linalg.svd(real - middle, full_matrices=False)[2][:2]
        directions[: len(found)] = found
        return middle, directions.T

    def dots(self, items: np.ndarray) -> list[list[float]]:
        """Some items on the plane of the real ones."""
        middle, directions = self.plane
        placed: list[list[float]] = ((self.space[items[:DOTS]] - middle) @ directions).round(3).tolist()
        return placed


class Diagnostics:
    """Measures a generator, and the discriminator beside it, in some epochs of the game.

    Args:
        blocks: stage one before the game, with the weights of the generator alone.
        validation: whose held-out items are the real ones.
        epochs: of the game.
        seed: of users, noise and draws, which are the same in all epochs.
    """

    def __init__(self, blocks: Blocks, validation: Validation, epochs: int, seed: int) -> None:
        self.blocks = blocks
        self.seed = seed
        self.cases = Cases.of(blocks, validation, ITEMS, seed)
        self.epochs = set(np.linspace(1, epochs, min(TIMES, epochs)).round().astype(int).tolist())
        self.pictures: list[dict[str, Any]] = []

    def start(self) -> Values:
        """What the ranking phase left, without a discriminator; empty where nothing was held out."""
        if not len(self.cases.items):
            return {}
        self.pictures.append({"epoch": None, "points": self.cases.dots(self.cases.items)})
        return self._measured(0, self.blocks.generator, None)

    def __call__(self, epoch: int, generator: Generator, discriminator: Discriminator) -> Values:
        """The measurements of an epoch, empty in most of them."""
        if epoch not in self.epochs or not len(self.cases.items):
            return {}
        return self._measured(epoch, generator, discriminator)

    def _measured(self, epoch: int, generator: Generator, discriminator: Discriminator | None) -> Values:
        cases = self.cases
        with torch.no_grad():
            condition = self._conditions(generator)
            fake = generated(self.blocks, generator, condition, cases)
            found = self._used(generator, condition)
            if discriminator is not None:
                found["discriminator_share"] = _share_right(discriminator, generator, condition, cases, fake)
        self.pictures.append({"epoch": epoch, "points": cases.dots(fake)})
        real, made = cases.space[cases.items], cases.space[fake]
        told = fidelity.classifier_two_sample(real, made, self.seed)
        near = fidelity.density_coverage(real, made, distinct=True)
        return {"energy_distance": fidelity.energy_distance(real, made), "c2st": told["auc"], **near, **found}

    def _conditions(self, generator: Generator) -> torch.Tensor:
        histories = self.cases.validation.query.histories
        items, mask = histories.window(np.arange(len(histories)), self.blocks.window)
        condition: torch.Tensor = generator.condition(torch.from_numpy(items), torch.from_numpy(mask))
        return condition

    def _used(self, generator: Generator, condition: torch.Tensor) -> Values:
        """Whether condition and noise are used."""
        cases, vectors = self.cases, generator.item_vectors()
        logits = (generator.wanted(condition) @ vectors.T).numpy()
        gap = fidelity.condition_gap(logits, cases.users, cases.items, self.seed)
        bank = torch.from_numpy(self.blocks.noise[:NOISE_DRAWS])
        varied = fidelity.noise_sensitivity(
            generator.wanted(condition[:NOISE_USERS], bank).numpy(), vectors.numpy().astype(np.float64)
        )
        return {"condition_gap": gap, "noise_cosine": varied["cosine"], "noise_jaccard": varied["jaccard"]}


def generated(blocks: Blocks, generator: Generator, condition: torch.Tensor, cases: Cases) -> np.ndarray:
    """One item a pair, drawn from the softmax of its user's vector under the user's draw of the noise, (P,) int64."""
    wanted = generator.wanted(condition, torch.from_numpy(cases.noise))[:, 0]
    logits = (wanted @ generator.item_vectors().T).numpy() + blocks.weights.popularity * blocks.popularity
    chance = functional.softmax(torch.from_numpy(cases.validation.query.mask(logits)).double(), dim=1)
    reached = chance.cumsum(1).numpy()
    places = [int(np.searchsorted(reached[user], luck)) for user, luck in zip(cases.users, cases.luck, strict=True)]
    return np.array(places, np.int64).clip(max=logits.shape[1] - 1)


def _share_right(
    discriminator: Discriminator, generator: Generator, condition: torch.Tensor, cases: Cases, fake: np.ndarray
) -> float:
    """Share of the pairs in which the real item looks more real than the generated one; half for a tie."""
    vectors = generator.item_vectors()
    both = torch.stack([vectors[torch.from_numpy(cases.items)], vectors[torch.from_numpy(fake)]], dim=1)
    discriminator = _on_cpu(discriminator)
    logits = discriminator.realism(condition[torch.from_numpy(cases.users)], both).numpy()  # (P, 2)
    differ = cases.items != fake
    right = np.where(logits[:, 0] == logits[:, 1], 0.5, logits[:, 0] > logits[:, 1])[differ]
    return float(right.mean()) if len(right) else 0.5


def _on_cpu(discriminator: Discriminator) -> Discriminator:
    """The discriminator itself where it is on the CPU already, else a copy."""
    import copy

    here = discriminator.plain.weight.device.type == "cpu"
    return discriminator if here else copy.deepcopy(discriminator).cpu()

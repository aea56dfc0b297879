"""What is measured during the game: planted truths are seen, training is not disturbed, alarms say what to do."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from planted import planted

import recgan
from recgan.config import Config
from recgan.networks import Discriminator
from recgan.training.data import read_data
from recgan.training.diagnostics import Cases, Diagnostics, generated
from recgan.training.reporting import ADVICE, alarms

MEASURED = {"energy_distance", "c2st", "density", "coverage", "condition_gap", "noise_cosine", "noise_jaccard"}


@pytest.fixture(scope="module")
def validation(interactions, small_config):
    return read_data(interactions, None, None, None, small_config).validation


@pytest.fixture(scope="module")
def blocks(model):
    return dataclasses.replace(model._blocks, weights=recgan.ranking.Weights())


def test_the_curve_of_the_game_holds_the_measurements(interactions, small_config):
    config = small_config.changed(game_steps=80, epochs=3)
    info = recgan.train(interactions, config=config).info()
    game = info["game"]
    assert set(game["start"]) == MEASURED
    measured = [point for point in game["curve"] if "energy_distance" in point]
    assert len(game["curve"]) > len(measured) == 4
    assert measured[-1] is game["curve"][-1]
    assert all(
        set(point) >= MEASURED | {"discriminator_share", "adversarial", "discriminator", "set"} for point in measured
    )
    assert abs(game["start"]["noise_cosine"]) < 1e-6 < measured[-1]["noise_cosine"]
    assert [one["epoch"] for one in game["pictures"]] == [None, 0, *(int(point["epoch"]) for point in measured)]
    assert sum(np.size(one["points"]) for one in game["pictures"]) < 1000
    assert json.loads(json.dumps(game)) == game


def test_the_logs_hold_them_too(interactions, small_config, tmp_path):
    recgan.train(interactions, config=small_config.changed(epochs=1, log_dir=str(tmp_path)))
    header = (tmp_path / "csv" / "game" / "metrics.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"energy_distance", "c2st", "discriminator_share"} <= set(header)


def test_measuring_changes_nothing_of_the_training(interactions, small_config, monkeypatch):
    config = small_config.changed(epochs=2)
    first = recgan.train(interactions, config=config)
    monkeypatch.setattr(Diagnostics, "_measured", lambda self, *_: {})
    assert recgan.train(interactions, config=config).item_vectors().equals(first.item_vectors())


def test_slates_are_held_out_items_and_generated_ones_are_unseen(blocks, validation):
    whole = validation.query.histories
    known, hidden = whole.part(whole.places % 2 == 0), whole.part(whole.places % 2 == 1)
    asked = dataclasses.replace(validation.query, histories=known, blocked=known)
    cases = Cases.of(blocks, dataclasses.replace(validation, query=asked, truth=hidden), 3, seed=0)
    query, truth = cases.validation.query, cases.validation.truth
    made = generated(blocks, blocks.generator, blocks.conditions(query.histories), cases)
    assert (cases.real.shape, made.shape) == ((len(truth), 3), (len(truth), 3))
    for user in range(len(truth)):
        real, fake = ([item for item in slates[user] if item >= 0] for slates in (cases.real, made))
        assert len(real) == len(fake) == len(set(real)) == len(set(fake)) == min(3, truth.lengths[user])
        assert set(real) <= set(truth.of(user))
        assert not set(fake) & set(query.histories.of(user))


def test_generated_items_follow_the_softmax(blocks, validation):
    cases = Cases.of(blocks, validation, 1, seed=0)
    query, rows = cases.validation.query.take(np.zeros(1, np.int64)), np.zeros(20_000, np.int64)
    luck = np.random.default_rng(0).gumbel(size=(20_000, 60)).astype(np.float32)
    many = dataclasses.replace(
        cases,
        validation=cases.validation.take(rows),
        real=np.zeros((20_000, 1), int),
        noise=cases.noise[rows],
        luck=luck,
    )
    condition = blocks.conditions(query.histories)
    found = generated(blocks, blocks.generator, condition.expand(20_000, -1), many)[:, 0]
    noise = torch.from_numpy(cases.noise[:1])
    logits = (blocks.generator.wanted(condition, noise)[:, 0] @ blocks.generator.item_vectors().T).numpy()
    chance = np.exp(query.mask(logits)[0].astype(np.float64))
    np.testing.assert_allclose(np.bincount(found, minlength=60) / 20_000, chance / chance.sum(), atol=0.015)


def test_a_condition_that_is_ignored_and_a_discriminator_that_wins_are_seen(blocks, validation):
    diagnostics = Diagnostics(blocks, validation, 1, Config(slate_size=2))
    start = diagnostics.start()
    assert start["condition_gap"] > 0.3
    deaf = recgan.training.fitting.served_copy(blocks.generator, blocks.generator.state_dict())
    deaf.mean.weight.zero_()
    deaf.mean.bias.fill_(1.0)
    judge = Discriminator(16, 16, 3, 8).requires_grad_(False)
    found = diagnostics(1, deaf, judge)
    assert found["condition_gap"] == pytest.approx(0, abs=1e-5)
    assert found["discriminator_share"] == 0.5  # a new discriminator finds all pairs alike
    assert found["energy_distance"] > start["energy_distance"]
    assert diagnostics(2, deaf, judge) == {}
    cases = diagnostics.cases
    real = cases.space[cases.real[:, 0]].astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Discriminator,
            "realism",
            lambda self, condition, slates, there: (slates[:, 0] == torch.from_numpy(real)).all(1).float(),
        )
        assert diagnostics._measured(1, blocks.generator, judge)["discriminator_share"] > 0.9


def test_nobody_to_measure_on(small_config):
    frame = planted(20, 10, 2, 0.0, seed=0).drop_duplicates("user_id")
    info = recgan.train(frame, config=Config(**{**small_config.model_dump(), "epochs": 1})).info()
    assert info["game"].get("start", {}) == {}
    assert info["alarms"]["advice"] == {}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"discriminator_share": 0.99, "discriminator": 0.0, "condition_gap": 1.0}, ["discriminator wins"]),
        ({"discriminator_share": 0.99, "condition_gap": 1.0}, []),
        ({"discriminator_share": 0.6, "discriminator": 0.7, "condition_gap": 0.001}, ["condition is ignored"]),
        ({"discriminator_share": 0.6, "discriminator": 0.7, "condition_gap": 0.5}, []),
    ],
)
def test_alarms_of_the_game(blocks, validation, last, expected):
    found = alarms(blocks, validation, {"curve": [last, {"epoch": 9.0}]})
    assert [name for name in found["collapsed"] if name in ("discriminator wins", "condition is ignored")] == expected
    assert found["advice"] == {name: ADVICE[name] for name in found["collapsed"]}


def test_a_collapsed_generator_raises_both_alarms(blocks, validation):
    same = recgan.training.fitting.served_copy(blocks.generator, blocks.generator.state_dict())
    for parameter in (same.mean.weight, *same.variation.parameters()):
        parameter.zero_()
    same.mean.bias.fill_(1.0)
    few = validation.take(np.flatnonzero(validation.query.histories.lengths > 0)[:2])
    seen = dataclasses.replace(few.query, blocked=few.query.blocked.part(np.zeros(len(few.query.blocked.items), bool)))
    found = alarms(dataclasses.replace(blocks, generator=same, dense=None), dataclasses.replace(few, query=seen))
    assert found["collapsed"] == ["draws are alike", "lists are alike"]
    assert "noise is ignored" in found["advice"]["draws are alike"]
    assert "everybody gets the same list" in found["advice"]["lists are alike"]

"""The contract of every recommender under any question: a few examples in the suite, five hundred with `-m long`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
from conftest import SMALL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from promises import PROMISES, Subject, ask_any, crowd

import recgan
from recgan.baselines import (
    BPR,
    EASE,
    GFCF,
    IALS,
    SLIM,
    ItemKNN,
    MultVAE,
    NormalisedSVD,
    Popular,
    RP3Beta,
    SASRec,
    Transitions,
)  # fmt: skip
from recgan.ranking import Ranker

FEW, MANY = 8, 500
BASELINES = {
    "Popular": Popular(),
    "ItemKNN": ItemKNN(k=20, shrinkage=1.0),
    "EASE": EASE(5.0),
    "SLIM": SLIM(l1=0.1, l2=2.0, k=30),
    "RP3Beta": RP3Beta(alpha=0.8, beta=0.2, k=20),
    "Transitions": Transitions(shrinkage=5.0, history_decay=0.95),
    "NormalisedSVD": NormalisedSVD(factors=2),
    "GFCF": GFCF(factors=2, alpha=0.3),
    "IALS": IALS(factors=8, regularisation=2.0, alpha=2.0, iterations=5),
    "BPR": BPR(factors=8, learning_rate=0.05, iterations=20),
    "MultVAE": MultVAE(hidden=32, latent=8, epochs=10, batch_size=20),
    "SASRec": SASRec(embedding_dim=16, layers=1, n_negatives=None, epochs=5),
}
SETTINGS = {**SMALL, "epochs": 4, "game_steps": 10, "n_candidates": 7}
NAMES = ["recgan bag", "recgan sequence", "recgan judged", *BASELINES]


@cache
def subject(name: str) -> Subject:
    frame = crowd()
    if name in BASELINES:
        return Subject(BASELINES[name].fit(frame), frame)
    encoder = "sequence" if name == "recgan sequence" else "bag"
    model = recgan.train(frame, config=recgan.Config(**{**SETTINGS, "encoder": encoder}))
    return Subject(judged(model) if name == "recgan judged" else model, frame, explores=True)


def judged(model: recgan.Recommender) -> recgan.Recommender:
    """With a second stage that has a say, and a linear block in both shapes."""
    weights = replace(model._blocks.weights, discriminator=2.0, dense=1.0, sparse=1.0, generated=0.5)
    model._blocks = replace(model._blocks, weights=weights)
    model._ranker = Ranker(model._blocks, model._judge, model._config.n_candidates)
    return model


def examples(most: int) -> settings:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=most, deadline=None, suppress_health_check=quiet, derandomize=True, database=None)


def tried(name: str, promise, most: int) -> None:
    @examples(most)
    @given(st.data())
    def holds(data) -> None:
        promise(subject(name), data)

    holds()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_a_few_examples(name, promise):
    tried(name, promise, FEW)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_many_examples(name, promise):
    tried(name, promise, MANY)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Loaded models, by name."""

    @cache
    def loaded(name: str) -> recgan.Recommender:
        folder = tmp_path_factory.mktemp("saved") / "model"
        subject(name).model.save(folder)
        return recgan.Recommender.load(folder)

    return loaded


@pytest.mark.parametrize("most", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in BASELINES])
def test_a_loaded_model_answers_to_the_bit(name, most, saved):
    loaded = saved(name)

    @examples(most)
    @given(st.data())
    def holds(data) -> None:
        question = ask_any(subject(name), data)
        pd.testing.assert_frame_equal(question.ask(loaded), question.ask(subject(name).model), check_exact=True)

    holds()

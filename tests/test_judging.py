"""The second stage: what its features are measured by, and users to whom nothing can be proposed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from planted import planted

import recgan
from recgan.histories import Histories
from recgan.networks import Discriminator
from recgan.ranking import ABSENT, Query
from recgan.splits import Holdout
from recgan.training import judging
from recgan.training.judging import Cases, corrections, fit_head, fit_judge
from recgan.training.validation import Validation

N, K, FEATURES = 30, 6, 3


def cases(n_users: int, shares: list[float]) -> Cases:
    """Proposals of which so much is there, user by user in turn; what is not there has features beyond all others."""
    random = np.random.default_rng(0)
    numbers = np.stack([np.sort(random.permutation(N)[:K]) for _ in range(n_users)])
    there = random.random((n_users, K)) < np.resize(shares, n_users)[:, None]
    features = random.normal(2.0, 3.0, (n_users, K, FEATURES))
    return Cases(
        np.where(there, numbers, ABSENT),
        torch.from_numpy(np.where(there, random.normal(size=(n_users, K)), 0.0).astype(np.float32)),
        torch.from_numpy(np.where(there[..., None], features, 1e6).astype(np.float32)),
        torch.from_numpy(there & (random.random((n_users, K)) < 0.3)),
    )


def users(n_users: int) -> Validation:
    random = np.random.default_rng(1)
    truth = Histories.from_lists([random.permutation(N)[:2] for _ in range(n_users)], N)
    nothing = Histories.from_lists([np.empty(0, np.int64)] * n_users, N)
    return Validation(Query(nothing, nothing, np.zeros((n_users, 0), np.float32)), truth, truth.lengths, "ndcg@5")


def judge() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(4, 4, FEATURES, 16)


def test_features_are_measured_by_the_proposals_that_are_there():
    some = cases(20, [0.0, 0.5, 1.0])
    fitted = fit_head(judge(), some, 0)
    shown = some.features[some.present].numpy().astype(np.float64)
    np.testing.assert_allclose(fitted.center, shown.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(fitted.spread, shown.std(axis=0), rtol=1e-4)
    assert corrections(fitted, some)[some.present.numpy()].any()


@pytest.mark.parametrize("n_users", [3, 60])
def test_without_any_proposal_the_second_stage_changes_nothing(n_users):
    fitted, weight, without, with_it = fit_judge(judge(), cases(n_users, [0.0]), users(n_users), 0)
    assert (weight, without, with_it) == (0.0, 0.0, 0.0)
    assert all(torch.isfinite(value).all() for value in fitted.state_dict().values())
    assert not corrections(fitted, cases(n_users, [1.0])).any()


def test_a_fold_that_learns_from_users_without_proposals_is_judged_as_it_is():
    """Of sixty users one alone has proposals: whoever judges it has seen none."""
    some = cases(60, [1.0] + [0.0] * 59)
    fitted, weight, without, with_it = fit_judge(judge(), some, users(60), 0)
    assert with_it == without
    assert weight == 0.0
    assert all(torch.isfinite(value).all() for value in fitted.state_dict().values())


def test_a_model_whose_validation_users_have_seen_everything_can_be_loaded(small_config, tmp_path):
    frame = planted(40, 20, 4, 0.0, 0)
    everything = pd.DataFrame({"user_id": np.repeat([100, 101], 20), "item_id": np.tile(np.arange(20), 2)})
    held_out = Holdout(everything, pd.DataFrame({"user_id": [100, 101], "item_id": [3, 4]}))
    model = recgan.train(frame, validation=held_out, config=small_config.changed(epochs=1, game_steps=0))
    model.save(tmp_path / "model")
    loaded = recgan.Recommender.load(tmp_path / "model")
    assert loaded.recommend_batch(n=3).equals(model.recommend_batch(n=3))


@pytest.mark.parametrize("costs", [False, True])
def test_what_gains_at_the_top_must_cost_nothing_further_down(monkeypatch, costs):
    """The second item of a list is real and comes first; the fourth and fifth, real too, may leave the first ten."""
    monkeypatch.setattr(judging, "fit_head", lambda discriminator, *_: discriminator)
    monkeypatch.setattr(judging, "corrections", lambda _, some: some.features[..., 0].numpy())
    n_users, numbers = 60, np.tile(np.arange(20), (60, 1))
    positive, added = np.zeros((2, n_users, 20))
    positive[:, [1, 3, 4]], added[:, 1], added[:, 3:5] = 1, 100.0, -100.0 * costs
    some = Cases(
        numbers,
        torch.from_numpy(np.tile(-np.arange(20.0, dtype=np.float32), (n_users, 1))),
        torch.from_numpy(added.astype(np.float32))[..., None],
        torch.from_numpy(positive > 0),
    )
    asked = users(n_users)
    truth = Histories.from_lists([np.array([1, 3, 4])] * n_users, N)
    asked = replace(asked, truth=truth, n_relevant=truth.lengths, metric="ndcg@1")
    _, weight, without, with_it = fit_judge(judge(), some, asked, 0)
    assert (without, with_it) == (0.0, 0.0 if costs else 1.0)
    assert (weight > 0.0) != costs

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from contract import (
    CONTRACT,
    finds_the_checkerboard,
    finds_what_is_planted_and_nothing_in_noise,
    frame_of_groups,
    fresh,
    remembered,
    same_lists,
)
from planted import planted

from recgan.baselines import MultVAE, SASRec, sasrec
from recgan.baselines.neural import Inner, Neural, hold_out
from recgan.baselines.sasrec import Transformer
from recgan.errors import ConfigError, DataError, TrainingError
from recgan.evaluation import evaluate
from recgan.histories import Histories
from recgan.networks import Dropout
from recgan.splits import split_leave_last, split_ratio
from recgan.vocabulary import Vocabulary

MODELS: dict[str, Neural] = {
    "MultVAE": MultVAE(hidden=32, latent=8, beta=0.1, epochs=60, learning_rate=0.01, batch_size=20),
    "SASRec": SASRec(embedding_dim=16, layers=1, dropout=0.1, n_negatives=None, epochs=40, learning_rate=0.05),
}


def in_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """With the order that the rows stand in."""
    return frame.assign(position=frame.groupby("user_id").cumcount())


def in_any_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(position=np.random.default_rng(0).permutation(len(frame)))


FITS = {name: remembered(lambda frame, name=name: fresh(MODELS[name]).fit(in_rows(frame))) for name in MODELS}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(sasrec, "TOKENS", 256)


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_contract(name, check):
    if check is finds_the_checkerboard:  # ascending items would tell the transformer of steps instead of colours
        check(lambda frame: fresh(MODELS[name], epochs=100).fit(in_any_order(frame)))
    else:
        check(FITS[name])


# --- structure ---


def test_finds_what_is_planted(name):
    finds_what_is_planted_and_nothing_in_noise(lambda frame: fresh(MODELS[name]).fit(in_any_order(frame)))


def chain(n_users: int, n_items: int, length: int) -> pd.DataFrame:
    """Everybody goes from item to item + 1, from different beginnings."""
    steps = np.arange(length)
    rows = [(user, (user * 7 + step) % n_items, step) for user in range(n_users) for step in steps]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "position"])


@pytest.mark.parametrize("n_negatives", [None, 8])
def test_sasrec_finds_what_comes_next(n_negatives):
    split = split_leave_last(chain(120, 30, 8))
    model = fresh(MODELS["SASRec"], n_negatives=n_negatives).fit(split.train)
    lists = model.recommend_batch(histories=split.test.history, n=1)
    assert evaluate(lists, split.test.truth, "hit@1")["hit@1"] > 0.9


def test_sasrec_minds_the_order():
    model = fresh(MODELS["SASRec"]).fit(chain(120, 30, 8))
    assert model.recommend(history=[3, 4, 5], n=1)["item_id"].tolist() == [6]
    assert model.recommend(history=[17, 4, 11], n=1)["item_id"].tolist() == [12]
    assert model.recommend(history=[17, 11, 4], n=1)["item_id"].tolist() == [5]


def test_sasrec_reads_the_newest_items_alone():
    model = fresh(MODELS["SASRec"], window=2).fit(chain(40, 30, 8))
    one, other = (model.recommend(history=history, n=9, filter_seen=False) for history in ([9, 1, 2], [8, 1, 2]))
    same_lists(one, other)


# --- the networks ---


def test_no_state_knows_what_comes_later():
    torch.manual_seed(0)
    network = Transformer(20, 8, window=6, layers=2, heads=2, dropout=0.5).eval()
    items = torch.randint(20, (5, 6))
    changed = items.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 20
    before, after = network(items), network(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5:], after[:, 5:]).all(-1).any()


@pytest.mark.parametrize("n_negatives", [None, 8])
def test_every_parameter_gets_a_gradient(name, n_negatives):
    model = fresh(MODELS[name], **({"n_negatives": n_negatives} if name == "SASRec" else {}))
    frame = in_rows(frame_of_groups())
    histories = model.fit(frame)._histories
    model._network = model._build(histories).train()
    for batch in model._batches(histories, np.random.default_rng(0)):
        model._loss(batch, 1.0).backward()
    for key, parameter in model._network.named_parameters():
        assert parameter.grad.abs().sum() > 0, key


def test_sampled_loss_of_all_items_is_the_full_one(monkeypatch):
    model = fresh(MODELS["SASRec"], dropout=0.0).fit(chain(10, 12, 5))
    batch = next(model._batches(model._histories, np.random.default_rng(0)))
    full = model._loss(batch, 0.0)
    model.n_negatives = 11
    monkeypatch.setattr(torch, "randint", lambda high, size: torch.arange(high))
    torch.testing.assert_close(model._loss(batch, 0.0), full)


def test_vae_loss_by_hand():
    model = MultVAE(hidden=4, latent=2, dropout=0.0, beta=0.3, epochs=1).fit(frame_of_groups())
    batch = next(model._batches(model._histories, np.random.default_rng(0)))
    logits, kl = model._network(batch["items"], batch["offsets"])
    users = np.split(batch["items"].numpy(), batch["offsets"].numpy()[1:-1])
    chosen = [
        torch.log_softmax(row, 0)[torch.from_numpy(items)].sum() for row, items in zip(logits, users, strict=True)
    ]
    likelihood = torch.stack(chosen).mean()
    torch.testing.assert_close(model._loss(batch, 0.0), -likelihood)
    torch.testing.assert_close(model._loss(batch, 0.25), 0.15 * kl.mean() - likelihood)
    torch.testing.assert_close(model._loss(batch, 0.9), 0.3 * kl.mean() - likelihood)


def test_vae_reads_the_scaled_history():
    model = FITS["MultVAE"](frame_of_groups())
    network, items = model._network, [3, 8, 20]
    hidden = torch.tanh(network.table[items].sum(0) / 3**0.5 + network.bias)
    expected = network.items(torch.tanh(network.hidden(network.latent(hidden)[:8])))
    found = model.recommend(history=items, n=40, filter_seen=False).sort_values("item_id")["score"]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_dropout_keeps_the_mean(share):
    torch.manual_seed(1)
    values = torch.full((333, 1001), 2.0)
    dropout = Dropout(share)
    thinned = dropout(values)
    assert float((thinned == 0).float().mean()) == pytest.approx(share, abs=0.004)
    assert float(thinned.mean()) == pytest.approx(2.0, rel=0.2 if share > 0.9 else 0.01)
    assert dropout.eval()(values) is values


# --- randomness ---


def test_the_seed_decides_and_leaves_other_draws_alone(name):
    frame = in_rows(frame_of_groups())
    before = torch.random.get_rng_state()
    one, same, other = (fresh(MODELS[name], epochs=3, seed=seed).fit(frame).recommend_batch(n=5) for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), before)
    pd.testing.assert_frame_equal(one, same)
    assert not np.allclose(one["score"], other["score"])


# --- the choice of the epoch ---


@pytest.mark.parametrize("ordered", [True, False])
def test_the_newest_items_are_held_out(ordered):
    frame = planted(n_users=200, n_items=60, n_groups=4, noise=0.1, seed=3)
    frame = in_rows(frame) if ordered else frame
    histories = Histories.from_frame(frame, Vocabulary.of(frame["user_id"]), Vocabulary.of(frame["item_id"]))
    kept, held = hold_out(histories, Inner(users=30, share=0.3, k=5, patience=1), np.random.default_rng(0))
    assert (held.lengths > 0).sum() == 30
    for user in range(200):
        whole, rest, out = histories.of(user), kept.of(user), held.of(user)
        assert len(out) in (0, np.ceil(0.3 * len(whole)))
        assert sorted([*rest, *out]) == sorted(whole)
        if ordered:
            assert [*rest, *out] == whole.tolist()


@pytest.mark.parametrize(("n_users", "n_held"), [(96, 0), (104, 26)])
def test_few_users_are_no_judges(n_users, n_held):
    histories = Histories.from_lists([np.arange(4)] * n_users + [np.arange(1)] * 50, 4)
    kept, held = hold_out(histories, SASRec.inner, np.random.default_rng(0))
    assert (held.lengths > 0).sum() == n_held
    assert held.lengths.max() <= 1
    assert (kept.lengths >= 1).all()


def test_the_best_epoch_is_kept(name, monkeypatch):
    kind = type(MODELS[name])
    seen, values = [], iter([0.1, 0.4, 0.3, 0.2, 0.4, 0.3, 0.2])

    def judge(self, kept, held):
        seen.append({key: weights.clone() for key, weights in self._network.state_dict().items()})
        return next(values)

    monkeypatch.setattr(kind, "_judge", judge)
    monkeypatch.setattr(kind, "inner", Inner(users=10, share=0.1, k=7, patience=4))
    model = fresh(MODELS[name], epochs=50).fit(in_rows(frame_of_groups()))
    assert model.curve["ndcg@7"].tolist() == [0.1, 0.4, 0.3, 0.2, 0.4, 0.3]
    assert model.curve.index.tolist() == [1, 2, 3, 4, 5, 6]
    for key, weights in model._network.state_dict().items():
        assert torch.equal(weights, seen[1][key])


def test_the_last_epoch_is_kept_without_judges(name):
    model = fresh(MODELS[name], epochs=30).fit(in_rows(frame_of_groups()))
    assert len(model.curve) == 30
    assert model.curve.iloc[:, 1].isna().all()


def test_epochs_are_judged_like_lists(name):
    frame = in_rows(planted(n_users=200, n_items=60, n_groups=4, noise=0.1, seed=3))
    model = fresh(MODELS[name], epochs=5)
    parts = {}
    real = model._judge
    model._judge = lambda kept, held: parts.update(kept=kept, held=held) or real(kept, held)
    model.fit(frame)
    given, truth = (pd.DataFrame({"user_id": part.rows, "item_id": model.items[part.items]}) for part in parts.values())
    k = model.inner.k
    lists = model.recommend_batch(truth["user_id"].unique(), n=k, histories=given)
    assert evaluate(lists, truth, f"ndcg@{k}")[f"ndcg@{k}"] == pytest.approx(model.curve.iloc[:, 1].max(), abs=1e-6)


def test_sasrec_warms_up_and_cools_down_whatever_the_epochs_say(monkeypatch):
    values = iter([0.5] + [0.1] * 39)
    monkeypatch.setattr(SASRec, "_judge", lambda self, kept, held: next(values))
    model = fresh(MODELS["SASRec"]).fit(in_rows(frame_of_groups()))
    assert len(model.curve) == 40
    rates = [model._rate(progress) for progress in (0.0, 0.05, 0.1, 0.5, 1.0)]
    np.testing.assert_allclose(rates, [0.0, 0.497, 0.976, 0.5, 0.0], atol=1e-3)


def test_divergence_is_told(name, monkeypatch):
    def loss(self, batch, progress):
        return next(self._network.parameters()).sum() * np.nan

    monkeypatch.setattr(type(MODELS[name]), "_loss", loss)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        fresh(MODELS[name]).fit(in_rows(frame_of_groups()))


# --- before and around fit ---


def test_sasrec_needs_an_order():
    for use in (lambda frame: SASRec().fit(frame), lambda frame: SASRec.tune(frame, split_ratio(frame).validation)):
        with pytest.raises(DataError, match="needs an order: a column 'timestamp' or 'position'"):
            use(frame_of_groups())


def test_sasrec_trains_every_position_that_serves():
    model = fresh(MODELS["SASRec"], window=3, dropout=0.0)
    histories = Histories.from_lists([[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]], 10)
    model._network = model._build(histories)
    for batch in model._batches(histories, np.random.default_rng(0)):
        model._loss(batch, 0.0).backward()
    assert (model._network.encoder.positions.grad.norm(dim=1) > 1e-4).all()


def test_the_window_fits_the_data():
    short, long = (Histories.from_lists([np.arange(length)] * 3, 300) for length in (9, 120))
    assert SASRec._grid_for(short)["window"] == (50,)
    assert SASRec._grid_for(long)["window"] == (200,)


def test_tune_tries_a_grid(name):
    frame = in_rows(planted(n_users=60, n_items=30, n_groups=3, noise=0.1, seed=1))
    split = split_leave_last(frame)
    grid = {key: [value] for key, value in MODELS[name].params.items()} | {"epochs": [1, 12]}
    best = type(MODELS[name]).tune(split.train, split.validation, grid=grid)
    assert len(best.tuning) == 2
    assert best.epochs == 12
    size = np.prod([len(values) for values in type(best)._grid_for(best._histories).values()])
    assert size <= 6


def test_params_make_the_same_baseline_again(name):
    model = MODELS[name]
    assert type(model)(**model.params).params == model.params
    assert eval(repr(model)).params == model.params


def test_items_join_the_catalogue(name):
    model = fresh(MODELS[name]).fit(in_rows(frame_of_groups()), items=pd.DataFrame({"item_id": [500, 501]}))
    lists = model.recommend_batch([0], n=1000)
    assert {500, 501} <= set(lists["item_id"])


def test_one_user_and_one_item(name):
    model = fresh(MODELS[name]).fit(pd.DataFrame({"user_id": [1], "item_id": ["a"], "position": [0]}))
    assert model.recommend(1).empty
    assert model.recommend(2)["item_id"].tolist() == ["a"]


def test_asks_to_be_fitted_first(name):
    with pytest.raises(ConfigError, match=rf"{name}: not fitted yet"):
        fresh(MODELS[name]).recommend(1)


@pytest.mark.parametrize(
    ("kind", "argument", "value"),
    [
        (MultVAE, "hidden", 0),
        (MultVAE, "latent", 2.5),
        (MultVAE, "dropout", 1.0),
        (MultVAE, "beta", -0.1),
        (MultVAE, "epochs", 0),
        (MultVAE, "learning_rate", 0),
        (MultVAE, "batch_size", True),
        (MultVAE, "seed", -1),
        (SASRec, "embedding_dim", 127),
        (SASRec, "layers", 0),
        (SASRec, "heads", None),
        (SASRec, "window", 0),
        (SASRec, "dropout", "0.5"),
        (SASRec, "dropout", float("nan")),
        (SASRec, "n_negatives", 0),
        (SASRec, "epochs", 1.5),
        (SASRec, "learning_rate", float("inf")),
        (SASRec, "seed", None),
    ],
)
def test_refuses_bad_parameters(kind, argument, value):
    with pytest.raises(ConfigError, match=argument):
        kind(**{argument: value})

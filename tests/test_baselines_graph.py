from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from contract import (
    CONTRACT,
    finds_what_is_planted_and_nothing_in_noise,
    frame_of_groups,
    fresh,
    matrix_of,
    remembered,
    scores_of,
    tune_keeps_the_best,
)
from planted import planted

from recgan.baselines import GFCF, SLIM, Baseline, ItemKNN, NormalisedSVD, RP3Beta, Transitions, filters, graph
from recgan.errors import ConfigError, DataError
from recgan.splits import split_users

MODELS: dict[str, Baseline] = {
    "RP3Beta": RP3Beta(alpha=0.8, beta=0.2, k=20),
    "Transitions": Transitions(shrinkage=5.0, history_decay=0.95),
    "NormalisedSVD": NormalisedSVD(factors=2),
    "GFCF": GFCF(factors=2, alpha=0.3),
    "SLIM": SLIM(l1=0.1, l2=2.0, k=30),
}


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if "timestamp" in frame else frame.assign(position=frame.groupby("user_id").cumcount())


FITS = {name: remembered(lambda frame, name=name: fresh(MODELS[name]).fit(in_order(frame))) for name in MODELS}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_contract(name, check):
    check(FITS[name])


# --- oracles ---


def walk_of(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    to_item, to_user = x / x.sum(axis=1, keepdims=True), (x / x.sum(axis=0)).T
    walk = (x.T * to_user**alpha) @ (x * to_item**alpha) / x.sum(axis=0) ** beta
    np.fill_diagonal(walk, 0.0)
    return walk


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.7, 0.4), (0.0, 1.0)])
def test_rp3beta_is_the_walk(alpha, beta):
    frame = frame_of_groups()
    x = matrix_of(frame)
    expected = x @ walk_of(x, alpha, beta)
    found = scores_of(RP3Beta(alpha, beta, k=1000).fit(frame))
    np.testing.assert_allclose(found[expected > 0], expected[expected > 0], rtol=1e-5)
    assert (found[expected == 0] < 0).all()


@pytest.mark.parametrize("rows", [1024, 7])
def test_rp3beta_keeps_the_strongest_of_every_item(monkeypatch, rows):
    monkeypatch.setattr("recgan.linear.counts.BLOCK", rows)
    frame = frame_of_groups()
    walk = walk_of(matrix_of(frame), 0.8, 0.3)
    kept = RP3Beta(0.8, 0.3, k=4).fit(frame)._rows.rows.toarray()
    np.testing.assert_allclose(np.sort(kept)[:, -4:], np.sort(walk)[:, -4:], rtol=1e-5)
    np.testing.assert_allclose(kept[kept > 0], walk[kept > 0], rtol=1e-5)
    assert ((kept > 0).sum(axis=1) == 4).all()


def test_the_rest_ranks_behind_by_popularity():
    frame = pd.DataFrame({"user_id": [1, 1, 2, 3, 3, 4, 4], "item_id": ["a", "b", "d", "c", "d", "c", "d"]})
    for model in (RP3Beta(alpha=1.0, beta=0.0), Transitions(), SLIM(l1=0.1), ItemKNN()):
        lists = model.fit(in_order(frame)).recommend(history=["a"])
        assert lists["item_id"].tolist() == ["b", "d", "c"]
        assert lists["score"][0] > 0
        np.testing.assert_allclose(lists["score"][1:], [3 / 4 - 1, 2 / 4 - 1], rtol=1e-6)


def test_transitions_are_decayed_counts():
    frame = planted(n_users=20, n_items=12, n_groups=2, noise=0.2, seed=1, ordered=True)
    lists = [part.sort_values("timestamp")["item_id"].to_numpy() for _, part in frame.groupby("user_id")]
    model = Transitions(
        shrinkage=3.0, from_power=0.6, to_power=0.2, backward=0.3, gap_decay=0.7, history_decay=0.5, reach=2, keep=12
    )
    counts, popularity = np.zeros((12, 12)), np.bincount(np.concatenate(lists), minlength=12) + 3.0
    for one, gap in itertools.product(lists, (1, 2)):
        np.add.at(counts, (one[:-gap], one[gap:]), 0.7 ** (gap - 1))
    steps = (counts + 0.3 * counts.T) / np.outer(popularity**0.6, popularity**0.2)
    expected = np.stack([sum(0.5**age * steps[item] for age, item in enumerate(one[::-1])) for one in lists])
    found = scores_of(model.fit(frame))
    np.testing.assert_allclose(found[expected > 0], expected[expected > 0], rtol=1e-5)
    assert (found[expected == 0] < 0).all()


def low_pass_of(x: np.ndarray, factors: int, user_power: float, item_power: float) -> np.ndarray:
    users, items = x.sum(axis=1, keepdims=True) ** user_power, x.sum(axis=0) ** item_power
    vectors = np.linalg.svd(x / users / items)[2][:factors].T
    return vectors @ vectors.T * items / items[:, None]


@pytest.mark.parametrize("powers", [(0.5, 0.5), (0.0, 0.0), (0.3, 0.6)])
def test_normalised_svd_is_the_filter(powers):
    frame = frame_of_groups()
    x = matrix_of(frame)
    found = scores_of(NormalisedSVD(30, *powers).fit(frame))
    np.testing.assert_allclose(found, x @ low_pass_of(x, 30, *powers), atol=1e-4)


@pytest.mark.parametrize("cells", [1 << 24, 7 * 60])
def test_gfcf_adds_the_neighbours(monkeypatch, cells):
    monkeypatch.setattr(filters, "CELLS", cells)
    frame = frame_of_groups()
    x = matrix_of(frame)
    normalised = x / np.sqrt(np.outer(x.sum(axis=1), x.sum(axis=0)))
    expected = x @ (normalised.T @ normalised + 0.4 * low_pass_of(x, 30, 0.5, 0.5))
    model = GFCF(factors=30, alpha=0.4).fit(frame)
    np.testing.assert_allclose(scores_of(model), expected, atol=1e-4)
    given = pd.DataFrame({"user_id": [7, 7, 999], "item_id": [3, 9, 5]})
    rows = np.zeros((2, 40))
    rows[[0, 0, 1], [3, 9, 5]] = 1.0
    gram = normalised.T @ normalised + 0.4 * low_pass_of(x, 30, 0.5, 0.5)
    np.testing.assert_allclose(scores_of(model, given), rows @ gram, atol=1e-4)


def elastic_net(x: np.ndarray, item: int, allowed: np.ndarray, l1: float, l2: float) -> np.ndarray:
    gram, weights = x.T @ x, np.zeros(x.shape[1])
    for _, other in itertools.product(range(300), allowed):
        rest = gram[other, item] - gram[other] @ weights + gram[other, other] * weights[other]
        weights[other] = max(0.0, (rest - l1) / (gram[other, other] + l2))
    return weights


@pytest.mark.parametrize(("l1", "l2", "k"), [(0.5, 3.0, 100), (1.0, 0.5, 3)])
def test_slim_is_the_elastic_net_of_every_column(l1, l2, k):
    frame = planted(n_users=40, n_items=12, n_groups=3, noise=0.2, seed=2)
    x = matrix_of(frame)
    cosines = x.T @ x / np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(x, axis=0))
    np.fill_diagonal(cosines, -1.0)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, 11)]
    expected = np.stack([elastic_net(x, item, nearest[item], l1, l2) for item in range(12)], axis=1)
    found = SLIM(l1, l2, k).fit(frame)._rows.rows.toarray()
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert 5 < (expected > 0).sum() < 12 * min(k, 11)


# --- structure ---


def test_finds_what_is_planted(name):
    changed = {"factors": 4} if "factors" in MODELS[name].params else {}
    finds_what_is_planted_and_nothing_in_noise(lambda frame: fresh(MODELS[name], **changed).fit(in_order(frame)))


def walks(n_users: int, n_items: int, seed: int, scrambled: bool) -> pd.DataFrame:
    """Users who go round a circle of items from where they happen to stand, or who jump about on the same arc."""
    random = np.random.default_rng(seed)
    rows = [(start + np.arange(6)) % n_items for start in random.integers(0, n_items, n_users)]
    rows = [random.permutation(row) if scrambled else row for row in rows]
    return pd.DataFrame({"user_id": np.repeat(np.arange(n_users), 6), "item_id": np.concatenate(rows)})


@pytest.mark.parametrize("scrambled", [False, True])
def test_transitions_know_where_the_way_leads(scrambled):
    frame = in_order(walks(200, 50, seed=0, scrambled=scrambled))
    lists = Transitions(backward=0.0, gap_decay=0.5).fit(frame).recommend_batch(n=1)
    last = frame.groupby("user_id")["item_id"].last()
    share = float((lists.set_index("user_id")["item_id"] == (last + 1) % 50).mean())
    assert share < 0.5 if scrambled else share == 1.0


# --- before and around fit ---


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RP3Beta(alpha=-1), "alpha"),
        (lambda: RP3Beta(beta=float("nan")), "beta"),
        (lambda: RP3Beta(k=0), "k"),
        (lambda: Transitions(shrinkage=-1), "shrinkage"),
        (lambda: Transitions(from_power="1"), "from_power"),
        (lambda: Transitions(to_power=-0.1), "to_power"),
        (lambda: Transitions(backward=1.1), "backward"),
        (lambda: Transitions(gap_decay=0), "gap_decay"),
        (lambda: Transitions(history_decay=1.5), "history_decay"),
        (lambda: Transitions(reach=0), "reach"),
        (lambda: Transitions(keep=1.5), "keep"),
        (lambda: NormalisedSVD(factors=0), "factors"),
        (lambda: NormalisedSVD(user_power=-1), "user_power"),
        (lambda: NormalisedSVD(item_power=True), "item_power"),
        (lambda: NormalisedSVD(seed=-1), "seed"),
        (lambda: GFCF(factors=2.5), "factors"),
        (lambda: GFCF(alpha=-0.1), "alpha"),
        (lambda: SLIM(l1=0), "l1"),
        (lambda: SLIM(l2=0), "l2"),
        (lambda: SLIM(k=None), "k"),
    ],
)
def test_refuses_bad_parameters(make, named):
    with pytest.raises(ConfigError, match=rf"^{named}: a (whole )?number"):
        make()


def test_transitions_ask_for_an_order():
    with pytest.raises(DataError, match=r"column 'timestamp', or 'position' \(0 for the oldest\)"):
        Transitions().fit(frame_of_groups())


def test_slim_refuses_large_catalogues():
    frame = pd.DataFrame({"user_id": 1, "item_id": range(5001)})
    with pytest.raises(ConfigError, match="SLIM: for 5,000 items at most, not 5,001"):
        SLIM().fit(frame)


def test_params_make_the_same_baseline_again(name):
    model = MODELS[name]
    assert type(model)(**model.params).params == model.params
    assert eval(repr(model)).params == model.params


def test_items_join_the_catalogue(name):
    frame = in_order(frame_of_groups())
    model = fresh(MODELS[name]).fit(frame, items=pd.DataFrame({"item_id": [500, 3, 501]}))
    lists = model.recommend_batch([0], n=1000)
    assert {500, 501} <= set(lists["item_id"])
    assert np.isfinite(lists["score"]).all()
    assert model.recommend(history=[500], n=3)["item_id"].nunique() == 3


def test_one_user_and_one_item(name):
    frame = pd.DataFrame({"user_id": [1], "item_id": ["a"], "position": [0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fresh(MODELS[name]).fit(frame)
    assert model.recommend(1).empty
    assert model.recommend(2)["item_id"].tolist() == ["a"]


# --- tuning ---

SMALL_GRIDS = {
    "RP3Beta": {"alpha": [0.5, 1.0], "beta": [0.0, 0.4]},
    "Transitions": {"history_decay": [0.5, 0.95], "backward": [0.0, 1.0]},
    "NormalisedSVD": {"factors": [2, 4, 30]},
    "GFCF": {"factors": [2, 4], "alpha": [0.1, 1.0]},
    "SLIM": {"l1": [0.1, 2.0], "l2": [1.0, 50.0]},
}


@pytest.fixture(scope="module")
def split():
    return split_users(planted(n_users=120, n_items=40, n_groups=4, noise=0.1, seed=5, ordered=True), seed=2)


def test_tune_keeps_the_best(name, split):
    _, value = tune_keeps_the_best(type(MODELS[name]), SMALL_GRIDS[name], split)
    assert value > 0.3


@pytest.mark.parametrize(
    ("name", "home", "shared", "times"),
    [("Transitions", graph, "transition_counts", 1), ("GFCF", filters, "low_pass", 2)],
)
def test_tune_computes_once_what_settings_share(name, home, shared, times, split, monkeypatch):
    calls, real = [], getattr(home, shared)
    monkeypatch.setattr(home, shared, lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    best = type(MODELS[name]).tune(split.train, split.validation, grid=SMALL_GRIDS[name])
    assert (len(calls), len(best.tuning)) == (times, 4)


def test_default_grids_hold_valid_settings(name):
    kind = type(MODELS[name])
    settings = [dict(zip(kind.grid, values, strict=True)) for values in itertools.product(*kind.grid.values())]
    assert len({str(kind(**setting).params) for setting in settings}) == len(settings)


def test_the_half_life_of_transitions_needs_a_clock():
    frame = planted(40, 20, 2, noise=0.1, seed=0, ordered=True)
    assert Transitions(half_life=10.0).fit(frame).half_life == 10.0
    positions = frame.assign(position=frame.groupby("user_id").cumcount()).drop(columns="timestamp")
    with pytest.raises(DataError, match="timestamp"):
        Transitions(half_life=10.0).fit(positions)
    with pytest.raises(ConfigError, match="half_life"):
        Transitions(half_life=0.0)

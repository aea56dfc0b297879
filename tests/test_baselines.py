from __future__ import annotations

import builtins
import io
import sys
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
    same_lists,
    scores_of,
    tune_keeps_the_best,
)
from planted import planted

from recgan.baselines import BPR, EASE, IALS, Baseline, ItemKNN, Popular, base, closed, tuning
from recgan.errors import ConfigError, DataError, TrainingError
from recgan.popularity import HALF_LIVES
from recgan.splits import Holdout, split_users

DAY = 86_400
MODELS: dict[str, Baseline] = {
    "Popular": Popular(),
    "ItemKNN": ItemKNN(k=20, shrinkage=1.0, kind="cosine"),
    "EASE": EASE(5.0),
    "IALS": IALS(factors=8, regularisation=2.0, alpha=2.0, iterations=10),
    "BPR": BPR(factors=8, learning_rate=0.05, iterations=100),
}
PERSONAL = [name for name in MODELS if name != "Popular"]


FITS = {name: remembered(lambda frame, name=name: fresh(MODELS[name]).fit(frame)) for name in MODELS}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_contract(name, check):
    if (name, check.__name__) == ("Popular", "finds_the_checkerboard"):
        pytest.skip("popularity does not know the colours of the board")
    check(FITS[name])


# --- oracles ---


def test_ease_is_the_formula_of_the_paper():
    frame = frame_of_groups()
    x = matrix_of(frame)
    inverse = np.linalg.inv(x.T @ x + 7.0 * np.eye(x.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    np.testing.assert_allclose(scores_of(EASE(7.0).fit(frame)), x @ weights, atol=1e-5)


def test_knn_is_the_cosine():
    from sklearn.metrics.pairwise import cosine_similarity

    frame = frame_of_groups()
    x = matrix_of(frame)
    cosines = cosine_similarity(x.T)
    np.fill_diagonal(cosines, 0.0)
    model = ItemKNN(k=1000, shrinkage=0.0, kind="cosine").fit(frame)
    expected = x @ cosines
    found = scores_of(model)
    np.testing.assert_allclose(found[expected > 0], expected[expected > 0], rtol=1e-5)
    assert (found[expected == 0] < 0).all()


def test_knn_keeps_the_nearest_of_each_candidate():
    frame = frame_of_groups()
    x = matrix_of(frame)
    norms = np.linalg.norm(x, axis=0)
    similar = x.T @ x / (np.outer(norms, norms) + 3.0)
    np.fill_diagonal(similar, 0.0)
    expected = np.zeros((len(x), x.shape[1]))
    for item in range(x.shape[1]):
        nearest = np.argsort(-similar[item], kind="stable")[:4]
        expected[:, item] = x[:, nearest] @ similar[item, nearest]
    found = scores_of(ItemKNN(k=4, shrinkage=3.0, kind="cosine").fit(frame))
    np.testing.assert_allclose(np.maximum(found, 0.0), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["tfidf", "bm25"])
def test_knn_weights_by_hand(kind):
    frame = pd.DataFrame({"user_id": [1, 1, 2, 2, 2], "item_id": ["a", "b", "a", "b", "c"]})
    one, two = np.log1p(3 / 3), np.log1p(3 / 4)
    size = {"tfidf": 1.0, "bm25": 2.2 / (1.2 * (0.25 + 0.75 * 2 / (5 / 3)) + 1)}[kind]
    a = b = np.array([one, two]) * size
    model = ItemKNN(shrinkage=2.0, kind=kind).fit(frame)
    score = model.recommend(history=["a"], items=["b"])["score"][0]
    assert score == pytest.approx(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 2.0), rel=1e-6)


def test_knn_in_blocks_is_the_same(monkeypatch):
    frame = frame_of_groups()
    whole = ItemKNN(k=5).fit(frame).recommend_batch(n=6)
    monkeypatch.setattr(closed, "CELLS", 3 * 40)
    monkeypatch.setattr(base, "CELLS", 7 * 40)
    same_lists(ItemKNN(k=5).fit(frame).recommend_batch(n=6), whole)


def test_knn_puts_the_rest_behind_by_popularity():
    frame = pd.DataFrame({"user_id": [1, 1, 2, 3, 3, 4, 4], "item_id": ["a", "b", "d", "c", "d", "c", "d"]})
    lists = ItemKNN(shrinkage=0.0, kind="cosine").fit(frame).recommend(history=["a"])
    assert lists["item_id"].tolist() == ["b", "d", "c"]
    np.testing.assert_allclose(lists["score"], [1.0, 3 / 4 - 1, 2 / 4 - 1], rtol=1e-6)


def test_ials_folds_in_by_least_squares():
    frame = frame_of_groups()
    model = IALS(factors=6, regularisation=0.7, alpha=4.0, iterations=5).fit(frame)
    y = model._model.item_factors.astype(np.float64)
    x = matrix_of(frame)
    expected = np.empty_like(x)
    for user, row in enumerate(x):
        confidence = np.where(row > 0, 4.0, 1.0)
        system = y.T @ (confidence[:, None] * y) + 0.7 * np.eye(6)
        expected[user] = y @ np.linalg.solve(system, y.T @ (confidence * row))
    np.testing.assert_allclose(scores_of(model), expected, atol=1e-5)


def test_ials_says_what_to_do_when_the_system_is_singular():
    with pytest.raises(TrainingError, match=r"diverged .* raise regularisation"):
        IALS(regularisation=1e-30).fit(pd.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 2]}))
    with pytest.raises(TrainingError, match="cannot be folded in: raise regularisation"):
        IALS(regularisation=1e-12).fit(frame_of_groups())


def test_bpr_serves_learned_vectors_or_the_mean_of_the_items():
    frame = frame_of_groups()
    model = FITS["BPR"](frame)
    items, biases, users = model._item_vectors, model._biases, model._user_vectors
    np.testing.assert_allclose(scores_of(model), users @ items.T + biases, atol=1e-5)
    given = pd.DataFrame({"user_id": [0, 0, 999], "item_id": [3, 9, 5]})
    expected = np.stack([(items[3] + items[9]) / 2, items[5]]) @ items.T + biases
    np.testing.assert_allclose(scores_of(model, given), expected, atol=1e-5)


def test_bpr_asks_for_smaller_steps_when_it_diverges():
    with pytest.raises(TrainingError, match="lower learning_rate"):
        BPR(factors=8, learning_rate=1e30).fit(frame_of_groups())


@pytest.mark.parametrize("kind", [Popular, EASE])
def test_dislikes_alone_are_refused(kind):
    with pytest.raises(DataError, match="nobody likes anything"):
        kind().fit(pd.DataFrame({"user_id": [1, 1], "item_id": [2, 3], "weight": [-1, -1]}))


def test_popular_by_hand():
    frame = pd.DataFrame(
        {"user_id": [1, 2, 3, 4], "item_id": ["a", "a", "b", "c"], "timestamp": np.array([0, 10, 20, 10]) * DAY}
    )
    forgetful = Popular(half_life=10).fit(frame).recommend(9)
    assert forgetful["item_id"].tolist() == ["b", "a", "c"]
    assert forgetful["score"].tolist() == [1.0, 1 / 2 + 1 / 4, 1 / 2]
    always = Popular().fit(frame).recommend(9)
    assert always["item_id"].tolist() == ["a", "b", "c"]  # equal counts: by item number
    assert always["score"].tolist() == [2.0, 1.0, 1.0]


@pytest.mark.parametrize("order", [{}, {"position": [0, 1]}])
def test_popular_cannot_age_without_a_clock(order):
    with pytest.raises(DataError, match="half_life needs a column 'timestamp'"):
        Popular(half_life=7).fit(pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], **order}))


# --- structure ---


@pytest.mark.parametrize("name", PERSONAL)
def test_finds_what_is_planted(name):
    finds_what_is_planted_and_nothing_in_noise(FITS[name])


# --- before, around and after fit ---


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.recommend(1),
        lambda model: model.recommend(history=[1]),
        lambda model: model.recommend_batch(),
        lambda model: model.recommend_batch(histories=pd.DataFrame({"user_id": [1], "item_id": [1]})),
        lambda model: model.items,
    ],
)
def test_asks_to_be_fitted_first(name, use):
    with pytest.raises(ConfigError, match=rf"{name}: not fitted yet, call fit\(interactions\) first"):
        use(type(MODELS[name])())


def test_other_attributes_are_missing_as_usual(name):
    assert not hasattr(MODELS[name], "no_such_thing")
    assert MODELS[name].tuning is None


def test_params_make_the_same_baseline_again(name):
    model = MODELS[name]
    again = type(model)(**model.params)
    assert again.params == model.params
    assert eval(repr(model)).params == model.params


def test_fit_returns_itself_and_leaves_the_frame_alone(name):
    frame = frame_of_groups()
    copy = frame.copy()
    model = fresh(MODELS[name])
    assert model.fit(frame) is model
    pd.testing.assert_frame_equal(frame, copy)


def test_fit_reads_a_file(name, tmp_path):
    frame = frame_of_groups()
    frame.to_csv(tmp_path / "clicks.csv", index=False)
    read = fresh(MODELS[name]).fit(tmp_path / "clicks.csv")
    same_lists(FITS[name](frame).recommend_batch(n=3), read.recommend_batch(n=3))


def test_items_join_the_catalogue(name):
    frame = frame_of_groups()
    model = fresh(MODELS[name]).fit(frame, items=pd.DataFrame({"item_id": [500, 3, 501]}))
    assert model.items.tolist() == [*range(40), 500, 501]
    lists = model.recommend_batch([0], n=1000)
    assert {500, 501} <= set(lists["item_id"])
    with pytest.raises(DataError, match="no id would match"):
        type(model)().fit(frame, items=pd.DataFrame({"item_id": ["500"]}))


def test_has_no_generator_to_explore_with(name):
    with pytest.raises(ConfigError, match="no generator to explore with"):
        FITS[name](frame_of_groups()).recommend(3, explore=0.5)


def test_who_has_no_history_gets_the_popular_items(name):
    frame = frame_of_groups()
    lists = FITS[name](frame).recommend(999, n=5)
    counts = frame["item_id"].value_counts().reset_index().sort_values(["count", "item_id"], ascending=[False, True])
    assert lists["item_id"].tolist() == counts["item_id"].head(5).tolist()
    assert lists["score"].tolist() == counts["count"].head(5).tolist()


def test_one_user_and_one_item(name):
    frame = pd.DataFrame({"user_id": [1], "item_id": ["a"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fresh(MODELS[name]).fit(frame)
    assert model.recommend(1).empty
    assert model.recommend(2)["item_id"].tolist() == ["a"]


PARAMETERS = "half_life|k:|shrinkage|kind|regularisation|factors|alpha|iterations|seed|learning_rate"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Popular(half_life=0),
        lambda: Popular(half_life="7"),
        lambda: ItemKNN(k=0),
        lambda: ItemKNN(k=2.5),
        lambda: ItemKNN(shrinkage=-1),
        lambda: ItemKNN(kind="jaccard"),
        lambda: EASE(0),
        lambda: EASE(float("nan")),
        lambda: EASE(True),
        lambda: IALS(factors=0),
        lambda: IALS(regularisation=0),
        lambda: IALS(alpha=float("inf")),
        lambda: IALS(iterations=0),
        lambda: IALS(seed=-1),
        lambda: BPR(learning_rate=0),
        lambda: BPR(regularisation=-0.1),
    ],
)
def test_refuses_bad_parameters(make):
    with pytest.raises(ConfigError, match=PARAMETERS):
        make()


@pytest.mark.parametrize("model", [IALS(factors=4), BPR(factors=4)], ids=["IALS", "BPR"])
def test_a_missing_library_is_named(model, monkeypatch):
    real = builtins.__import__
    for module in [module for module in sys.modules if module.split(".")[0] == "implicit"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "implicit", None)
    monkeypatch.setattr(builtins, "__import__", real)
    with pytest.raises(ConfigError, match=r"pip install recgan\[bench\]"):
        model.fit(frame_of_groups())


@pytest.mark.parametrize("kind", [IALS, BPR])
def test_the_seed_decides(kind):
    frame = frame_of_groups()
    a, b = (kind(factors=8, iterations=2, seed=seed).fit(frame).recommend_batch(n=5) for seed in (0, 1))
    assert not np.allclose(a["score"], b["score"])


# --- tuning ---

SMALL_GRIDS = {
    "Popular": {"half_life": [None]},
    "ItemKNN": {"k": [5, 20], "kind": ["cosine", "bm25"]},
    "EASE": {"regularisation": [0.1, 10, 1e6]},
    "IALS": {"factors": [4, 8], "alpha": [2.0]},
    "BPR": {"learning_rate": [1e30, 0.05], "iterations": [20]},
}


@pytest.fixture(scope="module")
def split():
    return split_users(planted(n_users=120, n_items=40, n_groups=4, noise=0.1, seed=5), seed=2)


def test_tune_keeps_the_best(name, split):
    best, _ = tune_keeps_the_best(type(MODELS[name]), SMALL_GRIDS[name], split)
    winner = best.tuning.loc[best.tuning["ndcg@10"].astype(float).idxmax()]
    assert best.params == {key: winner[key] for key in best.params}


def test_tune_notes_what_diverged(split):
    table = BPR.tune(split.train, split.validation, grid=SMALL_GRIDS["BPR"]).tuning
    assert table["ndcg@10"].isna().tolist() == [True, False]
    with pytest.raises(TrainingError, match="no setting of the grid could be fitted"):
        BPR.tune(split.train, split.validation, grid={"learning_rate": [1e30]})


def test_tune_computes_one_spectrum(split, monkeypatch):
    calls, real = [], closed.spectrum
    monkeypatch.setattr(closed, "spectrum", lambda histories: calls.append(1) or real(histories))
    best = EASE.tune(split.train, split.validation, metric="recall@5")
    assert len(calls) == 1
    assert len(best.tuning) == len(EASE.grid["regularisation"])
    assert 0 < best.tuning["recall@5"].max() <= 1


def test_popular_tunes_half_lives_only_with_a_clock(split):
    assert Popular.tune(split.train, split.validation).tuning["half_life"].tolist() == [None]
    timed = split.train.assign(timestamp=range(len(split.train)))
    assert Popular.tune(timed, split.validation).tuning["half_life"].tolist() == list(HALF_LIVES)


def test_tune_serves_users_without_known_items(split):
    truth = pd.concat([split.validation.truth, pd.DataFrame({"user_id": [901, 902], "item_id": [0, 1]})])
    history = pd.concat([split.validation.history, pd.DataFrame({"user_id": [902, 903], "item_id": [12345, 12345]})])
    best = EASE.tune(split.train, Holdout(history, truth), grid={"regularisation": [10.0]})
    assert 0 < best.tuning["ndcg@10"][0] < 1
    nobody = Holdout(history.iloc[:0], split.validation.truth)
    popular = Popular.tune(split.train, nobody).tuning["ndcg@10"][0]
    assert EASE.tune(split.train, nobody, grid={"regularisation": [10.0]}).tuning["ndcg@10"][0] == popular


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "coverage@10"}, "metric: one of hit"),
        ({"metric": "ndcg"}, "metric: one of hit"),
        ({"grid": {"lambda": [1]}}, "EASE has no 'lambda'; it has regularisation"),
        ({"grid": {"regularisation": []}}, "a list of values"),
        ({"grid": {"regularisation": 3}}, "a list of values"),
        ({"grid": {"regularisation": [1, -1]}}, "above 0"),
    ],
)
def test_tune_refuses(split, options, message):
    with pytest.raises(ConfigError, match=message):
        EASE.tune(split.train, split.validation, **options)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("patience", "shown"), [(-1.0, True), (60.0, False)])
def test_a_bar_shows_up_after_a_moment_on_a_terminal(split, monkeypatch, patience, shown):
    monkeypatch.setattr(tuning, "PATIENCE", patience)
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    EASE.tune(split.train, split.validation, grid={"regularisation": [1.0, 2.0]})
    assert ("tuning EASE" in sys.stderr.getvalue()) == shown


def test_silent_without_a_terminal(split, monkeypatch, capsys):
    monkeypatch.setattr(tuning, "PATIENCE", -1.0)
    IALS.tune(split.train, split.validation, grid={"factors": [4]})
    assert capsys.readouterr() == ("", "")

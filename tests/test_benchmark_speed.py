from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import profile_step
import speed
import watching
from floors import Machine, Work
from measuring import QUICK
from planting import Planted, held_out
from watching import Curve, Quality, best, first, recgan_curve, rival_curve

import recgan
from recgan.baselines import BPR, EASE, IALS, MultVAE, tuning
from recgan.baselines.base import TrainingData


@pytest.fixture(scope="module")
def cut():
    """A training part, and the last item of some users."""
    train, truth = held_out(Planted(3_000, 60, 120, ordered=True).frame(), 80, seed=0)
    return train, recgan.Holdout(train[train["user_id"].isin(truth["user_id"])], truth)


@pytest.mark.parametrize("kind", [EASE, BPR, MultVAE])
def test_the_quality_of_a_rival_is_that_of_its_lists(kind, cut):
    train, holdout = cut
    params = {"epochs": 2} if kind is MultVAE else {}
    model, data = kind(**params).fit(train), TrainingData.read(train, None)
    quality = Quality.of(data.users, data.items, holdout, "ndcg@10")
    assert quality.of_rival(model) == pytest.approx(tuning._judged(model, holdout, "ndcg@10", 10))


def test_a_rival_is_looked_at_where_it_stands(cut):
    train, holdout = cut
    params = {"factors": 8, "iterations": 10}
    curve = rival_curve(IALS, params, train, holdout, "ndcg@10").points
    assert [point["step"] for point in curve] == [f"iteration {one}" for one in (1, 2, 4, 6, 8, 10)]
    whole = IALS(**params).fit(train)
    assert curve[-1]["value"] == pytest.approx(tuning._judged(whole, holdout, "ndcg@10", 10))
    epochs = rival_curve(MultVAE, {"epochs": 4, "hidden": 8, "latent": 4}, train, holdout, "ndcg@10").points
    assert [point["step"] for point in epochs] == [f"epoch {one}" for one in (1, 2, 3, 4)]
    for axis in ("processor", "wall"):
        assert all(np.diff([point[axis] for point in epochs]) > 0)


def test_measuring_takes_no_time(monkeypatch):
    now = np.zeros(2)
    monkeypatch.setattr(watching.Stopwatch, "_now", staticmethod(lambda: now.copy()))

    def pass_by(seconds: float) -> float:
        now[:] += seconds, 2 * seconds
        return 0.5

    curve = Curve()
    pass_by(3.0)
    curve.note("a", lambda: pass_by(10.0))
    pass_by(4.0)
    curve.note("b", lambda: pass_by(10.0), aside=np.array([1.0, 1.0]))
    curve.note("c", lambda: 0.1)
    assert [(one["step"], one["processor"], one["wall"]) for one in curve.points] == [
        ("a", 3.0, 6.0),
        ("b", 8.0, 15.0),
        ("c", 7.0, 14.0),
    ]


def test_watching_changes_nothing(cut):
    train, holdout = cut
    config = recgan.Config(**{**QUICK, "epochs": 3, "progress": False, "adversarial": "none"})
    points = recgan_curve(config, train, holdout, "ndcg@10").points
    model = recgan.train(train, validation=holdout, config=config)
    steps = ["strongest closed form", "closed forms", "epoch 1", "epoch 2", "epoch 3", "weights chosen"]
    assert [point["step"] for point in points] == steps
    told, values = model.info(), {point["step"]: point["value"] for point in points}
    assert [values[f"epoch {one}"] for one in (1, 2, 3)] == pytest.approx(
        [point["metric"] for point in told["ranking"]["curve"]]
    )
    assert values["weights chosen"] == pytest.approx(told["ablation"]["both"])
    assert values["strongest closed form"] == pytest.approx(max(told[name] for name in ("dense", "factors", "sparse")))


def test_training_ends_where_it_is_good_enough(cut):
    train, holdout = cut
    config = recgan.Config(**{**QUICK, "epochs": 3, "progress": False})
    whole = recgan_curve(config, train, holdout, "ndcg@10").points
    some = recgan_curve(config, train, holdout, "ndcg@10", enough=whole[2]["value"]).points
    ends = next(place for place, point in enumerate(whole) if point["value"] >= whole[2]["value"])
    assert [point["value"] for point in some] == [point["value"] for point in whole[: ends + 1]]


def test_who_was_there_first():
    rows = [("a", 9.0, 0.2), ("b", 5.0, 0.3), ("c", 6.0, 0.4), ("d", 7.0, 0.4)]
    points = [{"step": step, "processor": seconds, "value": value} for step, seconds, value in rows]
    assert best(points)["step"] == "c"
    assert first(points, 0.2)["step"] == "b"
    assert first(points, 0.5) is None
    row = speed.compared("EASE", {"params": {}, "seconds": 1.0, "tried": 2, "finished": True}, points[:2], points)
    assert (row["best"]["step"], row["reached"]["step"], row["ratio"]) == ("b", "b", 1.0)
    assert row["ratio_with_search"] == pytest.approx(5 / 6)
    assert speed.compared("EASE", row["search"], [{**points[0], "value": 0.9}], points)["ratio"] is None


def test_only_so_many_users_are_asked(cut):
    _, holdout = cut
    some = speed.limited(holdout, 20, seed=0)
    assert some.truth["user_id"].nunique() == some.history["user_id"].nunique() == 20
    assert len(speed.limited(holdout, 1000, seed=0).truth) == len(holdout.truth)


@pytest.mark.slow
def test_a_protocol_from_data_to_the_table(tmp_path, capsys):
    frame = Planted(3_000, 60, 120).frame().sample(frac=1.0, random_state=0)
    split = np.where(np.random.default_rng(0).random(len(frame)) < 0.2, "test", "train")
    (tmp_path / "cfgan-ml100k").mkdir()
    frame.assign(split=split).to_parquet(tmp_path / "cfgan-ml100k" / "interactions.parquet")
    settings, out = tmp_path / "settings.json", tmp_path / "speed.json"
    chosen = {"params": {"regularisation": 50.0}, "seconds": 3.0, "tried": 4, "finished": True}
    settings.write_text(json.dumps({"EASE": {"0": chosen}}))
    where = ["--data", str(tmp_path), "--settings", str(settings), "--out", str(out)]
    assert speed.main(["cfgan", *where, "--quick", "--here", "--table", "markdown"]) == 0
    result, shown = json.loads(out.read_text()), capsys.readouterr().out
    assert [row["rival"] for row in result["rows"]] == ["EASE"]
    assert "| rival | best NDCG@20 | at | s | search s | tried | recgan there at | s | ratio | with search |" in shown
    assert "| weights chosen |" in shown


@pytest.mark.parametrize("name", ["bag", "rows", "sequence"])
def test_the_parts_of_a_step_are_told_apart(name, monkeypatch):
    title, planted = profile_step.CASES[name]
    monkeypatch.setitem(
        profile_step.CASES, name, (title, replace(planted, interactions=3_000, n_items=400, n_users=300))
    )
    monkeypatch.setattr(profile_step, "WARM", 2)
    settings = {**QUICK, "batch_size": 32, "n_negatives": 20}
    settings |= {} if name == "bag" else {"full_softmax_items": 1}
    case = profile_step.profiled(name, 4, settings)
    seconds = {one["part"]: one["seconds"] for one in case["parts"]}
    assert list(seconds) == list(profile_step.PARTS)
    timed = {name for name, value in seconds.items() if value > 0}
    assert timed >= {*profile_step.PARTS} - {"rows"}
    floors = {one["part"]: sum(one["floor"].values()) for one in case["parts"]}
    assert not floors["batch"] + floors["rest"]
    assert all(floors[part] > 0 for part in profile_step.PARTS if part not in ("batch", "rest", "rows"))
    assert (floors["rows"] > 0) == (name != "bag")
    cells = profile_step.sheet(case).rows
    assert cells[-1][0] == "step"
    assert float(cells[-1][1]) == pytest.approx(1e3 * sum(seconds.values()), abs=0.01)


def test_the_work_of_a_product_is_counted():
    work = Work([(3, 4, 5, 2.0)], backward=True, numbers=7, of=10)
    assert work.flops == 2 * 3 * 4 * 5 * 2 * 2
    assert Work([(3, 4, 5, 2.0)]).flops == work.flops / 2


def test_a_floor_is_the_sum_of_products_and_moving():
    machine = Machine(repeats=3)
    products, moving = Work([(64, 32, 48, 1.0)], numbers=1 << 16, of=1 << 16).floor(machine)
    assert products > 0
    assert moving > 0
    assert Work([(64, 32, 48, 1.0)]).floor(machine)[1] == 0

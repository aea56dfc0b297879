"""The benchmark's subjects that measure lists: moods, dial, uncertainty, calibration."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import planted

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import dial_curves
import generator
import long_tail
import tested

USERS, ITEMS = 150, 80


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Films of four kinds and users who like one of them."""
    folder = tmp_path_factory.mktemp("data") / "ml-1m"
    folder.mkdir()
    frame = planted(USERS, ITEMS, 4, noise=0.2, seed=0).astype({"user_id": "int32", "item_id": "int32"})
    frame = frame.assign(rating=5, position=frame.groupby("user_id").cumcount())
    frame.to_parquet(folder / "interactions.parquet", index=False)
    titles = [f"Film {item} (19{50 + item % 40})" for item in range(ITEMS)]
    kinds = [f"kind {item % 4}|{'even' if item % 2 else 'odd'}" for item in range(ITEMS)]
    items = pd.DataFrame({"item_id": np.arange(ITEMS, dtype="int32"), "title": titles, "categories": kinds})
    items.to_parquet(folder / "items.parquet", index=False)
    people = {"user_id": np.arange(USERS, dtype="int32"), "gender": "F", "age": "18", "occupation": "1", "zip": "1"}
    pd.DataFrame(people).to_parquet(folder / "users.parquet", index=False)
    return folder.parent


@pytest.fixture(scope="module")
def measured(data, tmp_path_factory):
    """A subject's result; the model is trained by whoever comes first."""
    out = tmp_path_factory.mktemp("out")

    def call(subject: str) -> dict:
        path = out / f"{subject}.json"
        options = ["--data", str(data), "--set", "ml-1m", "--seeds", "1", "--quick", "--out", str(path)]
        assert generator.main([subject, *options, "--table", "markdown"]) == 0
        return json.loads(path.read_text(encoding="utf-8"))

    return call


def test_moods(measured, capsys):
    rows = measured("moods")["rows"]
    assert rows["between, categories"][0] < rows["coherence, categories"][0]
    assert all(row[1] <= row[0] <= row[2] for row in rows.values() if row[0] is not None)
    assert "held-out categories reached by all moods" in capsys.readouterr().out


def test_uncertainty(measured, capsys):
    result = measured("uncertainty")
    assert -1.0 <= result["rank correlation of uncertainty and NDCG@10"] <= 1.0
    assert result["all"][2] <= result["all"][0] - result["all"][1] <= result["all"][3]
    assert "most certain" in capsys.readouterr().out


def test_dial(measured, capsys):
    curves = measured("dial")["curves"]
    dial = np.array(curves["dial"])
    assert (np.diff(dial[:, 2]) > -0.01).all()
    assert dial[0].tolist() == curves["MMR"][0]
    assert dial[-1][5] > 0.0 == dial[0][5]
    out = capsys.readouterr().out
    assert "Dial minus knob" in out
    assert "95 % interval over users" in out
    assert "Share of what all reach together" in out


def test_the_tables_of_a_stored_result_need_no_data(measured, tmp_path, capsys):
    path = tmp_path / "dial.json"
    path.write_text(json.dumps(measured("dial")), encoding="utf-8")
    told = capsys.readouterr().out
    options = ["--data", str(tmp_path), "--set", "ml-1m", "--out", str(path), "--stored", "--table", "markdown"]
    assert generator.main(["dial", *options]) == 0
    assert capsys.readouterr().out == told


def test_calibration(measured, capsys):
    for curve in measured("calibration")["curves"].values():
        assert curve[-1][1] <= curve[0][1]
    assert "Steck" in capsys.readouterr().out


def test_likeness_is_that_of_all_pairs():
    rows = np.random.default_rng(0).normal(size=(9, 4))
    lists = np.array([[0, 3, 5], [8, 1, 2]])
    brute = [np.mean([rows[a] @ rows[b] for a in some for b in some if a != b]) for some in lists]
    np.testing.assert_allclose(tested.likeness(rows, lists), brute)


def test_a_margin_is_the_distance_from_the_knob_at_the_same_accuracy():
    def point(ndcg, diversity):
        return [ndcg, 0.0, diversity, 0.0, 0.0, 0.0]

    curves = {
        "dial": [point(0.5, 0.1), point(0.35, 0.4), point(0.1, 0.9)],
        "MMR": [point(0.5, 0.1), point(0.4, 0.2), point(0.3, 0.4)],
        "mean likeness": [point(0.5, 0.1)],
        "popularity weight": [point(0.5, 0.1)],
        "Gumbel temperature": [point(0.5, 0.1)],
    }
    margins = dial_curves._margins(curves, "diversity, vectors")["diversity beside MMR"]
    assert margins[:2] == pytest.approx([0.0, 0.1])
    assert margins[2] is None


def test_a_lead_is_that_in_accuracy_at_the_same_value_of_the_axis():
    def point(diversity):
        return [0.0, 0.0, diversity, 0.0, 0.0, 0.0]

    far = {name: [point(0.1)] for name in ("mean likeness", "popularity weight", "Gumbel temperature")}
    curves = {"dial": [point(0.1), point(0.3), point(0.9)], "MMR": [point(0.1), point(0.2), point(0.4)], **far}
    mmr = np.array([[0.9, 0.7], [0.8, 0.6], [0.6, 0.6]])
    values = {"dial": mmr + 0.1, "MMR": mmr, **dict.fromkeys(far, mmr[:1])}
    lead = dial_curves._lead(curves, values, "diversity, vectors")["diversity beside MMR"]
    assert lead[0] == pytest.approx([0.1, 0.1, 0.1])
    assert lead[1][0] == pytest.approx(np.mean([0.9 - 0.7, 0.7 - 0.6]))
    assert lead[1][1:] == pytest.approx([0.1, 0.2])
    assert lead[2] == [None, None, None]


def test_a_user_of_two_splits_counts_once():
    seeds = [dial_curves.Point([], np.array([0.2, 0.4])), dial_curves.Point([], np.array([0.6, 0.8]))]
    np.testing.assert_allclose(dial_curves._by_user(seeds, np.array([1, 2, 2, 3])), [0.2, 0.5, 0.8])


@pytest.mark.parametrize("mean", [False, True])
def test_unlike_items_are_chosen_one_after_the_other(mean):
    random = np.random.default_rng(0)
    space = random.normal(size=(40, 6))
    space /= np.linalg.norm(space, axis=1, keepdims=True)
    numbers, merit = random.permuted(np.tile(np.arange(40), (5, 1)), axis=1)[:, :20], random.normal(size=(5, 20))
    found = dial_curves._unlike(space, numbers, merit, 2.0, mean=mean)
    for row in range(5):
        chosen = []
        for _ in range(dial_curves.N):
            left = [k for k in range(20) if numbers[row, k] not in chosen]
            above = [[space[numbers[row, k]] @ space[one] for one in chosen] or [0.0] for k in left]
            alike = np.array([np.mean(values) if mean else max(0.0, *values, -1.0) for values in above])
            chosen.append(numbers[row, left[int((merit[row, left] - 2.0 * alike).argmax())]])
        assert found[row].tolist() == chosen


def front_curves():
    """Levels of NDCG@10 from .5 to .4; categories without values, one knob for each other axis that gains."""

    def point(ndcg, *gains):
        return [ndcg, None, *(1.0 + gain for gain in gains)]

    start = point(0.5, 0.0, 0.0, 0.0, 0.0)
    return {
        "dial": [start, point(0.4, 0.2, 0.2, 0.2, 0.2)],
        "MMR": [start, point(0.4, 0.4, 0.0, 0.0, 0.0)],
        "mean likeness": [start, point(0.4, 0.1, 0.0, 0.0, 0.0)],
        "popularity weight": [start, point(0.4, -0.3, 0.2, 0.1, 0.0)],
        "Gumbel temperature": [start, point(0.45, 0.0, 0.0, 0.0, 0.4), point(0.2, 0.0, 0.0, 0.0, 0.9)],
    }


def test_a_share_is_what_a_curve_gains_of_what_the_best_gains_at_equal_accuracy():
    shares = dial_curves.fronts(front_curves())
    assert np.isnan(shares["dial"][0])
    assert shares["dial"][1:4] == pytest.approx([0.5, 1.0, 1.0])
    assert shares["MMR"][1:5] == pytest.approx([1.0, 0.0, 0.0, 0.0])
    assert shares["popularity weight"][1:5] == pytest.approx([0.0, 1.0, 0.5, 0.0])
    assert shares["Gumbel temperature"][4] == pytest.approx(1.0)


def test_all_axes_at_once_are_the_mean_of_the_gains():
    shares = dial_curves.fronts(front_curves())
    assert shares["dial"][5] == pytest.approx(1.0)
    assert shares["MMR"][5] == pytest.approx(0.25 / np.mean([0.5, 1.0, 1.0, 0.2 / 0.5]))


def test_the_dial_is_held_against_the_best_knob_of_an_axis_whichever_it_is():
    beside = dial_curves._beside_best(front_curves())
    assert beside["diversity, vectors"] == pytest.approx([0.0, -0.2])
    assert beside["coverage"] == pytest.approx([0.0, 0.0])
    assert beside["novelty"] == pytest.approx([0.0, 0.1])


def test_long_tail(data, tmp_path, capsys):
    options = [
        "--data",
        str(data),
        "--set",
        "ml-1m",
        "--quick",
        "--rivals",
        "EASE",
        "--models",
        str(tmp_path / "models"),
    ]
    assert long_tail.main([*options, "--out", str(tmp_path / "tail.json"), "--table", "markdown"]) == 0
    curves = json.loads((tmp_path / "tail.json").read_text(encoding="utf-8"))["curves"]
    first = [curve["points"][0] for name, curve in curves.items() if name.startswith("recgan")]
    assert all(point == first[0] for point in first)
    costly, free = (curves["recgan, popularity="]["points"][place] for place in (-1, 0))
    assert costly[3] < free[3]
    assert "Share of the tail (%) at equal accuracy" in capsys.readouterr().out


def test_the_tail_at_equal_accuracy_lies_on_the_pieces_of_the_curve():
    points = [[1.0, 0.1], [0.9, 0.3], [0.8, 0.2]]
    curves = {"recgan, popularity=": {"points": points}, "worse": {"points": [[0.94, 0.5]]}}
    found = long_tail.at_equal(curves)
    assert found["recgan, popularity="] == pytest.approx([10.0, 12.0, 14.0, 20.0, 30.0])
    assert np.isnan(found["worse"][:4]).all()
    assert found["worse"][4] == pytest.approx(50.0)

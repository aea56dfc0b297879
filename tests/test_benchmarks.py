from __future__ import annotations

import functools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import planted

import recgan

FOLDER = Path(__file__).parent.parent / "scripts" / "benchmarks"
sys.path.insert(0, str(FOLDER))

import accuracy  # noqa: E402
import jobs  # noqa: E402
import measuring  # noqa: E402
import protocols  # noqa: E402
import results  # noqa: E402
import rivals  # noqa: E402
from tables import Sheet  # noqa: E402

PARTS = ["popularity", "linear", "generator", "both", "both + discriminator", "both, z on"]


def rated(seed: int = 0) -> pd.DataFrame:
    """Two groups of users who like the items of their group, rated and in order."""
    frame = planted(60, 40, 2, noise=0.1, seed=seed, ordered=True)
    random = np.random.default_rng(seed)
    frame["rating"] = random.choice([3, 4, 5], len(frame), p=[0.1, 0.4, 0.5])
    order = frame.groupby("user_id")["timestamp"].rank(method="first").astype(int) - 1
    frame["split"] = np.where(random.random(len(frame)) < 0.2, "test", "train")
    return frame.assign(position=order)


def films(ids: pd.Series) -> pd.DataFrame:
    kinds = [("Drama", "Drama|War")[number % 2] for number in range(len(ids))]
    titles = [f"Film {number} (19{50 + number})" for number in range(len(ids))]
    return pd.DataFrame({"item_id": ids, "title": titles, "categories": kinds})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """All data sets, tiny, with the columns of the real ones."""
    root, frame, items = tmp_path_factory.mktemp("data"), rated(), pd.Series(np.arange(42))
    short = frame.astype({"user_id": "int32", "item_id": "int32"})
    late = frame["timestamp"] + 10**8 * (frame["user_id"] > 56)  # users whom training does not know
    text = frame.assign(timestamp=late, item_id=frame["item_id"].map("{:07d}".format))
    lists = pd.DataFrame({"item_id": items, "attributes": [[number % 2, 7] for number in items]})
    people = pd.DataFrame(
        {"user_id": np.arange(60, dtype="int32"), "gender": ["F", "M"] * 30, "age": ["18", "25"] * 30}
    )
    tables = {
        "cfgan-ml100k/interactions": frame[["user_id", "item_id", "rating", "split"]],
        "gowalla/interactions": short[["user_id", "item_id", "split"]],
        "amazon-beauty/interactions": short[["user_id", "item_id", "position"]],
        "amazon-beauty/items": lists,
        "ml-1m/interactions": short[["user_id", "item_id", "rating", "position"]],
        "ml-1m/items": films(items.astype("int32")),
        "ml-1m/users": people.assign(occupation="10", zip="48067"),
        "movietweetings/interactions": text[["user_id", "item_id", "rating", "timestamp"]],
        "movietweetings/items": films(items.map("{:07d}".format)),
        "interactions": text[["user_id", "item_id", "timestamp"]],
    }
    for name, table in tables.items():
        (root / name).parent.mkdir(exist_ok=True)
        table.to_parquet(root / f"{name}.parquet", index=False)
    return root


@pytest.fixture
def bench(data, tmp_path):
    """Runs the command line in this process and reads what it wrote."""

    def call(protocol: str, models: str, *options: str) -> dict:
        out, settings = tmp_path / "result.json", tmp_path / "settings.json"
        where = ["--data", str(data), "--out", str(out), "--settings", str(settings)]
        assert accuracy.main([protocol, *where, "--models", models, "--quick", "--here", *options]) == 0
        return json.loads(out.read_text(encoding="utf-8"))

    return call


def row_of(result: dict, model: str) -> dict:
    return next(row for row in result["rows"] if row["model"] == model)


# --- the command line ---


@pytest.mark.slow
@pytest.mark.parametrize("name", list(protocols.PROTOCOLS))
def test_a_protocol_from_data_to_tables(name, bench, capsys):
    protocol = protocols.PROTOCOLS[name]
    ours = protocol.ours if name == "beauty" else protocol.ours[-1:]
    result = bench(name, ",".join(["Popular", "EASE", *ours]), "--seeds", "1")
    assert [row["model"] for row in result["rows"]] == ["Popular", "EASE", *ours]
    for row in result["rows"]:
        assert list(row["metrics"]) == list(protocol.metrics)
        assert all(0 <= value["low"] <= value["mean"] <= value["high"] <= 1 for value in row["metrics"].values())
    assert row_of(result, "EASE")["metrics"][protocol.tuning_metric]["mean"] > 0.1
    assert [one["model"] for one in result["recgan"]] == list(ours)
    assert all(list(one["ablation"]) == PARTS and one["weights"] for one in result["recgan"])
    assert {row["model"] for row in result["published"]} == set(protocol.published)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ["recgan", "best rival", "regularisation=", "both + discriminator"])
    assert ("Users unknown before" in shown) == protocol.groups


def test_the_values_are_those_of_the_lists(bench, data):
    result = bench("cfgan", "EASE,Popular")
    frame = pd.read_parquet(data / "cfgan-ml100k" / "interactions.parquet")
    train, truth = frame[frame["split"] == "train"], frame[frame["split"] == "test"]
    setting = row_of(result, "EASE")["tuning"]["0"]["params"]
    model = recgan.baselines.EASE(**setting).fit(train[["user_id", "item_id"]])
    recall, ndcg = [], []
    for user, wanted in truth.groupby("user_id")["item_id"]:
        wanted = set(wanted) - {None}
        hits = [item in wanted for item in model.recommend(user, 5)["item_id"]]
        recall.append(sum(hits) / len(wanted))
        ideal = sum(1 / math.log2(place + 2) for place in range(min(5, len(wanted))))
        ndcg.append(sum(hit / math.log2(place + 2) for place, hit in enumerate(hits)) / ideal)
    values = row_of(result, "EASE")["metrics"]
    assert values["recall@5"]["mean"] == pytest.approx(np.mean(recall))
    assert values["ndcg@5"]["mean"] == pytest.approx(np.mean(ndcg))
    assert values["ndcg@5"]["p_value"] is None
    assert result["best_rival"]["ndcg@5"] == "EASE"
    assert row_of(result, "Popular")["metrics"]["ndcg@5"]["p_value"] < 0.05


@pytest.fixture
def counted(monkeypatch):
    """Notes what is done: ("tune", model) or ("measure", model)."""
    done = []
    for module, name in ((accuracy, "tune"), (jobs, "measure")):

        def noting(original, job, path):
            done.append((original.__name__, job.model))
            original(job, path)

        monkeypatch.setattr(module, name, functools.partial(noting, getattr(module, name)))
    return done


def test_what_is_finished_is_not_done_again(bench, counted):
    first = bench("gowalla", "Popular,EASE")
    both = [("tune", "Popular"), ("measure", "Popular"), ("tune", "EASE"), ("measure", "EASE")]
    assert counted == both
    second = bench("gowalla", "Popular,EASE")
    assert counted == both
    assert second["rows"] == first["rows"]
    bench("gowalla", "EASE", "--redo")
    assert counted[4:] == [("measure", "EASE")]
    bench("gowalla", "EASE", "--retune")
    assert counted[5:] == [("tune", "EASE")]
    bench("gowalla", "Popular")
    assert len(counted) == 6


def test_every_split_has_its_own_setting(bench, counted):
    result = bench("ml-1m-users", "EASE", "--seeds", "2")
    row = row_of(result, "EASE")
    assert counted == [("tune", "EASE"), ("measure", "EASE")] * 2
    assert row["seeds"] == [0, 1]
    assert list(row["tuning"]) == ["0", "1"]
    value = row["metrics"]["ndcg@100"]
    assert value["deviation"] == pytest.approx(np.std(value["of_seeds"], ddof=1))


def test_markdown_and_a_model_that_does_not_exist(bench, capsys):
    result = bench("beauty", "Popular,Oracle", "--table", "markdown")
    assert result["notes"] == ["Oracle: no such model here, it is left out"]
    shown = capsys.readouterr().out
    assert "| model | HR@10 | NDCG@10 | p, NDCG@10 | fit s | tuning s | MiB |" in shown
    assert "Note: Oracle" in shown


@pytest.mark.slow
def test_in_processes_of_their_own(data, tmp_path, capfd):
    bad = {"params": {"regularisation": -1.0}, "value": 0.0, "tried": 1, "seconds": 0.0, "edges": [], "finished": True}
    settings, out = tmp_path / "settings.json", tmp_path / "result.json"
    settings.write_text(json.dumps({"EASE": {"0": bad}}))
    where = ["--data", str(data), "--out", str(out), "--settings", str(settings)]
    assert accuracy.main(["cfgan", *where, "--models", "Popular,EASE", "--quick"]) == 1
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [row["model"] for row in result["rows"]] == ["Popular"]
    assert 50 < result["rows"][0]["peak_mib"] < 4000
    assert result["notes"] == ["EASE: measure ended with exit code 1: it is left out"]
    assert "above 0" in capfd.readouterr().err


# --- what a result hangs on ---


def test_a_result_hangs_on_job_and_code(data, monkeypatch, tmp_path):
    job = measuring.Job("cfgan", str(data), "EASE", 0, {"regularisation": 10.0})
    others = [
        measuring.Job("cfgan", str(data), "EASE", 1, {"regularisation": 10.0}),
        measuring.Job("cfgan", str(data), "EASE", 0, {"regularisation": 20.0}),
        measuring.Job("gowalla", str(data), "EASE", 0, {"regularisation": 10.0}),
    ]
    assert len({jobs.key(one) for one in [job, *others]}) == 4
    before = jobs.key(job)
    code = tmp_path / "code.py"
    code.write_text("changed = True")
    monkeypatch.setattr(jobs, "sources", lambda model: [code])
    assert jobs.key(job) != before


def test_sources_of_a_rival_and_of_recgan():
    rival = {path.name for path in jobs.sources("EASE")}
    assert {"closed.py", "base.py", "spectral.py", "top.py"} <= rival
    assert not {"baselines/factors.py", "training/run.py"} & {
        f"{path.parent.name}/{path.name}" for path in jobs.sources("EASE")
    }
    assert {"encoders.py", "losses.py"} <= {path.name for path in jobs.sources("SASRec")} - rival
    assert {path.name for path in jobs.sources("recgan")} >= {"run.py", "encoders.py", *rival}


# --- the splits ---


def pairs(frame: pd.DataFrame) -> set:
    return set(zip(frame["user_id"], frame["item_id"], strict=True))


@pytest.mark.parametrize("name", list(protocols.PROTOCOLS))
def test_no_truth_is_fitted(name, data):
    task = protocols.load(protocols.PROTOCOLS[name], data, 0)
    for fitted, holdout in ((task.train, task.validation), (task.fit, task.test), (task.whole, task.test)):
        assert len(holdout.truth) > 0
        assert not pairs(fitted) & pairs(holdout.truth)
    assert not pairs(task.train) & pairs(task.test.truth)
    assert pairs(task.train) <= pairs(task.fit) <= pairs(task.whole)


def test_a_published_split_is_tuned_on_a_share_of_its_train_part(data):
    task = protocols.load(protocols.PROTOCOLS["cfgan"], data, 0)
    assert pairs(task.train) | pairs(task.validation.truth) == pairs(task.fit)
    assert len(task.validation.truth) / len(task.fit) == pytest.approx(0.2, abs=0.03)


def test_the_refitted_row_knows_all_but_the_last_item(data):
    task = protocols.load(protocols.PROTOCOLS["beauty"], data, 0)
    assert pairs(task.whole) == pairs(task.test.history)
    assert pairs(task.whole) - pairs(task.train) == pairs(task.validation.truth)


def test_metadata(data):
    task = protocols.load(protocols.PROTOCOLS["beauty"], data, 0)
    assert task.items["categories"].tolist()[:2] == ["0|7", "1|7"]
    assert task.items["item_id"].dtype == task.fit["item_id"].dtype == np.int32
    task = protocols.load(protocols.PROTOCOLS["ml-1m-users"], data, 0)
    assert task.items["year"].tolist()[:2] == [1950.0, 1951.0]
    assert list(task.users.columns) == ["user_id", "gender", "age"]
    assert list(task.train.columns) == ["user_id", "item_id"]


# --- the search ---


def separable(setting: dict) -> float:
    return -abs(math.log(setting["a"] / 30)) - (setting["b"] - 3) ** 2 + (setting["c"] == "y")


def searched(values: dict, start: dict, **options):
    seen = []

    def measure(settings):
        seen.extend(map(repr, settings))
        return [separable(setting) for setting in settings]

    search = rivals.Search(measure, values, **options)
    return search.run(start), seen, search


VALUES = {"a": [1.0, 10.0, 30.0, 100.0], "b": [1, 2, 3, 4, 5], "c": ["x", "y", "z"]}


def test_the_search_finds_the_optimum_of_a_separable_function():
    found, seen, _ = searched(VALUES, {"a": 1.0, "b": 1, "c": "x"})
    assert found.params == {"a": 30.0, "b": 3, "c": "y"}
    assert found.value == pytest.approx(1.0)
    assert found.edges == []
    assert found.finished
    assert len(seen) == len(set(seen)) == found.tried


def test_a_list_is_extended_at_its_edge():
    found, _, search = searched({**VALUES, "a": [1.0, 5.0, 10.0]}, {"a": 1.0, "b": 1, "c": "x"})
    assert search.values["a"] == [1.0, 5.0, 10.0, 20.0, 40.0]  # once in either round
    assert found.params["a"] in (20.0, 40.0)
    found, _, search = searched({**VALUES, "a": [100.0, 200.0], "b": [4, 5]}, {"a": 200.0, "b": 5, "c": "x"})
    assert search.values["a"][0] == 25.0
    assert search.values["b"] == [2, 3, 4, 5]
    assert found.params["b"] == 3
    refused = {"valid": lambda setting: setting["a"] <= 10}
    found, _, search = searched({**VALUES, "a": [1.0, 10.0]}, {"a": 1.0, "b": 1, "c": "x"}, **refused)
    assert search.values["a"] == [1.0, 10.0]
    assert found.edges == []  # what the class refuses is no edge
    found, _, _ = searched({**VALUES, "a": [0.001, 0.01]}, {"a": 0.01, "b": 1, "c": "x"})
    assert found.edges == ["a=1.0"]


@pytest.mark.parametrize(
    ("values", "value", "expected"),
    [
        ([1.0, 10.0], 10.0, 100.0),
        ([1.0, 10.0], 1.0, 0.1),
        ([0.0, 10.0], 0.0, None),
        ([0.0, 10.0], 10.0, 20.0),
        ([0.5, 0.7], 0.7, 0.82),
        ([0.5, 0.7], 0.5, 0.3571),
        ([1, 2, 4], 2, None),
        ([1, 2], 1, None),
        ([64, 128], 128, 256),
        ([None, 7.0], 7.0, None),
        (["x", "y"], "y", None),
        ([5.0], 5.0, None),
    ],
)
def test_beyond_the_edge(values, value, expected):
    assert rivals.beyond(values, value) == expected


def test_the_budget_ends_the_search_and_the_first_setting_is_always_measured():
    found, seen, _ = searched(VALUES, {"a": 1.0, "b": 1, "c": "x"}, budget=0.0)
    assert len(seen) == 1
    assert found.params == {"a": 1.0, "b": 1, "c": "x"}
    assert not found.finished


@pytest.mark.parametrize(
    ("budget", "expected", "finished"),
    [(1000.0, [1, 3, 2], True), (60.0, [1, 1, 2, 1, 1], True), (30.0, [1, 1, 1], False)],
)
def test_a_batch_is_measured_at_once_only_where_the_budget_allows_it(budget, expected, finished):
    now, sizes = [0.0], []

    def measure(settings):
        now[0] += 10.0 * len(settings)
        sizes.append(len(settings))
        return [0.0] * len(settings)

    search = rivals.Search(measure, {"a": [1, 2, 3, 4], "b": [1, 2, 3]}, budget=budget, clock=lambda: now[0])
    found = search.run({"a": 2, "b": 1})
    assert sizes == expected
    assert found.finished == finished


def test_a_setting_that_diverged_is_not_chosen():
    values = {1: math.nan, 2: 0.5, 3: 0.4}
    search = rivals.Search(lambda settings: [values[one["a"]] for one in settings], {"a": [1, 2, 3]})
    assert search.run({"a": 1}).params == {"a": 2}


def test_the_space_of_a_rival_begins_inside_its_values():
    frame = rated()[["user_id", "item_id"]]
    for name in recgan.baselines.__all__:
        kind = rivals.find(name)
        if name == "Baseline" or name in protocols.ORDERED:
            continue
        start, values = rivals.space(kind, "cfgan", frame)
        assert all(start[parameter] in tried for parameter, tried in values.items()), name
        kind(**start)


# --- tables ---


def test_the_time_to_a_value():
    info = {
        "ranking": {"curve": [{"metric": 0.1}, {"metric": 0.3}, {"metric": 0.2}, {"metric": 0.2}]},
        "stage_seconds": {"closed forms": 1.0, "ranking phase": 8.0},
    }
    assert results.reached(info, 0.25) == {"value": 0.25, "epoch": 2, "seconds": 5.0}
    assert results.reached(info, 0.5) is None


def test_a_sheet_in_markdown():
    sheet = Sheet("Title", ["model", "value"], [["a", "0.5 *"], ["b", "0.1"]])
    lines = sheet.markdown().splitlines()
    assert lines[0] == "**Title**"
    assert lines[2:] == ["| model | value |", "| --- | ---: |", "| a | **0.5** |", "| b | 0.1 |"]

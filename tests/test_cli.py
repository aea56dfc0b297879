from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import planted
from typer.testing import CliRunner

import recgan
from recgan.batch import read_batch
from recgan.cli import app
from recgan.cli.ids import many_ids, one_id
from recgan.cli.output import as_table

SETTINGS = {"epochs": 2, "game_steps": 20, "embedding_dim": 16, "hidden_dim": 32}
COMMANDS = ["train", "recommend", "batch", "evaluate", "compare", "report", "moods", "uncertainty"]
COMMANDS += ["update", "items", "forget", "explain", "ideal", "gaps", "demo", "data list", "data fetch"]


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="recgan")


def table(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def refused(result, *told: str) -> None:
    """One message on stderr, exit code 1, nothing on stdout."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for text in told:
        assert text in result.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    interactions = planted(n_users=60, n_items=40, n_groups=4, noise=0.1, seed=0, ordered=True)
    interactions.assign(rating=3).to_csv(folder / "seen.csv", index=False)
    titles = [f"Film, the {item}th" for item in range(40)]
    groups = [f"group {item % 4}" for item in range(40)]
    pd.DataFrame({"item_id": range(40), "title": titles, "genres": groups}).to_csv(folder / "items.csv", index=False)
    interactions.rename(columns={"user_id": "who", "item_id": "what"}).to_csv(folder / "other.csv", index=False)
    (folder / "config.json").write_text(json.dumps(SETTINGS))
    return folder


@pytest.fixture(scope="module")
def trained(place):
    options = ["--items", place / "items.csv", "--config", place / "config.json", "--seed", "3"]
    return call("train", place / "seen.csv", "--out", place / "model", *options)


@pytest.fixture(scope="module")
def folder(place, trained):
    assert trained.exit_code == 0, trained.output
    return place / "model"


@pytest.fixture(scope="module")
def lists(place, folder):
    assert call("batch", folder, "--out", place / "lists", "--shards", 3).exit_code == 0
    return place / "lists"


@pytest.fixture(scope="module")
def truth(place, folder):
    found = recgan.Recommender.load(folder).recommend_batch(n=4)
    found[found["rank"] % 2 == 0].to_csv(place / "truth.csv", index=False)
    return place / "truth.csv"


def test_train_prints_what_every_part_is_worth(trained, folder):
    lines = trained.stdout.splitlines()
    assert lines[0].split() == ["part", "ndcg@10"]
    found = {line.rsplit(maxsplit=1)[0]: float(line.split()[-1]) for line in lines[1:]}
    assert found == pytest.approx(recgan.Recommender.load(folder).info()["ablation"], abs=1e-4)
    assert "model: a model of 60 users, 40 items, " in trained.stderr


def test_train_passes_its_options_on(place, monkeypatch, tmp_path):
    got = {}

    def train(interactions, items, **options):
        got.update(options, interactions=interactions, items=items)
        raise recgan.TrainingError("stop here")

    monkeypatch.setattr("recgan.training.train", train)
    renamed = ["--column", "who=user_id", "--column", "what=item_id"]
    more = ["--users", "users.csv", "--log-dir", tmp_path / "logs", "--config", place / "config.json"]
    refused(call("train", place / "other.csv", "--out", tmp_path / "m", *renamed, *more), "error: stop here")
    assert got["interactions"].columns.tolist() == ["user_id", "item_id", "timestamp"]
    assert (got["items"], got["users"], got["seed"]) == (None, Path("users.csv"), None)
    assert got["config"] == recgan.Config(**SETTINGS, log_dir=str(tmp_path / "logs"))
    assert not (tmp_path / "m").exists()
    refused(
        call("train", place / "seen.csv", "--out", tmp_path / "m", "--min-rating", 4), "min_rating=4.0 leaves no row"
    )


def test_train_leaves_large_tables_on_disk(place, monkeypatch, tmp_path):
    given = []

    def noted(interactions, *arguments, **options):
        given.append(interactions)
        raise recgan.DataError("seen")

    monkeypatch.setattr("recgan.training.train", noted)
    pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "rating": [4, 5]}).to_parquet(tmp_path / "log.parquet")
    (tmp_path / "config.json").write_text('{"rows_in_memory": 1}')
    command = ["train", tmp_path / "log.parquet", "--out", tmp_path / "out", "--config", tmp_path / "config.json"]
    for more in ([], ["--min-rating", "1"], ["--max-dislike-rating", "0"]):
        refused(call(*command, *more), "seen")
    assert given[0] == tmp_path / "log.parquet"
    assert [type(one) for one in given[1:]] == [pd.DataFrame] * 2


def test_train_takes_a_data_set_by_name(place, monkeypatch, tmp_path):
    known = recgan.Dataset(pd.read_csv(place / "seen.csv"), pd.DataFrame({"item_id": [1]}), None)
    got = []
    monkeypatch.setattr("recgan.datasets.load_dataset", lambda name: got.append(name) or known)
    monkeypatch.setattr("recgan.training.train", lambda *a, **o: got.append((a, o)) or sys.exit(7))
    assert call("train", "ml-100k", "--out", tmp_path / "m").exit_code == 7
    assert got[0] == "ml-100k"
    assert got[1][0][1] is known.items
    assert call("train", "ml-100k", "--items", place / "items.csv", "--out", tmp_path / "m").exit_code == 7
    assert got[3][0][1] == place / "items.csv"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("user,thing\n1,2\n", "data.csv: column 'item_id' missing; the table has 'user_id', 'thing'"),
        ("user_id,item_id\n1,2\n,3\n", "data.csv: column 'user_id' has 1 null id(s): drop or fill them (row 1)"),
        (
            "user_id,item_id,rating\n1,2,good\n",
            "column 'rating' holds text such as 'good' where a number belongs (row 0)",
        ),
        ("", "data.csv: the file is empty"),
        ("user_id,item_id\n", "data.csv: the table has no rows"),
        ("user_id,item_id\n1,2\n2,2\n", "one single item"),
    ],
)
def test_train_refuses_bad_tables(tmp_path, content, told):
    (tmp_path / "data.csv").write_text(content)
    refused(call("train", tmp_path / "data.csv", "--out", tmp_path / "m"), told)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_train_checks_the_rest_before_the_work(place, lists, tmp_path, monkeypatch):
    monkeypatch.setattr("recgan.training.train", lambda *a, **o: pytest.fail("trained"))
    seen = place / "seen.csv"
    refused(call("train", seen, "--out", lists), "lists: exists and is no model; choose another folder or remove it")
    refused(call("train", seen, "--out", seen), "seen.csv: exists and is no model")
    refused(call("train", seen, "--out", seen / "deep" / "m"), "cannot be written: Not a directory in ")
    refused(
        call("train", "nowhere.csv", "--out", tmp_path / "m"), "nowhere.csv: there is no such file or folder, and no"
    )
    refused(call("train", seen, "--out", tmp_path / "m", "--config", "none.json"), "none.json cannot be read")
    (tmp_path / "config.json").write_text('{"epoch": 3}')
    bad = call("train", seen, "--out", tmp_path / "m", "--config", tmp_path / "config.json")
    refused(bad, "config: 'epoch': no such setting")
    wrong = call("train", seen, "--out", tmp_path / "m", "--column", "uid")
    assert (wrong.exit_code, "'uid' is no NAME=MEANING" in wrong.stderr) == (2, True)


def test_recommend_tells_reasons(folder):
    wanted = recgan.Recommender.load(folder).recommend(7, 3, explain=True)
    found = table(call("recommend", folder, 7, "-n", 3, "--explain", "--format", "csv").stdout)
    assert list(found) == ["user_id", "item_id", "title", "rank", "score", "reason"]
    assert found["reason"].tolist() == wanted["reason"].tolist()
    assert re.match(r"Because of Film, the \d+th \(\d+ %\)", found["reason"].iloc[0])
    unknown = call("recommend", folder, 999, "-n", 2, "--explain", "--on-unknown", "fallback", "--format", "json")
    assert {row["reason"] for row in json.loads(unknown.stdout)} == {"No history yet: popular with others"}


def test_batch_tells_reasons(folder, tmp_path):
    job = ["batch", folder, "--out", tmp_path / "lists", "-n", 3, "--shards", 2]
    assert call(*job, "--reason").exit_code == 0
    wanted = recgan.Recommender.load(folder).recommend_batch(n=3, explain=True)
    assert read_batch(tmp_path / "lists")["reason"].tolist() == wanted["reason"].tolist()
    refused(call(*job), "explain is True there and False here")


def test_popularity_is_passed_on(folder, tmp_path):
    model = recgan.Recommender.load(folder)
    found = table(call("recommend", folder, 7, "-n", 3, "--popularity", 2.5, "--format", "csv").stdout)
    assert found["item_id"].tolist() == model.recommend(7, 3, popularity=2.5)["item_id"].tolist()
    assert call("batch", folder, "--out", tmp_path / "lists", "-n", 3, "--popularity", 2.5).exit_code == 0
    wanted = model.recommend_batch(n=3, popularity=2.5)
    assert read_batch(tmp_path / "lists")["item_id"].tolist() == wanted["item_id"].tolist()
    assert wanted["item_id"].tolist() != model.recommend_batch(n=3)["item_id"].tolist()


def test_explain(folder):
    model = recgan.Recommender.load(folder)
    item = model.recommend(7, 1)["item_id"].iloc[0]
    wanted = model.explain(7, item)
    result = call("explain", folder, 7, item, "-n", 3, "--format", "csv")
    found = table(result.stdout)
    assert list(found) == ["item_id", "title", "share", "block", "shared"]
    assert found["item_id"].tolist() == wanted["item_id"].tolist()[:3]
    assert f"mood: {wanted.attrs['name']}" in result.stderr
    assert "more real than " in result.stderr
    assert "shared: group " in result.stderr
    told = json.loads(call("explain", folder, 7, item, "--format", "json").stdout)
    assert {name: told[name] for name in wanted.attrs} == json.loads(json.dumps(wanted.attrs))
    assert [row["share"] for row in told["reasons"]] == wanted["share"].tolist()[:10]
    assert call("explain", folder, 7, item).stdout.split()[:5] == ["item_id", "title", "share", "block", "shared"]
    given = table(call("explain", folder, 999, item, "--history", "1,5,9", "--format", "csv").stdout)
    assert given["item_id"].tolist() == model.explain(history=[1, 5, 9], item_id=item)["item_id"].tolist()


def test_explain_refuses_whom_and_what_it_does_not_know(folder):
    refused(call("explain", folder, 999, 3), "unknown user 999: the model knows 60 users", "--history ID,ID")
    refused(call("explain", folder, 7, 999), "item 999 is not in the catalogue of 40 items")
    refused(call("explain", folder, 7, 3, "--history", "x"), "--history: 'x' is no item id of this model")


def test_recommend_prints_a_table_csv_or_json(folder):
    wanted = recgan.Recommender.load(folder).recommend(7, 3)
    lines = call("recommend", folder, 7, "-n", 3).stdout.splitlines()
    assert lines[0].split() == ["user_id", "item_id", "title", "rank", "score"]
    assert [line.split()[1] for line in lines[1:]] == wanted.item_id.astype(str).tolist()
    found = table(call("recommend", folder, 7, "-n", 3, "--format", "csv").stdout)
    assert found.columns.tolist() == ["user_id", "item_id", "title", "rank", "score"]
    assert found.title.tolist() == [f"Film, the {item}th" for item in wanted.item_id]
    pd.testing.assert_frame_equal(found[wanted.columns], wanted, check_exact=True)
    assert json.loads(call("recommend", folder, 7, "-n", 3, "--format", "json").stdout) == found.to_dict("records")


def test_recommend_passes_its_options_on(folder):
    model = recgan.Recommender.load(folder)

    def items(*arguments):
        return table(call("recommend", folder, *arguments, "--format", "csv").stdout).item_id.tolist()

    plain = model.recommend(7).item_id.tolist()
    assert items(7) == plain
    assert items(7, "--exclude", plain[0], "--exclude", f"{plain[2]}, {plain[3]}") == (
        model.recommend(7, exclude=[plain[0], plain[2], plain[3]]).item_id.tolist()
    )
    assert items(7, "--history", "1,5,9") == model.recommend(7, history=[1, 5, 9]).item_id.tolist()
    explored = model.recommend(7, explore=1.0, seed=4).item_id.tolist()
    assert items(7, "--explore", 1, "--seed", 4) == explored
    anonymous = table(call("recommend", folder, "--history", "1,5,9", "--format", "csv").stdout)
    assert anonymous.columns.tolist() == ["item_id", "title", "rank", "score"]


def test_recommend_and_batch_take_rules(folder, tmp_path):
    model = recgan.Recommender.load(folder)
    rules = ["--max-per-category", "group 1=2", "--max-per-category", "group 2=1", "--min-per-category", "group 3=4"]
    rules += ["--calibration", 0.2, "--max-new", 3, "--new-below", 9]
    wanted = {"max_per_category": {"group 1": 2, "group 2": 1}, "min_per_category": {"group 3": 4}}
    wanted |= {"calibration": 0.2, "max_new": 3, "new_below": 9}
    plain = model.recommend(7)["item_id"].tolist()
    pinned = [plain[8], plain[5]]
    found = table(call("recommend", folder, 7, *rules, "--pin", f"{pinned[0]},{pinned[1]}", "--format", "csv").stdout)
    assert found.item_id.tolist() == model.recommend(7, rules={**wanted, "pinned": pinned})["item_id"].tolist()
    assert found.item_id.tolist()[:2] == pinned
    frame = pd.DataFrame({"user_id": [7, 7, 9], "item_id": [*pinned, 3], "place": [2, 1, 3]})
    frame.to_csv(tmp_path / "pinned.csv", index=False)
    done = call("batch", folder, "--out", tmp_path / "lists", *rules, "--pinned", tmp_path / "pinned.csv")
    assert done.exit_code == 0, done.output
    by_user = {7: {2: pinned[0], 1: pinned[1]}, 9: {3: 3}}
    lists = model.recommend_batch(rules={**wanted, "pinned": by_user})
    pd.testing.assert_frame_equal(read_batch(tmp_path / "lists"), lists, rtol=1e-4)
    frame.drop(columns=["user_id", "place"]).to_csv(tmp_path / "first.csv", index=False)
    call("batch", folder, "--out", tmp_path / "first", "--pinned", tmp_path / "first.csv", "--keep-seen")
    shown = read_batch(tmp_path / "first").query("rank <= 3").groupby("user_id")["item_id"].apply(list)
    assert shown.map(lambda items: items == [*pinned, 3]).all()
    assert len(table(call("recommend", folder, 7, "--max-per-category", 1, "--format", "csv").stdout)) == 4
    told = "--max-per-category: CATEGORY=N or, once, N, not 'x'"
    refused(call("recommend", folder, 7, "--max-per-category", "x"), told)
    refused(call("recommend", folder, 7, "--min-per-category", "3"), "--min-per-category: CATEGORY=N, not '3'")
    refused(
        call("recommend", folder, 7, "--min-per-category", "a=3"), "no item has the category 'a'; there is 'group 0'"
    )
    twice = pd.DataFrame({"item_id": [1, 2], "place": [1, 1]})
    twice.to_csv(tmp_path / "twice.csv", index=False)
    told = "pinned: two items at place 1"
    refused(call("batch", folder, "--out", tmp_path / "x", "--pinned", tmp_path / "twice.csv"), told)


def test_batch_takes_lists_of_items_for_all_and_for_each(folder, tmp_path):
    model = recgan.Recommender.load(folder)
    some = pd.DataFrame({"item_id": range(0, 40, 2)})
    own = pd.DataFrame({"user_id": [3, 3, 8], "item_id": [4, 6, 10]})
    some.to_csv(tmp_path / "some.csv", index=False)
    own.to_parquet(tmp_path / "own.parquet")
    shared = ["--explore", 0.6, "--seed", 5, "--keep-seen", "--shards", 2]
    more = {"explore": 0.6, "seed": 5, "filter_seen": False}
    deny = {3: [4, 6], 8: [10]}
    for name, options, wanted in (
        ("a", ["--items", tmp_path / "some.csv"], {"items": some.item_id}),
        ("b", ["--exclude", tmp_path / "own.parquet"], {"exclude": deny}),
        (
            "c",
            ["--exclude", tmp_path / "some.csv", "--items", tmp_path / "own.parquet"],
            {"exclude": some.item_id, "items": deny},
        ),
    ):
        done = call("batch", folder, "--out", tmp_path / name, *options, *shared)
        assert done.exit_code == 0, done.output
        pd.testing.assert_frame_equal(read_batch(tmp_path / name), model.recommend_batch(**wanted, **more), rtol=1e-4)
    (tmp_path / "bad.csv").write_text("film\n3\n")
    refused(
        call("batch", folder, "--out", tmp_path / "x", "--items", tmp_path / "bad.csv"), "bad.csv: column 'item_id'"
    )
    (tmp_path / "bad.csv").write_text("item_id\nx\n")
    told = "bad.csv: column 'item_id' holds text such as 'x', but the model's ids are integers"
    refused(call("batch", folder, "--out", tmp_path / "x", "--items", tmp_path / "bad.csv"), told)


def test_recommend_knows_the_type_of_the_ids(folder, tmp_path):
    refused(
        call("recommend", folder, "007"), "unknown user '007': the model knows 60 users, such as 0; --history ID,ID"
    )
    refused(call("recommend", folder, 7, "--history", "1,x"), "--history: 'x' is no item id of this model")
    refused(call("recommend", folder, 7, "--exclude", "x"), "--exclude: 'x' is no item id of this model")
    frame = planted(n_users=12, n_items=20, n_groups=2, noise=0.0, seed=0)
    names = frame.assign(user_id=frame.user_id.astype(str), item_id=[f"A, {item}" for item in frame.item_id])
    recgan.train(names, config=recgan.Config(epochs=0, game_steps=0, progress=False)).save(tmp_path / "m")
    found = table(call("recommend", tmp_path / "m", "7", "--exclude", "A, 3", "-n", 40, "--format", "csv").stdout)
    assert found.columns.tolist() == ["user_id", "item_id", "rank", "score"]
    assert "A, 3" not in found.item_id.tolist()
    assert call("batch", tmp_path / "m", "--out", tmp_path / "l", "--users", _users(tmp_path, [7, 3])).exit_code == 0
    assert read_batch(tmp_path / "l").user_id.unique().tolist() == ["7", "3"]


def _users(folder: Path, users: list) -> Path:
    pd.DataFrame({"user_id": users}).to_csv(folder / "users.csv", index=False)
    return folder / "users.csv"


def test_recommend_unknown_users(folder):
    refused(call("recommend", folder, 999), "unknown user 999", "--on-unknown fallback")
    fallback = call("recommend", folder, 999, "-n", 2, "--on-unknown", "fallback", "--format", "csv")
    assert (fallback.exit_code, len(table(fallback.stdout))) == (0, 2)
    assert fallback.stderr == "user 999 is unknown: this is the general list\n"
    assert json.loads(call("recommend", folder, "x", "--on-unknown", "skip", "--format", "json").stdout) == []
    refused(call("recommend", folder, "9" * 30), "unknown user '999")


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line(folder):
    result = call("recommend", folder, 7, "--history", "1,900", "-n", 1, "--format", "csv")
    assert (result.exit_code, len(table(result.stdout))) == (0, 1)
    told = "warning: histories: 1 of 2 rows have an item outside the catalogue, such as 900; they are ignored\n"
    assert result.stderr == told


def test_recommend_no_items_and_all_items(folder):
    assert call("recommend", folder, 7, "-n", 0).stdout.split() == ["user_id", "item_id", "title", "rank", "score"]
    everything = table(call("recommend", folder, 7, "-n", 1000, "--format", "csv").stdout)
    assert everything.item_id.is_unique
    assert 20 < len(everything) < 40


@pytest.mark.parametrize(
    "arguments", [["7", "-n", "-1"], ["7", "-n", "x"], ["7", "--explore", "2"], ["7", "--format", "xml"], []]
)
def test_wrong_usage_is_exit_code_2(folder, arguments):
    result = call("recommend", folder, *arguments)
    assert result.exit_code == 2
    assert "Usage: recgan recommend" in result.stderr
    assert result.stdout == ""


def test_damaged_and_missing_models(folder, tmp_path):
    for command in (["recommend", tmp_path / "no", 7], ["batch", tmp_path / "no", "--out", tmp_path / "lists"]):
        refused(call(*command), "no: no such model folder")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in folder.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "weights.safetensors").write_bytes(b"x" * 1000)
    refused(call("recommend", damaged, 7), "weights.safetensors: does not match its SHA-256")
    refused(call("report", damaged, "--out", tmp_path / "r.html"), "weights.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged"]


def test_batch_writes_skips_and_restarts(folder, tmp_path, monkeypatch):
    out = tmp_path / "lists"
    dry = call("batch", folder, "--out", out, "--shards", 2, "--dry-run")
    planned = f"{out}: 60 users, 0 rows; shards: 2 to write, 0 already there; about 600 rows and 0.0 MB in the end\n"
    assert dry.stdout == planned
    assert not out.exists()
    first = call("batch", folder, "--out", out, "--shards", 2, "-n", 3)
    assert first.stdout == f"{out}: 60 users, 180 rows; shards: 2 written, 0 already there\n"
    again = call("batch", folder, "--out", out, "--shards", 2, "-n", 3, "--engine", "local", "--workers", 2)
    assert again.stdout == f"{out}: 60 users, 180 rows; shards: 0 written, 2 already there\n"
    refused(call("batch", folder, "--out", out, "--shards", 2), "n is 3 there and 10 here", "--restart")
    monkeypatch.setattr("recgan.cli.serving.WORTH_TELLING", 0.0)
    took = call("batch", folder, "--out", out, "--shards", 2, "-n", 3).stderr
    assert re.fullmatch(r"it took 0:0\d:\d\d\n", took)
    monkeypatch.undo()
    assert call("batch", folder, "--out", out, "--shards", 2, "--restart").exit_code == 0
    assert len(read_batch(out)) == 600
    assert call("batch", folder, "--out", out, "--restart", "--format", "csv", "--model-version").exit_code == 0
    assert read_batch(out).columns.tolist() == ["user_id", "item_id", "rank", "score", "model_version"]


def test_batch_for_users_and_histories_of_files(folder, tmp_path):
    users = _users(tmp_path, [4, 3, 500])
    some = call("batch", folder, "--out", tmp_path / "a", "--users", users, "-n", 2, "--shards", 1)
    assert some.stderr == "1 unknown user got the general list\n"
    assert read_batch(tmp_path / "a").user_id.tolist() == [4, 4, 3, 3, 500, 500]
    refused(
        call("batch", folder, "--out", tmp_path / "b", "--users", users, "--on-unknown", "raise"), "unknown user 500"
    )
    pd.DataFrame({"uid": ["ann", "bob"], "iid": [1, 2]}).to_csv(tmp_path / "h.csv", index=False)
    given = call("batch", folder, "--out", tmp_path / "b", "--histories", tmp_path / "h.csv", "-n", 1, "--shards", 1)
    assert given.exit_code == 0
    assert read_batch(tmp_path / "b").user_id.tolist() == ["ann", "bob"]
    refused(
        call("batch", folder, "--out", tmp_path / "c", "--users", _users(tmp_path, ["ann"])), "holds text such as 'ann'"
    )
    refused(call("batch", folder, "--out", tmp_path / "c", "--users", _users(tmp_path, [1, 1])), "'1' more than once")
    refused(call("batch", folder, "--out", tmp_path), "and is no batch job; choose a new or an empty folder")
    refused(call("batch", folder, "--out", tmp_path / "h.csv" / "x"), "cannot be written")
    for wrong in (("--engine", "cloud"), ("--workers", "0")):
        assert call("batch", folder, "--out", tmp_path / "c", *wrong).exit_code == 2
    assert not (tmp_path / "c").exists()


def test_evaluate(place, lists, truth):
    wanted = recgan.evaluate(read_batch(lists), truth, ("ndcg@10", "recall@20"))
    assert json.loads(call("evaluate", lists, truth, "--json").stdout) == pytest.approx(wanted, abs=1e-12)
    text = call("evaluate", lists, truth).stdout.split()
    assert text == ["metric", "value", *(str(one) for name in wanted for one in (name, f"{wanted[name]:.4f}"))]
    more = ["--metric", "hit@1,novelty@5", "--metric", "coverage@5", "--train", place / "seen.csv"]
    found = json.loads(call("evaluate", lists, truth, *more, "--items", place / "items.csv", "--json").stdout)
    assert list(found) == ["hit@1", "novelty@5", "coverage@5"]
    refused(call("evaluate", lists, truth, "--metric", "novelty@5"), "novelty@5 needs train=")
    refused(call("evaluate", lists, truth, "--metric", "speed@5"), "'speed@5' is no name@k")
    refused(call("evaluate", "nowhere.csv", truth), "nowhere.csv: there is no such file or folder")


def test_a_value_that_is_not_defined_is_null(place, lists, tmp_path):
    pd.DataFrame({"user_id": [0], "item_id": [1]}).to_csv(tmp_path / "one.csv", index=False)
    result = call("evaluate", tmp_path / "one.csv", tmp_path / "one.csv")
    refused(result, "columns 'rank' and 'score' are both missing")
    pd.DataFrame({"user_id": [0], "item_id": [1], "rank": [1]}).to_csv(tmp_path / "one.csv", index=False)
    result = call("evaluate", tmp_path / "one.csv", tmp_path / "one.csv", "--metric", "personalisation@1", "--json")
    assert json.loads(result.stdout) == {"personalisation@1": None}


def test_unfinished_lists_are_not_judged(folder, truth, tmp_path):
    call("batch", folder, "--out", tmp_path / "lists", "--shards", 2)
    (tmp_path / "lists" / "part-00001-of-00002.parquet").unlink()
    refused(call("evaluate", tmp_path / "lists", truth), "missing or damaged: 1; run the batch job again")


def test_compare(lists, truth, tmp_path):
    read_batch(lists).query("rank > 1").to_parquet(tmp_path / "rival.parquet")
    wanted = recgan.compare(read_batch(lists), tmp_path / "rival.parquet", truth, "hit@1")
    arguments = ["compare", lists, tmp_path / "rival.parquet", truth, "--metric", "hit@1"]
    assert call(*arguments).stdout == f"{wanted}\n"
    assert json.loads(call(*arguments, "--json").stdout) == vars(wanted)
    refused(call("compare", lists, lists, truth, "--metric", "novelty@5"), "is no ranking metric")


def test_report_passes_the_model_on(folder, tmp_path, monkeypatch):
    got = {}

    def write_report(model, path, **options):
        got.update(options)
        path.write_text(str(len(model.users)))
        return path

    monkeypatch.setattr("recgan.report.write_report", write_report)
    result = call("report", folder, "--out", tmp_path / "r.html")
    assert (result.stdout, (tmp_path / "r.html").read_text()) == (f"{tmp_path / 'r.html'}\n", "60")
    assert got == {"items": None}
    pd.DataFrame({"item_id": [1, 2]}).to_csv(tmp_path / "items.csv", index=False)
    assert call("report", folder, "--out", tmp_path / "r.html", "--items", tmp_path / "items.csv").exit_code == 0
    assert got["items"].tolist() == [1, 2]
    refused(call("report", folder, "--out", tmp_path), "is a folder; --out names a file")
    refused(call("report", folder, "--out", tmp_path / "r.html" / "x.html"), "cannot be written: Not a directory")


def test_ideal_prints_what_the_model_wants(folder, tmp_path):
    model = recgan.Recommender.load(folder)
    wanted = model.ideal_items(7, 2)
    found = table(call("ideal", folder, 7, "-n", 2, "--format", "csv").stdout)
    assert found.columns.tolist() == [
        "user_id",
        "rank",
        *wanted.columns[2:-2],
        "nearest_item_id",
        "nearest_title",
        "gap",
    ]
    assert found.nearest_title.tolist() == [f"Film, the {item}th" for item in wanted.nearest_item_id]
    pd.testing.assert_frame_equal(found[wanted.columns], wanted, check_dtype=False, check_exact=False, check_names=True)
    pd.DataFrame({"item_id": [1, 2]}).to_csv(tmp_path / "some.csv", index=False)
    some = table(call("ideal", folder, 7, "--items", tmp_path / "some.csv", "--format", "csv").stdout)
    assert set(some.nearest_item_id) <= {1, 2}
    assert call("ideal", folder, 7).stdout.splitlines()[0].split()[:2] == ["user_id", "rank"]
    refused(call("ideal", folder, 999), "unknown user 999")
    refused(call("ideal", folder, "x"), "unknown user 'x'")
    refused(call("ideal", folder, 7, "--items", tmp_path / "none.csv"), "none.csv: there is no such file")
    assert call("ideal", folder, 7, "-n", -1).exit_code == 2


def test_ideal_says_that_there_are_no_attributes(tmp_path):
    frame = planted(n_users=12, n_items=20, n_groups=2, noise=0.0, seed=0)
    recgan.train(frame, config=recgan.Config(epochs=0, game_steps=0, progress=False)).save(tmp_path / "m")
    result = call("ideal", tmp_path / "m", 7, "--format", "csv")
    assert result.stderr == "the items of this model have no attributes: only the nearest items are told\n"
    assert table(result.stdout).columns.tolist() == ["user_id", "rank", "categories", "nearest_item_id", "gap"]


def test_moods_prints_every_list_under_its_name(folder):
    found = recgan.Recommender.load(folder).moods(7, 5, 3)
    lines = call("moods", folder, 7, "--moods", 3).stdout.splitlines()
    assert lines[0].split() == ["item_id", "title", "rank", "score"]
    blocks = "\n".join(lines[1:]).strip().split("\n\n")
    assert len(blocks) == 3
    for (mood, part), block, share in zip(found.groupby("mood"), blocks, found.attrs["share"], strict=True):
        name, *rows = block.splitlines()
        assert name == f"{part['name'].iloc[0]} ({share:.0%})"
        titles = [f"Film, the {item}th" for item in part["item_id"]]
        assert [" ".join(row.split()[1:-2]) for row in rows] == titles, mood
    assert sum(found.attrs["share"]) == pytest.approx(1.0)


def test_moods_prints_the_frame(folder):
    model = recgan.Recommender.load(folder)
    found = table(call("moods", folder, 7, "-n", 2, "--format", "csv").stdout)
    assert found.columns.tolist() == ["user_id", "mood", "name", "item_id", "title", "rank", "score"]
    pd.testing.assert_frame_equal(found.drop(columns="title"), model.moods(7, 2), check_dtype=False)
    told = json.loads(call("moods", folder, "--history", "3,7,11", "--moods", 2, "--format", "json").stdout)
    assert [row["item_id"] for row in told] == model.moods(history=[3, 7, 11], n=5, moods=2)["item_id"].tolist()
    assert "user_id" not in told[0]
    gone = [row["item_id"] for row in told][:2]
    rest = table(call("moods", folder, 7, "--exclude", f"{gone[0]},{gone[1]}", "--format", "csv").stdout)
    assert not set(gone) & set(rest["item_id"])


def test_moods_says_what_it_cannot_do(folder):
    refused(call("moods", folder, 999), "unknown user 999")
    refused(call("moods", folder, 7, "--exclude", "x"), "--exclude: 'x' is no item id of this model")
    for wrong in (["moods", folder], ["moods", folder, 7, "--moods", 0], ["moods", folder, 7, "-n", -1]):
        assert call(*wrong).exit_code == 2
    everything = call("moods", folder, "--history", ",".join(map(str, range(40))))
    assert everything.stderr == "0 of 4 lists: no more items may be listed\n"
    assert everything.stdout.split() == ["item_id", "title", "rank", "score"]
    assert call("moods", folder, 7, "-n", 0).stderr == ""


def test_uncertainty_prints_or_writes_the_frame(folder, tmp_path):
    told = recgan.Recommender.load(folder).uncertainty()
    found = table(call("uncertainty", folder, "--format", "csv").stdout)
    pd.testing.assert_frame_equal(found, told, check_dtype=False)
    some = json.loads(call("uncertainty", folder, "--users", _users(tmp_path, [4, 3]), "--format", "json").stdout)
    assert [row["user_id"] for row in some] == [4, 3]
    assert call("uncertainty", folder).stdout.splitlines()[0].split() == ["user_id", "uncertainty"]
    for name, read in (("deep/u.csv", pd.read_csv), ("u.parquet", pd.read_parquet)):
        out = tmp_path / name
        assert call("uncertainty", folder, "--out", out).stdout == f"{out}\n"
        pd.testing.assert_frame_equal(read(out), told, check_dtype=False)


def test_uncertainty_says_what_it_cannot_do(folder, tmp_path):
    refused(call("uncertainty", folder, "--out", tmp_path), "is a folder; --out names a file")
    refused(call("uncertainty", folder, "--out", tmp_path / "u.txt"), "the file's name must end in .csv or .parquet")
    refused(call("uncertainty", folder, "--users", _users(tmp_path, [999])), "unknown user 999")
    refused(call("uncertainty", folder, "--users", _users(tmp_path, ["ann"])), "holds text such as 'ann'")
    refused(call("uncertainty", folder, "--users", _users(tmp_path, [4, 4])), "more than once")
    assert [path.name for path in tmp_path.iterdir()] == ["users.csv"]


def test_gaps_passes_its_options_on(folder, tmp_path, monkeypatch):
    got = {}

    def write_gaps(model, path, **options):
        got.update(options)
        path.write_text(str(len(model.users)))
        return path

    monkeypatch.setattr("recgan.report.write_gaps", write_gaps)
    out = tmp_path / "g.html"
    assert call("gaps", folder, "--out", out).stdout == f"{out}\n"
    assert got == {"users": None, "items": None, "alpha": 0.01, "seed": 0}
    pd.DataFrame({"item_id": [1, 2, 900]}).to_csv(tmp_path / "items.csv", index=False)
    options = ["--items", tmp_path / "items.csv", "--users", _users(tmp_path, [4, 3]), "--alpha", 0.05, "--seed", 3]
    assert call("gaps", folder, "--out", out, *options).exit_code == 0
    assert (got["items"].tolist(), got["users"].tolist(), got["alpha"], got["seed"]) == ([1, 2, 900], [4, 3], 0.05, 3)
    refused(call("gaps", folder, "--out", tmp_path), "is a folder; --out names a file")
    refused(call("gaps", folder, "--out", out, "--users", _users(tmp_path, ["ann"])), "holds text such as 'ann'")
    assert call("gaps", folder).exit_code == 2


def test_gaps_writes_a_page(folder, tmp_path):
    items = tmp_path / "items.csv"
    pd.DataFrame({"item_id": [item for item in range(40) if item % 4]}).to_csv(items, index=False)
    assert call("gaps", folder, "--out", tmp_path / "g.html", "--items", items).exit_code == 0
    assert "not on offer" in (tmp_path / "g.html").read_text()
    refused(call("gaps", folder, "--out", tmp_path / "h.html", "--users", _users(tmp_path, [999])), "unknown user 999")
    refused(call("gaps", folder, "--out", tmp_path / "h.html", "--alpha", 7), "alpha between 0 and 1")
    assert not (tmp_path / "h.html").exists()


def test_demo_runs_the_demonstration(tmp_path, monkeypatch):
    calls = []
    fake = types.ModuleType("recgan.demonstration")
    fake.run = lambda out, quick: calls.append((out, quick))
    monkeypatch.setitem(sys.modules, "recgan.demonstration", fake)
    monkeypatch.setattr(recgan, "demonstration", fake, raising=False)
    assert call("demo", "--out", tmp_path / "d", "--quick").exit_code == 0
    assert calls == [(tmp_path / "d", True)]
    (tmp_path / "file").write_text("x")
    refused(call("demo", "--out", tmp_path / "file" / "d"), "cannot be written: Not a directory")


def test_data(tmp_path, monkeypatch):
    text = call("data", "list").stdout
    assert text.splitlines()[0].split() == ["name", "users", "items", "interactions", "megabytes", "licence"]
    assert "GroupLens" in text
    assert json.loads(call("data", "list", "--format", "json").stdout)[0]["name"] == "ml-100k"
    monkeypatch.setattr("recgan.datasets.fetch_dataset", lambda name, cache: cache / name)
    result = call("data", "fetch", "ml-1m", "--cache", tmp_path)
    assert (result.stdout, "no commercial use" in result.stderr) == (f"{tmp_path / 'ml-1m'}\n", True)
    refused(call("data", "fetch", "ml-0"), "unknown data set 'ml-0': choose one of ml-100k")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(command):
    text = call(*command.split(), "--help").stdout
    example = text.split("Example:")[1].strip()
    assert example.startswith(f"recgan {command}")


def test_version():
    assert call("--version").stdout == f"recgan {recgan.__version__}\n"


def test_ctrl_c_is_130(folder, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    def interrupt_as_lightning_does(_):
        try:
            interrupt(_)
        except KeyboardInterrupt:
            sys.exit(1)

    for error in (interrupt, interrupt_as_lightning_does):
        monkeypatch.setattr(recgan.Recommender, "load", error)
        result = call("recommend", folder, 7)
        assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")


def test_other_exits_and_bugs_are_not_hidden(folder, monkeypatch):
    monkeypatch.setattr(recgan.Recommender, "load", lambda _: sys.exit(5))
    assert call("recommend", folder, 7).exit_code == 5
    monkeypatch.setattr(recgan.Recommender, "load", lambda _: {}["bug"])
    assert isinstance(call("recommend", folder, 7).exception, KeyError)


def test_an_error_of_the_system_is_a_message(folder, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recgan.Recommender, "load", full)
    refused(call("recommend", folder, 7), "No space left on device")


def test_tables_align_and_hold_no_control_characters():
    frame = pd.DataFrame({"id": [1, 20], "title": ["a\x1b[31m", "東京"], "score": [0.5, np.nan]})
    assert as_table(frame) == "id  title    score\n 1  a?[31m  0.5000\n20  東京       nan\n"


def process(*arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "recgan", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **{**pipes, **options})


def test_the_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom recgan.cli import main\nsys.argv = ['recgan', '--help']\ntry:\n    main()\nfinally:\n    "
    )
    script += "print(sorted(sys.modules), file=sys.stderr)"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert time.monotonic() - started < 10  # the promise is 1.5 s; a busy machine may take longer
    loaded = set(done.stderr.replace("'", "").strip("[]\n").split(", "))
    assert "typer" in loaded
    assert not loaded & {"torch", "pandas", "numpy", "pyarrow", "sklearn", "scipy", "faiss", "pytorch_lightning"}


def test_real_processes(folder):
    reader, writer = os.pipe()
    os.close(reader)  # stdout is a pipe whose reader has gone
    gone = process("recommend", folder, 7, "--format", "csv", stdout=writer)
    os.close(writer)
    unknown = process("recommend", folder, 999)
    assert (gone.communicate()[1], gone.returncode) == ("", 0)
    out, err = unknown.communicate()
    assert (unknown.returncode, out) == (1, "")
    assert err.startswith("error: unknown user 999")
    assert err.count("\n") == 1


TRAIN_AND_TELL = """
import sys
from recgan.cli import main
from recgan.training.fitting import Watch
measured = Watch.on_train_epoch_end
def tell(self, *arguments):
    measured(self, *arguments)
    print("epoch", file=sys.stderr, flush=True)
Watch.on_train_epoch_end = tell
main()
"""


def test_ctrl_c_in_the_middle_of_training(place, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**SETTINGS, "epochs": 100_000, "patience": 100_000}))
    arguments = ["train", place / "seen.csv", "--out", tmp_path / "m", "--config", tmp_path / "config.json"]
    command = [sys.executable, "-c", TRAIN_AND_TELL, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        try:
            assert training.stderr.readline() == "epoch\n"
            training.send_signal(signal.SIGINT)
            out, err = training.communicate(timeout=120)
        finally:
            training.kill()
    assert training.returncode == 130
    assert "warning: training was interrupted in the ranking phase" in err
    assert "generator" in out
    assert len(recgan.Recommender.load(tmp_path / "m").recommend_batch(n=1))


def test_a_training_goes_on_from_its_checkpoints(place, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**SETTINGS, "epochs": 2, "game_steps": 5}))
    command = ["train", place / "seen.csv", "--config", tmp_path / "config.json", "--checkpoint-dir", tmp_path / "kept"]
    for out in ("one", "two"):
        assert call(*command, "--out", tmp_path / out).exit_code == 0
    one, two = (recgan.Recommender.load(tmp_path / out) for out in ("one", "two"))
    assert one.item_vectors().equals(two.item_vectors())
    refused(call(*command, "--out", tmp_path / "three", "--seed", 9), "holds another run")


def test_what_a_user_states_counts(place, folder):
    model = recgan.Recommender.load(folder)
    options = ["--category", "group 1", "--like", "5", "--avoid", "9", "--avoid", "group 2", "--format", "csv"]
    result = call("recommend", folder, *options, "-n", 5)
    assert result.exit_code == 0, result.output
    stated = {"categories": ["group 1"], "items": [5], "avoid": [9, "group 2"]}
    found = pd.read_csv(io.StringIO(result.stdout))
    assert found["item_id"].tolist() == model.recommend(preferences=stated, n=5)["item_id"].tolist()
    wrong = call("recommend", folder, 3, "--category", "group 9")
    assert wrong.exit_code != 0
    assert "group 9" in wrong.stderr


def test_a_batch_reads_what_users_state(place, folder):
    rows = [("3", "avoid", "group 2"), ("3", "avoid", "9"), ("7", "category", "group 1")]
    pd.DataFrame(rows, columns=["user_id", "preference", "value"]).to_csv(place / "stated.csv", index=False)
    result = call("batch", folder, "--out", place / "stated", "--preferences", place / "stated.csv", "-n", 5)
    assert result.exit_code == 0, result.output
    stated = {3: {"avoid": ["group 2", 9]}, 7: {"categories": ["group 1"]}}
    wanted = recgan.Recommender.load(folder).recommend_batch(n=5, preferences=stated)
    assert read_batch(place / "stated")["item_id"].tolist() == wanted["item_id"].tolist()


def test_batch_searches_approximately_and_tells_the_recall(tmp_path, capsys):
    sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))
    from untrained import Shape, untrained

    untrained(Shape(3000, 20, 8, history=10)).save(tmp_path / "model")
    done = call("batch", tmp_path / "model", "--out", tmp_path / "lists", "--search", "hnsw", "--recall", 0.9)
    assert done.exit_code == 0, done.output
    assert re.search(r"approximate search: finds (9\d\.\d|100\.0)% of the exact search's candidates", done.output)
    refused(call("batch", tmp_path / "model", "--out", tmp_path / "lists", "--search", "ivf"), "search is")


def test_ids_of_nineteen_digits_are_numbers_too():
    known = pd.Series([1_234_567_890_123_456_000])
    assert one_id("1234567890123456001", known) == 1_234_567_890_123_456_001
    assert many_ids(["18446744073709551615,-1"], known, "--exclude") == [2**64 - 1, -1]
    assert one_id("007", known) == "007"

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import packing_rows
import scale
from measuring import QUICK
from planting import NOISE, STAY, Planted, held_out


@pytest.mark.parametrize("ordered", [False, True])
def test_rows_follow_the_planted_groups(ordered):
    planted = Planted(60_000, 500, 3_000, ordered)
    frame = planted.frame()
    assert not frame.duplicated(["user_id", "item_id"]).any()
    assert frame["user_id"].is_monotonic_increasing
    group, user = planted.group[frame["item_id"]], frame["user_id"].to_numpy()
    if ordered:
        same = user[1:] == user[:-1]
        step = (group[1:] - group[:-1])[same] % planted.n_groups
        near = np.isin(step, [0, 1]).mean()
        assert near > 0.5
        assert (step == 0).sum() > 0.6 * STAY / (1 - STAY) * (step == 1).sum()
    else:
        near = (group[:, None] == planted.tastes[user]).any(1).mean()
        assert near > 1 - NOISE - 0.15  # popular items of one's own groups are soon used up
    lengths = frame.groupby("user_id").size()
    assert lengths.max() > 5 * lengths.median()
    assert planted.frame().equals(frame)
    assert not Planted(60_000, 500, 3_000, ordered, seed=1).frame().equals(frame)


@pytest.mark.parametrize("ordered", [False, True])
def test_the_optimum_ranks_by_the_true_chances(ordered):
    planted = Planted(3_000, 300, 200, ordered)
    frame = planted.frame()
    for user in range(5):
        history = frame["item_id"].to_numpy()[frame["user_id"] == user]
        groups, shares = planted.chances(user, history[-1])
        chance = NOISE * planted.popularity
        for group, share in zip(groups, shares, strict=True):
            own = planted.group == group
            chance = chance + (1 - NOISE) * share * own * planted.popularity / planted.popularity[own].sum()
        assert chance.sum() == pytest.approx(1.0)
        chance[history] = -1.0
        np.testing.assert_array_equal(planted.best(user, history, 20), np.argsort(-chance, kind="stable")[:20])


def test_groups_are_inferred_by_weighing_every_pair():
    planted = Planted(9_000, 900, 200)
    items = planted.frame().groupby("user_id")["item_id"].agg(list)
    for history in map(np.array, items[:20]):
        weights = np.empty((planted.n_groups, planted.n_groups))
        for first, second in np.ndindex(weights.shape):
            own = [(planted.group[history] == group) * planted.share[history] for group in (first, second)]
            weights[first, second] = np.prod(
                NOISE * planted.popularity[history] + (1 - NOISE) * (2 * own[0] + own[1]) / 3
            )
        weights /= weights.sum()
        expected = (2 * weights.sum(1) + weights.sum(0)) / 3
        groups, shares = planted.inferred(history)
        assert groups.tolist() == np.unique(planted.group[history]).tolist()
        np.testing.assert_allclose(shares, expected[groups], atol=1e-12)


def test_who_infers_the_groups_is_better_than_popularity_and_not_than_who_knows_them():
    planted = Planted(30_000, 900, 3_000)
    train, truth = held_out(planted.frame(), 1_000, seed=0)
    items = train.groupby("user_id")["item_id"].agg(list)

    def hits(lists):
        return np.mean([item in one for item, one in zip(truth["item_id"], lists, strict=True)])

    histories = [np.array(items[user]) for user in truth["user_id"]]
    both = list(zip(truth["user_id"], histories, strict=True))
    known, inferred = (hits([planted.best(*one, 10, infer=infer) for one in both]) for infer in (False, True))
    popular = hits([np.setdiff1d(planted.popular[: 10 + len(one)], one, assume_unique=True)[:10] for one in histories])
    assert popular + 0.05 < inferred < known


def test_one_row_of_some_users_is_held_out():
    frame = Planted(3_000, 300, 200).frame()
    train, truth = held_out(frame, 50, seed=0)
    assert truth["user_id"].is_unique
    assert 40 < len(truth) <= 50
    assert truth["item_id"].isin(train["item_id"]).all()
    together = set(zip(train["user_id"], train["item_id"], strict=True))
    assert not together & set(zip(truth["user_id"], truth["item_id"], strict=True))
    last = frame.groupby("user_id")["item_id"].last()
    assert (last[truth["user_id"]].to_numpy() == truth["item_id"].to_numpy()).all()


def test_a_size_as_it_is_written():
    assert scale.sized("1e5x2e4x300") == (100_000, 20_000, 300)


class Here:
    """A pool whose work this process does."""

    def get_context(self, method):
        assert method == "spawn"
        return self

    def Pool(self, size):  # noqa: N802
        return nullcontext(self)

    def apply(self, work, arguments):
        return work(*arguments)


def test_a_size_in_processes_of_its_own(tmp_path, capsys):
    out = tmp_path / "scale.json"
    call = ["--out", str(out), "--sizes", "1e3x80x100", "--settings", json.dumps(QUICK), "--table", "markdown"]
    assert scale.main(call) == 0
    assert "| 1e3x80x100 |" in capsys.readouterr().out
    assert json.loads(out.read_text())["runs"][0]["total"]["peak_mib"] > 0


def test_sizes_are_trained_once_and_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scale, "multiprocessing", Here())
    out = tmp_path / "scale.json"
    call = ["--out", str(out), "--sizes", "1e3x80x100,2e3x160x200", "--settings", json.dumps(QUICK)]
    assert scale.main([*call, "--table", "markdown"]) == 0
    first, table = json.loads(out.read_text()), capsys.readouterr().out
    assert [run["size"] for run in first["runs"]] == ["1e3x80x100", "2e3x160x200"]
    assert "| 2e3x160x200 |" in table
    assert first["runs"][0]["values"]["optimum"]["ndcg@10"] > first["runs"][0]["values"]["popular"]["ndcg@10"]
    assert {"reading", "closed forms", "ranking phase"} <= set(first["runs"][0]["stages"])
    assert scale.main(call) == 0
    assert json.loads(out.read_text())["runs"] == first["runs"]
    del first["runs"][1]["values"]["inferred optimum"]
    out.write_text(json.dumps(first))
    assert scale.main([*call, "--table", "markdown"]) == 0
    assert f"| 2e3x160x200 |{table.split('| 2e3x160x200 |')[2]}" in capsys.readouterr().out


def test_both_ways_of_reading_find_the_same_rows(capsys):
    assert packing_rows.main(["--rows", "3000", "--users", "200", "--items", "50", "--table", "markdown"]) == 0
    cells = [line.split("|") for line in capsys.readouterr().out.splitlines() if "packed" in line or "memory" in line]
    assert len(cells) == 4
    assert cells[0][3] == cells[1][3]
    assert cells[2][3] == cells[3][3]

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import planted

from recgan import fidelity
from recgan.config import Config
from recgan.networks import Discriminator, build_generator

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "benchmarks"))

import adversary_games
import adversary_rows
import adversary_tables
import adversary_worth
import forks
import generator

N, USERS = 12, 6
ALL = len(adversary_rows.ROWS)


@pytest.fixture
def samples():
    """Rows of two samples with the user of each; user 3 has no real row."""
    random = np.random.default_rng(0)
    real_user, fake_user = np.array([0, 0, 1, 2, 4, 5, 5]), np.repeat(np.arange(USERS), 2)
    return random.standard_normal((7, 3)), random.standard_normal((12, 3)) + 0.5, real_user, fake_user


def test_the_energy_distance_and_its_pseudo_values_by_loops(samples):
    real, fake, r, f = samples
    whole, pseudo = adversary_rows.energy(real, fake, r, f, USERS)
    assert whole == pytest.approx(fidelity.energy_distance(real, fake))
    less = [fidelity.energy_distance(real[r != user], fake[f != user]) for user in range(USERS)]
    np.testing.assert_allclose(pseudo, USERS * whole - (USERS - 1) * np.array(less))


def test_the_auc_and_its_pseudo_values_by_loops(samples, monkeypatch):
    real, fake, r, f = samples
    score = np.round(np.random.default_rng(1).random(len(real) + len(fake)), 1)
    monkeypatch.setattr(fidelity, "out_of_fold", lambda rows, label, seed: score)

    def auc(some, others):
        return np.mean([(a > b) + 0.5 * (a == b) for a in some for b in others])

    yes, no = score[: len(real)], score[len(real) :]
    whole, pseudo = adversary_rows.told_apart(real, fake, r, f, USERS, 0)
    assert whole == pytest.approx(auc(yes, no))
    less = [auc(yes[r != user], no[f != user]) for user in range(USERS)]
    np.testing.assert_allclose(pseudo, USERS * whole - (USERS - 1) * np.array(less))


def test_the_catalogue_and_its_pseudo_values_by_loops():
    lists = np.array([[0, 1, 1], [1, 2, -1], [3, 4, 5]])
    whole, pseudo = adversary_rows.catalogue(lists, 8)
    assert whole == 6 / 8
    less = [len(np.unique(np.delete(lists, user, 0)[np.delete(lists, user, 0) >= 0])) / 8 for user in range(3)]
    np.testing.assert_allclose(pseudo, 3 * whole - 2 * np.array(less))


def test_per_user():
    found = adversary_rows.per_user(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(found, [2.0, np.nan, 5.0])


def seeds(shift: float, ndcg: float) -> list[dict]:
    """Two seeds of a variant whose rows are all moved to their better side."""
    found = []
    for seed in range(2):
        noise = np.random.default_rng(seed).standard_normal((len(adversary_rows.ROWS), 200))
        users = {
            row: (noise[place] + side * shift).tolist()
            for place, (row, (_, side)) in enumerate(adversary_rows.ROWS.items())
        }
        values = {row: float(np.mean(some)) for row, some in users.items()}
        rest = {"rankers": {}, "alarms": [], "share_right": None, "seconds": 1.0}
        found.append({"ndcg": ndcg, "users": {"ndcg": [ndcg], **users}, "values": values, **rest})
    return found


@pytest.mark.parametrize(
    ("shift", "ndcg", "better", "worse", "reached"),
    [(0.5, 0.2, ALL, 0, True), (0.5, 0.19, ALL, 0, False), (-0.5, 0.2, 0, ALL, False), (0.0, 0.2, 0, 0, False)],
)
def test_what_may_be_claimed(shift, ndcg, better, worse, reached):
    found = adversary_tables.compared({"off": seeds(0.0, 0.2), "other": seeds(shift, ndcg)})["other"]
    assert (len(found["better"]), len(found["worse"]), found["reached"]) == (better, worse, reached)


def test_the_default_is_compared_with_what_has_no_discriminator():
    found = {"off": seeds(0.0, 0.2), "relativistic": seeds(0.5, 0.2), "MMD": seeds(1.0, 0.2), "hinge": seeds(1.0, 0.2)}
    table = adversary_tables.compared(found)
    assert [len(table["off"]["default"][side]) for side in ("better", "worse")] == [ALL, 0]
    assert [len(table["MMD"]["default"][side]) for side in ("better", "worse")] == [0, ALL]
    assert "default" not in table["hinge"]
    assert "default" not in adversary_tables.compared({**found, "relativistic": [{"failed": "no"}]})["MMD"]


def test_the_interval_counts_seeds_as_well_as_users():
    apart = [np.full(50, -1.0), np.full(50, 1.0), np.array([1.0, np.nan])]
    found = adversary_tables.interval(apart, 0.05)
    assert found["mean"] == pytest.approx(1 / 3)
    assert (found["low"], found["high"]) == (-1.0, 1.0)
    wide = np.random.default_rng(0).standard_normal(400)
    found = adversary_tables.interval([wide], 0.05)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * wide.std() / 20, rel=0.05)


def played(kind: str, module: type, adversarial: str = "none"):
    """A module over random parts, and a batch of three users."""
    torch.manual_seed(0)
    config = Config(embedding_dim=8, hidden_dim=8, noise_dim=3, adversarial=adversarial)
    made = build_generator(config, kind, {"vectors": torch.randn(N, 8)}, window=4)
    settings = {"learning_rate": 1e-3, "weight_decay": 0.0, "n_steps": 3, "full_softmax": True}
    game = module(made, Discriminator(8, 8, 2, 8), config, phase="game", **settings)
    items = torch.tensor([[1, 2, 3], [4, 5, 0], [0, 0, 0]])
    mask = torch.tensor([[True, True, True], [True, True, False], [False, False, False]])
    targets, there = torch.tensor([[4, 5], [7, 0], [8, 9]]), torch.tensor([[True, True], [True, False], [True, True]])
    return game, {"items": items, "mask": mask, "targets": targets, "target_mask": there}


def test_the_features_of_slates_by_hand():
    game, batch = played("bag", adversary_games.EnergyScoreGame)
    real, fake = adversary_games.features_of_slates(game, batch)
    assert fake.shape == (adversary_games.SLATES, *real.shape) == (4, 3, 9)
    vectors = game.generator.centred_vectors().detach()
    for user, items in enumerate([[4, 5], [7], [8, 9]]):
        middle = vectors[items].mean(0)
        torch.testing.assert_close(real[user], torch.cat([middle, middle.square().sum()[None]]))


def test_scores_of_slates_by_loops(monkeypatch):
    random = np.random.default_rng(0)
    real, fake = random.standard_normal((3, 2)), random.standard_normal((2, 3, 2))
    known = torch.from_numpy(real), torch.from_numpy(fake)
    monkeypatch.setattr(adversary_games, "features_of_slates", lambda *_: known)
    game, batch = played("bag", adversary_games.EnergyScoreGame)
    far = np.mean([np.linalg.norm(one[user] - real[user]) for one in fake for user in range(3)])
    apart = np.mean([np.linalg.norm(fake[0, user] - fake[1, user]) for user in range(3)])
    assert float(game.game_losses(batch)["adversarial"]) == pytest.approx(far - apart / 2, abs=1e-4)
    game, batch = played("bag", adversary_games.MmdGame)
    flat = fake.reshape(6, 2)
    pairs = [((one - other) ** 2).sum() for one in real for other in real]
    width = torch.tensor(pairs).median().item()

    def kernel(one, other):
        return np.exp(-0.5 * ((one - other) ** 2).sum() / width)

    among = np.mean([kernel(flat[a], flat[b]) for a in range(6) for b in range(6) if a != b])
    across = np.mean([kernel(one, other) for one in flat for other in real])
    assert float(game.game_losses(batch)["adversarial"]) == pytest.approx(among - 2 * across, abs=1e-5)


@pytest.mark.parametrize("kind", ["bag", "sequence"])
@pytest.mark.parametrize("module", [adversary_games.EnergyScoreGame, adversary_games.MmdGame])
def test_every_game_moves_the_variation_alone(kind, module):
    game, batch = played(kind, module)
    found = game.game_losses(batch)["adversarial"]
    found.backward()
    assert torch.isfinite(found)
    moved = {name for name, p in game.generator.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved
    assert all(name.startswith("variation.") for name in moved)
    assert all(parameter.grad is None for parameter in game.discriminator.parameters())


@pytest.fixture
def data(tmp_path):
    frame = planted(80, 40, 2, noise=0.1, seed=0)
    frame["split"] = np.where(np.random.default_rng(0).random(len(frame)) < 0.2, "test", "train")
    (tmp_path / "cfgan-ml100k").mkdir()
    frame.assign(rating=5).to_parquet(tmp_path / "cfgan-ml100k" / "interactions.parquet", index=False)
    return tmp_path


@pytest.mark.slow
def test_from_data_to_tables_and_nothing_twice(data, tmp_path, monkeypatch, capsys):
    some = ("no game", "off", "relativistic", "off, temperature .6", "energy score")
    monkeypatch.setattr(adversary_worth, "VARIANTS", {name: adversary_worth.VARIANTS[name] for name in some})
    out = tmp_path / "out" / "result.json"
    call = ["adversary", "--data", str(data), "--set", "ml-100k", "--seeds", "1", "--quick", "--out", str(out)]
    assert generator.main([*call, "--table", "markdown"]) == 0
    shown = capsys.readouterr().out
    assert all(
        title in shown
        for title in (*some, "energy distance, items", "boosting as ranker", "stability", "has no discriminator")
    )
    result = json.loads(out.read_text(encoding="utf-8"))
    assert list(result["variants"]) == list(some)
    assert result["tests"] == list(adversary_rows.ROWS)
    off, cool = (result["variants"][name] for name in ("off", "off, temperature .6"))
    assert off["ndcg"] == cool["ndcg"]
    assert off["values"]["mood_inside"] == cool["values"]["mood_inside"]
    assert set(off["rankers"][0]) == {"D", "boosting"}
    monkeypatch.setattr(adversary_worth, "start", lambda *_, **__: pytest.fail("the ranking phase is run again"))
    assert generator.main(call) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["variants"] == result["variants"]


def test_a_result_hangs_on_the_data_and_the_code(data):
    first = forks.key("ml-100k", data, False, [])
    assert first == forks.key("ml-100k", data, False, [])
    assert first != forks.key("ml-100k", data, True, [])
    assert first != forks.key("ml-100k", data, False, [Path(generator.__file__)])

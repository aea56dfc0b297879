"""A training that is broken off: taken up after any epoch, ended by Ctrl-C, or stopped by its losses."""

from __future__ import annotations

import math
import shutil

import pandas as pd
import pytest
import torch
from planted import planted

import recgan
from recgan.errors import ConfigError, TrainingError
from recgan.training import batches, checkpoints, fitting, module, phases
from recgan.training.checkpoints import Keeper
from recgan.training.module import ConditionalGAN, batch_fingerprint


class Died(BaseException):
    """As good as kill -9."""


@pytest.fixture(scope="module")
def frame():
    return planted(n_users=80, n_items=40, n_groups=4, noise=0.1, seed=1, ordered=True)


ITEMS = pd.DataFrame({"item_id": range(40), "categories": ["|".join({f"a{i % 4}", f"b{i % 7}"}) for i in range(40)]})


def config(small_config, folder=None, **changed):
    place = None if folder is None else str(folder)
    return small_config.changed(**{"epochs": 3, "game_steps": 6, "checkpoint_dir": place, **changed})


def same(one: recgan.Recommender, other: recgan.Recommender) -> None:
    pd.testing.assert_frame_equal(one.item_vectors(), other.item_vectors(), check_exact=True)
    pd.testing.assert_frame_equal(one.recommend_batch(n=15), other.recommend_batch(n=15), check_exact=True)
    pd.testing.assert_frame_equal(one.uncertainty(), other.uncertainty(), check_exact=True)
    for name in ("ablation", "ranking", "game", "weights", "alarms"):
        assert one.info()[name] == other.info()[name], name


@pytest.mark.parametrize(
    ("encoder", "rows", "again"),
    [("bag", False, False), ("bag", True, False), ("sequence", False, False), ("sequence", True, False), ("bag", 0, 1)],
)
def test_a_training_that_dies_after_every_epoch_ends_the_same_to_the_bit(
    frame, small_config, tmp_path, monkeypatch, encoder, rows, again
):
    sampled = {"full_softmax_items": 1, "n_negatives": 2} if rows else {}
    monkeypatch.setattr(phases, "EARLY", float(again))
    monkeypatch.setattr("recgan.training.plan.FREQUENT", 1e9)
    whole = recgan.train(frame, ITEMS, config=config(small_config, encoder=encoder, **sampled))
    settings, deaths = config(small_config, tmp_path / "kept", encoder=encoder, **sampled), 0
    keep = Keeper.on_train_epoch_end

    def keep_and_die(self, *arguments):
        keep(self, *arguments)
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", keep_and_die)
        while True:
            torch.manual_seed(deaths)
            try:
                found = recgan.train(frame, ITEMS, config=settings)
                break
            except Died:
                deaths += 1
    assert deaths >= 6
    same(found, whole)
    kept = ["game", "ranking", *["ranking again"] * again, "refit"]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == kept
    same(recgan.train(frame, ITEMS, config=settings.changed(progress=True, log_dir=str(tmp_path / "logs"))), whole)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("encoder", ["bag", "sequence"])
def test_a_training_that_dies_within_its_epochs_ends_the_same_to_the_bit(
    frame, small_config, tmp_path, monkeypatch, encoder, rows
):
    sampled = {"full_softmax_items": 1, "n_negatives": 2} if rows else {}
    monkeypatch.setattr(module, "EVERY", 2)
    monkeypatch.setattr(batches, "TOKENS", 96)
    whole = recgan.train(frame, ITEMS, config=config(small_config, encoder=encoder, batch_size=10, **sampled))
    settings = config(small_config, tmp_path / "kept", encoder=encoder, batch_size=10, **sampled)
    keep, deaths = Keeper._keep, []

    def keep_and_die(self, trainer, state):
        keep(self, trainer, state)
        if self.done and self.module.steps % 6 == 2:
            deaths.append((self.phase, self.module.epoch, self.done))
            raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "_keep", keep_and_die)
        while True:
            torch.manual_seed(len(deaths))
            try:
                found = recgan.train(frame, ITEMS, config=settings)
                break
            except Died:
                pass
    assert {"ranking", "refit"} == {phase for phase, _, _ in deaths}
    assert len(deaths) == len(set(deaths)) >= 4
    assert len({done for _, _, done in deaths}) >= 2
    same(found, whole)


def test_checkpoints_of_another_run_are_refused(frame, small_config, tmp_path, monkeypatch):
    settings = config(small_config, tmp_path / "kept")
    recgan.train(frame, config=settings)
    for other, told in (({"config": settings, "seed": 4}, "other settings"), ({"config": settings}, "other data")):
        rows = frame.iloc[1:] if told == "other data" else frame
        with pytest.raises(ConfigError, match=f"holds another run, with {told}; choose another folder, or remove it"):
            recgan.train(rows, **other)
    monkeypatch.setattr(checkpoints, "versions", lambda: {"torch": "0"})
    with pytest.raises(ConfigError, match="other versions"):
        recgan.train(frame, config=settings)


def test_damaged_checkpoints_are_refused(frame, small_config, tmp_path):
    settings = config(small_config, tmp_path / "kept")
    recgan.train(frame, config=settings)
    state = tmp_path / "kept" / "ranking" / checkpoints.ARRAYS
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"state\.safetensors.*remove it to begin anew"):
        recgan.train(frame, config=settings)
    (tmp_path / "file").write_text("x")
    with pytest.raises(recgan.RecganError, match="cannot be written"):
        recgan.train(frame, config=config(small_config, tmp_path / "file" / "kept"))


def test_what_a_kill_has_left_of_a_removal_is_not_read(frame, small_config, tmp_path):
    settings = config(small_config, tmp_path / "kept")
    whole = recgan.train(frame, config=settings)
    for left in (".game.old", ".refit.1a2b.new"):
        shutil.copytree(tmp_path / "kept" / "game", tmp_path / "kept" / left)
        (tmp_path / "kept" / left / checkpoints.ARRAYS).unlink()
    same(recgan.train(frame, config=settings), whole)


@pytest.mark.parametrize("phase", ["ranking", "game", "refit"])
def test_ctrl_c_leaves_a_usable_model(frame, small_config, tmp_path, monkeypatch, phase):
    step, taken = ConditionalGAN.training_step, []

    def interrupted(self, batch, index):
        taken.append(name[0])
        if name[0] == phase and taken.count(phase) == (1 if phase == "refit" else 2):
            raise KeyboardInterrupt
        return step(self, batch, index)

    name, run = [""], fitting.run_phase

    def named(module, batches, epochs, notes, settings, which, **more):
        name[0] = which
        return run(module, batches, epochs, notes, settings, which, **more)

    monkeypatch.setattr(ConditionalGAN, "training_step", interrupted)
    monkeypatch.setattr("recgan.training.phases.run_phase", named)
    with pytest.warns(UserWarning, match=f"interrupted in the {phase} phase: the model is what had been learned"):
        found = recgan.train(frame, config=config(small_config, epochs=6, encoder="bag"))
    assert taken[-1] == phase  # no other phase is begun
    assert found.info()["interrupted"] == [phase]
    lists = found.recommend_batch(n=5)
    assert (lists["item_id"] % 4 == lists["user_id"] % 4).mean() > 0.7
    found.save(tmp_path / "model")
    assert recgan.Recommender.load(tmp_path / "model").recommend_batch(n=5).equals(lists)


def test_ctrl_c_ends_a_search_for_settings(frame, small_config, monkeypatch):
    pytest.importorskip("optuna")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ConditionalGAN, "training_step", interrupted)
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        recgan.tune(frame, config=config(small_config), n_trials=2)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e7])
@pytest.mark.parametrize("kept", [False, True])
def test_losses_that_explode_stop_with_step_batch_and_checkpoint(
    frame, small_config, tmp_path, monkeypatch, value, kept
):
    loss, batches = ConditionalGAN.ranking_loss, []

    def exploding(self, batch):
        batches.append(batch)
        return loss(self, batch) * (value if self.epoch == 2 else 1.0)

    monkeypatch.setattr(ConditionalGAN, "ranking_loss", exploding)
    place = tmp_path / "kept" if kept else None
    with pytest.raises(TrainingError) as raised:
        recgan.train(frame, config=config(small_config, place, encoder="bag"))
    told, per_epoch = str(raised.value), len(batches) - 1
    assert f"at step {per_epoch + 1} (epoch 2 of the ranking phase)" in told
    assert f"in the batch {batch_fingerprint(batches[-1])} of {len(batches[-1]['items'])} users" in told
    where = (
        f"{place / 'ranking'} (after {per_epoch} steps)" if kept else "none, as Config(checkpoint_dir=...) was not set"
    )
    assert f"last good checkpoint: {where}" in told


def test_a_gradient_that_is_no_number_stops_before_the_step(frame, small_config, monkeypatch):
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    with pytest.raises(TrainingError, match="the generator's gradient is inf long at step 1"):
        recgan.train(frame, config=config(small_config))


def test_the_same_batch_has_the_same_fingerprint():
    batch = {"items": torch.arange(6).reshape(2, 3), "mask": torch.ones(2, 3, dtype=torch.bool)}
    assert batch_fingerprint(batch) == batch_fingerprint(dict(reversed(batch.items())))
    assert batch_fingerprint(batch) != batch_fingerprint({**batch, "items": batch["items"].T})
    assert batch_fingerprint({}) == batch_fingerprint({})

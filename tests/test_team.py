"""Processes that train together: what one process alone would have learned, the same in all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import planted
from team import CASES, SMALL, trained

import recgan
from recgan.training.team import Team, team

HERE = Path(__file__).parent


def torchrun(*program: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """A program in several processes."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *program],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def launched(out: Path, cases: list[str], processes: int = 2) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
    """Some trainings in processes of torchrun, and what each wrote."""
    ran = torchrun(str(HERE / "team.py"), str(out), *cases, processes=processes)
    files = [out / f"{rank}.json" for rank in range(processes)]
    return ran, [json.loads(file.read_text("utf-8")) for file in files if file.exists()]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    cases = [case for case in CASES if case != "killed"]
    ran, found = launched(tmp_path_factory.mktemp("team"), cases)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert [one["size"] for one in found] == [2, 2]
    return found


def test_processes_that_thin_out_each_for_itself_have_the_same_model(both):
    """The game draws what is random after the ranking phase: it is the same where all have drawn as much before."""
    assert both[0]["thinned"] == both[1]["thinned"]


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("killed", "thinned")])
def test_two_processes_learn_what_one_does(both, case, tmp_path):
    assert both[0][case] == both[1][case]
    alone = trained(case, tmp_path)
    curves = [
        [[point[name] for name in ("ranking", "metric")] for point in one["curve"]] for one in (both[0][case], alone)
    ]
    assert len(curves[0]) == 4
    np.testing.assert_allclose(curves[0], curves[1], atol=1e-4)
    np.testing.assert_allclose(both[0][case]["weights"], alone["weights"], rtol=1e-3)
    same = np.mean(np.array(both[0][case]["lists"]) == np.array(alone["lists"]))
    assert same > 0.98


def test_after_a_lost_process_the_others_stop_and_the_next_run_goes_on(tmp_path, both):
    broken, found = launched(tmp_path, ["killed"])
    assert broken.returncode != 0
    assert not found
    assert (tmp_path / "kept" / "ranking").exists()
    (tmp_path / "again").touch()
    ran, found = launched(tmp_path, ["killed"])
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert found[0] == found[1]
    assert found[0]["killed"] == both[0]["thinned"]


def test_on_the_command_line_the_first_process_writes(tmp_path):
    planted(n_users=40, n_items=30, n_groups=3, noise=0.1, seed=0).to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, "game_steps": 0}), encoding="utf-8")
    ran = torchrun(
        "-m", "recgan", "train", str(tmp_path / "log.csv"), "--out", str(tmp_path / "model"),
        "--config", str(tmp_path / "config.json"),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.count("popularity") == 1  # the table of what each part is worth
    assert len(recgan.Recommender.load(tmp_path / "model").recommend(1, 5)) == 5


def test_ray_train_starts_the_processes_too(tmp_path, both):
    pytest.importorskip("ray.train")
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    def loop(config: dict[str, str]) -> None:
        sys.path[:0] = [str(HERE), str(HERE.parent)]
        import team as helper

        helper.main(Path(config["out"]), ["bag"])

    TorchTrainer(
        loop,
        train_loop_config={"out": str(tmp_path)},
        scaling_config=ScalingConfig(num_workers=2),
        torch_config=TorchConfig(backend="gloo"),
        run_config=RunConfig(storage_path=str(tmp_path / "ray")),
    ).fit()
    found = [json.loads((tmp_path / f"{rank}.json").read_text("utf-8")) for rank in range(2)]
    assert found[0]["bag"] == found[1]["bag"] == both[0]["bag"]


def test_users_are_shared_out_and_count_what_they_count_in_the_whole():
    mask = torch.tensor(
        [[True, True, True, True], [True, False, False, False], [False] * 4, [True, True, False, False]]
    )
    batch = {"targets": torch.arange(16).view(4, 4), "target_mask": mask, "mask": mask}
    parts = [Team(rank, 3).part(batch) for rank in range(3)]
    assert sum(share for _, share in parts) == pytest.approx(1.0)
    assert parts[0][1] == pytest.approx((2 + 2**0.5) / (3 + 2**0.5))
    assert sorted(torch.cat([part["targets"] for part, _ in parts]).flatten().tolist()) == list(range(16))
    few = {name: values[:1] for name, values in batch.items()}
    part, share = Team(2, 3).part(few)
    assert (len(part["targets"]), share) == (1, 0.0)
    whole, share = Team().part(batch)
    assert whole is batch
    assert share == 1.0


def test_without_others_there_is_nothing_to_wait_for():
    assert team() == Team(0, 1)
    sent = [torch.ones(2)]
    Team().add_up(sent)
    assert sent[0].tolist() == [1.0, 1.0]

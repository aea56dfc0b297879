"""What each process does that torchrun or Ray Train starts: `python team.py OUT CASE ...`; OUT gets a file a process.

With the case "killed", process 1 dies at the end of its second epoch, for as long as there is no file OUT/again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from planted import planted

import recgan
from recgan.training import phases, team
from recgan.training.fitting import Watch

SMALL = {
    "embedding_dim": 8, "hidden_dim": 16, "noise_dim": 4, "n_draws": 4, "batch_size": 30, "dropout": 0.0, "epochs": 4,
    "game_steps": 4, "progress": False, "accelerator": "cpu",
}  # fmt: skip
CASES = {
    "bag": {"encoder": "bag"},
    "rows": {"encoder": "bag", "full_softmax_items": 1, "n_negatives": 3},
    "sample": {"encoder": "bag", "full_softmax_items": 1, "n_negatives": 20},
    "sequence": {"encoder": "sequence"},
    "thinned": {"encoder": "bag", "dropout": 0.4, "seed": 2},
    "killed": {"encoder": "bag", "dropout": 0.4, "seed": 2},
}


def trained(case: str, out: Path) -> dict[str, object]:
    """The curve of a small training, and what the model lists."""
    frame = planted(n_users=101, n_items=60, n_groups=4, noise=0.1, seed=0, ordered=case == "sequence")
    items = pd.DataFrame({"item_id": range(60), "categories": [f"a{i % 4}|b{i % 7}" for i in range(60)]})
    kept = {"checkpoint_dir": str(out / "kept")} if case == "killed" else {}
    config = recgan.Config(**(SMALL | CASES[case] | kept), precision="float32")
    model = recgan.train(frame, None if case == "bag" else items, config=config)
    state = model._blocks.generator.state_dict().values()
    digest = [float(np.abs(value.numpy()).sum()) for value in state]
    bits = [hashlib.sha256(value.numpy().tobytes()).hexdigest() for value in state]
    lists = model.recommend_batch(n=5)["item_id"].tolist()
    return {"curve": model.info()["ranking"]["curve"], "weights": digest, "bits": bits, "lists": lists}


class Dying(Watch):
    """The end of process 1, after its second epoch."""

    def enough(self, epoch, module):
        if epoch == 2 and team.team().rank == 1:
            os._exit(9)
        return super().enough(epoch, module)


def main(out: Path, cases: list[str]) -> None:
    """Train what is asked for, and write it down."""
    if "killed" in cases and not (out / "again").exists():
        phases.Watch = Dying
    found = {case: trained(case, out) for case in cases}
    rank = team.team().rank
    (out / f"{rank}.json").write_text(json.dumps({"size": team.team().size, **found}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

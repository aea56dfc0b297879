"""Checkpoints of a training run: after every epoch, and in long ones, everything that the next step hangs on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytorch_lightning as pl
import torch

from recgan import artifact
from recgan.config import Config
from recgan.errors import ArtifactError, ConfigError
from recgan.histories import fingerprint, slices
from recgan.training.batches import SequenceBatches, SplitBatches
from recgan.training.module import ConditionalGAN
from recgan.training.reporting import versions

if TYPE_CHECKING:
    from recgan.training.data import Data
    from recgan.training.fitting import Notes

ARRAYS = "state.safetensors"
ELSEWHERE = ("checkpoint_dir", "log_dir", "progress")
"""Settings that do not change what is learned."""


@dataclass(frozen=True)
class Checkpoints:
    """Where the phases of one run are kept, each in a folder of its own that is replaced whole.

    Args:
        folder: of all phases.
        run: what the run is, by settings, data and versions; JSON values.
        writes: whether this process writes them, of several that train together.
    """

    folder: Path
    run: Mapping[str, Any]
    writes: bool = True

    @classmethod
    def of(cls, config: Config, data: Data, writes: bool = True) -> Checkpoints | None:
        """The checkpoints that the settings ask for; None where they ask for none.

        Raises:
            ConfigError: when the folder holds those of another run, or cannot be read.
        """
        if config.checkpoint_dir is None:
            return None
        settings = {name: value for name, value in config.model_dump().items() if name not in ELSEWHERE}
        run = {"settings": settings, "data": _digest(data), "versions": versions()}
        found = cls(Path(config.checkpoint_dir), run, writes)
        for phase in sorted(found.folder.glob("[!.]*/" + artifact.MANIFEST)):  # hidden: on their way in or out
            found.read(phase.parent.name)
        return found

    def read(self, phase: str) -> dict[str, Any]:
        """What was kept of a phase, without the arrays; empty where nothing was.

        Raises:
            ConfigError: when it is of another run, or damaged.
        """
        place = artifact.standing(self.folder / phase)
        if not place.exists():
            return {}
        advice = "choose another folder, or remove it to begin anew"
        try:
            kept = artifact.read_manifest(place)
        except ArtifactError as error:
            raise ConfigError(f"checkpoint_dir: {error}; {advice}") from error
        differing = [name for name, value in self.run.items() if kept.get("run", {}).get(name) != value]
        if differing:
            told = " and ".join(differing)
            raise ConfigError(f"checkpoint_dir: {self.folder} holds another run, with other {told}; {advice}")
        return kept


class Keeper(pl.Callback):
    """Keeps a phase after every epoch and in the middle of long ones, and takes it up where it was left.

    Args:
        checkpoints: where.
        phase: its name.
        module: trained in it.
        batches: read in it.
        notes: taken in it, or None.
        epochs: most epochs.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        phase: str,
        module: ConditionalGAN,
        batches: SequenceBatches | SplitBatches,
        notes: Notes | None,
        epochs: int,
    ) -> None:
        self.checkpoints, self.phase, self.epochs = checkpoints, phase, epochs
        self.module, self.batches, self.notes = module, batches, notes
        self.done = 0
        """Batches of the epoch that are behind."""
        self.luck: torch.Tensor | None = None
        """Torch's random numbers where an epoch is taken up in its middle: its beginning has drawn some."""
        self.optimizers: dict[str, torch.Tensor] = {}
        self.groups: list[list[dict[str, Any]]] = []

    @property
    def folder(self) -> Path:
        """Where the phase is kept."""
        return self.checkpoints.folder / self.phase

    def resume(self) -> bool:
        """Take up what was kept; whether the phase was over."""
        kept = self.checkpoints.read(self.phase)
        if not kept:
            return False
        arrays = artifact.load_arrays(artifact.standing(self.folder) / ARRAYS)
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        module, state = self.module, kept["state"]
        module.generator.load_state_dict(_named(tensors, "generator."))
        module.average = _named(tensors, "average.")
        if module.discriminator is not None:
            module.discriminator.load_state_dict(_named(tensors, "discriminator."))
        self.done = self.batches.skipped = state["done"]
        module.epoch, module.steps = state["epoch"] - bool(self.done), state["steps"]
        module.totals, module.counted = state["totals"], state["counted"]
        module.began = time.perf_counter() - state["spent"]
        module.checkpoint = f"{self.folder} {_after(module)}"
        self.batches.random.bit_generator.state = state["batches"]
        torch.set_rng_state(tensors["random"])
        self.luck = tensors["random"] if self.done else None
        if self.notes is not None:
            self.notes.take_up(state["notes"], _named(tensors, "best."))
        self.optimizers, self.groups = _named(tensors, "optimizers."), state["groups"]
        return bool(state["over"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the optimizers what they remembered."""
        for number, (optimizer, groups) in enumerate(zip(trainer.optimizers, self.groups, strict=False)):
            mine: dict[int, dict[str, torch.Tensor]] = {}
            for name, value in _named(self.optimizers, f"{number}.").items():
                parameter, what = name.split(".", 1)
                mine.setdefault(int(parameter), {})[what] = value
            now = optimizer.state_dict()["param_groups"]
            merged = [group | kept for group, kept in zip(now, groups, strict=True)]
            optimizer.load_state_dict({"state": mine, "param_groups": merged})

    def on_train_batch_start(self, *_: Any) -> None:
        """Go on with the random numbers that were next."""
        if self.luck is not None:
            torch.set_rng_state(self.luck)
            self.luck = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Count, and keep everything now and then; not in the game, whose epochs are cut to the same few batches."""
        self.done += 1
        if self.module.rests and self.module.phase == "ranking" and self.done < len(self.batches):
            self._keep(trainer, self.batches.begun)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep everything."""
        self.done = 0
        self._keep(trainer, self.batches.random.bit_generator.state)

    def _keep(self, trainer: pl.Trainer, batches: Mapping[str, Any]) -> None:
        """Keep everything, in one rename; the batches go on from these random numbers, behind those that are done."""
        if not self.checkpoints.writes:
            return
        module = self.module
        tensors = self._tensors(trainer)
        state = {
            "epoch": module.epoch,
            "steps": module.steps,
            "spent": time.perf_counter() - (module.began or time.perf_counter()),
            "done": self.done,
            "totals": module.totals,
            "counted": module.counted,
            "over": not self.done and (trainer.should_stop or module.epoch >= self.epochs),
            "batches": batches,
            "notes": {} if self.notes is None else self.notes.kept(),
            "groups": [[_plain(group) for group in one.param_groups] for one in trainer.optimizers],
        }

        def fill(root: Path) -> None:
            artifact.save_arrays(root / ARRAYS, {name: value.cpu().numpy() for name, value in tensors.items()})

        artifact.write_folder(self.folder, fill, {"run": dict(self.checkpoints.run), "state": state})
        module.checkpoint = f"{self.folder} {_after(module)}"

    def _tensors(self, trainer: pl.Trainer) -> dict[str, torch.Tensor]:
        module = self.module
        parts: dict[str, Mapping[str, torch.Tensor]] = {
            "generator": module.generator.state_dict(),
            "average": module.average,
            "discriminator": {} if module.discriminator is None else module.discriminator.state_dict(),
            "best": {} if self.notes is None else self.notes.best_state,
        }
        for number, optimizer in enumerate(trainer.optimizers):
            remembered = optimizer.state_dict()["state"]
            parts[f"optimizers.{number}"] = {
                f"{parameter}.{name}": value
                for parameter, values in remembered.items()
                for name, value in values.items()
            }
        tensors = {f"{part}.{name}": value.detach() for part, some in parts.items() for name, value in some.items()}
        return {**tensors, "random": torch.get_rng_state()}


def _named(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _after(module: ConditionalGAN) -> str:
    return f"(after {module.steps} steps)"


def _plain(group: Mapping[str, Any]) -> dict[str, float]:
    return {name: group[name] for name in ("lr", "first_lr") if name in group}


def _digest(data: Data) -> str:
    """A hash of everything that a run reads."""
    validation = data.validation
    digest = hashlib.sha256(json.dumps([fingerprint(one) for one in (data.whole, data.histories)]).encode())
    others = [] if data.disliked is None else [data.disliked]
    others += [] if data.everyone is None else [data.everyone.histories]
    for histories in (data.whole, validation.query.histories, validation.truth, *others):
        for array in (histories.offsets, histories.items, histories.times, histories.weights):
            for some in slices(0 if array is None else len(array)):
                digest.update(array[some].tobytes())  # type: ignore[index]
    digest.update(data.profiles.tobytes())
    digest.update(pd.util.hash_pandas_object(data.item_table.astype(str), index=False).to_numpy().tobytes())
    digest.update("|".join(map(repr, data.users.all_ids)).encode())
    return digest.hexdigest()

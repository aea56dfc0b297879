"""Runs of the Lightning trainer: the ranking phase with early stopping, and the adversarial game that can be undone."""

from __future__ import annotations

import copy
import logging
import math
import signal
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from recgan.config import Config
from recgan.errors import ConfigError
from recgan.features import FEATURES
from recgan.networks import Discriminator, Generator
from recgan.training.batches import Batch, SequenceBatches, SplitBatches
from recgan.training.checkpoints import Checkpoints, Keeper
from recgan.training.diagnostics import Diagnostics
from recgan.training.module import ConditionalGAN
from recgan.training.softmax import SHARED, VECTORS

LATELY, PLATEAU, PLATEAU_USERS = 5, 0.02, 600
"""The last measurements after the best one are on a plateau where their mean is this much lower, by so many users."""
Measure = Callable[[Generator], dict[str, float]]
State = dict[str, torch.Tensor]


class Deadline(pl.Callback):
    """Stops in the middle of an epoch when the module's time is over."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Look at the clock."""
        if isinstance(pl_module, ConditionalGAN) and pl_module.seconds and pl_module.progress() >= 1.0:
            trainer.should_stop = True


class Notes(pl.Callback):
    """Notes the losses of every epoch and what is measured at its end, here and in the logs.

    Args:
        progress: called with (epoch, metric or None) after every epoch.
        diagnose: called with (epoch, generator, discriminator); what it returns is noted and decides nothing.
    """

    def __init__(self, progress: Callable[[int, float | None], None], diagnose: Diagnostics | None = None) -> None:
        self.progress = progress
        self.diagnose = diagnose
        self.curve: list[dict[str, float]] = []
        self.best_state: State = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure and note."""
        if not isinstance(pl_module, ConditionalGAN):
            raise TypeError(f"{type(self).__name__} needs a ConditionalGAN")
        epoch = pl_module.epoch
        served = served_copy(pl_module.generator, pl_module.average, pl_module.trained)
        point = {"epoch": float(epoch), **self.measured(served), **pl_module.mean_losses()}
        if self.diagnose is not None:
            point |= self.diagnose(epoch, served, pl_module.discriminator)
        self.curve.append(point)
        for logger in trainer.loggers:
            logger.log_metrics({name: value for name, value in point.items() if name != "epoch"}, step=epoch)
        self.progress(epoch, point.get("metric"))
        trainer.should_stop = self.enough(epoch, pl_module)

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps of the notes besides `best_state`; JSON values."""
        return {"curve": self.curve, "pictures": [] if self.diagnose is None else self.diagnose.pictures}

    def take_up(self, kept: dict[str, Any], best_state: State) -> None:
        """Go on from what a checkpoint kept."""
        self.curve, self.best_state = kept["curve"], best_state
        if self.diagnose is not None:
            self.diagnose.pictures = kept["pictures"]

    def measured(self, served: Generator) -> dict[str, float]:
        """What is measured of the running average."""
        return {}

    def enough(self, epoch: int, module: ConditionalGAN) -> bool:
        """Whether training shall stop after this epoch."""
        return module.progress() >= 1.0


class Watch(Notes):
    """Measures the running average after an epoch, keeps the best, and stops when nothing better comes.

    It does not stop on a plateau, where the best is the best by chance, and small steps at the end of the schedule may
    find better.

    Args:
        measure: validation metrics of a generator by name, "metric" first; their mean decides.
        patience: measurements without a better one before the phase stops.
        progress: called with (epoch, metric) after every epoch.
        weights: what the measure remembers of its first call.
        n_users: how many are measured; chance moves the mean of more of them less.
    """

    def __init__(
        self,
        measure: Measure,
        patience: int,
        progress: Callable[[int, float | None], None],
        weights: dict[str, float],
        n_users: int = PLATEAU_USERS,
    ) -> None:
        super().__init__(progress)
        self.plateau = 1.0 - PLATEAU * min(1.0, math.sqrt(PLATEAU_USERS / max(1, n_users)))
        self.measure = measure
        self.weights = weights
        self.patience = patience
        self.values: list[float] = []
        self.state: State = {}
        self.best = -1.0
        self.best_epoch = 0

    def kept(self) -> dict[str, Any]:
        """The notes, and which epoch was the best."""
        best = {"values": self.values, "best": self.best, "best_epoch": self.best_epoch}
        return {**super().kept(), **best, "weights": self.weights}

    def take_up(self, kept: dict[str, Any], best_state: State) -> None:
        """Go on from what a checkpoint kept."""
        super().take_up(kept, best_state)
        self.values, self.best, self.best_epoch = kept.get("values", []), kept["best"], kept["best_epoch"]
        self.weights.update(kept["weights"])

    def measured(self, served: Generator) -> dict[str, float]:
        """Its validation metrics, whose mean decides."""
        found, self.state = self.measure(served), served.state_dict()
        self.values.append(sum(found.values()) / len(found))
        return found

    def enough(self, epoch: int, module: ConditionalGAN) -> bool:
        """Keep the best, and stop when nothing better has come for long."""
        if self.values[-1] > self.best:
            self.best, self.best_epoch = self.values[-1], epoch
            self.best_state = self.state
        self.state = {}
        waited = epoch - self.best_epoch
        lately = self.values[-min(LATELY, max(1, waited)) :]
        falls = sum(lately) / len(lately) < self.plateau * self.best
        return (falls and waited >= self.patience) or super().enough(epoch, module)


def served_copy(generator: Generator, state: State, copied: Collection[str] | None = None) -> Generator:
    """A generator like another on the CPU with other weights, in evaluation mode; what items share is in their vectors.

    Args:
        generator: stays as it is.
        state: the weights.
        copied: names of the weights that are copied, the others are shared; None for all.
    """
    copied = state.keys() if copied is None else copied
    others = {name: value.detach().to("cpu", copy=name in copied) for name, value in state.items()}
    known: dict[int, Any] = {}
    if generator.shared is not None:
        known[id(generator.shared)] = None
        if SHARED in others:
            others[VECTORS] = others[VECTORS] + generator.shared.of(others.pop(SHARED))
    own = [(name, value) for name, value in generator.named_parameters() if name in others]
    known |= {id(value): torch.nn.Parameter(others[name]) for name, value in own}
    return copy.deepcopy(generator, known).eval().requires_grad_(False)


def run_phase(
    module: ConditionalGAN,
    batches: SequenceBatches | SplitBatches,
    epochs: int,
    notes: Notes | None,
    config: Config,
    name: str,
    *,
    most_batches: int | None = None,
    checkpoints: Checkpoints | None = None,
) -> bool:
    """Train for some epochs, or until the notes say that it is enough, or until Ctrl-C.

    Args:
        module: trained in place.
        batches: one pass over them is an epoch.
        epochs: most epochs.
        notes: taken after every epoch; None where none are wanted.
        config: accelerator and logs.
        name: of the phase, in the logs and checkpoints.
        most_batches: of one epoch; None for all.
        checkpoints: where the phase is kept after every epoch and taken up from; None for nowhere.

    Returns:
        Whether it came to its end; False after Ctrl-C, when the module is as the last step has left it.

    Raises:
        TrainingError: when a loss is not a number.
        ConfigError: when the checkpoints or logs cannot be read or written.
    """
    keeper = None if checkpoints is None else Keeper(checkpoints, name, module, batches, notes, epochs)
    over = keeper is not None and keeper.resume()
    if keeper is not None:
        module.together.meet()  # so that none is read that the first process replaces
    finished = True
    if not over and module.epoch < epochs:
        callbacks: list[pl.Callback] = [one for one in (Deadline(), notes, keeper) if one is not None]
        with _quiet():
            trainer = pl.Trainer(
                max_epochs=epochs - module.epoch,
                accelerator=config.accelerator,
                devices=module.together.devices,
                logger=_loggers(config, name),
                callbacks=callbacks,
                limit_train_batches=most_batches,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                barebones=False,
            )
            finished = _fit(trainer, module, DataLoader(batches, batch_size=None, num_workers=0))
    module.cpu()
    return finished


def _fit(trainer: pl.Trainer, module: ConditionalGAN, loader: DataLoader[Batch]) -> bool:
    """Fit; False after Ctrl-C. A termination stays one, and the handler stays the caller's."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        trainer.fit(module, loader)
    except SIGTERMException:
        raise
    except (SystemExit, KeyboardInterrupt):
        return False
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
    return True


def _loggers(config: Config, name: str) -> list[Logger] | bool:
    if config.log_dir is None:
        return False
    folder = Path(config.log_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"log_dir: {folder} cannot be written: {error}") from error
    return [
        CSVLogger(folder, name="csv", version=name, flush_logs_every_n_steps=1),
        TensorBoardLogger(folder, name="tensorboard", version=name),
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's hints about workers, devices and logging are not for our users."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", module="lightning_fabric")
            warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|treespec).*")
            yield
    finally:
        logger.setLevel(level)


def seeded(seed: int) -> Any:
    """A context in which torch's random numbers follow from the seed; outside it they go on as before."""

    @contextmanager
    def context() -> Iterator[None]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield

    return context()


def new_discriminator(config: Config) -> Discriminator:
    """A discriminator that does not judge yet; of candidates it reads the pair features and stage one's relevance."""
    return Discriminator(config.embedding_dim, config.embedding_dim, len(FEATURES) + 1, config.hidden_dim)

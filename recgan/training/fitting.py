"""Runs of the Lightning trainer: the ranking phase with early stopping, and the adversarial game that can be undone."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader, IterableDataset

from recgan.config import Config
from recgan.errors import ConfigError
from recgan.features import FEATURES
from recgan.networks import Discriminator, Generator
from recgan.training.batches import Batch
from recgan.training.module import ConditionalGAN

Measure = Callable[[Generator], dict[str, float]]
Diagnose = Callable[[int, Generator, Discriminator | None], dict[str, float]]
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

    def __init__(self, progress: Callable[[int, float | None], None], diagnose: Diagnose | None = None) -> None:
        self.progress = progress
        self.diagnose = diagnose
        self.curve: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure and note."""
        if not isinstance(pl_module, ConditionalGAN):
            raise TypeError(f"{type(self).__name__} needs a ConditionalGAN")
        epoch = trainer.current_epoch + 1
        served = served_copy(pl_module.generator, pl_module.average)
        point = {"epoch": float(epoch), **self.measured(served), **pl_module.mean_losses()}
        if self.diagnose is not None:
            point |= self.diagnose(epoch, served, pl_module.discriminator)
        self.curve.append(point)
        for logger in trainer.loggers:
            logger.log_metrics({name: value for name, value in point.items() if name != "epoch"}, step=epoch)
        self.progress(epoch, point.get("metric"))
        trainer.should_stop = self.enough(epoch, pl_module)

    def measured(self, served: Generator) -> dict[str, float]:
        """What is measured of the running average."""
        return {}

    def enough(self, epoch: int, module: ConditionalGAN) -> bool:
        """Whether training shall stop after this epoch."""
        return module.progress() >= 1.0


class Watch(Notes):
    """Measures the running average after an epoch, keeps the best, and stops when nothing better comes.

    Args:
        measure: validation metrics of a generator by name, "metric" first; their mean decides.
        patience: measurements without a better one before the phase stops.
        progress: called with (epoch, metric) after every epoch.
    """

    def __init__(self, measure: Measure, patience: int, progress: Callable[[int, float | None], None]) -> None:
        super().__init__(progress)
        self.measure = measure
        self.patience = patience
        self.value = 0.0
        self.best = -1.0
        self.best_state: State = {}
        self.best_epoch = 0

    def measured(self, served: Generator) -> dict[str, float]:
        """Its validation metrics, whose mean decides."""
        found = self.measure(served)
        self.value = sum(found.values()) / len(found)
        return found

    def enough(self, epoch: int, module: ConditionalGAN) -> bool:
        """Keep the best, and stop when nothing better has come for long."""
        if self.value > self.best:
            self.best, self.best_epoch = self.value, epoch
            self.best_state = {name: value.clone().cpu() for name, value in module.average.items()}
        return epoch - self.best_epoch >= self.patience or super().enough(epoch, module)


def served_copy(generator: Generator, state: State) -> Generator:
    """A copy of a generator on the CPU with other weights, in evaluation mode."""
    import copy

    served = copy.deepcopy(generator).cpu()
    served.load_state_dict({name: value.cpu() for name, value in state.items()})
    return served.eval().requires_grad_(False)


def run_phase(
    module: ConditionalGAN,
    batches: IterableDataset[Batch],
    epochs: int,
    notes: Notes | None,
    config: Config,
    name: str,
    most_batches: int | None = None,
) -> None:
    """Train for some epochs, or until the notes say that it is enough.

    Args:
        module: trained in place.
        batches: one pass over them is an epoch.
        epochs: most epochs.
        notes: taken after every epoch; None where none are wanted.
        config: accelerator and logs.
        name: of the phase, in the logs.
        most_batches: of one epoch; None for all.

    Raises:
        TrainingError: when a loss is not a number.
    """
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator=config.accelerator,
            devices=1,
            logger=_loggers(config, name),
            callbacks=[Deadline(), notes] if notes else [Deadline()],
            limit_train_batches=most_batches,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            barebones=False,
        )
        _fit(trainer, module, DataLoader(batches, batch_size=None, num_workers=0))
    module.cpu()


def _fit(trainer: pl.Trainer, module: ConditionalGAN, loader: DataLoader[Batch]) -> None:
    """Fit; Ctrl-C stays a KeyboardInterrupt, a termination stays one, and the handler stays the caller's."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        trainer.fit(module, loader)
    except SIGTERMException:
        raise
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


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

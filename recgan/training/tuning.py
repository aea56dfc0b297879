"""The search for better settings than the defaults, for those who have the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recgan.config import Config
from recgan.errors import ConfigError, TrainingError
from recgan.progress import Progress
from recgan.splits import Holdout
from recgan.tables import Source
from recgan.training.run import settled, train

if TYPE_CHECKING:
    from optuna import Study, Trial

WHOLE = "both + discriminator"
"""The line of the ablation that is maximised."""


def tune(
    interactions: Source,
    items: Source | None = None,
    *,
    users: Source | None = None,
    validation: Holdout | None = None,
    time_limit: float = 3600.0,
    n_trials: int | None = None,
    config: Config | None = None,
    seed: int | None = None,
) -> Config:
    """Search settings that serve the inner validation better than those given, by optuna (extra `tune`).

    The first trial is the config as it stands, so the result is never worse on the validation data. Every trial is a
    training without the adversarial game, which leaves the lists alone; the config that comes back has the game again.

    Args:
        interactions: as for `train`.
        items: as for `train`.
        users: as for `train`.
        validation: as for `train`.
        time_limit: seconds after which no further trial begins.
        n_trials: most trials; None for as many as the time allows.
        config: what stays as it is where it is not searched; None for the defaults.
        seed: of the search and of every training; None for that of the config.

    Returns:
        The best settings, ready for `train(..., config=...)`.

    Raises:
        ConfigError: when optuna is not installed or an argument is out of range.
        DataError: when a table cannot be used, or holds nobody to validate with.
        TrainingError: when no training came to its end.
    """
    config = settled(config, seed)
    if not time_limit > 0 or (n_trials is not None and n_trials < 1):
        raise ConfigError(f"tune: time_limit={time_limit!r} and n_trials={n_trials!r} must be above 0")
    tables: dict[str, Any] = {"items": items, "users": users, "validation": validation}
    study, failures = _study(config), list[TrainingError]()
    with Progress(config.progress) as progress:
        tick = progress.steps("tuning recgan", n_trials or 0)

        def value(trial: Trial) -> float:
            tried = config.changed(**_suggested(trial), game_steps=0, progress=False, checkpoint_dir=None)
            try:
                report = train(interactions, config=tried, **tables).info()
            except TrainingError as error:
                failures.append(error)
                raise
            if report["interrupted"]:
                raise KeyboardInterrupt
            tick(1)
            if WHOLE not in report["ablation"]:
                raise ConfigError("tune: nobody has two items to validate with")
            return float(report["ablation"][WHOLE])

        study.optimize(value, n_trials=n_trials, timeout=time_limit, catch=(TrainingError,))
    if not study.trials:  # the time was over before the first
        return config
    if len(failures) == len(study.trials):
        raise TrainingError(f"tune: no training came to its end: {failures[-1]}")
    return config if study.best_trial.number == 0 else config.changed(**study.best_params)


def _study(config: Config) -> Study:
    """A maximising study."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("tune needs the library optuna: pip install recgan[tune]") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=5)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _suggested(trial: Trial) -> dict[str, Any]:
    """What a trial changes; the first one nothing."""
    if trial.number == 0:
        return {}
    return {
        "embedding_dim": trial.suggest_categorical("embedding_dim", [64, 128, 256]),
        "hidden_dim": trial.suggest_categorical("hidden_dim", [256, 512]),
        "dropout": trial.suggest_float("dropout", 0.1, 0.7),
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-2, 5.0, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128, 256]),
    }

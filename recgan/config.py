"""Every setting of a training run, in one frozen object that refuses unknown keys."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recgan.errors import ConfigError

METRICS = "hit|map|mrr|ndcg|precision|recall|recall_capped"
"""Names of the metrics that validation can ask for, those of `metrics.RANKING`."""


class Config(BaseModel):
    """Settings of a training run; the defaults are meant to be left alone.

    Args:
        embedding_dim: length D of the item vectors and C of the condition.
        noise_dim: length Z of a noise vector.
        n_draws: S, noise vectors in the bank that is kept with the model.
        hidden_dim: width of the residual networks.
        dropout: share dropped in the condition encoder; None follows from the encoder.
        encoder: "bag" reads a history as a set, "sequence" in its order; "auto" lets validation decide.
        window: most history items that the encoder reads; None follows from the encoder and the data.
        epochs: most passes over the users in the ranking phase; None follows from the encoder and the data.
        patience: validations without a better result before the ranking phase stops, if the last ones fell by 2 %.
        batch_size: users in one step.
        learning_rate: of the generator (AdamW, cosine decay); None follows from the encoder and the data.
        discriminator_learning_rate: of the discriminator in the game (Adam, betas 0 and .99).
        weight_decay: of the generator (decoupled); None follows from the encoder and the data.
        ema_decay: of the running average of the generator's weights that is served.
        clip_norm: largest gradient norm in a step.
        full_softmax_items: catalogues up to this size get the softmax over every item; None follows from the data.
        n_negatives: shared uniform negatives in a step, for larger catalogues.
        precision: "auto" multiplies and keeps the softmax of the ranking phase in bfloat16 where the machine does that
            faster, "float32" never does.
        adversarial: loss of the game; "none" switches it off.
        adversarial_weight: of the game's loss beside the set likelihood.
        gradient_penalty: weight of R1 + R2 (or of WGAN-GP's penalty).
        game_steps: steps of the game, in which only the noise learns, to stand for moods.
        slate_size: most items of a slate: alike, explained by one draw of the noise, judged together.
        n_candidates: K, items among which the discriminator, `explore` and calibration choose.
        time_limit: seconds that the training of the generator may take, half of them for ranking, a fifth each for
            refit and game; learning rates decay to fit. None for no limit.
        metric: what validation maximises, for example "ndcg@10".
        max_validation_users: most users that validation reads.
        rows_in_memory: rows of interactions up to which Parquet files are read into memory. Of more, random users with
            so many rows are all that closed forms, validation and second stage see, and the generator is trained on
            everybody from disk.
        seed: of everything random.
        accelerator: "cpu", "gpu" or "auto".
        progress: whether a progress bar may be shown on stderr.
        log_dir: folder for CSV and TensorBoard logs; None for none.
        checkpoint_dir: folder that keeps the training after every epoch; the same training begun again goes on from
            there, and ends as if it had never been broken off. None for none.

    Raises:
        ConfigError: for an unknown key or a value out of range, all problems in one message.

    Example:
        >>> Config(epochs=5).epochs
        5
        >>> Config(epoch=5)
        Traceback (most recent call last):
        ...
        recgan.errors.ConfigError: config: 'epoch': no such setting; did you mean 'epochs'?
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    embedding_dim: int = Field(128, ge=2, le=4096)
    noise_dim: int = Field(16, ge=1, le=1024)
    n_draws: int = Field(8, ge=1, le=1024)
    hidden_dim: int = Field(256, ge=4, le=8192)
    dropout: float | None = Field(None, ge=0.0, lt=1.0)
    encoder: Literal["auto", "bag", "sequence"] = "auto"
    window: int | None = Field(None, ge=1, le=100_000)
    epochs: int | None = Field(None, ge=0, le=100_000)
    patience: int = Field(15, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float | None = Field(None, gt=0.0, le=1.0)
    discriminator_learning_rate: float = Field(2e-3, gt=0.0, le=1.0)
    weight_decay: float | None = Field(None, ge=0.0)
    ema_decay: float = Field(0.98, ge=0.0, lt=1.0)
    clip_norm: float = Field(1.0, gt=0.0)
    full_softmax_items: int | None = Field(None, ge=1)
    n_negatives: int = Field(4096, ge=1)
    precision: Literal["auto", "float32"] = "auto"
    adversarial: Literal["relativistic", "non-saturating", "wgan-gp", "hinge", "none"] = "relativistic"
    adversarial_weight: float = Field(10.0, ge=0.0)
    gradient_penalty: float = Field(0.1, ge=0.0)
    game_steps: int = Field(200, ge=0)
    slate_size: int = Field(4, ge=1)
    n_candidates: int = Field(200, ge=1)
    time_limit: float | None = Field(None, gt=0.0)
    metric: str = Field("ndcg@10", pattern=rf"^({METRICS})@[1-9][0-9]*$")
    max_validation_users: int = Field(5000, ge=1)
    rows_in_memory: int = Field(20_000_000, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    progress: bool = True
    log_dir: str | None = None
    checkpoint_dir: str | None = None

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(f"config: {_told(error)}") from None

    def changed(self, **settings: Any) -> Config:
        """A copy with some settings changed.

        Args:
            settings: by name.

        Raises:
            ConfigError: for an unknown key or a value out of range.
        """
        return Config(**{**self.model_dump(), **settings})

    @classmethod
    def read(cls, path: str | Path) -> Config:
        """Settings from a JSON file.

        Args:
            path: a file holding one JSON object.

        Raises:
            ConfigError: when the file is missing, no JSON object, or holds an unknown or bad setting.
        """
        try:
            settings = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"config: {path} cannot be read: {error}") from error
        if not isinstance(settings, dict):
            raise ConfigError(f"config: {path} holds no JSON object")
        return cls(**settings)


def _told(error: ValidationError) -> str:
    problems = []
    for one in error.errors():
        name = ".".join(map(str, one["loc"]))
        unknown = one["type"] == "extra_forbidden"
        what = _unknown(name) if unknown else f"{one['msg']}, not {one['input']!r}"
        problems.append(f"{name!r}: {what}")
    return "; ".join(problems)


def _unknown(name: str) -> str:
    """The setting that was perhaps meant, else the names of all."""
    near = difflib.get_close_matches(name.lower(), Config.model_fields, n=1, cutoff=0.5)
    if near:
        return f"no such setting; did you mean {near[0]!r}?"
    return f"no such setting; there are {', '.join(Config.model_fields)}"

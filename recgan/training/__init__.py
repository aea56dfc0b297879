"""Training: the only part of recgan that loads PyTorch Lightning."""

from recgan.training.run import train
from recgan.training.tuning import tune
from recgan.training.updating import update

__all__ = ["train", "tune", "update"]

"""Training: the only part of recgan that loads PyTorch Lightning."""

from recgan.training.run import train
from recgan.training.tuning import tune

__all__ = ["train", "tune"]

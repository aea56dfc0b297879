"""Training: the only part of recgan that loads PyTorch Lightning."""

from recgan.training.run import train

__all__ = ["train"]

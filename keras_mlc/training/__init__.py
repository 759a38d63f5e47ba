"""Training."""

from keras_mlc.training.fgm import FGMTrainer

__all__ = ["FGMTrainer"]

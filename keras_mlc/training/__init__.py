"""Trainers: models that wrap another model's `train_step`."""

from keras_mlc.training.fgm import FGMTrainer
from keras_mlc.training.gradient_penalty import GradientPenaltyTrainer

__all__ = ["FGMTrainer", "GradientPenaltyTrainer"]

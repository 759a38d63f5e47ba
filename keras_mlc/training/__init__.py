"""Trainers: models that wrap another model's `train_step`."""

from keras_mlc.training.fgm import FGMTrainer
from keras_mlc.training.free_lb import FreeLBTrainer
from keras_mlc.training.gradient_penalty import GradientPenaltyTrainer
from keras_mlc.training.pgd import PGDTrainer
from keras_mlc.training.vat import VATTrainer

__all__ = ["FGMTrainer", "FreeLBTrainer", "GradientPenaltyTrainer", "PGDTrainer", "VATTrainer"]

"""Losses for multi-label classification."""

from keras_mlc.losses.gradient_penalty import GradientPenaltyLoss
from keras_mlc.losses.multilabel import (
    MultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
)

__all__ = [
    "GradientPenaltyLoss",
    "MultilabelCategoricalCrossentropy",
    "multilabel_categorical_crossentropy",
]

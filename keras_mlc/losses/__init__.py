"""Losses for multi-label classification."""

from keras_mlc.losses.gradient_penalty import GradientPenaltyLoss
from keras_mlc.losses.multilabel import (
    MultilabelCategoricalCrossentropy,
    SparseMultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from keras_mlc.losses.r_drop import RDropLoss

__all__ = [
    "GradientPenaltyLoss",
    "MultilabelCategoricalCrossentropy",
    "RDropLoss",
    "SparseMultilabelCategoricalCrossentropy",
    "multilabel_categorical_crossentropy",
    "sparse_multilabel_categorical_crossentropy",
]

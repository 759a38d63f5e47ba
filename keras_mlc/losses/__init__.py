"""Losses for multi-label classification."""

from keras_mlc.losses.asymmetric import AsymmetricLoss, asymmetric_loss
from keras_mlc.losses.gradient_penalty import GradientPenaltyLoss
from keras_mlc.losses.multilabel import (
    MultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
)
from keras_mlc.losses.r_drop import RDropLoss
from keras_mlc.losses.sparse_multilabel import (
    SparseMultilabelCategoricalCrossentropy,
    sparse_multilabel_categorical_crossentropy,
)

__all__ = [
    "AsymmetricLoss",
    "GradientPenaltyLoss",
    "MultilabelCategoricalCrossentropy",
    "RDropLoss",
    "SparseMultilabelCategoricalCrossentropy",
    "asymmetric_loss",
    "multilabel_categorical_crossentropy",
    "sparse_multilabel_categorical_crossentropy",
]

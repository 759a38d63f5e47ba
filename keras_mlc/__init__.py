"""Reusable Keras 3 layers and losses for multi-label text classification."""

from keras_mlc.data import repeat_pairs
from keras_mlc.layers import AttentionPooling, FineGrainedSoftmaxHead, TextCNNHead
from keras_mlc.losses import (
    GradientPenaltyLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from keras_mlc.metrics import MultilabelF1Score
from keras_mlc.training import (
    FGMTrainer,
    FreeLBTrainer,
    GradientPenaltyTrainer,
    PGDTrainer,
    VATTrainer,
)

__version__ = "0.1.0"

__all__ = [
    "AttentionPooling",
    "FGMTrainer",
    "FineGrainedSoftmaxHead",
    "FreeLBTrainer",
    "GradientPenaltyLoss",
    "GradientPenaltyTrainer",
    "MultilabelCategoricalCrossentropy",
    "MultilabelF1Score",
    "PGDTrainer",
    "RDropLoss",
    "SparseMultilabelCategoricalCrossentropy",
    "TextCNNHead",
    "VATTrainer",
    "multilabel_categorical_crossentropy",
    "repeat_pairs",
    "sparse_multilabel_categorical_crossentropy",
]

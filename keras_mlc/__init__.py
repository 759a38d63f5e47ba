"""Reusable Keras 3 layers and losses for multi-label text classification."""

from keras_mlc.data import repeat_pairs
from keras_mlc.layers import AttentionPooling, FineGrainedSoftmaxHead, TextCNNHead
from keras_mlc.losses import (
    AsymmetricLoss,
    GradientPenaltyLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    asymmetric_loss,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from keras_mlc.metrics import MultilabelF1Score
from keras_mlc.training import FGMTrainer, GradientPenaltyTrainer

__version__ = "0.2.0.dev0"

__all__ = [
    "AsymmetricLoss",
    "AttentionPooling",
    "FGMTrainer",
    "FineGrainedSoftmaxHead",
    "GradientPenaltyLoss",
    "GradientPenaltyTrainer",
    "MultilabelCategoricalCrossentropy",
    "MultilabelF1Score",
    "RDropLoss",
    "SparseMultilabelCategoricalCrossentropy",
    "TextCNNHead",
    "asymmetric_loss",
    "multilabel_categorical_crossentropy",
    "repeat_pairs",
    "sparse_multilabel_categorical_crossentropy",
]

"""Reusable Keras 3 layers and losses for multi-label text classification."""

from keras_mlc.layers import AttentionPooling, FineGrainedSoftmaxHead, TextCNNHead
from keras_mlc.losses import (
    GradientPenaltyLoss,
    RDropLoss,
    multilabel_categorical_crossentropy,
)
from keras_mlc.training import FGMTrainer

__version__ = "0.1.0"

__all__ = [
    "AttentionPooling",
    "FGMTrainer",
    "FineGrainedSoftmaxHead",
    "GradientPenaltyLoss",
    "RDropLoss",
    "TextCNNHead",
    "multilabel_categorical_crossentropy",
]

"""Losses for multi-label classification."""

from keras_mlc.losses.multilabel import (
    MultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
)

__all__ = [
    "MultilabelCategoricalCrossentropy",
    "multilabel_categorical_crossentropy",
]

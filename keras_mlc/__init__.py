"""Reusable Keras 3 layers and losses for multi-label text classification."""

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as _error:
    if _error.name not in ("tensorflow", "jax", "torch"):
        raise
    _extra = "" if _error.name == "tensorflow" else f"[{_error.name}]"
    raise ModuleNotFoundError(
        f"Keras is set to the backend {_error.name!r}, which is not installed: `pip install "
        f"'keras-mlc{_extra}'`, or choose another one by the environment variable KERAS_BACKEND.",
        name=_error.name,
    ) from _error

from keras_mlc.data import repeat_pairs
from keras_mlc.layers import (
    AttentionPooling,
    FineGrainedSoftmaxHead,
    LabelThresholds,
    ScoreCalibration,
    TextCNNHead,
)
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
from keras_mlc.training import (
    FGMTrainer,
    FreeLBTrainer,
    GradientPenaltyTrainer,
    PGDTrainer,
    VATTrainer,
)

__version__ = "0.2.0"

__all__ = [
    "AsymmetricLoss",
    "AttentionPooling",
    "FGMTrainer",
    "FineGrainedSoftmaxHead",
    "FreeLBTrainer",
    "GradientPenaltyLoss",
    "GradientPenaltyTrainer",
    "LabelThresholds",
    "MultilabelCategoricalCrossentropy",
    "MultilabelF1Score",
    "PGDTrainer",
    "RDropLoss",
    "ScoreCalibration",
    "SparseMultilabelCategoricalCrossentropy",
    "TextCNNHead",
    "VATTrainer",
    "asymmetric_loss",
    "multilabel_categorical_crossentropy",
    "repeat_pairs",
    "sparse_multilabel_categorical_crossentropy",
]

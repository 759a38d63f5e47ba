"""Layers that turn encoder outputs into label scores, and scores into decisions."""

from keras_mlc.layers.attention_pooling import AttentionPooling
from keras_mlc.layers.fine_grained_softmax_head import FineGrainedSoftmaxHead
from keras_mlc.layers.label_thresholds import LabelThresholds
from keras_mlc.layers.score_calibration import ScoreCalibration
from keras_mlc.layers.text_cnn_head import TextCNNHead

__all__ = [
    "AttentionPooling",
    "FineGrainedSoftmaxHead",
    "LabelThresholds",
    "ScoreCalibration",
    "TextCNNHead",
]

"""What is known of the losses that others are built on."""

import functools
from typing import Any

import keras
from keras import ops

from keras_mlc._labels import Check, check_classes, check_labels, same_shape
from keras_mlc._typing import Tensor
from keras_mlc.losses.asymmetric import AsymmetricLoss, asymmetric_loss
from keras_mlc.losses.multilabel import (
    MultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
)
from keras_mlc.losses.sparse_multilabel import (
    SparseMultilabelCategoricalCrossentropy,
    sparse_multilabel_categorical_crossentropy,
)

# These take unactivated scores.
MULTILABEL = (multilabel_categorical_crossentropy, sparse_multilabel_categorical_crossentropy)
# These look at their labels themselves.
OURS = (*MULTILABEL, asymmetric_loss)
BERNOULLI = (keras.losses.binary_crossentropy, keras.losses.binary_focal_crossentropy)
_DISTRIBUTIONS = (
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.kl_divergence,
)
# These are of one class out of several.
CATEGORICAL = (
    *_DISTRIBUTIONS,
    keras.losses.categorical_hinge,
    keras.losses.sparse_categorical_crossentropy,
)
# The labels of these are probabilities, which Keras takes on trust.
PROBABILITIES = (*BERNOULLI, *_DISTRIBUTIONS)
# These take a label for each prediction, but compute with any shape that broadcasts.
DENSE = (
    multilabel_categorical_crossentropy,
    asymmetric_loss,
    *PROBABILITIES,
    keras.losses.categorical_hinge,
    keras.losses.cosine_similarity,
    keras.losses.hinge,
    keras.losses.huber,
    keras.losses.log_cosh,
    keras.losses.mean_absolute_error,
    keras.losses.mean_absolute_percentage_error,
    keras.losses.mean_squared_error,
    keras.losses.mean_squared_logarithmic_error,
    keras.losses.poisson,
    keras.losses.squared_hinge,
)


def function_of(base: Any) -> Any:
    """Return the function that computes a base loss's values, out of its wrappers."""
    ours = {
        AsymmetricLoss: asymmetric_loss,
        MultilabelCategoricalCrossentropy: multilabel_categorical_crossentropy,
        SparseMultilabelCategoricalCrossentropy: sparse_multilabel_categorical_crossentropy,
    }
    for cls, function in ours.items():
        if isinstance(base, cls):
            return function
    function = getattr(base, "fn", base)
    while isinstance(function, functools.partial):
        function = function.func
    return function


def settings_of(base: Any) -> dict[str, Any]:
    """Return the arguments that a base loss, or a `functools.partial` of a function, fixes."""
    if isinstance(base, keras.losses.Loss):
        return base.get_config()
    return dict(getattr(base, "keywords", {}))


def checked_labels(check: Check, base: Any, y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return labels that are what a base loss is made for."""
    function = function_of(base)
    if function in DENSE:
        y_true = same_shape(y_true, y_pred)
    if function in PROBABILITIES:
        y_true, _ = check_labels(check, y_true)
    is_sparse = function is keras.losses.sparse_categorical_crossentropy
    if is_sparse and settings_of(base).get("ignore_class") is None:
        y_true = check_classes(check, y_true, ops.shape(y_pred)[-1])
    return y_true

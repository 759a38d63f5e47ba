"""The TextCNN head: parallel convolutions, the maximum over time, label scores."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mlc._dtypes import lowest
from keras_mlc._typing import Tensor
from keras_mlc._validation import integer, number, padding_mask, sequence_shape
from keras_mlc.layers._head import Head


@keras.saving.register_keras_serializable(package="keras_mlc")
class TextCNNHead(Head):
    """Scores labels by phrases that convolutions find anywhere in a sequence.

    For each kernel size k, `features = max(conv_activation(conv_k(x) + b_k))` over time; the
    features of all kernel sizes are concatenated, dropped out, and scored by a dense layer.

    A sample's output does not depend on how much padding its batch gives it: masked steps count
    as zeros in the convolutions and not at all in the maximum, whatever they hold. A sample that
    has no steps, or whose steps are all masked, has zero features. The layer consumes the mask:
    none is passed on. `keras.Model.quantize` quantizes the dense layer, not the convolutions.

    Args:
        num_labels: Number of labels to score. None returns the features instead.
        filters: Number of filters for each kernel size. None means as many as the input has
            features.
        kernel_sizes: Widths of the convolutions, in steps: an integer or several. The default,
            like the default dropout of the features, is what the TextCNN experiments of this
            project use.
        conv_activation: Activation of the convolutions.
        dropout: Share of the features to drop in training, from 0 up to but without 1.
        activation: Activation of the scores. None leaves them unactivated, as
            `keras_mlc.losses.multilabel_categorical_crossentropy` needs them.
        kernel_initializer: Initializer of the kernels, of the convolutions and the dense layer.
        bias_initializer: Initializer of the convolutions' biases.
        output_bias_initializer: Initializer of the dense layer's bias. With a sigmoid's loss and
            rare labels, training starts faster from the log-odds of the label frequencies.
        kernel_regularizer: Regularizer of all kernels.
        bias_regularizer: Regularizer of all biases.
        kernel_constraint: Constraint on all kernels.
        bias_constraint: Constraint on all biases.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: The sequence, floating point, shape `(batch, steps, features)`. It may be shorter
            than the kernels.
        mask: Shape `(batch, steps)`, true or nonzero for the steps that count. Keras fills it in
            where `inputs` carries a mask; encoders from other libraries often carry none, so pass
            `mask=padding_mask`.
        training: Whether to apply dropout.

    Input shape:
        `(batch, steps, features)`.

    Output shape:
        `(batch, num_labels)`, or `(batch, filters * len(kernel_sizes))` where `num_labels` is
        None.

    Raises:
        ValueError: If `num_labels`, `filters` or a kernel size is not a positive integer,
            `dropout` is not in [0, 1), the input is not of rank 3, or the mask is not of shape
            `(batch, steps)`.

    Example:
        >>> import numpy as np
        >>> from keras_mlc.layers import TextCNNHead
        >>> tokens = np.random.default_rng(0).normal(size=(2, 7, 16))
        >>> mask = np.array([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
        >>> tuple(TextCNNHead(num_labels=5)(tokens, mask=mask).shape)
        (2, 5)

    Reference:
        - [Kim, Convolutional Neural Networks for Sentence Classification,
          2014](https://arxiv.org/abs/1408.5882)
    """

    dense_layers = ("classifier",)

    def __init__(
        self,
        num_labels: int | None = None,
        filters: int | None = None,
        kernel_sizes: int | Sequence[int] = (3, 4, 5),
        conv_activation: Any = "relu",
        dropout: float = 0.2,
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        output_bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_labels = None if num_labels is None else integer("num_labels", num_labels, 1)
        self.filters = None if filters is None else integer("filters", filters, 1)
        self.kernel_sizes = integer("kernel_sizes", kernel_sizes, 1, several=True)
        self.conv_activation = keras.activations.get(conv_activation)
        self.dropout = number("dropout", dropout, 0, 1)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.output_bias_initializer = keras.initializers.get(output_bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Create and build the convolutions and the dense layer."""
        features = sequence_shape(input_shape)[-1]
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: features})
        shared = {
            "kernel_regularizer": self.kernel_regularizer,
            "bias_regularizer": self.bias_regularizer,
            "kernel_constraint": self.kernel_constraint,
            "bias_constraint": self.bias_constraint,
        }
        sizes = self.kernel_sizes if isinstance(self.kernel_sizes, tuple) else (self.kernel_sizes,)
        self.convolutions = [
            keras.layers.Conv1D(
                self.filters or features,
                size,
                padding="same",
                data_format="channels_last",
                activation=self.conv_activation,
                kernel_initializer=_own(self.kernel_initializer),
                bias_initializer=_own(self.bias_initializer),
                name=f"conv_{number}_size_{size}",
                dtype=self.dtype_policy,
                **shared,
            )
            for number, size in enumerate(sizes)
        ]
        for convolution in self.convolutions:
            convolution.build(input_shape)
        self.feature_dropout = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        if self.num_labels is not None:
            self.classifier = keras.layers.Dense(
                self.num_labels,
                activation=self.activation,
                kernel_initializer=_own(self.kernel_initializer),
                bias_initializer=_own(self.output_bias_initializer),
                name="classifier",
                dtype=self.policy_of("classifier"),
                **shared,
            )
            self.classifier.build((input_shape[0], len(sizes) * (self.filters or features)))

    def call(self, inputs: Tensor, mask: Tensor = None, training: bool | None = None) -> Tensor:
        """Return the scores, or the features where there are no labels to score."""
        mask = padding_mask(mask, inputs)
        if 0 in inputs.shape[:2]:  # No sample, or samples without any step.
            shape = ops.shape(inputs)[0], sum(each.filters for each in self.convolutions)
            features = ops.zeros(shape, self.compute_dtype)
        else:
            features = self._features(inputs, mask)
        outputs = self.feature_dropout(features, training=training)
        return outputs if self.num_labels is None else self.classifier(outputs)

    def _features(self, inputs: Tensor, mask: Tensor) -> Tensor:
        has_steps, steps = None, ops.shape(inputs)[1]
        if keras.backend.backend() == "tensorflow" and not isinstance(steps, int):
            has_steps = ops.greater(steps, 0)  # A graph may find that there are none.
            inputs, mask = _with_a_step(inputs, mask)
        if mask is not None:
            mask = ops.expand_dims(mask, -1)
            # Zeros instead of whatever the padding holds, as "same" padding has beyond the ends.
            inputs = ops.where(mask, inputs, 0.0)
            has_steps = ops.any(mask, axis=1)
        maxima = [_maximum(convolution(inputs), mask) for convolution in self.convolutions]
        features = ops.concatenate(maxima, axis=-1)
        return features if has_steps is None else ops.where(has_steps, features, 0.0)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor = None) -> None:
        """Return None: the time axis is gone."""
        return None

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """Return the shape of the scores, or of the features."""
        batch, _, features = sequence_shape(input_shape)
        num_sizes = len(self.kernel_sizes) if isinstance(self.kernel_sizes, tuple) else 1
        return batch, self.num_labels or num_sizes * (self.filters or features)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "filters": self.filters,
            "kernel_sizes": self.kernel_sizes,
            "conv_activation": keras.activations.serialize(self.conv_activation),
            "dropout": self.dropout,
            "activation": keras.activations.serialize(self.activation),
        }


def _with_a_step(inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return sequences with one step of zeros, masked, where they have no step at all."""
    batch, steps, features = ops.shape(inputs)
    missing = 1 - ops.minimum(steps, 1)
    inputs = ops.concatenate([inputs, ops.zeros((batch, missing, features), inputs.dtype)], 1)
    if mask is not None:
        mask = ops.concatenate([mask, ops.zeros((batch, missing), "bool")], 1)
    return inputs, mask


def _maximum(activations: Tensor, mask: Tensor) -> Tensor:
    """Return the maximum over time, over the steps of the mask where there is one."""
    if mask is not None:
        activations = ops.where(mask, activations, lowest(activations.dtype))
    return ops.max(activations, axis=1)


def _own(initializer: Any) -> Any:
    """Return an initializer that draws numbers of its own.

    An instance repeats the numbers it has drawn, and a copy draws others, unless its seed is a
    number, which asks for the same ones, or a generator, which gives others by itself.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    has_generator = isinstance(getattr(initializer, "seed", None), keras.random.SeedGenerator)
    return initializer if has_generator else initializer.clone()

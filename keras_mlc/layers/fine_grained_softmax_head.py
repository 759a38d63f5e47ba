"""One softmax per aspect: how much of each, instead of whether."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._typing import Tensor
from keras_mlc._validation import integer
from keras_mlc.layers._head import Head

# exp(-3e4 - score) is 0 in every dtype for every score above -2.9e4. A lower one would be infinite
# in float16, or become so on the way to a loss of another dtype: 0 * inf, NaN, in a cross-entropy.
MISSING_LEVEL = -3e4


@keras.saving.register_keras_serializable(package="keras_mlc")
class FineGrainedSoftmaxHead(Head):
    """Predicts, for each of several aspects, a distribution over that aspect's levels.

    `outputs[..., a, :] = softmax(W_a x + b_a)`: six emotions from 0, absent, to 3, strong, are
    `num_aspects=6, num_levels=4`.

    Aspects may differ in their number of levels. The last axis then has the size of the largest,
    and the levels that an aspect does not have get probability 0. They have no weights.
    `keras.Model.quantize` quantizes W.

    Use Keras's `SparseCategoricalCrossentropy` (labels `(..., num_aspects)`, one level each) or
    `CategoricalCrossentropy` (one-hot labels, of the shape of the output) and their metrics.
    Sample weights must have shape `(batch, 1)` or `(batch, num_aspects)`, and label smoothing
    needs aspects with the same number of levels: it would ask for levels that do not exist.

    Args:
        num_aspects: Number of aspects.
        num_levels: Number of levels of every aspect, or a list with one number per aspect.
        activation: Activation over the last axis. With None the outputs are logits, for losses
            with `from_logits=True`; those of missing levels are -3e4, whose softmax is 0 in every
            dtype as long as another logit of the aspect is above -2.9e4.
        kernel_initializer: Initializer of W.
        bias_initializer: Initializer of b, whose shape is `(sum of all levels,)`.
        kernel_regularizer: Regularizer of W.
        bias_regularizer: Regularizer of b.
        kernel_constraint: Constraint on W.
        bias_constraint: Constraint on b.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Features, floating point, shape `(..., features)`. A mask of theirs is passed
            on, repeated for the aspects: `(..., num_aspects)`.

    Input shape:
        `(..., features)`, of rank 2 or more.

    Output shape:
        `(..., num_aspects, max(num_levels))`.

    Raises:
        ValueError: If `num_aspects` is not a positive integer, `num_levels` is neither one
            positive integer nor one per aspect, or the input has no known number of features.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.layers import FineGrainedSoftmaxHead
        >>> features = np.random.default_rng(0).normal(size=(8, 16))
        >>> outputs = FineGrainedSoftmaxHead(num_aspects=3, num_levels=[4, 2, 3])(features)
        >>> tuple(outputs.shape)
        (8, 3, 4)
        >>> keras.ops.convert_to_numpy(outputs)[0, 1, 2:].tolist()
        [0.0, 0.0]
    """

    dense_layers = ("projection",)

    def __init__(
        self,
        num_aspects: int,
        num_levels: int | Sequence[int],
        activation: Any = "softmax",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_aspects = integer("num_aspects", num_aspects, 1)
        self.num_levels = integer("num_levels", num_levels, 1, several=True)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.supports_masking = True
        if isinstance(self.num_levels, int):
            levels = np.full(self.num_aspects, self.num_levels)
        else:
            levels = np.array(self.num_levels)
        if len(levels) != self.num_aspects:
            raise ValueError(
                "`num_levels` must be one integer, or one per aspect. Received: "
                f"num_levels={num_levels!r} ({len(levels)} aspects), num_aspects={num_aspects!r}"
            )
        level = np.arange(levels.max())
        self._exists = level < levels[:, None]  # (A, L)
        first = np.cumsum(levels) - levels
        self._position = np.where(self._exists, first[:, None] + level, 0).astype("int32")

    def build(self, input_shape: Any) -> None:
        """Create W and b, for the levels that exist."""
        features = input_shape[-1] if len(input_shape) > 1 else None
        if not features:
            raise ValueError(
                "`inputs` must have shape (..., features), of rank 2 or more, with a known number "
                f"of features. Received: inputs.shape={tuple(input_shape)}"
            )
        total = int(self._exists.sum())
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: features})
        self.projection = keras.layers.Dense(
            total,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.policy_of("projection"),
            name="projection",
        )
        self.projection.build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the distribution over the levels of each aspect."""
        logits = self.projection(inputs)
        if self._exists.all():
            logits = ops.reshape(logits, (*ops.shape(logits)[:-1], *self._exists.shape))
        else:
            logits = ops.take(logits, self._position, axis=-1)
            logits = ops.where(self._exists, logits, MISSING_LEVEL)
        return self.activation(logits)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor = None) -> Tensor:
        """Return the mask of the inputs, for each aspect: Keras's losses need that axis."""
        if previous_mask is None:
            return None
        return ops.repeat(ops.expand_dims(previous_mask, axis=-1), self.num_aspects, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the distributions."""
        return (*input_shape[:-1], *self._exists.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "num_aspects": self.num_aspects,
            "num_levels": self.num_levels,
            "activation": keras.activations.serialize(self.activation),
        }

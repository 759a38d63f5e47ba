"""Additive attention pooling: one vector out of a sequence."""

from typing import Any

import keras
from keras import ops

from keras_mlc._dtypes import at_least_float32, lowest
from keras_mlc._typing import Tensor
from keras_mlc._validation import integer, padding_mask, sequence_shape
from keras_mlc.layers._head import Head


@keras.saving.register_keras_serializable(package="keras_mlc")
class AttentionPooling(Head):
    """Pools a sequence to the weighted mean of its steps, with weights that it learns.

    `scores = softmax(u · tanh(W x + b))` over time, `outputs = sum(scores * x)` over time.

    Masked steps get a score of exactly 0, whatever finite values they hold, so the result for a
    sample does not depend on how much padding its batch gives it. A sample whose steps are all
    masked pools to zeros. The layer consumes the mask: none is passed on.
    `keras.Model.quantize` quantizes W.

    Args:
        units: Size of the hidden projection: W is `(features, units)`, b and u are `(units,)`.
            None means as many as the input has features.
        kernel_initializer: Initializer of W.
        bias_initializer: Initializer of b.
        query_initializer: Initializer of u.
        kernel_regularizer: Regularizer of W.
        bias_regularizer: Regularizer of b.
        query_regularizer: Regularizer of u.
        kernel_constraint: Constraint on W.
        bias_constraint: Constraint on b.
        query_constraint: Constraint on u.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: The sequence, floating point, shape `(batch, steps, features)`.
        mask: Shape `(batch, steps)`, true or nonzero for the steps that count. Keras fills it in
            where `inputs` carries a mask; encoders from other libraries often carry none, so pass
            `mask=padding_mask`.
        return_attention_scores: Whether to return the scores too.

    Input shape:
        `(batch, steps, features)`.

    Output shape:
        `(batch, features)`; the scores are `(batch, steps)`.

    Raises:
        ValueError: If `units` is not a positive integer, the input is not of rank 3, or the mask
            is not of shape `(batch, steps)`.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.layers import AttentionPooling
        >>> tokens = np.random.default_rng(0).normal(size=(2, 5, 8))
        >>> mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
        >>> pooled, scores = AttentionPooling()(tokens, mask=mask, return_attention_scores=True)
        >>> tuple(pooled.shape), tuple(scores.shape)
        ((2, 8), (2, 5))
        >>> keras.ops.convert_to_numpy(scores)[0, 3:].tolist()
        [0.0, 0.0]

    Reference:
        - [Yang et al., Hierarchical Attention Networks for Document Classification, NAACL
          2016](https://aclanthology.org/N16-1174/)
        - [Bahdanau et al., 2014](https://arxiv.org/abs/1409.0473), for additive scores
    """

    dense_layers = ("projection",)

    def __init__(
        self,
        units: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        query_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        query_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        query_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = None if units is None else integer("units", units, 1)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.query_initializer = keras.initializers.get(query_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.query_regularizer = keras.regularizers.get(query_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.query_constraint = keras.constraints.get(query_constraint)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Create W, b and u."""
        features = sequence_shape(input_shape)[-1]
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: features})
        units = self.units or features
        self.projection = keras.layers.Dense(
            units,
            activation="tanh",
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
        self.query = self.add_weight(
            name="query",
            shape=(units,),
            initializer=self.query_initializer,
            regularizer=self.query_regularizer,
            constraint=self.query_constraint,
        )

    def call(
        self, inputs: Tensor, mask: Tensor = None, return_attention_scores: bool = False
    ) -> Any:
        """Return the pooled vectors, and the scores where they are asked for."""
        mask = padding_mask(mask, inputs)
        hidden = self.projection(inputs)  # (B, T, U)
        scores = _masked_softmax(ops.matmul(hidden, self.query), mask)  # (B, T)
        outputs = ops.squeeze(ops.matmul(ops.expand_dims(scores, 1), inputs), axis=1)  # (B, D)
        return (outputs, scores) if return_attention_scores else outputs

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor = None) -> None:
        """Return None: the time axis is gone."""
        return None

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """Return the shape of the pooled vectors."""
        batch, _, features = sequence_shape(input_shape)
        return batch, features

    def compute_output_spec(
        self, inputs: Tensor, mask: Tensor = None, return_attention_scores: bool = False
    ) -> Any:
        """Return the shape and dtype of the outputs."""
        padding_mask(mask, inputs)
        outputs = keras.KerasTensor(self.compute_output_shape(inputs.shape), self.compute_dtype)
        scores = keras.KerasTensor(inputs.shape[:2], self.compute_dtype)
        return (outputs, scores) if return_attention_scores else outputs

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "units": self.units,
        }


def _masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the last axis, with exact zeros where the mask is false."""
    dtype = logits.dtype
    logits = ops.cast(logits, at_least_float32(dtype))  # Half precision sums too coarsely.
    if mask is not None:
        logits = ops.where(mask, logits, lowest(logits.dtype))
    # Unlike `softmax`, this does not warn of sequences of a single step.
    scores = ops.exp(ops.log_softmax(logits, axis=-1))
    if mask is not None:
        scores = ops.where(mask, scores, 0.0)  # The softmax of a sample without steps is uniform.
    return ops.cast(scores, dtype)

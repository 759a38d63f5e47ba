"""Probabilities from the scores of any loss."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._dtypes import at_least_float32
from keras_mlc._labels import floating
from keras_mlc._typing import Tensor
from keras_mlc._validation import boolean, labels_shape
from keras_mlc.layers._held_out import held_out
from keras_mlc.layers._platt_scaling import fit


@keras.saving.register_keras_serializable(package="keras_mlc")
class ScoreCalibration(keras.layers.Layer):
    """Turns scores into probabilities: of the texts with 0.7, 70 % have the label.

    `outputs = σ(a * scores + b)`, with a > 0, so the order never changes.

    `adapt` fits a and b by maximum likelihood on scores that the model was not trained on: those
    of held-out rows, or out-of-fold ones. For scores of any loss: those of the multi-label
    cross-entropy lie between `logit(p) / 2` and `logit(p)` of a label's probability p, depending
    on how many labels compete. Before `adapt`, a is 1 and b is 0. As a layer, the probabilities are
    saved, exported and served with their model: `keras.Model(model.input,
    calibration(model.output))`.

    Args:
        per_label: Whether each label has an a and a b of its own. With a few dozen positives or
            more for each label that may be worth a try; one pair for all needs few rows.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        scores: Unactivated scores, floating point, shape `(..., num_labels)`.

    Input shape:
        `(..., num_labels)`, of rank 2 or more.

    Output shape:
        That of the input; computed in float32 or wider and returned in the layer's compute dtype.

    Raises:
        ValueError: If `per_label` is no bool, or the scores are not floating point or of another
            number of labels.

    Example:
        >>> import numpy as np
        >>> from keras_mlc.layers import ScoreCalibration
        >>> rng = np.random.default_rng(0)
        >>> scores = rng.normal(size=(1000, 4))
        >>> labels = rng.random((1000, 4)) < 1 / (1 + np.exp(-(2 * scores - 1)))
        >>> layer = ScoreCalibration()
        >>> layer.adapt(scores, labels)
        >>> bool(np.abs(layer.scale - 2).max() < 0.2), bool(np.abs(layer.offset + 1).max() < 0.2)
        (True, True)
        >>> tuple(layer(scores).shape)
        (1000, 4)

    Reference:
        - [Platt, Probabilistic Outputs for Support Vector Machines,
          1999](https://www.researchgate.net/publication/2594015)
        - [Lin, Lin and Weng, A Note on Platt's Probabilistic Outputs,
          2007](https://www.csie.ntu.edu.tw/~cjlin/papers/plattprob.pdf)
    """

    def __init__(self, per_label: bool = False, **kwargs: Any) -> None:
        # Keras must not cast scores to a half precision before they are scaled.
        super().__init__(autocast=False, **kwargs)
        self.per_label = boolean("per_label", per_label)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Create a and b, which no optimizer moves."""
        num_labels = labels_shape(input_shape)[-1]
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: num_labels})
        shared = {
            "shape": (num_labels if self.per_label else 1,),
            "dtype": at_least_float32(self.variable_dtype),
            "trainable": False,
            "autocast": False,
        }
        self._scale = self.add_weight(name="scale", initializer="ones", **shared)
        self._offset = self.add_weight(name="offset", initializer="zeros", **shared)

    def adapt(
        self,
        scores: Any,
        y_true: Any,
        sample_weight: Any = None,
        missing_label: float | None = None,
    ) -> None:
        """Fit a and b by maximum likelihood, the same on every run.

        With N₊ labels that are true and N₋ that are not, the targets are Platt's, `(N₊ + 1) /
        (N₊ + 2)` and `1 / (N₋ + 2)` instead of 1 and 0, so that the fit is finite also where
        scores part the labels without a mistake. The slope a is at least 0.01 divided by the
        standard deviation of the scores: where scores say nothing about a label, or the opposite
        of what they should, its probability hardly moves from how often it is true. Where
        `per_label=True`, a label without any known row takes the pair that fits all labels. Scores
        that are fills far below all others count like others, and flatten the slope: give their
        labels the value of `missing_label`.

        Args:
            scores: What the layer will be called on, for rows that the model was not trained on:
                an array or a tensor of any backend, shape `(..., num_labels)`; leading axes
                count as rows. Of a dataset, `model.predict(dataset)`.
            y_true: Labels of the same shape, from 0 to 1. A SciPy matrix will do.
            sample_weight: A number for each row, 0 or more: a row with 2 counts as two rows.
            missing_label: The value of labels that are unknown, usually -1: they do not count.

        Raises:
            ValueError: If the shapes differ, a score is not finite, a label lies outside [0, 1],
                or all labels are of one kind.
            TypeError: If one of them is no array.
        """
        data = held_out(self, scores, y_true, sample_weight, missing_label)
        if data.scores.min() >= 0 and data.scores.max() <= 1:
            warnings.warn(
                "All `scores` lie in [0, 1]. If they are probabilities, pass what the activation "
                "was given instead: a sigmoid of probabilities fits badly.",
                stacklevel=2,
            )
        scale, offset = fit(data, self.per_label)
        self._scale.assign(scale)
        self._offset.assign(offset)

    @property
    def scale(self) -> np.ndarray:
        """The slope a, shape `(num_labels,)` or `(1,)`."""
        return self._values("_scale")

    @property
    def offset(self) -> np.ndarray:
        """The offset b, shape `(num_labels,)` or `(1,)`."""
        return self._values("_offset")

    def _values(self, name: str) -> np.ndarray:
        if not self.built:
            raise ValueError("The layer has no parameters yet: call it, or `adapt` it.")
        return ops.convert_to_numpy(getattr(self, name))

    def call(self, scores: Tensor) -> Tensor:
        """Return the probabilities."""
        scores = ops.cast(floating("scores", scores), self._scale.dtype)
        return ops.cast(ops.sigmoid(scores * self._scale + self._offset), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the scores."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "per_label": self.per_label}

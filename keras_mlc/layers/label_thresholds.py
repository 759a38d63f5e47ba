"""Decisions: which labels a text gets, by a threshold for each label."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_mlc._dtypes import at_least_float32
from keras_mlc._labels import floating
from keras_mlc._typing import Tensor
from keras_mlc._validation import integer, labels_shape, number, one_of
from keras_mlc.layers._held_out import held_out
from keras_mlc.layers._threshold_search import best_thresholds


@keras.saving.register_keras_serializable(package="keras_mlc")
class LabelThresholds(keras.layers.Layer):
    """Gives a label where its score lies above the label's threshold.

    `outputs[..., c] = 1 if scores[..., c] > thresholds[c] else 0`

    `adapt` chooses the thresholds of the best F1 on scores that the model was not trained on:
    those of held-out rows, or out-of-fold ones. It is exact: no thresholds give a higher F1 on
    these rows, with the labels below `min_positives` where they are. As a layer, the decisions are
    saved, exported and served with their model: `keras.Model(model.input,
    thresholds(model.output))`.

    Scores are compared in float32 or wider, whatever the policy: in half precision many would be
    equal to their threshold. A label whose score is NaN is not given.

    Args:
        thresholds: A number, or one for each label. None means 0, where the multi-label
            cross-entropy parts labels; a sigmoid's probabilities are parted at 0.5. `adapt`
            replaces what was given.
        average: Whose F1 `adapt` maximizes. `"macro"`: each label's own. `"micro"`: that of all
            labels together; for a given F the best threshold of a label does not depend on the
            others', and F rises to its optimum in a few rounds. None: the same, with one
            threshold for all labels.
        min_positives: A label with fewer positives among the rows of `adapt` takes the threshold
            that is best for all labels together (that of `average=None`; with `shrinkage`, the one
            below), since its own would follow from noise.
        shrinkage: How far the threshold of a label with n positives moves towards the one for all
            labels: by `shrinkage / (n + shrinkage)` of the way, and all the way with fewer than
            `min_positives`. The one for all labels is here that of the best F1 of `average`: with
            `"macro"` of the best mean of the labels' F1. 0 leaves the best thresholds of these rows
            as they are. With few positives a label, 20 does better on new rows:
            `benchmarks/thresholds.py` has the numbers.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        scores: Scores or probabilities, floating point, shape `(..., num_labels)`.

    Input shape:
        `(..., num_labels)`, of rank 2 or more.

    Output shape:
        That of the input; 0 and 1 in the layer's compute dtype.

    Raises:
        ValueError: If `thresholds` is neither a finite number nor one for each label, `average`
            is none of the above, `min_positives` is not an integer, 0 or more, `shrinkage` is not a
            number, 0 or more, or the scores are not floating point or of another number of labels.

    Example:
        >>> import numpy as np
        >>> from keras_mlc.layers import LabelThresholds
        >>> scores = np.array([[2.0, -1.0], [1.0, -2.0], [0.5, -3.0], [-1.0, -4.0]])
        >>> labels = np.array([[1, 1], [1, 1], [0, 0], [0, 0]])
        >>> layer = LabelThresholds(min_positives=1)
        >>> layer.adapt(scores, labels)
        >>> layer.thresholds.tolist()
        [0.75, -2.5]
        >>> np.asarray(layer(scores)).tolist()
        [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]

    Reference:
        - [Lipton, Elkan and Narayanaswamy, Optimal Thresholding of Classifiers to Maximize F1
          Measure, 2014](https://arxiv.org/abs/1402.1892)
        - [Fan and Lin, A Study on Threshold Selection for Multi-label Classification,
          2007](https://www.csie.ntu.edu.tw/~cjlin/papers/threshold.pdf)
    """

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        average: Literal["macro", "micro"] | None = "macro",
        min_positives: int = 5,
        shrinkage: float = 0.0,
        **kwargs: Any,
    ) -> None:
        # Keras must not cast scores to a half precision before they are compared.
        super().__init__(autocast=False, **kwargs)
        self.average = one_of("average", average, ("macro", "micro", None))
        self.min_positives = integer("min_positives", min_positives, 0)
        self.shrinkage = number("shrinkage", shrinkage, 0)
        given = thresholds
        self._given = None if given is None else number("thresholds", given, several=True)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Create the thresholds, which no optimizer moves."""
        num_labels = labels_shape(input_shape)[-1]
        if isinstance(self._given, tuple) and len(self._given) != num_labels:
            raise ValueError(
                f"`thresholds` has {len(self._given)} numbers, and there are {num_labels} labels. "
                f"Received: scores.shape={tuple(input_shape)}"
            )
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: num_labels})
        self._thresholds = self.add_weight(
            name="thresholds",
            shape=(num_labels,),
            dtype=at_least_float32(self.variable_dtype),
            initializer=self._initial_thresholds,
            trainable=False,
            autocast=False,
        )

    def _initial_thresholds(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        given = np.broadcast_to(0.0 if self._given is None else self._given, shape)
        with np.errstate(over="ignore"):
            is_finite = np.isfinite(given.astype(dtype)).all()
        if not is_finite:
            raise ValueError(
                f"`thresholds` must be finite in {dtype}, in which scores are compared. "
                f"Received: thresholds={self._given}"
            )
        return ops.convert_to_tensor(given, dtype)

    def adapt(
        self,
        scores: Any,
        y_true: Any,
        sample_weight: Any = None,
        missing_label: float | None = None,
    ) -> None:
        """Choose the thresholds of the best F1.

        A threshold lies midway between two neighbouring scores, and rows with equal scores stay
        together. Of several that are best, the one nearest to the threshold for all labels is
        taken. Thresholds are finite: a score that is the lowest number of its dtype, a common fill
        (-3.4e38 in float32), is above none, so its label is never given.

        The cost is that of sorting: a million rows of 100 labels take seconds, with `shrinkage`
        towards the best macro F1 half a minute.

        Args:
            scores: What the layer will be called on, for rows that the model was not trained on:
                an array or a tensor of any backend, shape `(..., num_labels)`; leading axes
                count as rows. Of a dataset, `model.predict(dataset)`.
            y_true: Labels of the same shape, from 0 to 1; above 0.5 counts as positive. A SciPy
                matrix will do.
            sample_weight: A number for each row, 0 or more. `min_positives` counts rows whose
                weight is not 0.
            missing_label: The value of labels that are unknown, usually -1: they do not count.

        Raises:
            ValueError: If the shapes differ, a score is not finite, a label lies outside [0, 1],
                or no label is positive.
            TypeError: If one of them is no array.
        """
        data = held_out(self, scores, y_true, sample_weight, missing_label)
        found = best_thresholds(data, self.average, self.min_positives, self.shrinkage)
        self._thresholds.assign(found)
        self._given = tuple(found.tolist())

    @property
    def thresholds(self) -> np.ndarray:
        """The thresholds, shape `(num_labels,)`."""
        if not self.built:
            raise ValueError("The layer has no thresholds yet: call it, or `adapt` it.")
        return ops.convert_to_numpy(self._thresholds)

    def call(self, scores: Tensor) -> Tensor:
        """Return 1 where a score lies above its threshold, else 0."""
        scores = floating("scores", scores)
        above = ops.greater(ops.cast(scores, self._thresholds.dtype), self._thresholds)
        return ops.cast(above, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the scores."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor; after `adapt`, with what it chose."""
        return {
            **super().get_config(),
            "thresholds": list(self._given) if isinstance(self._given, tuple) else self._given,
            "average": self.average,
            "min_positives": self.min_positives,
            "shrinkage": self.shrinkage,
        }

"""Every private name of Keras that this library relies on: one function each.

`tests/test_keras_internals.py` says for each what must hold, on the oldest and the newest Keras.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.backend import get_keras_mask, set_keras_mask
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from keras_mlc._typing import Tensor

_COMPILED = (
    "compiled",
    "loss",
    "optimizer",
    "_compile_loss",
    "_compile_metrics",
    "_loss_tracker",
)


def children(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers that are attributes of `layer`, which have no public name.

    Relies on `Layer._flatten_layers(include_self, recursive)`.
    """
    return layer._flatten_layers(include_self=False, recursive=False)


def mask_of(tensor: Any) -> Any:
    """Return the mask that goes with `tensor`, or None.

    Relies on `keras.src.backend.get_keras_mask`: tensors of JAX cannot have the attribute.
    """
    return get_keras_mask(tensor)


def with_mask(tensor: Any, mask: Any) -> Any:
    """Return `tensor`, with which `mask` goes from now on.

    Relies on `keras.src.backend.set_keras_mask`.
    """
    set_keras_mask(tensor, mask)
    return tensor


def is_marked_as_activated(tensor: Any) -> bool:
    """Return whether Keras has noted that `tensor` came out of its sigmoid or softmax.

    Relies on the attribute `_keras_logits`, which what JAX traces cannot hold.
    """
    return hasattr(tensor, "_keras_logits")


def higher_is_better(metric: keras.metrics.Metric) -> None:
    """Tell callbacks with `mode="auto"` that the metric is to be maximized.

    Relies on `Metric._direction`, which may be "up" or "down".
    """
    metric._direction = "up"


def compute_loss(
    model: keras.Model, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool
) -> Tensor:
    """Return the loss of a batch, also where `compute_loss` is overridden without `training`.

    Relies on `Trainer._compute_loss`.
    """
    return model._compute_loss(x, y, y_pred, sample_weight, training)


def track_loss(model: keras.Model, loss: Tensor, num_samples: Any) -> None:
    """Count `loss` in what `model` reports as its loss.

    Relies on `Trainer._loss_tracker`, a `keras.metrics.Mean`.
    """
    model._loss_tracker.update_state(loss, sample_weight=num_samples)


def outputs_with_loss(model: keras.Model, y_pred: Any) -> list[Tensor]:
    """Return those of the predictions that `model` was compiled with a loss of; else all of them.

    Relies on `CompileLoss._flat_losses`, which have the `path` of what they are a loss of.
    """
    losses = getattr(getattr(model, "_compile_loss", None), "_flat_losses", None)
    found: dict[int, Tensor] = {}
    for loss in losses or []:
        output = y_pred
        for key in loss.path:
            output = output[key]
        found.update((id(each), each) for each in keras.tree.flatten(output))
    return list(found.values()) if losses else keras.tree.flatten(y_pred)


def build_symbolically(model: keras.Model, data: Any) -> None:
    """Build whatever of `model`, its metrics and its optimizer is not built yet.

    Relies on `Trainer._symbolic_build(data_batch=...)`.
    """
    model._symbolic_build(data_batch=data)


def builds_symbolically(graph: Any) -> bool:
    """Return whether Keras infers shapes in a TensorFlow graph, whose predictions know no variable.

    Relies on the graph's name, "scratch_graph".
    """
    return graph.name.startswith("scratch_graph")


def infers_shapes() -> bool:
    """Return whether Keras infers shapes: on torch it may call with ones in place of the data.

    Relies on `in_symbolic_scope` in `keras.src.backend.common.symbolic_scope`.
    """
    return bool(in_symbolic_scope())


def compile_arguments(model: keras.Model) -> dict[str, Any] | None:
    """Return what a model's own `compile` has passed on to that of `keras.Model`, if it was called.

    Relies on `Trainer._compile_config.config`, its arguments as they were given, and on
    `model.optimizer`, which holds an optimizer where that was a name.
    """
    if not hasattr(model, "_compile_config"):
        return None
    return {**model._compile_config.config, "optimizer": model.optimizer}


@contextmanager
def compiled_like(model: keras.Model, trainer: keras.Model) -> Iterator[keras.Model]:
    """Let `model` have what `trainer` was compiled with, for a while.

    Relies on `compile` keeping it in the attributes `_COMPILED`.
    """
    own = _compiled(model)
    # Not by `setattr`, which would make the metrics part of `model` for good.
    vars(model).update(_compiled(trainer))
    try:
        yield model
    finally:
        for name in _COMPILED:
            vars(model).pop(name, None)
        vars(model).update(own)


def _compiled(model: keras.Model) -> dict[str, Any]:
    return {name: vars(model)[name] for name in _COMPILED if name in vars(model)}


def give_value_back(variable: Any, value: Tensor) -> None:
    """Give `variable` the value that Keras's trainer on JAX has taken away, if it has.

    Relies on `Variable._value`, which is None after `Trainer._get_jax_state(purge_...=True)`.
    """
    if variable._value is None:
        variable._value = value

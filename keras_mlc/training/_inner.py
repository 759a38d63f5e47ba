"""Let a trainer's inner model use what the trainer was compiled with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

_COMPILED = (
    "compiled",
    "loss",
    "optimizer",
    "_compile_loss",
    "_compile_metrics",
    "_loss_tracker",
)


def overrides(model: keras.Model, name: str) -> bool:
    """Whether the class of `model` replaces what `keras.Model` has under `name`."""
    return getattr(type(model), name) is not getattr(keras.Model, name)


@contextmanager
def compiled_like(model: keras.Model, trainer: keras.Model) -> Iterator[keras.Model]:
    """Let `model` have what `trainer` was compiled with, for a while."""
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

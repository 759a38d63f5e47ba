"""Let a trainer's inner model use what the trainer was compiled with."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

_COMPILED = ("compiled", "_compile_loss", "_compile_metrics", "_loss_tracker")


def overrides(model: keras.Model, name: str) -> bool:
    """Whether the class of `model` replaces what `keras.Model` has under `name`."""
    return getattr(type(model), name) is not getattr(keras.Model, name)


@contextmanager
def compiled_like(model: keras.Model, trainer: keras.Model) -> Iterator[keras.Model]:
    """Give `model` the compiled loss and metrics of `trainer` for a while."""
    own = {name: getattr(model, name) for name in _COMPILED}
    # Not by `setattr`, which would make the metrics part of `model` for good.
    vars(model).update({name: getattr(trainer, name) for name in _COMPILED})
    try:
        yield model
    finally:
        vars(model).update(own)

"""What we rely on in Keras beyond its public names, one function each."""

from typing import Any

from keras.src import backend


def mask_of(tensor: Any) -> Any:
    """Return the mask that Keras attached to a tensor, or None.

    Where a tensor cannot hold attributes, as on JAX, Keras keeps its mask elsewhere.
    """
    return backend.get_keras_mask(tensor)

"""What we rely on in Keras beyond its public names, one function each."""

from typing import Any

from keras.src import backend

from keras_mlc._typing import Tensor


def mask_of(tensor: Tensor) -> Any:
    """Return the mask that Keras attached to a tensor, or None.

    Where a tensor cannot hold attributes, as on JAX, Keras keeps its mask elsewhere.
    """
    return backend.get_keras_mask(tensor)


def with_mask(tensor: Tensor, mask: Tensor) -> Tensor:
    """Attach a mask to a tensor, which is returned."""
    backend.set_keras_mask(tensor, mask)
    return tensor


def is_marked_as_activated(tensor: Tensor) -> bool:
    """Whether Keras has noted that a tensor came out of its sigmoid or softmax (never on JAX)."""
    return hasattr(tensor, "_keras_logits")

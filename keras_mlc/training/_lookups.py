"""The vectors that embedding layers return in a pass: what moves them, and sums by token."""

import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_mlc import _keras_internals
from keras_mlc._dtypes import at_least_float32
from keras_mlc._embeddings import Embedding
from keras_mlc._typing import Tensor

_LOCK = threading.Lock()


class LookUp(NamedTuple):
    """What one look-up of a pass was given."""

    ids: Tensor
    """Rows of the matrix, of the shape of the vectors but for their last axis."""
    mask: Tensor | None
    """Which steps are none of padding, with as many axes as the vectors."""
    samples: Tensor | None
    """Of ragged vectors the sample of each; elsewhere the first axis counts them."""


class LookUps:
    """Moves what embedding layers return in a pass, by zeros where no shifts are given.

    While it lasts, the layers' calls of this thread, and of no other, come through here. Their
    inputs are left alone, and a call with `reverse=True`, an output projection, is no look-up.
    `shifts` are in the order of the calls. Those of `embeddings` that stand inside a
    rematerialized layer are called once only: that layer keeps its activations meanwhile.
    """

    def __init__(
        self,
        embeddings: Sequence[Embedding],
        containers: Sequence[keras.Layer],
        shifts: Sequence[Tensor] | None = None,
        wanted: bool = True,
    ) -> None:
        self.embeddings, self.containers = embeddings, containers
        self.given, self.wanted = shifts, wanted
        self.watch: Callable[[Tensor], Tensor] = lambda shift: shift
        self.trace: Callable[[], Any] = lambda: None
        """What compiles the running code: what a look-up returns can be moved within it alone."""
        self.found: list[LookUp] = []
        self.numbers: list[int] = []  # of each look-up's embedding
        self.shifts: list[Tensor] = []
        self._stack = ExitStack()
        self._open: set[int] = set()  # the embeddings that are being called

    def __enter__(self) -> "LookUps":
        self.found, self.numbers, self.shifts = [], [], []
        self._traced = self.trace()
        for layer in (*self.containers, *(layer for layer, _ in self.embeddings)):
            self._stack.enter_context(_replaced(layer, "rematerialized_call", _just_call))
        for number, (layer, _) in enumerate(self.embeddings):
            for name in ("call", "quantized_call"):
                moved = functools.partial(self._move, number)
                self._stack.enter_context(_replaced(layer, name, moved))
        return self

    def __exit__(self, error: Any, *_: Any) -> None:
        self._stack.close()
        if error is None and self.given is not None and len(self.shifts) != len(self.given):
            raise RuntimeError(
                f"The embeddings were called {len(self.given)} times in the first pass of a step, "
                f"and {len(self.shifts)} times in a later pass. A model must look up the same "
                "vectors at every call on a batch."
            )

    def _move(self, number: int, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what `call`, a layer's, returns, moved."""
        layer = self.embeddings[number].layer
        arguments = inspect.signature(type(layer).call).bind_partial(layer, *args, **kwargs)
        if number in self._open or arguments.arguments.get("reverse"):
            return call(*args, **kwargs)
        if self.trace() != self._traced:
            raise ValueError(
                f"The embedding layer {layer.name!r} is called inside of a function that is "
                "compiled by itself, such as that of `keras.ops.map`, `cond`, `scan` or "
                "`while_loop`, where what it returns cannot be moved. Call it before, on the whole "
                "batch, and use the vectors there."
            )
        self._open.add(number)  # A call within a call is moved once.
        try:
            vectors = call(*args, **kwargs)
        finally:
            self._open.remove(number)
        inputs = args[0] if args else _first_argument(arguments)
        ids, mask = _ids(layer, inputs, vectors, arguments), _mask(layer, inputs, vectors)
        is_ragged = hasattr(vectors, "with_flat_values")
        flat = vectors.flat_values if is_ragged else vectors
        samples = _samples(vectors) if is_ragged else None
        moved = flat + ops.cast(self._shift(flat), flat.dtype)
        moved = vectors.with_flat_values(moved) if is_ragged else moved
        self.found.append(LookUp(ids, _like(mask, flat), samples))
        self.numbers.append(number)
        if (own := _keras_internals.mask_of(vectors)) is not None:
            _keras_internals.with_mask(moved, own)
        return moved

    def _shift(self, vectors: Tensor) -> Tensor:
        place = len(self.shifts)
        if self.given is None or place >= len(self.given):
            shift = ops.zeros_like(vectors, dtype=at_least_float32(vectors.dtype))
        else:  # TensorFlow forgets shapes where replicas exchange vectors.
            shift = ops.reshape(self.given[place], ops.shape(vectors))
        self.shifts.append(self.watch(shift) if self.wanted else shift)
        return self.shifts[-1]


class Replaced:
    """Stands for a method of a layer while some thread calls another function in its place."""

    def __init__(self, layer: keras.Layer, name: str) -> None:
        self.method = getattr(layer, name)
        self.before = vars(layer).get(name)
        self.functions: dict[int, Callable[..., Any]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call this thread's function with the method, or the method where there is none."""
        function = self.functions.get(threading.get_ident())
        if function is None:
            return self.method(*args, **kwargs)
        return function(self.method, *args, **kwargs)


@contextmanager
def _replaced(layer: keras.Layer, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let this thread's calls of a layer's method go to a function, which is given the method."""
    thread, attributes = threading.get_ident(), vars(layer)  # `setattr` would track it.
    if not hasattr(layer, name):  # Old versions of Keras rematerialize nothing.
        yield
        return
    with _LOCK:
        if not isinstance(attributes.get(name), Replaced):
            attributes[name] = Replaced(layer, name)
        replaced = attributes[name]
        replaced.functions[thread] = function
    try:
        yield
    finally:
        with _LOCK:
            del replaced.functions[thread]
            if not replaced.functions and replaced.before is None:
                del attributes[name]
            elif not replaced.functions:
                attributes[name] = replaced.before


def _just_call(_: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand for `rematerialized_call`: what is moved must not be computed a second time."""
    return call


def _first_argument(arguments: inspect.BoundArguments) -> Any:
    """Return the first argument of a method that was called by keywords alone."""
    parameter = list(arguments.signature.parameters.values())[1]
    value = arguments.arguments[parameter.name]
    return next(iter(value.values())) if parameter.kind == parameter.VAR_KEYWORD else value


def _ids(layer: keras.Layer, inputs: Any, vectors: Any, arguments: Any) -> Tensor:
    """Return the rows that `layer` has looked up, as far as its inputs say which."""
    if hasattr(vectors, "with_flat_values"):
        return ops.cast(inputs.flat_values, "int32")
    if {"start_index", "positions"} <= set(arguments.signature.parameters):  # no tokens at all
        shape, given = ops.shape(vectors)[:-1], arguments.arguments
        rows = given.get("positions")
        if rows is None:
            rows = given.get("start_index", 0) + ops.arange(shape[-1], dtype="int32")
        return ops.broadcast_to(ops.cast(rows, "int32"), shape)
    ids = ops.convert_to_tensor(inputs, sparse=False)
    shapes = tuple(ids.shape), tuple(vectors.shape[:-1])
    if len(shapes[0]) != len(shapes[1]) or any(
        None not in sizes and sizes[0] != sizes[1] for sizes in zip(*shapes, strict=True)
    ):
        raise ValueError(
            f"The layer {layer.name!r} ({type(layer).__name__}) must return a vector for each of "
            f"its inputs, to be moved. Received: inputs of shape {shapes[0]}, outputs of shape "
            f"{tuple(vectors.shape)}. Pass as `embedding` the layer that looks the vectors up."
        )
    return ops.cast(ids, "int32")


def _samples(vectors: Any) -> Tensor:
    """Return the first index of each of the flat values of a ragged tensor."""
    samples, *others = vectors.nested_value_rowids()
    for rows in others:
        samples = ops.take(samples, rows)
    return samples


def _mask(layer: keras.Layer, inputs: Any, vectors: Any) -> Any:
    """Return the mask of what `layer` returns, as Keras will see it."""
    if (mask := _keras_internals.mask_of(vectors)) is not None:
        return mask
    if not layer.supports_masking:
        return None
    return layer.compute_mask(inputs, _keras_internals.mask_of(inputs))


def _like(mask: Any, vectors: Tensor) -> Tensor | None:
    """Return `mask` with as many axes as `vectors`."""
    if mask is None:
        return None
    mask = mask.flat_values if hasattr(mask, "with_flat_values") else mask
    mask = ops.cast(ops.convert_to_tensor(mask, sparse=False), "bool")
    while len(mask.shape) < len(vectors.shape):
        mask = ops.expand_dims(mask, -1)
    return mask

"""Data for losses that compare a sample with itself."""

import copy
import reprlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np


def repeat_pairs(data: Any) -> Any:
    """Repeat every sample once, in the next row, as `keras_mlc.losses.RDropLoss` needs it.

    `[a, b, c]` becomes `[a, a, b, b, c, c]`, in every array of `data`. Whatever yields batches
    comes back as what yields batches of twice the size; nothing is read before it is asked for.

    Rows must stay where they are: `fit` shuffles arrays row by row, so pass `shuffle=False`, or
    shuffle and batch first and repeat then. Give validation data the same treatment.

    Args:
        data: One of

            - an array or a tensor of a backend (dense or ragged), or nested lists, tuples and
              dictionaries of them, such as `(x, y, sample_weight)`, with samples along the first
              axis; None stays None,
            - a `tf.data.Dataset` that is batched,
            - a `keras.utils.PyDataset`,
            - a torch `DataLoader`,
            - a generator or another iterator over batches.

    Returns:
        The same kind of data, with every sample twice, in adjacent rows.

    Raises:
        ValueError: If an array has no rows, or a dataset is not batched.
        TypeError: If `data` is none of the above: a list of numbers or strings, say.

    Example:
        >>> import numpy as np
        >>> from keras_mlc.data import repeat_pairs
        >>> x, y = repeat_pairs((np.array([[1, 2], [3, 4]]), np.array([0, 1])))
        >>> x.tolist(), y.tolist()
        ([[1, 2], [1, 2], [3, 4], [3, 4]], [0, 0, 1, 1])
    """
    if isinstance(data, keras.utils.PyDataset):
        return _RepeatedPyDataset(data)
    if isinstance(data, Iterator):
        return (repeat_pairs(batch) for batch in data)  # `fit` takes no other iterators.
    tf, torch = _imported("tensorflow"), _imported("torch")
    if tf and isinstance(data, tf.data.Dataset):
        return _repeat_dataset(data)
    if torch and isinstance(data, torch.utils.data.DataLoader):
        loader = copy.copy(data)
        loader.collate_fn = _RepeatedCollate(data.collate_fn)
        return loader
    return keras.tree.map_structure(_repeat_rows, data)


def _repeat_rows(rows: Any) -> Any:
    """Return an array of any package with each row twice."""
    if rows is None:
        return None
    repeat = _repeat_function(rows)
    if repeat is None:
        raise TypeError(
            "`data` must hold arrays or dense tensors, or be a batched dataset or a generator of "
            f"batches. Received: {reprlib.repr(rows)} of type {type(rows).__name__}. Lists of "
            "numbers or strings become an array with `numpy.array`."
        )
    if rows.shape == ():
        raise ValueError(
            f"`data` must have samples along its first axis. Received: {rows!r}, which has no axis"
        )
    return repeat(rows)


def _repeat_function(rows: Any) -> Callable[[Any], Any] | None:
    tf, torch, jax = _imported("tensorflow"), _imported("torch"), _imported("jax")
    if tf and isinstance(rows, tf.RaggedTensor):
        return lambda rows: tf.gather(rows, tf.repeat(tf.range(rows.nrows()), 2))
    if tf and isinstance(rows, (tf.Tensor, tf.Variable)):
        return lambda rows: tf.repeat(rows, 2, axis=0)
    if torch and isinstance(rows, torch.Tensor):
        return lambda rows: rows.repeat_interleave(2, dim=0)
    if isinstance(rows, np.ndarray) or (jax and isinstance(rows, jax.Array)):
        return lambda rows: rows.repeat(2, axis=0)
    return None


def _imported(package: str) -> Any:
    """Return the package if it has been imported, else None: then no data can be of its types."""
    return sys.modules.get(package)


def _repeat_dataset(dataset: Any) -> Any:
    spec = dataset.element_spec
    shapes = [leaf.shape for leaf in keras.tree.flatten(spec) if hasattr(leaf, "shape")]
    sizes = {shape[0] for shape in shapes if shape.rank} - {None}
    if () in shapes or len(sizes) > 1:
        raise ValueError(
            "`data` must be batched: call `batch` on the dataset first. Received: "
            f"element_spec={spec}"
        )
    # `map` unpacks tuples, but not named ones.
    repeat = (lambda *batch: repeat_pairs(batch)) if type(spec) is tuple else repeat_pairs
    return dataset.map(repeat, num_parallel_calls=_imported("tensorflow").data.AUTOTUNE)


class _RepeatedCollate:
    """A collate function that a loader's worker processes can be sent."""

    def __init__(self, collate_fn: Any) -> None:
        self.collate_fn = collate_fn

    def __call__(self, samples: Any) -> Any:
        return repeat_pairs(self.collate_fn(samples))


class _RepeatedPyDataset(keras.utils.PyDataset):
    """The batches of another `PyDataset`, each with every sample twice."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset

    @property
    def num_batches(self) -> int | None:
        return self.dataset.num_batches

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return repeat_pairs(self.dataset[index])

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()

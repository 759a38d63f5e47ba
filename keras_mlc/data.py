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

            - an array or a dense or ragged tensor of a backend, or nested lists, tuples and
              dictionaries of them, such as `(x, y, sample_weight)`, with the same number of
              samples along the first axis of each; None stays None,
            - a `tf.data.Dataset` that is batched,
            - a `keras.utils.PyDataset`,
            - a torch `DataLoader`,
            - a generator or another iterator over batches.

    Returns:
        The same kind of data, with every sample twice, in adjacent rows.

    Raises:
        ValueError: If an array has no rows, the arrays of a batch have different numbers of rows,
            or a dataset is not batched. Sizes that are known only while a `tf.data.Dataset` runs
            are compared there: a `tf.errors.InvalidArgumentError`. What cannot be told from a
            batch is a single sample of arrays that are all of the same length: batch first.
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
        return (_repeat_batch(batch) for batch in data)  # `fit` takes no other iterators.
    tf, torch = _imported("tensorflow"), _imported("torch")
    if tf and isinstance(data, tf.data.Dataset):
        return _repeat_dataset(tf, data)
    if torch and isinstance(data, torch.utils.data.DataLoader):
        return _repeat_loader(data)
    return _repeat_batch(data)


def _repeat_batch(batch: Any) -> Any:
    """Return a structure of arrays, all of them with the same number of rows, each row twice."""
    repeated = keras.tree.map_structure(_repeat_rows, batch)
    arrays = [rows for rows in keras.tree.flatten(batch) if rows is not None]
    sizes = {rows.shape[0] for rows in arrays}
    message = (
        "`data` must hold the same number of samples along the first axis of each array, and a "
        "dataset or a generator must yield batches. Received: sizes of "
    )
    if len(sizes - {None}) > 1:
        raise ValueError(message + ", ".join(str(rows.shape[0]) for rows in arrays))
    if None in sizes:  # A graph of TensorFlow, where a rank may be unknown as well.
        tf = _imported("tensorflow")
        found = tf.concat([_size(tf, rows) for rows in arrays], axis=0)
        is_same = tf.reduce_all(tf.equal(found, found[:1])) & tf.equal(tf.size(found), len(arrays))
        tf.debugging.Assert(is_same, [message, found])
    return repeated


def _size(tf: Any, rows: Any) -> Any:
    """Return the number of rows that a graph of TensorFlow finds, or nothing for a scalar."""
    if isinstance(rows, tf.RaggedTensor):
        return rows.nrows(tf.int64)[None]
    return tf.shape(rows, tf.int64)[:1]


def _repeat_rows(rows: Any) -> Any:
    """Return an array of any package with each row twice."""
    if rows is None:
        return None
    repeat = _repeat_function(rows)
    if repeat is None:
        raise TypeError(
            "`data` must hold arrays or dense tensors, or be a batched dataset or a generator of "
            f"batches. Received: {reprlib.repr(rows)} of type {type(rows).__name__}. Lists of "
            "numbers or strings become an array with `numpy.array`, tables of pandas with "
            "`to_numpy`, and sparse matrices with `toarray` or `to_dense`."
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
    if torch and isinstance(rows, torch.Tensor) and rows.layout == torch.strided:
        return None if rows.is_nested else lambda rows: rows.repeat_interleave(2, dim=0)
    if isinstance(rows, np.ndarray) or (jax and isinstance(rows, jax.Array)):
        return lambda rows: rows.repeat(2, axis=0)
    return None


def _imported(package: str) -> Any:
    """Return the package if it has been imported, else None: then no data can be of its types."""
    return sys.modules.get(package)


def _repeat_dataset(tf: Any, dataset: Any) -> Any:
    spec = dataset.element_spec
    shapes = [leaf.shape for leaf in keras.tree.flatten(spec) if hasattr(leaf, "shape")]
    sizes = {shape[0] for shape in shapes if shape.rank}
    # Where some sizes are unknown, a map may have lost that of the batch. But then something has
    # a second axis: a sample is a text of any length with labels of a number that is known.
    is_sample = all(shape.rank == 1 for shape in shapes) and len(sizes) > 1
    if () in shapes or len(sizes - {None}) > 1 or is_sample:
        raise ValueError(
            "`data` must be batched: call `batch` on the dataset first. Received: "
            f"element_spec={spec}, whose parts do not have one size along their first axis"
        )
    # `map` unpacks tuples, but not named ones.
    repeat = (lambda *batch: _repeat_batch(batch)) if type(spec) is tuple else _repeat_batch
    repeat = tf.autograph.experimental.do_not_convert(repeat)
    return dataset.map(repeat, num_parallel_calls=tf.data.AUTOTUNE)


def _repeat_loader(loader: Any) -> Any:
    """Return a loader that repeats what `loader` yields, by whatever workers and functions."""
    repeated = copy.copy(loader)
    kind = type(loader)
    attributes = {"__iter__": lambda _: map(_repeat_batch, loader)}
    repeated.__class__ = type(kind.__name__, (kind,), attributes)
    return repeated


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
        return _repeat_batch(self.dataset[index])

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()

import sys
from collections import namedtuple

import keras
import numpy as np
import pytest

from backends import BACKEND, to_numpy
from keras_mlc.data import repeat_pairs

ROWS = np.arange(10, dtype="float32").reshape(5, 2)
TWICE = ROWS[[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]]


@pytest.fixture
def tf():
    return pytest.importorskip("tensorflow")


class Batches(keras.utils.PyDataset):
    """Three batches of two rows, two and one, with a record of the epochs."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.begun = self.ended = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = ROWS[2 * index : 2 * index + 2]
        return rows, rows.sum(axis=1)

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.ended += 1


def endless():
    while True:
        yield ROWS, ROWS[:, 0]


def linear_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].set_weights([np.ones((2, 1))])
    model.compile(keras.optimizers.SGD(0.001), "mse", run_eagerly=BACKEND != "jax")
    return model


def test_arrays():
    for shape in ((4,), (4, 3), (4, 3, 2), (0, 3), (1, 1)):
        rows = np.random.default_rng(0).normal(size=shape)
        twice = repeat_pairs(rows)
        assert twice.shape == (2 * shape[0], *shape[1:])
        np.testing.assert_array_equal(twice[::2], rows)
        np.testing.assert_array_equal(twice[1::2], rows)


def test_arrays_of_strings():
    assert repeat_pairs(np.array(["a", "bc"])).tolist() == ["a", "a", "bc", "bc"]


def test_nested_structures():
    data = ({"ids": ROWS, "mask": [ROWS[:, 0], ROWS > 2]}, ROWS[:, 1], None)
    inputs, targets, weights = repeat_pairs(data)
    assert list(inputs) == ["ids", "mask"] and type(inputs["mask"]) is list and weights is None
    np.testing.assert_array_equal(inputs["ids"], TWICE)
    np.testing.assert_array_equal(inputs["mask"][0], TWICE[:, 0])
    np.testing.assert_array_equal(inputs["mask"][1], TWICE > 2)
    np.testing.assert_array_equal(targets, TWICE[:, 1])


def test_tensors_of_the_running_backend():
    twice = repeat_pairs(keras.ops.convert_to_tensor(ROWS))
    assert keras.ops.is_tensor(twice)
    np.testing.assert_array_equal(to_numpy(twice), TWICE)


@pytest.mark.parametrize("kind", ["constant", "Variable"])
def test_tensors_of_tensorflow(kind, tf):
    twice = repeat_pairs(getattr(tf, kind)(ROWS))
    assert tf.is_tensor(twice)
    np.testing.assert_array_equal(twice, TWICE)


def test_ragged_tensors(tf):
    twice = repeat_pairs(tf.ragged.constant([[1, 2], [], [3]]))
    assert twice.to_list() == [[1, 2], [1, 2], [], [], [3], [3]]


@pytest.mark.parametrize("drop_remainder", [True, False])
def test_dataset(drop_remainder, tf):
    data = {"x": ROWS, "text": np.array(list("abcde"))}, ROWS[:, 0]
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(2, drop_remainder)
    repeated = repeat_pairs(dataset)
    inputs, _ = repeated.element_spec
    assert inputs["x"].shape == ((4, 2) if drop_remainder else (None, 2))
    assert int(repeated.cardinality()) == (2 if drop_remainder else 3)
    rows = 8 if drop_remainder else 10
    found = list(repeated)
    np.testing.assert_array_equal(np.concatenate([x["x"] for x, _ in found]), TWICE[:rows])
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), TWICE[:rows, 0])
    texts = b"".join(np.concatenate([x["text"] for x, _ in found]))
    assert texts == b"aabbccddee"[:rows]


def test_dataset_keeps_the_structure_of_its_elements(tf):
    for structure in (ROWS, (ROWS,), {"x": ROWS}, (ROWS, ROWS), ((ROWS, ROWS),)):
        dataset = tf.data.Dataset.from_tensor_slices(structure).batch(5)
        found = next(iter(repeat_pairs(dataset)))
        keras.tree.assert_same_structure(found, structure)
        for rows in keras.tree.flatten(found):
            np.testing.assert_array_equal(rows, TWICE)


def test_dataset_of_ragged_tensors(tf):
    dataset = tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1, 2], [3], []])).batch(2)
    found = [batch.to_list() for batch in repeat_pairs(dataset)]
    assert found == [[[1, 2], [1, 2], [3], [3]], [[], []]]


def test_dataset_of_unknown_shapes(tf):
    dataset = tf.data.Dataset.from_generator(lambda: [ROWS], output_types="float32")
    np.testing.assert_array_equal(next(iter(repeat_pairs(dataset))), TWICE)


def test_py_dataset():
    dataset, plain = Batches(workers=2, max_queue_size=3), Batches()
    repeated = repeat_pairs(dataset)
    assert isinstance(repeated, keras.utils.PyDataset)
    assert len(repeated) == repeated.num_batches == 3
    assert repeated.workers == 2 and repeated.max_queue_size == 3
    assert not repeated.use_multiprocessing
    inputs, targets = zip(*(repeated[index] for index in range(3)), strict=True)
    np.testing.assert_array_equal(np.concatenate(inputs), TWICE)
    np.testing.assert_array_equal(np.concatenate(targets), TWICE.sum(axis=1))
    for each in (repeated, plain):
        linear_model().fit(each, epochs=2, shuffle=False, verbose=0)
    assert dataset.begun == plain.begun > 0 and dataset.ended == plain.ended > 0


def test_py_dataset_without_end():
    class Endless(Batches):
        @property
        def num_batches(self):
            return None

    assert repeat_pairs(Endless()).num_batches is None


def test_generators():
    repeated = repeat_pairs(endless())
    for _ in range(2):
        inputs, targets = next(repeated)
        np.testing.assert_array_equal(inputs, TWICE)
        np.testing.assert_array_equal(targets, TWICE[:, 0])
    rows = list(repeat_pairs(iter([ROWS[:1], ROWS[1:]])))
    np.testing.assert_array_equal(np.concatenate(rows), TWICE)


@pytest.mark.parametrize("kind", ["arrays", "dataset", "py_dataset", "generator"])
def test_fit_sees_pairs(kind, request):
    """The same rows twice leave the mean loss, and so the trained weights, what they are."""
    targets = ROWS.sum(axis=1) + 1
    data = {
        "arrays": (ROWS, targets),
        "py_dataset": Batches(),
        "generator": ((ROWS, targets) for _ in range(1)),
    }.get(kind)
    if kind == "dataset":
        tf = request.getfixturevalue("tf")
        data = tf.data.Dataset.from_tensor_slices((ROWS, targets)).batch(5)
    repeated, model = repeat_pairs(data), linear_model()
    if kind == "arrays":
        model.fit(*repeated, batch_size=10, shuffle=False, verbose=0)
    else:
        model.fit(repeated, shuffle=False, verbose=0)
    plain = linear_model()
    if kind == "py_dataset":
        plain.fit(Batches(), shuffle=False, verbose=0)
    else:
        plain.fit(ROWS, targets, batch_size=5, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], plain.get_weights()[0], rtol=1e-6)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize(("workers", "batch_size"), [(0, None), (1, 2)])
def test_torch_loaders(workers, batch_size, torch):
    rows = torch.tensor(ROWS)
    samples = torch.utils.data.TensorDataset(rows, rows[:, 0])
    if batch_size is None:
        samples = [(rows[:2], rows[:2, 0]), (rows[2:], rows[2:, 0])]
    loader = torch.utils.data.DataLoader(samples, batch_size, num_workers=workers)
    repeated = repeat_pairs(loader)
    assert isinstance(repeated, torch.utils.data.DataLoader) and len(repeated) == len(loader)
    inputs, targets = zip(*repeated, strict=True)
    np.testing.assert_array_equal(torch.cat(inputs), TWICE)
    np.testing.assert_array_equal(torch.cat(targets), TWICE[:, 0])
    np.testing.assert_array_equal(torch.cat([x for x, _ in loader]), ROWS)
    linear_model().fit(repeated, shuffle=False, verbose=0)


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def test_arrays_of_jax(jax):
    twice = repeat_pairs(jax.numpy.asarray(ROWS))
    assert isinstance(twice, jax.Array)
    np.testing.assert_array_equal(twice, TWICE)


def test_asks_for_no_package_that_is_missing(monkeypatch):
    for package in ("tensorflow", "torch", "jax"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    np.testing.assert_array_equal(repeat_pairs(ROWS), TWICE)
    assert not {"tensorflow", "torch", "jax"} & set(sys.modules)


@pytest.mark.parametrize(
    "dataset",
    [
        lambda tf: tf.data.Dataset.range(3),
        lambda tf: tf.data.Dataset.from_tensor_slices((ROWS, ROWS[:, 0])),
        lambda tf: tf.data.Dataset.from_tensor_slices((np.ones((4, 64)), np.ones((4, 55)))),
    ],
)
def test_refuses_datasets_without_batches(dataset, tf):
    with pytest.raises(ValueError, match=r"`data` must be batched: call `batch`.*element_spec="):
        repeat_pairs(dataset(tf))


def test_refuses_what_holds_no_rows():
    for data in (np.float32(1), [1, 2], ["a", "b"], "text", 3.0, len, object()):
        with pytest.raises(TypeError, match=r"`data` must hold arrays .*Received: .* of type "):
            repeat_pairs(data)
    for data in (np.array(1), keras.ops.ones(()), (ROWS, np.array(1))):
        with pytest.raises(ValueError, match=r"`data` must have samples along its first axis.*Rec"):
            repeat_pairs(data)


def test_refuses_sparse_tensors(tf):
    with pytest.raises(TypeError, match=r"(?s)`data` must hold .*of type SparseTensor"):
        repeat_pairs(tf.sparse.eye(2))


def test_datasets_of_named_tuples(tf):
    pair = namedtuple("Pair", ["x", "y"])
    dataset = tf.data.Dataset.from_tensor_slices(pair(ROWS, ROWS[:, 0])).batch(5)
    batch = next(iter(repeat_pairs(dataset)))
    np.testing.assert_array_equal(batch.x, TWICE)
    np.testing.assert_array_equal(batch.y, TWICE[:, 0])


def test_degenerate_sizes(tf):
    for shape in ((0,), (0, 2), (3, 0), (0, 0), (1, 1)):
        rows, expected = np.zeros(shape, "float32"), (2 * shape[0], *shape[1:])
        assert repeat_pairs(rows).shape == expected
        assert tuple(repeat_pairs(keras.ops.convert_to_tensor(rows)).shape) == expected
        dataset = tf.data.Dataset.from_tensors(rows)
        assert [tuple(batch.shape) for batch in repeat_pairs(dataset)] == [expected]
        assert list(repeat_pairs(dataset.take(0))) == [] == list(repeat_pairs(iter([])))


def loader_with_an_iterator_of_its_own(torch, data):
    class Loader(torch.utils.data.DataLoader):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.batches = super().__iter__()

        def __iter__(self):
            return self.batches

    return Loader(data, 2)


def test_torch_loaders_that_were_iterated():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.arange(4))
    expected = [[0, 0, 1, 1], [2, 2, 3, 3]]
    kept = torch.utils.data.DataLoader(data, 2, num_workers=1, persistent_workers=True)
    assert [rows.tolist() for (rows,) in kept] == [[0, 1], [2, 3]]
    for loader in (kept, loader_with_an_iterator_of_its_own(torch, data)):
        repeated = repeat_pairs(loader)
        assert [rows.tolist() for (rows,) in repeated] == expected
        assert repeated.batch_size == loader.batch_size and len(repeated) == 2
    for _ in range(2):
        assert [rows.tolist() for (rows,) in repeat_pairs(kept)] == expected
        assert [rows.tolist() for (rows,) in kept] == [[0, 1], [2, 3]]


def test_torch_loaders_of_every_kind():
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(torch.tensor(ROWS))

    rows, options = torch.tensor(ROWS), {"drop_last": False}
    sampler = torch.utils.data.BatchSampler(range(5), 2, **options)
    for loader in (
        torch.utils.data.DataLoader(Stream(), 2),
        torch.utils.data.DataLoader(rows, batch_sampler=sampler),
        torch.utils.data.DataLoader(rows, 2, collate_fn=lambda samples: np.stack(samples)),
    ):
        for _ in range(2):
            found = np.concatenate([np.asarray(batch) for batch in repeat_pairs(loader)])
            np.testing.assert_array_equal(found, TWICE)


def samples_of(tokens, labels, tf):
    """Return a dataset of samples, tokens of an unknown number and labels."""
    spec = tf.TensorSpec((None,), "int64"), tf.TensorSpec(labels, "int64")
    pairs = [(np.ones(length, "int64"), np.ones(3, "int64")) for length in tokens]
    return tf.data.Dataset.from_generator(lambda: iter(pairs), output_signature=spec)


def test_refuses_samples_of_which_some_sizes_are_unknown(tf):
    with pytest.raises(ValueError, match=r"`data` must be batched.*one size along their first"):
        repeat_pairs(samples_of([7, 4], (3,), tf))


def test_sizes_that_are_unknown_are_compared_while_the_dataset_runs(tf):
    unequal = zip([ROWS, ROWS], [ROWS, ROWS[:4]], strict=True)
    unknown = tf.TensorSpec(None, "float32")
    ragged = tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[[1], [2, 3]], [[4]]]))
    scalars = tf.data.Dataset.from_generator(lambda: iter([1.0]), output_signature=unknown)
    for dataset, good in (
        (samples_of([3, 4], (None,), tf), 1),
        (tf.data.Dataset.from_generator(lambda: unequal, output_signature=(unknown,) * 2), 1),
        (tf.data.Dataset.zip((ragged, tf.data.Dataset.from_tensors([[1.0], [2]]).repeat())), 1),
        (scalars, 0),
    ):
        batches = iter(repeat_pairs(dataset))
        for _ in range(good):
            next(batches)
        with pytest.raises(tf.errors.InvalidArgumentError, match="the same number of samples"):
            next(batches)


def test_datasets_that_have_lost_the_size_of_some_parts(tf):
    labels = np.arange(8).reshape(4, 2)
    dataset = tf.data.Dataset.from_tensor_slices((np.array(["a b", "c", "d", "e f"]), labels))
    dataset = dataset.batch(2, drop_remainder=True)
    dataset = dataset.map(lambda x, y: (tf.strings.split(x).to_tensor(), y))
    assert [spec.shape[0] for spec in dataset.element_spec] == [None, 2]
    x, y = zip(*repeat_pairs(dataset), strict=True)
    assert x[1].numpy().tolist() == [[b"d", b""]] * 2 + [[b"e", b"f"]] * 2
    np.testing.assert_array_equal(np.concatenate(y), labels.repeat(2, axis=0))


@pytest.mark.parametrize("kind", ["arrays", "generator", "py_dataset", "loader"])
def test_refuses_batches_of_unequal_sizes(kind):
    """What yields samples instead of batches, as `zip(x, y)` does."""

    class Samples(Batches):
        def __getitem__(self, index):
            return ROWS[index], np.ones(3)

    if kind == "loader":
        torch = pytest.importorskip("torch")
        data = iter(repeat_pairs(torch.utils.data.DataLoader(Samples(), None)))
    read = {
        "arrays": lambda: repeat_pairs([np.array([1, 2]), np.array([3])]),
        "generator": lambda: next(repeat_pairs(zip(ROWS, np.ones((5, 3)), strict=True))),
        "py_dataset": lambda: repeat_pairs(Samples())[0],
        "loader": lambda: next(data),
    }[kind]
    with pytest.raises(ValueError, match=r"the same number of samples.*sizes of 2, [13]"):
        read()


@pytest.mark.parametrize("kind", ["to_sparse", "to_sparse_csr", "nested"])
def test_refuses_tensors_of_torch_that_are_not_dense(kind):
    torch = pytest.importorskip("torch")
    rows = torch.ones(2, 2)
    data = torch.nested.nested_tensor([rows[0]]) if kind == "nested" else getattr(rows, kind)()
    with pytest.raises(TypeError, match=r"(?s)`data` must hold arrays or dense tensors.*to_dense"):
        repeat_pairs(data)


def test_a_used_generator_goes_on_where_it_is():
    data = iter([ROWS[:2], ROWS[2:]])
    next(data)
    (rows,) = repeat_pairs(data)
    np.testing.assert_array_equal(rows, TWICE[4:])

import doctest
import importlib
import os
import re
import subprocess
import sys
from importlib.metadata import requires, version
from importlib.resources import files
from pathlib import Path

import keras
import pytest

import keras_mlc
from backends import BACKEND
from keras_mlc import data, layers, losses, metrics, training

PUBLIC = {
    layers: [
        "AttentionPooling",
        "FineGrainedSoftmaxHead",
        "LabelThresholds",
        "ScoreCalibration",
        "TextCNNHead",
    ],
    losses: [
        "AsymmetricLoss",
        "GradientPenaltyLoss",
        "MultilabelCategoricalCrossentropy",
        "RDropLoss",
        "SparseMultilabelCategoricalCrossentropy",
        "asymmetric_loss",
        "multilabel_categorical_crossentropy",
        "sparse_multilabel_categorical_crossentropy",
    ],
    training: [
        "FGMTrainer",
        "FreeLBTrainer",
        "GradientPenaltyTrainer",
        "PGDTrainer",
        "VATTrainer",
    ],
}
COMPANIONS = [data.repeat_pairs, metrics.MultilabelF1Score]
SYMBOLS = [getattr(module, name) for module, names in PUBLIC.items() for name in names] + COMPANIONS


def test_public_names():
    for module, names in PUBLIC.items():
        assert module.__all__ == names
    assert keras_mlc.__all__ == sorted(symbol.__name__ for symbol in SYMBOLS)
    assert all(getattr(keras_mlc, symbol.__name__) is symbol for symbol in SYMBOLS)
    companions = [
        value
        for module in (data, metrics)
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", None) == module.__name__
    ]
    assert companions == COMPANIONS


def test_the_version_is_the_distributions():
    assert version("keras-mlc") == keras_mlc.__version__


def test_what_is_required():
    names = {line.split(">=")[0] for line in requires("keras-mlc") if "extra ==" not in line}
    assert names == {"keras", "tensorflow", "numpy"}


def test_type_checkers_find_the_types():
    assert files("keras_mlc").joinpath("py.typed").is_file()


@pytest.mark.parametrize("symbol", SYMBOLS, ids=lambda symbol: symbol.__name__)
def test_docstrings_are_whole_and_their_examples_run(symbol):
    sections = ["Args:", "Raises:", "Example:"]
    missing = [section for section in sections if section not in symbol.__doc__]
    assert not missing
    if BACKEND == "jax" and symbol is losses.GradientPenaltyLoss:
        pytest.skip("there is no gradient penalty on JAX")
    module = importlib.import_module(symbol.__module__)
    (test,) = doctest.DocTestFinder(recurse=False).find(symbol, symbol.__name__, module)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted and not result.failed


def save_all(folder):
    """Save a model with each public symbol that a file can hold, under the symbol's name."""

    def save(symbol, model, loss=None, metrics=None):
        model.compile("sgd", loss, metrics=metrics)
        model.save(folder / f"{symbol.__name__}.keras")

    def plain(outputs=None):
        return keras.Model(x, scores if outputs is None else outputs)

    x = keras.Input((6,), dtype="int32")
    vectors = keras.layers.Embedding(9, 4, mask_zero=True, name="tokens")(x)
    pooled = layers.AttentionPooling()(vectors)
    scores = keras.layers.Dense(3)(pooled)
    multilabel = losses.MultilabelCategoricalCrossentropy()
    save(layers.AttentionPooling, plain())
    save(layers.TextCNNHead, plain(layers.TextCNNHead(3)(vectors)))
    save(layers.FineGrainedSoftmaxHead, plain(layers.FineGrainedSoftmaxHead(2, 3)(pooled)))
    save(layers.LabelThresholds, plain(layers.LabelThresholds()(scores)))
    save(layers.ScoreCalibration, plain(layers.ScoreCalibration()(scores)))
    for loss in (
        multilabel,
        losses.SparseMultilabelCategoricalCrossentropy(),
        losses.RDropLoss(multilabel, from_logits=True),
        losses.AsymmetricLoss(from_logits=True),
    ):
        save(type(loss), plain(), loss)
    for name in losses.__all__[-3:]:
        save(getattr(losses, name), plain(), getattr(losses, name))
    save(metrics.MultilabelF1Score, plain(), multilabel, [metrics.MultilabelF1Score()])
    for name in training.__all__:
        trainer = getattr(training, name)
        save(trainer, trainer(plain(), "tokens"), multilabel)
    if BACKEND != "jax":
        penalty = losses.GradientPenaltyLoss(multilabel, "tokens")
        save(losses.GradientPenaltyLoss, plain(), penalty)


# Imports as installed, with bytecode, and without the garbage that `import keras` left to collect.
LOADS = """
import gc, pathlib, sys, time, keras
sys.dont_write_bytecode = False
gc.collect()
for _ in range(3):
    for name in [name for name in sys.modules if name.startswith("keras_mlc")]:
        del sys.modules[name]
    began = time.process_time()
    import keras_mlc
    print("imported", time.process_time() - began)
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    try:
        keras.saving.load_model(file, safe_mode=True)
        print("loaded", file.stem)
    except Exception as error:
        print("failed", file.stem, repr(error)[:500])
"""


def run(code, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Return what a process that has imported `keras_mlc` alone says: how long, what it loads."""
    folder = tmp_path_factory.mktemp("saved")
    save_all(folder)
    result = run(LOADS, folder)
    assert not result.returncode, result.stderr
    return [line.split(maxsplit=1) for line in result.stdout.splitlines()]


def test_loads_after_importing_the_package_alone(fresh):
    unsaved = {"repeat_pairs"} | ({"GradientPenaltyLoss"} if BACKEND == "jax" else set())
    expected = {symbol.__name__ for symbol in SYMBOLS} - unsaved
    assert {name for word, name in fresh if word == "loaded"} == expected, fresh


def test_importing_adds_little_to_importing_keras(fresh):
    assert min(float(seconds) for word, seconds in fresh if word == "imported") < 0.1


@pytest.mark.parametrize("missing", ["jax", "tensorflow"])
def test_a_backend_that_is_not_installed(missing):
    hidden = WITHOUT_TENSORFLOW.partition("import keras, numpy")[0].replace("tensorflow", missing)
    result = run(f"{hidden}\nimport keras_mlc", KERAS_BACKEND=missing)
    extra = "keras-mlc'" if missing == "tensorflow" else rf"keras-mlc\[{missing}\]'"
    assert re.search(rf"ModuleNotFoundError.*'{missing}'.*pip install '{extra}", result.stderr), (
        result.stderr
    )


def test_a_backend_is_imported_only_in_files_whose_names_end_with_it():
    imports = re.compile(r"^\s*(?:import|from) (tensorflow|jax|torch)\b", re.MULTILINE)
    modules = Path(keras_mlc.__file__).parent.rglob("*.py")
    found = {path: imports.findall(path.read_text("utf-8")) for path in modules}
    assert sum(map(bool, found.values())) > 5
    strays = [
        p.name for p, names in found.items() for name in names if not p.stem.endswith(f"_{name}")
    ]
    assert not strays


WITHOUT_TENSORFLOW = """
import importlib, pkgutil, sys

class Without:
    # A finder of modules that another one finds, but for TensorFlow.

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *arguments):
        hidden = name.partition(".")[0] == "tensorflow"
        return None if hidden else self.finder.find_spec(name, *arguments)

sys.meta_path[:] = map(Without, sys.meta_path)
import keras, numpy as np
import keras_mlc
from keras_mlc.data import repeat_pairs
from keras_mlc.layers import AttentionPooling
from keras_mlc.losses import MultilabelCategoricalCrossentropy, RDropLoss
from keras_mlc.metrics import MultilabelF1Score

backend = keras.backend.backend()
others = {"tensorflow", "jax", "torch"} - {backend}
for module in pkgutil.walk_packages(keras_mlc.__path__, "keras_mlc."):
    if not any(module.name.endswith(f"_{other}") for other in others):
        importlib.import_module(module.name)

random = np.random.default_rng(0)
tokens, labels = random.integers(1, 9, (6, 5)), random.integers(0, 2, (6, 3))
r_drop = RDropLoss(MultilabelCategoricalCrossentropy(), from_logits=True)
for loss, x, y in (
    (MultilabelCategoricalCrossentropy(), tokens, labels),
    (r_drop, *repeat_pairs((tokens, labels))),
):
    inputs = keras.Input((5,), dtype="int32")
    pooled = AttentionPooling()(keras.layers.Embedding(9, 4, mask_zero=True)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.2)(pooled)))
    model.compile("adam", loss, metrics=[MultilabelF1Score()])
    history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all(), history
    assert np.isfinite(model.evaluate(x, y, verbose=0)).all()
    assert model.predict(x, verbose=0).shape == (len(x), 3)
assert not [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]
print("trained on", backend)
"""


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow is the backend")
def test_imports_and_trains_where_tensorflow_is_not_installed():
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"trained on {BACKEND}" in result.stdout, result.stderr

import doctest
import importlib
import os
import re
import subprocess
import sys
from importlib.metadata import requires, version
from importlib.resources import files
from pathlib import Path

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


def test_importing_adds_little_to_importing_keras():
    # as installed, with bytecode, and without the garbage that `import keras` left to collect
    code = """
import gc, sys, time, keras
sys.dont_write_bytecode = False
gc.collect()
began = time.process_time()
import keras_mlc
print(time.process_time() - began)
"""
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 0.1


SAVES = """
import sys, keras, numpy as np
from keras_mlc import *
import keras_mlc

x = keras.Input((6,), dtype="int32")
tokens = keras.layers.Embedding(9, 4, mask_zero=True, name="tokens")
pooled = AttentionPooling()(tokens(x))
scores = keras.layers.Dense(3)(pooled)

def save(name, model, loss=None, metrics=None):
    model.compile("sgd", loss, metrics=metrics)
    ids = np.arange(1, 25).reshape(4, 6) % 9
    model.predict(ids, verbose=0)
    model.save(f"{sys.argv[1]}/{name}.keras")

plain = lambda outputs=scores: keras.Model(x, outputs)
multilabel = MultilabelCategoricalCrossentropy()
save("AttentionPooling", plain())
save("TextCNNHead", plain(TextCNNHead(3)(tokens(x))))
save("FineGrainedSoftmaxHead", plain(FineGrainedSoftmaxHead(2, 3)(pooled)))
save("LabelThresholds", plain(LabelThresholds()(scores)))
save("ScoreCalibration", plain(ScoreCalibration()(scores)))
save("MultilabelCategoricalCrossentropy", plain(), multilabel)
save("SparseMultilabelCategoricalCrossentropy", plain(), SparseMultilabelCategoricalCrossentropy())
save("RDropLoss", plain(), RDropLoss(multilabel, from_logits=True))
save("multilabel_categorical_crossentropy", plain(), multilabel_categorical_crossentropy)
sparse = sparse_multilabel_categorical_crossentropy
save("sparse_multilabel_categorical_crossentropy", plain(), sparse)
save("MultilabelF1Score", plain(), multilabel, [MultilabelF1Score()])
save("AsymmetricLoss", plain(), AsymmetricLoss(from_logits=True))
save("asymmetric_loss", plain(), asymmetric_loss)
for trainer in FGMTrainer, FreeLBTrainer, GradientPenaltyTrainer, PGDTrainer, VATTrainer:
    save(trainer.__name__, trainer(plain(), "tokens"), multilabel)
if keras.backend.backend() != "jax":
    save("GradientPenaltyLoss", plain(), GradientPenaltyLoss(multilabel, "tokens"))
"""

LOADS = """
import pathlib, sys, traceback, keras_mlc
import keras
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
def loaded(tmp_path_factory):
    """Return what a process that has imported `keras_mlc` alone says of each saved model."""
    folder = tmp_path_factory.mktemp("saved")
    saves = run(SAVES, folder)
    assert not saves.returncode, saves.stderr
    loads = run(LOADS, folder)
    assert not loads.returncode, loads.stderr
    return {line.split()[1]: line for line in loads.stdout.splitlines()}


@pytest.mark.parametrize("symbol", SYMBOLS, ids=lambda symbol: symbol.__name__)
def test_loads_after_importing_the_package_alone(symbol, loaded):
    name = symbol.__name__
    if name == "repeat_pairs" or (BACKEND == "jax" and name == "GradientPenaltyLoss"):
        pytest.skip("nothing of it is saved")
    assert loaded.get(name) == f"loaded {name}"


@pytest.mark.parametrize("missing", ["jax", "torch", "tensorflow"])
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


def test_the_readmes_example_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = Path(__file__).parents[1] / "README.md"
    if not readme.exists():
        pytest.skip("there is no checkout around the tests")
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile("".join(blocks), str(readme), "exec"), {})
    assert "True" in capsys.readouterr().out
    assert (tmp_path / "served.keras").exists()

import doctest
import importlib
import re
import subprocess
import sys
from importlib.metadata import requires, version
from importlib.resources import files
from pathlib import Path

import pytest

import keras_mlc
from keras_mlc import data, layers, losses, metrics, training

PUBLIC = {
    layers: ["AttentionPooling", "FineGrainedSoftmaxHead", "TextCNNHead"],
    losses: [
        "GradientPenaltyLoss",
        "MultilabelCategoricalCrossentropy",
        "RDropLoss",
        "SparseMultilabelCategoricalCrossentropy",
        "multilabel_categorical_crossentropy",
        "sparse_multilabel_categorical_crossentropy",
    ],
    training: ["FGMTrainer"],
}
COMPANIONS = [data.repeat_pairs, metrics.MultilabelF1Score]
SYMBOLS = [getattr(module, name) for module, names in PUBLIC.items() for name in names] + COMPANIONS


def test_public_names():
    for module, names in PUBLIC.items():
        assert module.__all__ == names
    assert len(keras_mlc.__all__) == 7
    for name in keras_mlc.__all__:
        assert getattr(keras_mlc, name) in SYMBOLS


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
    module = importlib.import_module(symbol.__module__)
    (test,) = doctest.DocTestFinder(recurse=False).find(symbol, symbol.__name__, module)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted and not result.failed


def test_importing_adds_little_to_importing_keras():
    code = """
import time, keras
began = time.perf_counter()
import keras_mlc
print(time.perf_counter() - began)
"""
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(2)
    ]
    assert min(seconds) < 0.1


def test_the_readmes_example_runs(capsys):
    readme = Path(__file__).parents[1] / "README.md"
    if not readme.exists():
        pytest.skip("there is no checkout around the tests")
    (block,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, str(readme), "exec"), {})
    assert "True" in capsys.readouterr().out

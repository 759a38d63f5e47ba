from pathlib import Path

from support import settings
from support.data import load_corpus

import pytest


@pytest.fixture(autouse=True, scope="session")
def float32_on_every_processor():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "PROCESSOR", Path("none"))
        yield


@pytest.fixture
def write(tmp_path):
    """Write a file, and return its path."""

    def write(content, name="train.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def load(write):
    """Load a training file, with a test file that suits every one."""

    def load(content, test=None, name="train.csv", **options):
        test = content if test is None else test
        return load_corpus(write(content, name), write(test, f"test-{name}"), **options)

    return load


@pytest.fixture
def sets(load):
    """The set of labels of each text of a training file, which has no text twice."""

    def sets(content, **options):
        train, _ = load(content, **options)
        return {
            text: {name for name, on in zip(train.label_names, row, strict=True) if on}
            for text, row in zip(train.texts, train.labels, strict=True)
        }

    return sets

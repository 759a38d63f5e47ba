"""One small encoder, two small files, and one table that was made of them, for all tests."""

import argparse
import json

from support.data import add_file_options, complete, load_labels

import numpy as np
import pytest

from albert_checkpoints import SMALL, write_folder
from example_runs import ROWS, run_rows


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_folder(folder, "google", **SMALL, num_hidden_layers=1)
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """The options of a file that holds 40 texts with labels, and an aspect."""
    path = tmp_path_factory.mktemp("corpus") / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return ["--train", str(path), "--test", str(path), "--aspects", "mood"]


@pytest.fixture(scope="session")
def small(checkpoint, corpus):
    """The options of a run that takes seconds."""
    sizes = ["--epochs", "1", "--batch-size", "16", "--max-length", "8"]
    return ["--checkpoint", str(checkpoint), *corpus, *sizes]


@pytest.fixture(scope="session")
def table(tmp_path_factory, small):
    """The folder of a table of two rows, with models."""
    folder = tmp_path_factory.mktemp("table")
    rows = "sigmoid", "fine_grained"
    run_rows(*small, "--save", "--output", folder, rows=rows)
    return folder


@pytest.fixture
def options(tmp_path):
    """Options of files, as the command line gives them, for the content of a training file."""

    def options(content, *arguments, test=None, name="train.csv", **others):
        paths = []
        for part, each in {"train": content, "test": content if test is None else test}.items():
            paths.append(tmp_path / f"{part}-{name}")
            paths[-1].write_bytes(each.encode() if isinstance(each, str) else each)
        parser = argparse.ArgumentParser()
        add_file_options(parser)
        files = ["--train", str(paths[0]), "--test", str(paths[1])]
        found = parser.parse_args([*files, *arguments])
        complete(found)
        return found

    return options


@pytest.fixture
def sets(options):
    """The labels of each text of a training file."""

    def sets(*content, **others):
        train, _, _ = load_labels(options(*content, **others))
        names = np.array(train.names)
        return {t: set(names[row == 1]) for t, row in zip(train.texts, train.targets, strict=True)}

    return sets

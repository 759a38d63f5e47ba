import argparse
import json
import sys
from dataclasses import asdict

from support import delimited, files
from support.encoders import open_encoder
from support.file_options import FileOptions
from support.predictor import Predictor
from support.served import read_model
from support.table import DataError

import numpy as np
import pytest

import stream_large_file
from albert_checkpoints import SMALL, write_folder
from stream_large_file import Stream, ahead, main, shuffled


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `main` on a file; return what it prints."""
    write_folder(tmp_path / "encoder", "brightmart", **SMALL)
    monkeypatch.setattr(stream_large_file, "BLOCK", 16)

    def run(content, *options):
        (tmp_path / "rows.csv").write_text(content)
        fixed = ["--train", "rows.csv", "--checkpoint", "encoder", "--max-length", "8"]
        fixed += ["--batch-size", "4", "--buffer", "40", "--label-rows", "50"]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["x", *fixed, *options])
        main()
        return capsys.readouterr().out

    return run


def rows(count):
    return "label,text\n" + "".join(f"a|b{i % 3},word{i % 20}\n" for i in range(count))


def blocks(count, size):
    """Blocks of numbers and their doubles."""
    for first in range(0, count, size):
        numbers = np.arange(first, min(first + size, count))
        yield numbers, 2 * numbers


@pytest.mark.parametrize("count", [5, 64, 1000, 1003])
def test_shuffling_keeps_every_row_once_and_whole(count):
    parts = list(shuffled(blocks(count, 16), 100, np.random.default_rng(0)))
    numbers, doubles = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    np.testing.assert_array_equal(np.sort(numbers), np.arange(count))
    np.testing.assert_array_equal(doubles, 2 * numbers)
    assert (numbers != np.arange(count)).any()


def test_rows_mix_across_the_buffer():
    def order(seed):
        parts = shuffled(blocks(3000, 16), 500, np.random.default_rng(seed))
        return np.concatenate([numbers for numbers, _ in parts])

    first = order(0)
    np.testing.assert_array_equal(first, order(0))
    assert (first != order(1)).any()
    assert np.abs(first - np.arange(3000)).mean() > 250


def test_threads_work_ahead_by_a_few_blocks_only():
    taken = []

    def items():
        for item in range(1000):
            taken.append(item)
            yield item

    results = ahead(lambda item: 2 * item, items())
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(taken) < 20
    assert sum(results) == 1000 * 999 - 6


def test_an_error_of_a_thread_comes_out():
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda item: 1 // (5 - item), range(10)))


def test_a_file_is_read_once(run):
    out = run(rows(203) + ",\n,word1\n", "--read-only")
    assert "4 labels\n204 rows, 612 tokens in " in out  # [CLS], a word, [SEP]
    assert "Peak memory" in out


def test_labels_of_later_rows_are_passed_over_and_counted(run):
    out = run(rows(60) + "a|new,word1\nnewer,word2\n", "--read-only")
    assert "4 labels" in out and "2 labels do not occur in the first rows" in out


def test_it_trains_and_writes_a_model(run, tmp_path):
    content = "label,text\n" + "".join(
        f"{'x' if i % 2 else 'y|z'},word{i % 2}\n" for i in range(90)
    )
    options = "--steps", "60", "--learning-rate", "1e-2", "--output", str(tmp_path / "model")
    out = run(content, *options)
    assert "step 60/60" in out and "of the time for their batch" in out
    served = read_model(tmp_path / "model")
    assert served.labels.labels == ["x", "y", "z"] and served.labels.max_length == 8
    outputs = Predictor(served, 2)(["word1", "word0"])
    np.testing.assert_array_equal(outputs["labels"], [[1, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(outputs["probabilities"] > 0.5, outputs["labels"])
    assert f"Wrote {tmp_path / 'model'}: probabilities fitted to 2 validation rows" in out


def test_a_file_of_few_rows_gives_no_probabilities(run, tmp_path):
    out = run(rows(19), "--steps", "2", "--output", str(tmp_path / "model"))
    assert "no probabilities, as no label is given in any of 0 validation rows" in out
    assert read_model(tmp_path / "model").labels.outputs == ["labels", "scores"]


def test_the_first_rows_are_not_trained_on(tmp_path, write, monkeypatch):
    monkeypatch.setattr(delimited, "CHUNK", 25)
    monkeypatch.setattr(stream_large_file, "BLOCK", 16)
    write_folder(tmp_path / "encoder", "brightmart", **SMALL)
    source = open_encoder(tmp_path / "encoder")
    path = write("label,text\n" + "".join(f"{'ab'[i % 2]},word{i}\n" for i in range(99)))
    options = argparse.Namespace(**asdict(FileOptions()), max_length=8, label_rows=99)
    stream = Stream(path, source, options)
    assert stream.held_out == 4
    stream.held_out = 40  # more than a chunk and a block
    inputs, labels = stream.validation()
    assert inputs["token_ids"].shape == (40, 8) and labels[:, 0].tolist() == [1, 0] * 20
    texts = [text for block, _ in stream.blocks(passes=2, skipped=40) for text in block]
    assert texts == 2 * [f"word{i}" for i in range(40, 99)]


def test_a_broken_row_says_where(run):
    with pytest.raises(DataError, match="line 72: 3 fields"):
        run(rows(70) + "a,b,c\n", "--read-only")
    with pytest.raises(DataError, match="none of the first 2 rows has a label"):
        run("label,text\n,one\n,two\n", "--read-only")


@pytest.mark.parametrize(
    "content",
    [
        "id,tweet,a,b\n" + "".join(f"{i},word{i % 20},1,{i % 2}\n" for i in range(103)),
        "".join(
            json.dumps({"text": f"word{i % 20}", "labels": ["a", "b"][: 1 + i % 2]}) + "\n"
            for i in range(103)
        ),
        "text\tlabels\n" + "".join(f"word{i % 20}\t{['a', 'a|b'][i % 2]}\n" for i in range(103)),
        "text,labels\n"
        + "".join(f"word{i % 20},\"['a'{' ?b?' * (i % 2)}]\"\n" for i in range(103)).replace(
            "?", "'"
        ),
    ],
)
def test_every_form_is_a_stream(run, content, monkeypatch):
    monkeypatch.setattr(delimited, "CHUNK", 25)
    monkeypatch.setattr(files, "CHUNK", 25)
    out = run(content, "--read-only")
    assert "2 labels\n103 rows, 309 tokens in " in out and ": a, b." in out
    assert "do not occur" not in out


def test_labels_of_a_stream_are_those_of_the_whole_table(tmp_path, write, load, monkeypatch):
    monkeypatch.setattr(delimited, "CHUNK", 25)
    content = "text,labels\n" + "".join(
        f"word{i},{['a;b', 'c', 'b;c'][i % 3]}\n" for i in range(99)
    )
    train, _ = load(content)
    write_folder(tmp_path / "encoder", "brightmart", **SMALL)
    source = open_encoder(tmp_path / "encoder")
    options = argparse.Namespace(**asdict(FileOptions()), max_length=8, label_rows=10)
    stream = Stream(write(content), source, options)
    blocks = [stream.arrays(*block)[1] for block in stream.blocks(passes=1)]
    np.testing.assert_array_equal(np.concatenate(blocks), train.labels)
    assert stream.label_names == train.label_names and stream.unknown == 0


def test_a_later_cell_of_another_form_says_where(run, monkeypatch):
    lists = "text,labels\n" + "".join(f"word{i % 20},\"['a', 'b']\"\n" for i in range(70))
    with pytest.raises(DataError, match="line 72: 'c' is no list, as other cells are"):
        run(lists + "word1,c\n", "--read-only")
    columns = "text,a,b\n" + "".join(f"word{i % 20},0,1\n" for i in range(70))
    with pytest.raises(DataError, match="line 72: column 'b' has '2', neither 0 nor 1"):
        run(columns + "word1,1,2\n", "--read-only")
    monkeypatch.setattr(delimited, "CHUNK", 50)
    quotes = "text\tlabels\n" + "".join(f"word{i % 20}\ta\n" for i in range(170))
    with pytest.raises(DataError, match=r"line 172: .*`--quotes none`"):
        run(quotes + '"word1" word2\ta\n', "--read-only")
    assert "171 rows" in run(quotes + '"word1" word2\ta\n', "--read-only", "--quotes", "none")

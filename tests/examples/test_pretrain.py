"""`examples/data/pretrain.py`, beside the encoder that came out of it."""

import json
from argparse import Namespace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from albert_reference import google
from backends import tensorflow_only
from data import pretrain

BUNDLED = pretrain.BUNDLED
DOCUMENTS = ["the quick brown fox jumps over the lazy dog", "a lazy fox", "dogs and foxes"] * 9
SMALL = ["--batch-size", "4", "--max-length", "8", "--warmup", "1", "--steps", "2"]


def variables_in(folder):
    reader = tf.train.load_checkpoint(str(folder / "albert_model.ckpt"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.fixture(scope="module")
def tokenizer():
    return pretrain.make_tokenizer(None, DOCUMENTS, 60)


@pytest.fixture
def batches(tokenizer):
    encoded = tokenizer.encode_batch(DOCUMENTS, add_special_tokens=False)
    documents = [np.array([*document.ids, 3]) for document in encoded]
    return pretrain.batches(documents, tokenizer, Namespace(seed=0, batch_size=4, max_length=20))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(["", *DOCUMENTS]))
    return path


def test_masking_hides_only_the_chosen_tokens(batches, tokenizer):
    beginnings = {tuple(tokenizer.encode(text).ids[:3]) for text in DOCUMENTS}
    masked = []
    for _ in range(30):  # some passes over the texts
        (tokens, places), (targets, together) = next(batches)
        assert tokens.shape == (4, 20) and places.shape == targets.shape == (4, 3)
        assert (together == targets[:, None]).all()
        assert not np.isin(targets, range(5)).any()  # special tokens are not to be guessed
        shown = np.take_along_axis(tokens, places, axis=1)
        masked.extend(shown[targets != -1] == 4)
        np.put_along_axis(tokens, places, np.where(targets == -1, shown, targets), axis=1)
        assert {tuple(row[1:4]) for row in tokens} <= beginnings  # each begins with a document
        assert not np.isin(tokens, [0, 4]).any()
    assert 0.7 < np.mean(masked) < 0.9


def test_a_seed_gives_the_same_batches(batches, tokenizer):
    first = next(batches)[0][0]
    assert not np.array_equal(first, next(batches)[0][0])
    encoded = tokenizer.encode_batch(DOCUMENTS, add_special_tokens=False)
    documents = [np.array([*document.ids, 3]) for document in encoded]
    options = Namespace(seed=0, batch_size=4, max_length=20)
    again = pretrain.batches(documents, tokenizer, options)
    np.testing.assert_array_equal(next(again)[0][0], first)


def test_an_encoder_to_start_from_is_read_as_it_was_written(tmp_path):
    known = len((BUNDLED / "vocab.txt").read_text("utf-8").splitlines())
    backbone, configuration = pretrain.make_encoder(BUNDLED, known, 64)
    assert configuration == json.loads((BUNDLED / "albert_config.json").read_text())
    variables = {name: array.astype("float64") for name, array in variables_in(BUNDLED).items()}
    tokens = np.random.default_rng(0).integers(known, size=9)
    inputs = {"token_ids": tokens, "segment_ids": 0 * tokens, "padding_mask": 0 * tokens + 1}
    found = backbone({name: array[None] for name, array in inputs.items()})["sequence_output"]
    expected = google(tokens, 0 * tokens, variables, configuration)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found)[0], expected, atol=1e-4)

    tokenizer = pretrain.make_tokenizer(BUNDLED / "vocab.txt", None, None)
    pretrain.write_encoder(tmp_path, backbone, configuration, tokenizer)
    written = variables_in(tmp_path)
    assert written.keys() == variables.keys()
    for name, array in written.items():
        assert array.dtype == "float16"
        np.testing.assert_array_equal(array, variables[name], err_msg=name)
    for name in ("vocab.txt", "albert_config.json"):
        assert (tmp_path / name).read_text("utf-8") == (BUNDLED / name).read_text("utf-8")
    assert len(list(tmp_path.iterdir())) == 4


def test_positions_that_an_encoder_lacks_repeat_those_it_has():
    backbone, configuration = pretrain.make_encoder(BUNDLED, 8192, 200)
    assert configuration["max_position_embeddings"] == 200
    (weight,) = backbone.get_layer("position_embedding").weights
    table = keras.ops.convert_to_numpy(weight)
    np.testing.assert_array_equal(table[128:], table[:72])


@pytest.mark.slow  # .ci/run pretrains, too
def test_it_pretrains_and_goes_on(text, tmp_path, capsys):
    new, adapted = tmp_path / "new", tmp_path / "adapted"
    pretrain.main([str(text), "--output", str(new), *SMALL, "--vocabulary-size", "60"])
    sizes = {"vocab_size": 60, "max_position_embeddings": 8}
    bundled = json.loads((BUNDLED / "albert_config.json").read_text())
    assert json.loads((new / "albert_config.json").read_text()) == bundled | sizes
    assert variables_in(new).keys() == variables_in(BUNDLED).keys()
    vocabulary = (new / "vocab.txt").read_text().splitlines()
    assert vocabulary[:5] == pretrain.SPECIAL_TOKENS and len(vocabulary) == 60
    assert len((new / "log.csv").read_text().splitlines()) == 2

    still = ["--learning-rate", "1e-9", "--start", str(new)]
    pretrain.main([str(text), str(text), "--output", str(adapted), *SMALL, *still])
    assert (adapted / "vocab.txt").read_bytes() == (new / "vocab.txt").read_bytes()
    before = variables_in(new)
    for name, array in variables_in(adapted).items():
        np.testing.assert_allclose(array, before[name], atol=1e-6, err_msg=name)
    assert "54 documents" in capsys.readouterr().out

    with pytest.raises(SystemExit, match=f"{new} holds an encoder; choose another --output"):
        pretrain.main([str(text), "--output", str(new), *SMALL])


def test_weights_that_are_no_numbers_are_not_written(tokenizer, tmp_path):
    backbone, configuration = pretrain.make_encoder(None, 60, 8)
    backbone.weights[3].assign(np.nan * np.ones(backbone.weights[3].shape))
    with pytest.raises(SystemExit, match=r"NaN.*--learning-rate"):
        pretrain.write_encoder(tmp_path, backbone, configuration, tokenizer)
    assert not list(tmp_path.iterdir())


@tensorflow_only  # nothing here differs between backends
def test_what_a_user_can_cause_is_one_line(text, tmp_path, capsys):
    def told(*options, texts=text, output=tmp_path / "out"):
        with pytest.raises(SystemExit) as ended:
            pretrain.main([str(texts), "--output", str(output), *SMALL, *map(str, options)])
        return ended.value.code

    assert "nothing.txt" in told(texts=tmp_path / "nothing.txt")
    (empty := tmp_path / "empty.txt").write_text(" \n\n")
    assert told(texts=empty) == f"{empty}: there is no text in it"
    (latin := tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    assert "codec can't decode" in told(texts=latin)
    assert "empty.txt" in told(output=empty / "folder")
    assert "vocab.txt" in told("--start", tmp_path / "nowhere")
    assert f"{text}: [PAD], " in told("--vocabulary", text)
    assert "bf16" in told("--dtype-policy", "bf16")

    (start := tmp_path / "start").mkdir()
    vocabulary = start / "vocab.txt"
    vocabulary.write_bytes((BUNDLED / "vocab.txt").read_bytes())
    unusable = f"{start}: no checkpoint of this format, or damaged"
    assert unusable in told("--start", start)
    config = json.loads((BUNDLED / "albert_config.json").read_text())
    (start / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert "hidden_act must be 'gelu'" in told("--start", start)
    (start / "config.json").write_text(json.dumps(config))
    assert unusable in told("--start", start)
    for path in BUNDLED.glob("albert_model*"):
        (start / path.name).write_bytes(path.read_bytes()[: 10**6])
    assert unusable in told("--start", start)
    for path in BUNDLED.glob("albert_model*"):
        (start / path.name).write_bytes(path.read_bytes())
    vocabulary.write_text("\n".join([*pretrain.SPECIAL_TOKENS, "a"]))
    assert "word_embeddings is (8192, 128); expected (6, 128)" in told("--start", start)
    for wrong in ("--max-length=2", "--batch-size=0", "--steps=0", "--warmup=0"):
        assert told(wrong) == 2
        assert "must be" in capsys.readouterr().err.splitlines()[-1]


def test_capitals_count_where_a_vocabulary_has_them(tmp_path):
    for letters, expected in (("a", [5, 5]), ("aA", [6, 5])):
        path = Path(tmp_path, "vocab.txt")
        path.write_text("\n".join([*pretrain.SPECIAL_TOKENS, *letters]) + "\n")
        tokenizer = pretrain.make_tokenizer(path, None, None)
        assert tokenizer.encode("A a").ids[1:-1] == expected

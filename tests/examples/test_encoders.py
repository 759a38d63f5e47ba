"""Encoders of other kinds than ALBERT, from KerasHub and in Hugging Face's format, in use."""

import importlib
import json
import sys
from io import BytesIO
from pathlib import Path

from support.architecture import CheckpointError
from support.data import Corpus
from support.download import find_checkpoint
from support.encoders import Preset, embedding_of, load_encoder, open_encoder, open_whole_encoder
from support.predictor import Predictor
from support.run import run
from support.saving import write_model
from support.served import read_model
from support.settings import Settings
from support.table import DataError
from support.task import Task
from support.tokenizer import encode, load_tokenizer

import keras
import keras_hub
import numpy as np
import pytest
from safetensors.numpy import save_file

import export_onnx
import predict
from backends import skip_where_keras_is_too_old_to_export, tensorflow_only, to_numpy
from saved_models import decisions_of

SIZES = {
    "vocabulary_size": 60,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": 24,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(30)), "##s", "a"]
TEXTS = ["The word1 fox's word2 and a word3", "a", "word4 " * 30, "word5 words"]


def word_piece(kind):
    return kind(vocabulary=WORDS, lowercase=True)


def bytes_pairs(kind):
    letters = [*map(chr, range(97, 123)), "Ġ", "th", "the"]
    entries = ["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>", "<|endoftext|>"]
    return kind(vocabulary={entry: i for i, entry in enumerate(entries)}, merges=["t h", "th e"])


def sentence_piece(kind, **options):
    sentencepiece = pytest.importorskip("sentencepiece", reason="trains a tokenizer")
    model = BytesIO()
    sentences = iter(["the quick brown fox", "a word of the fox"] * 5)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences,
        model_writer=model,
        vocab_size=24,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        **options,
    )
    return kind(proto=model.getvalue())


def write_preset(folder, kind):
    """Write a small preset of KerasHub with random weights; return its backbone."""
    keras.utils.set_random_seed(0)
    sizes, piece = dict(SIZES), {"bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    if kind == "Albert":
        sizes |= {"embedding_dim": 8}
        piece |= {"pad_piece": "<pad>", "unk_piece": "<unk>", "user_defined_symbols": "[MASK]"}
    elif kind == "Electra":
        sizes |= {"embedding_dim": 8, "vocab_size": sizes.pop("vocabulary_size")}
    elif kind == "FNet":
        del sizes["num_heads"]
        piece |= {"pad_piece": "<pad>", "unk_piece": "<unk>", "user_defined_symbols": "[MASK]"}
    elif kind == "DebertaV3":
        piece |= {"pad_piece": "[PAD]", "unk_piece": "[UNK]"}
    tokenizer = getattr(keras_hub.tokenizers, f"{kind}Tokenizer")
    if kind in ("Roberta", "GPT2", "Bart"):
        tokenizer = bytes_pairs(tokenizer)
    elif kind in ("Albert", "DebertaV3", "FNet"):
        tokenizer = sentence_piece(tokenizer, **piece)
    else:
        tokenizer = word_piece(tokenizer)
    backbone = getattr(keras_hub.models, f"{kind}Backbone")(**sizes)
    backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return backbone


def write_distilbert(folder):
    """Write what `transformers` would: a small DistilBERT with random weights."""
    rng = np.random.default_rng(0)
    config = {"model_type": "distilbert", "vocab_size": 60, "dim": 16, "n_layers": 2, "n_heads": 2}
    config |= {"hidden_dim": 32, "max_position_embeddings": 24, "activation": "gelu"}
    sizes = {"q_lin": (16, 16), "k_lin": (16, 16), "v_lin": (16, 16), "out_lin": (16, 16)}
    sizes = {f"attention.{name}": size for name, size in sizes.items()}
    sizes |= {"ffn.lin1": (32, 16), "ffn.lin2": (16, 32)}
    arrays = {
        "embeddings.word_embeddings.weight": rng.normal(0, 0.5, (60, 16)),
        "embeddings.position_embeddings.weight": rng.normal(0, 0.5, (24, 16)),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in ("transformer.layer.0", "transformer.layer.1"):
        norms += [f"{layer}.sa_layer_norm", f"{layer}.output_layer_norm"]
        for name, size in sizes.items():
            arrays[f"{layer}.{name}.weight"] = rng.normal(0, 0.5, size)
            arrays[f"{layer}.{name}.bias"] = rng.normal(0, 0.5, size[:1])
    for name in norms:
        arrays |= {f"{name}.weight": np.ones(16), f"{name}.bias": np.zeros(16)}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    save_file(
        {name: a.astype("float32") for name, a in arrays.items()}, folder / "model.safetensors"
    )


KINDS = ["Bert", "DistilBert", "Electra", "Roberta", "Albert", "DebertaV3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_preset_encodes_like_its_backbone(tmp_path, kind):
    backbone = write_preset(tmp_path, kind)
    source = open_whole_encoder(tmp_path)
    assert (source.variant, source.positions) == (f"{kind}Backbone", 24)
    encoder = load_encoder(source)
    assert embedding_of(encoder).embeddings.shape[0] == 60
    inputs = encode(load_tokenizer(source.vocabulary), TEXTS, 12)
    inputs = {name: inputs[name] for name in source.inputs}
    expected = backbone(inputs)  # of dropout 0.1, which is for training alone
    expected = expected["sequence_output"] if isinstance(expected, dict) else expected
    np.testing.assert_allclose(to_numpy(encoder(inputs)), to_numpy(expected), atol=1e-6)
    trained = [to_numpy(load_encoder(source, 0.5)(inputs, training=True)) for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 0.01
    np.testing.assert_array_equal(*(to_numpy(encoder(inputs, training=True)) for _ in range(2)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Electra"])
def test_a_preset_splits_texts_like_its_preprocessor(tmp_path, kind):
    write_preset(tmp_path, kind)
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(
        str(tmp_path), sequence_length=12
    )
    expected = preprocessor(TEXTS)
    found = encode(load_tokenizer(tmp_path), TEXTS, 12)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], to_numpy(values).astype("int32"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("GPT2", "reads from left to right"),
        ("Bart", "has the inputs decoder_padding_mask.*token_ids, padding_mask and perhaps"),
        ("FNet", "FNetBackbone has the inputs segment_ids, token_ids"),
    ],
)
def test_what_is_no_encoder_is_refused(tmp_path, kind, message):
    write_preset(tmp_path, kind)
    with pytest.raises(CheckpointError, match=f"^{tmp_path}.*{message}"):
        open_whole_encoder(tmp_path)


@pytest.mark.parametrize("damage", ["config.json", "tokenizer.json", "model.weights.h5", "assets"])
def test_a_damaged_preset_says_so(tmp_path, damage):
    write_preset(tmp_path, "Bert")
    if damage == "assets":
        (tmp_path / "assets" / "tokenizer" / "vocabulary.txt").unlink()
    elif damage == "config.json":
        config = json.loads((tmp_path / damage).read_text())
        (tmp_path / damage).write_text(json.dumps(config | {"config": {}}))
    else:
        (tmp_path / damage).write_bytes((tmp_path / damage).read_bytes()[:50])
    with pytest.raises(DataError, match=f"^{tmp_path}.*cannot be loaded"):
        open_whole_encoder(tmp_path)


def test_weights_that_are_no_numbers_and_too_many_tokens(tmp_path):
    backbone = write_preset(tmp_path / "nan", "Bert")
    backbone.token_embedding.embeddings.assign(np.full((60, 16), np.nan))
    backbone.save_to_preset(str(tmp_path / "nan"))
    with pytest.raises(CheckpointError, match="a weight is NaN or infinite"):
        open_whole_encoder(tmp_path / "nan")
    write_preset(tmp_path / "more", "Bert")
    vocabulary = tmp_path / "more" / "assets" / "tokenizer" / "vocabulary.txt"
    vocabulary.write_text("\n".join([*WORDS, *map(str, range(40))]))
    with pytest.raises(CheckpointError, match="77 tokens, and the encoder has vectors for 60"):
        open_whole_encoder(tmp_path / "more")


def test_presets_are_found_by_their_names(tmp_path, monkeypatch):
    """Each package finds in its own cache what it has downloaded before."""
    write_preset(tmp_path / "preset", "Bert")
    handle = keras_hub.models.Backbone.presets["bert_tiny_en_uncased"]["kaggle_handle"]
    *names, version = handle.removeprefix("kaggle://").split("/")
    models = tmp_path.joinpath("kaggle", "models", *names)
    models.mkdir(parents=True)
    (tmp_path / "preset").rename(models / version)
    (models / f"{version}.complete").touch()
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    for name in ("bert_tiny_en_uncased", handle):
        assert find_checkpoint(name) == models / version
    assert isinstance(open_encoder("bert_tiny_en_uncased"), Preset)


def test_addresses_at_hugging_face(tmp_path, monkeypatch):
    from huggingface_hub import constants

    cached = tmp_path / "models--some--encoder"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123")
    (cached / "snapshots").mkdir()
    write_distilbert(cached / "snapshots" / "0123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants", constants, raising=False)
    source = open_encoder("hf://some/encoder")
    assert source.folder == cached / "snapshots" / "0123"
    with pytest.raises(CheckpointError, match=r"hf://no/such could not be downloaded .*by hand"):
        open_encoder("hf://no/such")


def test_a_name_that_is_none_is_a_folder_that_is_not_there():
    with pytest.raises(CheckpointError, match=r"^bert_tinny: there is no such folder.*or a name"):
        open_encoder("bert_tinny")


@pytest.fixture(params=["a KerasHub preset", "Hugging Face's DistilBERT"])
def folder(request, tmp_path):
    path = tmp_path / "encoder"
    if request.param == "a KerasHub preset":
        write_preset(path, "Roberta")
    else:
        write_distilbert(path)
    return path


def task(folder):
    settings = Settings(checkpoint=str(folder), batch_size=2, max_length=8, epochs=1)
    data = Corpus(TEXTS, np.eye(4, 3, dtype="uint8"), ["a", "b", "c"])
    return Task(settings, data, data, data)


@pytest.mark.parametrize(
    "name",
    [
        "fgm",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("gradient_penalty", "r_drop", "bilstm_attention")
        ),
    ],
)
def test_rows_train_and_their_models_are_served(tmp_path, folder, name):
    row, small = importlib.import_module(name), task(folder)
    model = row.build(small)
    before = to_numpy(small.embedding.embeddings)
    batches = row.batches(small) if hasattr(row, "batches") else small.batches()
    history = model.fit(batches, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert np.abs(to_numpy(small.embedding.embeddings) - before).max() > 1e-6
    decisions = decisions_of((0.0, 0.0, 0.0))
    vocabulary = small.source.vocabulary
    write_model(tmp_path / "served", model, vocabulary, small.meaning(name), decisions)
    served = read_model(tmp_path / "served")
    expected = np.asarray(model.predict_on_batch(small.inputs(TEXTS)))
    found = Predictor(served, batch_size=2)(TEXTS)
    np.testing.assert_allclose(found["scores"], expected, atol=1e-5)


def test_from_goemotions_files_to_labels(tmp_path, folder, monkeypatch, capsys):
    """Without a line of names: text, numbers of labels, id of the row."""
    monkeypatch.chdir(tmp_path)
    emotions = ["admiration", "amusement", "anger", "annoyance"]
    Path("emotions.txt").write_text("\n".join(emotions))
    for name in ("train.tsv", "test.tsv"):
        labels = ["0", "0,3", "2"]
        lines = [f'word{i} "word{2 * i}\t{labels[i % 3]}\te{i}wqtt\n' for i in range(11)]
        Path(name).write_text("".join(lines))
    options = ["--train", "train.tsv", "--test", "test.tsv", "--no-header"]
    options += ["--label-names", "emotions.txt", "--epochs", "1", "--max-length", "8"]
    options += ["--checkpoint", "encoder", "--batch-size", "4", "--save", "--output", "out"]
    monkeypatch.setattr(sys, "argv", ["x", *options])
    run("sigmoid")
    settings = json.loads(Path("out", "settings.json").read_text())
    assert "config.json" in settings["files"] and settings["checkpoint"] == "encoder"
    assert "3 labels (admiration, anger, annoyance)" in capsys.readouterr().out
    model = Path("out", "models", "sigmoid-seed0")
    Path("texts.txt").write_text("word1 word2\n\nword3\n")
    monkeypatch.setattr(sys, "argv", ["x", str(model), "texts.txt", "--top", "1"])
    predict.main()
    first, empty, last = capsys.readouterr().out.splitlines()
    assert {first.split("\t")[0], last.split("\t")[0]} <= {*emotions} and not empty


@pytest.mark.slow
@tensorflow_only
def test_it_is_exported_to_onnx(tmp_path, folder, monkeypatch, capsys):
    for package in export_onnx.PACKAGES:
        pytest.importorskip(package)
    small = task(folder)
    model = importlib.import_module("sigmoid").build(small)
    decisions, path = decisions_of((0.0, 0.0, 0.0)), tmp_path / "served"
    write_model(path, model, small.source.vocabulary, small.meaning("x"), decisions)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    monkeypatch.setattr(sys, "argv", ["x", str(path), str(tmp_path / "texts.txt")])
    try:
        export_onnx.main()
    except DataError as error:
        skip_where_keras_is_too_old_to_export(error)
    assert "4 texts: probabilities within " in capsys.readouterr().out
    expected, served = Predictor(read_model(path), 2)(TEXTS), read_model(path)
    served.use_onnx()
    for name, values in Predictor(served, 2)(TEXTS).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-4)


def test_a_saved_tokenizer_of_another_model_is_refused(tmp_path, folder):
    small = task(folder)
    model = importlib.import_module("sigmoid").build(small)
    vocabulary = small.source.vocabulary
    path = tmp_path / "served"
    write_model(path, model, vocabulary, small.meaning("x"), decisions_of((0.0, 0.0, 0.0)))
    changed = next(p for p in path.rglob("*") if p.name in ("vocab.txt", "merges.txt"))
    changed.write_text(changed.read_text() + "\nx y")
    with pytest.raises(DataError, match=f"was not written with this .*{changed.name}"):
        read_model(path)

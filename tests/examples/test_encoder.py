import hashlib
import json
import shutil
from functools import partial
from pathlib import Path

from support import UserError, encoder
from support.encoder import open_encoder
from support.tokens import load_tokens

import keras
import keras_hub
import numpy as np
import pytest

import albert_reference
from albert_checkpoints import CONFIGS, SMALL, random_values, write_folder, write_tensorflow
from backends import to_numpy

IDS = [2, 7, 9, 12, 3]


def outputs_of(built, token_ids, padding=0):
    """The outputs of an encoder for one text without its padding."""
    ids = np.array([token_ids + [0] * padding], "int32")
    mask = np.array([[1] * len(token_ids) + [0] * padding], "int32")
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": mask}
    return to_numpy(built({name: inputs[name] for name in built.input}))[0, : len(token_ids)]


@pytest.mark.parametrize("variant", ["brightmart", "google"])
def test_an_albert_computes_what_its_description_says(tmp_path, variant):
    values, config = write_folder(tmp_path, variant, **SMALL)
    source = open_encoder(str(tmp_path))
    built = source.build(0.0, "float32")
    expected = getattr(albert_reference, variant)(np.array(IDS), np.zeros(5, int), values, config)
    np.testing.assert_allclose(outputs_of(built, IDS), expected, atol=1e-5)
    np.testing.assert_allclose(outputs_of(built, IDS, padding=6), expected, atol=1e-5)
    texts = ["word1 WORD2 word99", ""]
    inputs = source.tokens(texts, 6)
    assert inputs["token_ids"].tolist() == [[2, 6, 7, 1, 3, 0], [2, 3, 0, 0, 0, 0]]
    assert inputs["padding_mask"].tolist() == [[1] * 5 + [0], [1, 1, 0, 0, 0, 0]]
    mixed = source.build(0.1, "mixed_bfloat16")
    assert {layer.compute_dtype for layer in mixed.layers if layer.weights} == {"bfloat16"}
    assert {weight.dtype for weight in mixed.weights} == {"float32"}


@pytest.mark.parametrize(
    ("variant", "published"), [("brightmart", 4_077_496), ("google", 3_982_864)]
)
def test_the_published_number_of_parameters(variant, published):
    config = CONFIGS[variant]
    assert encoder.tiny_albert(config, variant == "google").count_params() == published


def rewritten(folder, **changes):
    path = next(folder.glob("albert_config*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def with_variable(folder, name, value):
    values = random_values("google", CONFIGS["google"] | SMALL)
    values.pop(name)
    write_tensorflow(
        folder / "albert_model.ckpt", values | ({name: value} if value is not None else {})
    )


def test_folders_that_do_not_fit_are_told(tmp_path, checkpoint):
    norm = "bert/embeddings/LayerNorm/beta"
    for number, (spoil, message) in enumerate((
        (lambda f: next(f.glob("albert_config*")).unlink(), "one albert_config"),
        (lambda f: rewritten(f, hidden_act="relu"), "hidden_act is 'relu', expected 'gelu'"),
        (lambda f: rewritten(f, vocab_size=41), "vocab_size is not that of vocab.txt"),
        (lambda f: rewritten(f, intermediate_size=24), r"is \[12, 20\], expected \[12, 24\]"),
        (lambda f: with_variable(f, norm, None), f"{norm} is missing"),
        (lambda f: with_variable(f, norm, np.full(8, np.nan, "float32")), "NaN or infinity"),
        (lambda f: next(f.glob("*.data-*")).unlink(), "is not whole"),
        (lambda f: next(f.glob("*.index")).write_bytes(b"spoilt"), "is not whole"),
        (lambda f: (f / "vocab.txt").unlink(), "tokenizer cannot be loaded"),
        (lambda f: (f / "vocab.txt").write_text("[PAD]\nword"), "tokenizer cannot be loaded"),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        shutil.copytree(checkpoint, folder)
        spoil(folder)
        with pytest.raises(UserError, match=message):
            open_encoder(str(folder))
    with pytest.raises(UserError, match="cannot be loaded"):
        open_encoder(str(tmp_path / "nowhere"))


def test_public_names_are_downloaded_and_compared_with_a_checksum(
    tmp_path, monkeypatch, checkpoint, capsys
):
    archive = shutil.make_archive(str(tmp_path / "albert_tiny"), "zip", checkpoint)
    monkeypatch.setattr(encoder, "SOURCE", f"{tmp_path.as_uri()}/")
    fetch = partial(keras.utils.get_file, cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(keras.utils, "get_file", fetch)
    assert open_encoder("albert_tiny_zh").positions == 16
    assert "no checksum is published" in capsys.readouterr().out
    digest = hashlib.sha256(Path(archive).read_bytes()).hexdigest()
    assert open_encoder("albert_tiny_zh", digest).positions == 16
    with pytest.raises(UserError, match="hash does not match"):
        open_encoder("albert_tiny_zh", "0" * 64)
    with pytest.raises(UserError, match="Fetch it by hand"):
        open_encoder("albert_tiny_zh_google")


def test_a_folder_of_hugging_face(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(
        vocab_size=40,
        intermediate_size=24,
        max_position_embeddings=32,
        hidden_act="gelu_new",
        **sizes,
    )
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(35))]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    source = open_encoder(str(tmp_path))
    found = outputs_of(source.build(0.0, "float32"), IDS, padding=2)
    with torch.no_grad():
        expected = model(torch.tensor([IDS])).last_hidden_state.numpy()[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert source.tokens(["word1"], 4)["token_ids"].tolist() == [[2, 6, 3, 0]]
    source.tokens.tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "vocab.txt").unlink()  # the tokenizer.json alone is read, too
    source = open_encoder(str(tmp_path))
    assert source.tokens(["word1"], 4)["token_ids"].tolist() == [[2, 6, 3, 0]]
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="its tokenizer cannot be loaded"):
        open_encoder(str(tmp_path))


def test_a_preset_of_keras_hub(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "word"]
    tokenizer = keras_hub.tokenizers.BertTokenizer(words, lowercase=True)
    backbone = keras_hub.models.BertBackbone(7, 1, 2, 8, 16, max_sequence_length=16)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer)
    classifier = keras_hub.models.BertTextClassifier(backbone, 2, preprocessor)
    classifier.save_to_preset(str(tmp_path / "preset"))
    source = open_encoder(str(tmp_path / "preset"))
    assert source.positions == 16 and set(source.inputs) == set(encoder.INPUTS)
    inputs = source.tokens(["a Word word", "a"], 4)
    assert inputs["token_ids"].tolist() == [[2, 5, 6, 3], [2, 5, 3, 0]]
    found = outputs_of(source.build(0.0, "float32"), [2, 5, 6, 3])
    expected = outputs_of(
        keras.Model(backbone.input, backbone.output["sequence_output"]), [2, 5, 6, 3]
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (tmp_path / "saved").mkdir()
    source.tokens.save(tmp_path / "saved")
    again = load_tokens(tmp_path / "saved")(["a Word word", "a"], 4)
    assert all(np.array_equal(again[name], inputs[name]) for name in inputs)


def test_capitals_count_where_the_checkpoint_says_so(tmp_path):
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "x", "X"]
    for told, vocabulary, expected in (
        (None, entries, 6), (None, entries[:6], 5), (False, entries, 6), (True, entries, 5),
    ):  # fmt: skip
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
        (tmp_path / "tokenizer_config.json").write_text(
            "{}" if told is None else json.dumps({"do_lower_case": told})
        )
        assert load_tokens(tmp_path)(["X"], 3)["token_ids"].tolist() == [[2, expected, 3]]

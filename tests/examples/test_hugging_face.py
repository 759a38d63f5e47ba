"""Folders in Hugging Face's format, against `transformers`, which writes and reads them."""

import json
import sys

from support.checkpoints import CheckpointError, open_checkpoint
from support.encoders import embedding_of, load_encoder, open_encoder
from support.table import DataError
from support.tokenizer import SPECIAL_TOKENS, encode, load_tokenizer

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer, Tokenizer
from tokenizers.processors import RobertaProcessing

from backends import BACKEND, to_numpy

transformers = pytest.importorskip("transformers", reason="compares with transformers")
torch = pytest.importorskip("torch", reason="compares with transformers on torch")

SIZES = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
DISTILBERT = {
    "vocab_size": 60,
    "dim": 24,
    "n_layers": 2,
    "n_heads": 3,
    "hidden_dim": 40,
    "max_position_embeddings": 20,
}
LENGTHS = (9, 5)


@pytest.fixture
def hugging_face(tmp_path):
    """Write a folder with `transformers`, and return it with the encoder."""

    def write(kind="BertModel", binary=False, **changes):
        torch.manual_seed(0)
        model_class = getattr(transformers, kind)
        sizes = DISTILBERT if kind.startswith("DistilBert") else SIZES
        config = model_class.config_class(**sizes | {"initializer_range": 0.2} | changes)
        model = model_class(config).eval()
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
        model.save_pretrained(tmp_path)
        if binary:
            (tmp_path / "model.safetensors").unlink()
            torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        return tmp_path, model.base_model

    return write


def weights_of(folder):
    return load_encoder(open_encoder(folder)).get_weights()


def texts(segments):
    """Two texts of different lengths; the padding is not zero."""
    rng = np.random.default_rng(1)
    padding_mask = np.array([[place < length for place in range(9)] for length in LENGTHS])
    inputs = {
        "token_ids": rng.integers(4, 60, (2, 9)).astype("int32"),
        "padding_mask": padding_mask.astype("int32"),
    }
    if segments:
        inputs["segment_ids"] = rng.integers(0, segments, (2, 9)).astype("int32")
    return inputs


def expected_of(model, inputs):
    """What `transformers` gives for each text alone, without padding."""
    for row, length in enumerate(LENGTHS):
        names = {"token_ids": "input_ids", "segment_ids": "token_type_ids"}
        given = {
            theirs: torch.tensor(inputs[ours][row : row + 1, :length]).long()
            for ours, theirs in names.items()
            if ours in inputs
        }
        with torch.no_grad():
            yield model(**given).last_hidden_state[0].numpy()


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_act": "gelu"},
        {"hidden_act": "gelu_new"},
        {"kind": "BertForMaskedLM", "hidden_act": "silu"},  # without a pooler
        {"kind": "BertForPreTraining", "layer_norm_eps": 1e-3, "type_vocab_size": 3},
        {"kind": "BertForSequenceClassification", "num_hidden_layers": 1, "binary": True},
        {"kind": "RobertaModel", "hidden_act": "gelu", "layer_norm_eps": 1e-5},
        {"kind": "RobertaForMaskedLM", "hidden_act": "gelu_new", "type_vocab_size": 1},
        {"kind": "RobertaForSequenceClassification", "pad_token_id": 3},
        {"kind": "XLMRobertaModel", "type_vocab_size": 1},
        {"kind": "CamembertForMaskedLM"},
        {"kind": "DistilBertModel"},
        {"kind": "DistilBertForMaskedLM", "activation": "gelu_new", "sinusoidal_pos_embds": True},
        {"kind": "DistilBertForSequenceClassification", "activation": "relu"},
        {"kind": "ElectraModel", "embedding_size": 16},
        {"kind": "ElectraForPreTraining", "embedding_size": 16, "hidden_act": "gelu_new"},
        {"kind": "ElectraForMaskedLM", "embedding_size": 24},
        {"kind": "AlbertModel", "embedding_size": 16, "hidden_act": "gelu"},
        {"kind": "AlbertModel", "embedding_size": 16, "hidden_act": "gelu_new", "binary": True},
        {"kind": "AlbertModel", "embedding_size": 24},  # of one size, and projected all the same
        {"kind": "AlbertForPreTraining", "embedding_size": 16, "hidden_act": "relu"},
        {"kind": "AlbertForMaskedLM", "embedding_size": 16, "layer_norm_eps": 1e-3, "binary": True},
        {"kind": "AlbertModel", "embedding_size": 16, "num_hidden_groups": 2, "inner_group_num": 2},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_it_encodes_like_transformers(hugging_face, options):
    folder, model = hugging_face(**options)
    source = open_encoder(folder)
    assert source.form == "hugging_face"
    encoder = load_encoder(source)
    assert set(source.inputs) == set(encoder.input)
    assert embedding_of(encoder).embeddings.shape[0] == 60
    inputs = texts(source.architecture.segments)
    outputs = to_numpy(encoder(inputs))
    for row, expected in enumerate(expected_of(model, inputs)):
        np.testing.assert_allclose(outputs[row, : LENGTHS[row]], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["gamma", "weight"])
def test_layer_norms_in_the_old_spelling(hugging_face, name):
    from safetensors.torch import load_file, save_file

    folder, _ = hugging_face()
    expected = weights_of(folder)
    weights = load_file(folder / "model.safetensors")
    if name == "gamma":
        for old in [key for key in weights if "LayerNorm" in key]:
            new = old.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
            weights[new] = weights.pop(old)
    weights["embeddings.position_ids"] = torch.arange(20)
    save_file(weights, folder / "model.safetensors")
    for weight, same in zip(weights_of(folder), expected, strict=True):
        np.testing.assert_array_equal(weight, same)


def test_the_longest_text(hugging_face):
    folder, model = hugging_face("RobertaModel")
    source = open_encoder(folder)
    assert source.positions == 18  # two of the 20 belong to no token
    inputs = {
        "token_ids": np.arange(4, 22)[None],
        "segment_ids": np.zeros((1, 18), "int32"),
        "padding_mask": np.ones((1, 18), "int32"),
    }
    with torch.no_grad():
        expected = model(torch.arange(4, 22)[None]).last_hidden_state.numpy()
    found = to_numpy(load_encoder(source)(inputs))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def configured(**changes):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text()) | changes
        kept = {key: value for key, value in config.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (configured(model_type="gpt2"), "model_type is 'gpt2'; of Hugging Face's formats albert"),
        (configured(model_type=None), "model_type is None"),
        (configured(hidden_act="quick_gelu"), "hidden_act is 'quick_gelu'; known are gelu"),
        (configured(is_decoder=True), "is_decoder is True; only False is supported"),
        (configured(position_embedding_type="relative_key"), "'relative_key'; only 'absolute'"),
        (configured(num_hidden_layers=1), r"have no place.*layer\.1\.attention.*says layers 1"),
        (configured(num_hidden_layers=3), r"16 are missing: encoder\.layer\.2\.attention"),
        (configured(num_hidden_layers="2"), "whole number above 0. Received: '2'"),
        (configured(hidden_size=None), "no hidden_size"),
        (configured(intermediate_size=41), r"is \(40, 24\), expected \(41, 24\)"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(hugging_face, damage, message):
    folder, _ = hugging_face()
    damage(folder)
    with pytest.raises(CheckpointError, match=f"(?s)^{folder}.*{message}"):
        open_checkpoint(folder)


WORDS = [*SPECIAL_TOKENS, *"aAbBxX", "##b", "##X", "é", "e", "中", "国"]
SENTENCES = ["a Ab É bb", "XX, [SEP] 中国", "", "x" * 30, "a\u00a0b\t中　国é"]


def write_words(folder, how, lowercase, configuration):
    """Write a WordPiece tokenizer as a file of one kind."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    if how == "tokenizer.json":
        tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lowercase)
        tokenizer.enable_truncation(4)  # what is in the file does not count
        tokenizer.enable_padding(length=7)
        tokenizer.save(str(folder / how))
        (folder / "vocab.txt").unlink()
    if configuration is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(configuration))


def assert_splits_like(tokenizer, theirs, length=8):
    found = encode(tokenizer, SENTENCES, length)
    expected = theirs(SENTENCES, truncation=True, max_length=length, padding="max_length")
    np.testing.assert_array_equal(found["token_ids"], expected["input_ids"])
    np.testing.assert_array_equal(found["padding_mask"], expected["attention_mask"])


@pytest.mark.parametrize("how", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(
    "changes", [{}, {"strip_accents": False}, {"tokenize_chinese_chars": False}]
)
def test_words_are_split_as_transformers_does(tmp_path, how, lowercase, changes):
    folder = tmp_path / "it"
    write_words(folder, how, lowercase, {"do_lower_case": lowercase, **changes})
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert_splits_like(load_tokenizer(folder / how), theirs)


@pytest.mark.parametrize("name", ["BertTokenizer", "PreTrainedTokenizerFast"])
def test_the_configuration_beside_a_tokenizer_file_counts_as_in_transformers(tmp_path, name):
    folder = tmp_path / "it"
    configuration = {"do_lower_case": False, "tokenizer_class": name, "pad_token": "[PAD]"}
    write_words(folder, "tokenizer.json", True, configuration)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert_splits_like(load_tokenizer(folder / "tokenizer.json"), theirs)


def test_bytes_are_split_as_transformers_does(tmp_path):
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(SENTENCES * 9, vocab_size=300, special_tokens=special)
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    whole.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_splits_like(load_tokenizer(tmp_path / "tokenizer.json"), theirs)
    assert encode(load_tokenizer(tmp_path / "tokenizer.json"), [""], 3)["token_ids"][0, 2] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not a file of the tokenizers package, or damaged"), (None, "no two tokens around")],
)
def test_a_tokenizer_file_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "tokenizer.json"
    path.write_text(content or ByteLevelBPETokenizer().to_str())
    with pytest.raises(DataError, match=f"^{path}.*{message}"):
        load_tokenizer(path)


def test_more_tokens_than_vectors_are_refused(hugging_face):
    folder, _ = hugging_face(vocab_size=len(WORDS) - 1)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"17 entries where .*config.json says vocab_size 16"):
        open_encoder(folder)


def test_code_in_a_pickle_is_not_run(tmp_path, hugging_face):
    folder, _ = hugging_face(binary=True)
    torch.save({"x": Touch(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="Code in it is not run; save the model as"):
        load_encoder(open_encoder(folder))
    assert not (tmp_path / "ran").exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


@pytest.mark.skipif(BACKEND == "torch", reason="torch is there")
def test_without_torch_a_pickle_asks_for_it(tmp_path, monkeypatch):
    configuration = {**SIZES, "model_type": "bert", "type_vocab_size": 2}
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CheckpointError, match=r"needs torch. Install it.*or save the model as"):
        load_encoder(open_encoder(tmp_path))


@pytest.mark.parametrize("binary", [False, True])
def test_weights_in_8_bits_are_refused(hugging_face, binary):
    from safetensors.torch import save_file

    folder, model = hugging_face(binary=binary)
    weights = {
        name: (10 * value).round().to(torch.int8) for name, value in model.state_dict().items()
    }
    if binary:
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="is in int8; weights are numbers"):
        load_encoder(open_encoder(folder))


def test_bfloat16_and_float16_are_read(hugging_face):
    folder, model = hugging_face(binary=True)
    expected = weights_of(folder)
    for dtype in (torch.bfloat16, torch.float16):
        lower = {name: value.to(dtype) for name, value in model.state_dict().items()}
        torch.save(lower, folder / "pytorch_model.bin")
        for weight, near in zip(weights_of(folder), expected, strict=True):
            np.testing.assert_allclose(weight, near, atol=0.01)


def test_a_damaged_safetensors_file(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(CheckpointError, match=r"model.safetensors: not a safetensors file, or dam"):
        load_encoder(open_encoder(tmp_path))

import json

from support.albert_tiny import albert_tiny, build
from support.checkpoints import CheckpointError, open_checkpoint
from support.write_checkpoint import write_checkpoint

import keras
import numpy as np
import pytest
import tensorflow as tf

import albert_reference
from albert_checkpoints import (
    CONFIGS,
    SMALL,
    random_values,
    shapes,
    write_folder,
    write_tensorflow,
    write_vocabulary,
)
from backends import to_numpy

LENGTHS = (9, 5)
DATA = "albert_model.ckpt.data-00000-of-00001"


def texts(vocabulary_size):
    """Two texts of different lengths with two segments; the padding is not zero."""
    rng = np.random.default_rng(1)
    padding_mask = np.array([[place < length for place in range(9)] for length in LENGTHS])
    return {
        "token_ids": rng.integers(0, vocabulary_size, (2, 9)).astype("int32"),
        "segment_ids": rng.integers(0, 2, (2, 9)).astype("int32"),
        "padding_mask": padding_mask.astype("int32"),
    }


def assert_encodes_like(encoder, inputs, reference):
    """Compare real tokens with a reference that never sees the padding."""
    outputs = to_numpy(encoder(inputs))
    for i, length in enumerate(LENGTHS):
        expected = reference(inputs["token_ids"][i, :length], inputs["segment_ids"][i, :length])
        np.testing.assert_allclose(outputs[i, :length], expected, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def real_size(tmp_path_factory):
    folders = tmp_path_factory.mktemp("real")
    return {v: (folders / v, *write_folder(folders / v, v)) for v in ("brightmart", "google")}


@pytest.mark.parametrize(
    ("variant", "parameters"), [("brightmart", 4_077_496), ("google", 3_982_864)]
)
def test_the_public_formats_encode_like_the_reference(real_size, variant, parameters):
    folder, values, config = real_size[variant]
    encoder = albert_tiny(folder)
    assert encoder.count_params() == parameters
    forward = getattr(albert_reference, variant)
    assert_encodes_like(
        encoder, texts(21128), lambda tokens, segments: forward(tokens, segments, values, config)
    )


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("brightmart", {"hidden_act": "relu"}),
        ("brightmart", {"num_hidden_layers": 2, "type_vocab_size": 3, "num_attention_heads": 4}),
        ("google", {"num_hidden_groups": 2}),
        ("google", {"inner_group_num": 2, "num_hidden_layers": 3}),
        ("google", {"num_hidden_groups": 2, "inner_group_num": 3, "hidden_act": "relu"}),
        ("google", {"num_hidden_groups": 4, "num_hidden_layers": 6}),
    ],
)
def test_everything_follows_from_the_configuration(tmp_path, variant, changes):
    values, config = write_folder(tmp_path, variant, **SMALL | changes)
    forward = getattr(albert_reference, variant)
    assert_encodes_like(
        albert_tiny(tmp_path),
        texts(40),
        lambda tokens, segments: forward(tokens, segments, values, config),
    )


def test_the_layer_norm_epsilon_follows_from_the_configuration(tmp_path):
    write_folder(tmp_path, "google", **SMALL, layer_norm_eps=0.5)
    encoder = albert_tiny(tmp_path)
    assert encoder.get_layer("embedding_norm").epsilon == 0.5
    assert encoder.get_layer("transformer_layer").layer_norm_epsilon == 0.5


@pytest.mark.parametrize(("variant", "count"), [("brightmart", 31), ("google", 25)])
def test_every_variable_of_the_public_checkpoints_is_used_or_named(real_size, variant, count):
    checkpoint = open_checkpoint(real_size[variant][0])
    everything = set(shapes(variant, CONFIGS[variant]))
    assert len(everything) == count
    assert {*checkpoint.names.values(), *checkpoint.skipped} == everything
    assert all(name.startswith(("bert/pooler", "cls/")) for name in checkpoint.skipped)
    assert "pooler (2)" in checkpoint.note
    assert ("cls (7)" in checkpoint.note) == (variant == "brightmart")


@pytest.mark.parametrize("prefix", ["", "albert/", "module/bert/"])
def test_another_prefix_and_the_optimizer_are_no_obstacle(tmp_path, prefix):
    values = random_values("google", CONFIGS["google"] | SMALL)
    values = {prefix + name.removeprefix("bert/"): value for name, value in values.items()}
    words = f"{prefix}embeddings/word_embeddings"
    slots = {f"{words}/adam_m": values[words], f"{words}/adam_v": values[words]}
    slots["global_step"] = np.array(7, "int64")
    write_folder(tmp_path, "google", values | slots, **SMALL)
    checkpoint = open_checkpoint(tmp_path)
    assert slots.keys() <= set(checkpoint.skipped) and "optimizer (3)" in checkpoint.note
    encoder = albert_tiny(tmp_path)
    np.testing.assert_array_equal(
        to_numpy(encoder.get_layer("token_embedding").embeddings), values[words]
    )


def test_positions_are_cut_to_the_length(tmp_path):
    values, _ = write_folder(tmp_path, "brightmart", **SMALL)
    weight = albert_tiny(tmp_path, max_length=10).get_layer("position_embedding").weights[0]
    np.testing.assert_array_equal(
        to_numpy(weight), values["bert/embeddings/position_embeddings"][:10]
    )
    assert albert_tiny(tmp_path, max_length=99).architecture.positions == 16


def test_a_variant_that_is_not_the_checkpoints_is_refused(tmp_path):
    write_folder(tmp_path, "google", **SMALL)
    assert albert_tiny(tmp_path, "google").architecture.variant == "google"
    with pytest.raises(ValueError, match=r"`variant` is 'google'.*Received: 'brightmart'"):
        albert_tiny(tmp_path, "brightmart")


def without(name):
    def damage(folder):
        values = random_values("brightmart", CONFIGS["brightmart"] | SMALL)
        del values[name]
        write_tensorflow(folder / "albert_model.ckpt", values)

    return damage


def with_another(name):
    def damage(folder):
        values = random_values("brightmart", CONFIGS["brightmart"] | SMALL)
        write_tensorflow(folder / "albert_model.ckpt", values | {name: np.zeros(3, "float32")})

    return damage


def with_values(change, name="bert/embeddings/LayerNorm/beta"):
    def damage(folder):
        values = random_values("brightmart", CONFIGS["brightmart"] | SMALL)
        write_tensorflow(folder / "albert_model.ckpt", values | {name: change(values[name])})

    return damage


def quantized(folder):
    values = random_values("brightmart", CONFIGS["brightmart"] | SMALL)
    scaled = {name: np.round(10 * value).astype("int8") for name, value in values.items()}
    write_tensorflow(folder / "albert_model.ckpt", scaled)


def configured(**changes):
    def damage(folder):
        path = folder / "albert_config_tiny.json"
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    return damage


def content(name, text):
    return lambda folder: (folder / name).write_text(text)


def gone(name):
    return lambda folder: (folder / name).unlink()


def cut(folder):
    data = (folder / DATA).read_bytes()
    (folder / DATA).write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (gone(DATA), r"data-00000-of-00001: there is no such file.*copy the data file beside it"),
        (cut, "not a TensorFlow checkpoint, or damaged.*again"),
        (content("albert_model.ckpt.index", "not an index"), "not a TensorFlow checkpoint"),
        (
            without("bert/encoder/layer_shared/output/dense/bias"),
            "22 variables of the brightmart format, 1 are missing: "
            "bert/encoder/layer_shared/output/dense/bias.*use the configuration",
        ),
        (without("bert/embeddings/word_embeddings"), "one encoder was expected.*Found: bert/emb"),
        (without("bert/embeddings/word_embeddings_2"), "no ALBERT encoder"),
        (
            with_another("bert/encoder/layer_shared/extra/bias"),
            "1 variables have no place.*: bert/encoder/layer_shared/extra/bias",
        ),
        (with_another("bert/adapter/kernel"), "no place.*: bert/adapter/kernel"),
        (
            configured(hidden_size=24),
            r"LayerNorm/beta is \(12,\), expected \(24,\).*Use the configuration",
        ),
        (configured(max_position_embeddings=17), r"is \(16, 12\), expected \(17, 12\)"),
        (configured(num_attention_heads=5), "multiple of the heads. Received: 12 and 5"),
        (configured(num_hidden_groups=2), "one group of one layer. Received: 2 groups"),
        (configured(num_hidden_layers="4"), "whole number above 0. Received: '4'"),
        (configured(intermediate_size=None), "no intermediate_size"),
        (configured(hidden_act="quick"), "hidden_act is 'quick'; known are gelu, relu"),
        (configured(hidden_act=["gelu"]), "hidden_act is .'gelu'.; known are gelu, relu"),
        *(
            (configured(layer_norm_eps=value), f"above 0 and below 1. Received: {value!r}")
            for value in (-1, 0, 1, "1", float("nan"))
        ),
        (configured(num_hidden_layers=True), "whole number above 0. Received: True"),
        (with_values(lambda value: value * np.nan), "LayerNorm/beta holds NaN or infinity"),
        (with_values(lambda value: value / np.float32(0)), "LayerNorm/beta holds NaN or infinity"),
        (quantized, "is in int8; weights are .*not quantized"),
        (configured(ln_type="preln"), "ln_type is 'preln'; only 'postln'"),
        (content("albert_config_tiny.json", "{"), "not JSON"),
        (gone("albert_config_tiny.json"), r"one \*config\*.json.*Found: nothing"),
        (content("config2.json", '{"hidden_size": 12}'), "Found: albert_config_tiny.json, config2"),
        (content("vocab.txt", "[PAD]\n[UNK]\n"), r"2 entries where .* says vocab_size 40"),
        (
            content("vocab.txt", "\n".join(f"word{i}" for i in range(40))),
            r"no entry \[PAD\] and no \[UNK\] and no \[CLS\] and no \[SEP\]",
        ),
        (content("other.index", ""), "several checkpoints .albert_model.ckpt, other"),
        (gone("albert_model.ckpt.index"), "no checkpoint. Expected.*Found: albert_config_tiny"),
    ],
)
def test_a_wrong_checkpoint_says_what_is_wrong(tmp_path, damage, message):
    write_folder(tmp_path, "brightmart", **SMALL)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=f"(?s)^{tmp_path}.*{message}"):
        albert_tiny(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_may_begin_with_a_mark(tmp_path, encoding):
    _, config = write_folder(tmp_path, "google", **SMALL)
    (tmp_path / "albert_config_tiny.json").write_text(json.dumps(config), encoding)
    assert albert_tiny(tmp_path).architecture.hidden == SMALL["hidden_size"]


def test_no_folder_and_no_vocabulary(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such folder.*Give the folder of a checkpoint"):
        albert_tiny(tmp_path / "nothing")
    write_folder(tmp_path, "google", **SMALL)
    (tmp_path / "vocab.txt").unlink()
    albert_tiny(tmp_path)
    with pytest.raises(CheckpointError, match=r"vocab.txt: there is no such file.*copy"):
        _ = open_checkpoint(tmp_path).vocabulary


@pytest.mark.parametrize("damage", [gone(DATA), cut])
def test_an_error_leaves_all_weights_as_they_were(tmp_path, damage):
    write_folder(tmp_path, "brightmart", **SMALL)
    checkpoint = open_checkpoint(tmp_path)
    encoder = build(checkpoint.architecture)
    before = encoder.get_weights()
    damage(tmp_path)
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path).load_into(encoder)
    for weight, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_an_encoder_of_other_sizes_is_not_filled(tmp_path):
    write_folder(tmp_path, "google", **SMALL)
    encoder = albert_tiny(vocabulary_size=40)
    with pytest.raises(ValueError, match=r"hidden=12.*Received an encoder of.*hidden=312"):
        open_checkpoint(tmp_path).load_into(encoder)


@pytest.mark.parametrize("variant", ["brightmart", "google"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_written_is_the_real_format(tmp_path, variant, dtype):
    keras.utils.set_random_seed(0)
    write_vocabulary(tmp_path / "words.txt", 21128)
    encoder = albert_tiny(variant=variant)
    write_checkpoint(encoder, tmp_path / "out", tmp_path / "words.txt", dtype)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "albert_model.ckpt.index", DATA, "albert_config.json", "vocab.txt",
    }  # fmt: skip
    reader = tf.train.load_checkpoint(str(tmp_path / "out" / "albert_model.ckpt"))
    expected = {
        name: shape
        for name, shape in shapes(variant, CONFIGS[variant]).items()
        if not name.startswith(("bert/pooler", "cls/"))
    }
    assert reader.get_variable_to_shape_map() == expected
    assert set(reader.get_variable_to_dtype_map().values()) == {tf.as_dtype(dtype)}
    loaded = albert_tiny(tmp_path / "out")
    assert loaded.architecture == encoder.architecture
    for weight, original in zip(loaded.get_weights(), encoder.get_weights(), strict=True):
        assert weight.dtype == "float32"
        np.testing.assert_array_equal(weight, original.astype(dtype))


def test_groups_are_written_and_a_second_writing_replaces_the_first(tmp_path):
    values, _ = write_folder(tmp_path / "in", "google", **SMALL, num_hidden_groups=2)
    encoder = albert_tiny(tmp_path / "in")
    for weight in encoder.weights:
        weight.assign(np.zeros(weight.shape))
    for source in (encoder, albert_tiny(tmp_path / "in")):
        write_checkpoint(source, tmp_path / "out", tmp_path / "in" / "vocab.txt")
    reader = tf.train.load_checkpoint(str(tmp_path / "out" / "albert_model.ckpt"))
    for name in reader.get_variable_to_shape_map():
        np.testing.assert_array_equal(reader.get_tensor(name), values[name])


def test_a_vocabulary_of_another_length_is_not_written(tmp_path):
    write_vocabulary(tmp_path / "words.txt", 41)
    with pytest.raises(CheckpointError, match="41 entries where the encoder says vocab_size 40"):
        write_checkpoint(albert_tiny(vocabulary_size=40), tmp_path / "out", tmp_path / "words.txt")
    assert not (tmp_path / "out").exists()


def test_a_loaded_encoder_is_saved_with_its_activation(tmp_path):
    write_folder(tmp_path, "brightmart", **SMALL)
    encoder = albert_tiny(tmp_path)
    encoder.save(tmp_path / "encoder.keras")
    again = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(
        to_numpy(again(texts(40))), to_numpy(encoder(texts(40))), rtol=0, atol=1e-6
    )

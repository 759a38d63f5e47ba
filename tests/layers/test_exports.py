"""All layers in one exported model, in every format and policy."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from backends import BACKEND, skip_where_keras_is_too_old_to_export, tensorflow_only, to_numpy
from keras_mlc.layers import (
    AttentionPooling,
    FineGrainedSoftmaxHead,
    LabelThresholds,
    ScoreCalibration,
    TextCNNHead,
)

slow = pytest.mark.slow
# Where a format is missing, Keras cannot export to it, whatever the layers: LiteRT multiplies no
# matrices in half precision, and ONNX Runtime knows hardly any operation in bfloat16.
EXPORTED = {
    "tensorflow": [
        ("float32", "tf_saved_model"),
        ("float32", "onnx"),
        ("float32", "litert"),
        pytest.param("mixed_float16", "tf_saved_model", marks=slow),
        ("mixed_float16", "onnx"),
        pytest.param("mixed_bfloat16", "tf_saved_model", marks=slow),
    ],
    "jax": [pytest.param("float32", "tf_saved_model", marks=slow)],
    "torch": [],
}[BACKEND]
TOLERANCES = {"float32": 1e-5, "mixed_float16": 4e-3, "mixed_bfloat16": 3e-2}
LABELS = 4
TEXTS = [
    [[1, 2, 3, 0, 0], [0, 0, 0, 0, 0], [4, 5, 6, 1, 2], [0, 3, 0, 0, 5]],
    [[3, 4, 0]],
    [[0, 0]],
    [[6]],
]


@functools.cache
def everything(policy):
    """Return a model of all layers, from token ids of which 0 is padding."""
    made = {"dtype": policy}
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    steps = keras.layers.Embedding(7, 6, mask_zero=True, **made)(tokens)
    pooled, attention = AttentionPooling(5, **made)(steps, return_attention_scores=True)
    # The activation is not 0 at 0: masked steps would show.
    features = TextCNNHead(filters=2, kernel_sizes=3, conv_activation="sigmoid", **made)(steps)
    scores = TextCNNHead(LABELS, filters=3, kernel_sizes=2, **made)(steps)
    both = keras.layers.Concatenate(**made)([pooled, features])
    levels = FineGrainedSoftmaxHead(3, (4, 1, 2), **made)(both)
    logits = FineGrainedSoftmaxHead(2, (1, 3), activation=None, **made)(steps)
    decisions = LabelThresholds(**made), ScoreCalibration(**made)
    labels, probabilities = (layer(scores) for layer in decisions)
    outputs = {
        "pooled": pooled,
        "attention": attention,
        "features": features,
        "scores": scores,
        "levels": levels,
        "logits": logits,
        "labels": labels,
        "probabilities": probabilities,
    }
    model = keras.Model(tokens, outputs)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    held_out = answers(model, rng.integers(0, 7, (60, 5)))["scores"]
    truth = held_out + rng.normal(size=held_out.shape) > np.median(held_out)
    for layer in decisions:
        layer.adapt(held_out, truth)
    return model


def answers(model, tokens):
    outputs = model(ops.convert_to_tensor(tokens, "int32"), training=False)
    return {name: to_numpy(ops.cast(output, "float32")) for name, output in outputs.items()}


def exported(model, kind, folder):
    """Return a function that answers as the exported model does."""
    model.predict_on_batch(np.array(TEXTS[0]))  # Keras exports what was called.
    path = str(folder / {"litert": "model.tflite"}.get(kind, kind))
    try:
        model.export(path, format=kind, verbose=False)
    except ValueError as error:
        skip_where_keras_is_too_old_to_export(error)
    if kind == "tf_saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(path)
        return lambda tokens: {
            name: tf.cast(output, "float32").numpy()
            for name, output in loaded.serve(tokens).items()
        }
    if kind == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(path)
        names = [output.name for output in session.get_outputs()]
        return lambda tokens: dict(zip(names, session.run(None, {"tokens": tokens}), strict=True))
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(path)
    runner = interpreter.get_signature_runner()
    return lambda tokens: runner(tokens=tokens)


@pytest.mark.parametrize(("policy", "kind"), EXPORTED)
def test_answers_as_keras_does(policy, kind, tmp_path):
    model = everything(policy)
    check(model, exported(model, kind, tmp_path), TOLERANCES[policy])


@slow
@tensorflow_only
@pytest.mark.parametrize(
    ("policy", "kind", "message"),
    [
        ("mixed_bfloat16", "onnx", "bfloat16"),
        ("mixed_float16", "litert", "Select TensorFlow op"),
        ("mixed_bfloat16", "litert", "Select TensorFlow op"),
    ],
)
def test_refused_where_the_format_lacks_the_dtype(policy, kind, message, tmp_path):
    with pytest.raises(Exception, match=message):
        exported(everything(policy), kind, tmp_path)(np.array(TEXTS[0], "int32"))


def check(model, answer, tolerance):
    for texts in TEXTS:
        tokens = np.array(texts, "int32")
        expected, found = answers(model, tokens), answer(tokens)
        assert set(found) == set(expected)
        for name, values in expected.items():
            assert np.isfinite(found[name]).all(), (name, texts)
            np.testing.assert_allclose(found[name], values, tolerance, tolerance, err_msg=name)


@tensorflow_only
def test_a_batch_without_steps(tmp_path):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    steps = keras.layers.Embedding(7, 6)(tokens)
    model = keras.Model(tokens, {"scores": TextCNNHead(3, filters=2)(steps)})
    answer = exported(model, "onnx", tmp_path)
    for number in (0, 1, 5):
        tokens = np.ones((2, number), "int32")
        expected = answers(model, tokens)["scores"]
        np.testing.assert_allclose(answer(tokens)["scores"], expected, atol=1e-5)


@pytest.mark.skipif(BACKEND != "jax", reason="needs JAX")
def test_sizes_that_are_symbols():
    from jax import ShapeDtypeStruct, export, jit

    batch, steps = export.symbolic_shape("batch, steps")
    symbols = ShapeDtypeStruct((batch, steps, 6), "float32"), ShapeDtypeStruct((batch, steps), bool)
    rng = np.random.default_rng(0)
    inputs, mask = rng.normal(size=(3, 5, 6)).astype("float32"), rng.random((3, 5)) < 0.5
    for layer in (AttentionPooling(5), TextCNNHead(3, filters=2, kernel_sizes=2)):
        expected = to_numpy(layer(inputs, mask=mask))
        call = jit(lambda inputs, mask, layer=layer: layer(inputs, mask=mask))
        found = export.export(call)(*symbols).call(inputs, mask)
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5, atol=1e-6)


@tensorflow_only
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_in_float32_for_an_export(policy):
    model = everything(policy)
    served = keras.models.model_from_json(model.to_json().replace(policy, "float32"))
    served.set_weights(model.get_weights())
    assert {layer.compute_dtype for layer in served.layers} <= {"float32", "int32"}
    check(served, lambda tokens: answers(model, tokens), TOLERANCES[policy])

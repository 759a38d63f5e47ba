"""What a compiled step must not contain: anything as large as the matrix, and any sort."""

import keras
import pytest
from keras import layers

from backends import BACKEND, tensorflow_only
from keras_mlc.losses import (
    GradientPenaltyLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
)
from keras_mlc.metrics import MultilabelF1Score
from keras_mlc.training import (
    FGMTrainer,
    FreeLBTrainer,
    GradientPenaltyTrainer,
    PGDTrainer,
    VATTrainer,
)
from training.fgm_models import LABELS, TOKENS

WORDS, FEATURES = 50_021, 7
TRAINERS = {
    "FGM": lambda model: FGMTrainer(model, "tokens", clean_weight=0.5),
    "FGM, a text": lambda model: FGMTrainer(model, "tokens", norm="sample"),
    "PGD": lambda model: PGDTrainer(model, "tokens"),
    "FreeLB": lambda model: FreeLBTrainer(model, "tokens", norm="batch"),
    "VAT": lambda model: VATTrainer(model, "tokens"),
    "penalty": lambda model: GradientPenaltyTrainer(model, "tokens"),
}

LOSSES = {
    "sparse": SparseMultilabelCategoricalCrossentropy(),
    "R-Drop": RDropLoss(MultilabelCategoricalCrossentropy(), alpha=0.0, from_logits=True),
}


def model_with(dropout=0.0, features=FEATURES):
    keras.utils.set_random_seed(1)
    tokens = keras.Input((4,), dtype="int32")
    vectors = layers.Embedding(WORDS, features, name="tokens")(tokens)
    outputs = layers.GlobalAveragePooling1D()(vectors)
    for _ in range(2 if dropout else 0):
        outputs = layers.Dropout(dropout)(layers.Dense(16)(outputs))
    return keras.Model(tokens, layers.Dense(2)(outputs))


def compiled(model, loss="mse", **options):
    model.compile("sgd", loss, **options)
    model.train_on_batch(TOKENS, LABELS)
    return model


@tensorflow_only
@pytest.mark.parametrize("name", ["FGM, a text", "FreeLB", "penalty"])
def test_fit_traces_a_step_once(name):
    trainer = TRAINERS[name](model_with())
    traced, step = [], trainer.train_step
    trainer.train_step = lambda data: traced.append(data) or step(data)
    metrics = [keras.metrics.BinaryAccuracy(), MultilabelF1Score()]
    trainer.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), metrics=metrics)
    for _ in range(2):
        trainer.fit(TOKENS, LABELS, batch_size=len(TOKENS), verbose=0)
    assert len(traced) == 1


@tensorflow_only
@pytest.mark.parametrize("name", ["FGM", "FGM, a text", "PGD", "penalty"])
def test_the_perturbed_matrix_is_never_built(name):
    import tensorflow as tf

    trainer = compiled(TRAINERS[name](model_with()))

    def step(x, y):
        return trainer.train_step((x, y))

    graph = tf.function(step).get_concrete_function(tf.constant(TOKENS), tf.constant(LABELS)).graph
    large = [
        operation.type
        for operation in graph.get_operations()
        for output in operation.outputs
        if output.shape.rank == 2 and output.shape[0] == WORDS
    ]
    assert set(large) <= {"ReadVariableOp", "Identity"}
    # In a variable whose rows are updated each read of the whole is a copy; a gather of rows would
    # make it one where they are not.
    assert large.count("ReadVariableOp") == 1
    assert not any("ResourceGather" in operation.type for operation in graph.get_operations())


@pytest.mark.skipif(BACKEND != "jax", reason="reads what JAX traces")
@pytest.mark.parametrize("name", ["FGM, a text", "PGD", "VAT"])
def test_no_more_arrays_as_large_as_the_matrix_than_in_a_plain_step(name):
    import jax

    def large(model):
        state = model._get_jax_state(
            trainable_variables=True,
            non_trainable_variables=True,
            optimizer_variables=True,
            metrics_variables=True,
        )
        program = jax.make_jaxpr(model.train_step)(state, (TOKENS, LABELS))
        return str(program).count(f"f32[{WORDS},{FEATURES}]")

    plain = large(compiled(model_with()))
    # A derivative through the look-up is a pass of the plain step, so VAT has two of them.
    assert large(compiled(TRAINERS[name](model_with()))) <= (3 if name == "VAT" else 1.3) * plain


@tensorflow_only
@pytest.mark.parametrize(
    "name",
    [
        *("FGM", "penalty", "sparse", "R-Drop"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "FGM, a text",
                "PGD",
                "FreeLB",
                "VAT",
                "penalty, loss",
            )
        ),
    ],
)
def test_nothing_sorts_and_the_generator_is_called(name):
    """Beside a sort XLA draws random numbers bit by bit, at many times the cost of the step."""
    import tensorflow as tf

    model = model_with(dropout=0.1, features=16)
    if name in LOSSES:
        # under XLA no pairs are asserted
        trainer = compiled(model, LOSSES[name], jit_compile=True)
    elif name == "penalty, loss":
        loss = GradientPenaltyLoss("mse", model.get_layer("tokens"))
        trainer = compiled(model, loss)
    else:
        trainer = compiled(TRAINERS[name](model))

    @tf.function(jit_compile=True, autograph=False)
    def step(x, y):
        return trainer.train_step((x, y))

    text = step.experimental_get_compiler_ir(tf.constant(TOKENS), tf.constant(LABELS))(
        stage="optimized_hlo"
    )
    assert "sort(" not in text.lower() and "topk" not in text.lower()
    assert "rng" in text


@tensorflow_only
def test_all_passes_draw_the_same_numbers_once():
    """All of them read a seed from one tensor, by which a graph knows that draws are the same."""
    import tensorflow as tf

    trainer = compiled(TRAINERS["PGD"](model_with(dropout=0.1)), jit_compile=False)

    def step(x, y):
        return trainer.train_step((x, y))

    graph = tf.function(step).get_concrete_function(tf.constant(TOKENS), tf.constant(LABELS)).graph
    drawn_by = set()
    for operation in graph.get_operations():
        if operation.type == "StatelessRandomGetKeyCounter":
            while operation.type != "ReadVariableOp":
                operation = operation.inputs[0].op
            drawn_by.add(operation.name)
    assert len(drawn_by) == 2  # for two dropouts

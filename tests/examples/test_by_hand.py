"""The passes that benchmarks/step_cost.py compares with do what the trainers do."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from measure import albert_tiny
from step_cost import BY_HAND, TRAINERS, by_hand, taking_steps, with_second_derivatives

VOCABULARY, LABELS, SHAPE = 50, 3, (4, 6)


def classifier():
    keras.utils.set_random_seed(1)
    encoder = albert_tiny(VOCABULARY, num_layers=1, hidden_dim=12, intermediate_dim=16)
    scores = keras.layers.Dense(LABELS, name="scores")(encoder.output["sequence_output"][:, 0])
    return keras.Model(encoder.input, scores)


def change(model):
    """Return by how much a step of SGD changes each weight."""
    rng = np.random.default_rng(0)
    x = {
        "token_ids": rng.permutation(VOCABULARY)[: np.prod(SHAPE)].reshape(SHAPE),
        "segment_ids": np.zeros(SHAPE, "int32"),
        "padding_mask": np.ones(SHAPE, "int32"),
    }
    y = rng.integers(0, 2, (SHAPE[0], LABELS))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    weights = {v.path: v for v in model.trainable_variables}
    before = {path: np.array(keras.ops.convert_to_numpy(v)) for path, v in weights.items()}
    take = taking_steps(model, x, y, loss, False, optimizer=keras.optimizers.SGD(1.0))
    model.run_eagerly = keras.backend.backend() == "tensorflow"  # tracing takes most of the time
    with_second_derivatives(take)()
    return {path: keras.ops.convert_to_numpy(v) - before[path] for path, v in weights.items()}


@pytest.fixture(scope="module")
def plain():
    return change(classifier())


@pytest.mark.parametrize("name", TRAINERS)
def test_the_passes_by_hand_change_the_weights_as_the_trainer_does(name, plain):
    by_trainer = change(TRAINERS[name](classifier()))
    hand = change(getattr(by_hand, BY_HAND[name])(classifier()))
    assert by_trainer.keys() == hand.keys() == plain.keys()
    far = max(np.max(np.abs(by_trainer[path] - plain[path])) for path in plain)
    near = max(np.max(np.abs(by_trainer[path] - hand[path])) for path in plain)
    print(name, "plain to trainer", far, "trainer to by hand", near)
    assert near < 1e-5 < 1e-3 < far

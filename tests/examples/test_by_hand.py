"""The passes that benchmarks/step_cost.py compares with do what the trainers do."""

import sys
from pathlib import Path

from support.albert_tiny import build
from support.architecture import Architecture

import keras
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from step_cost import BY_HAND, TRAINERS, by_hand, taking_steps, with_second_derivatives

SMALL = Architecture(vocabulary_size=50, embedding=8, hidden=12, layers=1, heads=2, feed_forward=16)
LABELS, SHAPE = 3, (4, 6)


def classifier():
    keras.utils.set_random_seed(1)
    encoder = build(SMALL)
    return keras.Model(
        encoder.input, keras.layers.Dense(LABELS, name="scores")(encoder.output[:, 0])
    )


def change(model):
    """Return by how much a step of SGD changes each weight."""
    rng = np.random.default_rng(0)
    x = {
        "token_ids": rng.permutation(SMALL.vocabulary_size)[: np.prod(SHAPE)].reshape(SHAPE),
        "segment_ids": np.zeros(SHAPE, "int32"),
        "padding_mask": np.ones(SHAPE, "int32"),
    }
    y = rng.integers(0, 2, (SHAPE[0], LABELS))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    weights = {v.path: v for v in model.trainable_variables}
    before = {path: np.array(keras.ops.convert_to_numpy(v)) for path, v in weights.items()}
    take = taking_steps(model, x, y, loss, False, optimizer=keras.optimizers.SGD(1.0))
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

"""What must hold of the private names of Keras that the library relies on."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND, tensorflow_only
from keras_mlc import _keras_internals


def model_of(**options):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)], **options)
    model.compile("sgd", "mse", metrics=["mae"])
    return model


X, Y = np.ones((4, 2), "float32"), np.ones((4, 3), "float32")


def test_children_are_the_layers_in_attributes_lists_and_models():
    class Holder(layers.Layer):
        def __init__(self):
            super().__init__()
            self.one, self.several = layers.Dense(1), [layers.Dense(2), layers.Dense(3)]
            self.one.inner = layers.Dense(4)

    holder = Holder()
    assert _keras_internals.children(holder) == [holder.one, *holder.several]


def test_masks_go_with_tensors_to_the_next_layer():
    tensor = ops.ones((2, 3, 1))
    assert _keras_internals.mask_of(tensor) is None
    _keras_internals.with_mask(tensor, ops.convert_to_tensor([[True, False, False]] * 2))
    assert _keras_internals.mask_of(tensor) is not None
    tensor = layers.Masking()(tensor)
    assert _keras_internals.mask_of(tensor) is not None
    embedded = layers.Embedding(3, 2, mask_zero=True)(ops.convert_to_tensor([[1, 0]]))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(_keras_internals.mask_of(embedded)), [[True, False]]
    )


def test_the_loss_of_a_batch_also_by_an_old_signature():
    class Old(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return ops.sum(y_pred)

    for model, expected in (
        (model_of(), 4.0),
        (Old([keras.Input((2,)), layers.Dense(3)]), 36.0),
    ):
        model.compile("sgd", "mse")
        _keras_internals.build_symbolically(model, (X, Y))
        loss = _keras_internals.compute_loss(
            model, X, ops.convert_to_tensor(Y), ops.ones((4, 3)) * 3, None, training=True
        )
        assert float(loss) == expected


def test_what_is_tracked_is_reported_as_the_loss():
    model = model_of()
    _keras_internals.build_symbolically(model, (X, Y))
    _keras_internals.track_loss(model, ops.convert_to_tensor(2.0), 3)
    _keras_internals.track_loss(model, ops.convert_to_tensor(6.0), 1)
    assert float(model.metrics[0].result()) == 3.0


def test_a_symbolic_build_builds_metrics_and_optimizer():
    model = model_of()
    _keras_internals.build_symbolically(model, (X, Y))
    assert model.optimizer.built
    assert [metric.name for metric in model.metrics] == ["loss", "compile_metrics"]


def test_the_arguments_of_compile():
    model = model_of()
    found = _keras_internals.compile_arguments(model)
    other = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    other.compile(**found)
    assert found["optimizer"] is model.optimizer is other.optimizer
    assert (found["loss"], found["metrics"]) == ("mse", ["mae"])


def test_a_model_is_compiled_like_another_for_a_while():
    trainer, model = model_of(), keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    with _keras_internals.compiled_like(model, trainer):
        assert model.compiled and model.optimizer is trainer.optimizer
        assert model.evaluate(X, Y, verbose=0, return_dict=True).keys() == {"loss", "mae"}
    assert not model.compiled and model.metrics == []


@pytest.mark.skipif(BACKEND != "jax", reason="only there values are taken away")
def test_values_that_the_trainer_on_jax_takes_away_come_back():
    model = model_of()
    variable = model.layers[0].kernel
    value = variable.value
    model._get_jax_state(trainable_variables=True, purge_model_variables=True)
    assert variable._value is None
    _keras_internals.give_value_back(variable, value)
    assert variable.value is value
    _keras_internals.give_value_back(variable, value + 1)
    assert variable.value is value


def test_activations_are_marked():
    tensor = ops.convert_to_tensor([[1.0, 2.0]])
    assert not _keras_internals.is_marked_as_activated(tensor)
    activated = layers.Activation("sigmoid")(tensor)
    assert BACKEND == "jax" or _keras_internals.is_marked_as_activated(activated)


@tensorflow_only
def test_a_symbolic_build_has_a_graph_of_its_own():
    import tensorflow as tf

    found = []

    class Looks(keras.losses.Loss):
        def call(self, y_true, y_pred):
            found.append(_keras_internals.builds_symbolically(tf.compat.v1.get_default_graph()))
            return ops.mean(y_pred, axis=-1)

    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    model.compile("sgd", Looks(), metrics=["mae"])
    _keras_internals.build_symbolically(model, (X, Y))
    assert found and all(found)
    found.clear()
    model.fit(X, Y, verbose=0)
    assert found and not any(found)


def test_shapes_are_inferred_without_data():
    found = []

    class Looks(keras.losses.Loss):
        def call(self, y_true, y_pred):
            found.append(_keras_internals.infers_shapes())
            return ops.mean(y_pred, axis=-1)

    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    model.compile("sgd", Looks(), metrics=["mae"])
    _keras_internals.build_symbolically(model, (X, Y))
    assert found and all(found)
    found.clear()
    model.fit(X, Y, verbose=0)
    assert not found[-1]


def test_callbacks_know_which_metrics_are_maximized():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    metric = keras.metrics.MeanMetricWrapper(lambda y_true, y_pred: y_pred[:, 0], name="score")
    _keras_internals.higher_is_better(metric)
    model.compile("sgd", "mse", metrics=[metric])
    stopping = keras.callbacks.EarlyStopping("val_score", mode="auto")
    model.fit(X, Y, validation_data=(X, Y), callbacks=[stopping], verbose=0)
    assert stopping.monitor_op is ops.greater

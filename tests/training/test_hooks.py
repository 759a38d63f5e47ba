"""While a pass lasts, calls of an embedding layer go elsewhere: those of one thread alone."""

import threading

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND, to_numpy
from keras_mlc.training import FGMTrainer, PGDTrainer
from training.fgm_models import LABELS, TOKENS, same, text_model, train, trainer_of, values

EAGER = {"run_eagerly": True}
sees_values = pytest.mark.skipif(BACKEND == "jax", reason="JAX traces gradients also eagerly")
NAMES = {"call", "quantized_call", "rematerialized_call"}


def mean_squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def test_the_layer_is_itself_again_also_after_an_error():
    model, passes = text_model(), []
    layer = model.get_layer("tokens")

    def loss(y_true, y_pred):
        if "call" in vars(layer):
            passes.append(y_pred)
        if len(passes) == 2:
            raise ArithmeticError("in the second pass")
        return mean_squared_error(y_true, y_pred)

    trainer = trainer_of(model)
    trainer.compile("sgd", loss, **EAGER)
    before = values(model.variables)
    with pytest.raises(ArithmeticError, match="in the second pass"):
        trainer.train_on_batch(TOKENS, LABELS)
        trainer.train_on_batch(TOKENS, LABELS)
    assert not NAMES & set(vars(layer)) and not NAMES & set(vars(model))
    same(values(model.variables), before, 1e-1)


def test_a_call_of_the_layers_own_instance_comes_back():
    after = []
    for is_own in (False, True):
        model = text_model()
        layer = model.get_layer("tokens")
        if is_own:
            own = vars(layer)["call"] = lambda inputs, look_up=layer.call: look_up(inputs)
        train(trainer_of(model))
        assert not is_own or vars(layer)["call"] is own
        after.append(values(model.variables))
    same(*after)


@sees_values
def test_another_thread_may_predict_in_the_middle_of_a_step():
    model = text_model()
    expected, found = to_numpy(model(TOKENS)), []

    def loss(y_true, y_pred):
        thread = threading.Thread(target=lambda: found.append(to_numpy(model(TOKENS))))
        thread.start()
        thread.join()
        return mean_squared_error(y_true, y_pred)

    trainer = trainer_of(model, epsilon=10.0)
    trainer.compile(keras.optimizers.SGD(0.0), mean_squared_error, **EAGER)
    trainer.train_on_batch(TOKENS, LABELS)
    trainer.compile(keras.optimizers.SGD(0.0), loss, **EAGER)
    trainer.built = True
    trainer.train_on_batch(TOKENS, LABELS)
    assert len(found) >= 2
    same(found, [expected] * len(found))


@sees_values
def test_two_threads_may_train_what_shares_an_embedding():
    """Both are in the middle of a pass at once, and each has its own shifts."""
    shared = layers.Embedding(7, 3, name="tokens")
    barrier, after = threading.Barrier(2, timeout=60), {}

    class Meet(layers.Layer):
        def call(self, inputs):
            if threading.current_thread() is not threading.main_thread():
                barrier.wait()
            return inputs

    def run(number):
        model = models[number]
        trainer = FGMTrainer(model, "tokens", epsilon=number + 1.0)
        trainer.compile(keras.optimizers.SGD(0.0), "mse", **EAGER)
        trainer.built = True
        point = trainer._at(_forward(trainer), values_of(trainer), [])
        norm = trainer._norm_at(_forward(trainer), point)
        rows = norm.scaled(norm.rows(point.slopes), trainer.epsilon)
        moved = trainer._at(_forward(trainer), values_of(trainer), [], norm.shifts(rows))
        after[number] = to_numpy(moved.found.loss)

    models = [text_model(Meet(), embedding=shared) for _ in range(2)]
    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = dict(after)
    for number in range(2):
        run(number)
    same(together, {number: after[number] for number in together}, 1e-6)
    assert not NAMES & set(vars(shared))


def _forward(trainer):
    from keras_mlc.training._forward import Forward

    return Forward(trainer, (TOKENS, ops.convert_to_tensor(LABELS)))


def values_of(trainer):
    return {id(v): v.value for v in trainer.trainable_variables}


def test_looking_up_more_often_in_a_later_pass_is_an_error():
    calls = []

    class Moody(keras.Model):
        def __init__(self):
            super().__init__()
            self.tokens, self.scores = layers.Embedding(7, 3, name="tokens"), layers.Dense(2)
            self(TOKENS)

        def call(self, inputs):
            calls.append(inputs)
            vectors = sum(self.tokens(inputs) for _ in calls)
            return self.scores(ops.mean(vectors, axis=1))

    model = Moody()
    trainer = FGMTrainer(model, "tokens")
    trainer.compile("sgd", "mse", **EAGER)
    before = values(model.variables)
    with pytest.raises(Exception, match=r"in the first pass.*times in a later pass"):
        trainer.train_on_batch(TOKENS, LABELS)
    same(values(model.variables), before)


@pytest.mark.parametrize("options", [EAGER, {}], ids=["eager", "compiled"])
def test_two_threads_may_fit_at_once(options):
    """What each thread's `fit` does is what it does alone, though both are in it together."""

    def trainer(number):
        model = text_model(activation="tanh")
        trainer = PGDTrainer(model, "tokens", epsilon=0.2 * (number + 1), steps=2)
        trainer.compile(keras.optimizers.SGD(0.5), "mse", **options)
        return trainer

    def fit(trainer):
        barrier.wait()
        trainer.fit(TOKENS, LABELS, batch_size=4, epochs=2, shuffle=False, verbose=0)

    trainers = [trainer(number) for number in (0, 1, 0, 1)]
    for pair in (trainers[:2], trainers[2:3], trainers[3:]):
        barrier = threading.Barrier(len(pair), timeout=60)
        threads = [threading.Thread(target=fit, args=(each,)) for each in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [values(each.model.variables) for each in trainers]
    same(found[0], found[2], 1e-6)
    same(found[1], found[3], 1e-6)
    assert np.any(found[0][0] != found[1][0])

"""Every trainer that perturbs, against NumPy and finite differences; what its norms promise."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import reference
from backends import BACKEND
from keras_mlc.training import FGMTrainer, FreeLBTrainer, PGDTrainer, VATTrainer
from keras_mlc.training.vat import PROBE, divergence_of
from training.fgm_models import LABELS, TOKENS, noisy_model, same, text_model, train, values
from training.test_fgm import EAGER, GRAPH, XLA, float64  # noqa: F401

PADDED = np.array([[3, 1, 1, 0], [4, 1, 0, 0], [2, 2, 2, 5]])  # 0 is padding
NORMS = ["batch", "sample"]
WORDS, FEATURES, RATE = 7, 2, 0.25
TRAINERS = {"FGM": FGMTrainer, "PGD": PGDTrainer, "FreeLB": FreeLBTrainer, "VAT": VATTrainer}


class Problem:
    """A model, and its objective in NumPy as a function of its weights and of a shift."""

    def __init__(self):
        keras.utils.set_random_seed(1)
        rng = np.random.default_rng(2)
        self.labels = rng.integers(-8, 8, (3, 3)) / 8
        inputs = keras.Input((4,), dtype="int32")
        outputs = layers.Embedding(WORDS, FEATURES, mask_zero=True, name="tokens")(inputs)
        outputs = layers.GlobalAveragePooling1D()(layers.Activation("tanh")(outputs))
        self.model = keras.Model(inputs, layers.Dense(3)(outputs))
        for variable in self.model.trainable_variables:
            variable.assign(rng.normal(0, 0.5, variable.shape))
        self.noise = rng.normal(size=(3, 4, FEATURES))

    def scores(self, matrix, kernel, bias, shift=0.0):
        is_text = (PADDED != 0)[..., None]
        vectors = np.tanh(matrix[PADDED] + shift) * is_text
        return vectors.sum(1) / is_text.sum(1) @ kernel + bias

    def objective(self, *weights, shift=0.0):
        return np.mean((self.scores(*weights, shift=shift) - self.labels) ** 2)

    def check(self, trainer, expected, mode):
        before = [weight.astype("float64") for weight in values(self.model.trainable_variables)]
        gradients = expected(before)
        trainer.compile(keras.optimizers.SGD(RATE), "mse", **mode)
        trainer.train_on_batch(PADDED, self.labels)
        after = [weight - RATE * g for weight, g in zip(before, gradients, strict=True)]
        same(values(self.model.trainable_variables), after, 1e-6)


def perturbations(norm):
    return reference.Perturbations(norm, PADDED, WORDS)


def with_fixed_noise(trainer, noise):
    """Let a trainer start from the same direction on every backend."""

    def draw(norm, values, length, takes_part):
        drawn = [ops.cast(ops.convert_to_tensor(noise), norm.lookups.shifts[0].dtype)]
        return norm.scaled(norm.rows(drawn), length), {}

    vars(trainer)["_noise"] = draw
    return trainer


def fixed_rows(norm, noise, length):
    rows = perturbations(norm).rows(noise)
    return length * rows / perturbations(norm).length(rows)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("norm", "clean_weight", "mode"),
    [("batch", 0, EAGER), ("sample", 0, EAGER), ("batch", 0.5, XLA), ("sample", 0.5, XLA)],
    ids=["batch-eager", "sample-eager", "batch-xla", "sample-xla"],
)
def test_fgm(norm, clean_weight, mode):
    problem = Problem()
    trainer = FGMTrainer(problem.model, "tokens", 0.7, clean_weight, norm)
    options = {"epsilon": 0.7, "step_size": 0.7, "steps": 1, "clean_weight": clean_weight}
    problem.check(
        trainer,
        lambda weights: reference.pgd_gradients(
            problem.objective, weights, perturbations(norm), **options
        ),
        mode,
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("epsilon", "clean_weight", "mode"),
    [(0.5, 0.5, EAGER), (5.0, 0.0, EAGER), (0.5, 0.0, GRAPH)],
    ids=["projected", "inside", "graph"],
)
@pytest.mark.parametrize("norm", NORMS)
def test_pgd(norm, epsilon, clean_weight, mode):
    problem = Problem()
    options = {"epsilon": epsilon, "step_size": 0.3, "steps": 3, "clean_weight": clean_weight}
    problem.check(
        PGDTrainer(problem.model, "tokens", norm=norm, **options),
        lambda weights: reference.pgd_gradients(
            problem.objective, weights, perturbations(norm), **options
        ),
        mode,
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("initial_norm", [0.0, 0.2])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_free_lb(norm, steps, initial_norm):
    problem = Problem()
    options = {"epsilon": 0.4, "step_size": 0.3, "steps": steps}
    trainer = FreeLBTrainer(
        problem.model, "tokens", initial_norm=initial_norm, norm=norm, **options
    )
    rows = fixed_rows(norm, problem.noise, initial_norm)
    problem.check(
        with_fixed_noise(trainer, problem.noise),
        lambda weights: reference.free_lb_gradients(
            problem.objective, weights, perturbations(norm), rows=rows, **options
        ),
        EAGER,
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("divergence", "mode"),
    [("bernoulli", EAGER), ("categorical", GRAPH)],
    ids=["bernoulli", "categorical"],
)
@pytest.mark.parametrize("norm", NORMS)
def test_vat(norm, divergence, mode):
    problem = Problem()
    options = {"epsilon": 0.6, "weight": 2.0, "divergence": divergence}
    trainer = VATTrainer(problem.model, "tokens", norm=norm, **options)
    probe = fixed_rows(norm, problem.noise, PROBE * 0.6)
    problem.check(
        with_fixed_noise(trainer, problem.noise),
        lambda weights: reference.vat_gradients(
            problem.objective,
            problem.scores,
            weights,
            perturbations(norm),
            probe=probe,
            **options,
        ),
        mode,
    )


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_with_one_step_of_epsilon_is_fgm_to_the_last_bit(norm):
    after = []
    for build in (
        lambda model: FGMTrainer(model, "tokens", 0.7, 0.5, norm),
        lambda model: PGDTrainer(model, "tokens", 0.7, 0.7, 1, 0.5, norm),
    ):
        model = noisy_model()
        train(build(model))
        after.append(values(model.variables))
    same(*after)


def padded_model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None,), dtype="int32")
    outputs = layers.Embedding(7, 3, mask_zero=True, name="tokens")(inputs)
    outputs = layers.GlobalAveragePooling1D()(layers.Activation("tanh")(outputs))
    return keras.Model(inputs, layers.Dense(2)(outputs))


def update(name, tokens, labels, **options):
    """Return by how much a step of a trainer changes the weights of a model."""
    model = padded_model()
    before = values(model.trainable_variables)
    trainer = TRAINERS[name](model, "tokens", norm="sample", **options)
    if name in ("FreeLB", "VAT"):
        noise = np.sin(np.arange(np.max(TOKENS) + 1.0)[tokens][..., None] + np.arange(3.0))
        with_fixed_noise(trainer, noise)
    trainer.compile(keras.optimizers.SGD(1.0), "mse", **EAGER)
    trainer.train_on_batch(tokens, labels)
    pairs = zip(values(model.trainable_variables), before, strict=True)
    return [new - old for new, old in pairs]


@pytest.mark.parametrize("name", TRAINERS)
def test_a_batch_moves_the_weights_by_the_mean_of_its_texts_however_padded(name):
    tokens, labels = PADDED % 7, LABELS[:3]
    together = update(name, tokens, labels)
    alone = [
        update(name, np.pad(text[text > 0], (0, extra))[None], label[None])
        for extra, (text, label) in enumerate(zip(tokens, labels, strict=True))
    ]
    same(together, [np.mean(each, axis=0) for each in zip(*alone, strict=True)], 1e-5)


@pytest.mark.parametrize("name", TRAINERS)
def test_without_a_perturbation_training_is_plain(name):
    plain, model = noisy_model(), noisy_model()
    options = {"weight": 0.0} if name == "VAT" else {"epsilon": 0.0}
    expected = train(plain, metrics=["binary_accuracy"], **EAGER)
    trainer = TRAINERS[name](model, "tokens", **options)
    history = train(trainer, metrics=["binary_accuracy"], **EAGER)
    same(history, expected, 1e-5)
    same(values(model.variables), values(plain.variables), 1e-5)


@pytest.mark.parametrize("name", TRAINERS)
def test_half_precision_trains_on_and_the_embedding_is_moved_by_the_optimizer_alone(name):
    for policy in ("mixed_float16", "mixed_bfloat16"):
        model = noisy_model(policy)
        before = values(model.trainable_variables)
        trainer = TRAINERS[name](model, "tokens")
        history = train(trainer, optimizer=keras.optimizers.SGD(0.0), **EAGER)
        assert np.isfinite(history["loss"]).all()
        same(values(model.trainable_variables), before)


@pytest.mark.parametrize("name", TRAINERS)
def test_saving_and_training_on(name, tmp_path):
    trainer = TRAINERS[name](text_model(), "tokens", norm="sample", epsilon=0.3)
    train(trainer, optimizer="adam", **EAGER)
    trainer.save(tmp_path / "trainer.keras")
    again = keras.saving.load_model(tmp_path / "trainer.keras", safe_mode=True)
    configs = [each.get_config() for each in (again, trainer)]
    for config in configs:
        del config["model"]
    assert configs[0] == configs[1]
    for each in (trainer, again):
        if name in ("FreeLB", "VAT"):
            with_fixed_noise(each, np.ones((4, 4, 3)))
        each.make_train_function(force=True)
        each.fit(TOKENS, LABELS, batch_size=4, shuffle=False, verbose=0)
    same(values(again.model.variables), values(trainer.model.variables), 1e-6)


@pytest.mark.parametrize("divergence", ["bernoulli", "categorical"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_the_divergence(divergence, from_logits):
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(2, 5, 3)).astype("float32")
    expected = reference.mean_divergence(p, q, divergence)
    if not from_logits:
        activation = ops.softmax if divergence == "categorical" else ops.sigmoid
        p, q = activation(p), activation(q)
    found = divergence_of(
        *map(ops.convert_to_tensor, (p, q)), divergence=divergence, from_logits=from_logits
    )
    assert float(ops.mean(found)) == pytest.approx(expected, rel=1e-4)


def squared_error_of_known_labels(y_true, y_pred):
    is_known = ops.cast(y_true >= 0, y_pred.dtype)
    return ops.sum(is_known * ops.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize("how", ["missing labels", "sample weights"])
def test_unlabelled_texts_train_on_the_divergence(how):
    """Rows without labels change the weights, by a model that has no other reason to."""
    updates = []
    for weight in (0.0, 1.0):
        model = text_model(activation="linear")
        before = values(model.trainable_variables)
        trainer = VATTrainer(model, "tokens", weight=weight)
        trainer.compile(keras.optimizers.SGD(1.0), squared_error_of_known_labels, **EAGER)
        if how == "missing labels":
            trainer.train_on_batch(TOKENS, np.full_like(LABELS, -1))
        else:
            trainer.train_on_batch(TOKENS, LABELS, sample_weight=np.zeros(12))
        pairs = zip(values(model.trainable_variables), before, strict=True)
        updates.append([np.abs(new - old).max() for new, old in pairs])
    assert max(updates[0]) == 0 and updates[1][0] > 0 and updates[1][1] > 0


def test_random_starts_differ_from_step_to_step_and_follow_the_seed():
    def run(seed, steps):
        model = text_model()
        trainer = FreeLBTrainer(model, "tokens", initial_norm=0.3, steps=1, seed=seed)
        trainer.compile(keras.optimizers.SGD(0.5), "mse", **EAGER)
        updates = []
        for _ in range(steps):
            before = values(model.trainable_variables)
            trainer.train_on_batch(TOKENS, LABELS)
            updates.append(values(model.trainable_variables)[0] - before[0])
            for variable, value in zip(model.trainable_variables, before, strict=True):
                variable.assign(value)
        return updates

    first, second = run(1, 2)
    assert np.any(first != second)
    np.testing.assert_array_equal(run(1, 1)[0], first)
    assert np.any(run(2, 1)[0] != first)


SETTINGS = [
    (FGMTrainer, "epsilon", 1.0, GRAPH),
    (PGDTrainer, "steps", 1, GRAPH),
    (FGMTrainer, "clean_weight", 0.7, EAGER),
    (FGMTrainer, "norm", "sample", EAGER),
    (PGDTrainer, "step_size", 0.9, EAGER),
    (VATTrainer, "weight", 3.0, EAGER),
]


@pytest.mark.parametrize(("trainer_class", "name", "value", "options"), SETTINGS)
def test_settings_change_from_the_next_step_on(trainer_class, name, value, options):
    """Whatever is set before a step holds for it, as if it had been from the start."""
    model, expected = text_model(), text_model()
    trainer = trainer_class(model, "tokens", epsilon=0.1)
    other = trainer_class(expected, "tokens", **{"epsilon": 0.1, name: value})
    for each in (trainer, other):
        if trainer_class is VATTrainer:
            with_fixed_noise(each, np.ones((12, 4, 3)))
        each.compile(keras.optimizers.SGD(0.5), "mse", **options)
    trainer.train_on_batch(TOKENS, LABELS)
    model.set_weights(text_model().get_weights())
    before = values(model.variables)
    setattr(trainer, name, value)
    trainer.train_on_batch(TOKENS, LABELS)
    other.train_on_batch(TOKENS, LABELS)
    same(values(model.variables), values(expected.variables), 1e-6)
    assert np.any(values(model.variables)[0] != before[0])
    with pytest.raises(ValueError, match=f"`{name}`"):
        setattr(trainer, name, -1)


@pytest.mark.skipif(BACKEND == "torch", reason="there `fit` calls the step itself")
def test_a_callback_may_change_epsilon_while_fit_runs():
    class Grow(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.epsilon = 0.2 * epoch

    model, expected = text_model(), text_model()
    train(FGMTrainer(model, "tokens"), fit={"epochs": 2, "callbacks": [Grow()]})
    trainer = FGMTrainer(expected, "tokens", epsilon=0.0)
    train(trainer, **EAGER)
    trainer.epsilon = 0.2
    trainer.fit(TOKENS, LABELS, batch_size=4, shuffle=False, verbose=0)
    same(values(model.variables), values(expected.variables), 1e-6)

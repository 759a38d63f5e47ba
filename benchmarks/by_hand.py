"""The passes of adversarial training and of the penalty, written out, with nothing around them.

The mathematics is that of the library but for tokens that repeat: here each occurrence has a
vector of its own. There are no metrics, no loss scales, no several devices, no checks, and each
pass draws its own dropout.
"""

import keras
import tensorflow as tf


class ByHand(keras.Model):
    """Trains a model on its `objective`."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.lookup = model.get_layer("token_embedding")
        others = [model.input["segment_ids"], model.input["padding_mask"]]
        self.after_lookup = keras.Model([self.lookup.output, *others], model.output)

    def call(self, inputs):
        return self.model(inputs)

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        weights = self.model.trainable_variables
        loss, gradients = self.loss_and_gradients(x, y, [v.value for v in weights])
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}

    def loss_and_gradients(self, x, y, weights):
        with tf.GradientTape() as tape:
            loss = self.objective(self.lookup(x["token_ids"]), x, y)
        return loss, tape.gradient(loss, weights)

    def scores_at(self, vectors, x):
        inputs = [vectors, x["segment_ids"], x["padding_mask"]]
        return self.after_lookup(inputs, training=True)

    def loss_at(self, vectors, x, y):
        return self.compute_loss(x, y, self.scores_at(vectors, x))

    def loss_and_gradient_at(self, vectors, x, y):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vectors)
            loss = self.loss_at(vectors, x, y)
        return loss, tape.gradient(loss, vectors)


def scaled(gradient, length, axes=None):
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=axes, keepdims=True))
    return tf.stop_gradient(length * gradient / (norm + 1e-8))


def projected(shift, radius, axes=None):
    norm = tf.sqrt(tf.reduce_sum(tf.square(shift), axis=axes, keepdims=True))
    return tf.stop_gradient(shift * tf.minimum(1.0, radius / (norm + 1e-8)))


class FGM(ByHand):
    axes = None

    def objective(self, vectors, x, y):
        _, gradient = self.loss_and_gradient_at(tf.stop_gradient(vectors), x, y)
        return self.loss_at(vectors + scaled(gradient, 1.0, self.axes), x, y)


class FGMOfSamples(FGM):
    axes = (1, 2)


class PGD(ByHand):
    def objective(self, vectors, x, y):
        shift = tf.zeros_like(vectors)
        for _ in range(3):
            _, gradient = self.loss_and_gradient_at(tf.stop_gradient(vectors) + shift, x, y)
            shift = projected(shift + scaled(gradient, 0.3), 1.0)
        return self.loss_at(vectors + shift, x, y)


class FreeLB(ByHand):
    def loss_and_gradients(self, x, y, weights):
        found = []
        shift = tf.zeros((*x["token_ids"].shape, self.lookup.output_dim))
        for step in range(3):
            with tf.GradientTape() as tape:
                vectors = self.lookup(x["token_ids"]) + shift
                loss = self.loss_at(vectors, x, y)
            gradient, *gradients = tape.gradient(loss, [vectors, *weights])
            found.append([tf.convert_to_tensor(each) for each in gradients])
            if step < 2:
                shift = projected(shift + scaled(gradient, 0.1, (1, 2)), 0.4, (1, 2))
        return loss, [sum(each) / 3 for each in zip(*found, strict=True)]


class VAT(ByHand):
    def objective(self, vectors, x, y):
        scores = self.scores_at(vectors, x)
        target = tf.stop_gradient(scores)

        def divergence(shift):
            moved = self.scores_at(vectors + shift, x)
            both = tf.sigmoid(target) * (target - moved) - tf.nn.softplus(target)
            return tf.reduce_mean(tf.reduce_sum(both + tf.nn.softplus(moved), axis=-1))

        probe = scaled(tf.random.normal(tf.shape(vectors)), 0.1, (1, 2))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(probe)
            loss = divergence(probe)
        shift = scaled(tape.gradient(loss, probe), 1.0, (1, 2))
        return self.compute_loss(x, y, scores) + divergence(shift)


class Penalty(ByHand):
    def objective(self, vectors, x, y):
        loss, gradient = self.loss_and_gradient_at(vectors, x, y)
        return loss + 0.5 * tf.reduce_sum(tf.square(gradient))

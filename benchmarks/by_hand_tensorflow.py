"""The passes of adversarial training and of the penalty, written out in TensorFlow."""

import keras
import tensorflow as tf
from by_hand import Parts, Random, projected, scaled


class ByHand(Parts):
    """Trains a model on its `objective`."""

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        weights = self.trainable_variables
        loss, gradients = self.loss_and_gradients(x, y, [v.value for v in weights])
        self.optimizer.apply(gradients, weights)
        self.metrics[0].update_state(loss, sample_weight=tf.shape(y)[0])
        return self.get_metrics_result()

    def loss_and_gradients(self, x, y, weights):
        with tf.GradientTape() as tape:
            loss = self.objective(self.lookup(x["token_ids"]), x, y)
        return loss, tape.gradient(loss, weights)

    def loss_and_gradient_at(self, vectors, x, y):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vectors)
            loss = self.loss_at(vectors, x, y)
        return loss, tape.gradient(loss, vectors)


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


class VAT(Random, ByHand):
    def objective(self, vectors, x, y):
        scores = self.scores_at(vectors, x)
        target = tf.stop_gradient(scores)

        def divergence(shift):
            moved = self.scores_at(vectors + shift, x)
            both = tf.sigmoid(target) * (target - moved) - tf.nn.softplus(target)
            return tf.reduce_mean(tf.reduce_sum(both + tf.nn.softplus(moved), axis=-1))

        probe = scaled(self.noise(x["token_ids"]), 0.1, (1, 2))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(probe)
            loss = divergence(probe)
        shift = scaled(tape.gradient(loss, probe), 1.0, (1, 2))
        return self.compute_loss(x, y, scores) + divergence(shift)


class Penalty(ByHand):
    def objective(self, vectors, x, y):
        loss, gradient = self.loss_and_gradient_at(vectors, x, y)
        return loss + 0.5 * tf.reduce_sum(tf.square(gradient))

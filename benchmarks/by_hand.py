"""The passes of FGM and of the gradient penalty, written out, with nothing around them.

The mathematics is that of the library but for tokens that repeat: here each occurrence has a
vector of its own. There are no metrics, no loss scales, no several devices, no checks.
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
        with tf.GradientTape() as tape:
            loss = self.objective(self.lookup(x["token_ids"]), x, y)
        self.optimizer.apply(tape.gradient(loss, [v.value for v in weights]), weights)
        return {"loss": loss}

    def loss_at(self, vectors, x, y):
        scores = self.after_lookup([vectors, x["segment_ids"], x["padding_mask"]])
        return self.compute_loss(x, y, scores)

    def loss_and_gradient_at(self, vectors, x, y):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vectors)
            loss = self.loss_at(vectors, x, y)
        return loss, tape.gradient(loss, vectors)


class FGM(ByHand):
    def objective(self, vectors, x, y):
        _, gradient = self.loss_and_gradient_at(tf.stop_gradient(vectors), x, y)
        shift = tf.stop_gradient(gradient / (tf.norm(gradient) + 1e-8))
        return self.loss_at(vectors + shift, x, y)


class Penalty(ByHand):
    def objective(self, vectors, x, y):
        loss, gradient = self.loss_and_gradient_at(vectors, x, y)
        return loss + 0.5 * tf.reduce_sum(tf.square(gradient))

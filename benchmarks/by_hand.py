"""A model in two parts, for those whose steps are written out by hand.

`by_hand_tensorflow.py`, `by_hand_jax.py` and `by_hand_torch.py` have the same classes: the passes
of a trainer in the backend's own functions, with nothing around them. The mathematics is that of
the library but for tokens that repeat: by hand each occurrence has a vector of its own. As in a
plain step, the loss is the only metric. There are no loss scales, no several devices, no checks,
and on TensorFlow and torch each pass draws its own dropout.
"""

import keras
from keras import ops


def scaled(gradient, length, axes=None):
    norm = ops.sqrt(ops.sum(ops.square(gradient), axis=axes, keepdims=True))
    return ops.stop_gradient(length * gradient / (norm + 1e-8))


def projected(shift, radius, axes=None):
    norm = ops.sqrt(ops.sum(ops.square(shift), axis=axes, keepdims=True))
    return ops.stop_gradient(shift * ops.minimum(1.0, radius / (norm + 1e-8)))


class Parts(keras.Model):
    """A model, and what of it comes after the look-up."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.lookup = model.get_layer("token_embedding")
        others = [model.input["segment_ids"], model.input["padding_mask"]]
        self.after_lookup = keras.Model([self.lookup.output, *others], model.output)

    def call(self, inputs):
        return self.model(inputs)

    def scores_at(self, vectors, x):
        inputs = [vectors, x["segment_ids"], x["padding_mask"]]
        return self.after_lookup(inputs, training=True)

    def loss_at(self, vectors, x, y):
        return self.compute_loss(x, y, self.scores_at(vectors, x))


class Random(Parts):
    """Draws a direction."""

    def __init__(self, model):
        super().__init__(model)
        self.seed_generator = keras.random.SeedGenerator(0)

    def noise(self, ids):
        shape = (*ids.shape, self.lookup.output_dim)
        return keras.random.normal(shape, seed=self.seed_generator)

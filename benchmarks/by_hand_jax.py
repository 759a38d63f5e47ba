"""The passes of adversarial training and of the penalty, written out in JAX."""

import jax
import keras
from by_hand import Parts, Random, projected, scaled
from jax import numpy as jnp


class ByHand(Parts):
    """Trains a model on what `loss_and_gradients` returns; Keras compiles it as its own step.

    `others` are the values of the variables that are not trained: the same in all passes of a
    step, so that all draw the same dropout.
    """

    def train_step(self, state, data):
        weights, others, moments, metrics = state
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        (loss, others), gradients = self.loss_and_gradients(weights, others, x, y)
        weights, moments = self.optimizer.stateless_apply(moments, gradients, weights)
        tracker = self.metrics[0]
        metrics = tracker.stateless_update_state(metrics, loss, sample_weight=len(y))
        return {"loss": tracker.stateless_result(metrics)}, (weights, others, moments, metrics)

    def stateless(self, function, weights, others, *arguments):
        """Return what a method returns with these values of the variables, and `others` after."""
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        mapping = list(zip(variables, [*weights, *others], strict=True))
        with keras.StatelessScope(mapping) as scope:
            found = function(*arguments)
            after = [scope.get_current_value(v) for v in self.non_trainable_variables]
        return found, after

    def vectors(self, weights, others, x):
        return self.stateless(self.lookup, weights, others, x["token_ids"])[0]

    def gradient_at(self, vectors, weights, others, x, y):
        def loss_at(vectors):
            return self.stateless(self.loss_at, weights, others, vectors, x, y)[0]

        return jax.grad(loss_at)(vectors)

    def moved(self, shift, weights, others, x, y):
        """Return the loss where the vectors are moved by a shift, and its gradients."""

        def loss_at(weights):
            vectors = self.vectors(weights, others, x) + shift
            return self.stateless(self.loss_at, weights, others, vectors, x, y)

        return jax.value_and_grad(loss_at, has_aux=True)(weights)


class FGM(ByHand):
    axes = None

    def loss_and_gradients(self, weights, others, x, y):
        vectors = self.vectors(weights, others, x)
        gradient = self.gradient_at(vectors, weights, others, x, y)
        return self.moved(scaled(gradient, 1.0, self.axes), weights, others, x, y)


class FGMOfSamples(FGM):
    axes = (1, 2)


class PGD(ByHand):
    def loss_and_gradients(self, weights, others, x, y):
        vectors = self.vectors(weights, others, x)
        shift = jnp.zeros_like(vectors)
        for _ in range(3):
            gradient = self.gradient_at(vectors + shift, weights, others, x, y)
            shift = projected(shift + scaled(gradient, 0.3), 1.0)
        return self.moved(shift, weights, others, x, y)


class FreeLB(ByHand):
    def loss_and_gradients(self, weights, others, x, y):
        def loss_at(weights, shift):
            vectors = self.vectors(weights, others, x) + shift
            return self.stateless(self.loss_at, weights, others, vectors, x, y)

        found = []
        shift = jnp.zeros_like(self.vectors(weights, others, x))
        for step in range(3):
            places = (0, 1) if step < 2 else (0,)
            loss, gradients = jax.value_and_grad(loss_at, places, has_aux=True)(weights, shift)
            found.append(gradients[0])
            if step < 2:
                shift = projected(shift + scaled(gradients[1], 0.1, (1, 2)), 0.4, (1, 2))
        return loss, [sum(each) / 3 for each in zip(*found, strict=True)]


class VAT(Random, ByHand):
    def loss_and_gradients(self, weights, others, x, y):
        def scores_at(vectors, weights):
            return self.stateless(self.scores_at, weights, others, vectors, x)

        def divergence(shift, vectors, target, weights):
            moved, _ = scores_at(vectors + shift, weights)
            both = jax.nn.sigmoid(target) * (target - moved) - jax.nn.softplus(target)
            return jnp.mean(jnp.sum(both + jax.nn.softplus(moved), axis=-1))

        def objective(trained):
            vectors = self.vectors(trained, others, x)
            scores, after = scores_at(vectors, trained)
            target, start = jax.lax.stop_gradient((scores, vectors))
            shift = scaled(jax.grad(divergence)(probe, start, target, weights), 1.0, (1, 2))
            loss = self.compute_loss(x, y, scores) + divergence(shift, vectors, target, trained)
            return loss, after

        noise, drawn = self.stateless(self.noise, weights, others, x["token_ids"])
        probe = scaled(noise, 0.1, (1, 2))
        (loss, after), gradients = jax.value_and_grad(objective, has_aux=True)(weights)
        place = self.non_trainable_variables.index(self.seed_generator.state)
        after[place] = drawn[place]
        return (loss, after), gradients


class Penalty(ByHand):
    def loss_and_gradients(self, weights, others, x, y):
        def objective(weights):
            def loss_at(vectors):
                return self.stateless(self.loss_at, weights, others, vectors, x, y)

            vectors = self.vectors(weights, others, x)
            (loss, after), gradient = jax.value_and_grad(loss_at, has_aux=True)(vectors)
            return loss + 0.5 * jnp.sum(jnp.square(gradient)), after

        return jax.value_and_grad(objective, has_aux=True)(weights)

"""The passes of adversarial training and of the penalty, written out in torch."""

import keras
import torch
from by_hand import Parts, Random, projected, scaled
from torch.autograd import grad
from torch.nn.functional import softplus


class ByHand(Parts):
    """Trains a model on the gradients that `backward` leaves at its weights."""

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        loss = self.backward(x, y)
        weights = self.trainable_variables
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in weights], weights)
            self.metrics[0].update_state(loss, sample_weight=len(y))
        return self.get_metrics_result()

    def backward(self, x, y):
        loss = self.objective(self.lookup(x["token_ids"]), x, y)
        loss.backward()
        return loss

    def gradient_at(self, vectors, x, y):
        vectors = vectors.detach().requires_grad_()
        return grad(self.loss_at(vectors, x, y), vectors)[0]


class FGM(ByHand):
    axes = None

    def objective(self, vectors, x, y):
        gradient = self.gradient_at(vectors, x, y)
        return self.loss_at(vectors + scaled(gradient, 1.0, self.axes), x, y)


class FGMOfSamples(FGM):
    axes = (1, 2)


class PGD(ByHand):
    def objective(self, vectors, x, y):
        shift = torch.zeros_like(vectors)
        for _ in range(3):
            gradient = self.gradient_at(vectors + shift, x, y)
            shift = projected(shift + scaled(gradient, 0.3), 1.0)
        return self.loss_at(vectors + shift, x, y)


class FreeLB(ByHand):
    def backward(self, x, y):
        ids = x["token_ids"]
        shift = torch.zeros((*ids.shape, self.lookup.output_dim), device=ids.device)
        for step in range(3):
            shift.requires_grad_(step < 2)
            loss = self.loss_at(self.lookup(ids) + shift, x, y)
            (loss / 3).backward()  # adds to what is there
            if step < 2:
                uphill = scaled(shift.grad, 0.1, (1, 2))
                shift = projected(shift.detach() + uphill, 0.4, (1, 2))
        return loss


class VAT(Random, ByHand):
    def objective(self, vectors, x, y):
        scores = self.scores_at(vectors, x)
        target = scores.detach()

        def divergence(vectors):
            moved = self.scores_at(vectors, x)
            both = target.sigmoid() * (target - moved) - softplus(target)
            return (both + softplus(moved)).sum(-1).mean()

        probe = scaled(self.noise(x["token_ids"]), 0.1, (1, 2)).requires_grad_()
        gradient = grad(divergence(vectors.detach() + probe), probe)[0]
        shift = scaled(gradient, 1.0, (1, 2))
        return self.compute_loss(x, y, scores) + divergence(vectors + shift)


class Penalty(ByHand):
    def objective(self, vectors, x, y):
        loss = self.loss_at(vectors, x, y)
        gradient = grad(loss, vectors, create_graph=True)[0]
        return loss + 0.5 * gradient.square().sum()

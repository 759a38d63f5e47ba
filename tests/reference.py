"""Naive NumPy versions of every piece: slow, obvious, in float64."""

import numpy as np


def softmax(logits):
    exponentials = np.exp(logits - np.max(logits))
    return exponentials / exponentials.sum()


def attention_pooling(inputs, kernel, bias, query, mask=None):
    """Return the pooled vectors and the scores, sample by sample, over the steps that count."""
    outputs, scores = np.zeros(inputs[:, 0].shape), np.zeros(inputs.shape[:2])
    for sample, steps in enumerate(inputs):
        kept = np.flatnonzero(np.ones(len(steps)) if mask is None else mask[sample])
        if len(kept):
            scores[sample, kept] = softmax(np.tanh(steps[kept] @ kernel + bias) @ query)
            outputs[sample] = scores[sample, kept] @ steps[kept]
    return outputs, scores


def text_cnn_features(inputs, kernels, biases, activation, mask=None):
    """Return the features, window by window, with zeros beyond the ends and for masked steps."""
    rows = []
    for sample, steps in enumerate(inputs):
        kept = np.flatnonzero(np.ones(len(steps)) if mask is None else mask[sample])
        row = []
        for kernel, bias in zip(kernels, biases, strict=True):
            width, found = len(kernel), np.zeros((len(kept), len(bias)))
            for number, center in enumerate(kept):
                found[number] = bias
                for offset in range(width):
                    step = center + offset - (width - 1) // 2
                    if step in kept:
                        found[number] += steps[step] @ kernel[offset]
            row.append(activation(found).max(axis=0) if len(kept) else np.zeros(len(bias)))
        rows.append(np.concatenate(row))
    return np.array(rows)


def fine_grained_softmax(inputs, kernel, bias, levels):
    """Return one softmax per aspect, with zeros for the levels that it does not have."""
    logits = inputs @ kernel + bias
    outputs = np.zeros((*logits.shape[:-1], len(levels), max(levels)))
    for place in np.ndindex(*logits.shape[:-1]):
        first = 0
        for aspect, count in enumerate(levels):
            outputs[(*place, aspect)][:count] = softmax(logits[place][first : first + count])
            first += count
    return outputs


def f1_scores(true, predicted, weights):
    """Return the F1 score of each column, 0 for 0 / 0."""
    scores = []
    for actual, guessed in zip(true.T, predicted.T, strict=True):
        hits = 2 * np.sum(weights * actual * guessed)
        total = np.sum(weights * actual) + np.sum(weights * guessed)
        scores.append(hits / total if total else 0.0)
    return np.array(scores)


def multilabel_categorical_crossentropy(labels, scores, weights=None, missing_label=None):
    """Return the loss of one sample after another, of its labels that are known."""
    losses = np.zeros(scores.shape[:-1])
    weights = np.ones(scores.shape[-1]) if weights is None else weights
    for row in np.ndindex(losses.shape):
        rows = zip(labels[row], scores[row], weights, strict=True)
        known = [(t, s, w) for t, s, w in rows if t != missing_label]
        others = sum(w * (1 - t) * np.exp(s) for t, s, w in known)
        targets = sum(w * t * np.exp(-s) for t, s, w in known)
        losses[row] = np.log1p(others) + np.log1p(targets)
    return losses


def asymmetric_loss(
    labels, p, gamma_negative=4.0, gamma_positive=1.0, clip=0.05, missing_label=None
):
    """Return the loss of one sample after another, of its labels that are known."""
    losses = np.zeros(p.shape[:-1])
    for place in np.ndindex(p.shape):
        t, lowered = labels[place], max(p[place] - clip, 0.0)
        if t != missing_label:
            target = (1 - p[place]) ** gamma_positive * -np.log(p[place])
            other = lowered**gamma_negative * -np.log(1 - lowered)
            losses[place[:-1]] += t * target + (1 - t) * other
    return losses


def multi_hot(indices, num_labels):
    """Return dense labels; an index of -1 stands for none."""
    labels = np.zeros((*indices.shape[:-1], num_labels))
    for place in np.ndindex(indices.shape):
        if indices[place] >= 0:
            labels[(*place[:-1], indices[place])] = 1
    return labels


def kullback_leibler(p, q):
    """Return KL(p || q), summed over the last axis."""
    return np.sum(p * np.log(p / q), axis=-1)


def r_drop(base_values, probabilities, alpha, divergence):
    """Return the loss of each row, pair by pair."""
    values = np.array(base_values, dtype="float64")
    for i in range(0, len(values), 2):
        p, q = probabilities[i], probabilities[i + 1]
        both = kullback_leibler(p, q) + kullback_leibler(q, p)
        if divergence == "bernoulli":
            both = both + kullback_leibler(1 - p, 1 - q) + kullback_leibler(1 - q, 1 - p)
        values[i : i + 2] += alpha / 4 * both
    return values


def finite_differences(function, x, step=1e-5):
    """Return the gradient of a function of one array to a scalar, by central differences."""
    gradient = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        gradient[place] = (function(up) - function(down)) / (2 * step)
    return gradient


def gradient_penalty(loss, embeddings, epsilon):
    """Return L + epsilon / 2 * ||dL/dE||^2 of a function of the embeddings."""
    gradient = finite_differences(loss, embeddings)
    return loss(embeddings) + epsilon / 2 * np.sum(gradient**2)


def all_finite_differences(function, arrays, step=1e-4):
    """Return the gradient of a function of several arrays with respect to each of them."""
    return [
        finite_differences(lambda x, i=i: function(*arrays[:i], x, *arrays[i + 1 :]), array, step)
        for i, array in enumerate(arrays)
    ]


def fgm_gradients(objective, weights, epsilon, clean_weight):
    """Return the gradients with what is looked up in weights[0] moved uphill, + c · the clean.

    `objective(*weights, delta=...)` adds `delta` to each row where it is looked up, and only there.
    """
    clean = all_finite_differences(objective, weights, step=1e-5)
    slope = finite_differences(
        lambda delta: objective(*weights, delta=delta), np.zeros(weights[0].shape)
    )
    delta = epsilon * slope / (np.sqrt(np.sum(slope**2)) + 1e-8)
    adversarial = all_finite_differences(
        lambda *weights: objective(*weights, delta=delta), weights, step=1e-5
    )
    return [a + clean_weight * c for a, c in zip(adversarial, clean, strict=True)]


class Perturbations:
    """Rows that a perturbation has, and what they add to vectors that are looked up by tokens.

    With `norm="batch"` a row a token, with one norm; with `"sample"` one a step, a norm a text.
    """

    def __init__(self, norm, tokens, num_tokens):
        self.norm, self.tokens, self.num_tokens = norm, tokens, num_tokens
        self.is_text = (tokens != 0)[..., None]

    def rows(self, slope):
        slope = slope * self.is_text
        if self.norm == "sample":
            return slope
        rows = np.zeros((self.num_tokens, slope.shape[-1]))
        np.add.at(rows, self.tokens, slope)
        return rows

    def shift(self, rows):
        return rows if self.norm == "sample" else rows[self.tokens] * self.is_text

    def length(self, rows):
        axis = None if self.norm == "batch" else (1, 2)
        return np.sqrt(np.sum(rows**2, axis=axis, keepdims=True))

    def uphill(self, rows, slope, step_size, epsilon):
        step = self.rows(slope)
        rows = rows + step_size * step / self.length(step)
        return rows * np.minimum(1, epsilon / self.length(rows))


def pgd_gradients(objective, weights, perturbations, epsilon, step_size, steps, clean_weight):
    """Return the gradients after some steps uphill, + c · the clean; FGM with one step of epsilon.

    `objective(*weights, shift=...)` adds `shift` to the vectors that are looked up.
    """
    rows, shift = 0.0, np.zeros((*perturbations.tokens.shape, weights[0].shape[-1]))
    for _ in range(steps):
        slope = finite_differences(lambda shift: objective(*weights, shift=shift), shift)
        rows = perturbations.uphill(rows, slope, step_size, epsilon)
        shift = perturbations.shift(rows)
    clean = all_finite_differences(objective, weights)
    found = all_finite_differences(lambda *weights: objective(*weights, shift=shift), weights)
    return [a + clean_weight * c for a, c in zip(found, clean, strict=True)]


def free_lb_gradients(objective, weights, perturbations, epsilon, step_size, steps, rows):
    """Return the mean of the gradients at `rows` and after each of `steps - 1` steps uphill."""
    found = []
    for step in range(steps):
        shift = perturbations.shift(rows)
        at_shift = all_finite_differences(
            lambda *weights, shift=shift: objective(*weights, shift=shift), weights
        )
        found.append(at_shift)
        slope = finite_differences(lambda shift: objective(*weights, shift=shift), shift)
        rows = perturbations.uphill(rows, slope, step_size, epsilon) if step < steps - 1 else rows
    return [sum(each) / steps for each in zip(*found, strict=True)]


def mean_divergence(target, scores, divergence):
    """Return the mean of KL(target || scores) of unactivated scores."""
    if divergence == "categorical":
        p, q = (np.apply_along_axis(softmax, -1, each) for each in (target, scores))
        return np.mean(kullback_leibler(p, q))
    p, q = (1 / (1 + np.exp(-each)) for each in (target, scores))
    return np.mean(kullback_leibler(p, q) + kullback_leibler(1 - p, 1 - q))


def vat_gradients(objective, scores, weights, perturbations, epsilon, weight, divergence, probe):
    """Return the gradients of the loss with the divergence in the direction found from `probe`."""
    target = scores(*weights)

    def divergence_at(*weights, shift):
        return mean_divergence(target, scores(*weights, shift=shift), divergence)

    slope = finite_differences(
        lambda shift: divergence_at(*weights, shift=shift), perturbations.shift(probe)
    )
    shift = perturbations.shift(perturbations.uphill(0.0, slope, epsilon, epsilon))
    clean = all_finite_differences(objective, weights)
    found = all_finite_differences(lambda *weights: divergence_at(*weights, shift=shift), weights)
    return [c + weight * f for c, f in zip(clean, found, strict=True)]

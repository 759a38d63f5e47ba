"""The squared gradient of a loss with respect to an embedding, on torch."""

from typing import Any

import torch
from torch.autograd.graph import GradientEdge

from keras_mlc._dtypes import widened
from keras_mlc._typing import Tensor
from keras_mlc.losses._loss_scale import loss_scale


def squared_gradient(loss: Tensor, y_pred: Tensor, variable: Any, merge_repeats: bool) -> Tensor:
    """Return ||d loss / d variable||², to be differentiated again; 0 without gradients.

    Args:
        loss: A scalar.
        y_pred: The predictions that `loss` was computed from.
        variable: A `keras.Variable`, the embedding matrix.
        merge_repeats: Whether to sum the gradients of one row before they are squared.

    Returns:
        A scalar in float32, or in float64 for a float64 variable.
    """
    if loss.is_meta or not torch.is_grad_enabled():
        return torch.zeros((), device=loss.device)
    matrix = variable.value
    lookups = _lookups(loss, matrix)
    if not lookups:
        raise ValueError(
            f"The embedding {variable.path!r} takes no part in the loss. Choose the embedding "
            "that the predictions are computed from. Under LoRA, where torch has no gradient of "
            "the matrix, train by `keras_mlc.training.GradientPenaltyTrainer` instead."
        )
    (by_scores,) = torch.autograd.grad(loss, y_pred, retain_graph=True, allow_unused=True)
    scale = torch.ones(()) if by_scores is None else loss_scale(by_scores, loss)
    has_occurrences = all(node.name() == "EmbeddingBackward0" for node in lookups)
    if merge_repeats or not has_occurrences:
        sources = [matrix]
    else:
        sources = [GradientEdge(node, 0) for node in lookups]
    found = torch.autograd.grad(loss, sources, scale.to(loss.dtype), create_graph=True)
    return sum(torch.sum((widened(gradient) / scale) ** 2) for gradient in found)


def _lookups(loss: Tensor, matrix: Any) -> list[Any]:
    """Return the operations on the way to `loss` that take `matrix` itself."""
    found, seen, waiting = [], set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for source, _ in node.next_functions:
            if getattr(source, "variable", None) is matrix:
                found.append(node)
            waiting.append(source)
    return found

"""Find the embedding matrix that a layer, a variable or a name stands for."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import keras

from keras_mlc._keras_internals import children

Variable: TypeAlias = Any
Located: TypeAlias = tuple[str, keras.Layer]


class Embedding(NamedTuple):
    """A layer that looks vectors up, and the matrix in which it does."""

    layer: keras.Layer
    matrix: Variable


def check_embedding(embedding: Any) -> Any:
    """Return `embedding`, or raise a `ValueError` where it is no layer, variable or name."""
    is_name = isinstance(embedding, str) and embedding
    if is_name or isinstance(embedding, (keras.Layer, keras.Variable)):
        return embedding
    raise ValueError(
        "`embedding` must be a layer, its variable, or the layer's name. "
        f"Received: embedding={embedding!r} (of type {type(embedding).__name__})"
    )


def check_embeddings(embedding: Any) -> list[Any]:
    """Return one or several of what `check_embedding` takes as a list."""
    several = embedding if isinstance(embedding, (list, tuple)) and embedding else [embedding]
    return [check_embedding(each) for each in several]


def locate(model: keras.Model, embedding: Any) -> Any:
    """Return the layer of `model` that `embedding` stands for, or a variable without a layer.

    Args:
        model: A model; nested models and layers are searched too.
        embedding: The layer, its variable, or a name. A name may carry a part of its path
            (`"encoder/tokens"`); a leading slash starts the path at the model (`"/tokens"`).

    Returns:
        What `embedding_of` takes.

    Raises:
        ValueError: If the embedding is not found or is ambiguous.
    """
    layers = list(_walk(model))
    if isinstance(embedding, str):
        return _by_name(model, embedding, layers)
    if isinstance(embedding, keras.Variable):
        if all(v is not embedding for v in model.variables):
            raise ValueError(_foreign("variable", embedding.path, model, layers))
        return _owner(embedding, layers)
    if all(layer is not embedding for _, layer in layers):
        raise ValueError(_foreign("layer", embedding.name, model, layers))
    return embedding


def embedding_name(model: keras.Model, embedding: Any) -> str:
    """Return a name by which `locate` finds the same embedding in a copy of `model`."""
    if isinstance(embedding, str):
        return embedding
    embedding = locate(model, embedding)
    if isinstance(embedding, keras.Variable):
        return embedding.path
    layers = list(_walk(model))
    if len(_called(embedding.name, layers)) == 1:
        return embedding.name
    return next(f"/{path}" for path, layer in layers if layer is embedding)


def embedding_of(located: Any) -> Variable:
    """Return the matrix of a layer, or the variable itself, if training moves it.

    Raises:
        ValueError: If there is no matrix, or it is not trainable.
    """
    if isinstance(located, keras.Variable):
        variable, is_trainable = located, located.trainable
    else:
        variable = matrix_of(located)
        if variable is None:
            raise ValueError(_without_matrix(located))
        # Under LoRA the matrix itself is frozen and moves by its factors.
        has_lora = getattr(located, "lora_enabled", False) and located.trainable_variables
        is_trainable = variable.trainable or has_lora
    if not is_trainable:
        raise ValueError(
            f"The embedding {variable.path!r} is not trainable. Set `trainable = True` on its "
            "layer before `compile`, or choose another embedding."
        )
    return variable


def look_ups_of(model: keras.Model, embeddings: Iterable[Any]) -> list[Embedding]:
    """Return the layers of `model` that look up what `embeddings` stand for, and their matrices.

    Raises:
        ValueError: If an embedding is not found, is ambiguous, stands twice, or no layer looks
            it up.
    """
    found: list[Embedding] = []
    for embedding in embeddings:
        located = locate(model, embedding)
        layer = _holder(model, located) if isinstance(located, keras.Variable) else located
        matrix = located if layer is not located else matrix_of(layer)
        if matrix is None:
            raise ValueError(_without_matrix(layer))
        if any(layer is other.layer for other in found):
            raise ValueError(f"`embedding` has the layer {layer.name!r} more than once.")
        found.append(Embedding(layer, matrix))
    return found


def ancestors(model: keras.Model, layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers that contain `layer`, at whatever depth, and `model`."""
    parents: dict[int, list[keras.Layer]] = {}
    for parent in (model, *(each for _, each in _walk(model))):
        for child in children(parent):
            parents.setdefault(id(child), []).append(parent)
    found: dict[int, keras.Layer] = {}
    waiting = [layer]
    while waiting:
        above = [p for p in parents.get(id(waiting.pop()), []) if id(p) not in found]
        found.update((id(parent), parent) for parent in above)
        waiting.extend(above)
    return list(found.values())


def matrix_of(layer: keras.Layer) -> Variable | None:
    """Return the variable in which `layer` looks its vectors up, or None."""
    own = _own_weights(layer)
    named = [v for v in own if v.name == "embeddings"]
    if len(named) == 1:
        return named[0]
    attribute = getattr(layer, "embeddings", None) if own else None
    return attribute if any(v is attribute for v in own) else None


def _own_weights(layer: keras.Layer) -> list[Variable]:
    below = {id(v) for child in children(layer) for v in child.weights}
    return [v for v in layer.weights if id(v) not in below]


def _holder(model: keras.Model, variable: Variable) -> keras.Layer:
    """Return the layer that looks up in a variable which is not called its embedding matrix."""
    layers = list(_walk(model))
    holders = [
        (path, layer) for path, layer in layers if any(v is variable for v in _own_weights(layer))
    ]
    if len(holders) != 1:
        said = _quoted(path for path, _ in holders) or "none"
        raise ValueError(
            f"The variable {variable.path!r} must belong to one layer, which looks vectors up in "
            f"it. Its layers: {said}. Move the look-up to a layer of its own, such as "
            f"`keras.layers.Embedding`. {_candidates(layers)}"
        )
    return holders[0][1]


def _by_name(model: keras.Model, name: str, layers: list[Located]) -> Any:
    matches = _called(name, layers)
    matches = [(path, layer) for path, layer in matches if matrix_of(layer) is not None] or matches
    if len(matches) > 1:
        raise ValueError(
            f"`embedding={name!r}` matches several layers of the model {model.name!r}: "
            f"{_quoted(path for path, _ in matches)}. Pass more of the path, or the layer itself."
        )
    if matches:
        return matches[0][1]
    variables = [variable for variable in model.variables if variable.path == name]
    if len(variables) > 1:
        raise ValueError(
            f"`embedding={name!r}` is the path of several variables of the model {model.name!r}. "
            "Pass the layer or its name instead."
        )
    if variables:
        return _owner(variables[0], layers)
    raise ValueError(
        f"`embedding={name!r}` names no layer of the model {model.name!r}. {_candidates(layers)}"
    )


def _owner(variable: Variable, layers: list[Located]) -> Any:
    """Return the layer whose matrix `variable` is, or the variable where no layer has it."""
    return next((layer for _, layer in layers if matrix_of(layer) is variable), variable)


def _called(name: str, layers: Iterable[Located]) -> list[Located]:
    if name.startswith("/"):
        return [(path, layer) for path, layer in layers if f"/{path}" == name]
    return [(path, layer) for path, layer in layers if f"/{path}".endswith(f"/{name}")]


def _walk(layer: keras.Layer) -> Iterator[Located]:
    """Yield every layer below `layer` once, with the path of names that leads to it."""
    seen = {id(layer)}

    def below(parent: keras.Layer, prefix: str) -> Iterator[Located]:
        for child in children(parent):
            if id(child) not in seen:
                seen.add(id(child))
                yield f"{prefix}{child.name}", child
                yield from below(child, f"{prefix}{child.name}/")

    return below(layer, "")


def _without_matrix(layer: keras.Layer) -> str:
    if not layer.built:
        return (
            f"The embedding layer {layer.name!r} has no weights yet. Build its model first: call "
            "it on a batch."
        )
    return (
        f"The layer {layer.name!r} ({type(layer).__name__}) has no embedding matrix of its own: "
        "pass the layer that looks the vectors up, or the variable itself. "
        f"{_candidates(_walk(layer))}"
    )


def _foreign(kind: str, name: str, model: keras.Model, layers: list[Located]) -> str:
    return (
        f"`embedding` is the {kind} {name!r}, which the model {model.name!r} does not have. "
        f"{_candidates(layers)}"
    )


def _candidates(layers: Iterable[Located]) -> str:
    names = [path for path, layer in layers if matrix_of(layer) is not None]
    return f"Its embedding layers: {_quoted(names)}." if names else "It has no embedding layer."


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)

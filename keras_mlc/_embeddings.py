"""Find the embedding matrix that a layer, a variable or a name stands for."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import keras

Variable: TypeAlias = Any
Located: TypeAlias = tuple[str, keras.Layer]


def check_embedding(embedding: Any) -> Any:
    """Return `embedding`, or raise a `ValueError` where it is no layer, variable or name."""
    is_name = isinstance(embedding, str) and embedding
    if is_name or isinstance(embedding, (keras.Layer, keras.Variable)):
        return embedding
    raise ValueError(
        "`embedding` must be a layer, its variable, or the layer's name. "
        f"Received: embedding={embedding!r} (of type {type(embedding).__name__})"
    )


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


def matrix_of(layer: keras.Layer) -> Variable | None:
    """Return the variable in which `layer` looks its vectors up, or None."""
    below = {id(v) for child in _children(layer) for v in child.weights}
    own = [v for v in layer.weights if id(v) not in below]
    named = [v for v in own if v.name == "embeddings"]
    if len(named) == 1:
        return named[0]
    attribute = getattr(layer, "embeddings", None) if own else None
    return attribute if any(v is attribute for v in own) else None


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
        for child in _children(parent):
            if id(child) not in seen:
                seen.add(id(child))
                yield f"{prefix}{child.name}", child
                yield from below(child, f"{prefix}{child.name}/")

    return below(layer, "")


def _children(layer: keras.Layer) -> list[keras.Layer]:
    # Sublayers of a plain layer have no public name.
    return layer._flatten_layers(include_self=False, recursive=False)


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

"""ALBERT's forward pass in NumPy, written from the description of the public checkpoints.

Variables are a dictionary by the names in a checkpoint, `config` is its configuration. One text at
a time, one head at a time, in float64; nothing of it is fast.
"""

import numpy as np


def layer_norm(x, variables, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normal = centred / np.sqrt(variance + 1e-12)
    return normal * variables[f"{name}/gamma"] + variables[f"{name}/beta"]


def dense(x, variables, name):
    return x @ variables[f"{name}/kernel"] + variables[f"{name}/bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def relu(x):
    return np.maximum(x, 0)


ACTIVATIONS = {"gelu": gelu, "relu": relu}


def attention(x, variables, name, heads):
    """Self-attention of one text (T, H), head by head."""
    query, key, value = (
        dense(x, variables, f"{name}/{part}") for part in ("query", "key", "value")
    )
    size = x.shape[-1] // heads
    outputs = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / np.sqrt(size)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        outputs.append(weights / weights.sum(axis=-1, keepdims=True) @ value[:, part])
    return np.concatenate(outputs, axis=-1)


def transformer_layer(x, variables, config, names):
    """One layer, (T, H) to (T, H); `names` are those of its five parts with weights."""
    attention_part, attention_norm, intermediate, output, output_norm = names
    attended = attention(x, variables, f"{attention_part}/self", config["num_attention_heads"])
    attended = dense(attended, variables, f"{attention_part}/output/dense")
    x = layer_norm(x + attended, variables, attention_norm)
    inner = ACTIVATIONS[config["hidden_act"]](dense(x, variables, intermediate))
    return layer_norm(x + dense(inner, variables, output), variables, output_norm)


def brightmart(token_ids, segment_ids, variables, config):
    """Encode one text (T,) to (T, H); all layers share one set of weights."""
    words = variables["bert/embeddings/word_embeddings"][token_ids]
    x = words @ variables["bert/embeddings/word_embeddings_2"]
    x = x + variables["bert/embeddings/token_type_embeddings"][segment_ids]
    x = x + variables["bert/embeddings/position_embeddings"][: len(token_ids)]
    x = layer_norm(x, variables, "bert/embeddings/LayerNorm")
    layer = "bert/encoder/layer_shared"
    names = (
        f"{layer}/attention",
        f"{layer}/attention/output/LayerNorm",
        f"{layer}/intermediate/dense",
        f"{layer}/output/dense",
        f"{layer}/output/LayerNorm",
    )
    for _ in range(config["num_hidden_layers"]):
        x = transformer_layer(x, variables, config, names)
    return x


def google(token_ids, segment_ids, variables, config):
    """Encode one text (T,) to (T, H); groups of layers, each of them several inner layers."""
    x = variables["bert/embeddings/word_embeddings"][token_ids]
    x = x + variables["bert/embeddings/token_type_embeddings"][segment_ids]
    x = x + variables["bert/embeddings/position_embeddings"][: len(token_ids)]
    x = layer_norm(x, variables, "bert/embeddings/LayerNorm")
    x = dense(x, variables, "bert/encoder/embedding_hidden_mapping_in")
    layers = config["num_hidden_layers"]
    for number in range(layers):
        group = int(number / layers * config["num_hidden_groups"])
        for repetition in range(config["inner_group_num"]):
            layer = f"bert/encoder/transformer/group_{group}/inner_group_{repetition}"
            names = (
                f"{layer}/attention_1",
                f"{layer}/LayerNorm",
                f"{layer}/ffn_1/intermediate/dense",
                f"{layer}/ffn_1/intermediate/output/dense",
                f"{layer}/LayerNorm_1",
            )
            x = transformer_layer(x, variables, config, names)
    return x

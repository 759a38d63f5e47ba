"""What the public albert-tiny checkpoints hold, and folders like them with random values."""

import json

import numpy as np
import tensorflow as tf

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
EMBEDDINGS = {
    "embeddings/LayerNorm/beta": ["width"],
    "embeddings/LayerNorm/gamma": ["width"],
    "embeddings/position_embeddings": ["max_position_embeddings", "width"],
    "embeddings/token_type_embeddings": ["type_vocab_size", "width"],
    "embeddings/word_embeddings": ["vocab_size", "embedding_size"],
}
BRIGHTMART = {
    **EMBEDDINGS,
    "embeddings/word_embeddings_2": ["embedding_size", "hidden_size"],
}
BRIGHTMART_LAYER = {
    "attention/output/LayerNorm/beta": ["hidden_size"],
    "attention/output/LayerNorm/gamma": ["hidden_size"],
    "attention/output/dense/bias": ["hidden_size"],
    "attention/output/dense/kernel": ["hidden_size", "hidden_size"],
    "attention/self/key/bias": ["hidden_size"],
    "attention/self/key/kernel": ["hidden_size", "hidden_size"],
    "attention/self/query/bias": ["hidden_size"],
    "attention/self/query/kernel": ["hidden_size", "hidden_size"],
    "attention/self/value/bias": ["hidden_size"],
    "attention/self/value/kernel": ["hidden_size", "hidden_size"],
    "intermediate/dense/bias": ["intermediate_size"],
    "intermediate/dense/kernel": ["hidden_size", "intermediate_size"],
    "output/LayerNorm/beta": ["hidden_size"],
    "output/LayerNorm/gamma": ["hidden_size"],
    "output/dense/bias": ["hidden_size"],
    "output/dense/kernel": ["intermediate_size", "hidden_size"],
}
GOOGLE = {
    **EMBEDDINGS,
    "encoder/embedding_hidden_mapping_in/bias": ["hidden_size"],
    "encoder/embedding_hidden_mapping_in/kernel": ["embedding_size", "hidden_size"],
}
GOOGLE_LAYER = {
    "LayerNorm/beta": ["hidden_size"],
    "LayerNorm/gamma": ["hidden_size"],
    "LayerNorm_1/beta": ["hidden_size"],
    "LayerNorm_1/gamma": ["hidden_size"],
    "attention_1/output/dense/bias": ["hidden_size"],
    "attention_1/output/dense/kernel": ["hidden_size", "hidden_size"],
    "attention_1/self/key/bias": ["hidden_size"],
    "attention_1/self/key/kernel": ["hidden_size", "hidden_size"],
    "attention_1/self/query/bias": ["hidden_size"],
    "attention_1/self/query/kernel": ["hidden_size", "hidden_size"],
    "attention_1/self/value/bias": ["hidden_size"],
    "attention_1/self/value/kernel": ["hidden_size", "hidden_size"],
    "ffn_1/intermediate/dense/bias": ["intermediate_size"],
    "ffn_1/intermediate/dense/kernel": ["hidden_size", "intermediate_size"],
    "ffn_1/intermediate/output/dense/bias": ["hidden_size"],
    "ffn_1/intermediate/output/dense/kernel": ["intermediate_size", "hidden_size"],
}
POOLER = {
    "bert/pooler/dense/bias": ["hidden_size"],
    "bert/pooler/dense/kernel": ["hidden_size", "hidden_size"],
}
PRETRAINING = {
    "cls/predictions/output_bias": ["vocab_size"],
    "cls/predictions/transform/LayerNorm/beta": ["hidden_size"],
    "cls/predictions/transform/LayerNorm/gamma": ["hidden_size"],
    "cls/predictions/transform/dense/bias": ["hidden_size"],
    "cls/predictions/transform/dense/kernel": ["hidden_size", "hidden_size"],
    "cls/seq_relationship/output_bias": [2],
    "cls/seq_relationship/output_weights": [2, "hidden_size"],
}

CONFIG = {
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "embedding_size": 128,
    "hidden_size": 312,
    "initializer_range": 0.02,
    "intermediate_size": 1248,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 4,
    "type_vocab_size": 2,
    "vocab_size": 21128,
}
BRIGHTMART_CONFIG = {**CONFIG, "directionality": "bidi", "pooler_fc_size": 768, "ln_type": "postln"}
GOOGLE_CONFIG = {**CONFIG, "num_hidden_groups": 1, "net_structure_type": 0, "inner_group_num": 1}
CONFIGS = {"brightmart": BRIGHTMART_CONFIG, "google": GOOGLE_CONFIG}
SMALL = {
    "vocab_size": 40,
    "embedding_size": 8,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_attention_heads": 3,
    "max_position_embeddings": 16,
}


def shapes(variant, config):
    """The variables of a public checkpoint, as its authors' programs write them."""
    if variant == "brightmart":
        names = {f"bert/{name}": shape for name, shape in BRIGHTMART.items()}
        layers = {f"bert/encoder/layer_shared/{n}": s for n, s in BRIGHTMART_LAYER.items()}
        names |= layers | POOLER | PRETRAINING
    else:
        names = {f"bert/{name}": shape for name, shape in GOOGLE.items()} | POOLER
        for group in range(config["num_hidden_groups"]):
            for inner in range(config["inner_group_num"]):
                layer = f"bert/encoder/transformer/group_{group}/inner_group_{inner}"
                names |= {f"{layer}/{name}": shape for name, shape in GOOGLE_LAYER.items()}
    width = config["hidden_size" if variant == "brightmart" else "embedding_size"]
    sizes = {**config, "width": width}
    return {name: [sizes.get(size, size) for size in shape] for name, shape in names.items()}


def random_values(variant, config, seed=0):
    rng = np.random.default_rng(seed)
    values = {
        name: rng.normal(0, 0.1, shape).astype("float32")
        for name, shape in shapes(variant, config).items()
    }
    for name in values:
        if name.endswith("gamma"):
            values[name] += 1
    return values


def write_tensorflow(prefix, values):
    """Write a checkpoint with the Saver of TensorFlow 1, as the public ones were."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver()
        saver.save(session, str(prefix), write_meta_graph=False, write_state=False)


def write_vocabulary(path, size):
    entries = [*SPECIAL_TOKENS, *(f"word{i}" for i in range(size - len(SPECIAL_TOKENS)))]
    path.write_text("\n".join(entries), encoding="utf-8")  # the real one ends without a newline too


def write_folder(folder, variant, values=None, **changes):
    """Write a folder like a public one; return its values and configuration."""
    config = CONFIGS[variant] | changes
    values = random_values(variant, config) if values is None else values
    write_tensorflow(folder / "albert_model.ckpt", values)
    (folder / "albert_config_tiny.json").write_text(json.dumps(config))
    write_vocabulary(folder / "vocab.txt", config["vocab_size"])
    return values, config

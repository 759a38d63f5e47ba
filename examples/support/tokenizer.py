"""WordPiece tokenization with the `tokenizers` library."""

import numpy as np
from tokenizers import BertWordPieceTokenizer

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def load_tokenizer(vocabulary):
    """Load a tokenizer from a `vocab.txt`: one entry a line, the line number is the id."""
    return BertWordPieceTokenizer(str(vocabulary), lowercase=True)


def train_tokenizer(texts, vocabulary_size):
    """Learn a vocabulary from texts."""
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(
        texts, vocab_size=vocabulary_size, special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    return tokenizer


def encode(tokenizer, texts, max_length):
    """Turn N texts into the encoder's inputs: int32 arrays of shape (N, max_length).

    Each text becomes [CLS], its first `max_length - 2` tokens, [SEP], and padding.
    """
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(length=max_length)
    encodings = tokenizer.encode_batch(list(texts))
    return {
        "token_ids": np.array([e.ids for e in encodings], "int32"),
        "segment_ids": np.array([e.type_ids for e in encodings], "int32"),
        "padding_mask": np.array([e.attention_mask for e in encodings], "int32"),
    }

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


def unknown_note(tokenizer, texts, sample=1000):
    """A sentence on how much of the texts the vocabulary does not know; None if that is little."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encodings = tokenizer.encode_batch(list(texts[:sample]), add_special_tokens=False)
    ids = [i for e in encodings for i in e.ids]
    share = ids.count(tokenizer.token_to_id("[UNK]")) / max(len(ids), 1)
    if share < 0.05:
        return None
    return f"The vocabulary does not know {share:.0%} of the tokens: expect low scores."

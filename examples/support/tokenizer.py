"""WordPiece tokenization with the `tokenizers` library."""

import json
import shutil
from pathlib import Path

from support.table import DataError

import numpy as np
from tokenizers import BertWordPieceTokenizer

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


CONFIGURATION = "tokenizer_config.json"


def load_tokenizer(vocabulary):
    """Load a tokenizer from a `vocab.txt`: one entry a line, the line number is the id.

    Whether capitals count says the `tokenizer_config.json` beside it. Without one they do where the
    vocabulary has a letter in both forms.
    """
    told = read_configuration(Path(vocabulary).with_name(CONFIGURATION))
    lowercase = told.get("do_lower_case")
    chinese = told.get("tokenize_chinese_chars")
    return BertWordPieceTokenizer(
        str(vocabulary),
        lowercase=not has_capitals(vocabulary) if lowercase is None else lowercase,
        strip_accents=told.get("strip_accents"),  # None: where capitals do not count
        handle_chinese_chars=True if chinese is None else chinese,
    )


def read_configuration(path):
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: no JSON file ({error}).") from None
    names = "do_lower_case", "strip_accents", "tokenize_chinese_chars"
    if not isinstance(told, dict):
        raise DataError(f"{path}: an object was expected.")
    for name in names:
        if not isinstance(told.get(name), bool | None):
            raise DataError(f"{path}: {name} must be true or false. Found: {told[name]!r}")
    return told


def has_capitals(vocabulary):
    """Whether a letter stands in a vocabulary both as a capital and as a small one."""
    entries = set(Path(vocabulary).read_text(encoding="utf-8").split("\n"))
    letters = {entry for entry in entries if len(entry) == 1}
    return any(letter != letter.lower() and letter.lower() in letters for letter in letters)


def copy_vocabulary(vocabulary, target):
    """Copy a `vocab.txt`, and what stands beside it on how texts are split."""
    shutil.copyfile(vocabulary, target)
    configuration = Path(vocabulary).with_name(CONFIGURATION)
    if configuration.exists():
        shutil.copyfile(configuration, Path(target).with_name(CONFIGURATION))


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

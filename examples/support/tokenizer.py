"""How texts are split into tokens: by `tokenizers`, or by the tokenizer of a KerasHub preset.

What a checkpoint's texts are split by is a path, its "vocabulary": a `vocab.txt`, a
`tokenizer.json`, or the folder of a preset.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from support.table import DataError

import numpy as np
from tokenizers import BertWordPieceTokenizer, Tokenizer, normalizers

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONFIGURATION = "tokenizer_config.json"
# in the order in which they count; the last is a folder, in that of a saved model
VOCABULARIES = ("tokenizer.json", "vocab.txt", "tokenizer")
# classes of `transformers` that take a tokenizer.json as it is
AS_IT_IS = ("PreTrainedTokenizerFast", "TokenizersBackend")


def find_vocabulary(folder):
    """What the folder of a checkpoint or of a saved model splits texts by; None if nothing is."""
    paths = [Path(folder, name) for name in VOCABULARIES]
    return next((path for path in paths if path.exists()), None)


def files_of(vocabulary):
    """The files that decide how texts are split."""
    vocabulary = Path(vocabulary)
    if vocabulary.is_dir():
        names = vocabulary / "config.json", vocabulary / "tokenizer.json"
        return [*names, *sorted(vocabulary.glob("assets/tokenizer/*"))]
    configuration = vocabulary.with_name(CONFIGURATION)
    return [vocabulary, *([configuration] if configuration.exists() else [])]


def copy_vocabulary(vocabulary, folder):
    """Copy a vocabulary, with what stands beside it on how texts are split, into a folder."""
    vocabulary, folder = Path(vocabulary), Path(folder)
    if vocabulary.is_dir():
        names = [Path("tokenizer", path.relative_to(vocabulary)) for path in files_of(vocabulary)]
    else:
        target = "tokenizer.json" if vocabulary.suffix == ".json" else "vocab.txt"
        names = [target, CONFIGURATION]
    for path, name in zip(files_of(vocabulary), names, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def load_tokenizer(vocabulary):
    """Load a tokenizer.

    Of a `vocab.txt`, one entry a line, the line number is the id. Whether capitals count says the
    `tokenizer_config.json` beside it. Without one they do where the vocabulary has a letter in both
    forms. A `tokenizer.json` says it itself, unless the configuration beside it has another word,
    which counts, as in `transformers`.
    """
    vocabulary = Path(vocabulary)
    if vocabulary.is_dir():
        return PresetTokenizer(vocabulary)
    told = read_configuration(vocabulary.with_name(CONFIGURATION))
    if vocabulary.suffix == ".json":
        return read_tokenizer(vocabulary, told)
    lowercase = told.get("do_lower_case")
    chinese = told.get("tokenize_chinese_chars")
    return BertWordPieceTokenizer(
        str(vocabulary),
        lowercase=not has_capitals(vocabulary) if lowercase is None else lowercase,
        strip_accents=told.get("strip_accents"),  # None: where capitals do not count
        handle_chinese_chars=True if chinese is None else chinese,
    )


def read_tokenizer(path, told):
    """Read a `tokenizer.json`."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # it has no class of its own
        raise DataError(
            f"{path}: not a file of the tokenizers package, or damaged ({error}). Fetch it again."
        ) from None
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer) and (
        told.get("tokenizer_class") not in AS_IT_IS
    ):
        for name, ours in (
            ("do_lower_case", "lowercase"),
            ("strip_accents", "strip_accents"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
        ):
            if told.get(name) is not None:
                setattr(normalizer, ours, told[name])
        tokenizer.normalizer = normalizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if len(tokenizer.encode("").ids) != 2:
        raise DataError(
            f"{path}: it puts no two tokens around a text, as [CLS] and [SEP], which encoders are "
            "trained with. Save it by `transformers`: AutoTokenizer.from_pretrained(FOLDER)"
            ".save_pretrained(FOLDER)."
        )
    return tokenizer


@dataclass
class Tokens:
    """The tokens of a text."""

    ids: list[int]

    def __len__(self):
        return len(self.ids)


class PresetTokenizer:
    """The tokenizer of a KerasHub preset, with what the examples call of one of `tokenizers`."""

    def __init__(self, folder):
        import keras_hub

        try:
            self.tokenizer = keras_hub.tokenizers.Tokenizer.from_preset(str(folder))
        except Exception as error:  # of many classes, as each tokenizer has its own files
            raise DataError(
                f"{folder}: its tokenizer cannot be loaded ({type(error).__name__}: {error}). A "
                "preset with a tokenizer is needed, as TextClassifier.save_to_preset writes it."
            ) from None
        self.longest = None

    def enable_truncation(self, max_length):
        self.longest = max_length

    def no_truncation(self):
        self.longest = None

    def no_padding(self):
        pass

    def encode_batch(self, texts, add_special_tokens=True):
        rows = self.tokenizer(list(texts)) if texts else []
        rows = rows.to_list() if hasattr(rows, "to_list") else [list(map(int, row)) for row in rows]
        if not add_special_tokens:
            return [Tokens(row[: self.longest]) for row in rows]
        first, last = self.tokenizer.start_token_id, self.tokenizer.end_token_id
        most = None if self.longest is None else self.longest - 2
        return [Tokens([first, *row[:most], last]) for row in rows]

    def token_to_id(self, token):
        if token == "[PAD]":
            return self.tokenizer.pad_token_id
        try:
            return self.tokenizer.token_to_id(token)
        except (KeyError, ValueError):
            return None

    def get_vocab_size(self):
        return self.tokenizer.vocabulary_size()


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
    tokenizer.no_padding()
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return padded(ids, max_length, padding_id(tokenizer))


def padded(ids, length, padding):
    """The encoder's inputs for lists of ids, (N, length)."""
    token_ids = np.full((len(ids), length), padding, "int32")
    padding_mask = np.zeros_like(token_ids)
    for row, text in enumerate(ids):
        token_ids[row, : len(text)] = text
        padding_mask[row, : len(text)] = 1
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": padding_mask,
    }


def padding_id(tokenizer):
    """The id of padding; any where there is none, as padding is masked."""
    return first_known(tokenizer, "[PAD]", "<pad>") or 0


def first_known(tokenizer, *tokens):
    return next((i for i in map(tokenizer.token_to_id, tokens) if i is not None), None)


def unknown_note(tokenizer, texts, sample=1000):
    """A sentence on how much of the texts the vocabulary does not know; None if that is little."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encodings = tokenizer.encode_batch(list(texts[:sample]), add_special_tokens=False)
    ids = [i for e in encodings for i in e.ids]
    share = ids.count(first_known(tokenizer, "[UNK]", "<unk>")) / max(len(ids), 1)
    if share < 0.05:
        return None
    return f"The vocabulary does not know {share:.0%} of the tokens: expect low scores."

"""How texts become the encoder's inputs: by `tokenizers`, or by a KerasHub preprocessor."""

import json
import shutil
from pathlib import Path

from support import UserError

import numpy as np
from tokenizers import BertWordPieceTokenizer, Tokenizer

FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
PREPROCESSOR = "preprocessor.keras"  # in the folder of a saved model


def load_tokens(folder, preset=None):
    """Its `tokenizer.json`, or else its `vocab.txt`, or else a KerasHub preprocessor."""
    folder = Path(folder)
    try:
        path = folder / "tokenizer.json"
        keras = path.exists() and '"registered_name":' in path.read_text(encoding="utf-8")
        if not keras and any((folder / name).exists() for name in FILES[:2]):
            return FileTokens(folder)
        return PresetTokens(preset or folder / PREPROCESSOR)
    except Exception as error:  # neither package has a class of its own
        raise UserError(f"{folder}: its tokenizer cannot be loaded: {error}") from None


class FileTokens:
    """Tokens by a `tokenizer.json`, or by a `vocab.txt` of BERT's form, one entry a line."""

    def __init__(self, folder):
        self.folder = folder
        path, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
        if path.exists():
            self.tokenizer = Tokenizer.from_file(str(path))
        else:
            path = folder / "tokenizer_config.json"
            told = json.loads(path.read_text("utf-8")) if path.exists() else {}
            lowercase = told.get("do_lower_case", not has_capitals(vocabulary))
            self.tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=lowercase)
        self.tokenizer.no_padding()
        if len(self.tokenizer.encode("").ids) != 2:
            raise ValueError("it adds no [CLS] and [SEP] to a text")
        ids = map(self.tokenizer.token_to_id, ("[PAD]", "<pad>"))
        self.padding = next((i for i in ids if i is not None), 0)

    def __call__(self, texts, max_length):
        """The inputs for N texts: int32 arrays of shape (N, max_length)."""
        self.tokenizer.enable_truncation(max_length)
        self.tokenizer.enable_padding(length=max_length, pad_id=self.padding)
        encodings = self.tokenizer.encode_batch(list(texts))
        token_ids = np.array([encoding.ids for encoding in encodings], "int32")
        padding_mask = np.array([encoding.attention_mask for encoding in encodings], "int32")
        segment_ids = np.zeros_like(token_ids)
        return {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask}

    def save(self, folder):
        for name in FILES:
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, folder / name)


def has_capitals(vocabulary):
    entries = set(vocabulary.read_text(encoding="utf-8").split("\n"))
    return any(len(e) == 1 and e != e.lower() and e.lower() in entries for e in entries)


class PresetTokens:
    """Tokens by the preprocessor of a KerasHub preset, or by one that was saved."""

    def __init__(self, preset):
        import keras
        import keras_hub

        if Path(preset).name == PREPROCESSOR:
            self.preprocessor = keras.saving.load_model(preset).layers[0]
        else:
            kind = keras_hub.models.TextClassifierPreprocessor
            self.preprocessor = kind.from_preset(str(preset))

    def __call__(self, texts, max_length):
        self.preprocessor.sequence_length = max_length
        inputs = self.preprocessor(list(texts))
        return {name: np.asarray(value).astype("int32") for name, value in inputs.items()}

    def save(self, folder):
        import keras

        keras.Sequential([self.preprocessor]).save(folder / PREPROCESSOR)

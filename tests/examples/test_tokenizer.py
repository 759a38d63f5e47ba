"""The examples' tokenizer, against BERT's own."""

from support.table import DataError
from support.tokenizer import (
    SPECIAL_TOKENS,
    copy_vocabulary,
    encode,
    load_tokenizer,
    unknown_note,
)

import numpy as np
import pytest

ENTRIES = [
    *SPECIAL_TOKENS,
    "，",
    "。",
    "！",
    "(",
    ")",
    "%",
    "1",
    "19",
    "##98",
    "万",
    "亿",
    "中",
    "国",
    "人",
    "a",
    "app",
    "##le",
    "##s",
    "cafe",
    "résumé",
    "ios",
    "##x",
]
TEXTS = [
    "中国人！",
    "1998万亿国人apples",
    "APPLE的Café，(résumé) 19%。",
    "中\u3000国\u00a0人\u200b\ufeff\t\n",
    "囧",
    "iOSxyz",
    "１９９８ ａｐｐ",
    "👍中😀国",
    "[SEP]中[MASK]国",
    "",
    "a" * 150 + "中",
]


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(ENTRIES) + "\n", encoding="utf-8")
    return path


def test_ids_are_bert_s(vocabulary):
    legacy = pytest.importorskip("transformers.models.bert.tokenization_bert_legacy")
    theirs = legacy.BertTokenizerLegacy(str(vocabulary), do_lower_case=True)
    ids = encode(load_tokenizer(vocabulary), TEXTS, 12)["token_ids"]
    for text, row in zip(TEXTS, ids.tolist(), strict=True):
        expected = theirs(text, truncation=True, max_length=12, padding="max_length")
        assert row == expected["input_ids"], text


def test_characters_lower_case_and_unknown_ones(vocabulary):
    inputs = encode(load_tokenizer(vocabulary), ["国APPles囧"], 8)
    tokens = [ENTRIES[i] for i in inputs["token_ids"][0]]
    assert tokens == ["[CLS]", "国", "app", "##le", "##s", "[UNK]", "[SEP]", "[PAD]"]
    np.testing.assert_array_equal(inputs["padding_mask"][0], [1, 1, 1, 1, 1, 1, 1, 0])


CASED = [*SPECIAL_TOKENS, "X", "x", "Ä", "ä", "a", "##x", "##X"]


def first_tokens(path, text="X Ä x"):
    ids = encode(load_tokenizer(path), [text], 8)["token_ids"][0]
    return [CASED[i] for i in ids][1:4]


def write(folder, configuration=None):
    path = folder / "vocab.txt"
    path.write_text("\n".join(CASED) + "\n", encoding="utf-8")
    if configuration is not None:
        (folder / "tokenizer_config.json").write_text(configuration, encoding="utf-8")
    return path


def test_capitals_count_where_the_vocabulary_has_a_letter_in_both_forms(tmp_path):
    assert first_tokens(write(tmp_path)) == ["X", "Ä", "x"]


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ('{"do_lower_case": false}', ["X", "Ä", "x"]),
        ('\ufeff{"do_lower_case": false, "strip_accents": true}', ["X", "[UNK]", "x"]),
        ('{"do_lower_case": true}', ["x", "a", "x"]),
        ('{"do_lower_case": true, "strip_accents": false}', ["x", "ä", "x"]),
        ('{"model_max_length": 512}', ["X", "Ä", "x"]),
    ],
)
def test_the_configuration_says_whether_capitals_count(tmp_path, configuration, expected):
    path = write(tmp_path, configuration)
    assert first_tokens(path) == expected
    copied = tmp_path / "model" / "vocab.txt"
    copy_vocabulary(path, copied.parent)
    assert first_tokens(copied) == expected


@pytest.mark.parametrize("configuration", ["{", "[]", '{"do_lower_case": "false"}'])
def test_a_configuration_that_cannot_be_read(tmp_path, configuration):
    with pytest.raises(DataError, match=r"tokenizer_config\.json"):
        load_tokenizer(write(tmp_path, configuration))


def test_cased_ids_are_bert_s(tmp_path):
    legacy = pytest.importorskip("transformers.models.bert.tokenization_bert_legacy")
    path = write(tmp_path)
    theirs = legacy.BertTokenizerLegacy(str(path), do_lower_case=False)
    for text in ("X", "aX Äx", "xX ä a"):
        assert load_tokenizer(path).encode(text).ids == theirs(text)["input_ids"]


def test_texts_of_another_language_are_noted(vocabulary):
    tokenizer = load_tokenizer(vocabulary)
    assert unknown_note(tokenizer, ["中国人", "apples"]) is None
    assert "does not know 50% of the tokens" in unknown_note(tokenizer, ["中国 zzz zzz"])

"""The examples' tokenizer, against BERT's own."""

from support.tokenizer import SPECIAL_TOKENS, encode, load_tokenizer

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

"""Do the examples split texts as the published checkpoints expect?

Compares token ids with those of BERT's own tokenizer, as `transformers` has it in Python, on every
text of some files, whole and cut to a length:

    python benchmarks/tokenizers_agree.py VOCAB_TXT FILE...

VOCAB_TXT is a checkpoint's `vocab.txt`; the files are tables of texts, as the examples take them.
"""

import sys
from pathlib import Path

from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from support.columns import find_text
from support.data import with_text
from support.file_options import FileOptions
from support.files import open_table
from support.tokenizer import encode, load_tokenizer

MAX_LENGTH = 64


def differing(vocabulary, texts):
    """Return the texts whose ids differ, and the number of ids."""
    ours, theirs = load_tokenizer(vocabulary), BertTokenizerLegacy(vocabulary, do_lower_case=True)
    whole = [encoding.ids for encoding in ours.encode_batch(texts)]
    cut = encode(ours, texts, MAX_LENGTH)["token_ids"].tolist()
    differ = [
        text
        for text, ids, cut_ids in zip(texts, whole, cut, strict=True)
        if ids != theirs(text)["input_ids"]
        or cut_ids
        != theirs(text, truncation=True, max_length=MAX_LENGTH, padding="max_length")["input_ids"]
    ]
    return differ, sum(map(len, whole))


def texts_of(path):
    options = FileOptions()
    table = open_table(path, options)
    frame = table.frame()
    return with_text(table, frame, find_text(table, frame, options))[0]


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    vocabulary, *files = sys.argv[1:]
    texts = [text for path in files for text in texts_of(path)]
    differ, ids = differing(vocabulary, texts)
    print(f"{len(texts):,} texts, {ids:,} ids: {len(differ):,} texts differ.")
    print(*differ[:10], sep="\n")


if __name__ == "__main__":
    main()

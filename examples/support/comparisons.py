"""Comparing what is in a checkpoint with its configuration: what does not fit is refused."""

import re

from support.architecture import CheckpointError
from support.tokenizer import find_vocabulary, load_tokenizer
from support.variables import variable_shapes

OPTIMIZER = re.compile(r"(.*/)?(adam_[mv]|lamb_[mv]|global_step|beta[12]_power|Adam(_1)?)$")
HEADS = re.compile(
    r"(pooler|cls|classifier|pre_classifier|predictions|sop_classifier|qa_outputs|output_"
    r"|lm_head|generator_|discriminator_|vocab_|summary)"
)
NEEDED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
OTHERS = re.compile(r".*(position|token_type)_ids$")  # constants that older files hold


def compare_names(checkpoint, stem):
    """Refuse missing and surplus variables; return those that are not the encoder's."""
    expected, present = set(checkpoint.names.values()), set(checkpoint.file.shapes)
    architecture = checkpoint.architecture
    mend = (
        f"{checkpoint.configuration.name} says layers {architecture.layers}, groups "
        f"{architecture.groups}, inner repetitions {architecture.inner_repetitions}; use the "
        "configuration that came with the checkpoint."
    )
    if missing := sorted(expected - present):
        raise CheckpointError(
            f"{checkpoint.file.path}: of the {len(expected)} variables of the {checkpoint.form} "
            f"format, {len(missing)} are missing: {listing(missing)}. {mend}"
        )
    others = sorted(present - expected)
    surplus = [
        name
        for name in others
        if name.startswith(stem)
        and not HEADS.match(name.removeprefix(stem))
        and not OPTIMIZER.fullmatch(name)
        and not OTHERS.fullmatch(name)
    ]
    if surplus:
        raise CheckpointError(
            f"{checkpoint.file.path}: {len(surplus)} variables have no place in an encoder of the "
            f"{checkpoint.form} format: {listing(surplus)}. {mend}"
        )
    return others


def compare_shapes(checkpoint):
    expected = variable_shapes(checkpoint.architecture)
    wrong = []
    for ours, name in checkpoint.names.items():
        shape, wanted = checkpoint.file.shapes[name], expected[ours]
        if ours == "position_embedding/embeddings":
            wanted = (wanted[0] + checkpoint.reserved, wanted[1])
        if checkpoint.form == "hugging_face" and ours.endswith("/kernel"):
            wanted = wanted[::-1]
        if shape != wanted:
            wrong.append(f"{name} is {shape}, expected {wanted}")
    if wrong:
        raise CheckpointError(
            f"{checkpoint.file.path}: shapes contradict {checkpoint.configuration.name}: "
            f"{listing(wrong, '; ')}. Use the configuration that came with the checkpoint."
        )


def compare_tokens(checkpoint):
    """Refuse a vocabulary of another encoder; in Hugging Face's format it may be the smaller."""
    path, size = checkpoint.folder / "vocab.txt", checkpoint.architecture.vocabulary_size
    if checkpoint.form != "hugging_face":
        if path.exists():
            compare_vocabulary(path, size, checkpoint.configuration)
        return
    path = find_vocabulary(checkpoint.folder)
    if path is None:  # told when texts are to be split
        return
    if path.name == "vocab.txt":
        check_vocabulary(path)
    entries = load_tokenizer(path).get_vocab_size()
    if entries > size:
        raise CheckpointError(
            f"{path}: {entries:,} entries where {checkpoint.configuration} says vocab_size "
            f"{size:,}. Use what came with the checkpoint."
        )


def check_vocabulary(path, needed=NEEDED):
    """Refuse a vocabulary without the entries that every text needs."""
    entries = {line.strip() for line in path.read_bytes().split(b"\n")}
    if missing := [entry for entry in needed if entry.encode() not in entries]:
        raise CheckpointError(
            f"{path}: no entry {' and no '.join(missing)}. A WordPiece vocabulary of BERT's or "
            "ALBERT's form is expected, one entry a line."
        )


def compare_vocabulary(path, size, said_by):
    content = path.read_bytes()
    entries = content.count(b"\n") + (not content.endswith(b"\n"))
    if entries != size:
        raise CheckpointError(
            f"{path}: {entries:,} entries where {said_by} says vocab_size {size:,}. Use the "
            "vocabulary that came with the checkpoint, one entry a line."
        )
    check_vocabulary(path)


def head_of(name):
    return re.split(r"[/.]", re.sub(r"^(bert|albert)[/.]", "", name))[0]


def listing(items, joint=", ", limit=5):
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return joint.join(items[:limit]) + more if items else "nothing"

import sys
from dataclasses import replace

from support.albert_tiny import albert_tiny
from support.table import DataError
from support.tokenizer import encode, load_tokenizer, train_tokenizer, unknown_note

import numpy as np
import pytest
import tensorflow as tf

from albert_checkpoints import SMALL, write_folder
from backends import to_numpy
from pretrain import MaskedText, Trapezoid, main, start_from

DOCUMENTS = ["the quick brown fox jumps over the lazy dog", "a lazy fox", "dogs and foxes"] * 9


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(DOCUMENTS, 60)


@pytest.fixture
def text(tokenizer):
    return MaskedText(DOCUMENTS, tokenizer, length=20, batch_size=4, seed=0)


def test_encode_adds_special_tokens_and_padding(tokenizer, tmp_path):
    tokenizer.save_model(str(tmp_path))
    inputs = encode(load_tokenizer(tmp_path / "vocab.txt"), ["The FOX", "the " * 30], 6)
    ids = {name: tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[PAD]", "the")}
    assert inputs["token_ids"].shape == (2, 6) and inputs["token_ids"].dtype == "int32"
    assert inputs["token_ids"][0, 0] == ids["[CLS]"]
    assert inputs["token_ids"][1].tolist() == [ids["[CLS]"], *[ids["the"]] * 4, ids["[SEP]"]]
    np.testing.assert_array_equal(inputs["padding_mask"], inputs["token_ids"] != ids["[PAD]"])


def test_masking_hides_only_the_chosen_tokens(text):
    inputs, targets, weights = text.batch(0)
    np.testing.assert_array_equal(
        targets["together"], np.where(weights["each"] == 1, targets["each"], -1)
    )
    targets, weights = targets["each"], weights["each"]
    original = text.sequences(0)[:4]
    positions = inputs["mask_positions"]
    np.testing.assert_array_equal(np.take_along_axis(original, positions, 1), targets)
    untouched = np.ones_like(original, bool)
    np.put_along_axis(untouched, positions, False, axis=1)
    np.testing.assert_array_equal(inputs["token_ids"][untouched], original[untouched])
    assert not np.isin(targets[weights == 1], text.specials).any()
    masked = np.take_along_axis(inputs["token_ids"], positions, 1)[weights == 1] == text.mask
    assert 0.5 < masked.mean() < 1


def test_a_step_is_the_same_in_every_run_and_differs_from_others(text, tokenizer):
    again = MaskedText(DOCUMENTS, tokenizer, length=20, batch_size=4, seed=0)
    step = text.batches_per_pass + 1
    text.batch(0)
    np.testing.assert_array_equal(
        text.batch(step)[0]["token_ids"], again.batch(step)[0]["token_ids"]
    )
    assert (
        text.batch(step)[1]["each"] != text.batch(step - text.batches_per_pass)[1]["each"]
    ).any()


def test_too_little_text_is_refused(tokenizer):
    with pytest.raises(DataError, match="do not fill one batch"):
        MaskedText(["a fox"], tokenizer, length=20, batch_size=4, seed=0)


def test_learning_rate_rises_stays_and_falls():
    rate = Trapezoid(peak=2.0, warmup=10, steps=100)
    values = [float(rate(step)) for step in (0, 9, 30, 60, 80, 100)]
    np.testing.assert_allclose(values, [0.2, 2.0, 2.0, 2.0, 1.0, 0.0], rtol=1e-6)


def test_texts_of_another_language_are_noted(tokenizer):
    assert unknown_note(tokenizer, DOCUMENTS) is None
    assert "does not know 50% of the tokens" in unknown_note(tokenizer, ["the fox 敏捷"])


def test_a_sequence_begins_with_a_document(text, tokenizer):
    sequences = text.sequences(1)
    assert sequences.shape == (len(DOCUMENTS), 20)
    np.testing.assert_array_equal(sequences[:, 0], text.cls)
    beginnings = {tuple(document[:4]) for document in text.documents}
    assert {tuple(row[1:5]) for row in sequences} == beginnings
    assert text.frequencies.sum() == pytest.approx(1)


@pytest.mark.slow
def test_it_writes_a_checkpoint_and_a_finished_run_writes_it_again(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("\n".join(DOCUMENTS))
    command = ["x", str(tmp_path / "text.txt"), "--output", str(tmp_path / "out")]
    command += ["--steps", "2", "--warmup", "1", "--batch-size", "4", "--max-length", "16"]
    command += ["--vocabulary-size", "60", "--variant", "brightmart"]

    def pretrain(*options):
        monkeypatch.setattr(sys, "argv", [*command, *options])
        main()
        return albert_tiny(tmp_path / "out")

    trained = pretrain()
    assert trained.architecture.variant == "brightmart"
    assert trained.architecture.positions == 16
    (tmp_path / "out" / "albert_model.ckpt.index").unlink()
    for weight, expected in zip(pretrain().get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    half = pretrain("--float16")
    reader = tf.train.load_checkpoint(str(tmp_path / "out" / "albert_model.ckpt"))
    assert set(reader.get_variable_to_dtype_map().values()) == {tf.float16}
    for weight, expected in zip(half.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected.astype("float16"))


@pytest.mark.slow
def test_a_vocabulary_that_was_told_goes_into_the_checkpoint(tmp_path, monkeypatch, tokenizer):
    (tmp_path / "told").mkdir()
    tokenizer.save_model(str(tmp_path / "told"))
    vocabulary = tmp_path / "told" / "vocab.txt"
    (tmp_path / "text.txt").write_text("\n".join(DOCUMENTS))
    command = ["x", str(tmp_path / "text.txt"), "--output", str(tmp_path / "out")]
    command += ["--steps", "1", "--batch-size", "4", "--max-length", "8"]
    monkeypatch.setattr(sys, "argv", [*command, "--vocabulary", str(vocabulary)])
    main()
    assert (tmp_path / "out" / "vocab.txt").read_bytes() == vocabulary.read_bytes()
    encoder = albert_tiny(tmp_path / "out")
    assert encoder.architecture.vocabulary_size == tokenizer.get_vocab_size()


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Pretrain a small encoder for two steps; another call goes on with what it is told."""
    (tmp_path / "text.txt").write_text("\n".join(DOCUMENTS))
    small = ["--warmup", "1", "--batch-size", "4", "--max-length", "8", "--vocabulary-size", "60"]

    def command(*options):
        given = [tmp_path / "text.txt", "--output", tmp_path / "out", "--steps", 2, *small]
        monkeypatch.setattr(sys, "argv", ["x", *map(str, [*given, *options])])
        main()

    return command


@pytest.mark.slow
def test_what_went_wrong_is_not_gone_on_with(command, tmp_path, capsys, monkeypatch):
    command()
    out = tmp_path / "out"
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.name != "log.csv"}
    (tmp_path / "text.txt").write_text("\n".join([*DOCUMENTS, "more"]))
    command("--seed", 1, "--steps", 2)
    said = capsys.readouterr().out
    assert "another text than" in said and "another seed than" in said and "batch" in said
    assert "another batch size" not in said

    with monkeypatch.context() as patch:  # as a learning rate that is too high leaves them
        patch.setattr("pretrain.Trapezoid.__call__", lambda *_: float("nan"))
        with pytest.raises(DataError, match=r"weights became NaN.*lower --learning-rate"):
            command("--steps", 4)
    for name in ("checkpoint.weights.h5", "albert_model.ckpt.data-00000-of-00001"):
        assert (out / name).read_bytes() == before[name]

    checkpoint = out / "checkpoint.weights.h5"
    checkpoint.write_bytes(checkpoint.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"checkpoint.weights.h5: damaged.*begin again"):
        command("--steps", 4)
    (out / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run.json is damaged"):
        command("--steps", 4)
    (out / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"no entry \[PAD\] and no \[UNK\]"):
        command()


@pytest.mark.parametrize(
    "wrong",
    ["--max-length 2", "--batch-size 0", "--steps 0", "--warmup 0", "--save-every 0",
     "--vocabulary-size 0", "--learning-rate nan", "--minutes nan", "--seed -1",
     "--dtype-policy bf16"],
)  # fmt: skip
def test_options_without_a_meaning_are_refused(command, capsys, wrong):
    with pytest.raises(SystemExit):
        command(*wrong.split())
    assert wrong.split()[0] in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def start(tmp_path):
    write_folder(tmp_path / "start", "brightmart", **SMALL)
    return tmp_path / "start"


def test_an_encoder_to_start_from_gets_more_positions_and_loses_none(start):
    short = albert_tiny(start)
    length = short.architecture.positions
    longer = start_from(start, 2 * length + 1)
    table = to_numpy(longer.get_layer("position_embedding").weights[0])
    np.testing.assert_array_equal(table[length : 2 * length], table[:length])
    inputs = {
        name: np.ones((2, length), "int32") for name in ("token_ids", "segment_ids", "padding_mask")
    }
    np.testing.assert_allclose(to_numpy(longer(inputs)), to_numpy(short(inputs)), atol=1e-6)
    assert start_from(start, length - 1).architecture == short.architecture


@pytest.fixture
def go_on(start, tmp_path, monkeypatch):
    """Pretrain for a step at no learning rate, from `start`."""
    (tmp_path / "text.txt").write_text("word1 word2 word3\nword4 word5\n" * 9)
    command = ["x", str(tmp_path / "text.txt"), "--steps", "1", "--batch-size", "4"]
    command += ["--learning-rate", "1e-9", "--start", str(start)]

    def go_on(output, length, *options):
        more = ["--output", str(output), "--max-length", str(length), *options]
        monkeypatch.setattr(sys, "argv", command + more)
        main()
        return albert_tiny(output)

    return go_on


@pytest.mark.slow
def test_pretraining_goes_on_from_an_encoder(start, go_on, tmp_path):
    trained, before = go_on(tmp_path / "out", 50), start_from(start, 50)
    assert trained.architecture == before.architecture
    for weight, expected in zip(trained.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-7)
    assert (tmp_path / "out" / "vocab.txt").read_bytes() == (start / "vocab.txt").read_bytes()


def test_what_a_start_cannot_have_is_refused(start, go_on, tmp_path, capsys):
    for options in (["--variant", "google"], ["--vocabulary-size", "9"]):
        with pytest.raises(SystemExit):
            go_on(tmp_path / "out", 8, *options)
        assert "leave out --variant" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        go_on(start, 8)
    assert "another folder" in capsys.readouterr().err
    go_on(tmp_path / "out", 8)
    with pytest.raises(DataError, match="max_length: 8 there, 9 now"):
        go_on(tmp_path / "out", 9)


def test_an_encoder_that_could_not_be_written_is_refused_first(go_on, tmp_path, monkeypatch):
    real = albert_tiny

    def exact_gelu(*arguments, **options):
        encoder = real(*arguments, **options)
        encoder.architecture = replace(encoder.architecture, activation="gelu")
        return encoder

    monkeypatch.setattr("pretrain.albert_tiny", exact_gelu)
    with pytest.raises(DataError, match="no name for the activation 'gelu'"):
        go_on(tmp_path / "out", 8)
    assert not (tmp_path / "out" / "log.csv").exists()

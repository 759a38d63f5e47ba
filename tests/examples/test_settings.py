import sys

from support import settings
from support.data import Corpus
from support.settings import BUNDLED_ENCODER, parse_arguments
from support.splits import Data
from support.table import DataError
from support.task import Task

import numpy as np
import pytest

import fgm
import gradient_penalty
import r_drop
import sigmoid
from albert_checkpoints import SMALL, write_folder, write_vocabulary
from backends import BACKEND, to_numpy

POLICY = "--dtype-policy", "float32"  # told always, as the default is the machine's
TEXTS = ["word1 unheard", "word3", "word4 unheard", "word5"]


@pytest.fixture
def parse(monkeypatch):
    def parse(*options):
        monkeypatch.setattr(sys, "argv", ["x", *map(str, options)])
        return parse_arguments("", ["sigmoid", "fgm", "r_drop"])[0]

    return parse


@pytest.mark.parametrize("flags", ["fpu avx512_bf16 amx_bf16 amx_tile", "fpu avx2"])
def test_bfloat16_is_the_default_where_it_is_faster(flags, parse, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    monkeypatch.setattr(settings, "PROCESSOR", tmp_path / "cpuinfo")
    faster = BACKEND == "tensorflow" and "amx_bf16" in flags
    assert parse().dtype_policy == ("mixed_bfloat16" if faster else "float32")
    assert parse("--dtype-policy", "float32").dtype_policy == "float32"
    monkeypatch.setattr(settings, "PROCESSOR", tmp_path / "none")  # as on other systems
    assert parse().dtype_policy == "float32"
    given = parse("--dtype-policy", "mixed_bfloat16")
    assert [*given.options()] == ["--dtype-policy", "mixed_bfloat16"]


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "encoder", "brightmart", **SMALL)
    return tmp_path / "encoder"


def task(settings):
    labels = np.eye(4, 3, dtype="uint8")
    corpus = Corpus(TEXTS, labels, ["a", "b", "c"])
    return Task(settings, corpus, corpus, corpus)


def test_what_suits_follows_from_the_weights(parse, folder):
    def suited(*options):
        settings = parse(*options)
        return (
            settings.learning_rate,
            settings.epochs,
            settings.max_length,
            settings.fine_tuning.r_drop_dropout,
        )

    assert suited() == (1e-3, 3, 48, 0.1)
    rate, epochs, length, dropout = suited("--checkpoint", folder)
    assert 2e-5 <= rate <= 1e-4 and epochs > 2 and (length, dropout) == (64, 0.3)
    assert suited("--init", "random") == (6e-4, 8, 48, 0.1)
    told = "--learning-rate", "3e-4", "--epochs", "1", "--max-length", "9"
    for start in ([], ["--checkpoint", folder], ["--init", "random"]):
        assert suited(*start, *told)[:3] == (3e-4, 1, 9)


def test_results_of_another_encoder_or_rate_have_a_folder_of_their_own(parse, folder, tmp_path):
    settings = [
        parse(),
        parse("--learning-rate", "1e-4"),
        parse("--dropout", "0.3"),
        parse("--checkpoint", folder),
    ]
    write_vocabulary(folder / "vocab.txt", 40)
    (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text().replace("word1", "w"))
    settings.append(parse("--checkpoint", folder))  # the same path, other content
    assert len({str(s.folder()) for s in settings}) == 5
    assert [s.variant for s in settings] == [*["google"] * 3, *["brightmart"] * 2]
    assert set(settings[3].files) == {
        "train", "test", "albert_config_tiny.json", "albert_model.ckpt.index",
        "albert_model.ckpt.data-00000-of-00001", "vocab.txt",
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--learning-rate 0.002 --samples 100 --strength 0.5",
        "--strength 1.0",
        "--per-row fgm.strength=0.5 r_drop.dropout=0.2 fgm.learning_rate=0.01",
        "--init random --variant brightmart --vocabulary-size 90 --epochs 3",
        "--train a.csv --test b.csv --view cls --separator ; --aspects food price",
        "--train a.csv --test b.csv --separator=-|",
        "--train a.csv --test b.csv --no-header --text-column 1 --encoding gb18030",
        "--train a.csv --test b.csv --label-columns toxic rude --delimiter tab --quotes none",
        "--train a.xlsx --test b.xlsx --label-names labels.txt --sheet Data",
    ],
)
def test_options_lead_to_the_same_settings(parse, options):
    settings = parse(*options.split())
    assert sorted(settings.options()) == sorted([*options.split(), *POLICY])
    assert parse(*settings.options()) == settings


def test_options_name_the_checkpoint_and_not_its_variant(parse, folder):
    settings = parse("--checkpoint", folder)
    assert list(settings.options()) == [*POLICY, "--checkpoint", str(folder)]


def test_strength_multiplies_epsilon_and_alpha(parse):
    weak, usual = task(parse("--strength", "0.5")), task(parse())
    assert fgm.build(weak).epsilon == 0.25
    assert r_drop.build(weak).loss.alpha == 0.5 * r_drop.build(usual).loss.alpha


def test_strength_multiplies_the_penalty(parse):
    model = gradient_penalty.build(task(parse("--strength", "0.5")))
    assert (model.loss if BACKEND == "tensorflow" else model).epsilon == 0.5


def test_a_row_may_have_settings_of_its_own(parse):
    settings = parse("--per-row", "fgm.strength=2", "r_drop.dropout=0.25", "fgm.learning_rate=1e-2")
    own = settings.of("fgm")
    assert (own.strength, own.learning_rate, own.dropout) == (2, 0.01, None)
    assert (settings.of("r_drop").strength, settings.of("r_drop").dropout) == (0.1, 0.25)
    assert settings.of("sigmoid") == settings
    twice = parse("--per-row", "fgm.strength=2", "--per-row", "r_drop.dropout=0.25")
    assert twice.per_row["fgm"] == {"strength": 2} and twice.of("r_drop").dropout == 0.25


def test_strengths_that_suit_the_bundled_encoder_give_way_to_a_given_one(parse):
    rows = "fgm", "gradient_penalty", "r_drop"
    assert [parse().of(row).strength for row in rows] == [0.25, 0.5, 0.1]
    assert parse("--per-row", "fgm.dropout=0.1").of("fgm").strength == 0.25
    for options in (["--strength", 1], ["--init", "random"]):
        assert {parse(*options).of(row).strength for row in rows} == {1.0}


@pytest.mark.parametrize(
    "wrong, told",
    [
        (["fgm"], "must be ROW.SETTING=VALUE"),
        (["fgm.epochs=2"], "a setting of learning_rate, dropout, strength"),
        (["other.strength=1"], "a row of sigmoid, fgm, r_drop"),
        (["fgm.strength=-1"], "fgm.strength must be 0 or more, received -1"),
        (["fgm.dropout=x"], "fgm.dropout must be a number"),
        (["sigmoid.strength=2"], "sigmoid has no strength"),
        (["fgm.strength=1", "fgm.strength=2"], "fgm.strength is given twice"),
    ],
)
def test_wrong_settings_of_a_row_are_refused(parse, capsys, wrong, told):
    with pytest.raises(SystemExit):
        parse("--per-row", *wrong)
    assert told in capsys.readouterr().err


def test_a_strength_that_nothing_has_is_refused(monkeypatch, capsys):
    for value, told in (("0.5", "none of them runs"), ("fgm=0.5", "--per-row is for one row")):
        monkeypatch.setattr(sys, "argv", ["x", "--strength", value])
        with pytest.raises(SystemExit):
            parse_arguments("", ["sigmoid"])
        assert told in capsys.readouterr().err


def test_a_task_reads_with_the_checkpoints_vocabulary(parse, folder):
    small = task(parse("--checkpoint", folder, "--max-length", 8))
    ids = {name: small.tokenizer.token_to_id(name) for name in ("[CLS]", "word3", "[SEP]")}
    assert small.train[0]["token_ids"][1].tolist() == [*ids.values(), 0, 0, 0, 0, 0]
    encoder = small.encoder()
    assert encoder.architecture.variant == "brightmart" and encoder.output.shape[-1] == 12
    schedule = small.optimizer().get_config()["learning_rate"]["config"]
    assert schedule["warmup_target"] == 1e-4


def test_the_row_chooses_dropout_and_the_command_line_goes_before(parse, folder):
    def rates(settings):
        small = task(settings)
        return [
            small.encoder(dropout=dropout).get_layer("embedding_dropout").rate
            for dropout in (0.0, small.r_drop_dropout)
        ]

    start = "--checkpoint", folder, "--max-length", 8
    assert rates(parse(*start)) == [0.0, 0.3]
    assert rates(parse(*start, "--dropout", "0.2")) == [0.2, 0.2]


def test_a_random_encoder_takes_a_vocabulary(parse, tmp_path):
    write_vocabulary(tmp_path / "words.txt", 60)
    options = "--init", "random", "--variant", "brightmart", "--vocabulary", tmp_path / "words.txt"
    settings = parse(*options)
    assert set(settings.files) == {"train", "test", "vocabulary"}
    encoder = task(settings).encoder()
    embeddings = to_numpy(encoder.get_layer("token_embedding").embeddings)
    assert embeddings.shape == (60, 128) and encoder.architecture.variant == "brightmart"


def test_the_notes_name_the_checkpoint_and_what_it_does_not_know(parse, folder, tmp_path):
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("text,label\n" + "".join(f"{t},a|b\n" for t in TEXTS))
    files = "--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv"
    notes = Data(parse(*files, "--checkpoint", folder), [sigmoid]).notes
    assert f"{folder}: a checkpoint in the brightmart format. Variables skipped: pooler (2), " in (
        " ".join(notes)
    )
    assert any("does not know" in note for note in notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "x", "--init", "random"], "give one of the two"),
        (["--vocabulary", "x"], "add --init random"),
        (["--variant", "brightmart"], "add --init random"),
        (["--learning-rate", "0"], "must be above 0 and below 1, received 0"),
        (["--dropout", "1"], "must be 0 or more and below 1, received 1"),
        (["--init", "random", "--vocabulary", "/nowhere"], "/nowhere: there is no such file"),
        (
            ["--max-length", "2"],
            "must be 3 or more, as [CLS] and [SEP] are two of them",
        ),
        (["--seeds", "1", "0", "1"], "a seed is given twice"),
        (["--seeds", "-1"], "must be 0 or more and below 2**32, received -1"),
    ],
)
def test_options_that_contradict_each_other(parse, capsys, options, message):
    with pytest.raises(SystemExit):
        parse(*options)
    assert message in capsys.readouterr().err


def test_a_wrong_checkpoint_ends_with_its_message(parse, folder):
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        parse("--checkpoint", folder.parent / "nowhere")
    data = folder / "albert_model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(DataError, match="or damaged"):
        parse("--checkpoint", folder)


@pytest.mark.parametrize("longest", [16, 128])
def test_a_text_may_not_be_longer_than_the_positions(parse, folder, longest):
    start = ["--checkpoint", folder] if longest == 16 else []
    with pytest.raises(DataError, match=f"at most {longest} tokens.*--max-length {longest + 1}"):
        task(parse(*start, "--max-length", longest + 1)).encoder()


def test_the_bundled_encoder_is_a_checkpoint(parse):
    settings = parse()
    assert len(settings.files) == 6 and settings.checkpoint is None
    assert task(settings).encoder().count_params() == 2_277_904
    assert (BUNDLED_ENCODER / "albert_config.json").exists()

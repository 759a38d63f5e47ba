"""Nothing grows from step to step, and nothing is kept of what was compiled before."""

import gc
import os
from pathlib import Path

import keras
import pytest

from backends import BACKEND
from keras_mlc.training import (
    FGMTrainer,
    FreeLBTrainer,
    GradientPenaltyTrainer,
    PGDTrainer,
    VATTrainer,
)
from training.fgm_models import LABELS, TOKENS, noisy_model

TRAINERS = {
    "FGM": FGMTrainer,
    "PGD": PGDTrainer,
    "FreeLB": FreeLBTrainer,
    "VAT": VATTrainer,
    "penalty": GradientPenaltyTrainer,
}
# What allocators keep grows for some hundred steps, and where other tests ran: memory is looked
# at in a run of its own, `MANY_STEPS=2000 pytest -m '' tests/training/test_many_steps.py`.
FEW, MANY = (1000, int(os.environ["MANY_STEPS"])) if "MANY_STEPS" in os.environ else (50, 250)
pytestmark = pytest.mark.filterwarnings("ignore")  # pytest keeps those that it shows
STATUS = Path("/proc/self/statm")


def in_use():
    """Return how many objects there are, and the memory of the process in bytes."""
    gc.collect()
    pages = int(STATUS.read_text().split()[1]) if STATUS.exists() else 0
    return len(gc.get_objects()), pages * os.sysconf("SC_PAGE_SIZE")


def growth(repeat, few, many):
    """Return by how many objects, and bytes, `repeat` grows in the calls from `few` to `many`."""
    for _ in range(few):
        repeat()
    objects, memory = in_use()
    for _ in range(many - few):
        repeat()
    more_objects, more_memory = in_use()
    return more_objects - objects, more_memory - memory


@pytest.mark.parametrize(
    "name", ["FGM", *(pytest.param(name, marks=pytest.mark.slow) for name in list(TRAINERS)[1:])]
)
def test_steps_leave_nothing_behind(name):
    trainer = TRAINERS[name](noisy_model(), "tokens")
    trainer.compile("adam", "binary_crossentropy")
    objects, memory = growth(lambda: trainer.train_on_batch(TOKENS, LABELS), FEW, MANY)
    print(f"{name}: {objects} objects, {memory / 1e6:.1f} MB in {MANY - FEW} steps")
    assert objects < 50  # fewer than one in four steps
    if MANY > 1000:
        assert memory < 5e6


@pytest.mark.skipif(BACKEND == "torch", reason="there nothing is compiled")
def test_a_step_that_is_compiled_anew_replaces_the_one_before():
    trainer = FGMTrainer(noisy_model(), "tokens")
    trainer.compile("sgd", "binary_crossentropy")

    def change():
        trainer.epsilon += 0.1
        trainer.train_on_batch(TOKENS, LABELS)
        keras.utils.set_random_seed(1)

    objects, _ = growth(change, 3, 6)
    print(f"{objects} objects for 3 compiled steps")
    assert objects < 1000

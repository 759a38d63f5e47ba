"""Keeps the tests quick: what they may take, what TensorFlow compiles, what is looked at again."""

import functools
import gc
import os
import time

import keras
import pytest

# Seconds of processor time that a case may take, unless it is marked `slow`. Beside other work on
# the same cores it may be several times as many, so only the second number fails a case.
LIMIT, MISTAKE = 1.5, 8.0


def processor_seconds():
    return sum(os.times()[:4])  # of this process and of those that it has waited for


def slowness():
    """Return how many times longer than on an idle core of 2024 Python takes here and now."""
    began = time.process_time()
    sum(number * number for number in range(1_000_000))
    return max(1.0, (time.process_time() - began) / 0.06)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Measure a case without its fixtures, and fail it on TensorFlow where it is far too slow."""
    began = processor_seconds()
    result = yield
    seconds = processor_seconds() - began
    if seconds > LIMIT and keras.backend.backend() == "tensorflow":
        seconds /= slowness()
        pyfuncitem.user_properties.append(("processor seconds", seconds))
        if seconds > MISTAKE and not pyfuncitem.get_closest_marker("slow"):
            pytest.fail(f"took {seconds:.1f} s of processor time: mark it `slow`, or make it small")
    return result


def pytest_terminal_summary(terminalreporter):
    """Name the cases that take longer than they may."""
    for report in terminalreporter.getreports("passed"):
        seconds = dict(report.user_properties).get("processor seconds", 0)
        if report.when == "call" and seconds > LIMIT and "slow" not in report.keywords:
            terminalreporter.write_line(f"{seconds:.1f} s, over {LIMIT}: {report.nodeid}")


@pytest.fixture(autouse=True, scope="session")
def no_xla_unless_asked_for():
    """Read `jit_compile="auto"` as False on TensorFlow, where XLA takes most of a test's time.

    What is about XLA says `jit_compile=True`; `pieces.py` does for every piece.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    # Keras compares a model's method with this one to see whether it is the model's own.
    trainer = next(each for each in keras.Model.__mro__ if "compile" in vars(each))
    original = trainer.compile

    @functools.wraps(original)
    def compile(self, *args, jit_compile="auto", **kwargs):
        return original(self, *args, jit_compile=jit_compile is True, **kwargs)

    trainer.compile = compile
    yield
    trainer.compile = original


@pytest.fixture(autouse=True, scope="module")
def freeze_what_is_left():
    """Let Python not look again at what a file has left: TensorFlow keeps millions of objects."""
    yield
    gc.collect()
    gc.freeze()

"""What every benchmark needs: timing in turn, medians with their spread, peak memory, tables."""

import argparse
import gc
import importlib.metadata
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import keras
import keras_hub

BACKEND = keras.backend.backend()
MODES = {
    "tensorflow": {"graph": False, "XLA": True},
    "jax": {"XLA": True},
    "torch": {"eager": False},
}[BACKEND]
"""The running backend's ways to run a step, with what `jit_compile` must be for them."""


def arguments(docstring, **defaults):
    """Parse a script's command line: `--output`, `--repeats`, and an option for each default.

    The result also has the command as one types it, without where its output goes.
    """
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--output", type=Path, help="a JSON file that keeps what is printed")
    parser = argparse.ArgumentParser(
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[output],
    )
    for name, default in {"repeats": 20, **defaults}.items():
        several = isinstance(default, (list, tuple))
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=type(default[0]) if several else type(default),
            nargs="+" if several else None,
            default=default,
            help=f"default: {' '.join(map(str, default)) if several else default}",
        )
    options = parser.parse_args()
    if options.output and not options.output.parent.is_dir():
        parser.error(f"--output: there is no folder {options.output.parent}")
    backend = [] if BACKEND == "tensorflow" else [f"KERAS_BACKEND={BACKEND}"]
    script = f"benchmarks/{Path(sys.argv[0]).name}"
    options.command = shlex.join([*backend, "python", script, *output.parse_known_args()[1]])
    return options


def albert_tiny(vocabulary_size=21128, dropout=0.0, **sizes):
    """Return an encoder of albert-tiny's sizes with random weights."""
    sizes = {"num_layers": 4, "hidden_dim": 312, "intermediate_dim": 1248, **sizes}
    return keras_hub.models.AlbertBackbone(
        vocabulary_size, num_heads=12, embedding_dim=128, dropout=dropout, **sizes
    )


def in_turn(calls, repeats):
    """Time every call once a turn, and return lists of seconds.

    All calls share each moment of a machine that is not quiet, and who goes first changes from
    turn to turn. So compare the times of the same turn, as `ratios` does. A turn repeats a call
    that is over in no time, so that it takes 20 milliseconds.
    """
    names, seconds = list(calls), {name: [] for name in calls}
    times = {}
    for name in names:
        calls[name]()  # traces and compiles
        calls[name]()
        times[name] = max(1, round(0.02 / _time(calls[name])))
    gc.collect()
    gc.disable()
    try:
        for turn in range(repeats):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                seconds[name].append(_time(calls[name], times[name]))
    finally:
        gc.enable()
    return seconds


def _time(call, times=1):
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def ratios(seconds, others):
    return [a / b for a, b in zip(seconds, others, strict=True)]


def spread(values, digits=2, factor=1.0):
    """Return "median (lower quartile–upper quartile)"."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    low, median, high = (f"{factor * value:.{digits}f}" for value in quartiles)
    return f"{median} ({low}–{high})"


def milliseconds(seconds):
    return spread(seconds, digits=1 if statistics.median(seconds) > 0.01 else 3, factor=1e3)


def forward_and_backward(function, values, *others, jit_compile):
    """Return a call that computes `function(values, *others)` and its gradients by the values."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=jit_compile, autograph=False)
        def compiled(values, *others):
            with tf.GradientTape() as tape:
                tape.watch(values)
                loss = function(values, *others)
            return loss, tape.gradient(loss, values)

        return lambda: float(compiled(values, *others)[0])  # waits for the result
    if BACKEND == "jax":
        import jax

        compiled = jax.jit(jax.value_and_grad(function))
        return lambda: jax.block_until_ready(compiled(values, *others))
    import torch

    values = [value.detach().requires_grad_() for value in values]
    return lambda: torch.autograd.grad(function(values, *others), values)


def peak_growth(call):
    """Return by how many bytes this process grows at most while `call` runs, once compiled.

    The high-water mark of Linux is set back before the call that counts. Call this in a fresh
    process: what an earlier call has freed but not given back would hide growth.
    """
    call()
    gc.collect()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    call()
    return _status("VmHWM") - before


def in_fresh_process(function, *arguments):
    """Return what a function at the top level of the running script returns in a new process."""
    own = dict(os.environ)
    # There, what is freed goes back to the system at once, also in TensorFlow, which else has a
    # pool. That is slow, so it must not hold for what is timed here.
    os.environ.update(
        MALLOC_MMAP_THRESHOLD_=str(2**18),
        MALLOC_TRIM_THRESHOLD_=str(2**18),
        TF_ONEDNN_USE_SYSTEM_ALLOCATOR="1",
    )
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(own)


def _status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def print_table(rows, note, options):
    """Print dictionaries with the same keys as a Markdown table, and what it was measured on.

    The same goes to the file `options.output`, if there is one, with the command.
    """
    packages = sorted({"keras", BACKEND})
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    used, there = len(os.sched_getaffinity(0)), os.cpu_count()
    cores = f"{there} CPU cores" if used == there else f"{used} of {there} CPU cores"
    note = f"{note} {versions}, {cores} ({platform.machine()})."
    table = [list(rows[0]), *(list(map(str, row.values())) for row in rows)]
    for cells in (table[0], ["---"] * len(table[0]), *table[1:]):
        print(f"| {' | '.join(cells)} |")
    print(f"\n{note}", flush=True)
    if options.output:
        lines = ",\n    ".join(json.dumps(cells, ensure_ascii=False) for cells in table)
        result = {"command": options.command, "table": [], "note": note}
        text = json.dumps(result, indent=2, ensure_ascii=False)
        text = text.replace('"table": []', f'"table": [\n    {lines}\n  ]')
        options.output.write_text(text + "\n", encoding="utf-8")

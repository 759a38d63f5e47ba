"""Breaks the library in 46 ways, one at a time, and says which test notices first.

    python .ci/mutations.py             each with the tests that mirror the module
    python .ci/mutations.py _norms 38   those of modules with `_norms` in the name, and number 38
    python .ci/mutations.py --all       each with all that `pytest -n 2` runs, examples aside

The checkout stays as it is: what is broken is a copy.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = list((ROOT / "keras_mlc").rglob("*.py"))

# After `@` a module and its tests; below it, a line each, what stands there => what comes instead.
MUTATIONS = """
@ _dtypes.py: losses/test_multilabel.py test_metric_contracts.py
("float16", "bfloat16") => ("float16",)
@ _embedding_gradients_tensorflow.py: losses/test_gradient_penalty.py
merge_repeats(gradient).values => gradient.values
@ _embeddings.py: training/test_lookups.py
if any(layer is other.layer for other in found): => if False:
@ _keras_internals.py: test_keras_internals.py
update_state(loss, sample_weight=num_samples) => update_state(loss)
@ data.py: test_data.py
tf.repeat(rows, 2, axis=0) => tf.concat([rows, rows], axis=0)
@ metrics.py: test_metrics.py
y_pred > ops.convert_to_tensor( => y_pred >= ops.convert_to_tensor(
self.remainders.assign(lost - (rounded - summed)) => pass
ops.sum(f1 * actual), => ops.sum(f1),
@ layers/attention_pooling.py: layers/test_attention_pooling.py
ops.where(mask, logits, lowest(logits.dtype)) => logits
logits = ops.cast(logits, at_least_float32(dtype)) => pass
Return None: the time axis is gone.\"\"\" => \"\"\"; return previous_mask
@ layers/text_cnn_head.py: layers/test_text_cnn_head.py
activations, lowest(activations.dtype)) => activations, 0.0)
"dropout": self.dropout, =>
@ layers/fine_grained_softmax_head.py: layers/test_fine_grained_softmax_head.py
np.cumsum(levels) - levels => np.cumsum(levels) - levels[0]
return ops.repeat(ops.expand_dims(previous_mask, axis=-1), self.num_aspects, axis=-1) => return
@ layers/label_thresholds.py: layers/test_label_thresholds.py
ops.greater( => ops.greater_equal(
self._given = tuple(found.tolist()) => pass
@ layers/_threshold_search.py: layers/test_label_thresholds.py
2 * self.hits - f1 * self.predicted => 2 * self.hits - self.predicted
counts / (counts + shrinkage) => counts / (counts + 1 + shrinkage)
@ layers/_held_out.py: layers/test_label_thresholds.py layers/test_score_calibration.py
kept = weights > 0 => kept = weights >= 0
@ layers/_platt_scaling.py: layers/test_score_calibration.py
1 / (negatives + 2) => 1 / (negatives + 1)
@ losses/_activation.py: losses/test_activation.py
"Relu": "ReLU" =>
@ losses/_log_sum_exp.py: losses/test_multilabel.py
ops.expm1(-shift) => ops.exp(-shift)
@ losses/_loss_scale.py: losses/test_gradient_penalty.py
_LARGEST_GRADIENT / largest => largest / _LARGEST_GRADIENT
@ losses/_row_loss.py: losses/test_sample_weights.py
if mask is not None: => if False:
@ _labels.py: losses/test_labels.py
valid & (xp.min(x) >= -1) => valid & (xp.min(x) >= -2)
@ losses/multilabel.py: losses/test_unknown_labels.py
below + weights, above + weights => below + weights, above - weights
is_other if known is None else ops.logical_and(is_other, known) => is_other
@ losses/sparse_multilabel.py: losses/test_multilabel.py
ops.where(last[:, 0] < 0, with_label_0, negative) => negative
@ losses/asymmetric.py: losses/test_asymmetric.py
(1.0 if known is None else ops.cast(known, y_pred.dtype)) - targets => 1.0 - targets
is_easy = p <= clip => is_easy = p <= 0.0
@ losses/r_drop.py: losses/test_r_drop.py
self.alpha / 4.0 => self.alpha / 2.0
@ losses/_divergence.py: losses/test_r_drop.py
log_p - ops.log1p(-p) => log_p + ops.log1p(-p)
@ losses/gradient_penalty.py: losses/test_gradient_penalty.py
0.5 * self.epsilon * square => self.epsilon * square
@ training/_norms.py: training/test_adversarial.py
ops.sum(ops.square(row), axis=tuple(range(1, len(row.shape)))) => ops.sum(ops.square(row))
is_outside = norm > radius => is_outside = norm > 0
vectors if mask is None else ops.where(mask, vectors, 0.0) => vectors
@ training/_lookups.py: training/test_lookups.py
if number in self._open or => if
@ training/_forward.py: training/test_fgm.py
self.updates[id(variable)] = variable, value => variable._value.assign(value)
@ training/_trainer.py: training/test_adversarial.py
trainer.make_train_function(force=True) => pass
@ training/_ascent.py: training/test_adversarial.py training/test_composition.py
seed=self.seed_generator => seed=self.seed
[ops.stop_gradient(row) for row in rows] => rows
@ training/free_lb.py: training/test_adversarial.py
1 / (step + 1), step / (step + 1) => 1 / step, step / (step + 1)
@ training/gradient_penalty.py: training/test_gradient_penalty_trainer.py
product - 0.5 * ops.stop_gradient(product) => 0.5 * product
@ training/vat.py: training/test_adversarial.py
point.gradients, self.weight => point.gradients, 1.0
@ training/_train_step_tensorflow.py: training/test_fgm_models.py
return embedding_gradients.merge_repeats(both) => return both
"""


def mutations():
    """Return for each: a number, the file, its tests, what stands there, what comes instead."""
    found, file, tests = [], "", ""
    for line in filter(None, MUTATIONS.splitlines()):
        if line.startswith("@"):
            file, tests = line[2:].split(": ")
            continue
        old, new = map(str.strip, line.split("=>"))
        [module] = [each for each in MODULES if each.as_posix().endswith(f"/{file}")]
        count = module.read_text("utf-8").count(old)
        if count != 1:
            sys.exit(f"{module} has {count} times, not once: {old}")
        path, paths = module.relative_to(ROOT), [f"tests/{test}" for test in tests.split()]
        found.append((len(found) + 1, path, paths, old, new))
    return found


def first_red_test(file, old, new, tests):
    """Return the first test that fails where a copy of the library is broken, or None."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("keras_mlc", "tests"):
            shutil.copytree(ROOT / name, copy / name)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, copy)
        module = copy / file
        module.write_text(module.read_text("utf-8").replace(old, new), "utf-8")
        command = [sys.executable, "-m", "pytest", "--no-cov", "-x", *tests]
        environment = {**os.environ, "PYTHONPATH": folder}
        result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    found = re.search(r"^(?:FAILED|ERROR) tests/(\S+::\S+)", result.stdout, re.MULTILINE)
    if result.returncode and not found:
        sys.exit(result.stdout + result.stderr)
    return found and found[1]


if __name__ == "__main__":
    only = {argument for argument in sys.argv[1:] if argument != "--all"}
    everything = ["-n", "2", "--ignore=tests/examples", "tests"]
    missed = 0
    for number, file, tests, old, new in mutations():
        if not only or str(number) in only or any(part in str(file) for part in only):
            red = first_red_test(file, old, new, everything if "--all" in sys.argv else tests)
            missed += red is None
            print(f"{number:2} {file}: {old} => {new}\n   {red or 'MISSED'}", flush=True)
    sys.exit(f"{missed} missed" if missed else None)

"""The folder of a trained model, written."""

import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path

from support.endings import writing
from support.served import LABELS, MODEL
from support.settings import fingerprint
from support.tokenizer import copy_vocabulary, files_of, find_vocabulary

import keras


def inference_model(model, decisions=None):
    """The model from tokens to what is served, without trainer, loss and optimizer.

    It shares its layers with the trained one. Its outputs have names: `labels`, `scores` and
    `probabilities`; for aspects, whose model gives `probabilities` of levels, these alone.
    """
    inner = getattr(model, "model", model)  # inside FGMTrainer and GradientPenaltyTrainer
    if decisions is None:
        outputs = {"probabilities": inner.output}
    else:
        outputs = decisions.outputs(inner.output)
    return keras.Model(inner.input, outputs, name=inner.name)


def in_float32(model):
    """The same model, computing in float32: every processor does, and ONNX Runtime."""
    config = model.to_json()
    wanted = re.sub('"mixed_b?float16"', '"float32"', config)
    if wanted == config:
        return model
    copy = keras.models.model_from_json(wanted)
    copy.set_weights(model.get_weights())
    return copy


def write_model(folder, model, vocabulary, labels, decisions=None):
    """Write a model's folder; whoever reads sees a whole one or none.

    Args:
        folder: the folder; one that is there already is replaced.
        model: a trained model, or the trainer around it.
        vocabulary: path of what the texts were split with.
        labels: its `Labels`.
        decisions: its `Decisions`; None for aspects.
    """
    folder = Path(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with writing(partial / MODEL):
        served = in_float32(inference_model(model, decisions))
        served.save(partial / MODEL)
    copy_vocabulary(vocabulary, partial)
    content = {name: value for name, value in asdict(labels).items() if value is not None}
    content["outputs"] = sorted(served.output)
    files = [partial / MODEL, *files_of(find_vocabulary(partial))]
    content["files"] = {str(path.relative_to(partial)): fingerprint(path) for path in files}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (partial / LABELS).write_text(text + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)

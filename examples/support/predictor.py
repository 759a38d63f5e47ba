"""The outputs of a saved model for any texts."""

from support.served import LABELS
from support.table import DataError
from support.tokenizer import padded, padding_id

import numpy as np

WIDTHS = (*range(4, 32, 4), *range(32, 64, 8), *range(64, 128, 16), *range(128, 513, 32))


class Predictor:
    """Computes the outputs of a model that was saved.

    Texts of about the same length are computed together, padded to one of a few widths: little is
    computed for padding, and there are few shapes to compile for.
    """

    def __init__(self, served, batch_size):
        self.model, self.tokenizer, self.batch_size = served.model, served.tokenizer, batch_size
        self.longest, self.served = served.labels.max_length, served
        self.tokenizer.enable_truncation(self.longest)
        self.tokenizer.no_padding()

    def __call__(self, texts):
        """Each output for N texts, (N, C) or (N, A, L); one that is not a number raises."""
        encodings = self.tokenizer.encode_batch(texts)
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i]))
        outputs = None
        for first in range(0, len(order), self.batch_size):
            places = order[first : first + self.batch_size]
            found = self.batch([encodings[i].ids for i in places])
            if outputs is None:
                self.check({name: values.shape[1:] for name, values in found.items()})
                outputs = {n: np.empty((len(texts), *v.shape[1:]), "f4") for n, v in found.items()}
            for name, values in found.items():
                outputs[name][places] = values[: len(places)]
        for values in outputs.values():
            if np.isnan(values).any():
                text = texts[np.argwhere(np.isnan(values))[0, 0]].strip()
                raise DataError(
                    f"The model gives NaN for {text!r}: its weights or file are broken."
                )
        return outputs

    def check(self, shapes):
        """Refuse outputs that are not those that the names are for."""
        expected = self.served.labels.shapes
        if shapes != expected:
            raise DataError(
                f"{self.served.folder}: the model's outputs for a text are {told(shapes)}, and "
                f"{LABELS} has names for {told(expected)}. It is that of another model."
            )

    def batch(self, ids):
        """Each output for a batch of token ids, of which the last are the longest."""
        width = min([w for w in WIDTHS if w >= len(ids[-1])] or [len(ids[-1])])
        rows = min(self.batch_size, 1 << (len(ids) - 1).bit_length())
        # the last text again and again: a row without any would move the scale of 8-bit activations
        ids = ids + ids[-1:] * (rows - len(ids))
        inputs = padded(ids, min(width, self.longest), padding_id(self.tokenizer))
        outputs = self.model.predict_on_batch({name: inputs[name] for name in self.model.input})
        if not isinstance(outputs, dict):
            outputs = {"without a name": outputs}
        return {name: np.asarray(values, "float32") for name, values in outputs.items()}


def told(shapes):
    return ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))

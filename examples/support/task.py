"""What an experiment is given: data, encoder, optimizer."""

from support.albert_tiny import albert_tiny
from support.encoders import embedding_of, load_encoder, open_encoder
from support.served import Labels
from support.settings import BUNDLED_ENCODER
from support.table import DataError
from support.tokenizer import encode, load_tokenizer

import keras
import numpy as np
import tensorflow as tf

WARMUP_SHARE = 0.1


class Task:
    """Data, encoder and optimizer for one run of one row.

    Args:
        settings: the `Settings` of the row.
        train, validation, test: each a `Corpus` or a `FineGrained`.
        seed: seed of the order of the rows.
        encoded: attribute of the same name of another task on the same rows.
    """

    def __init__(self, settings, train, validation, test, seed=0, encoded=None):
        self.settings, self.seed, self.corpus = settings, seed, train
        self.source = None if settings.init == "random" else encoder_of(settings)
        self.tokenizer = tokenizer_of(settings)
        parts = train, validation, test
        self.encoded = encoded or [self.inputs(part.texts) for part in parts]
        self.train, self.validation, self.test = (
            (inputs, targets(part)) for inputs, part in zip(self.encoded, parts, strict=True)
        )
        self.steps = -(-len(train) // settings.batch_size) * settings.epochs

    @property
    def num_labels(self):
        return len(self.corpus.label_names)

    @property
    def num_levels(self):
        return self.corpus.num_levels

    def inputs(self, texts):
        """The encoder's inputs for N texts, each (N, T)."""
        inputs = encode(self.tokenizer, texts, self.settings.max_length)
        names = inputs if self.source is None else self.source.inputs
        return {name: inputs[name] for name in names}

    def encoder(self, dropout=0.0):
        """The encoder of `--checkpoint`, or albert-tiny with random weights.

        `dropout` is the row's rate; `--dropout` goes before it.
        """
        chosen = self.settings.dropout
        encoder = self._encoder(dropout if chosen is None else chosen)
        self.encoder_layers = {layer.name for layer in encoder.layers}
        self.embedding = embedding_of(encoder)
        return encoder

    def _encoder(self, dropout):
        settings = self.settings
        if settings.init == "random":
            size = settings.vocabulary_size or self.tokenizer.get_vocab_size()
            return albert_tiny(
                variant=settings.variant,
                dropout=dropout,
                vocabulary_size=size,
                dtype=settings.dtype_policy,
            )
        positions = self.source.positions
        if positions is not None and settings.max_length > positions:
            raise DataError(
                f"The encoder reads at most {positions} tokens. Received: --max-length "
                f"{settings.max_length}. Lower it, or choose another --checkpoint."
            )
        return load_encoder(self.source, dropout, settings.dtype_policy)

    @property
    def r_drop_dropout(self):
        """The rate that suits R-Drop, whose pairs differ by nothing else."""
        return self.settings.fine_tuning.r_drop_dropout

    def sequence(self, encoder):
        """What the heads over time see, (B, T, D), and its mask (B, T).

        In the view "cls" that is the [CLS] vector as a sequence of length 1, without a mask.
        """
        if self.settings.view == "cls":
            return encoder.output[:, 0][:, None], None  # Unlike [:, :1] of a static shape.
        return encoder.output, keras.ops.cast(encoder.input["padding_mask"], "bool")

    def label_bias(self):
        """Start every label's score at the log-odds of its frequency in training.

        A sigmoid then begins with the right number of labels a text, instead of half of all.
        """
        frequency = (self.train[1].sum(axis=0) + 1) / (len(self.train[1]) + 2)
        return keras.initializers.Constant(np.log(frequency / (1 - frequency)))

    def optimizer(self):
        return optimizer(self.settings.learning_rate, self.steps)

    def batches(self, batch_size=None):
        """Shuffled training batches of (inputs, targets).

        TensorFlow does not tune the dataset, whose buffers are given: the thread that would sleeps
        ever longer, and the end of `fit` may wait for it, for up to a minute.
        """
        options = tf.data.Options()
        options.autotune.enabled = False
        rows = tf.data.Dataset.from_tensor_slices(self.train).with_options(options)
        rows = rows.shuffle(len(self.train[1]), seed=self.seed)
        return rows.batch(batch_size or self.settings.batch_size).prefetch(2)

    def predicted_labels(self, scores):
        """0/1 predictions: scores above 0, or the likeliest level of every aspect."""
        if scores.ndim == 2:
            return (scores > 0).astype("uint8")
        return self.indicators(scores.argmax(axis=-1))

    def indicators(self, values):
        """Labels as they are; levels as one 0/1 column per aspect and level above "none"."""
        if not self.fine_grained:
            return values
        columns = [
            values[:, aspect] == level
            for aspect, count in enumerate(self.num_levels)
            for level in range(1, count)
        ]
        return np.stack(columns, axis=1).astype("uint8")

    def indicator_names(self):
        if not self.fine_grained:
            return self.corpus.label_names
        pairs = zip(self.corpus.aspect_names, self.corpus.level_names, strict=True)
        return [f"{aspect}::{level}" for aspect, levels in pairs for level in levels[1:]]

    def meaning(self, title):
        """What a trained model's outputs mean, for whoever uses it."""
        if self.fine_grained:
            aspects = dict(zip(self.corpus.aspect_names, self.corpus.level_names, strict=True))
            return Labels(title, self.settings.max_length, aspects=aspects)
        return Labels(title, self.settings.max_length, labels=list(self.corpus.label_names))

    @property
    def fine_grained(self):
        return hasattr(self.corpus, "levels")


def optimizer(learning_rate, steps):
    """AdamW with 10 % warm-up to the learning rate, then a cosine decay to 0."""
    warmup = max(1, int(WARMUP_SHARE * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=learning_rate, warmup_steps=warmup
    )
    return keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)


def encoder_of(settings):
    """The encoder to start from, or whose vocabulary a random encoder has by default."""
    return open_encoder(settings.checkpoint or BUNDLED_ENCODER)


def vocabulary_of(settings):
    return settings.vocabulary or encoder_of(settings).vocabulary


def tokenizer_of(settings):
    return load_tokenizer(vocabulary_of(settings))


def targets(corpus):
    """(N, C) labels of 0 and 1, or (N, A) levels."""
    return corpus.levels if hasattr(corpus, "levels") else corpus.labels

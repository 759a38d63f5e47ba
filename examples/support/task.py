"""What a row's `build(task)` is given: the encoder, the optimizer, the training rows."""

from support.encoder import embedding_of

import keras
import numpy as np
import tensorflow as tf

WARMUP_SHARE = 0.1


class Task:
    """Encoder, optimizer and training rows for one run of one row.

    Args:
        settings: what the command line says of training, see `support.run`.
        source: the encoder, see `open_encoder`.
        train: the training rows, a `Corpus`.
        inputs: the encoder's inputs for them.
        seed: seed of the weights and of the rows' order.
    """

    def __init__(self, settings, source, train, inputs, seed=0):
        self.settings, self.source, self.seed = settings, source, seed
        self.train, self.inputs = train, inputs
        self.steps = -(-len(train.texts) // settings.batch_size) * settings.epochs

    @property
    def num_labels(self):
        return len(self.train.names)

    @property
    def num_levels(self):
        return [len(names) for names in self.train.levels]

    @property
    def r_drop_dropout(self):
        """The rate that suits R-Drop, whose pairs differ by nothing else."""
        return self.settings.r_drop_dropout

    def encoder(self, dropout=0.0):
        """The pretrained encoder. `dropout` is the row's rate; `--dropout` goes before it."""
        chosen = self.settings.dropout
        rate = dropout if chosen is None else chosen
        encoder = self.source.build(rate, self.settings.dtype_policy)
        self.embedding = embedding_of(encoder)
        return encoder

    def sequence(self, encoder):
        """What the heads over time see, (B, T, D), and its mask (B, T).

        In the view "cls" that is the [CLS] vector as a sequence of length 1, without a mask.
        """
        if self.settings.view == "cls":
            return encoder.output[:, 0][:, None], None  # unlike [:, :1] of a static shape
        return encoder.output, keras.ops.cast(encoder.input["padding_mask"], "bool")

    def label_bias(self):
        """Start every label's score at the log-odds of its frequency in training.

        A sigmoid then begins with the right number of labels a text, instead of half of all.
        """
        frequency = (self.train.targets.sum(axis=0) + 1) / (len(self.train.targets) + 2)
        return keras.initializers.Constant(np.log(frequency / (1 - frequency)))

    def optimizer(self):
        """AdamW with 10 % warm-up to the learning rate, then a cosine decay to 0."""
        warmup, rate = max(1, int(WARMUP_SHARE * self.steps)), self.settings.learning_rate
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, self.steps - warmup), warmup_target=rate, warmup_steps=warmup
        )
        return keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)

    def batches(self):
        """Shuffled training batches of (inputs, targets).

        TensorFlow does not tune the dataset, whose buffers are given: the thread that would sleeps
        ever longer, and the end of `fit` may wait for it, for up to a minute.
        """
        options = tf.data.Options()
        options.autotune.enabled = False
        rows = tf.data.Dataset.from_tensor_slices((self.inputs, self.train.targets))
        rows = rows.with_options(options).shuffle(len(self.train.texts), seed=self.seed)
        return rows.batch(self.settings.batch_size).prefetch(2)

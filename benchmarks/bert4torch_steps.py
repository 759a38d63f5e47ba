"""albert-tiny and its training steps in bert4torch."""

import json
import tempfile
from pathlib import Path

import keras
import torch
from bert4torch.callbacks import AdversarialTraining
from bert4torch.losses import RDropLoss
from bert4torch.models import build_transformer_model
from step_cost import DROPOUT, LABELS, VOCABULARY
from torch4keras.trainer import Trainer


class Classifier(torch.nn.Module):
    def __init__(self, dropout):
        super().__init__()
        config = {
            "model": "albert",
            "vocab_size": VOCABULARY,
            "embedding_size": 128,
            "hidden_size": 312,
            "num_hidden_layers": 4,
            "num_attention_heads": 12,
            "intermediate_size": 1248,
            "hidden_act": "gelu",
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bert4torch_config.json"
            path.write_text(json.dumps(config))
            self.encoder = build_transformer_model(config_path=str(path))
        self.classifier = torch.nn.Linear(312, LABELS)

    def forward(self, *inputs):
        return self.classifier(self.encoder(list(inputs))[:, 0])


def theirs(once, twice, learning_rate):
    """Return a call for every kind of step, and one that returns its embedding."""

    def step(method="", dropout=0.0, loss=None, data=once):
        model = Classifier(dropout)
        trainer = Trainer(model)
        optimizer = torch.optim.Adam(model.parameters(), learning_rate)
        trainer.compile(loss=loss or torch.nn.CrossEntropyLoss(), optimizer=optimizer)
        if method:
            callback = AdversarialTraining(method)
            callback.trainer, callback.model, callback.optimizer = trainer, model, optimizer
            callback.on_train_begin()
        x, y = keras.tree.map_structure(torch.as_tensor, data)
        x = [x["token_ids"], x["segment_ids"]]

        def take():  # as `Trainer.fit` does
            _, loss, _ = trainer.train_step(x, y)
            loss.item()
            trainer.step()

        return take, lambda: model.encoder.embeddings.word_embeddings.weight

    return {
        "plain": step(),
        "FGM, with the clean gradient": step("fgm"),
        "PGD, with the clean gradient": step("pgd"),
        "VAT": step("vat"),
        "penalty": step("gradient_penalty"),
        "plain, dropout": step(dropout=DROPOUT),
        "R-Drop": step(dropout=DROPOUT, loss=RDropLoss(alpha=4), data=twice),
    }

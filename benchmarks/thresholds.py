"""Do thresholds that were adapted on few rows hold on others?

A linear SVM on word counts scores rows that it was not trained on; `LabelThresholds` adapts on 100
to 2,000 of them. A cell is micro / macro F1 of the test rows with these thresholds, the mean over
draws of the rows.

    python benchmarks/thresholds.py
    python benchmarks/thresholds.py --corpora DuEE-65=FOLDER GoEmotions=FOLDER
"""

import numpy as np
from corpora import corpora, linear_scores
from measure import arguments, print_table

from keras_mlc.layers import LabelThresholds

RULES = {
    "0": None,
    "one for all": {"average": None},
    "macro": {},
    "macro, shrinkage 20": {"shrinkage": 20},
    "micro, shrinkage 10": {"average": "micro", "shrinkage": 10},
}


def f1(labels, decisions):
    """Return micro and macro F1."""
    hits = 2 * np.sum(labels * decisions, axis=0)
    total = labels.sum(axis=0) + decisions.sum(axis=0)
    return hits.sum() / max(total.sum(), 1), np.mean(hits / np.maximum(total, 1))


def thresholds_by(rule, scores, labels):
    if rule is None:
        return np.zeros(scores.shape[1])
    layer = LabelThresholds(**rule)
    layer.adapt(scores, labels)
    return layer.thresholds


def main():
    options = arguments(__doc__, corpora=[""], rows=[100, 200, 500, 2000], repeats=5)
    table = []
    for name, corpus in corpora(filter(None, options.corpora)).items():
        drawn = [linear_scores(corpus, seed) for seed in range(options.repeats)]
        for number in options.rows:
            cells = {}
            for rule, how in RULES.items():
                scores = [
                    f1(labels, scores > thresholds_by(how, *(part[:number] for part in adapt)))
                    for adapt, (scores, labels) in drawn
                ]
                cells[rule] = " / ".join(f"{mean:.3f}" for mean in np.mean(scores, axis=0))
            table.append({"corpus": name, "adapted on": f"{number:,}", **cells})
    note = f"Micro / macro F1 on test rows, means over {options.repeats} draws of the rows."
    print_table(table, note, options)


if __name__ == "__main__":
    main()

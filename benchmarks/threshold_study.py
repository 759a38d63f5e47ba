"""Do thresholds that were adapted on few rows hold on others? How should they be guarded?

A linear SVM on word counts scores rows that it was not trained on; `LabelThresholds` adapts on 100
to 2,000 of them. A cell is micro / macro F1 with these thresholds, the mean over draws of the rows.
"chosen by" rows are training rows too, neither fitted nor adapted on: rules are chosen there, on
the mean over the corpora. Test rows then show what the rules are worth.

    python benchmarks/threshold_study.py --duee FOLDER --goemotions FOLDER

A folder that is not given leaves its corpus out.
"""

import argparse
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from corpora_scores import debian, duee, generated, goemotions, scores_of
from results import as_markdown, write_result

from keras_mlc.layers import LabelThresholds

RULES = {
    "0": None,
    "one for all": {"average": None},
    "macro, 1": {"min_positives": 1},
    "macro, 5": {"min_positives": 5},
    "macro, 10": {"min_positives": 10},
    "macro, 20": {"min_positives": 20},
    "macro, 5, shrunk 10": {"min_positives": 5, "shrinkage": 10},
    "macro, 5, shrunk 20": {"min_positives": 5, "shrinkage": 20},
    "micro, 5": {"average": "micro", "min_positives": 5},
    "micro, 5, shrunk 10": {"average": "micro", "min_positives": 5, "shrinkage": 10},
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


def study(corpora, rows, draws):
    """Return {(side, corpus, rows): (draws, rules, 2) F1 scores}."""
    found = {}
    for name, corpus in corpora.items():
        for draw in range(draws):
            adapt, choose, test = scores_of(corpus, draw)
            for number in rows:
                few = [part[:number] for part in adapt]
                chosen = [thresholds_by(rule, *few) for rule in RULES.values()]
                for side, (scores, labels) in (("chosen by", choose), ("test", test)):
                    each = [f1(labels, scores > thresholds) for thresholds in chosen]
                    found.setdefault((side, name, number), []).append(each)
        print(f"{name} done", file=sys.stderr, flush=True)
    return {key: np.array(values) for key, values in found.items()}


def table(found, corpora, rows):
    lines = []
    for side in ("chosen by", "test"):
        for name in (*corpora, "mean"):
            for number in rows:
                names = corpora if name == "mean" else [name]
                mean = np.mean([found[side, each, number].mean(axis=0) for each in names], axis=0)
                cells = [f"{micro:.3f} / {macro:.3f}" for micro, macro in mean]
                line = {"rows": side, "corpus": name, "adapted on": f"{number:,}"}
                lines.append(line | dict(zip(RULES, cells, strict=True)))
    return lines


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--duee", help="folder with train.csv and test.csv")
    parser.add_argument("--goemotions", help="folder with train.tsv and test.tsv")
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 200, 500, 2000])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--output", type=Path, help="a JSON file that keeps what is printed")
    options = parser.parse_args()
    corpora = {"Debian": debian()}
    if options.duee:
        corpora["DuEE-65"] = duee(options.duee)
    if options.goemotions:
        corpora["GoEmotions"] = goemotions(options.goemotions)
    corpora["generated"] = generated()
    found = study(corpora, options.rows, options.draws)
    rows = table(found, corpora, options.rows)
    command = ["python", "benchmarks/threshold_study.py"]
    for name in ("duee", "goemotions"):
        if getattr(options, name):
            command += [f"--{name}", name.upper()]
    result = {
        "command": shlex.join(command),
        "table": [list(rows[0]), *(list(row.values()) for row in rows)],
        "note": (
            f"Micro / macro F1, means over {options.draws} draws of the rows. Rules: the average, "
            f"min_positives, shrinkage. scikit-learn {version('scikit-learn')}."
        ),
    }
    print(as_markdown(result))
    if options.output:
        write_result(result, options.output)


if __name__ == "__main__":
    main()

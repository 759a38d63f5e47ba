"""Write the tables of scores into the pages, from docs/results/*.csv.

    python docs/scripts/result_tables.py

With the output folders of `examples/full_table.py`, first put their scores into these files, each
under the name of its corpus:

    python docs/scripts/result_tables.py debian=results goemotions=results_goemotions

`results.csv` has micro and macro F1 of each seed on n test texts, at a threshold of 0 and with
tuned thresholds, and the time of a step in those of the sigmoid row. `gains.csv` has what a row
gains over its control in points of F1, with a 95 % interval.
"""

import csv
import json
import statistics
import sys
from pathlib import Path

import numpy as np
from marks import fill, markdown_table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs/results"
PAGES = [
    *(ROOT / page for page in ("README.md", "README.zh-CN.md")),
    *(RESULTS / "README.md", ROOT / "docs/zh/results/README.md"),
]
TITLES = {
    "tfidf": ("TF-IDF + linear SVM, tuned", "TF-IDF + 线性 SVM，调过参"),
    "logistic_regression": ("TF-IDF + logistic regression", "TF-IDF + 逻辑回归"),
    "sigmoid": ("sigmoid", "sigmoid"),
    "multilabel_crossentropy": ("multi-label cross-entropy", "多标签分类交叉熵"),
    "gradient_penalty": (
        "multi-label cross-entropy, gradient penalty",
        "多标签分类交叉熵，梯度惩罚",
    ),
    "fgm": ("multi-label cross-entropy, FGM", "多标签分类交叉熵，FGM"),
    "attention": ("attention, sigmoid", "注意力，sigmoid"),
    "bilstm_sigmoid": ("BiLSTM, sigmoid", "BiLSTM，sigmoid"),
    "bilstm_multilabel_crossentropy": (
        "BiLSTM, multi-label cross-entropy",
        "BiLSTM，多标签分类交叉熵",
    ),
    "bilstm_attention": ("BiLSTM, attention, sigmoid", "BiLSTM，注意力，sigmoid"),
    "text_cnn": ("TextCNN, sigmoid", "TextCNN，sigmoid"),
    "r_drop": ("R-Drop, sigmoid", "R-Drop，sigmoid"),
    "fine_grained": ("fine-grained softmax (another task)", "细粒度 softmax（另一个任务）"),
}
CONTROLS = {
    "sigmoid": "tfidf",
    "multilabel_crossentropy": "sigmoid",
    "gradient_penalty": "multilabel_crossentropy",
    "fgm": "multilabel_crossentropy",
    "attention": "sigmoid",
    "bilstm_attention": "bilstm_sigmoid",
    "text_cnn": "sigmoid",
    "r_drop": "sigmoid",
}
"""For each row, the row that has all but its piece; for the plain one, the thing to beat."""
AT_ZERO, TUNED = "at_0", "tuned"
SCORES = {
    "micro": "micro F1",
    "macro": "macro F1",
    "micro_tuned": "micro F1, tuned",
    "macro_tuned": "macro F1, tuned",
}
CHINESE = {
    "row": "方法",
    "its control": "对照组",
    "seeds": "种子数",
    "step time": "每步耗时",
    ", tuned": "，调阈值",
}
DRAWS = 2000


def f1(right, either):
    """Return micro and macro F1; a label that is neither given nor true counts as 0."""
    each = np.divide(2 * right, either, out=np.zeros_like(either), where=either > 0)
    return np.stack([2 * right.sum(1) / np.maximum(either.sum(1), 1), each.mean(1)])


def drawn(texts):
    """Return how often each draw has each text, (1 + DRAWS, N): first, each text once."""
    random = np.random.default_rng(0)
    return np.vstack([np.ones(texts), random.multinomial(texts, [1 / texts] * texts, DRAWS)])


def gain(truth, runs, controls, is_trained=True):
    """Return the mean gain in micro and macro F1, each as (gain, low, high).

    Every draw takes other texts, the same for both rows, and other seeds. Two or three seeds are
    too few to draw from: their mean moves by Student's t times its standard error instead.

    Args:
        truth: (N, C) labels, as booleans.
        runs: (N, C) predictions of each seed of the row.
        controls: The same of its control.
        is_trained: Whether the control depends on a seed. Where a row that does has only one, there
            is no interval: NaN.
    """
    times = drawn(len(truth))
    scores = [
        np.stack([f1(times @ (truth & given), times @ (truth + 1.0 * given)) for given in side])
        for side in (runs, controls)
    ]
    means = scores[0].mean(axis=0) - scores[1].mean(axis=0)
    seeds = [side[:, :, 0] for side in (scores if is_trained else scores[:1])]
    if any(len(side) < 2 for side in seeds):
        return np.stack([means[:, 0], *np.full((2, 2), np.nan)], axis=1)
    freedom = sum(len(side) - 1 for side in seeds)
    variance = sum(((side - side.mean(axis=0)) ** 2).sum(axis=0) for side in seeds) / freedom
    error = np.sqrt(variance * sum(1 / len(side) for side in seeds))
    moved = error[:, None] * np.random.default_rng(1).standard_t(freedom, (2, DRAWS))
    ends = np.percentile(means[:, 1:] + moved, [2.5, 97.5], axis=1)
    return np.stack([means[:, 0], *ends], axis=1)


def read_rows(folder):
    """Return the finished rows of an output folder by name, each a list of its seeds."""
    groups = {row: [] for row in TITLES}
    for path in sorted((Path(folder) / "rows").glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["row"] == "tfidf" and not run["scores"][TUNED]:  # it always has its own thresholds
            for kept in (run["scores"], run["predicted"]):
                kept[TUNED], kept[AT_ZERO] = kept[AT_ZERO], None
        groups[run["row"]].append(run)
    return {row: runs for row, runs in groups.items() if runs}


def score_lines(corpus, groups, texts):
    """Yield the lines of results.csv."""
    plain = {run["seed"]: run["step_ms"] for run in groups.get("sigmoid", ())}
    for row, runs in groups.items():
        for run in runs:
            at_zero, tuned = (run["scores"][at] or {} for at in (AT_ZERO, TUNED))
            scores = [at.get(average) for at in (at_zero, tuned) for average in ("micro", "macro")]
            step, beside = run.get("step_ms"), plain.get(run["seed"])
            cells = [*scores, step / beside if step and beside else None]
            shown = ["" if cell is None else f"{cell:.6f}" for cell in cells]
            yield corpus, row, run["seed"], *shown, texts


def gain_lines(corpus, groups, truth, labels):
    """Yield the lines of gains.csv."""

    def indicators(texts):
        array = np.zeros((len(texts), labels), bool)
        for text, indices in enumerate(texts):
            array[text, indices] = True
        return array

    truth = indicators(truth)
    for row, control in CONTROLS.items():
        for at in (AT_ZERO, TUNED):
            sides = [
                [indicators(run["predicted"][at]) for run in groups.get(name, ())
                 if run["predicted"][at] is not None]
                for name in (row, control)
            ]  # fmt: skip
            if all(sides):
                found = gain(truth, *sides, is_trained=control != "tfidf")
                for average, ends in zip(("micro", "macro"), found, strict=True):
                    yield corpus, row, control, at, average, *(f"{100 * end:.2f}" for end in ends)


def read(name):
    """Return the lines of a file in docs/results as dictionaries."""
    with open(RESULTS / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def replace(name, corpus, lines):
    """Replace the lines of a corpus in a file in docs/results."""
    header, *others = csv.reader((RESULTS / name).read_text(encoding="utf-8").splitlines())
    others = [line for line in others if line[0] != corpus]
    with open(RESULTS / name, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *others, *lines])


def put(corpus, folder):
    """Put the scores and the gains of an output folder into the files."""
    groups = read_rows(folder)
    test = json.loads((Path(folder) / "test.json").read_text(encoding="utf-8"))
    truth, labels = test["labels"], len(test["label_names"])
    replace("results.csv", corpus, score_lines(corpus, groups, len(truth)))
    replace("gains.csv", corpus, gain_lines(corpus, groups, truth, labels))


def over_seeds(lines, name, digits=3):
    """Return the mean of a column and, from two seeds on, the standard deviation."""
    values = [float(line[name]) for line in lines if line[name]]
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def rows_of(corpus):
    """Return the lines of a corpus by row."""
    groups = {}
    for line in read("results.csv"):
        if line["corpus"] == corpus:
            groups.setdefault(line["row"], []).append(line)
    return groups


def scores(corpus):
    """Return a corpus's table of scores, without columns that are empty."""
    table = [["row", *SCORES.values(), "step time", "seeds"]]
    for row, lines in rows_of(corpus).items():
        cells = [over_seeds(lines, name) for name in SCORES]
        table.append([row, *cells, over_seeds(lines, "step", 2), str(len(lines))])
    kept = [column for column in zip(*table, strict=True) if set(column[1:]) != {"–"}]
    return zip(*kept, strict=True)


def gains(corpus):
    """Return what each row gains over its control."""
    found = {}
    for line in read("gains.csv"):
        if line["corpus"] == corpus:
            cells = found.setdefault((line["row"], line["control"]), {})
            value, low, high = (
                f"{float(line[end]):+.1f}".replace("-", "−") for end in ("gain", "low", "high")
            )
            interval = f"{value} ({low}, {high})" if line["low"] != "nan" else value
            cells[line["average"] + "_tuned" * (line["at"] == TUNED)] = interval
    yield "row", "its control", *SCORES.values()
    for names, cells in found.items():
        yield *names, *(cells.get(name, "–") for name in SCORES)


def front():
    """Return the table of the front pages."""
    shown = ("micro", "micro_tuned", "macro_tuned")
    there = rows_of("duee65")
    corpora = [f"{corpus} {SCORES[name]}" for corpus in ("Debian", "DuEE-65") for name in shown]
    yield "row", *corpora, "step time"
    for row, lines in rows_of("debian").items():
        if row != "fine_grained":
            own, others = ([over_seeds(side, name) for name in shown]
                           for side in (lines, there.get(row, ())))  # fmt: skip
            yield row, *own, *others, over_seeds(lines, "step", 2)


def table(name, is_chinese=False):
    """Return the table of a mark: `front`, or `scores-` or `gains-` and a corpus."""
    kind, _, corpus = name.partition("-")
    make = {"front": front, "scores": lambda: scores(corpus), "gains": lambda: gains(corpus)}[kind]
    header, *rows = make()
    if is_chinese:
        header = [CHINESE.get(cell, cell.replace(", tuned", CHINESE[", tuned"])) for cell in header]
    rows = [[TITLES[cell][is_chinese] if cell in TITLES else cell for cell in row] for row in rows]
    return markdown_table(header, rows, 1 + (kind == "gains"))


def filled(path):
    """Return a page of `PAGES` as it should be."""
    is_chinese = "zh" in str(path.relative_to(ROOT))
    return fill(path.read_text(encoding="utf-8"), lambda name: table(name, is_chinese))


def main():
    """Put the given folders' scores into the files, and write the pages."""
    for given in sys.argv[1:]:
        put(*given.split("=", 1))
    for page in PAGES:
        page.write_text(filled(page), encoding="utf-8")
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()

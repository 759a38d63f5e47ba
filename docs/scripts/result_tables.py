"""Write the pages of docs/results from the results of the runs, each in its results.json.

A run's results.md and charts are made as the run itself makes them. The pages that show scores
have a mark for each table; what stands below it is written here, in Chinese on Chinese pages:

    python docs/scripts/result_tables.py
"""

import csv
import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from support.charts import charts_of, draw_charts, save, wrapped
from support.intervals import AT_ZERO, CONTROLS, TUNED, gain
from support.report import markdown_table, points, summarise, to_markdown
from support.results import Runs

from chinese import translate
from marks import fill

RESULTS = Path(__file__).resolve().parents[1] / "results"
ROOT = RESULTS.parents[1]
PAGES = [
    *(ROOT / page for page in ("README.md", "README.zh-CN.md")),
    *(ROOT / f"docs/{zh}{page}" for zh in ("", "zh/") for page in ("index.md", "choosing.md")),
    *(ROOT / f"docs/{zh}results/README.md" for zh in ("", "zh/")),
]
# the charts of the Chinese page, and their texts
SHOWN = {"debian": ("f1", "learning_curves", "cost"), "duee65": ("f1",)}
CHINESE = {
    "f1": {"micro F1 on the test rows (the axis {}": "测试集上的 micro F1（横轴不从 0 开始）"},
    "learning_curves": {"micro F1 on the validation rows": "验证集上的 micro F1"},
    "cost": {
        "micro F1 on the test rows": "测试集上的 micro F1",
        "time of a step, times that of the sigmoid row": "一步的时间，sigmoid 那一行的倍数",
    },
}
NAMES = {
    "Mean and standard deviation of up to {} seeds": "最多 {} 个随机种子的均值和标准差",
    "Mean and standard deviation of {} seeds": "{} 个随机种子的均值和标准差",
    "epochs": "epoch",
    "TF-IDF + logistic regression": "TF-IDF + 逻辑回归",
    "multi-label cross-entropy": "多标签分类交叉熵",
    "multi-label cross-entropy, gradient penalty": "多标签分类交叉熵，梯度惩罚",
    "multi-label cross-entropy, FGM": "多标签分类交叉熵，FGM",
    "TF-IDF + linear SVM, tuned": "TF-IDF + 线性 SVM，调过参",
    "attention, sigmoid": "注意力，sigmoid",
    "BiLSTM, sigmoid": "BiLSTM，sigmoid",
    "BiLSTM, multi-label cross-entropy": "BiLSTM，多标签分类交叉熵",
    "BiLSTM, attention, sigmoid": "BiLSTM，注意力，sigmoid",
    "TextCNN, sigmoid": "TextCNN，sigmoid",
    "R-Drop, sigmoid": "R-Drop，sigmoid",
    "fine-grained softmax": "细粒度 softmax",
    "fine-grained softmax (another task)": "细粒度 softmax（另一个任务）",
}
LONGER = "128 tokens, 3 epochs, encoder adapted to the texts"
CLS = "[CLS] alone, as published"
BESIDE = [
    ("duee65", "multilabel_crossentropy", "–"),
    ("duee65-5-epochs", "multilabel_crossentropy", "5 epochs"),
    ("duee65-128", "multilabel_crossentropy", LONGER),
    ("duee65", "fgm", "–"),
    ("duee65-5-epochs", "fgm", "5 epochs"),
    ("duee65-adapted", "fgm", "5 epochs, encoder adapted to the texts"),
    ("duee65-128", "fgm", LONGER),
    ("duee65", "r_drop", "–"),
    ("duee65-128", "r_drop", LONGER),
    ("duee65-dropout", "sigmoid", "R-Drop's dropout, 0.1"),
    ("duee65", "sigmoid", "–"),
    ("duee65-128", "sigmoid", LONGER),
    ("duee65-random", "sigmoid", "from random weights"),
    ("duee65", "text_cnn", "–"),
    ("duee65-random", "text_cnn", "from random weights, learning rate 2e-4"),
    ("duee65-cls", "text_cnn", CLS),
    ("duee65", "bilstm_sigmoid", "–"),
    ("duee65-cls", "bilstm_sigmoid", CLS),
    ("duee65", "bilstm_multilabel_crossentropy", "–"),
    ("duee65-cls", "bilstm_multilabel_crossentropy", CLS),
    ("duee65", "bilstm_attention", "–"),
    ("duee65-cls", "bilstm_attention", CLS),
]
HEADINGS = {
    "row": "行",
    "its control": "对照组",
    "of the control": "对照组的",
    "gain (95 %)": "增益（95 %）",
    "macro F1, tuned": "macro F1，调阈值",
    "micro F1, tuned": "micro F1，调阈值",
    "step time": "每步耗时",
    "time of a step": "每步耗时",
    "seeds": "种子数",
}
GAINS = (
    "sigmoid",
    "multilabel_crossentropy",
    "fgm",
    "gradient_penalty",
    "r_drop",
    "attention",
    "bilstm_attention",
    "text_cnn",
)
FEWER = (
    "tfidf",
    "sigmoid",
    "multilabel_crossentropy",
    "fgm",
    "gradient_penalty",
    "attention",
    "r_drop",
)
LONGER_RUNS = "debian-minilm", "duee65-long", "goemotions"
AVERAGES = "micro F1", "macro F1"
SCORES = "micro F1", "macro F1", "weighted F1", "subset accuracy"


@functools.cache
def runs_of(folder):
    """Return the runs in a folder of docs/results, by row."""
    return Runs.read(RESULTS / folder).by_row()


def scores():
    """Return the table of DuEE-65."""
    yield "row", *SCORES, "step time", "seeds"
    for runs in runs_of("duee65").values():
        cells = summarise(runs)
        yield cells["row"], *(cells[name] for name in (*SCORES, "step time")), str(len(runs))


def beside():
    """Return rows of the other runs on DuEE-65, each below the one that it stands beside."""
    yield "row", "what is different", "micro F1", "macro F1", "seeds"
    for folder, row, difference in BESIDE:
        runs = runs_of(folder)[row]
        cells = summarise(runs)
        yield cells["row"], difference, cells["micro F1"], cells["macro F1"], str(len(runs))


def tuning(run):
    """Return what was tried for each row of a run."""
    with open(RESULTS / run / "tuning.csv", encoding="utf-8") as file:
        yield from csv.reader(file)


def both(run):
    """Return a run's scores at 0 and with tuned thresholds."""
    yield "row", *(f"{name}{at}" for name in AVERAGES for at in ("", ", tuned")), "seeds"
    for runs in runs_of(run).values():
        yield runs[0]["title"], *at_both(runs), str(len(runs))


def at_both(runs):
    """Micro and macro F1 of a row, each at 0 and tuned; the linear model has its own thresholds."""
    at_zero = summarise(runs)
    tuned = [{**run, **run["tuned"]} for run in runs if run.get("tuned")]
    if not tuned:
        pairs = [(at_zero[name], "–") for name in AVERAGES]
        return [cell for pair in pairs for cell in pair[:: -1 if runs[0]["row"] == "tfidf" else 1]]
    return [at[name] for name in AVERAGES for at in (at_zero, summarise(tuned))]


def front(rows=None):
    """Return the table of the front pages: the default table, and DuEE-65 where a row ran there."""
    yield (
        "row",
        *(f"Debian {name}" for name in AVERAGES),
        "macro F1, tuned",
        *(f"DuEE-65 {name}" for name in AVERAGES),
        "step time",
    )
    for row, runs in runs_of("debian").items():
        if row not in (rows or runs_of("debian")) or row == "fine_grained":
            continue
        micro, micro_tuned, macro, macro_tuned = at_both(runs)
        cells = summarise(runs)
        there = runs_of("duee65-long").get(row)
        others = [summarise(there)[name] for name in AVERAGES] if there else ["–", "–"]
        if row == "tfidf":
            shown = [cells["row"], micro_tuned, macro_tuned, macro_tuned, *others]
            yield *(f"**{cell}**" for cell in shown), "–"
        else:
            yield cells["row"], micro, macro, macro_tuned, *others, cells["step time"]


def gains(run):
    """Return each row of a run beside its control."""
    pairs = [cell for name in AVERAGES for cell in (name, "of the control")]
    yield "row", "its control", *pairs, "time of a step"
    for row in GAINS:
        if row in runs_of(run):
            own, other = (summarise(runs_of(run)[name]) for name in (row, CONTROLS[row]))
            scores = [cells[name] for name in AVERAGES for cells in (own, other)]
            yield own["row"], other["row"], *scores, own["step time"]


def gains_with_intervals(run):
    """Return each row of a run, and what it gains over its control in points of F1."""
    pairs = [cell for name in ("micro F1", "macro F1, tuned") for cell in (name, "gain (95 %)")]
    yield "row", "its control", *pairs, "time of a step"
    groups = runs_of(run)
    for row in GAINS:
        own, control = groups[row], groups[CONTROLS[row]]
        micro, _, _, macro = at_both(own)
        micro_gain, macro_gain = (
            points(gain(own, control, which)[0][average])
            for average, which in enumerate((AT_ZERO, TUNED))
        )
        titles = own[0]["title"], control[0]["title"]
        yield *titles, micro, micro_gain, macro, macro_gain, summarise(own)["step time"]


TABLES = {
    **{run: functools.partial(both, run) for run in ("debian", *LONGER_RUNS)},
    "tuning-debian": functools.partial(tuning, "debian"),
    "front": front,
    "start": functools.partial(front, FEWER),
    "gains-debian": functools.partial(gains_with_intervals, "debian"),
    "gains-duee65": functools.partial(gains, "duee65"),
    "scores": scores,
    "beside": beside,
    "tuning": functools.partial(tuning, "duee65"),
}


TEXTS = {"beside": 2, "tuning-debian": 2, "gains-debian": 2, "gains-duee65": 2}


def filled(page, is_chinese=False):
    """Return the page with the tables as the results have them."""

    def table(name):
        header, *rows = TABLES[name]()
        if is_chinese:
            header, *rows = [[in_chinese(cell) for cell in row] for row in (header, *rows)]
        return "\n".join(markdown_table(header, rows, TEXTS.get(name, 1)))

    return fill(page, table)


def in_chinese(cell):
    """Return a cell of a table in Chinese, if it is a text."""
    bold = "**" * cell.startswith("**")
    text = cell.strip("*")
    return f"{bold}{(NAMES | HEADINGS).get(text, text)}{bold}"


def with_tables(path):
    """Return a page of `PAGES` as it should be."""
    is_chinese = "zh" in path.name or path.parent.name == "zh" or path.parents[1].name == "zh"
    return filled(path.read_text(encoding="utf-8"), is_chinese)


def main():
    """Write the pages."""
    for path in sorted(RESULTS.glob("*/results.json")):
        runs = Runs.read(path.parent)  # results.json stays as the run wrote it
        path.with_suffix(".md").write_text(to_markdown(runs), encoding="utf-8")
        draw_charts(runs)
        print(path.with_suffix(".md"))
    for run, names in SHOWN.items():
        charts = charts_of(Runs.read(RESULTS / run))
        for name in names:
            rows = [(key, text) for row, text in NAMES.items() for key in (row, wrapped(row))]
            translate(charts[name], CHINESE[name], rows)
            save(charts[name], RESULTS / run / f"{name}.zh.png")
    for page in PAGES:
        page.write_text(with_tables(page), encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()

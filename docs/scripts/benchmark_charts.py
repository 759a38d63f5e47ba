"""Draw the committed results of the benchmarks: medians, with a bar from quartile to quartile.

A picture carries the digest of its results, by which a test knows that it is out of date.
"""

import re

from benchmark_tables import digest_of, files_of, read_result
from pictures import BLUE, GREEN, GREY, ORANGE, save, subplots

LIGHT_BLUE = "#63b3ed"
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "torch"}
CHINESE = {
    "step_cost": {
        "FGM,\na norm a text": "FGM，每条\n文本一个范数",
        "penalty,\ntrainer": "梯度惩罚，\ntrainer",
        "penalty,\nloss": "梯度惩罚，\n损失",
        "Beside a plain step": "与普通训练步相比",
        "Beside the same passes": "与手写的同样计算相比",
        "times a plain step": "普通训练步的倍数",
        "times the passes by hand\n(R-Drop: a plain step, batch twice)": (
            "手写计算的倍数（R-Drop：\nbatch 加倍的普通训练步）"
        ),
    },
    "vocabulary_scale": {
        "{},\n{} rows": "{}，\n{} 行",
        "A step with FGM, by the rows of the embedding": "带 FGM 的一步，按 Embedding 的行数",
        "times a plain step": "普通训练步的倍数",
    },
    "label_scale": {
        "the formula it replaces": "原来的公式",
        "dense": "稠密",
        "dense, labels in bool": "稠密，标签为 bool",
        "sparse": "稀疏",
        "Without XLA": "不用 XLA",
        "With XLA": "用 XLA",
        "labels": "标签数",
        "times binary cross-entropy": "二元交叉熵的倍数",
    },
    "heads": {
        "{},\nmask": "{}，\n有 mask",
        "{},\nno mask": "{}，\n没有 mask",
        "Beside the same from stock Keras layers": "与用 Keras 自带层搭成的相比",
        "times the stock layers' time, forward and backward": "自带层耗时的倍数，前向加反向",
    },
    "peers": {
        "FGM,\nwith the clean gradient": "FGM，\n加上原来的梯度",
        "PGD,\nwith the clean gradient": "PGD，\n加上原来的梯度",
        "penalty": "梯度惩罚",
        "Beside each library's own plain step": "与各自的普通训练步相比",
        "times the plain step, on torch": "普通训练步的倍数，torch",
    },
}
LEGEND = "dot: median, bar: from quartile to quartile"


def rows_of(script):
    """Yield the rows of a script's results as dictionaries, with the name of their file."""
    for file in files_of(script):
        headings, *rows = read_result(file)["table"]
        for row in rows:
            yield {"file": file.stem, **dict(zip(headings, row, strict=True))}


def numbers(cell):
    """Return the median and the quartiles of a cell."""
    return [float(number) for number in re.findall(r"-?[\d.]+", cell)]


def medians_and_bars(cells):
    """Return the medians of cells, and how far the quartiles are below and above."""
    medians, lows, highs = zip(*map(numbers, cells), strict=True)
    below = [median - low for median, low in zip(medians, lows, strict=True)]
    above = [high - median for median, high in zip(medians, highs, strict=True)]
    return medians, [below, above]


def dots(axis, cells, groups, styles):
    """Draw a row for each group, and in it a dot for each series: `cells[group, series]`."""
    if unknown := {series for _, series in cells} - set(styles):
        raise ValueError(f"no style for {unknown}")
    for place, (series, style) in enumerate(styles.items()):
        shift = 0.75 * ((place + 0.5) / len(styles) - 0.5)
        known = {row: cells.get((group, series)) for row, group in enumerate(groups)}
        known = {row + shift: cell for row, cell in known.items() if cell}
        if known:
            medians, bars = medians_and_bars(known.values())
            axis.errorbar(medians, list(known), xerr=bars, fmt="o", label=series, **style)
    axis.axvline(1, color=GREY, linewidth=1, linestyle="--", zorder=0)
    axis.set_yticks(range(len(groups)), [group.replace(", ", ",\n") for group in groups])
    axis.tick_params(axis="y", length=0)
    for edge in range(1, len(groups)):
        axis.axhline(edge - 0.5, color=GREY, linewidth=0.5, alpha=0.4)
    axis.set_ylim(len(groups) - 0.5, -0.5)


def curve(axis, rows, x, y, shift=0.0, **style):
    """Draw a column of a table by the size in another, shifted so that bars stand side by side."""
    sizes = [int(re.sub(r".*× |,", "", row[x])) for row in rows]
    medians, bars = medians_and_bars(row[y] for row in rows)
    axis.errorbar([10**shift * size for size in sizes], medians, yerr=bars, marker="o", **style)
    axis.set_xscale("log")
    axis.set_xticks(sizes, map(short, sizes))
    axis.minorticks_off()


def short(size):
    """Return 21k for 21128, and 2M for two million."""
    return f"{size / 1e6:g}M" if size >= 1e6 else f"{size // 1000}k" if size >= 1000 else size


def style(colour, **others):
    """Return how to draw dots and bars."""
    return {"color": colour, "markersize": 4, "elinewidth": 1.2, **others}


def legend(figure, axis, columns):
    """Put what the colours mean below the figure."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=LEGEND)


def step_cost():
    """Draw the cost of a step beside a plain one and beside the same passes by hand."""
    cells = {"plain": {}, "same passes": {}}
    for row in rows_of("step_cost"):
        _, _, backend, _, *others = row["file"].split("_")
        if not others:  # with dropout, as models have it
            series = f"{BACKENDS[backend]} {row['mode']}"
            beside = "plain" if row["beside"] == "plain" else "same passes"
            cells[beside][row["step"], series] = row["ratio"]
    styles = {
        "TensorFlow graph": style(BLUE),
        "TensorFlow XLA": style(LIGHT_BLUE),
        "JAX XLA": style(ORANGE),
        "torch eager": style(GREEN),
    }
    figure, (left, right) = subplots(2, 6.4, beside=True, sharey=True)
    groups = list(dict.fromkeys(step for step, _ in cells["plain"]))
    groups.sort(key="R-Drop".__eq__)  # not every backend has both penalties: together before it
    dots(left, cells["plain"], groups, styles)
    dots(right, cells["same passes"], groups, styles)
    left.set_title("Beside a plain step")
    left.set_xlabel("times a plain step")
    right.set_title("Beside the same passes")
    right.set_xlabel("times the passes by hand\n(R-Drop: a plain step, batch twice)")
    legend(figure, left, 2)
    return figure


def vocabulary_scale():
    """Draw the steps' times with FGM beside plain ones, for a small and a large vocabulary."""
    cells = {}
    for row in rows_of("vocabulary_scale"):
        optimizer = {"sgd": "SGD", "adam": "Adam"}[row["optimizer"]]
        backend = BACKENDS[row["file"].rsplit("_", 1)[1]]
        cells[f"{optimizer}, {row['rows']} rows", backend] = row["ratio"]
    styles = {"TensorFlow": style(BLUE), "JAX": style(ORANGE), "torch": style(GREEN)}
    title = "A step with FGM, by the rows of the embedding"
    return one_panel(cells, styles, 3.2, title, "times a plain step")


def label_scale():
    """Draw the losses' times, beside that of BCE, by the number of labels."""
    figure, axes = subplots(2, 3.8, beside=True, sharey=True)
    colours = {"seed": GREY, "dense": BLUE, "dense, bool": LIGHT_BLUE, "sparse": ORANGE}
    labels = {"seed": "the formula it replaces", "dense, bool": "dense, labels in bool"}
    rows = list(rows_of("label_scale"))
    for axis, mode in zip(axes, ("graph", "XLA"), strict=True):
        for place, (loss, colour) in enumerate(colours.items()):
            of_it = [row for row in rows if row["mode"] == mode and row["loss"] == loss]
            how = style(colour, label=labels.get(loss, loss))
            curve(axis, of_it, "batch × labels", "÷ BCE", 0.06 * (place - 1.5), **how)
        axis.axhline(1, color=GREY, linewidth=1, linestyle="--", zorder=0)
        axis.set_title("Without XLA" if mode == "graph" else "With XLA")
        axis.set_xlabel("labels")
        axis.set_ylim(0, 1.6)
    axes[0].set_ylabel("times binary cross-entropy")
    legend(figure, axes[0], 2)
    return figure


def one_panel(cells, styles, height, title, label):
    """Draw dots of which the groups are those of the cells, in their order."""
    figure, axis = subplots(1, height)
    dots(axis, cells, list(dict.fromkeys(group for group, _ in cells)), styles)
    axis.set_title(title)
    axis.set_xlabel(label)
    legend(figure, axis, 2)
    return figure


def heads():
    """Draw the heads' times beside those of the same from stock layers."""
    cells = {
        (f"{row['head']}, {'' if row['mask'] == 'yes' else 'no '}mask", row["mode"]): row["ratio"]
        for row in rows_of("heads")
    }
    styles = {"graph": style(BLUE), "XLA": style(LIGHT_BLUE)}
    label = "times the stock layers' time, forward and backward"
    return one_panel(cells, styles, 2.8, "Beside the same from stock Keras layers", label)


def peers():
    """Draw the steps' times in two libraries, beside each one's own plain step."""
    cells = {(row["step"], row["library"]): row["ratio"] for row in rows_of("peers")}
    styles = {"keras-mlc": style(BLUE), "bert4torch": style(ORANGE)}
    label = "times the plain step, on torch"
    return one_panel(cells, styles, 4.2, "Beside each library's own plain step", label)


def main():
    """Draw a picture for each script."""
    for draw in (step_cost, vocabulary_scale, label_scale, heads, peers):
        name = draw.__name__
        chinese = {LEGEND: "点：中位数；横线：从下四分位数到上四分位数", **CHINESE[name]}
        save(draw(), f"benchmark_{name}", chinese, Description=digest_of(name))


if __name__ == "__main__":
    main()

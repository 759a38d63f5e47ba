"""Pictures for a report: scores, learning curves, cost against score."""

import os
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLUE, GREY, ORANGE = "#2b6cb0", "#a0aec0", "#c05621"
BESIDE = {"fontsize": 8, "loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False}


def draw_charts(results):
    groups = results.by_row()
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        save(scores_chart(groups), results.folder / "f1.png")
        trained = {name: runs for name, runs in groups.items() if "curve" in runs[0]}
        if trained:
            save(curves_chart(trained), results.folder / "learning_curves.png")
            save(cost_chart(trained, groups.get("tfidf")), results.folder / "cost.png")


def save(figure, path):
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=150, bbox_inches="tight")
    plt.close(figure)
    os.replace(partial, path)


def micro(run):
    return run["averages"]["micro"]["f1-score"]


def mean(runs, value=micro):
    return statistics.mean(map(value, runs))


def spread(runs):
    values = [micro(run) for run in runs]
    return statistics.stdev(values) if len(values) > 1 else 0.0


def other_task(name):
    return name == "fine_grained"


def scores_chart(groups):
    """Micro F1 of every row, with one standard deviation over seeds."""
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(groups) + 1.2))
    for place, (name, runs) in enumerate(groups.items()):
        colour = GREY if name == "tfidf" else ORANGE if other_task(name) else BLUE
        value, error = mean(runs), spread(runs)
        axes.barh(place, value, xerr=error or None, color=colour, height=0.65, capsize=3)
        axes.text(value + error + 0.008, place, f"{value:.3f}", va="center")
    titles = [
        runs[0]["title"] + (" (another task)" if other_task(name) else "")
        for name, runs in groups.items()
    ]
    axes.set_yticks(range(len(groups)), titles)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("micro F1 on the test rows")
    if "tfidf" in groups:
        axes.axvline(mean(groups["tfidf"]), color=GREY, linestyle="--", linewidth=1, zorder=0)
    seeds = {len(runs) for name, runs in groups.items() if name != "tfidf"} or {1}
    if max(seeds) > 1:
        number = f"{max(seeds)}" if len(seeds) == 1 else f"up to {max(seeds)}"
        axes.set_title(f"Mean and standard deviation of {number} seeds", loc="left", fontsize=10)
    return figure


def curves_chart(groups):
    """Micro F1 on validation rows while training."""
    figure, axes = plt.subplots(figsize=(8, 5))
    colours = plt.get_cmap("tab10").colors
    for (name, runs), colour in zip(groups.items(), colours, strict=False):
        epochs = [epoch for epoch, _ in runs[0]["curve"]]
        curves = zip(*([f1 for _, f1 in run["curve"]] for run in runs), strict=False)
        style = "--" if other_task(name) else "-"
        averages = [statistics.mean(point) for point in curves]
        label = runs[0]["title"] + (" (another task)" if other_task(name) else "")
        axes.plot(epochs, averages, style, marker="o", markersize=3, color=colour, label=label)
    axes.set_xlabel("epochs")
    axes.set_ylabel("micro F1 on the validation rows")
    axes.set_ylim(0, 1)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(**BESIDE)
    return figure


def cost_chart(groups, tfidf):
    """Micro F1 against the time of a step, in steps of the sigmoid row."""
    figure, axes = plt.subplots(figsize=(8, 5))
    colours = plt.get_cmap("tab10").colors
    for (name, runs), colour in zip(groups.items(), colours, strict=False):
        timed = [run for run in runs if run["step_ratio"] is not None]
        if timed and not other_task(name):
            cost = mean(timed, lambda run: run["step_ratio"])
            axes.plot(cost, mean(runs), "o", color=colour, label=runs[0]["title"])
    if tfidf:
        axes.axhline(mean(tfidf), color=GREY, linestyle="--", linewidth=1)
        axes.annotate("TF-IDF", (1, mean(tfidf)), xytext=(0, 4), textcoords="offset points",
                      xycoords=("axes fraction", "data"), ha="right", fontsize=8)  # fmt: skip
    axes.set_xlabel("time of a step, times that of the sigmoid row")
    axes.set_ylabel("micro F1 on the test rows")
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    axes.legend(**BESIDE)
    return figure

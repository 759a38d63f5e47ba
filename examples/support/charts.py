"""Pictures for a report: scores, learning curves, cost against score."""

import os
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLUE, GREY, ORANGE = "#2b6cb0", "#a0aec0", "#c05621"
STYLES = {"font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}
LEADER = {"arrowstyle": "-", "lw": 0.5, "relpos": (0, 0.5)}
WIDTH = 5.6  # inches: at this width letters are legible on a phone


def draw_charts(results):
    for name, figure in charts_of(results).items():
        path = results.folder / f"{name}.png"
        if figure:
            save(figure, path)
        else:
            path.unlink(missing_ok=True)  # of a run that had more rows


def charts_of(results):
    """Return the pictures by name; None where there is too little to show."""
    groups = results.by_row()
    trained = {name: runs for name, runs in groups.items() if "curve" in runs[0]}
    with plt.rc_context(STYLES):
        return {
            "f1": scores_chart(groups),
            "learning_curves": curves_chart(trained),
            "cost": cost_chart(trained, groups.get("tfidf")),
        }


def save(figure, path):
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=260, bbox_inches="tight")
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


def title_of(name, runs):
    return runs[0]["title"] + (" (another task)" if other_task(name) else "")


def scores_chart(groups):
    """Micro F1 of every row, with one standard deviation over seeds."""
    if len(groups) < 2:
        return None
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 0.36 * len(groups) + 1))  # beside names
    for place, (name, runs) in enumerate(groups.items()):
        colour = GREY if name == "tfidf" else ORANGE if other_task(name) else BLUE
        value, error = mean(runs), spread(runs)
        axes.errorbar(value, place, xerr=error or None, fmt="o", color=colour, capsize=3)
        axes.annotate(f"{value:.3f}", (value + error, place), xytext=(6, 0), va="center",
                      textcoords="offset points", fontsize=8)  # fmt: skip
        axes.axhline(place, color=GREY, linewidth=0.5, alpha=0.4, zorder=0)
    axes.set_yticks(range(len(groups)), [wrapped(title_of(*row)) for row in groups.items()])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlabel("micro F1 on the test rows (the axis does not begin at 0)")
    if "tfidf" in groups:
        axes.axvline(mean(groups["tfidf"]), color=GREY, linestyle="--", linewidth=1, zorder=0)
    seeds = {len(runs) for name, runs in groups.items() if name != "tfidf"} or {1}
    if max(seeds) > 1:
        number = f"{max(seeds)}" if len(seeds) == 1 else f"up to {max(seeds)}"
        axes.set_title(f"Mean and standard deviation of {number} seeds", loc="left")
    return figure


def wrapped(title):
    before, after = (", ", ",\n") if ", " in title else (" (", "\n(")
    return title.replace(before, after, 1) if len(title) > 28 else title


def curves_chart(groups):
    """Micro F1 on validation rows while training, each curve with its name at its end."""
    curves = {name: curve_of(runs) for name, runs in groups.items()}
    if sum(len(epochs) for epochs, _ in curves.values()) < 2:
        return None
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 4.6))
    ends = []
    for place, (name, (epochs, values)) in enumerate(curves.items()):
        style = "--" if other_task(name) else "-"
        colour = plt.get_cmap("tab20").colors[(2 * place) % 20 + (2 * place) // 20]
        axes.plot(epochs, values, style, marker="o", markersize=3, color=colour)
        ends.append((values[-1], epochs[-1], title_of(name, groups[name]), colour))
    lowest = min(min(values[len(values) // 2 :]) for _, values in curves.values())
    highest = max(max(values) for _, values in curves.values())
    room = 0.06 * (highest - lowest) or 0.05
    axes.set_ylim(lowest - room, highest + room)  # what is below is the beginning of training
    end = max(epochs[-1] for epochs, _ in curves.values())
    ends.sort()
    apart = 1.15 * (highest - lowest + 2 * room) / 27  # 27 lines of type have room
    places = spaced([value for value, *_ in ends], apart)
    for height, (value, epoch, title, colour) in zip(places, ends, strict=True):
        axes.annotate(title, (epoch, value), xytext=(1.06 * end, height), color=colour, fontsize=8,
                      va="center", arrowprops=LEADER | {"color": colour},
                      annotation_clip=False)  # fmt: skip
    axes.set_xlabel("epochs")
    axes.set_ylabel("micro F1 on the validation rows")
    axes.grid(axis="y", alpha=0.3)
    return figure


def curve_of(runs):
    points = zip(*([f1 for _, f1 in run["curve"]] for run in runs), strict=False)
    return [epoch for epoch, _ in runs[0]["curve"]], [statistics.mean(each) for each in points]


def spaced(heights, apart):
    """Return rising heights that are as near to the given ones, and at least so far apart."""
    blocks = []  # of heights that touch: how many, and the lowest's place
    for height in heights:
        blocks.append([1, height])
        while len(blocks) > 1 and blocks[-1][1] < blocks[-2][1] + blocks[-2][0] * apart:
            number, low = blocks.pop()
            before, below = blocks[-1]
            moved = (before * below + number * (low - before * apart)) / (before + number)
            blocks[-1] = [before + number, moved]
    return [low + place * apart for number, low in blocks for place in range(number)]


def cost_chart(groups, tfidf):
    """Micro F1 against the time of a step, in steps of the sigmoid row."""
    points = []
    for name, runs in groups.items():
        timed = [run for run in runs if run["step_ratio"] is not None]
        if timed and not other_task(name):
            cost = mean(timed, lambda run: run["step_ratio"])
            points.append((mean(runs), cost, spread(runs), runs[0]["title"]))
    if len(points) < 2:
        return None
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 4.6))
    points.sort()
    known = [mean(tfidf)] if tfidf else []
    lowest = min(*known, *(value - error for value, _, error, _ in points))
    highest = max(*known, *(value + error for value, _, error, _ in points))
    room = 0.08 * (highest - lowest) or 0.05
    places = spaced([value for value, *_ in points], 1.15 * (highest - lowest + 2 * room) / 27)
    right = max(cost for _, cost, *_ in points)
    left = min(cost for _, cost, *_ in points)
    for place, (value, cost, error, title) in zip(places, points, strict=True):
        colour = plt.get_cmap("tab20").colors[2 * points.index((value, cost, error, title)) % 20]
        axes.errorbar(cost, value, yerr=error or None, fmt="o", color=colour, capsize=3)
        axes.annotate(title, (cost, value), xytext=(right + 0.12 * (right - left or 1), place),
                      color=colour, fontsize=8, va="center", annotation_clip=False,
                      arrowprops=LEADER | {"color": colour})  # fmt: skip
    if tfidf:
        axes.axhline(mean(tfidf), color=GREY, linestyle="--", linewidth=1)
        axes.annotate("TF-IDF", (0, mean(tfidf)), xytext=(2, 3), textcoords="offset points",
                      xycoords=("axes fraction", "data"), fontsize=8)  # fmt: skip
    axes.set_ylim(lowest - room, highest + room)
    axes.set_xlabel("time of a step, times that of the sigmoid row")
    axes.set_ylabel("micro F1 on the test rows")
    axes.grid(alpha=0.3)
    return figure

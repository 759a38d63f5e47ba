"""The live view: which row, epoch, step, loss, and how long it will take."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def columns(width):
    """What fits into a terminal's width: what is left and the state come first."""
    name, state = "{task.description}", "{task.fields[state]}"
    if width < 110:
        return TextColumn(name, style="bold"), TimeRemainingColumn(), TextColumn(state, style="dim")
    return (
        TextColumn("{task.description:30s}", style="bold"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn(state, style="dim"),
    )


class Live:
    """Two progress bars, the whole table and the current row, and a line for every finished row.

    Args:
        results: the `Results`.
        todo: (row, seed) pairs of the table, in their order.
    """

    def __init__(self, results, todo):
        self.results, self.todo = results, todo
        self.progress = Progress(
            *columns(Console().width),
            speed_estimate_period=600,
        )
        self.kept = sum(results.finished(*run) is not None for run in todo)
        self.done = self.kept
        self.table = self.progress.add_task("table", total=len(todo) - self.kept, state="")
        self.row = self.progress.add_task("", total=1, state="", visible=False)

    def __enter__(self):
        self.progress.start()
        if self.kept:
            self.say(f"{self.kept} finished runs taken from {self.results.folder}.")
        return self

    def __exit__(self, *exception):
        self.progress.stop()

    def say(self, *lines):
        for line in [*self.results.notes, *lines]:
            self.print(line, style="dim", highlight=False)
        self.results.notes.clear()

    def print(self, line, **style):
        """A line above the bars; what looks like rich's markup is text, as in `[/INST]`."""
        self.progress.console.print(line, markup=False, soft_wrap=True, **style)

    def start(self, title, seed):
        """A row begins."""
        self.say()
        state = f"seed {seed}: building"
        self.progress.reset(self.row, description=title[:30], state=state, visible=True)
        self.finished_before = self.progress.tasks[0].completed

    def step(self, epoch, epochs, step, steps, loss):
        """A training step is done."""
        share = (epoch + step / steps) / epochs
        state = f"epoch {epoch + 1}/{epochs}, step {step}/{steps}, loss {loss:.4f}"
        self.progress.update(self.row, completed=share, state=state)
        self.progress.update(self.table, completed=self.finished_before + 0.98 * share)

    def timing(self):
        """A trained model's steps are timed."""
        self.progress.update(self.row, state="timing steps beside the sigmoid row's")

    def finish(self, run):
        """A row is done, in this run or in an earlier one."""
        f1 = {name: values["f1-score"] for name, values in run["averages"].items()}
        self.print(
            f"{run['title']}, seed {run['seed']}: "
            f"F1 micro {f1['micro']:.3f}, macro {f1['macro']:.3f}, weighted {f1['weighted']:.3f}"
        )
        if self.progress.tasks[1].visible:
            self.progress.update(self.row, visible=False)
            self.progress.update(self.table, completed=self.finished_before + 1)

"""Run rows of the table: what `full_table.py` and every single script call."""

import importlib
import sys
from functools import partial

from support.settings import parse_arguments


def run(*row_names):
    """Train and score the rows for every seed, keeping what is finished."""
    settings, arguments = parse_arguments(sys.modules["__main__"].__doc__, list(row_names))

    # after the command line is read, so that --help and a wrong option answer at once
    from support.locking import locked
    from support.report import print_summary
    from support.splits import Data

    rows = {name: importlib.import_module(name) for name in arguments.rows}
    data = Data(settings, rows.values())
    if arguments.summary:
        print_summary(settings, data, rows)
        return
    with locked(arguments.output):
        make_table(settings, arguments, rows, data)


def make_table(settings, arguments, rows, data):
    """Make what the output folder lacks, and print the table."""
    from support.charts import draw_charts
    from support.progress import Live
    from support.report import print_table, to_markdown
    from support.results import Results
    from support.served import has_model
    from support.training import run_row, run_tfidf

    def model_folder(name, seed):
        return arguments.output / "models" / f"{name}-seed{seed}"

    def lacking(run):
        name, seed = run["row"], run["seed"]
        if name == "tfidf":
            return None
        if arguments.save and not has_model(model_folder(name, seed)):
            return "model"
        tuned = run.get("tuned", {})  # None where levels have no thresholds
        if arguments.tune_thresholds and tuned is not None and "validation_rows" not in tuned:
            return "tuned thresholds"
        return None

    results = Results(arguments.output, settings, lacking)
    todo = [
        (name, seed) for seed in arguments.seeds for name in rows if not data.cannot(rows[name])
    ]
    with Live(results, todo) as live:
        live.say(*data.notes, f"The encoder trains in {settings.dtype_policy}.")
        for row in rows.values():
            if reason := data.cannot(row):
                live.say(f"{row.TITLE}: skipped. {reason}")
        if False in data.splits:
            try:
                results.keep("tfidf", 0, partial(run_tfidf, data, live))
            except ValueError as error:  # scikit-learn's; what is to be beaten is no reason to stop
                live.say(f"TF-IDF: skipped. {error}")
        for name, seed in todo:
            make = partial(
                run_row,
                *(rows[name], settings, data, seed, live),
                tune=arguments.tune_thresholds,
                folder=model_folder(name, seed) if arguments.save else None,
            )
            live.finish(results.keep(name, seed, make))
            results.write(to_markdown, draw_charts)
    print_table(results)
    print(f"Results are in {arguments.output}")
    if arguments.save:
        print(f"Models are in {arguments.output / 'models'}; use one by examples/predict.py")

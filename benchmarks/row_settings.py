"""Which settings suit each row of the table? Four tries a row, on rows that no table reports.

Trains on as many rows as the table and scores on 2,000 other rows of the training file. Rows
without a regulariser get four learning rates; FGM, the penalty and R-Drop four strengths. F1 is
with thresholds from the validation rows. Finished runs are kept in `--folder`, with the result.

    python benchmarks/row_settings.py --epochs 4 --learning-rate 6e-4
    python benchmarks/row_settings.py --train train.csv --checkpoint ENCODER --epochs 10

Further options are those of examples/full_table.py; the learning rate is that of the strengths.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))
from support.data import load_corpus
from support.settings import BUNDLED_SAMPLES, REGULARISED

import full_table

TABLE = Path(full_table.__file__)
LEARNING_RATES = "3e-4", "6e-4", "1e-3", "1.5e-3"
STRENGTHS = "0.1", "0.25", "0.5", "1"
HELD_OUT = 2000


def split(train, folder):
    """Write the rows to train on and the held-out rows, and return both paths."""
    paths = folder / "train.csv", folder / "held_out.csv"
    folder.mkdir(parents=True, exist_ok=True)
    rows, _ = load_corpus(train, train)
    order = np.random.default_rng(1).permutation(len(rows))
    number = len(rows) - HELD_OUT if train else BUNDLED_SAMPLES
    names = np.array(rows.label_names)
    for path, part in zip(paths, (order[:number], order[number:][:HELD_OUT]), strict=True):
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["label", "content"])
            writer.writerows(["|".join(names[rows.labels[i] > 0]), rows.texts[i]] for i in part)
    return paths


def tries(rows):
    """Each setting to try: a name, the rows that try it, and the options."""
    plain = [row for row in rows if row not in (*REGULARISED, "fine_grained")]
    for rate in LEARNING_RATES:
        yield f"learning rate {rate}", plain, ["--learning-rate", rate]
    regularised = [row for row in rows if row in REGULARISED]
    for strength in STRENGTHS:
        yield f"strength {strength}", regularised, ["--strength", strength]


def scores(path):
    averages = json.loads(path.read_text(encoding="utf-8"))["tuned"]["averages"]
    return [f"{averages[name]['f1-score']:.3f}" for name in ("micro", "macro")]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train")
    parser.add_argument("--rows", nargs="+", choices=full_table.ROWS, default=full_table.ROWS)
    parser.add_argument("--folder", type=Path, default=Path("runs/row_settings"))
    options, others = parser.parse_known_args()
    train, held_out = split(options.train, options.folder)
    others += ["--train", train, "--test", held_out]
    found = []
    for name, rows, setting in tries(options.rows):
        if not rows:
            continue
        output = options.folder / name.replace(" ", "_")
        command = [TABLE, "--rows", *rows, *others, *setting, "--output", output]
        subprocess.run([sys.executable, *map(str, command)], check=True)
        found += [[row, name, *scores(output / f"rows/{row}-seed0.json")] for row in rows]
    with open(options.folder / "tuning.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "setting", "micro F1", "macro F1"])
        writer.writerows(sorted(found))
    print(f"Wrote {options.folder / 'tuning.csv'}")


if __name__ == "__main__":
    main()

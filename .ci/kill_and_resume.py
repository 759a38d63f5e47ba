"""Run the table, kill it after two finished rows, cut one of them off, resume, and compare."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

folder, options = Path(sys.argv[1]), sys.argv[2:]
rows = options[options.index("--rows") + 1 :]  # the last option
command = [sys.executable, "examples/full_table.py", *options, "--output", folder]


def finished():
    """Return the files of the finished runs, the oldest first."""
    return sorted(folder.glob("rows/*-seed0.json"), key=lambda path: path.stat().st_mtime)


with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
    while len(finished()) < 3 and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
if process.returncode != -signal.SIGKILL:
    sys.exit(f"The table ended by itself with status {process.returncode}.")

kept, cut_off = finished()[0], finished()[-1]
before = kept.read_bytes(), kept.stat().st_mtime_ns
cut_off.write_bytes(cut_off.read_bytes()[:100])

resumed = subprocess.run(command, check=True, capture_output=True, text=True)
print(resumed.stdout[-3000:])
assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before, f"{kept.name} was made again."
noted = f"{cut_off.name} was cut off" in resumed.stdout.replace("\n", " ")
assert noted, "No note on the cut file."
runs = json.loads((folder / "results.json").read_text())["runs"]
assert {run["row"] for run in runs} == {"tfidf", *rows}, "Rows are missing."
for chart in ("f1.png", "learning_curves.png", "cost.png", "results.md"):
    assert (folder / chart).stat().st_size > 1000, f"{chart} is empty."

changed = subprocess.run([*command, "--epochs", "2"], capture_output=True, text=True)
assert changed.returncode != 0 and "epochs: 1 there, 2 now" in changed.stderr, changed.stderr
print("Killed, resumed, and refused other settings.")

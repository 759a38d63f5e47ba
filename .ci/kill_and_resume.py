"""Run the table, kill it after two finished rows and again while it writes, resume, and compare."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

folder, options = Path(sys.argv[1]), sys.argv[2:]
rows = options[options.index("--rows") + 1 :]  # the last option
command = [sys.executable, "examples/full_table.py", *options, "--save", "--output", folder]


def finished():
    """Return the files of the finished rows and their models, with the times of their writing."""
    paths = [*folder.glob("rows/*.json")]
    paths += [file for path in paths for file in folder.glob(f"models/{path.stem}/*")]
    return {path: path.stat().st_mtime_ns for path in paths}


def kill_when(something_is_there):
    """Start the table, and kill it at a moment."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not something_is_there() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    if process.returncode != -signal.SIGKILL:
        sys.exit(f"The table ended by itself with status {process.returncode}.")


kill_when(lambda: len(list(folder.glob("rows/*.json"))) >= 2)
before = finished()
kill_when(lambda: list(folder.glob("models/*.partial")))
assert before.items() <= finished().items(), "A finished row was made again."
resumed = subprocess.run(command, check=True, capture_output=True, text=True)
print(resumed.stdout[-3000:])
after = finished()
assert before.items() <= after.items(), "A finished row was made again."
for row in rows:
    assert json.loads((folder / f"rows/{row}-seed0.json").read_text())["row"] == row
    assert (folder / f"models/{row}-seed0/model.keras") in after, f"{row} has no model."
assert not list(folder.rglob("*.partial")), "Something half written is left."
for report in ("f1.png", "cost.png", "results.md"):
    assert (folder / report).stat().st_size > 1000, f"{report} is empty."

changed = subprocess.run([*command, "--epochs", "2"], capture_output=True, text=True)
assert changed.returncode == 1 and "epochs: 1, now 2" in changed.stderr, changed.stderr
print("Killed, resumed, and refused other settings.")

"""How the scripts end where a user, a file or the machine is at fault: one line, no traceback."""

import os
import signal
import subprocess
import sys
import time

from support.locking import locked
from support.table import DataError

import pytest

from backends import tensorflow_only

pytestmark = tensorflow_only  # nothing here differs between backends
SMALL = ["--samples", "96", "--test-samples", "64", "--epochs", "1", "--max-length", "16"]


@pytest.fixture
def start(pytestconfig):
    """Start a script of the examples, or a program that imports what they share."""
    processes = []

    def start(script, *options, program=None, **more):
        what = ["-c", program] if program else [pytestconfig.rootpath / "examples" / script]
        environment = {**os.environ, "PYTHONPATH": f"{pytestconfig.rootpath / 'examples'}"}
        environment["PYTHONPATH"] += f":{pytestconfig.rootpath}"
        process = subprocess.Popen(
            [sys.executable, *map(str, what), *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, **more.pop("env", {})},
            preexec_fn=heed_ctrl_c,
            **more,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def heed_ctrl_c():
    """Let a child hear of Ctrl-C, also where these tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def last_line(start):
    """The exit status of a script, and what it said last; a traceback fails."""

    def last_line(script, *options, **more):
        process = start(script, *options, **more)
        _, error = process.communicate(timeout=300)
        assert "Traceback" not in error
        return process.returncode, error.splitlines()[-1]

    return last_line


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("from support.table import DataError; raise DataError('a.csv: why')", "a.csv: why"),
        ("open('/nowhere/x')", "/nowhere/x: no such file or directory."),
        ("raise OSError('full')", "full"),
        ("import os; os.mkdir('/proc/x')", "/proc/x: no such file or directory."),
    ],
)
def test_what_a_user_can_cause_is_one_line(last_line, raised, told):
    assert last_line("", program=f"import support; {raised}") == (1, told)


def test_faults_of_the_program_keep_their_traceback(start):
    process = start("", program="import support; {}['x']")
    assert "Traceback" in process.communicate()[1] and process.returncode == 1


def test_a_closed_pipe_ends_in_silence(start):
    process = start("", program="import support, time; time.sleep(0.5); print('x', flush=True)")
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1


def test_ctrl_c_ends_as_programs_do(start, tmp_path):
    output = tmp_path / "out"
    many = [*SMALL[:-4], "--epochs", "1000", "--max-length", "16"]
    process = start("sigmoid.py", *many, "--output", output)
    while not (output / "rows" / "tfidf-seed0.json").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == -signal.SIGINT
    assert error.splitlines()[-1] == "Stopped." and "Traceback" not in error


def test_a_second_process_is_kept_out_at_once(start, last_line, tmp_path):
    hold = "import sys, pathlib, support; from support.locking import locked\n"
    hold += "with locked(pathlib.Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    first = start("", tmp_path, program=hold, stdin=subprocess.PIPE)
    assert first.stdout.readline() == "in\n"
    status, told = last_line("sigmoid.py", *SMALL, "--save", "--output", tmp_path)
    assert status == 1 and "another process is writing into this folder" in told
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}
    first.kill()  # the system gives the lock back
    first.communicate()
    with locked(tmp_path), pytest.raises(DataError, match="another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.slow
def test_a_folder_that_cannot_be_made(last_line, tmp_path):
    (tmp_path / "file").write_text("")
    status, told = last_line("sigmoid.py", *SMALL, "--output", tmp_path / "file" / "x")
    assert status == 1 and told == f"{tmp_path / 'file' / 'x'}: not a directory."


@pytest.mark.slow
def test_a_disk_that_is_full(last_line, tmp_path):
    program = """
import resource, signal, sys
from support.run import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
run("sigmoid")
"""
    options = [*SMALL, "--save", "--output", tmp_path]
    status, told = last_line("", *options, program=program)
    partial = tmp_path / "models" / "sigmoid-seed0.partial" / "model.keras"
    assert (status, told) == (1, f"{partial}: file too large.")
    assert not list((tmp_path / "models").glob("sigmoid-seed0/*"))


def test_a_file_that_is_missing(last_line, tmp_path):
    given = ["--train", tmp_path / "x", "--test", tmp_path / "x"]
    status, told = last_line("tfidf.py", *given)
    assert status == 1 and told == f"{tmp_path / 'x'}: there is no such file."

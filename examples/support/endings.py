"""How a script ends: whatever a user or a machine can cause is one line, and the exit status 1.

That is a file or an option that cannot be used, a disk that is full, a folder that is read-only, or
Ctrl-C. Anything else is a fault of the program and keeps its traceback.
"""

import os
import sys
from contextlib import contextmanager


def end(kind, error, traceback):
    """Say in one line why the script ends; it is Python's hook for what nobody caught."""
    from support.table import DataError  # here, as `support` itself imports this module

    if issubclass(kind, BrokenPipeError):  # whoever read our lines has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif issubclass(kind, KeyboardInterrupt):  # Python then exits as a program that got SIGINT
        print("\nStopped.", file=sys.stderr)
    elif issubclass(kind, DataError):
        print(error, file=sys.stderr)
    elif issubclass(kind, OSError):
        print(told(error), file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


@contextmanager
def writing(path):
    """Have an error name a path: what a full disk raises names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.strerror is not None:
            error.filename = str(path)
        raise


def told(error):
    """An `OSError` in words: the path, and what is wrong with it."""
    if error.filename is None or error.strerror is None:
        return str(error)
    path = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"{path}: {error.strerror[0].lower()}{error.strerror[1:]}."

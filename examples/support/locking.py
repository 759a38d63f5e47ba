"""One folder is written by one process at a time."""

from contextlib import contextmanager

from support.endings import writing
from support.table import DataError

from filelock import FileLock, Timeout

LOCK = ".lock"


@contextmanager
def locked(folder):
    """Make a folder if need be, and keep other processes out of it.

    The system gives the lock back when a process ends, however it ends. The file stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise DataError(
            f"{folder}: another process is writing into this folder. Wait until it has ended, or "
            "choose another --output."
        ) from None
    try:
        with writing(folder):
            yield
    finally:
        lock.release()

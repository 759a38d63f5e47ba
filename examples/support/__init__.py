"""What the rows of the table share: data, encoder, training, results. Not part of the library."""

import os
import sys
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported


class UserError(SystemExit):
    """What a user can mend: Python prints one line and exits with status 1, no traceback."""

    def __init__(self, message):
        super().__init__(" ".join(message.split()))  # other packages' messages may have several


@contextmanager
def one_line_errors():
    """Tell what the machine refuses, such as a full disk, in one line too."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    except BrokenPipeError:  # whoever read our lines has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnicodeDecodeError as error:
        raise UserError(f"The input is not UTF-8: {error}") from None
    except OSError as error:
        raise UserError(f"{error.filename or 'Error'}: {error.strerror or error}") from None

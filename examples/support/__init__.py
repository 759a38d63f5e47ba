"""What the examples share."""

import os
import sys

from support.endings import end

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.excepthook = end

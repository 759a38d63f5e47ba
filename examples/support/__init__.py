"""What the scripts of the table share, and no library does.

Whoever copies needs none of it: it keeps an experiment the same for every row, and says in one line
what is wrong with a file.

* Files to texts and labels (`table`, `files`, `delimited`, `columns`, `cells`, `labels`,
  `separators`, `data`, `fine_grained`, `file_options`): pandas reads the cells; which column holds
  what, what joins labels, and what must not be guessed, it does not say.
* Encoders (`encoders`, `checkpoints`, `hugging_face`, `architecture`, `variables`, `comparisons`,
  `checkpoint_files`, `albert_tiny`, `write_checkpoint`, `download`, `tokenizer`): layers are
  KerasHub's, and so are presets; tokens those of `tokenizers` or of KerasHub; files are read by
  TensorFlow, safetensors and torch. Nobody reads the two TensorFlow formats of albert-tiny into
  Keras 3, and `hugging_face` says why KerasHub does not do with Hugging Face's.
* A row (`splits`, `task`, `training`, `decisions`, `scores`, `intervals`, `settings`, `run`): Keras
  trains, scikit-learn scores.
* What is kept (`results`, `report`, `charts`, `progress`, `locking`, `endings`): rows that were
  finished, in rich's tables and matplotlib's pictures.
* What is used (`saving`, `served`, `predictor`): one folder from training to `predict.py`.
"""

import os
import sys

from support.endings import end

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.excepthook = end

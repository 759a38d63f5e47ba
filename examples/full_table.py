"""The full table: every experiment on albert-tiny, after TF-IDF as the thing to beat.

    python examples/full_table.py

Finished rows are kept in the output folder; a run that was stopped continues where it was.
"""

from support.run import run

ROWS = [
    "sigmoid",
    "multilabel_crossentropy",
    "gradient_penalty",
    "fgm",
    "attention",
    "bilstm_sigmoid",
    "bilstm_multilabel_crossentropy",
    "bilstm_attention",
    "text_cnn",
    "r_drop",
    "fine_grained",
]

if __name__ == "__main__":
    run(*ROWS)

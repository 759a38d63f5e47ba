"""The examples as notebooks for Colab and Kaggle, made from the scripts by jupytext.

The site holds them, and the repository does not, so that they cannot drift. This runs one, where it
is, with the script's own options:

    python docs/notebooks.py sigmoid --samples 96 --epochs 1
"""

import ast
import sys
from pathlib import Path

import jupytext
import nbformat

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS = sorted(
    path.stem for path in EXAMPLES.glob("*.py") if "\nTITLE = " in path.read_text("utf-8")
)
SCRIPTS = ["tfidf", *ROWS, "full_table"]
SET_UP = """\
import sys
from pathlib import Path

if not Path("support").exists():  # on Colab and on Kaggle, not in a checkout
    !git clone -q --depth 1 {repository}
    %pip install -q "./keras-mlc[examples]"
    %cd keras-mlc/examples
sys.argv = {arguments!r}  # options go here; ["{name}.py", "--help"] lists them
sys.modules["{name}"] = sys.modules["__main__"]  # what you change below is what runs"""


def notebook(name, repository="", options=()):
    """Return a script as a notebook, after a cell that fetches what it needs."""
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    made = jupytext.reads(text, fmt="py:light")
    docstring = ast.get_docstring(ast.parse(text))
    set_up = SET_UP.format(repository=repository, name=name, arguments=[f"{name}.py", *options])
    made.cells[0] = nbformat.v4.new_markdown_cell(f"# {docstring}")
    made.cells.insert(1, nbformat.v4.new_code_cell(set_up))
    for number, cell in enumerate(made.cells):
        cell["id"] = str(number)  # the same at each build
    made.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return made


def as_text(name, repository):
    """Return the notebook's file."""
    return nbformat.writes(notebook(name, repository))


def overview(repository):
    """Return the page that lists the scripts and the notebooks."""
    branch = f"{repository}/blob/gh-pages/main/notebooks"  # where the site of main is
    colab = branch.replace("https://github.com", "https://colab.research.google.com/github")
    kaggle = f"https://www.kaggle.com/kernels/welcome?src={branch}"
    lines = [
        "# Examples",
        "",
        "To copy: [five scripts](pretrained_encoders.md#scripts-to-copy), each the whole of a job",
        "with a pretrained encoder.",
        "",
        "The scripts below belong together. Most train one row of the",
        "[results](results/README.md), `full_table.py` all of them. A notebook is its script,",
        "after a cell that installs the library and fetches the data.",
        "",
        "| script | what it shows | notebook |",
        "| --- | --- | --- |",
    ]
    for name in SCRIPTS:
        text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        title = ast.get_docstring(ast.parse(text)).partition("\n")[0]
        lines.append(
            f"| [{name}.py](../examples/{name}.py) | {title} | [file](notebooks/{name}.ipynb) "
            f"· [Colab]({colab}/{name}.ipynb) · [Kaggle]({kaggle}/{name}.ipynb) |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    from nbclient import NotebookClient

    name, *options = sys.argv[1:]
    cells = (
        NotebookClient(notebook(name, options=options), resources={"metadata": {"path": EXAMPLES}})
        .execute()
        .cells
    )
    for cell in cells:
        for output in cell.get("outputs", []):
            print(output.get("text", output.get("data", {}).get("text/plain", "")), end="")

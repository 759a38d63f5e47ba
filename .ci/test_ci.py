"""Tests of what a release trusts: `pytest --no-cov .ci`."""

import zipfile
from pathlib import Path

import check_wheel
import pytest
import release_notes

REPOSITORY = "https://github.com/keras-mlc/keras-mlc"
FILES = {
    "keras_mlc/__init__.py": '__version__ = "0.2.0"\n',
    "CITATION.cff": "cff-version: 1.2.0\nversion: 0.2.0\ndate-released: 2026-12-01\n",
    "CHANGELOG.md": "## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n- A [page](docs/index.md), "
    "[elsewhere](https://keras.io).\n\n## [0.1.0] - 2026-11-24\n\n- The first.\n",
}


def write(folder, **changes):
    """Write a small checkout; a change is a file's text, by the file's stem."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(changes.get(path.stem, text), encoding="utf-8")
    return folder


def test_the_notes_are_one_section_with_links_that_work_anywhere(tmp_path):
    assert release_notes.notes("v0.2.0", write(tmp_path)) == (
        f"- A [page]({REPOSITORY}/blob/v0.2.0/docs/index.md), [elsewhere](https://keras.io)."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"__init__": '__version__ = "0.2.0.dev0"\n'},
            "__init__.py says 0.2.0.dev0, the tag v0.2.0",
        ),
        ({"CITATION": "version: 0.1.0\ndate-released: 2026-12-01\n"}, "CITATION.cff says 0.1.0"),
        ({"CITATION": "version: 0.2.0\ndate-released: 2026-11-24\n"}, "released on 2026-11-24"),
        ({"CHANGELOG": "## [Unreleased]\n\n- A page.\n"}, "CHANGELOG.md has 0 lines"),
        ({"CHANGELOG": "## [0.2.0] - 2026-12-01\n\n## [0.1.0] - 2026-11-24\n"}, "is empty"),
    ],
)
def test_a_release_that_is_not_ready_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        release_notes.notes("v0.2.0", write(tmp_path, **changes))


def wheel(folder, description, *names):
    """Write a wheel that holds little."""
    path = folder / "keras_mlc-0.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("keras_mlc-0.2.0.dist-info/METADATA", f"Name: keras-mlc\n\n{description}")
        for name in ("keras_mlc/__init__.py", *names):
            archive.writestr(name, "")
    return path


GOOD = f"[log]({REPOSITORY}/blob/main/CHANGELOG.md#010---2026-11-24) and `a](b)`"


def test_a_good_wheel_passes(tmp_path):
    check_wheel.check(wheel(tmp_path, GOOD))


@pytest.mark.parametrize(
    "link",
    [
        "[guide](docs/index.md)",
        "[below](#results)",
        f"[gone]({REPOSITORY}/blob/main/gone.md)",
        "[picture]: docs/images/fgm.png",
        '<img src="docs/images/fgm.png">',
        "[no encryption](http://keras.io)",
    ],
)
def test_a_dead_link_is_refused(tmp_path, link):
    with pytest.raises(SystemExit, match="dead on the package index"):
        check_wheel.check(wheel(tmp_path, f"{GOOD}\n\n{link}\n"))


@pytest.mark.parametrize("name", ["tests/test_data.py", "examples/sigmoid.py"])
def test_strangers_are_refused(tmp_path, name):
    with pytest.raises(SystemExit, match=Path(name).parts[0]):
        check_wheel.check(wheel(tmp_path, GOOD, name))

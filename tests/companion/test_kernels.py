"""Test that notebooks give the stored results whatever the settings of the user's shell and home directory are."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from paperlib import reproduction

ROOT = Path(__file__).parents[2]
SEEN = """
import os, sys, matplotlib
print(sys.executable, matplotlib.get_backend(), matplotlib.rcParams["lines.linewidth"], "started" in globals())
"""


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Create settings that must not affect a kernel.

    They are another kernel of the same name, a backend, a style, start-up files, and a folder for temporary files
    with a long name.
    """
    spec = {"argv": ["/bin/false"], "display_name": "stale", "language": "python"}
    files = {
        "share/kernels/python3/kernel.json": json.dumps(spec),
        "ipython/profile_default/startup/00.py": "started = True",
        "home/matplotlibrc": "lines.linewidth: 7",
        "startup.py": "started = True",
        f"{'t' * 100}/x": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    variables = {
        "JUPYTER_PATH": "share", "IPYTHONDIR": "ipython", "MATPLOTLIBRC": "home/matplotlibrc", "PYTHONSTARTUP": "startup.py", "TMPDIR": "t" * 100,
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("t" * 100)))
    return tmp_path


def test_a_kernel_is_this_interpreter_without_the_users_settings(hostile):
    cells = [("", ["parameters"]), (SEEN, [])]
    code = {"cell_type": "code", "outputs": [], "execution_count": None}
    cells = [
        code | {"id": f"c{k}", "source": text, "metadata": {"tags": tags}}
        for k, (text, tags) in enumerate(cells)
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "p"}
    notebook, executed = hostile / "01_seen.ipynb", hostile / "out.ipynb"
    content = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    notebook.write_text(json.dumps(content))
    reproduction.run_notebook(notebook, executed, {})
    (output,) = json.loads(executed.read_text())["cells"][-1]["outputs"]
    program, backend, width, started = "".join(output["text"]).split()
    assert (program, width, started) == (
        sys.executable,
        "1.5",
        "False",
    ) and "inline" in backend


def test_stored_cells_pass_with_the_users_settings(hostile):
    notebook = ROOT / "notebooks" / "04_propagators_and_vertices.ipynb"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval",
        str(notebook),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_titles_are_listed_on_an_ascii_terminal():
    command = [
        sys.executable,
        "-m",
        "paperlib",
        "list",
        "--root",
        str(ROOT),
        "--only",
        "05",
    ]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (
        ended.returncode == 0 and "05_feynman_diagrams: 05 ? Diagrams" in ended.stdout
    ), ended.stderr

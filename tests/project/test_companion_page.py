"""Follow docs/companion.md, a companion of another paper, in an empty folder."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
FENCES = re.findall(
    r"^```(\w*)\n(.*?)^```",
    (ROOT / "docs" / "companion.md").read_text("utf-8"),
    re.DOTALL | re.MULTILINE,
)


def files():
    """Return {file name: text} for blocks that begin with one, and for the claims."""
    named = {
        match[1]: text
        for _, text in FENCES
        if (match := re.match(r"# (\S+\.(?:py|toml))\n", text))
    }
    [claims] = [text for kind, text in FENCES if kind == "json"]
    return named | {"figures/claims.json": claims}


def notebook():
    """Return the notebook made of the page's Markdown and Python blocks."""
    blocks = [
        (kind, text)
        for kind, text in FENCES
        if kind in ("markdown", "python") and text not in files().values()
    ]
    cells = [
        nbformat.v4.new_markdown_cell(text)
        if kind == "markdown"
        else nbformat.v4.new_code_cell(text.rstrip("\n"))
        for kind, text in blocks
    ]
    cells[1].metadata["tags"] = ["parameters"]
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": python})


def commands():
    """Return the page's commands after the installation."""
    lines = [line for kind, text in FENCES if not kind for line in text.splitlines()]
    return [
        line
        for line in lines
        if line.startswith((".venv/bin/python -m", ".venv/bin/jupyter"))
    ]


def test_the_page_makes_a_companion_of_another_paper(tmp_path):
    for name, text in files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook(), tmp_path / "notebooks" / "01_period.ipynb")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])
    }
    first, *others = commands()
    assert len(others) == 4

    def run(line):
        """Run a command of the page with the interpreter of this test."""
        words = shlex.split(
            line.replace("notebooks/*.ipynb", "notebooks/01_period.ipynb")
        )
        words[0] = str(Path(sys.executable).with_name(Path(words[0]).name))
        return subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    made = run(first)
    assert (
        made.returncode == 1 and "in the new results, but not stored" in made.stdout
    ), made.stdout + made.stderr
    for line in others:
        done = run(line)
        assert done.returncode == 0, line + done.stdout + done.stderr
    [claim] = json.loads((tmp_path / "figures" / "claims.json").read_text())["claims"]
    assert (
        claim["verdict"] == "holds"
        and claim["cases"][0]["criteria"]["second_order_error_percent"]["value"] < 0.1
    )
    # The companion detects a wrong constant in the package that the notebook calls.
    path = tmp_path / "pendulum" / "__init__.py"
    path.write_text(path.read_text().replace("2 / np.pi", "2.01 / np.pi"))
    broken = run(first)
    assert (
        broken.returncode == 1
        and "FAILED 01_period number second_order_error_percent" in broken.stdout
    )

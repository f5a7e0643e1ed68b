"""Test the stored notebooks, and test that nbval detects a changed output."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

import paperlib
from paperlib import reproduction

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# The number of cells whose outputs nbval compares. A smaller number means that an
# output is no longer checked.
COMPARED = {
    "00_overview": 8,
    "01_scattering_length": 10,
    "02_born_series": 12,
    "03_training_mlps": 11,
    "04_propagators_and_vertices": 7,
    "05_feynman_diagrams": 12,
    "06_taylor_versus_born": 16,
    "07_iterative_perturbation_theory": 14,
    "08_machine_learned_born": 11,
    "09_beyond_the_paper": 19,
    "10_performance": 15,
    "11_your_own_network": 15,
    "12_every_digit": 3,
}


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_executed_top_to_bottom_and_clean(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    for cell in cells:
        assert len(cell.source.splitlines()) <= 25, "belongs in paperlib"
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"
            text = json.dumps(
                {
                    **output,
                    "data": {
                        k: v
                        for k, v in output.get("data", {}).items()
                        if k[:4] == "text"
                    },
                }
            )
            assert not re.search(r"[\"' ]/\w+/\w|object at 0x|\bit/s\b", text), (
                "a path, an address or a timing"
            )


def nodes(path, *kinds):
    return [
        node
        for cell in code_cells(path)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, kinds)
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_functions_of_notebooks_are_short(path):
    for function in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef):
        assert function.end_lineno - function.body[0].lineno + 1 <= 10, (
            f"{function.name} belongs in paperlib"
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_imports_of_paperlib_are_public(path):
    # Code that readers copy from a notebook must keep working.
    for statement in nodes(path, ast.Import):
        assert not any(alias.name.startswith("paperlib.") for alias in statement.names)
    for statement in nodes(path, ast.ImportFrom):
        if statement.module.split(".")[0] == "paperlib":
            assert statement.module == "paperlib"
            assert {alias.name for alias in statement.names} <= set(paperlib.__all__)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_setup_cells_are_hidden(path):
    for cell in code_cells(path):
        imports = any(
            isinstance(node, ast.Import | ast.ImportFrom)
            for node in ast.walk(ast.parse(cell.source))
        )
        hidden = "hide-input" in cell.metadata.get("tags", [])
        # The tag hides the input in the book, and the other field hides it in
        # JupyterLab.
        assert hidden == cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert hidden or not (imports or "reproduction.record(" in cell.source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_compared_cells_are_counted(path):
    compared = sum(bool(cell.outputs) for cell in code_cells(path))
    assert compared >= COMPARED[path.stem]
    assert not any(
        "nbval" in tag.lower()
        for cell in code_cells(path)
        for tag in cell.metadata.get("tags", [])
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_states_a_claim_and_can_be_tried(path):
    cells = nbformat.read(path, 4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert cells[0].source.startswith(f"# {path.stem[:2]} · ")
    assert (
        "Run time:" in prose
        and "$$" in prose
        and "## Numbers" in prose
        and "## Try it yourself" in prose
    )
    assert "results" in reproduction.notebook_parameters(path)


def equations(path):
    prose = "\n".join(
        cell.source
        for cell in nbformat.read(path, 4).cells
        if cell.cell_type == "markdown"
    )
    return re.findall(r"\$\$(.*?)\$\$", prose, re.DOTALL)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_equations_are_numbered_by_notebook_and_place(path):
    tags = [re.findall(r"\\tag\{(.*?)\}", equation) for equation in equations(path)]
    assert tags == [[f"{int(path.stem[:2])}.{k}"] for k in range(1, len(tags) + 1)]


def notation():
    """Yield the cells of each row of the tables of docs/notation.md."""
    for line in (ROOT / "docs" / "notation.md").read_text("utf-8").splitlines():
        if line.startswith("| $"):
            yield line.strip("| ").split(" | ")


def test_notation_links_to_equations_that_exist():
    tags = {
        path.name: re.findall(r"\\tag\{(.*?)\}", "".join(equations(path)))
        for path in NOTEBOOKS
    }
    page = (ROOT / "docs" / "notation.md").read_text("utf-8")
    links = re.findall(r"\[\((\d+\.\d+)\)\]\(\.\./notebooks/(.*?)\)", page)
    assert len(links) > 20 and all(number in tags[name] for number, name in links)


def test_public_names_of_the_notation_exist():
    for row in notation():
        for name in re.findall(r"`([A-Za-z_.]+)`", row[3]):
            value = paperlib
            for part in name.split("."):
                fields = getattr(value, "__dataclass_fields__", {})
                value = None if part in fields else getattr(value, part)


def test_variables_of_the_notation_occur_in_the_code():
    names = set()
    for path in (ROOT / "paperlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names.add(getattr(node, "id", None) or getattr(node, "arg", None))
            names.add(getattr(node, "attr", None) or getattr(node, "name", None))
    variables = [re.findall(r"`([A-Za-z_]\w*)", row[4]) for row in notation()]
    assert len(variables) > 20
    assert all(name in names for row in variables for name in row)


def test_every_notebook_has_a_stored_record_and_stored_figures():
    stored = {path.stem for path in (ROOT / "figures" / "numbers").glob("*.json")}
    assert stored == {path.stem for path in NOTEBOOKS}
    figures = {
        name
        for stem in stored
        for name in reproduction.read_record(
            ROOT / "figures" / "numbers" / f"{stem}.json"
        ).figures
    }
    assert figures == {path.stem for path in (ROOT / "figures").glob("*.png")}


def nbval(path):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--nbval",
            str(path),
        ],
        capture_output=True,
        text=True,
    )


def test_nbval_detects_a_changed_output(tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    path = tmp_path / "notebooks" / "02_born_series.ipynb"
    whole = nbval(path)
    assert whole.returncode == 0, whole.stdout
    text = path.read_text()
    assert text.count("2.4674011003   (pi^2/4") == 1
    path.write_text(text.replace("2.4674011003   (pi^2/4", "2.4674011004   (pi^2/4"))
    assert nbval(path).returncode == 1


def test_guards_are_three_standard_deviations_from_the_stored_values():
    """Check that a training with other seeds keeps the guards too."""
    guarded = reproduction.guarded_numbers(ROOT / "figures")
    assert guarded
    for name, (number, values) in guarded.items():
        width = 3 * reproduction.seed_variation.deviation(values)
        for guard in {number.at_most, number.at_least} - {None}:
            assert abs(np.log(guard / number.value)) > width, name


# Their trainings were changed after the last measurement, which takes hours. Until they
# are measured again, a run with other bits is compared by guards and verdicts alone.
NOT_MEASURED = {
    "03_training_mlps",
    "06_taylor_versus_born",
    "07_iterative_perturbation_theory",
    "08_machine_learned_born",
    "09_beyond_the_paper",
}


def test_seed_variation_is_measured_for_every_notebook_that_trains():
    train = {
        path.stem
        for path in NOTEBOOKS
        if "seed" in reproduction.notebook_parameters(path)
    }
    measured = set(reproduction.read_seed_variation(ROOT / "figures"))
    assert measured == train - NOT_MEASURED

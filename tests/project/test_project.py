"""Test the project: one set of locked dependencies, a fast import, and tests that detect a changed constant."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from paperlib import reproduction

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(lock):
    """Return {package: [(version, number of hashes), ..]} of a lock file."""
    pins = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text()):
        match = re.match(r"([a-z0-9._-]+)==(\S+)", entry)
        assert match, entry
        pins.setdefault(match[1], []).append((match[2], entry.count("--hash=sha256:")))
    return pins


def normal(requirement):
    return (
        re.match(r"[A-Za-z0-9._-]+", requirement)[0]
        .lower()
        .replace("_", "-")
        .replace(".", "-")
    )


MAKERS = {"browser", "dev", "book", "onnx"}
EXTRAS = set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize(
    "lock, extras",
    [("requirements.txt", EXTRAS - MAKERS), ("requirements-dev.txt", EXTRAS)],
    ids=["all", "makers"],
)
def test_every_dependency_is_locked_with_hashes(lock, extras):
    pins = locked(lock)
    assert all(count > 0 for versions in pins.values() for _, count in versions)
    wanted = list(PROJECT["dependencies"])
    for extra in extras:
        wanted += PROJECT["optional-dependencies"][extra]
    assert {normal(requirement) for requirement in wanted} <= set(pins)
    for requirement in wanted:
        least = re.search(r">=([0-9.]+)", requirement)
        if least:
            for version, _ in pins[normal(requirement)]:
                numbers = [
                    [int(part) for part in re.findall(r"\d+", text)]
                    for text in (version, least[1])
                ]
                assert numbers[0] >= numbers[1], requirement


def test_both_locks_agree():
    makers = locked("requirements-dev.txt")
    for name, versions in locked("requirements.txt").items():
        assert {version for version, _ in versions} == {
            version for version, _ in makers[name]
        }, name


def test_conda_has_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, rest = environment["dependencies"]
    assert rest == {"pip": ["--requirement requirements.txt"]}, (
        "everything but Python and pip comes from the lock"
    )
    assert pip.startswith("pip")
    version = tuple(map(int, re.fullmatch(r"python=(\d+)\.(\d+)", python).groups()))
    assert version >= tuple(map(int, re.findall(r"\d+", PROJECT["requires-python"])))
    assert (
        "--require-hashes --requirement requirements.txt"
        in (ROOT / "Makefile").read_text()
    )


def test_only_numpy_scipy_and_a_lazy_import_are_needed():
    assert {normal(requirement) for requirement in PROJECT["dependencies"]} == {
        "lazy-loader",
        "numpy",
        "scipy",
    }


def test_the_import_is_fast():
    code = "import sys; import paperlib; paperlib.scattering.scattering_length([1.0]); paperlib.born.born_terms([1.0], 2)\n"
    code += (
        "assert not {'tensorflow', 'keras', 'matplotlib', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_modules_and_nine_classes():
    import paperlib

    classes = {
        "Diagram", "Ensemble", "LearnedSeries", "MLP", "SOAP", "SymmetricTensor", "Target", "TaylorExpansion",
        "TrainingConfig",
    }  # fmt: skip
    found = {name: getattr(paperlib, name) for name in paperlib.__all__}
    assert {
        name for name, value in found.items() if not isinstance(value, ModuleType)
    } == classes
    with pytest.raises(AttributeError, match="born_terms"):
        paperlib.born_terms  # noqa: B018


def test_the_book_documents_every_public_module():
    import paperlib

    listed = re.findall(
        r"^   paperlib\.([\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE
    )
    modules = {
        name
        for name in paperlib.__all__
        if isinstance(getattr(paperlib, name), ModuleType)
    }
    assert {name.rpartition(".")[2] for name in listed} == modules


def test_claims_and_readme_have_the_verdicts_of_the_stored_numbers(tmp_path):
    folder = shutil.copytree(
        ROOT / "figures", tmp_path / "figures", ignore=shutil.ignore_patterns("*.png")
    )
    readme = shutil.copy(ROOT / "README.md", tmp_path)
    assert len(reproduction.write_claims(folder, readme)) == 7
    for name in ("README.md", "figures/claims.json"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), name


def test_the_examples_run():
    [network] = blocks("README.md")
    physics, *_ = blocks("docs/using.md")
    assert "born.born_terms(" in physics and "taylor.taylor_expand(" in network
    for code in (physics, network):
        exec(code, {})


def blocks(page):
    return re.findall(
        r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL
    )


def test_the_readme_fits_a_screen_and_a_half():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 65 and len(text.split()) <= 700


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(page):
    # these two are in the book's root folder
    folder = ROOT if page.name in ("index.md", "api.md") else page.parent
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text("utf-8")):
        name, _, heading = link.partition("#")
        target = (folder / name).resolve() if name else page
        assert target.exists(), link
        headings = (
            re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE)
            if heading
            else []
        )
        assert not heading or heading in {
            re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings
        }


def test_the_page_of_a_package_index_has_no_relative_links_and_its_example_runs():
    page = PROJECT["readme"]["text"]
    assert not re.search(r"\]\((?!https?://)", page)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(link in readme for link in re.findall(r"\]\(([^)]*)\)", page))
    assert page.count("doi.org") == readme.count("doi.org")
    [example] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(example, {})


def test_the_development_container_uses_the_command_of_the_readme():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make setup"
    version = tuple(map(int, container["image"].rpartition(":")[2].split(".")))
    assert version >= tuple(map(int, re.findall(r"\d+", PROJECT["requires-python"])))


def test_citation_names_the_paper_and_the_companion():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] and "paperlib" in citation["title"]
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Kaspschak",
        "Meißner",
    ]
    assert paper["identifiers"][0]["value"] == "arXiv:2009.03192"


def copy_of_the_checkout(folder):
    for name in ("paperlib", "notebooks", "figures", "tests"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run(folder, *arguments):
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "file, before, after, unit, notebook",
    [
        (
            "physics/potentials.py",
            'HBAR_C = physical_constants["reduced Planck constant times c in MeV fm"][0]',
            'HBAR_C = 1.001 * physical_constants["reduced Planck constant times c in MeV fm"][0]',
            "tests/physics/test_potentials.py",
            "01",
        ),
        (
            "physics/shells.py",
            "(i + 1) * loss), q - loss, loss",
            "(i + 1) * loss), q - 1.001 * loss, loss",
            "tests/physics/test_scattering.py",
            "01",
        ),
        (
            "physics/born.py",
            "q[0] = 1.0\n",
            "q[0] = 1.001\n",
            "tests/physics/test_born.py",
            "02",
        ),
    ],
)
def test_a_constant_changed_by_a_tenth_of_a_percent_is_detected(
    tmp_path, file, before, after, unit, notebook
):
    """Check that unit tests and stored numbers each detect a changed constant, and pass without the change."""
    folder = copy_of_the_checkout(tmp_path)
    tests = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", unit)
    numbers = ("-m", "paperlib", "reproduce", "--only", notebook, "--profile", "quick")
    path = folder / "paperlib" / file
    source = path.read_text()
    assert source.count(before) == 1
    path.write_text(source.replace(before, after))
    assert run(folder, *tests).returncode == 1
    mutated = run(folder, *numbers)
    assert mutated.returncode == 1 and "FAILED" in mutated.stdout, (
        mutated.stdout + mutated.stderr
    )
    path.write_text(source)
    healthy = run(folder, *numbers)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr

"""Test the CI workflows: they run Makefile targets on supported versions of Python with stated permissions."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# All write permissions: pages are deployed with an identity token, and a release
# uploads files.
WRITES = {"book.yml": {"pages", "id-token"}, "release.yml": {"contents"}}


def numbers(text):
    return tuple(map(int, re.findall(r"\d+", text)))


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def named(request):
    return request.param.name, yaml.safe_load(request.param.read_text("utf-8"))


def test_there_are_workflows():
    assert {"test.yml", "book.yml", "matrix.yml"} <= {path.name for path in WORKFLOWS}


def test_workflows_run_targets_of_the_makefile(named):
    asked = [
        target
        for step in steps(named[1])
        for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))
    ]
    assert asked and set(asked) <= TARGETS


def test_python_versions_are_the_supported_ones(named):
    least = numbers(
        tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
            "requires-python"
        ]
    )
    lowest, end = map(
        numbers,
        re.search(r"not \((.*?)\) <= sys.version_info < \((.*?)\)", MAKEFILE).groups(),
    )
    for job in named[1]["jobs"].values():
        pythons = job.get("strategy", {}).get("matrix", {}).get("python", [])
        asked = [
            step["with"]["python-version"]
            for step in job["steps"]
            if "setup-python" in step.get("uses", "")
        ]
        for version in [*pythons, *(text for text in asked if "$" not in text)]:
            assert max(least, lowest) <= numbers(version) < end, version


def test_permissions_are_stated_and_few(named):
    name, workflow = named
    assert workflow["permissions"] == {"contents": "read"}
    own = [job.get("permissions", {}) for job in workflow["jobs"].values()]
    assert {
        right for rights in own for right, value in rights.items() if value == "write"
    } == WRITES.get(name, set())


def test_runs_have_a_time_limit_and_do_not_race(named):
    assert named[1]["concurrency"]["group"]
    assert all("timeout-minutes" in job for job in named[1]["jobs"].values())


def test_actions_are_named_by_their_major_version(named):
    assert all(
        re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        for step in steps(named[1])
        if "uses" in step
    )

"""Test a release in a small repository: the errors, the preview, and the written, committed and tagged files."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TODAY = date.today().isoformat()
CHANGELOG = "# Changelog\n\n## Unreleased\n\n- A thing.\n\n## 0.1.0 (2020-01-01)\n\n- The first.\n"
# Stand-ins for the targets that make the environment, the metadata and the builds.
OTHERS = """
.venv/.ready:
wheel archive:
	@echo made $@
metadata:
	@echo made $@
	@grep ^version: CITATION.cff > metadata
"""

pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("make")), reason="needs git and make"
)


class Repository:
    def __init__(self, folder):
        self.folder = folder
        for name in ("pyproject.toml", "CITATION.cff", ".gitignore", ".ci/release.py"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        self.write(
            "pyproject.toml",
            re.sub(
                "(?m)^version = .*", 'version = "0.1.0"', self.read("pyproject.toml")
            ),
        )
        self.write("CHANGELOG.md", CHANGELOG)
        rules = re.findall(
            r"^release.*:.*\n(?:\t.*\n)+",
            (ROOT / "Makefile").read_text("utf-8"),
            re.MULTILINE,
        )
        self.write("Makefile", "".join(rules) + OTHERS)
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.commit("Start")

    def read(self, name):
        return (self.folder / name).read_text("utf-8")

    def write(self, name, text):
        (self.folder / name).write_text(text, "utf-8")

    def version(self):
        return tomllib.loads(self.read("pyproject.toml"))["project"]["version"]

    def run(self, *command):
        own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for who in ("AUTHOR", "COMMITTER"):
            own |= {f"GIT_{who}_NAME": "A", f"GIT_{who}_EMAIL": "a@example.org"}
        inherited = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("GIT_", "MAKE", "VERSION"))
        }
        return subprocess.run(
            command,
            cwd=self.folder,
            env=inherited | own,
            capture_output=True,
            text=True,
        )

    def make(self, *arguments):
        return self.run("make", f"BIN={Path(sys.executable).parent}", *arguments)

    def commit(self, message):
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def state(self):
        return [
            self.run("git", *words.split()).stdout
            for words in ("log --oneline", "tag", "status --porcelain", "diff")
        ]


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_a_release_is_shown_and_nothing_is_changed(repository):
    before = repository.state()
    shown = repository.make("release-check", "VERSION=0.2.0")
    assert shown.returncode == 0, shown.stderr
    for line in (
        f"+## 0.2.0 ({TODAY})",
        '+version = "0.2.0"',
        '+version: "0.2.0"',
        f'+date-released: "{TODAY}"',
    ):
        assert line in shown.stdout.splitlines()
    assert repository.state() == before


def test_a_release_is_written_committed_tagged_and_built(repository):
    made = repository.make("release", "VERSION=0.2.0")
    assert made.returncode == 0, made.stderr
    assert re.findall("^made (.*)", made.stdout, re.MULTILINE) == [
        "metadata",
        "wheel",
        "archive",
    ]
    assert repository.read("CHANGELOG.md") == CHANGELOG.replace(
        "released\n", f"released\n\n## 0.2.0 ({TODAY})\n"
    )
    assert repository.version() == "0.2.0"
    before = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert yaml.safe_load(repository.read("CITATION.cff")) == before | {
        "version": "0.2.0",
        "date-released": TODAY,
    }
    changed = repository.run(
        "git", "show", "--format=%s", "--name-only", "v0.2.0^{commit}"
    ).stdout.split("\n")
    assert changed[0] == "Release 0.2.0"
    assert set(changed[2:-1]) == {
        "CHANGELOG.md",
        "CITATION.cff",
        "metadata",
        "pyproject.toml",
    }
    assert repository.run("git", "cat-file", "-t", "v0.2.0").stdout == "tag\n"
    assert repository.read("metadata") == 'version: "0.2.0"\n'

    again = repository.make("release", "VERSION=0.3.0")
    assert "must have entries under" in again.stderr
    repository.write(
        "CHANGELOG.md",
        repository.read("CHANGELOG.md").replace("released\n", "released\n\n- More.\n"),
    )
    repository.commit("More")
    assert repository.make("release", "VERSION=0.3.0").returncode == 0
    assert repository.read("CITATION.cff").count("date-released") == 1
    assert repository.run("git", "tag").stdout.split() == ["v0.2.0", "v0.3.0"]
    assert not repository.state()[2]


REFUSED = {
    "": "VERSION is missing; the present version is 0.1.0",
    "next": "VERSION=next: must be a version number",
    "v0.2.0": "VERSION=v0.2.0: must be written 0.2.0",
    "0.1.0": "VERSION=0.1.0: must be larger than the present version, 0.1.0",
    "0.1.0rc1": "VERSION=0.1.0rc1: must be larger than the present version, 0.1.0",
}


@pytest.mark.parametrize("version, line", REFUSED.items())
def test_a_bad_version_is_rejected(repository, version, line):
    assert refusal(repository, version) == line


def test_a_tree_with_changes_is_rejected(repository):
    repository.write("new", "")
    assert refusal(repository) == "the checkout has changes; commit them first"


def test_another_branch_is_rejected(repository):
    repository.run("git", "switch", "--quiet", "--create", "other")
    assert refusal(repository) == "the branch must be main"


def test_an_existing_tag_is_rejected(repository):
    repository.run("git", "tag", "v0.2.0")
    assert refusal(repository) == "the tag v0.2.0 exists already"


@pytest.mark.parametrize(
    "rest", ["", "\n\n", "\n## 0.1.0 (2020-01-01)\n\n- The first.\n"]
)
def test_an_empty_changelog_is_rejected(repository, rest):
    repository.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n" + rest)
    repository.commit("Empty")
    assert refusal(repository) == 'CHANGELOG.md must have entries under "## Unreleased"'


def refusal(repository, version="0.2.0"):
    """Return the one line with which both commands fail, and check that they changed nothing."""
    before = repository.state()
    runs = [
        repository.make(target, f"VERSION={version}")
        for target in ("release-check", "release")
    ]
    assert all(made.returncode for made in runs) and repository.state() == before
    lines = [
        line
        for made in runs
        for line in made.stderr.splitlines()
        if not line.startswith("make")
    ]
    assert len(lines) == 2 and lines[0] == lines[1]
    return lines[0].removeprefix("No release: ").removesuffix(".")

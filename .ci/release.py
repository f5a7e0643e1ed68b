"""Show the changes of a release, or one line why VERSION cannot be released.

python .ci/release.py [--write] VERSION
"""

import difflib
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

from packaging.version import InvalidVersion, Version


def git(*arguments):
    """Run git and return its output."""
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def refusal(text):
    """Return the reason why the version `text` cannot be released, or None."""
    present = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"][
        "version"
    ]
    if not text:
        return f"VERSION is missing; the present version is {present}"
    try:
        version = Version(text)
    except InvalidVersion:
        return f"VERSION={text}: must be a version number"
    if str(version) != text:
        return f"VERSION={text}: must be written {version}"
    if version <= Version(present):
        return f"VERSION={text}: must be larger than the present version, {present}"
    if git("status", "--porcelain"):
        return "the checkout has changes; commit them first"
    if git("branch", "--show-current") != "main":
        return "the branch must be main"
    if git("tag", "--list", f"v{text}"):
        return f"the tag v{text} exists already"
    if not re.search(
        r"^## Unreleased\n\s*(?!## )\S",
        Path("CHANGELOG.md").read_text("utf-8"),
        re.MULTILINE,
    ):
        return 'CHANGELOG.md must have entries under "## Unreleased"'


def edits(version, day):
    """Yield the file, the pattern and the replacement of each edit of a release."""
    yield (
        "CHANGELOG.md",
        r"^## Unreleased\n",
        f"## Unreleased\n\n## {version} ({day})\n",
    )
    yield "pyproject.toml", r"^version = .*\n", f'version = "{version}"\n'
    # Quotes are needed: without them YAML reads 1.0 as a number, and a date as a date
    # instead of a string.
    yield (
        "CITATION.cff",
        r"^version: .*\n(date-released: .*\n)?",
        f'version: "{version}"\ndate-released: "{day}"\n',
    )


def main(version, write):
    """Print the edits of a release as a diff, and apply them if `write` is True."""
    if reason := refusal(version):
        sys.exit(f"No release: {reason}.")
    released = {}
    for name, old, new in edits(version, date.today()):
        before = Path(name).read_text("utf-8")
        released[name], places = re.subn(old, new, before, flags=re.MULTILINE)
        if places != 1:
            sys.exit(
                f"No release: {name} must have one line for the version, not {places}."
            )
        lines = difflib.unified_diff(
            before.splitlines(),
            released[name].splitlines(),
            name,
            name,
            n=1,
            lineterm="",
        )
        print(*lines, sep="\n")
    if write:
        for name, text in released.items():
            Path(name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[-1], "--write" in sys.argv)

"""The page of a package index is the README; its links to files lead to the repository, or are words where that has no public address."""

import re
import subprocess
from pathlib import Path

from setuptools import setup


def repository():
    """Where files of this checkout are read by anyone, by the address that it was cloned from."""
    try:
        asked = ["git", "remote", "get-url", "origin"]
        cloned = subprocess.run(
            asked, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.fullmatch(
        r"(?:https://|git@)(github\.com|gitlab\.com)[:/](\S+?)(?:\.git)?/?", cloned
    )
    return f"https://{found[1]}/{found[2]}/blob/HEAD/" if found else None


def page(text, home):
    link = r"(!?)\[([^]]*)\]\((?!https?://|#)([^)]*)\)"
    if home is None:
        return re.sub(link, lambda m: "" if m[1] else m[2], text)
    return re.sub(
        link,
        lambda m: f"{m[1]}[{m[2]}]({home}{m[3]}{'?raw=true' if m[1] else ''})",
        text,
    )


if __name__ == "__main__":
    text = Path(__file__).with_name("README.md").read_text("utf-8")
    setup(
        long_description=page(text, repository()),
        long_description_content_type="text/markdown",
    )

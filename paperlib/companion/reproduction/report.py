"""The report: one HTML page, each number and each figure beside the stored one."""

import base64
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from paperlib._support.files import atomically
from paperlib.companion.reproduction.comparison import Verdict

__all__ = ["write_report"]


def write_report(
    path: str | Path, verdicts: Sequence[Verdict], results: str | Path, stored: str | Path, profile: str
) -> None:
    """Write the report on two folders that were compared, with its pictures inside, to one HTML file.

    `profile` says how the notebooks were run.
    """
    from jinja2 import Environment

    def pictures(name: str) -> list[tuple[str, str]]:
        places = {"stored": (stored, name), "new": (results, name), "difference": (results, f"{name}-failed-diff")}
        return [(caption, _embedded(Path(folder, f"{stem}.png"))) for caption, (folder, stem) in places.items()]

    page = (files(__package__) / "report.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True).from_string(page)
    with atomically(path) as part:
        part.write_text(template.render(verdicts=verdicts, profile=profile, pictures=pictures), encoding="utf-8")


def _embedded(picture: Path) -> str:
    """A picture as a data URI, so that the report is one file that can be sent; empty if there is none."""
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}" if picture.exists() else ""

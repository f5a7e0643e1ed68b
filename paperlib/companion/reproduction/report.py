"""Write the report of a reproduction as one HTML page.

The page lists the machine and the software of the run, then each claim, number and
figure beside its stored counterpart.
"""

import base64
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from paperlib._support import determinism
from paperlib._support.files import atomically
from paperlib.companion.reproduction.comparison import Verdict
from paperlib.companion.reproduction.run_notebooks import PROFILES


def provenance(
    root: str | Path, profile: str, seconds: float, networks: Sequence[Verdict]
) -> dict[str, str]:
    """Return facts about a run of a checkout.

    Parameters
    ----------
    root : path
        The checkout.
    profile : str
        A name in `PROFILES`.
    seconds : float
        The wall time of the run in seconds.
    networks : sequence of Verdict
        The verdicts on newly trained networks, as returned by `compare_networks`.

    Returns
    -------
    dict of str to str
        One line of text for each fact: the profile, the newly trained networks, the
        code, the machine and the libraries. The report begins with these lines.

    Examples
    --------
    >>> list(provenance(".", "quick", 0.0, []))[:4]
    ['profile', 'networks', 'commit', 'date']
    """
    from threadpoolctl import threadpool_info

    identical = sum(verdict.passed for verdict in networks)
    trained = (
        f"{identical} of {len(networks)} trained again are identical "
        "to the pretrained networks, bit by bit"
    )
    reasons = sorted({verdict.note for verdict in networks if not verdict.passed})
    # Report the kernels that the linear algebra library has loaded. Environment
    # variables only request them, and a library ignores the name of a processor that it
    # does not support.
    template = "{internal_api} {version} for {architecture}, threads: {num_threads}"
    libraries = [
        template.format(**{"architecture": "any processor"} | pool)
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {
        "profile": f"{profile}: {PROFILES[profile]}",
        "networks": "; ".join([trained, *reasons]) if networks else "pretrained only",
        "commit": _commit(Path(root)),
        "date": datetime.now(UTC).isoformat(" ", "seconds"),
        "wall time": f"{seconds:.0f} s, without the notebooks of earlier runs",
        "deterministic mode": determinism.departures() or "yes",
        "linear algebra": "; ".join(sorted(libraries)),
        **determinism.machine(),
    }


def _commit(root: Path) -> str:
    """Return the hash of the checkout's commit, and whether files differ from it.

    Return a text with the word "unknown" if git or the repository is missing.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        clean = not git("status", "--porcelain")
        return f"{git('rev-parse', 'HEAD')}, {'clean' if clean else 'with changes'}"
    except (OSError, subprocess.CalledProcessError):
        return "unknown, without git or outside a git checkout"


def write_report(
    path: str | Path,
    verdicts: Sequence[Verdict],
    results: str | Path,
    stored: str | Path,
    facts: Mapping[str, str],
) -> None:
    """Write the report on the comparison of two results folders.

    Parameters
    ----------
    path : path
        The HTML file to write. Pictures are embedded in it.
    verdicts : sequence of Verdict
        The comparisons to list, as returned by `compare` and `compare_networks`.
    results : path
        The folder with the new results. The report links the HTML pages of executed
        notebooks in RESULTS/notebooks.
    stored : path
        The folder with the stored results.
    facts : mapping of str to str
        The first lines of the report, as returned by `provenance`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "report.html"
    ...     write_report(path, [], folder, folder, {"profile": "quick"})
    ...     "Reproduction report" in path.read_text("utf-8")
    True
    """
    from jinja2 import Environment

    def pictures(name: str) -> list[tuple[str, str]]:
        return [
            ("stored", _embedded(Path(stored, f"{name}.png"))),
            ("new", _embedded(Path(results, f"{name}.png"))),
            ("difference", _embedded(Path(results, f"{name}-failed-diff.png"))),
        ]

    def executed(notebook: str) -> str:
        """Return the address of an executed notebook, or "" if it does not exist."""
        page = Path(results, "notebooks", f"{notebook}.html")
        return os.path.relpath(page, Path(path).parent) if page.exists() else ""

    page = (files(__package__) / "report.html").read_text("utf-8")
    template = Environment(autoescape=True).from_string(page)
    with atomically(path) as part:
        text = template.render(
            verdicts=verdicts, facts=facts, pictures=pictures, executed=executed
        )
        part.write_text(text, "utf-8")


def _embedded(picture: Path) -> str:
    """Return a picture as a data URI, or an empty string if the file does not exist.

    Embedded pictures make the report a single file that can be sent.
    """
    if not picture.exists():
        return ""
    content = base64.b64encode(picture.read_bytes()).decode()
    return f"data:image/png;base64,{content}"

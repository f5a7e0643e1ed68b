"""Read and write the claims of the paper and their verdicts.

FOLDER/claims.json follows the schema in `claims.schema.json`. For each claim it names the notebook and the recorded
numbers that decide the claim. The values, the bounds and the verdict are filled in from the records. Notebook 00, the
README and the report are made from this file.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paperlib._support import validation
from paperlib._support.files import atomically, write_json
from paperlib.companion.reproduction.records import (
    Number,
    read_record,
    read_validated,
)

CLAIMS = "claims.json"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and the recorded numbers that decide it.

    Parameters
    ----------
    id : str
        The short name of the claim, such as "C1".
    text : str
        The claim in one sentence.
    notebook : str
        The name of the notebook that shows the claim.
    protocol : str
        The protocol that decides the claim, in about three words.
    numbers : dict of str to Number or None
        The numbers that decide the claim, by name. None stands for a number that is not
        recorded yet.
    said : str
        The verdict that the file contains.
    """

    id: str
    text: str
    notebook: str
    protocol: str
    numbers: dict[str, Number | None]
    said: str = "not yet shown"
    """The verdict that the file contains."""

    @property
    def verdict(self) -> str:
        """Return the verdict that follows from the numbers.

        Returns
        -------
        str
            "holds" if all numbers keep their bounds, "does not hold" if one does not,
            or "not yet shown" if one is missing or has no bound.
        """
        held = [number and number.holds for number in self.numbers.values()]
        return (
            "not yet shown"
            if None in held
            else "holds"
            if all(held)
            else "does not hold"
        )

    @property
    def because(self) -> str:
        """Return the verdict with the values of the numbers.

        Returns
        -------
        str
            One line of text.

        Examples
        --------
        >>> Claim("C1", "It fits.", "03_fit", "ours", {"error": Number(0.25, "error (%)", at_most=0.5)}).because
        'holds: error = 0.25'
        """
        values = ", ".join(
            f"{name} = {number.value:.3g}"
            for name, number in self.numbers.items()
            if number
        )
        return f"{self.verdict}: {values}" if values else self.verdict


def read_claims(folder: str | Path) -> list[Claim]:
    """Read the claims of FOLDER/claims.json with the numbers recorded in FOLDER/numbers.

    Parameters
    ----------
    folder : path
        The folder of stored results.

    Returns
    -------
    list of Claim
        The claims in the order of the file.

    Raises
    ------
    ValueError
        If the file does not follow the schema.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> entry = {"id": "C1", "text": "It fits.", "notebook": "03_fit", "protocol": "ours", "numbers": {"error": {}}}
    >>> with TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "claims.json", {"paper": "A paper", "claims": [entry]})
    ...     [claim.because for claim in read_claims(folder)]
    ['not yet shown']
    """
    claims, path = [], validation.path("folder", folder) / CLAIMS
    for entry in read_validated(path, "claims")["claims"]:
        record = path.parent / "numbers" / f"{entry['notebook']}.json"
        recorded = read_record(record).numbers if record.exists() else {}
        numbers = {name: recorded.get(name) for name in entry["numbers"]}
        words = {name: entry[name] for name in ("id", "text", "notebook", "protocol")}
        claims.append(
            Claim(**words, numbers=numbers, said=entry.get("verdict", "not yet shown"))
        )
    return claims


def write_claims(folder: str | Path, readme: str | Path | None = None) -> list[Claim]:
    """Write the values, bounds and verdicts of the stored numbers to FOLDER/claims.json, and optionally to a README.

    Parameters
    ----------
    folder : path
        The folder of stored results.
    readme : path, optional
        A Markdown file with a table of claims. Each row that begins with the id of a
        claim is replaced.

    Returns
    -------
    list of Claim
        The claims in the order of the file.

    Raises
    ------
    ValueError
        If the file does not follow the schema, or if a claim names a number that its
        notebook has not recorded or that has no bound. A claim without any recorded
        number is accepted.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from paperlib import reproduction
    >>> entry = {"id": "C1", "text": "It fits.", "notebook": "03_fit", "protocol": "ours", "numbers": {"error": {}}}
    >>> numbers = {"error": Number(0.25, "error (%)", at_most=0.5)}
    >>> with TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "claims.json", {"paper": "A paper", "claims": [entry]})
    ...     _ = reproduction.record("03_fit", folder, numbers=numbers, figures={})
    ...     [claim.verdict for claim in write_claims(folder)]
    ['holds']
    """
    claims, path = read_claims(folder), Path(folder) / CLAIMS
    content = read_validated(path, "claims")
    for claim, entry in zip(claims, content["claims"], strict=True):
        for name, number in (
            claim.numbers.items() if any(claim.numbers.values()) else ()
        ):
            if number is None:
                raise ValueError(
                    f"{path}: {claim.id}: {claim.notebook} has recorded no number {name!r}"
                )
            if number.holds is None:
                raise ValueError(
                    f"{path}: {claim.id}: number {name!r} of {claim.notebook} has no bound"
                )
        entry["numbers"] = {
            name: _told(number) if number else {}
            for name, number in claim.numbers.items()
        }
        entry["verdict"] = claim.verdict
    write_json(path, content)
    if readme is not None:
        page = validation.path("readme", readme)
        text = page.read_text(encoding="utf-8")
        for claim in claims:
            shown = f"[{claim.notebook[:2]}](notebooks/{claim.notebook}.ipynb)"
            cells = (
                claim.id,
                claim.text.replace("|", "\\|"),
                shown,
                claim.verdict,
                claim.protocol.replace("|", "\\|"),
            )
            row = f"| {' | '.join(cells)} |"
            text = re.sub(
                rf"^\| {claim.id} \|.*", lambda _: row, text, flags=re.MULTILINE
            )
        with atomically(page) as part:
            part.write_text(text, encoding="utf-8")
    return claims


def _told(number: Number) -> dict[str, Any]:
    """Return the fields of a number that the claims file contains, without those that are None."""
    told = {
        name: getattr(number, name)
        for name in ("value", "meaning", "at_most", "at_least")
    }
    return {name: value for name, value in told.items() if value is not None}

"""Read and write the claims of the paper and their verdicts.

FOLDER/claims.json follows the schema in `claims.schema.json`. For each claim it names
the notebook that shows the claim, and the numbers of the notebook's results file that
decide it. `write_claims` fills in the values, the bounds and the verdict. Notebook 00,
the README and the report are made from this file.
"""

import re
from dataclasses import asdict, dataclass
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
    """Hold a claim of the paper and the recorded numbers that decide it.

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
        The verdict that claims.json contains, from an earlier `write_claims`.

    Examples
    --------
    >>> Claim("C1", "It fits.", "03_fit", "ours", {"error": None}).verdict
    'not yet shown'
    """

    id: str
    text: str
    notebook: str
    protocol: str
    numbers: dict[str, Number | None]
    said: str = "not yet shown"
    """The verdict that claims.json contains, from an earlier `write_claims`."""

    @property
    def verdict(self) -> str:
        """Return the verdict that follows from the numbers.

        Returns
        -------
        str
            "holds" if all numbers keep their bounds, "does not hold" if one does not,
            or "not yet shown" if one is missing or has no bound.

        Examples
        --------
        >>> numbers = {"error": Number(0.25, "error (%)", at_most=0.2)}
        >>> Claim("C1", "It fits.", "03_fit", "ours", numbers).verdict
        'does not hold'
        """
        outcomes = [number and number.holds for number in self.numbers.values()]
        if None in outcomes:
            return "not yet shown"
        return "holds" if all(outcomes) else "does not hold"

    @property
    def because(self) -> str:
        """Return the verdict and the values of the recorded numbers.

        Returns
        -------
        str
            One line of text. Values have three significant digits. Numbers that are not
            recorded yet are omitted.

        Examples
        --------
        >>> numbers = {"error": Number(0.25, "error (%)", at_most=0.5)}
        >>> Claim("C1", "It fits.", "03_fit", "ours", numbers).because
        'holds: error = 0.25'
        """
        values = ", ".join(
            f"{name} = {number.value:.3g}"
            for name, number in self.numbers.items()
            if number
        )
        return f"{self.verdict}: {values}" if values else self.verdict


def read_claims(folder: str | Path) -> list[Claim]:
    """Read the claims of FOLDER/claims.json with the numbers in FOLDER/numbers.

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
        If claims.json or a results file does not follow its schema.
    FileNotFoundError
        If claims.json does not exist.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> claim = {"id": "C1", "text": "It fits.", "notebook": "03_fit"}
    >>> claim |= {"protocol": "ours", "numbers": {"error": {}}}
    >>> content = {"paper": "A paper", "claims": [claim]}
    >>> with TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "claims.json", content)
    ...     [claim.because for claim in read_claims(folder)]
    ['not yet shown']
    """
    path = validation.path("folder", folder) / CLAIMS
    claims = []
    for entry in read_validated(path, "claims")["claims"]:
        record = path.parent / "numbers" / f"{entry['notebook']}.json"
        recorded = read_record(record).numbers if record.exists() else {}
        numbers = {name: recorded.get(name) for name in entry["numbers"]}
        claims.append(
            Claim(
                entry["id"],
                entry["text"],
                entry["notebook"],
                entry["protocol"],
                numbers,
                entry.get("verdict", "not yet shown"),
            )
        )
    return claims


def write_claims(folder: str | Path, readme: str | Path | None = None) -> list[Claim]:
    """Write the values, bounds and verdicts of stored numbers to FOLDER/claims.json.

    Parameters
    ----------
    folder : path
        The folder of stored results.
    readme : path, optional
        A Markdown file with a table of claims. Each row that begins with the id of a
        claim is replaced by the claim's present row. Other lines remain.

    Returns
    -------
    list of Claim
        The claims in the order of the file.

    Raises
    ------
    ValueError
        If claims.json or a results file does not follow its schema, or if a claim names
        a number that its notebook has not recorded or that has no bound. A claim none
        of whose numbers are recorded is accepted. Also raised if `readme` is not UTF-8
        text.
    FileNotFoundError
        If claims.json does not exist.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from paperlib import reproduction
    >>> claim = {"id": "C1", "text": "It fits.", "notebook": "03_fit"}
    >>> claim |= {"protocol": "ours", "numbers": {"error": {}}}
    >>> content = {"paper": "A paper", "claims": [claim]}
    >>> numbers = {"error": Number(0.25, "error (%)", at_most=0.5)}
    >>> with TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "claims.json", content)
    ...     _ = reproduction.record("03_fit", folder, numbers=numbers, figures={})
    ...     [claim.verdict for claim in write_claims(folder)]
    ['holds']
    """
    claims = read_claims(folder)
    path = Path(folder) / CLAIMS
    content = read_validated(path, "claims")
    for claim, entry in zip(claims, content["claims"]):
        if any(claim.numbers.values()):
            _check_bounds(path, claim)
        entry["numbers"] = {
            name: _fields(number) if number else {}
            for name, number in claim.numbers.items()
        }
        entry["verdict"] = claim.verdict
    write_json(path, content)
    if readme is not None:
        _update_table(validation.path("readme", readme), claims)
    return claims


def _check_bounds(path: Path, claim: Claim) -> None:
    """Raise a ValueError if a number of a claim is not recorded or has no bound.

    The message begins with `path`, the file of the claims.
    """
    for name, number in claim.numbers.items():
        if number is None or number.holds is None:
            raise ValueError(
                f"{path}: {claim.id}: number {name!r} must be recorded with a bound "
                f"in {claim.notebook}"
            )


def _fields(number: Number) -> dict[str, Any]:
    """Return the value, the meaning and the bounds of a number for claims.json.

    A bound that the number does not have is left out.
    """
    return {
        name: value
        for name, value in asdict(number).items()
        if value is not None and name not in ("rtol", "atol")
    }


def _update_table(page: Path, claims: list[Claim]) -> None:
    """Replace each row of a Markdown table that begins with the id of a claim.

    `page` is the Markdown file. The new row has five cells: the id, the text, a link to
    the notebook, the verdict, and the protocol. Raise a ValueError if the file is not
    UTF-8 text.
    """
    try:
        text = page.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"readme = {page}: must be a file of UTF-8 text") from None
    for claim in claims:
        notebook = f"[{claim.notebook[:2]}](notebooks/{claim.notebook}.ipynb)"
        cells = [claim.id, claim.text, notebook, claim.verdict, claim.protocol]
        row = " | ".join(cell.replace("|", "\\|") for cell in cells)
        # A function, because `sub` would interpret backslashes in a text.
        text = re.sub(
            rf"^\| {claim.id} \|.*", lambda _: f"| {row} |", text, flags=re.MULTILINE
        )
    with atomically(page) as part:
        part.write_text(text, "utf-8")

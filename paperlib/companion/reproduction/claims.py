"""The paper's claims, where each is shown, and whether the stored numbers bear it out: one file that a machine can read.

FOLDER/claims.json, of which `claims.schema.json` is the form, names for each claim the notebook and the recorded numbers that
decide it. Their values and bounds, and the verdict, are filled in from the records; notebook 00, README and report are made of it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paperlib._support import checks
from paperlib._support.files import atomically, write_json
from paperlib.companion.reproduction import schemas
from paperlib.companion.reproduction.records import Number, read_record

__all__ = ["Claim", "read_claims", "write_claims"]

CLAIMS = "claims.json"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, in three words by what protocol it is decided, and the numbers that do, None where not yet recorded."""

    id: str
    text: str
    notebook: str
    protocol: str
    numbers: dict[str, Number | None]
    said: str = "not yet shown"
    """The verdict that the file holds."""

    @property
    def verdict(self) -> str:
        """Whether all numbers keep their bounds: "holds", "does not hold", or "not yet shown"."""
        held = [number and number.holds for number in self.numbers.values()]
        return "not yet shown" if None in held else "holds" if all(held) else "does not hold"

    @property
    def because(self) -> str:
        """The verdict and the numbers.

        Examples
        --------
        >>> Claim("C1", "It fits.", "03_fit", "ours", {"error": Number(0.25, "error (%)", at_most=0.5)}).because
        'holds: error = 0.25'
        """
        values = ", ".join(f"{name} = {number.value:.3g}" for name, number in self.numbers.items() if number)
        return f"{self.verdict}: {values}" if values else self.verdict


def read_claims(folder: str | Path) -> list[Claim]:
    """The claims of FOLDER/claims.json, with the numbers that FOLDER/numbers holds; a ValueError if the file is not of its form."""
    claims, path = [], checks.path("folder", folder) / CLAIMS
    for entry in schemas.read(path, "claims")["claims"]:
        record = path.parent / "numbers" / f"{entry['notebook']}.json"
        recorded = read_record(record).numbers if record.exists() else {}
        numbers = {name: recorded.get(name) for name in entry["numbers"]}
        words = {name: entry[name] for name in ("id", "text", "notebook", "protocol")}
        claims.append(Claim(**words, numbers=numbers, said=entry.get("verdict", "not yet shown")))
    return claims


def write_claims(folder: str | Path, readme: str | Path | None = None) -> list[Claim]:
    """Fill values, bounds and verdicts of the stored numbers into FOLDER/claims.json, and into a README's rows that begin with a claim.

    A ValueError if the file is not of its form, or names a number that its notebook has not recorded, or one without a bound.
    """
    claims, path = read_claims(folder), Path(folder) / CLAIMS
    content = schemas.read(path, "claims")
    for claim, entry in zip(claims, content["claims"], strict=True):
        for name, number in claim.numbers.items() if any(claim.numbers.values()) else ():
            if number is None:
                raise ValueError(f"{path}: {claim.id}: {claim.notebook} has recorded no number {name!r}")
            if number.holds is None:
                raise ValueError(f"{path}: {claim.id}: number {name!r} of {claim.notebook} has no bound")
        entry["numbers"] = {name: _told(number) if number else {} for name, number in claim.numbers.items()}
        entry["verdict"] = claim.verdict
    write_json(path, content)
    if readme is not None:
        page = checks.path("readme", readme)
        text = page.read_text(encoding="utf-8")
        for claim in claims:
            shown = f"[{claim.notebook[:2]}](notebooks/{claim.notebook}.ipynb)"
            cells = (claim.id, claim.text.replace("|", "\\|"), shown, claim.verdict, claim.protocol.replace("|", "\\|"))
            row = f"| {' | '.join(cells)} |"
            text = re.sub(rf"^\| {claim.id} \|.*", lambda _: row, text, flags=re.MULTILINE)
        with atomically(page) as part:
            part.write_text(text, encoding="utf-8")
    return claims


def _told(number: Number) -> dict[str, Any]:
    told = {name: getattr(number, name) for name in ("value", "meaning", "at_most", "at_least")}
    return {name: value for name, value in told.items() if value is not None}

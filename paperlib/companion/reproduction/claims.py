"""Decide the claims of the paper by thresholds that negative controls fail.

FOLDER/claims.json follows the schema in `claims.schema.json`. It has the claims, and
for each claim its *cases*. A case is a protocol with one or more criteria. A criterion
is a threshold with its reason, the number that must pass it, and *controls*: numbers of
the same notebook that must fail it. If a control passes, the verdict is worthless, and
an error is raised.

Claims, protocols, thresholds, reasons and names of numbers are written by hand. A
notebook shows its claims by `decide`. `write_claims` fills in values and verdicts.
Notebook 00, the README and the report are made from this file.

A threshold is not a guard. The guards of a `Number`, `at_most` and `at_least`, only
report that a number has become worse, and never decide a claim.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paperlib._support import validation
from paperlib._support.files import atomically, write_json
from paperlib.companion.reproduction.records import (
    Number,
    Table,
    check_items,
    read_record,
    read_validated,
)

CLAIMS = "claims.json"
HOLDS, FAILS = "holds", "does not hold"
OPEN = "not yet shown"


class ControlError(ValueError):
    """Report that a control passes its threshold, so that the verdict is worthless.

    Examples
    --------
    >>> issubclass(ControlError, ValueError)
    True
    """


@dataclass(frozen=True)
class Criterion:
    """Hold a threshold, the number that must pass it, and the controls that must not.

    Parameters
    ----------
    name : str
        The name of the number.
    reason : str
        The reason of the threshold, from physics or from a rival method.
    controls : mapping of str to Number or None
        The controls by name. None stands for a number that is not recorded yet.
    number : Number, optional
        The number. None if it is not recorded yet.
    below, above : float, optional
        The threshold, exactly one of the two. Equality does not pass.

    Examples
    --------
    >>> itself = {"itself": Number(1.0, "Born over Born")}
    >>> error = Number(0.5, "error over Born's")
    >>> Criterion("error", "Born is the rival", itself, error, below=1.0).because
    "error over Born's: 0.5 (threshold < 1, controls 1)"
    """

    name: str
    reason: str
    controls: Mapping[str, Number | None]
    number: Number | None = None
    below: float | None = None
    above: float | None = None

    @property
    def threshold(self) -> str:
        """Return the threshold with its inequality sign.

        Examples
        --------
        >>> Criterion("error", "Born is the rival", {"itself": None}, below=1).threshold
        '< 1'
        """
        if self.below is not None:
            return f"< {self.below:.12g}"
        return f"> {self.above:.12g}"

    @property
    def passed(self) -> bool | None:
        """Return whether the number passes the threshold.

        Returns
        -------
        bool or None
            None if the number or a control is not recorded yet.

        Examples
        --------
        >>> controls = {"itself": Number(1.0, "Born over Born")}
        >>> Criterion("error", "rival", controls, Number(1.0, "error"), below=1).passed
        False
        """
        if self.number is None or None in self.controls.values():
            return None
        return self._is_passed_by(self.number)

    def _is_passed_by(self, number: Number) -> bool:
        """Return whether the number itself or a control passes the threshold."""
        if self.below is not None:
            return number.value < self.below
        return self.above is not None and number.value > self.above

    @property
    def because(self) -> str:
        """Return the number, the threshold and the controls as text.

        Values have three significant digits. Rounding errors differ between machines.
        So a value of at most the number's `atol` is shown as "below" `atol`. A number
        that is not recorded yet is shown as "-".

        Examples
        --------
        >>> controls = {"left_out": Number(0.5, "one left out")}
        >>> error = Number(7e-15, "error of the sum", atol=1e-12)
        >>> Criterion("error", "rounding", controls, error, below=1e-12).because
        'error of the sum: below 1e-12 (threshold < 1e-12, controls 0.5)'
        """
        value, threshold, controls = self._cells()
        return f"{self._meaning}: {value} (threshold {threshold}, controls {controls})"

    @property
    def _meaning(self) -> str:
        """Return the meaning of the number, or its name if the meaning is unknown."""
        return (self.number and self.number.meaning) or self.name

    def _cells(self) -> list[str]:
        """Return the value, the threshold and the values of the controls as text."""
        controls = ", ".join(map(_rounded, self.controls.values()))
        return [_rounded(self.number), self.threshold, controls]


def _rounded(number: Number | None) -> str:
    """Return the value of a number as text, as `Criterion.because` describes it."""
    if number is None:
        return "-"
    if 0 < abs(number.value) <= number.atol:
        return f"below {number.atol:.2g}"
    return f"{number.value:.3g}"


@dataclass(frozen=True)
class Case:
    """Hold a protocol with which a claim is tested, and its criteria.

    Parameters
    ----------
    protocol : str
        Optimiser, sampling, iterations and seeds, in a few words.
    criteria : tuple of Criterion
        At least one criterion.
    said : str
        The verdict that claims.json contains, from an earlier `write_claims`.

    Examples
    --------
    >>> criterion = Criterion("error", "Born is the rival", {"itself": None}, below=1.0)
    >>> Case("SOAP, 5 seeds", (criterion,)).verdict
    'not yet shown'
    """

    protocol: str
    criteria: tuple[Criterion, ...]
    said: str = OPEN

    @property
    def verdict(self) -> str:
        """Return the verdict that follows from the numbers.

        Returns
        -------
        str
            "holds" if all numbers pass their thresholds, "does not hold" if one does
            not, or "not yet shown" if a number or a control is not recorded yet.

        Examples
        --------
        >>> itself, error = Number(1.0, "Born over Born"), Number(2.0, "error")
        >>> criterion = Criterion("e", "Born", {"itself": itself}, error, below=1.0)
        >>> Case("SOAP, 5 seeds", (criterion,)).verdict
        'does not hold'
        """
        outcomes = [criterion.passed for criterion in self.criteria]
        if None in outcomes:
            return OPEN
        return HOLDS if all(outcomes) else FAILS

    @property
    def because(self) -> str:
        """Return the verdict and the numbers as text.

        Examples
        --------
        >>> itself, error = Number(1.0, "Born over Born"), Number(0.5, "error")
        >>> criterion = Criterion("e", "Born", {"itself": itself}, error, below=1.0)
        >>> Case("SOAP, 5 seeds", (criterion,)).because
        'holds: error: 0.5 (threshold < 1, controls 1)'
        """
        numbers = "; ".join(criterion.because for criterion in self.criteria)
        return f"{self.verdict}: {numbers}"


@dataclass(frozen=True)
class Claim:
    """Hold a claim of the paper and the cases that decide it.

    Parameters
    ----------
    id : str
        The short name of the claim, such as "C1".
    text : str
        The claim in one sentence.
    notebook : str
        The name of the notebook that shows the claim.
    cases : tuple of Case
        At least one case.
    said : str
        The verdict that claims.json contains, from an earlier `write_claims`.

    Examples
    --------
    >>> criterion = Criterion("error", "Born is the rival", {"itself": None}, below=1.0)
    >>> Claim("C1", "It fits.", "03_fit", (Case("SOAP", (criterion,)),)).verdict
    'not yet shown'
    """

    id: str
    text: str
    notebook: str
    cases: tuple[Case, ...]
    said: str = OPEN

    @property
    def verdict(self) -> str:
        """Return the verdict that follows from the verdicts of the cases.

        Returns
        -------
        str
            "not yet shown" if a case is not yet shown, "holds" if all cases hold, "does
            not hold" if none does, and otherwise "holds in part".

        Examples
        --------
        >>> controls, error = {"c": Number(2.0, "control")}, Number(1.0, "error")
        >>> cases = [
        ...     Case("SOAP", (Criterion("error", "why", controls, error, below=limit),))
        ...     for limit in (0.5, 1.5)
        ... ]
        >>> Claim("C1", "It fits.", "03_fit", tuple(cases)).verdict
        'holds in part'
        """
        verdicts = {case.verdict for case in self.cases}
        if OPEN in verdicts:
            return OPEN
        return verdicts.pop() if len(verdicts) == 1 else "holds in part"

    @property
    def because(self) -> str:
        """Return the verdict, and the verdict and the numbers of each case, as text.

        Examples
        --------
        >>> criterion = Criterion("error", "Born is the rival", {"b": None}, below=1.0)
        >>> Claim("C1", "It fits.", "03_fit", (Case("SOAP", (criterion,)),)).because
        'not yet shown. SOAP: not yet shown: error: - (threshold < 1, controls -)'
        """
        cases = [f"{case.protocol}: {case.because}" for case in self.cases]
        return ". ".join([self.verdict, *cases])


def decided_by(claim: Claim, numbers: Mapping[str, Number]) -> Claim:
    """Return a claim with the numbers of a run of its notebook.

    Parameters
    ----------
    claim : Claim
        The claim. Its own numbers are not used.
    numbers : mapping of str to Number
        The numbers by name. A number that the mapping lacks becomes None.

    Returns
    -------
    Claim
        The same protocols, thresholds and stored verdicts with these numbers.
    """
    cases = []
    for case in claim.cases:
        criteria = [
            replace(
                criterion,
                number=numbers.get(criterion.name),
                controls={name: numbers.get(name) for name in criterion.controls},
            )
            for criterion in case.criteria
        ]
        cases.append(replace(case, criteria=tuple(criteria)))
    return replace(claim, cases=tuple(cases))


def passing_controls(claim: Claim) -> list[str]:
    """Return a line of text for each control of a claim that passes its threshold.

    The list is empty if every recorded control fails its threshold, as it must.
    """
    return [
        f"{claim.id}: {criterion.name} {criterion.threshold}: control {name} = "
        f"{control.value:.3g} passes; controls must fail the threshold"
        for case in claim.cases
        for criterion in case.criteria
        for name, control in criterion.controls.items()
        if control and criterion._is_passed_by(control)
    ]


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
    >>> error = {"below": 1.0, "reason": "Born is the rival", "controls": ["itself"]}
    >>> case = {"protocol": "SOAP, 5 seeds", "criteria": {"error": error}}
    >>> claim = {"id": "C1", "text": "It fits.", "notebook": "03_fit", "cases": [case]}
    >>> content = {"paper": "A paper", "claims": [claim]}
    >>> with TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "claims.json", content)
    ...     [claim.verdict for claim in read_claims(folder)]
    ['not yet shown']
    """
    path = validation.path("folder", folder) / CLAIMS
    claims = []
    for claim in undecided(path):
        record = path.parent / "numbers" / f"{claim.notebook}.json"
        recorded = read_record(record).numbers if record.exists() else {}
        claims.append(decided_by(claim, recorded))
    return claims


def undecided(path: Path) -> list[Claim]:
    """Read the claims of a file, without the numbers that decide them.

    Raise a ValueError if the file does not follow the schema.
    """
    claims = []
    for entry in read_validated(path, "claims")["claims"]:
        cases = []
        for case in entry["cases"]:
            criteria = [
                Criterion(
                    name,
                    criterion["reason"],
                    dict.fromkeys(criterion["controls"]),
                    below=criterion.get("below"),
                    above=criterion.get("above"),
                )
                for name, criterion in case["criteria"].items()
            ]
            said = case.get("verdict", OPEN)
            cases.append(Case(case["protocol"], tuple(criteria), said))
        texts = entry["id"], entry["text"], entry["notebook"]
        claims.append(Claim(*texts, tuple(cases), entry.get("verdict", OPEN)))
    return claims


def decide(notebook: str, numbers: dict[str, Number], folder: str | Path) -> Table:
    """Return the claims of a notebook, decided by the numbers of this run.

    Parameters
    ----------
    notebook : str
        The name of the notebook.
    numbers : dict of str to Number
        The numbers of this run, as `record` receives them. Stored numbers are not read.
    folder : path
        The folder of stored results. Thresholds are read from FOLDER/claims.json.

    Returns
    -------
    Table
        One row for each criterion of the claims of the notebook: the value, the
        threshold, the values of the controls, whether the value passes the threshold,
        and the verdict of the case.

    Raises
    ------
    ControlError
        If a control passes its threshold.
    ValueError
        If claims.json does not follow its schema or has no claim of the notebook.
    FileNotFoundError
        If claims.json does not exist.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> error = {"below": 1.0, "reason": "Born is the rival", "controls": ["itself"]}
    >>> case = {"protocol": "SOAP, 5 seeds", "criteria": {"error": error}}
    >>> claim = {"id": "C1", "text": "It fits.", "notebook": "03_fit", "cases": [case]}
    >>> content = {"paper": "A paper", "claims": [claim]}
    >>> numbers = {"error": Number(0.25, "error"), "itself": Number(1.0, "Born")}
    >>> with TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "claims.json", content)
    ...     decide("03_fit", numbers, folder)
    claim                     value  threshold  controls  passed   case
    C1, SOAP, 5 seeds: error   0.25        < 1         1     yes  holds
    """
    validation.instance("notebook", notebook, str)
    check_items("numbers", numbers, Number)
    path = validation.path("folder", folder) / CLAIMS
    rows: dict[str, list[str]] = {}
    for claim in undecided(path):
        if claim.notebook != notebook:
            continue
        decided = decided_by(claim, numbers)
        _check_controls(path, decided)
        for case in decided.cases:
            for criterion in case.criteria:
                label = f"{claim.id}, {case.protocol}: {criterion._meaning}"
                if label in rows:  # two numbers have the same meaning
                    label += f" ({criterion.name})"
                passed = {True: "yes", False: "no", None: "-"}[criterion.passed]
                rows[label] = [*criterion._cells(), passed, case.verdict]
    if not rows:
        raise ValueError(
            f"notebook = {validation.brief(notebook)}: must have a claim in {path}"
        )
    return Table("claim", ["value", "threshold", "controls", "passed", "case"], rows)


def _check_controls(path: Path, claim: Claim) -> None:
    """Raise a ControlError that names `path` if a control passes its threshold."""
    for line in passing_controls(claim):
        raise ControlError(f"{path}: {line}")


def write_claims(folder: str | Path, readme: str | Path | None = None) -> list[Claim]:
    """Write the values and verdicts of stored numbers to FOLDER/claims.json.

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
    ControlError
        If a control passes its threshold. The file remains as it was.
    ValueError
        If claims.json or a results file does not follow its schema, or if `readme` is
        not UTF-8 text.
    FileNotFoundError
        If claims.json does not exist.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from paperlib import reproduction
    >>> error = {"below": 1.0, "reason": "Born is the rival", "controls": ["itself"]}
    >>> case = {"protocol": "SOAP, 5 seeds", "criteria": {"error": error}}
    >>> claim = {"id": "C1", "text": "It fits.", "notebook": "03_fit", "cases": [case]}
    >>> content = {"paper": "A paper", "claims": [claim]}
    >>> numbers = {"error": Number(0.25, "error"), "itself": Number(1.0, "Born")}
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
        _check_controls(path, claim)
        entry["verdict"] = claim.verdict
        for case, part in zip(claim.cases, entry["cases"]):
            part["verdict"] = case.verdict
            for criterion in case.criteria:
                _fill_in(part["criteria"][criterion.name], criterion)
    write_json(path, content)
    if readme is not None:
        _update_table(validation.path("readme", readme), claims)
    return claims


def _fill_in(entry: dict[str, Any], criterion: Criterion) -> None:
    """Replace the meaning and the values in the entry of a criterion of claims.json.

    They are removed if the number or a control is not recorded.
    """
    for name in ("meaning", "value", "control_values"):
        entry.pop(name, None)
    controls = [number.value for number in criterion.controls.values() if number]
    if criterion.number and criterion.passed is not None:
        entry["meaning"] = criterion.number.meaning
        entry["value"] = criterion.number.value
        entry["control_values"] = controls


def _update_table(page: Path, claims: list[Claim]) -> None:
    """Replace each row of a Markdown table that begins with the id of a claim.

    `page` is the Markdown file. The new row has five cells: the id, the text, a link to
    the notebook, the verdict, and the cases. Raise a ValueError if the file is not
    UTF-8 text.
    """
    try:
        text = page.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"readme = {page}: must be a file of UTF-8 text") from None
    for claim in claims:
        notebook = f"[{claim.notebook[:2]}](notebooks/{claim.notebook}.ipynb)"
        cells = [claim.id, claim.text, notebook, claim.verdict, _cases(claim)]
        row = " | ".join(cell.replace("|", "\\|") for cell in cells)
        # A function, because `sub` would interpret backslashes in a text.
        text = re.sub(
            rf"^\| {claim.id} \|.*", lambda _: f"| {row} |", text, flags=re.MULTILINE
        )
    with atomically(page) as part:
        part.write_text(text, "utf-8")


def _cases(claim: Claim) -> str:
    """Return the cases of a claim in a few words.

    The words at the end that all protocols have in common are written once, before the
    cases. The cases have their own verdicts if these differ from the claim's.
    """
    protocols = [case.protocol.split(", ") for case in claim.cases]
    common: list[str] = []
    while (
        len(protocols) > 1 and all(protocols) and len({p[-1] for p in protocols}) == 1
    ):
        common = [[protocol.pop() for protocol in protocols][0], *common]
    cases = []
    for case, words in zip(claim.cases, protocols):
        verdict = "" if case.verdict == claim.verdict else f": {case.verdict}"
        cases.append(", ".join(words) + verdict)
    return ". ".join(filter(None, [", ".join(common), "; ".join(cases)]))

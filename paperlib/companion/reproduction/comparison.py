"""Compare new results with stored results.

Numbers are compared within their tolerances. Figures are compared first by the data that they plot, then by their
pixels.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from paperlib._support import validation
from paperlib._support.files import atomically
from paperlib._support.validation import Floats
from paperlib.companion.pretrained import manifest
from paperlib.companion.reproduction import seed_variation
from paperlib.companion.reproduction.claims import CLAIMS, Claim, read_claims
from paperlib.companion.reproduction.records import Record, read_record

# The largest root mean square difference of pixels, whose values are 0 to 255. Fonts
# and anti-aliasing move a few edges between machines.
PIXELS = 6.0
# The lines of another training are shifted by about their width. So pictures are
# blurred by this number of pixels, and their difference is divided by the difference
# from a blank sheet. A picture of another figure gives 0.75 or more.
BLUR, SHARE_RETRAINED = 30, 0.6
FINGERPRINT = 1e-6


@dataclass(frozen=True)
class Verdict:
    """The result of one comparison.

    Parameters
    ----------
    notebook : str
        The name of the notebook. It is empty for networks.
    kind : str
        "number", "figure", "claim", "record" (a whole notebook) or "networks".
    name : str
        The name of the compared item.
    stored, new : str
        The compared values as text.
    allowed : str
        The allowed difference as text.
    passed : bool
        Whether the comparison passed.
    note : str
        The meaning of a number, the text of a claim, or the reason of a failure.
    """

    notebook: str
    kind: str
    name: str
    stored: str = ""
    new: str = ""
    allowed: str = ""
    passed: bool = False
    note: str = ""


def compare(
    results: str | Path, stored: str | Path, only: Iterable[str] | None = None
) -> list[Verdict]:
    """Compare a results folder with the stored folder, both written by `record`.

    A number or a figure that only one of the folders has fails. A claim of
    STORED/claims.json fails if the new numbers give another verdict than the file
    contains.

    Parameters
    ----------
    results : path
        The folder with the new results.
    stored : path
        The folder with the stored results.
    only : iterable of str, optional
        Names of the notebooks to compare. By default all are compared.

    Returns
    -------
    list of Verdict
        One verdict for each comparison.

    Raises
    ------
    FileNotFoundError
        If `results` has no records.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from paperlib import reproduction
    >>> with TemporaryDirectory() as folder:
    ...     for name, value in (("stored", 1.0), ("new", 1.1)):
    ...         numbers = {"a": reproduction.Number(value, "a number")}
    ...         _ = reproduction.record("01_test", f"{folder}/{name}", numbers=numbers, figures={})
    ...     [verdict.passed for verdict in compare(f"{folder}/new", f"{folder}/stored")]
    [False]
    """
    results, stored = (
        validation.path("results", results),
        validation.path("stored", stored),
    )
    made, kept, verdicts = _records(results), _records(stored), []
    measured = seed_variation.read_seed_variation(stored)
    names = made | kept if only is None else validation.sequence("only", only, str)
    if not made:
        raise FileNotFoundError(
            f"{results}: no results to compare; run the notebooks first"
        )
    for name in sorted((made | kept).keys() & set(names)):
        if name not in made or name not in kept:
            verdicts.append(Verdict(name, "record", name, note=_alone(name in kept)))
            continue
        new, old = read_record(made[name]), read_record(kept[name])
        verdicts += [
            *_compare_numbers(new, old, measured.get(name)),
            *_compare_figures(new, old, results, stored),
        ]
    for claim in read_claims(stored) if (stored / CLAIMS).exists() else ():
        if claim.notebook in made.keys() & set(names):
            verdicts.append(_compare_claim(claim, read_record(made[claim.notebook])))
    return verdicts


def _records(folder: Path) -> dict[str, Path]:
    """Return {name of the notebook: path} of the records in a folder, in the order of the names."""
    return {path.stem: path for path in sorted((folder / "numbers").glob("*.json"))}


def _alone(stored: bool) -> str:
    """Return the note on an item that only one of the two folders has."""
    return "stored, but not made anew" if stored else "made, but not stored"


def _compare_numbers(
    new: Record, old: Record, measured: dict[str, Floats] | None
) -> Iterator[Verdict]:
    """Yield a verdict for each number of two records of the same notebook.

    `measured` has the values of each number over trainings with different seeds, by name, or is None if they were
    not measured for this notebook. These values set the allowed difference if the notebook has used networks that
    were trained again with other bits.
    """
    for name in old.numbers | new.numbers:
        if name not in new.numbers or name not in old.numbers:
            yield Verdict(
                old.notebook, "number", name, note=_alone(name in old.numbers)
            )
            continue
        was, now = old.numbers[name], new.numbers[name]
        allowed = was.rtol * abs(was.value) + was.atol
        text = f"± {was.atol:.0e}" if was.atol else f"± {was.rtol:.0e} relative"
        passed, note = abs(now.value - was.value) <= allowed, was.meaning
        if _otherwise_trained(new, old):
            if measured is None:
                passed, text = True, "no spread measured"
            elif name in measured:
                # One more training
                factor = seed_variation.allowed_factor(
                    np.append(measured[name], was.value)
                )
                least, most = sorted((was.value / factor, was.value * factor))
                passed, text = (
                    least <= now.value <= most,
                    f"a factor of {factor:.2g} (between trainings)",
                )
        # The stored bound decides, so that a new run cannot loosen the bound with which
        # it is compared.
        if replace(was, value=now.value).holds is False:
            bound = (
                was.at_least
                if was.at_most is None or now.value <= was.at_most
                else was.at_most
            )
            passed, note = False, f"{note}; breaks its bound {bound:g}"
        yield Verdict(
            old.notebook,
            "number",
            name,
            f"{was.value:.9g}",
            f"{now.value:.9g}",
            text,
            passed,
            note,
        )


def _compare_claim(claim: Claim, new: Record) -> Verdict:
    """Return the verdict on a claim for the new record of its notebook.

    The claim is decided with the new values and the stored bounds. The comparison passes if the verdict is the
    stored one.
    """
    numbers = {
        name: replace(was, value=new.numbers[name].value)
        if was and name in new.numbers
        else None
        for name, was in claim.numbers.items()
    }
    made = replace(claim, numbers=numbers)
    passed = made.verdict == claim.said
    return Verdict(
        claim.notebook,
        "claim",
        claim.id,
        claim.said,
        made.because,
        "the same verdict",
        passed,
        claim.text,
    )


def _compare_figures(
    new: Record, old: Record, results: Path, stored: Path
) -> Iterator[Verdict]:
    """Yield a verdict for each figure of two records of the same notebook.

    `results` and `stored` are the folders with the pictures. If networks were trained again with other bits, the
    blurred pictures are compared, else the plotted data and the pixels.
    """
    from matplotlib.testing.compare import compare_images
    from matplotlib.testing.exceptions import ImageComparisonFailure

    for name in old.figures | new.figures:
        was, now = stored / f"{name}.png", results / f"{name}.png"
        if not (
            name in new.figures
            and name in old.figures
            and was.exists()
            and now.exists()
        ):
            yield Verdict(old.notebook, "figure", name, note="is missing on one side")
            continue
        # Otherwise the report would show the difference of an earlier comparison beside
        # pictures that no longer differ.
        (results / f"{name}-failed-diff.png").unlink(missing_ok=True)
        try:
            difference = compare_images(str(was), str(now), tol=0, in_decorator=True)
        except ImageComparisonFailure:
            yield Verdict(
                old.notebook, "figure", name, note="the pictures differ in size"
            )
            continue
        if _otherwise_trained(new, old):
            size, most = (
                _share_of_a_blank_sheet(was, now) if difference else 0.0,
                SHARE_RETRAINED,
            )
            note, allowed = "", f"blurred, {most:g} of a blank sheet's difference"
        else:
            size, most = float(difference["rms"]) if difference else 0.0, PIXELS
            note = (
                ""
                if _same_arrays(new.figures[name], old.figures[name])
                else "plots other data"
            )
            allowed = f"rms of pixels <= {most:g}"
        passed = size <= most and not note
        yield Verdict(
            old.notebook, "figure", name, "", f"{size:.2f}", allowed, passed, note
        )


def _otherwise_trained(new: Record, old: Record) -> bool:
    """Return whether networks were trained again, with bits that are unknown or differ from the stored bits."""
    return new.retrained and not (new.networks and new.networks == old.networks)


def compare_networks(results: str | Path) -> list[Verdict]:
    """Compare networks that a run has trained again with the manifest of the pretrained networks.

    Networks with other bits are not a failure of the reproduction. In that case the
    numbers are compared by their seed-to-seed variation.

    Parameters
    ----------
    results : path
        A results folder. Its subfolder `pretrained` has the newly trained networks.

    Returns
    -------
    list of Verdict
        One verdict for each file that the manifest names. It passes if the arrays are
        identical bit by bit. Otherwise its note lists the differences between the two
        machines and the two versions of the code.

    Examples
    --------
    >>> compare_networks("a_folder_without_networks")
    []
    """
    folder, verdicts = validation.path("results", results) / "networks", []
    known = manifest.read()["networks"]
    for path in sorted(path for path in folder.glob("*.npz") if path.stem in known):
        was, now = known[path.stem]["sha256"], manifest.digest(path)
        why = (
            "identical"
            if was == now
            else manifest.differences()
            or "other bits, and nothing known is otherwise here"
        )
        verdicts.append(
            Verdict(
                "",
                "networks",
                path.stem,
                was[:16],
                now[:16],
                "identical",
                was == now,
                why,
            )
        )
    return verdicts


def _share_of_a_blank_sheet(stored: Path, new: Path) -> float:
    """Return the difference of two blurred pictures, divided by the stored picture's difference from a blank sheet."""
    from matplotlib.image import imread
    from scipy.ndimage import gaussian_filter

    was, now = (
        gaussian_filter(imread(path)[..., :3], (BLUR, BLUR, 0))
        for path in (stored, new)
    )
    return float(np.linalg.norm(now - was) / np.linalg.norm(1 - was))


def _same_arrays(new: list[list[float]], old: list[list[float]]) -> bool:
    """Return whether the fingerprints of a figure agree: lengths exactly, other entries up to `FINGERPRINT`.

    Each row of a fingerprint has the length of a plotted array, its norm, and its inner product with a ramp.
    """
    if [row[0] for row in new] != [row[0] for row in old]:
        return False
    a, b = (np.array(rows, dtype=float).reshape(-1, 3)[:, 1:] for rows in (new, old))
    scale = np.abs(b).max(axis=1, initial=0, keepdims=True)
    return bool((np.abs(a - b) <= FINGERPRINT * scale).all())


def store(
    results: str | Path, stored: str | Path, only: Iterable[str] | None = None
) -> list[str]:
    """Copy new results to the folder of stored results, each file atomically.

    Parameters
    ----------
    results : path
        The folder with the new results.
    stored : path
        The folder with the stored results.
    only : iterable of str, optional
        Names of the notebooks whose results are copied. By default all are copied.

    Returns
    -------
    list of str
        The names of the copied files, relative to `stored`.

    Raises
    ------
    FileNotFoundError
        If `results` has no records, or none of the named notebooks.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from paperlib import reproduction
    >>> with TemporaryDirectory() as folder:
    ...     _ = reproduction.record("01_test", f"{folder}/new", numbers={}, figures={})
    ...     store(f"{folder}/new", f"{folder}/stored")
    ['numbers/01_test.json']
    """
    results, stored = (
        validation.path("results", results),
        validation.path("stored", stored),
    )
    made = _records(results)
    chosen = made if only is None else validation.sequence("only", only, str)
    names: list[str] = []
    for name, path in made.items():
        if name in chosen:
            names += [f"{figure}.png" for figure in read_record(path).figures] + [
                f"numbers/{path.name}"
            ]
    if not names:
        raise FileNotFoundError(
            f"{results}: no results to store; run the notebooks first"
        )
    for name in names:
        with atomically(stored / name) as part:
            shutil.copyfile(results / name, part)
    return names

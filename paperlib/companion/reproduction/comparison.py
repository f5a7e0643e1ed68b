"""Compare new results with stored results.

If both runs have used the same networks, numbers are compared within their tolerances,
and figures by the data that they plot and by their pixels. If networks were trained
again with other bits, numbers are compared within their seed-to-seed variation, and
figures by their blurred pixels.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from paperlib._support import validation
from paperlib._support.files import atomically
from paperlib._support.validation import Floats
from paperlib.companion.pretrained import manifest
from paperlib.companion.reproduction import claims, seed_variation
from paperlib.companion.reproduction.claims import Case, Claim
from paperlib.companion.reproduction.records import Number, Record, read_record

# The largest root mean square difference of pixels, whose values are 0 to 255. Fonts
# and anti-aliasing move a few edges between machines.
MAX_RMS = 6.0
# In the figures of another training, lines are shifted by about their width. So the
# pictures are blurred with a Gaussian of this standard deviation in pixels, and the
# norm of their difference is divided by the norm of the difference from a blank sheet.
# The quotient must be at most MAX_SHARE. The picture of another figure gives 0.75 or
# more.
BLUR = 30
MAX_SHARE = 0.6
# The allowed relative difference of the norms and inner products in the fingerprint of
# a figure.
FINGERPRINT_RTOL = 1e-6


@dataclass(frozen=True)
class Verdict:
    """Hold the result of one comparison of new results with stored results.

    Parameters
    ----------
    notebook : str
        The name of the notebook. It is empty for networks.
    kind : str
        "number", "figure", "claim", "networks", or "record" for a whole notebook that
        only one side has.
    name : str
        The name of the compared item.
    stored, new : str
        The compared values as text. For a figure, `stored` is empty and `new` is the
        difference of the pictures.
    allowed : str
        The allowed difference as text.
    passed : bool
        Whether the comparison passed.
    note : str
        The meaning of a number, the text of a claim, or the reason of a failure.
    cases : tuple of Case
        The cases of a claim, decided by the new numbers.

    Examples
    --------
    >>> Verdict("03_fit", "number", "error", "0.25", "0.25", passed=True).note
    ''
    """

    notebook: str
    kind: str
    name: str
    stored: str = ""
    new: str = ""
    allowed: str = ""
    passed: bool = False
    note: str = ""
    cases: tuple[Case, ...] = ()


def compare(
    results: str | Path, stored: str | Path, only: Iterable[str] | None = None
) -> list[Verdict]:
    """Compare a results folder with the stored folder, both written by `record`.

    A notebook, a number or a figure that only one of the folders has fails. A claim of
    STORED/claims.json fails if the new numbers give another verdict on the claim or on
    one of its cases than this file contains, or if a control passes its threshold.
    Claims of notebooks without new results are not compared.

    Parameters
    ----------
    results : path
        The folder with the new results.
    stored : path
        The folder with the stored results.
    only : iterable of str, optional
        Names of the notebooks to compare. Names for which neither folder has results
        are ignored. By default all notebooks are compared.

    Returns
    -------
    list of Verdict
        One verdict for each comparison.

    Raises
    ------
    FileNotFoundError
        If `results` has no results files of notebooks.
    ValueError
        If a results file does not follow its schema.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from paperlib import reproduction
    >>> with TemporaryDirectory() as folder:
    ...     for name, value in (("stored", 1.0), ("new", 1.1)):
    ...         numbers = {"a": reproduction.Number(value, "a number")}
    ...         place = f"{folder}/{name}"
    ...         _ = reproduction.record("01_test", place, numbers=numbers, figures={})
    ...     [verdict.passed for verdict in compare(f"{folder}/new", f"{folder}/stored")]
    [False]
    """
    results = validation.path("results", results)
    stored = validation.path("stored", stored)
    new_paths = _record_paths(results)
    stored_paths = _record_paths(stored)
    variation = seed_variation.read_seed_variation(stored)
    names = new_paths.keys() | stored_paths.keys()
    if only is not None:
        names &= set(validation.sequence("only", only, str))
    if not new_paths:
        raise FileNotFoundError(
            f"{results}: has no results to compare; run the notebooks first"
        )
    verdicts = []
    for name in sorted(names):
        if name not in new_paths or name not in stored_paths:
            verdicts.append(_one_sided(name, "record", name, name in stored_paths))
            continue
        new, old = read_record(new_paths[name]), read_record(stored_paths[name])
        for number in old.numbers | new.numbers:
            verdicts.append(_compare_number(number, new, old, variation.get(name)))
        for figure in old.figures | new.figures:
            verdicts.append(_compare_figure(figure, new, old, results, stored))
    if (stored / claims.CLAIMS).exists():
        verdicts += [
            _compare_claim(claim, read_record(new_paths[claim.notebook]))
            for claim in claims.read_claims(stored)
            if claim.notebook in names & new_paths.keys()
        ]
    return verdicts


def _record_paths(folder: Path) -> dict[str, Path]:
    """Return {notebook: path} of the files FOLDER/numbers/NOTEBOOK.json, sorted."""
    return {path.stem: path for path in sorted((folder / "numbers").glob("*.json"))}


def _one_sided(notebook: str, kind: str, name: str, stored: bool) -> Verdict:
    """Return the failed verdict on an item that only one of the two folders has.

    `stored` is True if the folder of stored results has the item, and False if the
    folder of new results has it. `kind` is "record", "number" or "figure".
    """
    note = "stored, but not in the new results"
    if not stored:
        note = "in the new results, but not stored"
    return Verdict(notebook, kind, name, note=note)


def _compare_number(
    name: str, new: Record, old: Record, variation: dict[str, Floats] | None
) -> Verdict:
    """Return the verdict on the number `name` of two results of the same notebook.

    If the new run has used networks with the stored bits, the tolerance of the stored
    number decides. Otherwise `variation` decides. It has the values of each number over
    trainings with different seeds, by the number's name. If it is None, because these
    values were not measured for this notebook, every value is allowed. In all cases the
    comparison fails if the new value violates the stored guard.
    """
    if name not in new.numbers or name not in old.numbers:
        return _one_sided(old.notebook, "number", name, name in old.numbers)
    stored, value = old.numbers[name], new.numbers[name].value
    if not _have_other_bits(new, old):
        lower, upper, allowed = _allowed(stored, None)
    elif variation is None:
        lower, upper, allowed = -np.inf, np.inf, "seed-to-seed variation unknown"
    else:
        # A number without values does not depend on the training.
        lower, upper, allowed = _allowed(stored, variation.get(name))
    passed, note = lower <= value <= upper, stored.meaning
    # The stored guard is used, so that a new run cannot loosen the guard with which it
    # is compared.
    if replace(stored, value=value).kept is False:
        passed, note = False, f"{note}; violates its guard"
    texts = f"{stored.value:.9g}", f"{value:.9g}", allowed
    return Verdict(old.notebook, "number", name, *texts, passed, note)


def _allowed(stored: Number, trainings: Floats | None) -> tuple[float, float, str]:
    """Return the lower and the upper bound of the allowed values, and a description.

    `trainings` has the values of the number over trainings with different seeds. The
    stored value counts as one more training. The allowed values are then those between
    the stored value divided and multiplied by exp(3 sqrt(2) sigma), where sigma is the
    sample standard deviation of the logarithms of all these values. If `trainings` is
    None, the stored value may change by rtol times its magnitude plus atol, where rtol
    and atol are the tolerances of the stored number.
    """
    if trainings is None:
        tolerance = stored.rtol * abs(stored.value) + stored.atol
        text = f"± {stored.rtol:.0e} relative"
        if stored.atol:
            text = f"± {stored.atol:.0e}"
        return stored.value - tolerance, stored.value + tolerance, text
    factor = seed_variation.allowed_factor(np.append(trainings, stored.value))
    # The larger multiple of a negative number is the lower bound.
    lower, upper = sorted((stored.value / factor, stored.value * factor))
    return lower, upper, f"a factor of {factor:.2g} (between trainings)"


def _compare_claim(claim: Claim, new: Record) -> Verdict:
    """Return the verdict on a claim, given the new results of its notebook.

    The claim is decided with the new values and the stored thresholds. The comparison
    passes if the verdicts on the claim and on its cases are those of claims.json, and
    if no control passes its threshold.
    """
    decided = claims.decided_by(claim, new.numbers)
    passing = claims.passing_controls(decided)
    verdicts = [decided.verdict, *(case.verdict for case in decided.cases)]
    said = [claim.said, *(case.said for case in claim.cases)]
    return Verdict(
        claim.notebook,
        "claim",
        claim.id,
        stored=", ".join(said),
        new=decided.because,
        allowed="the same verdicts",
        passed=verdicts == said and not passing,
        note="; ".join(passing) or claim.text,
        cases=decided.cases,
    )


def _compare_figure(
    name: str, new: Record, old: Record, results: Path, stored: Path
) -> Verdict:
    """Return the verdict on the figure `name` of two results of the same notebook.

    `results` and `stored` are the folders with the pictures. If the new run has trained
    networks with other bits, the blurred pictures are compared, and their difference
    must be at most MAX_SHARE. Otherwise the plotted data must agree, and the root mean
    square difference of the pixels must be at most MAX_RMS.
    """
    verdict = Verdict(old.notebook, "figure", name)
    pictures = stored / f"{name}.png", results / f"{name}.png"
    recorded = name in new.figures and name in old.figures
    if not recorded or not all(picture.exists() for picture in pictures):
        return replace(verdict, note="missing on one side")
    # Otherwise the report would show the difference of an earlier comparison beside
    # pictures that no longer differ.
    (results / f"{name}-failed-diff.png").unlink(missing_ok=True)
    blurred = _have_other_bits(new, old)
    difference = _picture_difference(*pictures, blurred)
    if difference is None:
        return replace(verdict, note="the pictures differ in size")
    maximum, allowed = MAX_RMS, f"rms of pixels <= {MAX_RMS:g}"
    if blurred:
        maximum = MAX_SHARE
        allowed = f"blurred, {maximum:g} of the difference from a blank sheet"
    same_data = blurred or _same_arrays(new.figures[name], old.figures[name])
    return replace(
        verdict,
        new=f"{difference:.2f}",
        allowed=allowed,
        passed=same_data and difference <= maximum,
        note="" if same_data else "plots other data",
    )


def _picture_difference(stored: Path, new: Path, blurred: bool) -> float | None:
    """Return the difference of two pictures, or None if they differ in size.

    The difference is the root mean square of the differences of the pixels, from 0 to
    255. If `blurred`, both pictures are blurred with a Gaussian. The difference is then
    the norm of the difference of the blurred pictures, divided by the norm of the
    difference between the blurred stored picture and a white one. Equal pictures have
    the difference 0. If the pictures differ, a picture of the difference is written
    beside the new picture.
    """
    from matplotlib.image import imread
    from matplotlib.testing.compare import compare_images
    from matplotlib.testing.exceptions import ImageComparisonFailure
    from scipy.ndimage import gaussian_filter

    try:
        pixels = compare_images(str(stored), str(new), tol=0, in_decorator=True)
    except ImageComparisonFailure:
        return None
    if pixels is None:  # the pictures are equal
        return 0.0
    if not blurred:
        return float(pixels["rms"])
    old, now = (
        gaussian_filter(imread(path)[..., :3], (BLUR, BLUR, 0))
        for path in (stored, new)
    )
    return float(np.linalg.norm(now - old) / np.linalg.norm(1 - old))


def _have_other_bits(new: Record, old: Record) -> bool:
    """Return whether the new run has trained networks with other bits than the old run.

    The answer is False if the new run has trained no networks. Otherwise the hashes of
    the networks in the two records are compared. If the new record has no hashes, the
    answer is True.
    """
    return new.retrained and not (new.networks and new.networks == old.networks)


def compare_networks(results: str | Path) -> list[Verdict]:
    """Compare newly trained networks with the manifest of the pretrained networks.

    Networks with other bits are not a failure of the reproduction. In that case the
    numbers are compared by their seed-to-seed variation.

    Parameters
    ----------
    results : path
        A results folder. Its subfolder `networks` has the newly trained networks.

    Returns
    -------
    list of Verdict
        One verdict for each file in RESULTS/networks that the manifest names. It passes
        if the arrays are identical bit by bit. Otherwise its note lists the known
        differences between the machines and between the versions of the code.

    Examples
    --------
    >>> compare_networks("a_folder_without_networks")
    []
    """
    folder = validation.path("results", results) / "networks"
    networks = manifest.read()["networks"]
    verdicts = []
    for path in sorted(folder.glob("*.npz")):
        if path.stem not in networks:
            continue
        stored, new = networks[path.stem]["sha256"], manifest.digest(path)
        passed, note = stored == new, "identical"
        if not passed:
            note = manifest.differences() or "other bits for an unknown reason"
        texts = stored[:16], new[:16], "identical"
        verdicts.append(Verdict("", "networks", path.stem, *texts, passed, note))
    return verdicts


def _same_arrays(new: list[list[float]], old: list[list[float]]) -> bool:
    """Return whether two fingerprints of a figure agree.

    Each row of a fingerprint has the length of a plotted array, its norm, and its inner
    product with equally spaced numbers from 1 to 2. Lengths must agree exactly. The
    norms may differ, and the inner products too, by at most FINGERPRINT_RTOL times the
    larger magnitude of the old norm and the old inner product.
    """
    if [row[0] for row in new] != [row[0] for row in old]:
        return False
    a, b = (np.array(rows, dtype=float).reshape(-1, 3)[:, 1:] for rows in (new, old))
    scale = np.abs(b).max(axis=1, initial=0, keepdims=True)
    return bool((np.abs(a - b) <= FINGERPRINT_RTOL * scale).all())


def store(
    results: str | Path, stored: str | Path, only: Iterable[str] | None = None
) -> list[str]:
    """Copy new results to the folder of stored results, each file atomically.

    Copied are the JSON files in RESULTS/numbers and the figures that they name, not
    networks and executed notebooks.

    Parameters
    ----------
    results : path
        The folder with the new results.
    stored : path
        The folder with the stored results.
    only : iterable of str, optional
        Names of the notebooks whose results are copied. Names without results are
        ignored. By default all results are copied.

    Returns
    -------
    list of str
        The names of the copied files, relative to `stored`.

    Raises
    ------
    FileNotFoundError
        If `results` has no results to copy, or has no figure that a JSON file names.
    ValueError
        If a JSON file does not follow its schema.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from paperlib import reproduction
    >>> with TemporaryDirectory() as folder:
    ...     _ = reproduction.record("01_test", f"{folder}/new", numbers={}, figures={})
    ...     store(f"{folder}/new", f"{folder}/stored")
    ['numbers/01_test.json']
    """
    results = validation.path("results", results)
    stored = validation.path("stored", stored)
    paths = _record_paths(results)
    chosen = paths if only is None else validation.sequence("only", only, str)
    names: list[str] = []
    for name, path in paths.items():
        if name in chosen:
            names += [f"{figure}.png" for figure in read_record(path).figures]
            names.append(f"numbers/{path.name}")
    if not names:
        wanted = "to store" if only is None else f"of {validation.brief(chosen)}"
        raise FileNotFoundError(
            f"{results}: has no results {wanted}; run the notebooks first"
        )
    for name in names:
        with atomically(stored / name) as part:
            shutil.copyfile(results / name, part)
    return names

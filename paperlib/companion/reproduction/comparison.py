"""New results against stored ones: numbers by their tolerance, figures by what they plot, then by their pixels."""

import shutil
from dataclasses import dataclass, replace

import numpy as np

from paperlib._support import checks
from paperlib._support.files import atomically
from paperlib.companion.reproduction.records import read_record

__all__ = ["Verdict", "compare", "store"]

# Root mean square over pixels, of 255: fonts and anti-aliasing move a few edges between machines.
PIXELS = 6.0
# Lines of another training lie elsewhere by their width, so pictures are compared blurred, by this many pixels: the difference
# as a share of what a blank sheet would make. One of another figure makes 0.75 or more.
BLUR, SHARE_RETRAINED = 30, 0.6
FINGERPRINT = 1e-6


@dataclass(frozen=True)
class Verdict:
    """One comparison: `kind` is "number" or "figure"; numbers and differences are given as text."""

    notebook: str
    kind: str
    name: str
    stored: str
    new: str
    allowed: str
    passed: bool
    note: str = ""


def compare(results, stored, only=None):
    """Compare a results folder with the stored one.

    Parameters
    ----------
    results, stored : path
        Folders as `record` writes them.
    only : collection of str, optional
        Names of the notebooks to compare; all that are stored or new, if not given.

    Returns
    -------
    list of Verdict
        A number or a figure that stands on one side alone fails.

    Raises
    ------
    FileNotFoundError
        If `results` holds no records at all.
    """
    results, stored = checks.path("results", results), checks.path("stored", stored)
    only = None if only is None else checks.sequence("only", only, str)
    names = {path.stem for folder in (results, stored) for path in (folder / "numbers").glob("*.json")}
    if only is not None:
        names &= set(only)
    if not any((results / "numbers").glob("*.json")):
        raise FileNotFoundError(f"{results}: no results to compare; run the notebooks first")
    verdicts = []
    for name in sorted(names):
        new_path, old_path = (folder / "numbers" / f"{name}.json" for folder in (results, stored))
        if not new_path.exists() or not old_path.exists():
            where = "stored, but not made anew" if old_path.exists() else "made, but not stored"
            verdicts.append(Verdict(name, "record", name, "", "", "", False, where))
            continue
        new, old = read_record(new_path), read_record(old_path)
        verdicts += _compare_numbers(new, old)
        verdicts += _compare_figures(new, old, results, stored)
    return verdicts


def _compare_numbers(new, old):
    for name in dict.fromkeys([*old.numbers, *new.numbers]):
        if name not in new.numbers or name not in old.numbers:
            side = "stored, but not made anew" if name in old.numbers else "made, but not stored"
            yield Verdict(old.notebook, "number", name, "", "", "", False, side)
            continue
        was, now = old.numbers[name], new.numbers[name]
        if new.retrained and was.spread is not None:
            allowed, text = was.spread, f"± {was.spread:.2g} (spread over trainings)"
        else:
            allowed = was.tolerance * abs(was.value) + was.absolute
            text = f"± {was.absolute:.0e}" if was.absolute else f"± {was.tolerance:.0e} relative"
        passed, note = abs(now.value - was.value) <= allowed, was.meaning
        # The stored bound decides, so that a run cannot loosen what it is held to.
        if replace(was, value=now.value).holds is False:
            bound = was.at_least if was.at_most is None or now.value <= was.at_most else was.at_most
            passed, note = False, f"{note}; breaks its bound {bound:g}"
        yield Verdict(old.notebook, "number", name, f"{was.value:.9g}", f"{now.value:.9g}", text, bool(passed), note)


def _compare_figures(new, old, results, stored):
    from matplotlib.testing.compare import compare_images
    from matplotlib.testing.exceptions import ImageComparisonFailure

    for name in dict.fromkeys([*old.figures, *new.figures]):
        paths = stored / f"{name}.png", results / f"{name}.png"
        if name not in new.figures or name not in old.figures or not all(path.exists() for path in paths):
            yield Verdict(old.notebook, "figure", name, "", "", "", False, "is missing on one side")
            continue
        # Left by an earlier comparison, it would stand beside pictures that no longer differ.
        (results / f"{name}-failed-diff.png").unlink(missing_ok=True)
        try:
            difference = compare_images(str(paths[0]), str(paths[1]), tol=0, in_decorator=True)
        except ImageComparisonFailure:
            yield Verdict(old.notebook, "figure", name, "", "", "", False, "the pictures differ in size")
            continue
        if new.retrained:
            share = _share_of_a_blank_sheet(*paths) if difference else 0.0
            allowed = f"blurred, {SHARE_RETRAINED:g} of a blank sheet's difference"
            yield Verdict(old.notebook, "figure", name, "", f"{share:.2f}", allowed, share <= SHARE_RETRAINED)
            continue
        rms = float(difference["rms"]) if difference else 0.0
        same = _same_arrays(new.figures[name], old.figures[name])
        note = "" if same else "plots other data"
        passed = same and rms <= PIXELS
        yield Verdict(old.notebook, "figure", name, "", f"{rms:.2f}", f"rms of pixels <= {PIXELS:g}", passed, note)


def _share_of_a_blank_sheet(stored, new):
    from matplotlib.image import imread
    from scipy.ndimage import gaussian_filter

    old, new = (gaussian_filter(imread(path)[..., :3], (BLUR, BLUR, 0)) for path in (stored, new))
    return float(np.linalg.norm(new - old) / np.linalg.norm(1 - old))


def _same_arrays(new, old):
    if [row[0] for row in new] != [row[0] for row in old]:
        return False
    a, b = (np.array(rows, dtype=float).reshape(-1, 3) for rows in (new, old))
    scale = np.abs(b[:, 1:]).max(axis=1, initial=0, keepdims=True)
    return bool((np.abs(a - b)[:, 1:] <= FINGERPRINT * scale).all())


def store(results, stored, only=None):
    """Copy results over the stored ones, file by file, each atomically.

    Returns
    -------
    list of str
        The names of the files, in `stored`.
    """
    results, stored = checks.path("results", results), checks.path("stored", stored)
    only = None if only is None else checks.sequence("only", only, str)
    names = []
    for path in sorted((results / "numbers").glob("*.json")):
        if only is not None and path.stem not in only:
            continue
        for figure in read_record(path).figures:
            names.append(f"{figure}.png")
        names.append(f"numbers/{path.name}")
    if not names:
        raise FileNotFoundError(f"{results}: no results to store; run the notebooks first")
    for name in names:
        with atomically(stored / name) as part:
            shutil.copyfile(results / name, part)
    return names

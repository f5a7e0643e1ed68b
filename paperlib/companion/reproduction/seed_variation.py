r"""Measure the seed-to-seed variation of numbers over whole reproductions with different seeds.

Errors of learned tensors differ between trainings by factors. So the variation is
measured by the standard deviation :math:`\sigma` of the logarithm. Two trainings x and
y differ by

.. math:: |\ln(x/y)| \le 3 \sqrt 2\, \sigma

except in one of several hundred cases. A bound is meaningful if the stored value keeps it with a margin of three
:math:`\sigma`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support import validation
from paperlib._support.files import write_json
from paperlib._support.validation import Floats
from paperlib.companion.reproduction.records import (
    Number,
    read_record,
    read_validated,
)
from paperlib.companion.reproduction.run_notebooks import reproduce

FILE = "seed_variation.json"
# The number of whole reproductions. Each takes thirty core-minutes or more.
TRAININGS = 8


def measure_seed_variation(
    root: str | Path,
    build: str | Path,
    trainings: int = TRAININGS,
    *,
    log: Callable[[str], Any] = print,
) -> dict[str, dict[str, list[float]]]:
    """Run the notebooks that train, once for each set of seeds, and write their numbers to FIGURES/seed_variation.json.

    Runs that were interrupted continue where they stopped. Numbers that are equal in
    all runs do not depend on a training and are left out. Numbers with an absolute
    tolerance are rounding errors and are left out too.

    Parameters
    ----------
    root : path
        The checkout.
    build : path
        The folder for executed notebooks, results and trained networks.
    trainings : int
        The number of runs, at least 2.
    log : callable
        Receives lines of progress.

    Returns
    -------
    dict of str to dict of str to list of float
        Notebook -> number -> its values over the runs.
    """
    trainings = validation.integer("trainings", trainings, minimum=2)
    build, folders = validation.path("build", build), []
    for number in range(1, trainings + 1):
        log(f"training {number} of {trainings}")
        own = build / "seed_variation" / str(number)
        # The members of an ensemble have consecutive seeds. The step of 100 keeps the
        # seeds of two trainings distinct.
        folders.append(
            reproduce(
                root, own, profile="full", parameters={"seed": 100 * number}, log=log
            )
        )
    found = _values(folders)
    write_json(Path(root) / "figures" / FILE, found)
    return found


def _values(folders: list[Path]) -> dict[str, dict[str, list[float]]]:
    """Return {notebook: {number: values}} over the results in `folders`, one value for each folder.

    Numbers with an absolute tolerance and numbers whose values are all equal are left out.
    """
    records = [
        [read_record(path) for path in sorted((folder / "numbers").glob("*.json"))]
        for folder in folders
    ]
    found: dict[str, dict[str, list[float]]] = {}
    for alike in zip(*records, strict=True):
        trained = [name for name, number in alike[0].numbers.items() if not number.atol]
        values = {
            name: [record.numbers[name].value for record in alike] for name in trained
        }
        found[alike[0].notebook] = {
            name: row for name, row in values.items() if len(set(row)) > 1
        }
    return found


def read_seed_variation(folder: str | Path) -> dict[str, dict[str, Floats]]:
    """Read the values of each number over trainings from FOLDER/seed_variation.json.

    Parameters
    ----------
    folder : path
        The folder of stored results.

    Returns
    -------
    dict of str to dict of str to ndarray
        Notebook -> number -> values, shape (trainings,). Empty if the file does not
        exist.

    Raises
    ------
    ValueError
        If the file does not follow the schema of seed variation.

    Examples
    --------
    >>> read_seed_variation("a_folder_without_the_file")
    {}
    """
    path = validation.path("folder", folder) / FILE
    if not path.exists():
        return {}
    content = read_validated(path, "seed_variation")
    return {
        notebook: {name: np.array(row, float) for name, row in numbers.items()}
        for notebook, numbers in content.items()
    }


def bounded_numbers(folder: str | Path) -> dict[str, tuple[Number, Floats]]:
    """Return every number that has a bound and depends on a training, with its values over trainings.

    Parameters
    ----------
    folder : path
        The folder of stored results.

    Returns
    -------
    dict of str to tuple of (Number, ndarray)
        Name -> the number and its values, shape (trainings + 1,). The stored value
        comes last.

    Examples
    --------
    >>> bounded_numbers("a_folder_without_the_file")
    {}
    """
    found: dict[str, tuple[Number, Floats]] = {}
    for notebook, variation in read_seed_variation(folder).items():
        numbers = read_record(Path(folder) / "numbers" / f"{notebook}.json").numbers
        bounded = [
            name
            for name in variation
            if name in numbers and numbers[name].holds is not None
        ]
        found |= {
            name: (numbers[name], np.append(variation[name], numbers[name].value))
            for name in bounded
        }
    return found


def deviation(values: Floats) -> float:
    """Return the standard deviation of the logarithm of a number over trainings.

    Parameters
    ----------
    values : ndarray, shape (trainings,)
        The values of the number, without zeros. Only their magnitudes count.

    Returns
    -------
    float
        The sample standard deviation of ``ln |values|``.

    Examples
    --------
    >>> round(deviation(np.array([1.0, np.e])), 6)
    0.707107
    """
    return float(np.std(np.log(np.abs(values)), ddof=1))


def allowed_factor(values: Floats) -> float:
    """Return the largest allowed ratio of a number between two trainings.

    Parameters
    ----------
    values : ndarray, shape (trainings,)
        The values of the number over other trainings.

    Returns
    -------
    float
        exp(3 sqrt(2) sigma), with sigma from `deviation`.

    Examples
    --------
    >>> round(allowed_factor(np.array([1.0, 1.0])), 6)
    1.0
    """
    return float(np.exp(3 * np.sqrt(2) * deviation(values)))

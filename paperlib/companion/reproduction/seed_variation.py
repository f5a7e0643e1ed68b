r"""Measure the seed-to-seed variation of numbers over reproductions with other seeds.

Errors of learned tensors differ between trainings by factors. So the variation of a
number is measured by the standard deviation :math:`\sigma` of its logarithm over
trainings. The values x and y of the number in two trainings satisfy

.. math:: |\ln(x/y)| \le 3 \sqrt 2\, \sigma

except in one of several hundred cases. A guard detects a change, and not another seed,
if the stored value keeps it with a margin of three :math:`\sigma`.
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
# The number of whole reproductions. Each takes three quarters of a core-hour or more.
TRAININGS = 8


def measure_seed_variation(
    root: str | Path,
    build: str | Path,
    trainings: int = TRAININGS,
    *,
    log: Callable[[str], Any] = print,
) -> dict[str, dict[str, list[float]]]:
    """Run the notebooks that train networks several times with other seeds.

    The notebooks' numbers are written to ROOT/figures/seed_variation.json. An
    interrupted measurement continues where it stopped. Numbers that are equal in all
    runs do not depend on a training and are left out. Numbers with an absolute
    tolerance are rounding errors and are left out too.

    Parameters
    ----------
    root : path
        The checkout.
    build : path
        The folder for executed notebooks, results and trained networks. Run k writes to
        BUILD/seed_variation/k.
    trainings : int
        The number of runs, at least 2. Run k trains all networks with seeds from 100 k
        on.
    log : callable
        Receives lines of progress.

    Returns
    -------
    dict of str to dict of str to list of float
        Notebook -> number -> its values over the runs.

    Raises
    ------
    TypeError
        If `trainings` is not an integer.
    ValueError
        If `trainings` is below 2.
    RuntimeError
        If a notebook fails.

    Examples
    --------
    >>> measure_seed_variation(".", "build", trainings=1)
    Traceback (most recent call last):
    ...
    ValueError: trainings = 1: must be an integer >= 2
    """
    trainings = validation.integer("trainings", trainings, minimum=2)
    build = validation.path("build", build) / "seed_variation"
    folders = []
    for run in range(1, trainings + 1):
        log(f"training {run} of {trainings}")
        # The members of an ensemble have consecutive seeds. The step of 100 keeps the
        # seeds of two trainings distinct.
        seed = {"seed": 100 * run}
        folders.append(
            reproduce(root, build / str(run), profile="full", parameters=seed, log=log)
        )
    variation = _values(folders)
    write_json(Path(root) / "figures" / FILE, variation)
    return variation


def _values(folders: list[Path]) -> dict[str, dict[str, list[float]]]:
    """Return {notebook: {number: values}} with one value for each results folder.

    Numbers with an absolute tolerance and numbers whose values are all equal are left
    out.
    """
    variation: dict[str, dict[str, list[float]]] = {}
    for path in sorted((folders[0] / "numbers").glob("*.json")):
        runs = [read_record(folder / "numbers" / path.name) for folder in folders]
        rows = variation[runs[0].notebook] = {}
        for name, number in runs[0].numbers.items():
            values = [run.numbers[name].value for run in runs]
            if not number.atol and len(set(values)) > 1:
                rows[name] = values
    return variation


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
        If the file does not follow the schema in `seed_variation.schema.json`.

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


def guarded_numbers(
    folder: str | Path,
) -> dict[tuple[str, str], tuple[Number, Floats]]:
    """Return every stored number that has a guard and depends on a training.

    Parameters
    ----------
    folder : path
        The folder of stored results.

    Returns
    -------
    dict of tuple of (str, str) to tuple of (Number, ndarray)
        Notebook and name -> the number and its values over trainings, shape
        (trainings + 1,). The values of seed_variation.json come first, the stored value
        last.

    Raises
    ------
    FileNotFoundError
        If seed_variation.json names a notebook without a stored results file.
    ValueError
        If a file does not follow its schema.

    Examples
    --------
    >>> guarded_numbers("a_folder_without_the_file")
    {}
    """
    guarded: dict[tuple[str, str], tuple[Number, Floats]] = {}
    for notebook, variation in read_seed_variation(folder).items():
        numbers = read_record(Path(folder) / "numbers" / f"{notebook}.json").numbers
        for name, values in variation.items():
            number = numbers.get(name)
            if number and number.kept is not None:
                guarded[notebook, name] = number, np.append(values, number.value)
    return guarded


def deviation(values: Floats) -> float:
    """Return the standard deviation of the logarithm of a number over trainings.

    Parameters
    ----------
    values : ndarray, shape (trainings,)
        The values of the number, one for each training, at least two. They must not be
        zero. Only their magnitudes count.

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
        The values of the number, one for each training, without zeros. The caller
        includes the stored value.

    Returns
    -------
    float
        exp(3 sqrt(2) sigma), where sigma is the sample standard deviation of the
        logarithms of the values.

    Examples
    --------
    >>> round(allowed_factor(np.array([1.0, 1.0])), 6)
    1.0
    """
    return float(np.exp(3 * np.sqrt(2) * deviation(values)))

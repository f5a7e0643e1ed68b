r"""How far two trainings lie apart, measured: the numbers of whole reproductions whose seeds differ.

Errors of learned tensors lie apart by factors, so spreads are standard deviations of logarithms: two trainings differ by
:math:`|\ln(x/y)| \le 3 \sqrt 2\, \sigma` but for one time in hundreds, and a bound means something if the value that is
stored is three :math:`\sigma` within it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib._support.files import write_json
from paperlib.companion.reproduction import schemas
from paperlib.companion.reproduction.records import Number, read_record
from paperlib.companion.reproduction.runner import reproduce

__all__ = ["allowed_factor", "bounded_numbers", "deviation", "measure_spreads", "read_spreads"]

SPREADS = "spreads.json"
# Whole reproductions, each some thirty core-minutes or more.
TRAININGS = 8


def measure_spreads(
    root: str | Path, build: str | Path, trainings: int = TRAININGS, *, say: Callable[[str], Any] = print
) -> dict[str, dict[str, list[float]]]:
    """Run every notebook that trains with other seeds, `trainings` times, and write each number's values to FIGURES/spreads.json.

    The folders are as of `reproduce`, and go on where an earlier run stopped. Left out are numbers that come out alike, which
    depend on no training, and those with an absolute tolerance, which are rounding.
    """
    trainings = checks.integer("trainings", trainings, minimum=2)
    build, folders = checks.path("build", build), []
    for number in range(1, trainings + 1):
        say(f"training {number} of {trainings}")
        own = build / "spreads" / str(number)
        # Members of one ensemble have consecutive seeds, none of which two trainings may share.
        folders.append(reproduce(root, own, profile="full", parameters={"seed": 100 * number}, say=say))
    found = _values(folders)
    write_json(Path(root) / "figures" / SPREADS, found)
    return found


def _values(folders: list[Path]) -> dict[str, dict[str, list[float]]]:
    records = [[read_record(path) for path in sorted((folder / "numbers").glob("*.json"))] for folder in folders]
    found: dict[str, dict[str, list[float]]] = {}
    for alike in zip(*records, strict=True):
        trained = [name for name, number in alike[0].numbers.items() if not number.absolute]
        values = {name: [record.numbers[name].value for record in alike] for name in trained}
        found[alike[0].notebook] = {name: row for name, row in values.items() if len(set(row)) > 1}
    return found


def read_spreads(folder: str | Path) -> dict[str, dict[str, Floats]]:
    """The values of each number over trainings, by notebook and name, of FOLDER/spreads.json; empty if there is none.

    A ValueError if the file holds something else.
    """
    path = checks.path("folder", folder) / SPREADS
    if not path.exists():
        return {}
    content = schemas.read(path, "spreads")
    return {
        notebook: {name: np.array(row, float) for name, row in numbers.items()} for notebook, numbers in content.items()
    }


def bounded_numbers(folder: str | Path) -> dict[str, tuple[Number, Floats]]:
    """Of a stored folder, each number with a bound that depends on a training, and its values over all, its own the last, by its name."""
    found: dict[str, tuple[Number, Floats]] = {}
    for notebook, spreads in read_spreads(folder).items():
        numbers = read_record(Path(folder) / "numbers" / f"{notebook}.json").numbers
        bounded = [name for name in spreads if name in numbers and numbers[name].holds is not None]
        found |= {name: (numbers[name], np.append(spreads[name], numbers[name].value)) for name in bounded}
    return found


def deviation(values: Floats) -> float:
    """The standard deviation of the logarithms of one number's values over trainings.

    Examples
    --------
    >>> round(deviation(np.array([1.0, np.e])), 6)
    0.707107
    """
    return float(np.std(np.log(np.abs(values)), ddof=1))


def allowed_factor(values: Floats) -> float:
    """By what factor a number may differ between two trainings, from its values over others."""
    return float(np.exp(3 * np.sqrt(2) * deviation(values)))

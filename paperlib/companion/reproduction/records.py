"""A notebook's results as files: numbers in one small JSON, figures as PNG with a fingerprint of what they plot."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib._support import checks
from paperlib._support.files import atomically, write_json
from paperlib.companion import reference
from paperlib.companion.reproduction import schemas
from paperlib.companion.reproduction.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Number", "Record", "errors_by_order", "read_record", "record"]


@dataclass(frozen=True)
class Number:
    """A recorded number and how closely it must come out again.

    Parameters
    ----------
    value : float
    meaning : str
        What it is, with its unit, in a few words.
    tolerance : float
        Relative: between two runs from the same networks, or from none.
    absolute : float
        Allowed on top of it, for errors that rounding makes and another machine makes otherwise.
    at_most, at_least : float, optional
        The bound under which it supports the claim it was computed for.

    Examples
    --------
    >>> Number(0.3, "error (%)", at_most=0.5).holds
    True
    """

    value: float
    meaning: str
    tolerance: float = 1e-6
    absolute: float = 0.0
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", checks.number("value", self.value))
        checks.instance("meaning", self.meaning, str)
        checks.number("tolerance", self.tolerance, minimum=0)
        checks.number("absolute", self.absolute, minimum=0)
        for name in ("at_most", "at_least"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.number(name, getattr(self, name)))

    @property
    def holds(self) -> bool | None:
        """Whether the value keeps its bound; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)


def errors_by_order(
    name: str, errors: Sequence[float], meaning: str, at_most: Sequence[float | None] | None = None
) -> dict[str, Number]:
    """Numbers of errors of orders 1, 2, ..

    `name` and `meaning` have {n} where the order stands; `at_most` are bounds, None for an order without one.

    Examples
    --------
    >>> numbers = errors_by_order("born_{n}", [0.1, 0.2], "order {n}", at_most=[None, 0.5])
    >>> numbers["born_1"].holds, numbers["born_2"].holds
    (None, True)
    """
    bounds = [None] * len(errors) if at_most is None else at_most
    if len(bounds) != len(errors):
        raise ValueError(f"at_most: {len(bounds)} bounds; errors has {len(errors)}")
    return {
        name.format(n=n): Number(error, meaning.format(n=n), at_most=bound)
        for n, (error, bound) in enumerate(zip(errors, bounds, strict=True), 1)
    }


@dataclass(frozen=True)
class Record:
    """What one run of one notebook recorded."""

    notebook: str
    retrained: bool
    numbers: dict[str, Number]
    figures: dict[str, list[list[float]]]
    networks: dict[str, str]


def record(
    notebook: str,
    folder: str | Path,
    *,
    numbers: dict[str, Number],
    figures: "dict[str, Figure]",
    networks: Sequence[str] = (),
    retrained: bool = False,
) -> Table:
    """Write a notebook's numbers to FOLDER/numbers/NOTEBOOK.json and its figures to ``FOLDER/*.png``.

    The table is of the numbers' verdicts, for the notebook to show; not of the values. These are compared by their
    tolerances; by the spreads that `spreads` measured where the notebook depends on trainings, `retrained` for this run,
    that came out with other bits. `networks` are their names in `reference`: what is retrained is then in FOLDER/reference, and what ships is not.
    """
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    from paperlib.companion.figures.style import STYLE

    folder, notebook = checks.path("folder", folder), _name("notebook", notebook)
    for of, items in (("numbers", numbers), ("figures", figures)):
        for name in checks.instance(of, items, dict):
            _name(of, name)
    checks.instance("retrained", retrained, bool)
    checks.sequence("numbers", numbers.values(), Number)
    checks.sequence("figures", figures.values(), Figure)
    trained = folder / "reference" if retrained else None
    hashes = [reference.digests(name, trained) for name in checks.sequence("networks", networks, str)]
    for name, figure in figures.items():
        with plt.style.context(["default", STYLE]), atomically(folder / f"{name}.png") as part:
            # No metadata: the file then depends on the picture alone.
            figure.savefig(part, format="png", metadata={"Software": None})
    content = {
        "notebook": notebook,
        "retrained": retrained,
        "networks": {name: digest for each in hashes for name, digest in each.items()},
        "numbers": {name: _shortest(number) for name, number in numbers.items()},
        "figures": {name: _fingerprint(figure) for name, figure in figures.items()},
    }
    write_json(folder / "numbers" / f"{notebook}.json", content)
    verdicts = {True: "holds", False: "DOES NOT HOLD", None: "recorded"}
    return Table(notebook, ["verdict"], {name: [verdicts[number.holds]] for name, number in numbers.items()})


def _name(of: str, value: Any) -> str:
    """Return `value` if it is a name that a file may have: what is recorded stays in its folder."""
    if not checks.instance(of, value, str) or set(value) & set("/\\\0\n"):
        raise ValueError(f"{of}: name {checks.brief(value)}; must be a plain name of a file")
    return value


def _shortest(number: Number) -> dict[str, Any]:
    """A number's fields, without those that are what they would be anyway."""
    defaults = {field.name: field.default for field in fields(Number)}
    return {name: value for name, value in asdict(number).items() if value != defaults[name] or name == "tolerance"}


def read_record(path: str | Path) -> Record:
    """Read a notebook's record; a FileNotFoundError if there is none, a ValueError if the file is something else."""
    content = schemas.read(path, "record")
    known = {field.name for field in fields(Number)}
    numbers = {
        name: Number(**{key: value for key, value in number.items() if key in known})
        for name, number in content["numbers"].items()
    }
    networks = content.get("networks", {})
    return Record(content["notebook"], content["retrained"], numbers, content["figures"], networks)


def _fingerprint(figure: "Figure") -> list[list[float]]:
    """For each plotted array: its length, its norm, and its inner product with a ramp.

    A line whose gid is `style.ROUNDING` is left out: another machine makes its data otherwise.
    Three numbers see a change of a part in a million in the data that no eye and no loose comparison of pixels would.
    """
    from paperlib.companion.figures.style import ROUNDING

    rows: list[list[float]] = []
    for axis in figure.axes:
        arrays: list[Any] = [line.get_xydata() for line in axis.lines if line.get_gid() != ROUNDING]
        arrays += [image.get_array() for image in axis.images]
        arrays += [patch.get_patch_transform().transform_path(patch.get_path()).vertices for patch in axis.patches]
        for collection in axis.collections:
            paths = [path.vertices for path in collection.get_paths()]
            arrays += [np.concatenate(paths)] if paths else []
        for array in arrays:
            flat: np.ndarray = np.ma.filled(np.ma.asarray(array, dtype=float), np.nan).ravel()
            flat = np.where(np.isfinite(flat), flat, 0.0)
            ramp = np.linspace(1, 2, len(flat))
            rows.append([len(flat), float(np.linalg.norm(flat)), float(ramp @ flat)])
    return rows

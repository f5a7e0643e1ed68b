"""Write and read the results of a notebook.

Numbers are written to a small JSON file, the results file of the notebook, and figures
to PNG files. The JSON file also has a fingerprint of the data that each figure plots.
JSON files are validated by the schemas in this folder when they are read.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from html import escape
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib._support import validation
from paperlib._support.files import atomically, read_json, write_json
from paperlib.companion import pretrained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Table:
    """Hold a table of numbers with a heading for each column.

    A notebook displays it as HTML. Its text is compared between runs.

    Parameters
    ----------
    title : str
        The meaning of the numbers. It stands above the names of the rows.
    columns : sequence of str
        The headings.
    rows : mapping of str to sequence
        The cells of each row by name, at most one for each column. A cell is a number,
        or a text that is shown unchanged.
    fmt : str
        The format specification of the numbers. It decides which digits are compared.

    Examples
    --------
    >>> rows = {"Adam": [0.0123, 1.5], "SOAP": [2e-4, "-"]}
    >>> Table("relative error", ["1st", "2nd"], rows, ".1e")
    relative error      1st      2nd
    Adam            1.2e-02  1.5e+00
    SOAP            2.0e-04        -
    """

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Any]]
    fmt: str = ".1e"

    def __post_init__(self) -> None:
        rows = {name: tuple(cells) for name, cells in self.rows.items()}
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "rows", rows)

    def _lines(self) -> list[list[str]]:
        """Return the cells of the heading and of all rows as text."""
        lines = [[self.title, *self.columns]]
        for name, cells in self.rows.items():
            lines.append([name])
            for cell in cells:
                text = cell if isinstance(cell, str) else format(cell, self.fmt)
                lines[-1].append(text)
        return lines

    def __repr__(self) -> str:
        lines = self._lines()
        columns = zip_longest(*lines, fillvalue="")
        first, *widths = (max(map(len, column)) for column in columns)
        texts = []
        for name, *cells in lines:
            aligned = [name.ljust(first), *map(str.rjust, cells, widths)]
            texts.append("  ".join(aligned).rstrip())
        return "\n".join(texts)

    def _repr_html_(self) -> str:
        rows: list[str] = []
        for line in self._lines():
            tag = "td" if rows else "th"
            name, *cells = map(escape, line)
            row = f"<{tag} style='text-align: left'>{name}</{tag}>"
            row += "".join(f"<{tag}>{cell}</{tag}>" for cell in cells)
            rows.append(f"<tr>{row}</tr>")
        return "\n".join(["<table>", *rows, "</table>"])


@dataclass(frozen=True)
class Number:
    """Hold a recorded number, its tolerances and its guards.

    A guard is a bound that detects when a later run is worse, by more than the
    seed-to-seed variation. Guards never decide a claim. The thresholds of claims are in
    claims.json.

    Parameters
    ----------
    value : float
        The value, finite.
    meaning : str
        The meaning of the number and its unit, in a few words.
    rtol : float
        The allowed relative difference between two runs that use the same networks, or
        no networks.
    atol : float
        An additional allowed absolute difference. It is for numbers that are rounding
        errors, because they differ between machines. For a rounding error, set atol to
        `at_most`.
    at_most, at_least : float, optional
        The guards: the largest and the smallest value that later runs may have.

    Raises
    ------
    TypeError
        If `meaning` is not a string, or another argument is not a real number.
    ValueError
        If a value, a guard or a tolerance is not finite, or if a tolerance is negative.

    Examples
    --------
    >>> Number(0.3, "error (%)", at_most=0.5).kept
    True
    """

    value: float
    meaning: str
    rtol: float = 1e-6
    atol: float = 0.0
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        validation.instance("meaning", self.meaning, str)
        validation.number("rtol", self.rtol, minimum=0)
        validation.number("atol", self.atol, minimum=0)
        for name in ("value", "at_most", "at_least"):
            value = getattr(self, name)
            if name == "value" or value is not None:
                object.__setattr__(self, name, validation.number(name, value))

    @property
    def kept(self) -> bool | None:
        """Return whether the value keeps its guards.

        Returns
        -------
        bool or None
            True if ``at_least <= value <= at_most``, where a missing guard is always
            kept. None if the number has no guard.

        Examples
        --------
        >>> Number(0.3, "error (%)", at_least=0.5).kept
        False
        """
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)


def errors_by_order(
    name: str,
    errors: Sequence[float],
    meaning: str,
    at_most: Sequence[float | None] | None = None,
) -> dict[str, Number]:
    """Return numbers for the errors of orders 1, 2, ..

    Parameters
    ----------
    name : str
        The name of the numbers, with ``{n}`` in place of the order.
    errors : sequence of float
        The errors of orders 1, 2, ..
    meaning : str
        The meaning of the numbers, with ``{n}`` in place of the order.
    at_most : sequence of float or None, optional
        A guard for each error, None for an error without a guard.

    Returns
    -------
    dict of str to Number
        The numbers by name.

    Raises
    ------
    ValueError
        If `at_most` and `errors` have different lengths.

    Examples
    --------
    >>> errors, guards = [0.1, 0.2], [None, 0.5]
    >>> numbers = errors_by_order("born_{n}", errors, "order {n}", at_most=guards)
    >>> numbers["born_1"].kept, numbers["born_2"].kept
    (None, True)
    """
    guards = [None] * len(errors) if at_most is None else at_most
    if len(guards) != len(errors):
        raise ValueError(
            f"at_most: {len(guards)} guards; must be one for each of "
            f"the {len(errors)} errors"
        )
    return {
        name.format(n=n): Number(error, meaning.format(n=n), at_most=guard)
        for n, (error, guard) in enumerate(zip(errors, guards), 1)
    }


@dataclass(frozen=True)
class Record:
    """Hold the recorded results of one run of a notebook.

    Parameters
    ----------
    notebook : str
        The name of the notebook.
    retrained : bool
        Whether the run trained the networks of the notebook again.
    numbers : dict of str to Number
        The numbers by name.
    figures : dict of str to list
        For each figure by name, its fingerprint: a row for each plotted array with its
        length, its norm, and its inner product with equally spaced numbers from 1 to 2.
    networks : dict of str to str
        The SHA-256 hash of each file of networks that the notebook used, by file name
        without its suffix.
    """

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
    """Write the numbers and the figures of a notebook to a results folder.

    The numbers are written to FOLDER/numbers/NOTEBOOK.json, the figures to
    ``FOLDER/*.png``.

    Parameters
    ----------
    notebook : str
        The name of the notebook.
    folder : path
        The results folder.
    numbers : dict of str to Number
        The numbers by name.
    figures : dict of str to Figure
        The figures by file name without ``.png``, beginning with the notebook's number,
        such as ``12_lost_digits``.
    networks : sequence of str
        Names of the networks that the notebook uses, as `pretrained.sha256` receives
        them. Their hashes are recorded.
    retrained : bool
        Whether this run trained the networks again. If True, the networks in
        FOLDER/networks are hashed, otherwise the pretrained networks.

    Returns
    -------
    Table
        For each number, whether it keeps its guards: "kept", "VIOLATED", or "none" for
        a number without a guard. The notebook shows this table, which does not contain
        the values. It says nothing about claims, which `decide` decides.

    Raises
    ------
    ValueError
        If a name is empty or contains a slash, a backslash, NUL or a line break, or if
        no networks of a given name exist.
    TypeError
        If an argument has the wrong type.
    FileNotFoundError
        If `retrained` is True and FOLDER/networks lacks networks of a given name.

    Notes
    -----
    `compare` compares the values of two runs within their tolerances. If the networks
    of a notebook were trained again with other bits, it uses the seed-to-seed variation
    instead, which `measure_seed_variation` has measured.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> numbers = {"a": Number(1.0, "a number", at_most=2.0)}
    >>> with TemporaryDirectory() as folder:
    ...     record("01_test", folder, numbers=numbers, figures={})
    01_test  guard
    a         kept
    """
    from matplotlib.figure import Figure

    folder = validation.path("folder", folder)
    _check_name("notebook", notebook)
    check_items("numbers", numbers, Number)
    check_items("figures", figures, Figure)
    trained = (
        folder / "networks"
        if validation.instance("retrained", retrained, bool)
        else None
    )
    hashes: dict[str, str] = {}
    for name in validation.sequence("networks", networks, str):
        hashes |= pretrained.sha256(name, trained)
    for name, figure in figures.items():
        _save(figure, folder / f"{name}.png")
    content = {
        "notebook": notebook,
        "retrained": retrained,
        "networks": hashes,
        "numbers": {name: _fields(number) for name, number in numbers.items()},
        "figures": {name: _fingerprint(figure) for name, figure in figures.items()},
    }
    write_json(folder / "numbers" / f"{notebook}.json", content)
    guards = {True: "kept", False: "VIOLATED", None: "none"}
    rows = {name: [guards[number.kept]] for name, number in numbers.items()}
    return Table(notebook, ["guard"], rows)


def check_items(argument: str, items: Any, kind: type) -> None:
    """Check that an argument is a dict from file names to objects of type `kind`.

    Raise a TypeError or a ValueError that names the argument otherwise.
    """
    for name in validation.instance(argument, items, dict):
        _check_name(argument, name)
    validation.sequence(argument, items.values(), kind)


def _check_name(argument: str, name: Any) -> None:
    """Raise an error that names the argument if `name` cannot be the name of a file.

    Slashes and backslashes are not allowed, so that every file is written to the
    results folder.
    """
    if not validation.instance(argument, name, str) or set(name) & set("/\\\0\n"):
        raise ValueError(
            f"{argument}: name {validation.brief(name)}; must not be empty or contain "
            r"'/', '\', NUL or a line break"
        )


def _save(figure: "Figure", path: Path) -> None:
    """Write a figure to the PNG file `path`, in the style of paperlib.

    The metadata do not name the version of matplotlib, so that the bytes of the file
    depend only on the picture.
    """
    import matplotlib.pyplot as plt

    from paperlib.companion.figures.style import STYLE

    with plt.style.context(["default", STYLE]), atomically(path) as part:
        # Matplotlib's version in the metadata would change the bytes.
        figure.savefig(part, format="png", metadata={"Software": None})


def _fields(number: Number) -> dict[str, Any]:
    """Return the fields of a number for its JSON file.

    Fields equal to their defaults are left out, except for the tolerance `rtol`.
    """
    defaults = {field.name: field.default for field in fields(Number)}
    return {
        name: value
        for name, value in asdict(number).items()
        if value != defaults[name] or name == "rtol"
    }


@cache
def _validator(kind: str) -> Callable[[Any], Any]:
    """Compile the schema in KIND.schema.json to a function that validates JSON."""
    import fastjsonschema

    schema = (files(__package__) / f"{kind}.schema.json").read_text("utf-8")
    return fastjsonschema.compile(json.loads(schema))


def read_validated(path: str | Path, kind: str) -> Any:
    """Read a JSON file and validate it.

    Parameters
    ----------
    path : path
        The file.
    kind : str
        The name of the schema: "record", "seed_variation" or "claims".

    Returns
    -------
    dict
        The content of the file.

    Raises
    ------
    ValueError
        If the file does not follow the schema. The message names the place in the file,
        the value, and the allowed values.
    ModuleNotFoundError
        If fastjsonschema is not installed.
    """
    try:
        from fastjsonschema import JsonSchemaValueException
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "fastjsonschema: validates records; "
            "must be installed with pip install 'neural-born-series[notebooks]'"
        ) from None
    content = read_json(path)
    try:
        return _validator(kind)(content)
    except JsonSchemaValueException as error:
        # The error's own message does not contain the value. A name in its path may be
        # long or have several lines.
        place = validation.brief(str(error.name).replace("data", kind, 1))[1:-1]
        allowed = error.definition["description"]
        raise ValueError(
            f"{path}: {place} = {validation.brief(error.value)}: must be {allowed}"
        ) from None


def read_record(path: str | Path) -> Record:
    """Read the results file of a notebook.

    Parameters
    ----------
    path : path
        The JSON file FOLDER/numbers/NOTEBOOK.json, as `record` writes it.

    Returns
    -------
    Record
        The recorded results.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file does not follow the schema in `record.schema.json`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> numbers = {"a": Number(1.0, "a number")}
    >>> with TemporaryDirectory() as folder:
    ...     _ = record("01_test", folder, numbers=numbers, figures={})
    ...     read_record(f"{folder}/numbers/01_test.json").numbers["a"].value
    1.0
    """
    content = read_validated(path, "record")
    names = {field.name for field in fields(Number)}
    numbers = {}
    for name, entry in content["numbers"].items():
        # The schema allows other fields, such as those of earlier versions.
        numbers[name] = Number(**{key: entry[key] for key in names & entry.keys()})
    return Record(
        content["notebook"],
        content["retrained"],
        numbers,
        content["figures"],
        content.get("networks", {}),
    )


def _fingerprint(figure: "Figure") -> list[list[float]]:
    """Return the fingerprint of a figure: a row of three numbers for each array.

    The numbers are the length of the array, its norm, and its inner product with
    equally spaced numbers from 1 to 2. They detect a relative change of the data of
    1e-6, which neither the eye nor a tolerant comparison of pixels detects.
    """
    rows: list[list[float]] = []
    for axes in figure.axes:
        for array in _plotted_arrays(axes):
            masked: np.ma.MaskedArray = np.ma.asarray(array, dtype=float)
            # A copy of the data, with 0 in place of masked, infinite and NaN entries.
            flat = np.nan_to_num(masked.filled(0.0).ravel(), posinf=0.0, neginf=0.0)
            ramp = np.linspace(1, 2, len(flat))
            rows.append([len(flat), float(np.linalg.norm(flat)), float(ramp @ flat)])
    return rows


def _plotted_arrays(axes: "Axes") -> list[Any]:
    """Return the arrays that lines, images, patches and collections plot.

    An array has the points of a line, the values of an image, or the corners of a patch
    or of all paths of a collection. Lines whose gid is `style.ROUNDING` are left out,
    because their data differ between machines.
    """
    from paperlib.companion.figures.style import ROUNDING

    arrays: list[Any] = [
        line.get_xydata() for line in axes.lines if line.get_gid() != ROUNDING
    ]
    arrays += [image.get_array() for image in axes.images]
    for patch in axes.patches:
        path = patch.get_patch_transform().transform_path(patch.get_path())
        arrays.append(path.vertices)
    for collection in axes.collections:
        if paths := collection.get_paths():
            arrays.append(np.concatenate([path.vertices for path in paths]))
    return arrays

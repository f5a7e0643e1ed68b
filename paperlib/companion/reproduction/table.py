"""Show a table in a notebook: as text, which is compared between runs, and as HTML, which is displayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, repr=False)
class Table:
    """A table of numbers with a heading for each column.

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
    >>> Table("relative error", ["1st", "2nd"], {"Adam": [0.0123, 1.5], "SOAP": [2e-4, "-"]}, ".1e")
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
        for name, value in (("columns", tuple(self.columns)), ("rows", rows)):
            object.__setattr__(self, name, value)

    def _lines(self) -> list[list[str]]:
        """Return the cells of the heading and of all rows as text."""
        written = [
            [
                name,
                *(
                    cell if isinstance(cell, str) else format(cell, self.fmt)
                    for cell in cells
                ),
            ]
            for name, cells in self.rows.items()
        ]
        return [[self.title, *self.columns], *written]

    def __repr__(self) -> str:
        lines = self._lines()
        widths = [
            max(len(line[k]) for line in lines if k < len(line))
            for k in range(len(lines[0]))
        ]
        return "\n".join(
            "  ".join(
                [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
            ).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        head, *rows = ([escape(cell) for cell in line] for line in self._lines())
        top = f"<th style='text-align: left'>{head[0]}</th>" + "".join(
            f"<th>{cell}</th>" for cell in head[1:]
        )
        body = [
            f"<tr><td style='text-align: left'>{name}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
            for name, *cells in rows
        ]
        return "\n".join(["<table>", f"<tr>{top}</tr>", *body, "</table>"])

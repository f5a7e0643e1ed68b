"""The style that every figure shares, and the few strokes that several of them need.

References
----------
- Okabe and Ito, Color Universal Design, whose colours these are (2008): https://jfly.uni-koeln.de/color/
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from importlib.resources import files
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paperlib._support.checks import Floats

STYLE = str(files(__package__) / "paper.mplstyle")
WIDTH = 7.1
"""Inches: the text width of a two-column journal."""
EXACT: dict[str, Any] = {"color": "black", "linewidth": 2.2, "label": "exact"}
"""How a line of exact values is drawn."""
RADIUS: dict[str, Any] = {"color": "0.5", "linewidth": 0.8, "linestyle": ":"}
"""How a line is drawn where a series ceases to converge."""
ROUNDING = "rounding"
"""The gid of a line that shows errors of rounding, which another machine makes otherwise: its data are not compared."""

_Arguments = ParamSpec("_Arguments")


def applied(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Draw under the package's style, whatever the caller's is, also where a line's colour is looked up only when shown."""

    @wraps(draw)
    def drawn(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with plt.style.context(["default", STYLE]):
            figure = draw(*args, **kwargs)
            for line in figure.findobj(Line2D):
                line.set_color(to_rgba(line.get_color()))
            return figure

    return drawn


def hue(number: int) -> tuple[float, float, float, float]:
    """A colour of the cycle as numbers: bands and bars look up a name when they are drawn, under whatever style is then."""
    return to_rgba(f"C{number}")


def shades(number: int) -> Floats:
    """Colours of orders, from light to dark."""
    return np.asarray(plt.get_cmap("viridis_r")(np.linspace(0.12, 0.95, number)))


def lettered(figure: Figure, panels: Iterable[Axes]) -> Figure:
    """The figure, its panels lettered (a), (b), .. as a journal does."""
    for axis, name in zip(panels, "abcdefgh", strict=False):
        axis.set_title(f"({name})", loc="left", fontweight="bold")
    return figure


def broken_at_poles(values: Floats, largest: float) -> Floats:
    """Values with a gap wherever they leave the picture, so that no line is drawn across a pole."""
    return np.where(np.abs(values) > largest, np.nan, values)


def note(axis: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **style: Any) -> None:
    """Write beside a point of the data, `offset` points away."""
    axis.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def legend_above(axis: Axes, columns: int | None = None, **style: Any) -> None:
    """One panel's legend, for all of them, above them; in one row, unless its columns are given."""
    handles, labels = axis.get_legend_handles_labels()
    axis.figure.legend(handles, labels, loc="outside upper center", ncols=columns or len(labels), **style)


def signed_image(axis: Axes, values: Floats, label: str = "", **placed: Any) -> Colorbar:
    """A matrix, red where positive, blue where negative, white at zero; its colour bar."""
    largest = np.abs(values).max()
    image = axis.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, **placed)
    return axis.figure.colorbar(image, ax=axis, shrink=0.85, label=label)


def named_rows(axis: Axes, names: Sequence[str], **style: Any) -> Floats:
    """Name rows from the top down; where they lie."""
    rows = -np.arange(len(names), dtype=np.float64)
    axis.set_yticks(rows, names, **style)
    axis.tick_params(axis="y", length=0)
    return rows

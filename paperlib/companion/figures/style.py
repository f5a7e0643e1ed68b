"""Define the common style of all figures and the drawing helpers that several figures use.

References
----------
- Okabe and Ito, Color Universal Design, the source of the colours (2008):
  https://jfly.uni-koeln.de/color/
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

from paperlib._support.validation import Floats

STYLE = str(files(__package__) / "paper.mplstyle")
WIDTH = 7.1
"""The width of a figure in inches: the text width of a two-column journal."""
EXACT: dict[str, Any] = {"color": "black", "linewidth": 2.2, "label": "exact"}
"""The line style of exact values."""
RADIUS: dict[str, Any] = {"color": "0.5", "linewidth": 0.8, "linestyle": ":"}
"""The line style of a radius of convergence."""
ROUNDING = "rounding"
"""The gid of a line that shows rounding errors. They differ between machines, so the line's data are not compared."""

_Arguments = ParamSpec("_Arguments")


def applied(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Decorate a function that draws a figure, so that the figure has the package's style.

    The caller's style has no effect. The colours of lines are replaced by their RGBA values, because matplotlib
    resolves the name of a colour, such as "C0", only when it renders the figure, and by then the caller's style is
    active again.
    """

    @wraps(draw)
    def drawn(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with plt.style.context(["default", STYLE]):
            figure = draw(*args, **kwargs)
            for line in figure.findobj(Line2D):
                line.set_color(to_rgba(line.get_color()))
            return figure

    return drawn


def hue(number: int) -> tuple[float, float, float, float]:
    """Return the RGBA values of a colour of the cycle.

    Bands and bars need RGBA values, because matplotlib resolves the name of a colour only when it renders the
    figure, under the style that is active then.
    """
    return to_rgba(f"C{number}")


def shades(number: int) -> Floats:
    """Return `number` colours for the orders of a series, from light to dark, shape (number, 4)."""
    return np.asarray(plt.get_cmap("viridis_r")(np.linspace(0.12, 0.95, number)))


def lettered(figure: Figure, panels: Iterable[Axes]) -> Figure:
    """Label the panels (a), (b), .. as journals do, and return the figure."""
    for axis, name in zip(panels, "abcdefgh", strict=False):
        axis.set_title(f"({name})", loc="left", fontweight="bold")
    return figure


def broken_at_poles(values: Floats, largest: float) -> Floats:
    """Replace values of magnitude above `largest` by NaN, so that no line is drawn across a pole."""
    return np.where(np.abs(values) > largest, np.nan, values)


def note(
    axis: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    **style: Any,
) -> None:
    """Write a text beside the data point `at`, displaced by `offset` points."""
    axis.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def legend_above(axis: Axes, columns: int | None = None, **style: Any) -> None:
    """Draw the legend of one panel above all panels of the figure, for all of them.

    The legend has one row, unless `columns` is given.
    """
    handles, labels = axis.get_legend_handles_labels()
    axis.figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=columns or len(labels),
        **style,
    )


def signed_image(
    axis: Axes, values: Floats, label: str = "", **placed: Any
) -> Colorbar:
    """Draw a matrix as an image with a colour bar, and return the colour bar.

    Positive entries are red, negative entries blue, and zero is white.
    """
    largest = np.abs(values).max()
    image = axis.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, **placed)
    return axis.figure.colorbar(image, ax=axis, shrink=0.85, label=label)


def named_rows(axis: Axes, names: Sequence[str], **style: Any) -> Floats:
    """Label rows of the vertical axis from the top down, and return their positions, shape (names,)."""
    rows = -np.arange(len(names), dtype=np.float64)
    axis.set_yticks(rows, names, **style)
    axis.tick_params(axis="y", length=0)
    return rows

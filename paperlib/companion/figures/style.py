"""Define the common style of all figures and the helpers that several of them use.

References
----------
- Okabe and Ito, Color Universal Design, the source of the colours (2008):
  https://jfly.uni-koeln.de/color/
"""

from collections.abc import Callable, Sequence
from functools import wraps
from importlib.resources import files
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import ArrayLike

from paperlib._support.validation import Floats

Look = dict[str, Any]

STYLE = str(files(__package__) / "paper.mplstyle")
WIDTH = 7.1
"""The width of a figure in inches: the text width of a two-column journal."""

EXACT: Look = {"color": "black", "linewidth": 2.2, "label": "exact"}
"""The line of exact values."""
EQUAL: Look = {"color": "black", "linewidth": 0.8}
"""The line on which two quantities are equal."""
RADIUS: Look = {"color": "0.5", "linewidth": 0.8, "linestyle": ":"}
"""The line at a radius of convergence."""
UNITY: Look = {"color": "0.6", "linewidth": 0.7}
"""The line at one, on an axis of ratios."""
ZERO: Look = {"color": "0.6", "linewidth": 0.6}
"""The line at zero."""
COMPARED: Look = {"marker": "s", "linestyle": "--", "linewidth": 0.9}
"""The line through values of another method, for comparison."""
NOTE: Look = {"textcoords": "offset points", "fontsize": 7}
"""A note at a distance in points from the point that it describes."""
LEFT_NOTE: Look = NOTE | {"ha": "right", "va": "top", "color": "0.3"}
"""A note to the left of its point."""
ROUNDING = "rounding"
"""The gid of a line that shows rounding errors.

Rounding errors differ between machines, so the line's data are not compared.
"""

_Arguments = ParamSpec("_Arguments")


def applied(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Decorate a function that draws a figure, so that it draws in the package's style.

    The caller's style has no effect. The names of colours, such as "C0", are replaced
    by RGBA values, because matplotlib resolves them only when it renders the figure. By
    then the caller's style is active again.
    """

    @wraps(draw)
    def drawn(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with plt.style.context(["default", STYLE]):
            figure = draw(*args, **kwargs)
            artists: list[Line2D | Text] = figure.findobj(Line2D) + figure.findobj(Text)
            for artist in artists:
                artist.set_color(to_rgba(artist.get_color()))
            for collection in figure.findobj(Collection):
                collection.set_facecolor(collection.get_facecolor())
                collection.set_edgecolor(collection.get_edgecolor())
            return figure

    return drawn


def panels(
    columns: int, height: float, rows: int = 1, letters: bool = True, **layout: Any
) -> tuple[Figure, Any]:
    """Make a figure of the common width with `rows` times `columns` panels.

    Return the figure, and its only panel or the array of its panels. The width is
    WIDTH, and `height` is the height of the whole figure, both in inches. If there are
    two or more panels, the first eight are labelled (a) to (h), unless `letters` is
    false. `layout` has further arguments of ``plt.subplots``.
    """
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), **layout)
    if letters and len(figure.axes) > 1:
        for axis, letter in zip(figure.axes, "abcdefgh"):
            axis.set_title(f"({letter})", loc="left", fontweight="bold")
    return figure, axes


def shades(number: int) -> Floats:
    """Return `number` colours for the orders of a series, from light to dark.

    The array has the shape (number, 4). A row has red, green, blue and opacity, each
    from 0 to 1.
    """
    return np.asarray(plt.get_cmap("viridis_r")(np.linspace(0.12, 0.95, number)))


def broken_at_poles(values: Floats, largest: float) -> Floats:
    """Replace values of magnitude above `largest` by NaN.

    Matplotlib interrupts a line at NaN, so no line is drawn across a pole.
    """
    return np.where(np.abs(values) > largest, np.nan, values)


def shells(axis: Axes, U: Floats, **look: Any) -> None:
    """Draw a potential as steps, one for each of its shells.

    `U` has the value in each shell, from the centre outwards. The shells have equal
    widths and divide the horizontal axis from 0 to 1, the range of the potential.
    `look` has further arguments of `Axes.stairs`.
    """
    axis.stairs(U, np.linspace(0, 1, len(U) + 1), **look)


def band(
    axis: Axes, x: Floats, curves: ArrayLike, color: str, alpha: float = 0.25
) -> None:
    """Fill the area between the least and the largest of several curves.

    `curves` has shape (curves, points), and `x` has shape (points,). `alpha` is the
    opacity of the area, from 0 to 1.
    """
    low, high = np.min(curves, axis=0), np.max(curves, axis=0)
    axis.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)


def dots(axis: Axes, x: Floats, y: Floats, color: str, **look: Any) -> None:
    """Draw many points as pixels, so that a file of vector graphics stays small.

    `x` and `y` have the shape (points,). `look` has further arguments of `Axes.plot`.
    """
    axis.plot(x, y, ".", color=color, rasterized=True, **look)


def corner_text(axis: Axes, y: float, text: str, **look: Any) -> None:
    """Write a text at the left of a panel, at the height `y`.

    `y` is a fraction of the height of the panel, from 0 at the bottom to 1 at the top.
    `look` has further arguments of `Axes.text`.
    """
    axis.text(0.03, y, text, transform=axis.transAxes, fontsize=7, **look)


def shared_legend(axis: Axes, **look: Any) -> None:
    """Draw the legend of one panel for all panels of the figure.

    `axis` is the panel. By default the legend is above the panels and has one row.
    `look` has further arguments of `Figure.legend`, which replace these defaults.
    """
    handles, labels = axis.get_legend_handles_labels()
    look = {"loc": "outside upper center", "ncols": len(labels), **look}
    axis.figure.legend(handles, labels, **look)


def signed_image(
    axis: Axes, values: Floats, label: str = "", **layout: Any
) -> Colorbar:
    """Draw a matrix as an image with a colour bar, and return the colour bar.

    Rows run from the top down and columns from left to right, as in a printed matrix.
    Positive entries are red, negative entries blue, and zero is white. The darkest red
    and blue stand for the largest magnitude in `values` and its negative. `label` is
    the label of the colour bar. `layout` has further arguments of `Axes.imshow`.
    """
    largest = np.abs(values).max()
    image = axis.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, **layout)
    return axis.figure.colorbar(image, ax=axis, shrink=0.85, label=label)


def named_rows(axis: Axes, names: Sequence[str], **look: Any) -> Floats:
    """Label rows of the vertical axis with names, from the top down.

    Return the positions of the rows, 0, -1, -2, .., shape (names,). `look` has further
    arguments of `Axes.set_yticks`, such as the size of the font.
    """
    rows = -np.arange(len(names), dtype=np.float64)
    axis.set_yticks(rows, names, **look)
    axis.tick_params(axis="y", length=0)
    return rows

"""The style that every figure shares, and the few strokes that several of them need."""

from functools import wraps
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D

__all__ = ["STYLE", "WIDTH", "broken_at_poles", "hue", "letter", "styled"]

STYLE = str(files(__package__) / "paper.mplstyle")
WIDTH = 7.1
"""Inches: the text width of a two-column journal."""


def styled(draw):
    """Draw under the package's style, whatever the caller's is, also where a line's colour is looked up only when shown."""

    @wraps(draw)
    def drawn(*args, **kwargs):
        with plt.style.context(["default", STYLE]):
            figure = draw(*args, **kwargs)
            for line in figure.findobj(Line2D):
                line.set_color(to_rgba(line.get_color()))
            return figure

    return drawn


def hue(number):
    """A colour of the cycle as numbers: bands and bars look up a name when they are drawn, under whatever style is then."""
    return to_rgba(f"C{number}")


def letter(axes):
    """Letter the panels (a), (b), .. as a journal does."""
    for axis, name in zip(axes, "abcdefgh", strict=False):
        axis.set_title(f"({name})", loc="left", fontweight="bold")


def broken_at_poles(values, largest):
    """Values with a gap wherever they leave the picture, so that no line is drawn across a pole."""
    return np.where(np.abs(values) > largest, np.nan, values)

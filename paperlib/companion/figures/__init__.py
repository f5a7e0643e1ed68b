"""Draw the figures of the notebooks.

Each function takes plain arrays and returns a matplotlib Figure.
"""
# ruff: noqa: F403

from paperlib.companion.figures import (
    diagrams,
    networks,
    performance,
    perturbation,
    physics,
)
from paperlib.companion.figures.diagrams import *
from paperlib.companion.figures.networks import *
from paperlib.companion.figures.performance import *
from paperlib.companion.figures.perturbation import *
from paperlib.companion.figures.physics import *
from paperlib.companion.figures.style import STYLE

__all__ = ["STYLE"]
__all__ += (
    diagrams.__all__
    + networks.__all__
    + performance.__all__
    + perturbation.__all__
    + physics.__all__
)

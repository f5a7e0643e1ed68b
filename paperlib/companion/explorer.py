r"""Move a potential by sliders and watch the orders of its scattering length come and go.

Of a shape v(r) and a depth, U = depth v(r): terms of order n, the Born series' and the networks', grow as the n-th power of the
depth, so a shape is worked out once, at depth one, and a depth costs next to nothing.

.. math:: a^{(n)}[\lambda v] = \lambda^n a^{(n)}[v], \qquad \eta[\lambda v] = \lambda\, \eta[v]

Potentials have 64 shells, which is what the networks that ship (of notebook 07) read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.companion import reference
from paperlib.learning.perturbation import LearnedSeries
from paperlib.physics import born, potentials, scattering

if TYPE_CHECKING:
    from ipywidgets import VBox
    from matplotlib.figure import Figure

__all__ = ["ORDER", "SHAPES", "View", "explore", "picture", "report", "sliders", "view"]

SHELLS = 64
ORDER = 4


@dataclass(frozen=True)
class Shape:
    """A potential of a depth, how far that goes either way, and (least, first, largest) of each parameter."""

    potential: Callable[..., Floats]
    deepest: float
    parameters: dict[str, tuple[float, float, float]]

    @property
    def ranges(self) -> dict[str, tuple[float, float, float]]:
        """(Least, first, largest) of all that moves."""
        return {"depth": (-self.deepest, self.deepest / 4, self.deepest), **self.parameters}


SHAPES = {
    "square well": Shape(potentials.square_well, 6.0, {"radius": (0.3, 1.0, 1.0)}),
    "Gaussian": Shape(potentials.gaussian, 40.0, {"width": (0.2, 0.4, 1.0)}),
    "exponential": Shape(potentials.exponential, 60.0, {"width": (0.1, 0.25, 1.0)}),
    "Yukawa": Shape(potentials.yukawa, 20.0, {"width": (0.1, 0.5, 1.0)}),
    "Woods-Saxon": Shape(potentials.woods_saxon, 16.0, {"radius": (0.3, 0.6, 1.0), "diffuseness": (0.02, 0.1, 0.3)}),
    "Pöschl-Teller": Shape(potentials.poschl_teller, 30.0, {"width": (0.2, 0.4, 1.0)}),
}
"""What can be moved, and how far."""


@dataclass(frozen=True, eq=False)
class View:
    """What the picture shows: the arguments of `figures.one_potential`."""

    potential: Floats
    wave: tuple[Floats, Floats]
    a0: float
    depth: float
    depths: Floats
    exact: Floats
    born: Floats
    networks: Floats
    terms: Floats
    learned: Floats
    eigenvalue: float


@lru_cache(maxsize=1)
def _series() -> LearnedSeries:
    return LearnedSeries(reference.series("born_signed").ensembles[:ORDER], ORDER)


@lru_cache(maxsize=32)
def _at_depth_one(shape: str, parameters: tuple[tuple[str, float], ...]) -> tuple[Any, ...]:
    """Of one shape: U, a_0 at all depths, the Born terms, the networks' (from the constant up), and the eigenvalue."""
    deepest = SHAPES[shape].deepest
    U = SHAPES[shape].potential(1.0, SHELLS, **dict(parameters))
    depths = np.linspace(-deepest, deepest, 241)
    exact = scattering.scattering_length(depths[:, None] * U)
    return U, depths, exact, born.born_terms(U, ORDER), _series().terms(U), born.weinberg_eigenvalues(U)[0]


def _checked(shape: str, depth: float | None, parameters: dict[str, float]) -> dict[str, float]:
    """The depth and all parameters, those not given at their first values."""
    checks.choice("shape", shape, tuple(SHAPES))
    ranges = SHAPES[shape].ranges
    if unknown := sorted(set(parameters) - set(ranges)):
        has = ", ".join(SHAPES[shape].parameters)
        raise ValueError(f"{unknown[0]}: no parameter of shape = {shape!r}; it has {has}")
    given = parameters if depth is None else {"depth": depth, **parameters}
    values = {name: given.get(name, first) for name, (_, first, _) in ranges.items()}
    for name, value in values.items():
        least, _, most = ranges[name]
        if not least <= checks.number(name, value) <= most:
            raise ValueError(f"{name} = {value}: must be from {least:g} to {most:g} for shape = {shape!r}")
    return {name: float(value) for name, value in values.items()}


def view(shape: str = "Gaussian", depth: float | None = None, **parameters: float) -> View:
    """Work out what the picture shows of one of `SHAPES`, with the parameters that are listed there, in units of the range.

    A positive depth attracts; not given, it is a quarter of the deepest. What is not in its range, or no parameter of
    the shape, is a ValueError.

    Examples
    --------
    >>> seen = view("square well", 2.0)
    >>> bool(abs(seen.a0 - (1 - np.tan(2**0.5) / 2**0.5)) < 1e-13)
    True
    >>> seen.terms.shape, seen.learned.shape
    ((4,), (4,))
    """
    values = _checked(shape, depth, parameters)
    depth = values.pop("depth")
    v, depths, exact, terms, learned, eigenvalue = _at_depth_one(shape, tuple(values.items()))
    powers = np.arange(ORDER + 1)
    U = depth * v
    return View(
        potential=U,
        wave=scattering.wave_function(U, 4),
        a0=float(scattering.scattering_length(U)),
        depth=depth,
        depths=depths,
        exact=exact,
        born=np.cumsum(terms * depths[:, None] ** powers[1:], axis=1),
        networks=np.cumsum(learned * depths[:, None] ** powers, axis=1)[:, 1:],
        terms=terms * depth ** powers[1:],
        learned=learned[1:] * depth ** powers[1:],
        eigenvalue=float(depth * eigenvalue),
    )


def picture(seen: View, *, moved_from: "Figure | None" = None) -> "Figure":
    """Draw a `View`; see `figures.one_potential`."""
    import matplotlib.pyplot as plt

    from paperlib.companion import figures

    figure = figures.one_potential(**vars(seen), moved_from=moved_from)
    # Whoever gets the figure shows it; pyplot would show it once more.
    plt.close(figure)
    return figure


def report(seen: View) -> str:
    """The numbers of a `View` as lines of text.

    Examples
    --------
    >>> print(report(view("square well", 1.0)))   # doctest: +ELLIPSIS
    a_0 = -0.55741 ranges; largest Weinberg eigenvalue 0.40528: the Born series converges
    order   Born term    networks    Born sum    networks
        1    -0.33333    -0.33333    -0.33333    -0.33333
    ...
    """
    verdict = "converges" if abs(seen.eigenvalue) < 1 else "diverges"
    eigenvalue = f"largest Weinberg eigenvalue {seen.eigenvalue:.5f}"
    lines = [f"a_0 = {seen.a0:.5f} ranges; {eigenvalue}: the Born series {verdict}"]
    lines.append("order   Born term    networks    Born sum    networks")
    columns = (seen.terms, seen.learned, np.cumsum(seen.terms), np.cumsum(seen.learned))
    # Rounded first, so that no zero is printed with a sign.
    for order, row in enumerate(np.round(columns, 5).T + 0.0, 1):
        lines.append(f"{order:5}" + "".join(f"{value:12.5f}" for value in row))
    return "\n".join(lines)


def sliders(shape: str = "Gaussian", depth: float | None = None, **parameters: float) -> "VBox":
    """The picture under sliders, to be shown by a front end that knows ipywidgets.

    Parameters, and the errors raised, are those of `view`.
    """
    import ipywidgets as widgets

    values = _checked(shape, depth, parameters)
    choice = widgets.Dropdown(options=list(SHAPES), value=shape, description="shape")
    moved = {  # each shape keeps its own
        name: {
            moves: widgets.FloatSlider(value=first, min=least, max=most, step=(most - least) / 200, description=moves)
            for moves, (least, first, most) in kind.ranges.items()
        }
        for name, kind in SHAPES.items()
    }
    for name, value in values.items():
        moved[shape][name].value = value
    controls, numbers = widgets.HBox(layout={"flex_flow": "row wrap"}), widgets.HTML()
    figure = picture(view(shape, **values))
    shown = widgets.Image(format="png", layout={"max_width": "100%", "align_self": "flex-start"})

    def draw(_: object = None) -> None:
        chosen = moved[choice.value]
        controls.children = (choice, *chosen.values())
        seen = view(choice.value, **{name: slider.value for name, slider in chosen.items()})
        picture(seen, moved_from=figure).savefig(png := BytesIO(), format="png", pil_kwargs={"compress_level": 1})
        shown.value = png.getvalue()
        numbers.value = f"<pre>{report(seen)}</pre>"

    for widget in (choice, *(slider for group in moved.values() for slider in group.values())):
        widget.observe(draw, names="value")
    draw()
    return widgets.VBox([controls, shown, numbers])


def explore(shape: str = "Gaussian", depth: float | None = None, **parameters: float) -> "VBox | Figure":
    """Sliders where someone can move them, else the picture they open with, and its numbers in print.

    A notebook run by nbconvert, papermill or nbval, or read where ipywidgets is not installed, gets the picture.
    Parameters, and the errors raised, are those of `view`.

    Examples
    --------
    >>> explore("Yukawa", depth=1.0, width=0.3)           # doctest: +ELLIPSIS
    a_0 = -0.02...
    <Figure size ... with 3 Axes>
    """
    if find_spec("ipywidgets") and _someone_is_there():
        return sliders(shape, depth, **parameters)
    seen = view(shape, depth, **parameters)
    print(report(seen))
    return picture(seen)


def _someone_is_there() -> bool:
    """Whether the front end that sent this cell answers questions: one that runs notebooks unattended says it does not."""
    if find_spec("IPython") is None:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return hasattr(shell, "kernel") and shell.get_parent().get("content", {}).get("allow_stdin", False)

r"""Move a potential by sliders and watch the orders of its scattering length come and go.

Of a shape v(r) and a depth, U = depth v(r): terms of order n, the Born series' and the networks', grow as the n-th power of the
depth.

.. math:: a^{(n)}[\lambda v] = \lambda^n a^{(n)}[v], \qquad \eta[\lambda v] = \lambda\, \eta[v]

Potentials have 64 shells, which is what the networks that ship (of notebook 07) read. What moves is `explorer.js`, the same in
JupyterLab and in a page: it works the physics out by itself and is handed what the networks learned of each shape, for every step
of its parameters.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.companion import reference
from paperlib.learning.perturbation import LearnedSeries
from paperlib.physics import born, potentials, scattering

if TYPE_CHECKING:
    from anywidget import AnyWidget
    from matplotlib.figure import Figure

__all__ = [
    "ORDER", "SHAPES", "Shape", "View", "data", "explore", "page", "picture", "report", "script", "sliders", "view",
]  # fmt: skip

SHELLS = 64
ORDER = 4


@dataclass(frozen=True)
class Shape:
    """A potential of a depth, and (least, first, largest, step) of what moves: the depth, and each parameter in units of the range."""

    potential: Callable[..., Floats]
    depth: tuple[float, float, float, float]
    parameters: dict[str, tuple[float, float, float, float]]

    def grid(self) -> list[dict[str, float]]:
        """Every step of the parameters, the last of which runs fastest."""
        steps = [
            np.linspace(least, most, round((most - least) / step) + 1)
            for least, _, most, step in self.parameters.values()
        ]
        return [dict(zip(self.parameters, values, strict=True)) for values in product(*steps)]


WIDE, NARROW = (0.2, 0.4, 1.0, 0.01), (0.1, 0.25, 1.0, 0.01)
SHAPES = {
    "square well": Shape(potentials.square_well, (-6.0, 1.5, 6.0, 0.05), {"radius": (0.3, 1.0, 1.0, 0.01)}),
    "Gaussian": Shape(potentials.gaussian, (-40.0, 10.0, 40.0, 0.4), {"width": WIDE}),
    "exponential": Shape(potentials.exponential, (-60.0, 15.0, 60.0, 0.5), {"width": NARROW}),
    "Yukawa": Shape(potentials.yukawa, (-20.0, 5.0, 20.0, 0.2), {"width": (0.1, 0.5, 1.0, 0.01)}),
    "Woods-Saxon": Shape(
        potentials.woods_saxon,
        (-16.0, 4.0, 16.0, 0.2),
        {"radius": (0.3, 0.6, 1.0, 0.02), "diffuseness": (0.02, 0.1, 0.3, 0.01)},
    ),
    "Pöschl-Teller": Shape(potentials.poschl_teller, (-30.0, 7.5, 30.0, 0.25), {"width": WIDE}),
}
"""What can be moved, how far and in what steps.

:meta hide-value:
"""


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


@cache
def _series() -> LearnedSeries:
    return LearnedSeries(reference.series("born_signed").ensembles[:ORDER], ORDER)


def _checked(shape: str, depth: float | None, parameters: dict[str, float]) -> dict[str, float]:
    """The depth and all parameters, those not given at their first values."""
    of = SHAPES[checks.choice("shape", shape, tuple(SHAPES))]
    if unknown := sorted(parameters.keys() - of.parameters.keys()):
        has = ", ".join(of.parameters)
        raise ValueError(f"{unknown[0]}: no parameter of shape = {shape!r}; it has {has}")
    given = parameters if depth is None else {"depth": depth, **parameters}
    values = {}
    for name, (least, first, most, _) in {"depth": of.depth, **of.parameters}.items():
        values[name] = checks.number(name, given.get(name, first))
        if not least <= values[name] <= most:
            raise ValueError(f"{name} = {given[name]}: must be from {least:g} to {most:g} for shape = {shape!r}")
    return values


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
    v = SHAPES[shape].potential(1.0, SHELLS, **values)
    depths, powers = np.linspace(*SHAPES[shape].depth[::2], 241), np.arange(ORDER + 1)
    terms, learned, U = born.born_terms(v, ORDER), _series().terms(v), depth * v
    return View(
        potential=U,
        wave=scattering.wave_function(U, 4),
        a0=float(scattering.scattering_length(U)),
        depth=depth,
        depths=depths,
        exact=scattering.scattering_length(depths[:, None] * v),
        born=np.cumsum(terms * depths[:, None] ** powers[1:], axis=1),
        networks=np.cumsum(learned * depths[:, None] ** powers, axis=1)[:, 1:],
        terms=terms * depth ** powers[1:],
        learned=learned[1:] * depth ** powers[1:],
        eigenvalue=float(depth * born.weinberg_eigenvalues(v)[0]),
    )


def picture(seen: View) -> "Figure":
    """Draw a `View`; see `figures.one_potential`."""
    import matplotlib.pyplot as plt

    from paperlib.companion import figures

    figure = figures.one_potential(**vars(seen))
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


@cache
def data() -> dict[str, Any]:
    """What `explorer.js` is handed: how many shells and orders, and of each shape what moves and what the networks learned.

    `networks` has a row for each of `Shape.grid`: their terms of orders 0 to `ORDER` at depth one, to twelve digits.

    Examples
    --------
    >>> data()["shapes"]["Gaussian"]["parameters"]
    {'width': (0.2, 0.4, 1.0, 0.01)}
    >>> len(data()["shapes"]["Gaussian"]["networks"])
    81
    """
    shapes = {}
    for name, shape in SHAPES.items():
        v = np.array([shape.potential(1.0, SHELLS, **parameters) for parameters in shape.grid()])
        networks = [[float(f"{term:.11e}") for term in row] for row in _series().terms(v)]
        shapes[name] = {"depth": shape.depth, "parameters": shape.parameters, "networks": networks}
    return {"shells": SHELLS, "order": ORDER, "shapes": shapes}


def script() -> str:
    """`explorer.js`, the module itself."""
    return (files("paperlib.companion") / "explorer.js").read_text(encoding="utf-8")


def page(shape: str = "Gaussian", depth: float | None = None, **parameters: float) -> str:
    """The sliders and their picture as a piece of HTML that needs nothing else, from a file too; shown at once where scripts run.

    Parameters, and the errors raised, are those of `view`. Sliders go in steps, and open at the step that is nearest.

    Examples
    --------
    >>> '"Yukawa", {"depth": 1.0, "width": 0.5}' in page("Yukawa", depth=1.0)
    True
    """
    opened = (data(), shape, _checked(shape, depth, parameters))
    # A browser reads modules from files only where they are written into the page.
    call = ", ".join(json.dumps(value, ensure_ascii=False) for value in opened)
    start = f'mount(document.querySelector(".explorer-here:empty"), {call});'
    none = "<noscript>Sliders, and a picture that they move, are here where scripts run.</noscript>"
    return f'{none}<div class="explorer-here"></div><script type="module">\n{script()}\n{start}\n</script>'


def sliders(shape: str = "Gaussian", depth: float | None = None, **parameters: float) -> "AnyWidget":
    """The same in a cell of JupyterLab, or of any front end that knows widgets.

    Parameters, and the errors raised, are those of `view`. Sliders go in steps, and open at the step that is nearest.
    """
    import anywidget
    import traitlets

    class Explorer(anywidget.AnyWidget):
        _esm = script()
        data = traitlets.Dict(data()).tag(sync=True)
        shape = traitlets.Unicode().tag(sync=True)
        values = traitlets.Dict().tag(sync=True)

    return Explorer(shape=shape, values=_checked(shape, depth, parameters))


def explore(shape: str = "Gaussian", depth: float | None = None, **parameters: float) -> "AnyWidget | Figure":
    """Sliders where someone can move them, else the picture they open with, and its numbers in print.

    A notebook run by nbconvert, papermill or nbval, or read where anywidget is not installed, gets the picture.
    Parameters, and the errors raised, are those of `view`.

    Examples
    --------
    >>> explore("Yukawa", depth=1.0, width=0.3)           # doctest: +ELLIPSIS
    a_0 = -0.02...
    <Figure size ... with 3 Axes>
    """
    if find_spec("anywidget") and _someone_is_there():
        return sliders(shape, depth, **parameters)
    seen = view(shape, depth, **parameters)
    print(report(seen))
    return picture(seen)


def _someone_is_there() -> bool:
    """Whether the front end that sent this cell answers questions: one that runs notebooks unattended says it does not."""
    ipython = sys.modules.get("IPython")  # a front end's cells run where it is loaded
    shell: Any = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel") and shell.get_parent().get("content", {}).get("allow_stdin", False)

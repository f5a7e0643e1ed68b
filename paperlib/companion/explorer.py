r"""Show a potential and the orders of its scattering length, with sliders for the potential.

The potential is U = depth * v(r) with a fixed shape v(r). Terms of order n, of the Born
series and of the networks alike, grow as the n-th power of the depth. Weinberg
eigenvalues grow linearly.

.. math:: a^{(n)}[\lambda v] = \lambda^n a^{(n)}[v], \qquad \eta[\lambda v] = \lambda\, \eta[v]

Potentials have 64 shells because the pretrained networks (those of notebook 07) have 64 inputs. `explorer.js` draws the
sliders and the picture. The same file runs in JupyterLab and in a static HTML page. It computes the physics itself and
receives from Python the terms that the networks learned of each shape, for every step of the shape's parameters.
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

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.companion import pretrained
from paperlib.learning.perturbation import LearnedSeries
from paperlib.physics import born, potentials, scattering

if TYPE_CHECKING:
    from anywidget import AnyWidget
    from matplotlib.figure import Figure

__all__ = [
    "ORDER",
    "SHAPES",
    "Shape",
    "View",
    "data",
    "explore",
    "page",
    "picture",
    "report",
    "script",
    "sliders",
    "view",
]

SHELLS = 64
ORDER = 4


@dataclass(frozen=True)
class Shape:
    """Describe the shape of a potential and the ranges of its sliders.

    Parameters
    ----------
    potential : callable
        ``potential(depth, d, **parameters)`` returns the discretised potential, shape
        (d,).
    depth : tuple of four floats
        Smallest, initial and largest depth and the step of the slider; dimensionless.
    parameters : dict of str to tuple of four floats
        The same four numbers for each parameter of the shape, in units of the range.

    Examples
    --------
    >>> list(SHAPES["Woods-Saxon"].parameters)
    ['radius', 'diffuseness']
    """

    potential: Callable[..., Floats]
    depth: tuple[float, float, float, float]
    parameters: dict[str, tuple[float, float, float, float]]

    def grid(self) -> list[dict[str, float]]:
        """Return every combination of the parameters at the steps of their sliders.

        Returns
        -------
        list of dict
            Parameter name -> value in units of the range. The last parameter varies
            fastest.

        Examples
        --------
        >>> len(SHAPES["Gaussian"].grid())
        81
        """
        steps = [
            np.linspace(least, most, round((most - least) / step) + 1)
            for least, _, most, step in self.parameters.values()
        ]
        return [
            dict(zip(self.parameters, values, strict=True))
            for values in product(*steps)
        ]


WIDE, NARROW = (0.2, 0.4, 1.0, 0.01), (0.1, 0.25, 1.0, 0.01)
SHAPES = {
    "square well": Shape(
        potentials.square_well,
        (-6.0, 1.5, 6.0, 0.05),
        {"radius": (0.3, 1.0, 1.0, 0.01)},
    ),
    "Gaussian": Shape(potentials.gaussian, (-40.0, 10.0, 40.0, 0.4), {"width": WIDE}),
    "exponential": Shape(
        potentials.exponential, (-60.0, 15.0, 60.0, 0.5), {"width": NARROW}
    ),
    "Yukawa": Shape(
        potentials.yukawa, (-20.0, 5.0, 20.0, 0.2), {"width": (0.1, 0.5, 1.0, 0.01)}
    ),
    "Woods-Saxon": Shape(
        potentials.woods_saxon,
        (-16.0, 4.0, 16.0, 0.2),
        {"radius": (0.3, 0.6, 1.0, 0.02), "diffuseness": (0.02, 0.1, 0.3, 0.01)},
    ),
    "Pöschl-Teller": Shape(
        potentials.poschl_teller, (-30.0, 7.5, 30.0, 0.25), {"width": WIDE}
    ),
}
"""The shapes of the explorer by name, each with the ranges and steps of its sliders.

:meta hide-value:
"""


@dataclass(frozen=True, eq=False)
class View:
    """Hold the data of one picture, which are the arguments of `figures.one_potential`.

    Parameters
    ----------
    potential : ndarray, shape (64,)
        The potential U in its shells, dimensionless.
    wave : tuple of two ndarrays, shape (257,) each
        The distances r / range and the zero-energy wave function u(r), scaled to u'(1)
        = 1.
    a0 : float
        The scattering length in units of the range.
    depth : float
        The depth of `potential`.
    depths : ndarray, shape (241,)
        The depths at which the curves are computed.
    exact : ndarray, shape (241,)
        The exact scattering length at `depths`, in units of the range.
    born, networks : ndarray, shape (241, 4)
        Partial sums to orders 1 to 4 at `depths`, of the Born series and of the series
        that the networks learned. The sums of the networks include their constant term.
    terms, learned : ndarray, shape (4,)
        Terms of orders 1 to 4 at `depth`, of the Born series and of the series that the
        networks learned.
    eigenvalue : float
        The Weinberg eigenvalue of largest magnitude at `depth`.

    Examples
    --------
    >>> view("Gaussian").born.shape
    (241, 4)
    """

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
    """Load the pretrained ensembles of the first `ORDER` orders as a series."""
    return LearnedSeries(pretrained.series("born_signed").ensembles[:ORDER], ORDER)


def _checked(
    shape: str, depth: float | None, parameters: dict[str, float]
) -> dict[str, float]:
    """Return the depth and all parameters of a shape by name, checked against the ranges of their sliders.

    A depth of None and parameters that are not given take their initial values.
    """
    of = SHAPES[validation.choice("shape", shape, tuple(SHAPES))]
    if unknown := sorted(parameters.keys() - of.parameters.keys()):
        has = ", ".join(of.parameters)
        raise ValueError(
            f"{unknown[0]}: no parameter of shape = {shape!r}; it has {has}"
        )
    given = parameters if depth is None else {"depth": depth, **parameters}
    values = {}
    for name, (least, first, most, _) in {"depth": of.depth, **of.parameters}.items():
        values[name] = validation.number(name, given.get(name, first))
        if not least <= values[name] <= most:
            raise ValueError(
                f"{name} = {given[name]}: must be from {least:g} to {most:g} for shape = {shape!r}"
            )
    return values


def view(
    shape: str = "Gaussian", depth: float | None = None, **parameters: float
) -> View:
    """Compute the data that the picture shows.

    Parameters
    ----------
    shape : str
        A name in `SHAPES`.
    depth : float, optional
        The depth of the potential, dimensionless; positive attracts. By default a
        quarter of the largest depth.
    **parameters : float
        Parameters of the shape in units of the range, as listed in `SHAPES`.

    Returns
    -------
    View
        The potential, its wave function, and the orders of its scattering length.

    Raises
    ------
    ValueError
        If the shape is unknown or has no such parameter, or if a value is outside the
        range of its slider.
    TypeError
        If a value is not a number.

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
    """Draw a `View` with `figures.one_potential`.

    Parameters
    ----------
    seen : View
        The data to draw.

    Returns
    -------
    Figure
        The figure, already closed in pyplot.

    Examples
    --------
    >>> picture(view("Yukawa"))           # doctest: +ELLIPSIS
    <Figure size ... with 3 Axes>
    """
    import matplotlib.pyplot as plt

    from paperlib.companion import figures

    figure = figures.one_potential(**vars(seen))
    # The caller displays the returned figure. Left open, pyplot would display it a
    # second time.
    plt.close(figure)
    return figure


def report(seen: View) -> str:
    """Return the numbers of a `View` as lines of text.

    Parameters
    ----------
    seen : View
        The data to print.

    Returns
    -------
    str
        The scattering length in units of the range, the largest Weinberg eigenvalue,
        and a table with a row for each order.

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
    # Rounding first and adding 0.0 avoids printing a negative zero.
    for order, row in enumerate(np.round(columns, 5).T + 0.0, 1):
        lines.append(f"{order:5}" + "".join(f"{value:12.5f}" for value in row))
    return "\n".join(lines)


@cache
def data() -> dict[str, Any]:
    """Return the data that `explorer.js` receives.

    Returns
    -------
    dict
        `shells` and `order` are the numbers of shells and of orders. `shapes` has for
        each shape the ranges of its sliders, `depth` and `parameters`, and the table
        `networks`. Row k of the table belongs to entry k of `Shape.grid`. It has the
        terms of orders 0 to `ORDER` that the networks learned, at depth one, with
        twelve digits.

    Examples
    --------
    >>> data()["shapes"]["Gaussian"]["parameters"]
    {'width': (0.2, 0.4, 1.0, 0.01)}
    >>> len(data()["shapes"]["Gaussian"]["networks"])
    81
    """
    shapes = {}
    for name, shape in SHAPES.items():
        v = np.array(
            [shape.potential(1.0, SHELLS, **parameters) for parameters in shape.grid()]
        )
        networks = [
            [float(f"{term:.11e}") for term in row] for row in _series().terms(v)
        ]
        shapes[name] = {
            "depth": shape.depth,
            "parameters": shape.parameters,
            "networks": networks,
        }
    return {"shells": SHELLS, "order": ORDER, "shapes": shapes}


def script() -> str:
    """Return the source of the JavaScript module `explorer.js`.

    Returns
    -------
    str
        The text of the file.

    Examples
    --------
    >>> "export function mount" in script()
    True
    """
    return (files("paperlib.companion") / "explorer.js").read_text(encoding="utf-8")


def page(
    shape: str = "Gaussian", depth: float | None = None, **parameters: float
) -> str:
    """Return the sliders and their picture as a self-contained piece of HTML.

    The piece loads nothing else, so it also works in a page that is opened from a file.
    It shows the picture as soon as the page is loaded, provided that the browser runs
    scripts. The sliders open at the step nearest to the given values.

    Parameters
    ----------
    shape : str
        A name in `SHAPES`.
    depth : float, optional
        The depth of the potential, dimensionless; positive attracts. By default a
        quarter of the largest depth.
    **parameters : float
        Parameters of the shape in units of the range, as listed in `SHAPES`.

    Returns
    -------
    str
        HTML to put into the body of a page. A page can hold more than one piece.

    Raises
    ------
    ValueError
        If the shape is unknown or has no such parameter, or if a value is outside the
        range of its slider.
    TypeError
        If a value is not a number.

    Examples
    --------
    >>> '"Yukawa", {"depth": 1.0, "width": 0.5}' in page("Yukawa", depth=1.0)
    True
    """
    opened = (data(), shape, _checked(shape, depth, parameters))
    # A page opened from a file may not import modules from other files, so the module
    # is written into the page.
    call = ", ".join(json.dumps(value, ensure_ascii=False) for value in opened)
    start = f'mount(document.querySelector(".explorer-here:empty"), {call});'
    none = "<noscript>Sliders, and a picture that they move, are here where scripts run.</noscript>"
    return f'{none}<div class="explorer-here"></div><script type="module">\n{script()}\n{start}\n</script>'


def sliders(
    shape: str = "Gaussian", depth: float | None = None, **parameters: float
) -> "AnyWidget":
    """Return the sliders and their picture as a widget for JupyterLab or another front end that supports widgets.

    The sliders open at the step nearest to the given values.

    Parameters
    ----------
    shape : str
        A name in `SHAPES`.
    depth : float, optional
        The depth of the potential, dimensionless; positive attracts. By default a
        quarter of the largest depth.
    **parameters : float
        Parameters of the shape in units of the range, as listed in `SHAPES`.

    Returns
    -------
    AnyWidget
        The widget, which runs `explorer.js` in the browser.

    Raises
    ------
    ValueError
        If the shape is unknown or has no such parameter, or if a value is outside the
        range of its slider.
    TypeError
        If a value is not a number.

    Examples
    --------
    >>> sliders("Yukawa", depth=1.0).values
    {'depth': 1.0, 'width': 0.5}
    """
    import anywidget
    import traitlets

    class Explorer(anywidget.AnyWidget):
        _esm = script()
        data = traitlets.Dict(data()).tag(sync=True)
        shape = traitlets.Unicode().tag(sync=True)
        values = traitlets.Dict().tag(sync=True)

    return Explorer(shape=shape, values=_checked(shape, depth, parameters))


def explore(
    shape: str = "Gaussian", depth: float | None = None, **parameters: float
) -> "AnyWidget | Figure":
    """Return the sliders if the notebook is used interactively, else print the numbers and return the static picture.

    The static picture shows the initial state of the sliders. It is returned if the
    notebook is run by nbconvert, papermill or nbval, or if anywidget is not installed.

    Parameters
    ----------
    shape : str
        A name in `SHAPES`.
    depth : float, optional
        The depth of the potential, dimensionless; positive attracts. By default a
        quarter of the largest depth.
    **parameters : float
        Parameters of the shape in units of the range, as listed in `SHAPES`.

    Returns
    -------
    AnyWidget or Figure
        The widget of `sliders`, or the figure of `picture`.

    Raises
    ------
    ValueError
        If the shape is unknown or has no such parameter, or if a value is outside the
        range of its slider.
    TypeError
        If a value is not a number.

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
    """Return whether the front end of the running cell accepts input from a user.

    Front ends that run notebooks unattended send cells with ``allow_stdin`` set to False.
    """
    # A front end has loaded IPython before it runs cells
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel") and shell.get_parent().get("content", {}).get(
        "allow_stdin", False
    )

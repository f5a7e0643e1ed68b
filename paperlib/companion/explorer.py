r"""Show a potential and the orders of its scattering length, with sliders.

The potential is :math:`U = \lambda v`, where :math:`\lambda` is the depth and v(r) a
fixed shape. The term of order n, of the Born series and of the series that the networks
learned, is proportional to the n-th power of the depth. The Weinberg eigenvalues
:math:`\eta` are proportional to the depth.

.. math::
   a^{(n)}[\lambda v] = \lambda^n a^{(n)}[v], \qquad
   \eta[\lambda v] = \lambda\, \eta[v]

Potentials have 64 shells because the pretrained networks (those of notebook 07) have 64
inputs. `explorer.js` draws the sliders and the picture, in JupyterLab and in a static
HTML page. A page has no Python, so `explorer.js` computes the physics itself. The
function `data` returns everything else that it needs: the ranges of the sliders, the
text of the report, and the terms that the networks learned, for each shape and every
step of the shape's parameters.
"""

import json
import sys
from collections.abc import Callable
from copy import deepcopy
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
ORDER = 4  # the highest order of the series
DEPTHS = 241  # points of each curve over the depth

# The text of the report. Python formats it, and `explorer.js` replaces its fields.
SUMMARY = (
    "a_0 = {a0:.5f} ranges; largest Weinberg eigenvalue {eigenvalue:.5f}: "
    "the Born series {verdict}"
)
VERDICTS = ("diverges", "converges")  # the index is whether the series converges
COLUMNS = ("order", "Born term", "networks", "Born sum", "networks")


@dataclass(frozen=True)
class Shape:
    """Describe the shape of a potential and the ranges of its sliders.

    Parameters
    ----------
    potential : callable
        ``potential(depth, d, **parameters)`` returns the dimensionless potential in d
        equal shells, shape (d,).
    depth : tuple of four floats
        Smallest, initial and largest depth and the step of the slider; dimensionless.
    parameters : dict of str to tuple of four floats
        For each parameter of the shape, which is a length, its smallest, initial and
        largest value and the step of the slider, in units of the range of the
        potential.

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
            One dictionary for each combination, from the names of the parameters to
            their values. The values are lengths in units of the range of the potential.
            The last parameter varies fastest.

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


WIDE = (0.2, 0.4, 1.0, 0.01)
SHAPES = {
    "square well": Shape(
        potentials.square_well,
        (-6.0, 1.5, 6.0, 0.05),
        {"radius": (0.3, 1.0, 1.0, 0.01)},
    ),
    "Gaussian": Shape(potentials.gaussian, (-40.0, 10.0, 40.0, 0.4), {"width": WIDE}),
    "exponential": Shape(
        potentials.exponential,
        (-60.0, 15.0, 60.0, 0.5),
        {"width": (0.1, 0.25, 1.0, 0.01)},
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
    """Hold the data of one picture, which `figures.one_potential` draws.

    Parameters
    ----------
    potential : ndarray, shape (64,)
        The potential U in its shells, dimensionless.
    wave : tuple of two ndarrays, shape (257,) each
        The distances in units of the range, and the zero-energy wave function u(r),
        scaled to u'(1) = 1.
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
    """Load the first `ORDER` ensembles of the pretrained series "born_signed".

    Ensemble n of the series learned the order n. The returned series has the order
    `ORDER`.
    """
    return LearnedSeries(pretrained.series("born_signed").ensembles[:ORDER], ORDER)


def _checked(
    shape: str, depth: float | None, parameters: dict[str, float]
) -> dict[str, float]:
    """Return the depth and all parameters of a shape by name.

    If the depth is None or a parameter is missing, the initial value of its slider is
    returned. Raise a ValueError or a TypeError if the shape is unknown, if it has no
    such parameter, or if a value is not a number in the range of its slider.
    """
    chosen = SHAPES[validation.choice("shape", shape, tuple(SHAPES))]
    if unknown := sorted(parameters.keys() - chosen.parameters.keys()):
        allowed = ", ".join(map(repr, chosen.parameters))
        raise ValueError(
            f"{unknown[0]}: not a parameter of shape {shape!r}; must be one of "
            f"{allowed}"
        )
    given = parameters if depth is None else {"depth": depth, **parameters}
    ranges = {"depth": chosen.depth, **chosen.parameters}
    values = {}
    for name, (least, initial, most, _) in ranges.items():
        values[name] = validation.number(name, given.get(name, initial))
        if not least <= values[name] <= most:
            raise ValueError(
                f"{name} = {given[name]}: must be from {least:g} to {most:g} "
                f"for shape {shape!r}"
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
        Parameters of the shape that `SHAPES` lists: lengths in units of the range of
        the potential. By default the initial values of their sliders.

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
    U = depth * v
    depths = np.linspace(*SHAPES[shape].depth[::2], DEPTHS)
    powers = np.arange(ORDER + 1)
    terms, learned = born.born_terms(v, ORDER), _series().terms(v)
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
    a_0 = -0.55741 ranges; largest Weinberg eigenvalue 0.40528: the Born series conv...
    order   Born term    networks    Born sum    networks
        1    -0.33333    -0.33333    -0.33333    -0.33333
    ...
    """
    verdict = VERDICTS[abs(seen.eigenvalue) < 1]
    summary = SUMMARY.format(a0=seen.a0, eigenvalue=seen.eigenvalue, verdict=verdict)
    first, *others = COLUMNS
    lines = [summary, first + "".join(f"{name:>12}" for name in others)]
    columns = (seen.terms, seen.learned, np.cumsum(seen.terms), np.cumsum(seen.learned))
    # Rounding first and adding 0.0 avoids printing a negative zero.
    for order, row in enumerate(np.round(columns, 5).T + 0.0, 1):
        lines.append(f"{order:5}" + "".join(f"{value:12.5f}" for value in row))
    return "\n".join(lines)


def data() -> dict[str, Any]:
    """Return the data that `explorer.js` receives.

    Returns
    -------
    dict
        `shells`, `order` and `depths` are the numbers of shells, of orders and of the
        depths at which curves are computed. `summary`, `verdicts` and `columns` are the
        text of the report. `shapes` has for each shape the ranges of its sliders,
        `depth` and `parameters`, and the table `networks`. Row k of the table has the
        terms of orders 0 to 4 that the networks learned, for depth one and the k-th
        combination of parameters in `Shape.grid`, rounded to twelve digits. Each call
        returns a new dictionary.

    Examples
    --------
    >>> data()["shapes"]["Gaussian"]["parameters"]
    {'width': (0.2, 0.4, 1.0, 0.01)}
    >>> len(data()["shapes"]["Gaussian"]["networks"])
    81
    """
    return deepcopy(_data())


@cache
def _data() -> dict[str, Any]:
    """Compute the dictionary that `data` copies."""
    shapes = {}
    for name, shape in SHAPES.items():
        v = [shape.potential(1.0, SHELLS, **parameters) for parameters in shape.grid()]
        terms = _series().terms(np.array(v))
        shapes[name] = {
            "depth": shape.depth,
            "parameters": shape.parameters,
            "networks": [[float(f"{term:.11e}") for term in row] for row in terms],
        }
    return {
        "shells": SHELLS,
        "order": ORDER,
        "depths": DEPTHS,
        "summary": SUMMARY,
        "verdicts": VERDICTS,
        "columns": COLUMNS,
        "shapes": shapes,
    }


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
        Parameters of the shape that `SHAPES` lists: lengths in units of the range of
        the potential. By default the initial values of their sliders.

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
    arguments = (_data(), shape, _checked(shape, depth, parameters))
    call = ", ".join(json.dumps(value, ensure_ascii=False) for value in arguments)
    # A page opened from a file may not import modules from other files, so the module
    # is written into the page.
    return f"""<noscript>The sliders and their picture need JavaScript.</noscript>
<div class="explorer-here"></div>
<script type="module">
{script()}
mount(document.querySelector(".explorer-here:empty"), {call});
</script>"""


def sliders(
    shape: str = "Gaussian", depth: float | None = None, **parameters: float
) -> "AnyWidget":
    """Return the sliders and their picture as a widget for JupyterLab.

    Other front ends that support widgets can display it too. The sliders open at the
    step nearest to the given values.

    Parameters
    ----------
    shape : str
        A name in `SHAPES`.
    depth : float, optional
        The depth of the potential, dimensionless; positive attracts. By default a
        quarter of the largest depth.
    **parameters : float
        Parameters of the shape that `SHAPES` lists: lengths in units of the range of
        the potential. By default the initial values of their sliders.

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
    """Return the sliders in an interactive notebook, and a static picture elsewhere.

    The static picture shows the initial state of the sliders, and the numbers are
    printed. It is returned if the notebook is run by nbconvert, papermill or nbval, or
    if anywidget is not installed.

    Parameters
    ----------
    shape : str
        A name in `SHAPES`.
    depth : float, optional
        The depth of the potential, dimensionless; positive attracts. By default a
        quarter of the largest depth.
    **parameters : float
        Parameters of the shape that `SHAPES` lists: lengths in units of the range of
        the potential. By default the initial values of their sliders.

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
    if find_spec("anywidget") and _is_interactive():
        return sliders(shape, depth, **parameters)
    seen = view(shape, depth, **parameters)
    print(report(seen))
    return picture(seen)


def _is_interactive() -> bool:
    """Return whether the front end of the running cell accepts input from a user.

    Programs that run notebooks unattended send cells with ``allow_stdin`` set to False.
    """
    # A front end has loaded IPython before it runs cells
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel") and shell.get_parent().get("content", {}).get(
        "allow_stdin", False
    )

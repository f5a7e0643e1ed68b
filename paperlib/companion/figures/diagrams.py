"""Draw the figures of the theory: a small network, the diagrams, and the contribution of each diagram."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paperlib._support import chunks
from paperlib._support.validation import Floats
from paperlib.companion.figures import style
from paperlib.taylor.diagrams import Diagram, enumerate_diagrams

__all__ = ["centroid_groups", "diagram_shares", "diagram_sheet", "small_network"]


@style.applied
def small_network(
    weights: Sequence[Floats],
    steps: Floats,
    difference_errors: Floats,
    distances: Floats,
    taylor_errors: Floats,
) -> Figure:
    """Draw a small network and two tests of the derivatives of networks.

    The second panel compares finite differences of orders 1, 2, .. with the exact
    derivatives. The third panel shows the error of Taylor polynomials against the
    distance from the expansion point.

    Parameters
    ----------
    weights : sequence of ndarray
        The weights of each layer of the small network, shape (units out, units in).
    steps : ndarray, shape (s,)
        Step sizes of the finite differences.
    difference_errors : ndarray, shape (orders, s)
        Relative errors of the finite differences.
    distances : ndarray, shape (n,)
        Distances from the expansion point.
    taylor_errors : ndarray, shape (orders, n)
        Errors of the Taylor polynomials.

    Returns
    -------
    Figure
        Three panels. Dotted guides in the third have slope order + 1.

    Examples
    --------
    >>> steps, errors = np.array([0.1, 0.2, 0.4]), np.array([[1e-3, 4e-3, 1.6e-2]])
    >>> figure = small_network([np.ones((3, 2)), -np.ones((1, 3))], steps, errors, steps, errors)
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(
        1, 3, figsize=(style.WIDTH, 2.7), width_ratios=(1.1, 1, 1)
    )
    _draw_network(axes[0], weights)
    for n, errors in enumerate(difference_errors):
        axes[1].loglog(
            steps,
            errors,
            f"C{n}o-",
            markersize=2.5,
            gid=style.ROUNDING,
            label=f"order {n + 1}",
        )
    axes[1].set(
        xlabel="step of the difference", ylabel="difference from the exact derivative"
    )
    axes[1].legend()
    for order, errors in enumerate(taylor_errors, 1):
        axes[2].loglog(distances, errors, color=f"C{order - 1}", label=f"order {order}")
        guide = errors[0] * (distances / distances[0]) ** (order + 1)
        axes[2].loglog(
            distances, guide, color="0.6", linewidth=0.7, linestyle=":", zorder=0
        )
    axes[2].set(
        xlabel="distance from the centre", ylabel="error of the Taylor polynomial"
    )
    axes[2].set_ylim(taylor_errors.min() / 3, None)
    axes[2].legend()
    return style.lettered(figure, axes)


def _draw_network(axis: Axes, weights: Sequence[Floats]) -> None:
    """Draw a network as a graph of its units.

    `weights` has an array of shape (units out, units in) for each layer. A line's width is proportional to the
    magnitude of its weight, up to an offset, and its colour shows the sign.
    """
    sizes = [weights[0].shape[1], *(len(weight) for weight in weights)]
    places = [
        [(layer, (size - 1) / 2 - unit) for unit in range(size)]
        for layer, size in enumerate(sizes)
    ]
    largest = max(np.abs(weight).max() for weight in weights)
    for layer, weight in enumerate(weights):
        for (j, i), value in np.ndenumerate(weight):
            (x0, y0), (x1, y1) = places[layer][i], places[layer + 1][j]
            color = "C0" if value > 0 else "C1"
            axis.plot(
                [x0, x1],
                [y0, y1],
                color=color,
                linewidth=0.4 + 2.6 * abs(value) / largest,
                zorder=1,
            )
    for layer, points in enumerate(places):
        hidden = 0 < layer < len(places) - 1
        for unit, (x, y) in enumerate(points, 1):
            face = "0.9" if hidden else "white"
            axis.plot(
                x,
                y,
                "o",
                markersize=13,
                markerfacecolor=face,
                markeredgecolor="black",
                zorder=2,
            )
            name = (
                f"$z^{layer}_{unit}$" if hidden else "$f$" if layer else f"$x_{unit}$"
            )
            axis.annotate(
                name, (x, y), ha="center", va="center", fontsize=7 if hidden else 8
            )
    axis.set(
        xlim=(-0.3, len(sizes) - 0.7),
        ylim=(-max(sizes) / 2 - 0.1, max(sizes) / 2 + 0.1),
    )
    axis.set_axis_off()


@style.applied
def diagram_sheet(highest: int) -> Figure:
    """Draw all diagrams of orders 1 to `highest`.

    Parameters
    ----------
    highest : int
        The highest order.

    Returns
    -------
    Figure
        Rows of at most six diagrams. Low orders share a row.

    Examples
    --------
    >>> len(diagram_sheet(3).axes)
    6
    """
    columns = 6
    rows: list[list[tuple[Diagram, str]]] = [[]]
    for order in range(1, highest + 1):
        labelled = [
            (diagram, f"order {order}" if not n else "")
            for n, diagram in enumerate(enumerate_diagrams(order))
        ]
        if len(rows[-1]) + len(labelled) > columns:
            rows.append([])
        rows[-1] += labelled[:columns]
        rows += [
            labelled[first : first + columns]
            for first in range(columns, len(labelled), columns)
        ]
    return _grid(rows, columns)


@style.applied
def centroid_groups(order: int) -> Figure:
    """Draw the diagrams of one order, each with its term of the centroid rule.

    Parameters
    ----------
    order : int
        The order of the derivative.

    Returns
    -------
    Figure
        One panel for each diagram, sorted by the terms of the centroid rule.

    Examples
    --------
    >>> len(centroid_groups(3).axes)
    2
    """

    def term(diagram: Diagram) -> str:
        above, branches = diagram.centroid_split
        factors = [
            rf"\lambda_{{{above}}}" if above else r"\lambda",
            rf"\varphi^{{({len(branches)})}}",
        ]
        return "$" + r"\,".join(factors + [f"z_{{{n}}}" for n in branches]) + "$"

    ordered = sorted(
        enumerate_diagrams(order), key=lambda diagram: diagram.centroid_split
    )
    labelled = [(diagram, term(diagram)) for diagram in ordered]
    columns = min(6, len(labelled))
    return _grid(
        [labelled[row] for row in chunks.slices(len(labelled), columns)], columns
    )


def _grid(rows: list[list[tuple[Diagram, str]]], columns: int) -> Figure:
    """Draw rows of diagrams, each with its title."""
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(style.WIDTH, 1.35 * len(rows)), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for row, line in zip(rows, axes, strict=True):
        for axis, (diagram, title) in zip(line, row, strict=False):
            diagram.draw(axis)
            axis.set_title(title, loc="left", fontweight="bold")
    return figure


@style.applied
def diagram_shares(
    shares: Mapping[int, Floats], spreads: Mapping[int, Floats]
) -> Figure:
    """Draw the share of each diagram in the norm of its order.

    Parameters
    ----------
    shares : mapping of int to ndarray, shape (diagrams,)
        For each order, the mean share of each diagram over an ensemble.
    spreads : mapping of int to ndarray, shape (diagrams,)
        For each order, the standard deviation of each share over the ensemble.

    Returns
    -------
    Figure
        Bars in the upper row, one panel for each order, and the diagrams below them.

    Examples
    --------
    >>> figure = diagram_shares({2: np.array([1.0]), 3: np.array([0.7, 0.3])}, {2: np.zeros(1), 3: np.zeros(2)})
    >>> plt.close(figure)
    """
    figure = plt.figure(figsize=(style.WIDTH, 2.9))
    grid = figure.add_gridspec(
        2, sum(map(len, shares.values())), height_ratios=(1.5, 1)
    )
    first = 0
    for order, values in shares.items():
        axis = figure.add_subplot(grid[0, first : first + len(values)])
        axis.bar(
            range(len(values)),
            values,
            yerr=spreads[order],
            color="C0",
            width=0.6,
            error_kw={"linewidth": 0.8},
        )
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set(xticks=[], xlim=(-0.5, len(values) - 0.5), title=f"order {order}")
        if not first:
            axis.set_ylabel("share of the order")
        for number, diagram in enumerate(enumerate_diagrams(order)):
            diagram.draw(figure.add_subplot(grid[1, first + number]))
        first += len(values)
    return figure

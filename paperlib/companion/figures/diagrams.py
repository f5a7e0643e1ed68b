"""Draw the figures of the theory: a small network, and diagrams with their shares."""

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

COLUMNS = 6
_Row = list[tuple[Diagram, str]]  # diagrams with their titles


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
        Three panels. In the third, a dotted line for each order n has the slope n + 1
        on the logarithmic axes.

    Examples
    --------
    >>> steps, errors = np.array([0.1, 0.2, 0.4]), np.array([[1e-3, 4e-3, 1.6e-2]])
    >>> weights = [np.ones((3, 2)), -np.ones((1, 3))]
    >>> figure = small_network(weights, steps, errors, steps, errors)
    >>> plt.close(figure)
    """
    figure, axes = style.panels(3, 2.7, width_ratios=(1.1, 1, 1))
    network, differences, taylor = axes
    _draw_network(network, weights)
    for order, errors in enumerate(difference_errors, 1):
        differences.loglog(
            steps,
            errors,
            "o-",
            markersize=2.5,
            gid=style.ROUNDING,
            label=f"order {order}",
        )
    differences.set(
        xlabel="step of the finite difference",
        ylabel="difference from the exact derivative",
    )
    differences.legend()
    for order, errors in enumerate(taylor_errors, 1):
        taylor.loglog(distances, errors, label=f"order {order}")
        guide = errors[0] * (distances / distances[0]) ** (order + 1)
        taylor.plot(
            distances, guide, color="0.6", linewidth=0.7, linestyle=":", zorder=0
        )
    taylor.set(
        xlabel="distance from the expansion point",
        ylabel="error of the Taylor polynomial",
    )
    taylor.set_ylim(taylor_errors.min() / 3, None)
    taylor.legend()
    return figure


def _draw_network(axis: Axes, weights: Sequence[Floats]) -> None:
    """Draw a network as a graph of its units, one column for each layer.

    `weights` has an array of shape (units out, units in) for each layer. Inputs are
    named x_i, hidden units z^l_i, and outputs f, where l counts the layers and i the
    units of a layer from the top, both from 1.
    """
    sizes = [weights[0].shape[1], *map(len, weights)]
    heights = [(size - 1) / 2 - np.arange(size) for size in sizes]
    _draw_weights(axis, weights, heights)
    for unit, y in enumerate(heights[0], 1):
        _draw_unit(axis, 0, y, f"$x_{unit}$")
    for layer in range(1, len(weights)):
        for unit, y in enumerate(heights[layer], 1):
            _draw_unit(axis, layer, y, f"$z^{layer}_{unit}$", face="0.9", fontsize=7)
    for y in heights[-1]:
        _draw_unit(axis, len(weights), y, "$f$")
    top = max(sizes) / 2 + 0.1
    axis.set(xlim=(-0.3, len(sizes) - 0.7), ylim=(-top, top))
    axis.set_axis_off()


def _draw_weights(
    axis: Axes, weights: Sequence[Floats], heights: Sequence[Floats]
) -> None:
    """Draw a line for each weight, in one colour if it is positive, else in another.

    The width is 0.4 plus a multiple of the magnitude of the weight. The largest weight
    of the whole network has the width 3. `weights` has an array of shape (units out,
    units in) for each layer. `heights` has the vertical positions of the units of each
    layer, beginning with the inputs.
    """
    largest = max(np.abs(weight).max() for weight in weights)
    for layer, weight in enumerate(weights):
        for (j, i), value in np.ndenumerate(weight):
            axis.plot(
                [layer, layer + 1],
                [heights[layer][i], heights[layer + 1][j]],
                color="C0" if value > 0 else "C1",
                linewidth=0.4 + 2.6 * abs(value) / largest,
                zorder=1,
            )


def _draw_unit(
    axis: Axes, x: float, y: float, name: str, face: str = "white", fontsize: float = 8
) -> None:
    """Draw a unit as a circle at (x, y) with its name inside.

    `face` is the colour inside the circle, and `fontsize` the size of the name in
    points.
    """
    axis.plot(x, y, "o", markersize=13, markerfacecolor=face, markeredgecolor="black")
    axis.annotate(name, (x, y), ha="center", va="center", fontsize=fontsize)


@style.applied
def diagram_sheet(highest: int) -> Figure:
    """Draw all diagrams of orders 1 to `highest`.

    Parameters
    ----------
    highest : int
        The highest order, at least 1.

    Returns
    -------
    Figure
        Rows of at most six diagrams. An order begins in the row of the order before it
        if its first row of diagrams fits there, otherwise in a new row.

    Examples
    --------
    >>> len(diagram_sheet(3).axes)
    6
    """
    rows: list[_Row] = [[]]
    for order in range(1, highest + 1):
        diagrams = enumerate_diagrams(order)
        titles = [f"order {order}"] + [""] * (len(diagrams) - 1)
        first, *others = _rows(list(zip(diagrams, titles)))
        if len(rows[-1]) + len(first) <= COLUMNS:
            rows[-1] += first
        else:
            rows.append(first)
        rows += others
    return _grid(rows, COLUMNS)


@style.applied
def centroid_groups(order: int) -> Figure:
    """Draw the diagrams of one order, each with its term of the centroid rule.

    Parameters
    ----------
    order : int
        The order of the derivative, at least 2.

    Returns
    -------
    Figure
        One panel for each diagram, sorted by the terms of the centroid rule.

    Examples
    --------
    >>> len(centroid_groups(3).axes)
    2
    """
    ordered = sorted(
        enumerate_diagrams(order), key=lambda diagram: diagram.centroid_split
    )
    labelled = [(diagram, _centroid_term(diagram)) for diagram in ordered]
    return _grid(_rows(labelled), min(COLUMNS, len(labelled)))


def _centroid_term(diagram: Diagram) -> str:
    """Return the term of the centroid rule that contains a diagram, as mathtext.

    `diagram.centroid_split` has the number of leaves above the centroid, and the number
    of leaves of each branch below it. The term is a product. Its factors are lambda,
    with the number above as its index (no index for zero), the derivative of the
    activation whose order is the number of branches, and one z for each branch, with
    the branch's number of leaves as its index. The order of the diagram must be at
    least 2, because the diagram of order 1 has no centroid.
    """
    above, branches = diagram.centroid_split
    factors = [
        rf"\lambda_{{{above}}}" if above else r"\lambda",
        rf"\varphi^{{({len(branches)})}}",
        *(f"z_{{{n}}}" for n in branches),
    ]
    return "$" + r"\,".join(factors) + "$"


def _rows(labelled: _Row) -> list[_Row]:
    """Divide diagrams with titles into rows of `COLUMNS` entries.

    The last row may be shorter.
    """
    return [labelled[part] for part in chunks.slices(len(labelled), COLUMNS)]


def _grid(rows: list[_Row], columns: int) -> Figure:
    """Draw rows of diagrams with their titles, in a grid of `columns` columns.

    A row has at most `columns` diagrams. The rest of a shorter row is empty.
    """
    figure, axes = style.panels(
        columns, 1.35 * len(rows), rows=len(rows), letters=False, squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for row, line in zip(rows, axes):
        for axis, (diagram, title) in zip(line, row):
            diagram.draw(axis)
            axis.set_title(title, loc="left", fontweight="bold")
    return figure


@style.applied
def diagram_shares(shares: Mapping[int, Floats], names: Sequence[str]) -> Figure:
    """Draw the share of each diagram in its order, for several networks side by side.

    Parameters
    ----------
    shares : mapping of int to ndarray, shape (networks, diagrams)
        For each order, the share of each diagram in each network.
    names : sequence of str
        The names of the networks.

    Returns
    -------
    Figure
        Bars in the upper row, one panel for each order and one colour for each network,
        and the diagrams below them.

    Examples
    --------
    >>> shares = {2: np.ones((2, 1)), 3: np.array([[0.7, 0.3], [1.2, -0.2]])}
    >>> figure = diagram_shares(shares, ["first network", "second network"])
    >>> plt.close(figure)
    """
    figure = plt.figure(figsize=(style.WIDTH, 2.9))
    lengths = [values.shape[1] for values in shares.values()]
    grid = figure.add_gridspec(2, sum(lengths), height_ratios=(1.5, 1))
    width, first = 0.8 / len(names), 0
    for order, length in zip(shares, lengths):
        axis = figure.add_subplot(grid[0, first : first + length])
        for number, (values, name) in enumerate(zip(shares[order], names)):
            middle = np.arange(length) + (number - (len(names) - 1) / 2) * width
            axis.bar(middle, values, width=0.9 * width, label=name)
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set(xticks=[], xlim=(-0.5, length - 0.5), title=f"order {order}")
        if not first:
            axis.set_ylabel("share of the order")
        for number, diagram in enumerate(enumerate_diagrams(order)):
            diagram.draw(figure.add_subplot(grid[1, first + number]))
        first += length
    style.shared_legend(axis)
    return figure

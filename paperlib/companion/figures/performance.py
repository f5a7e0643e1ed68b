"""Draw figures of running times and memory."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import ArrayLike

from paperlib._support.validation import Floats
from paperlib.companion.figures import style

__all__ = [
    "derivative_costs",
    "exponent",
    "growth",
    "reach",
    "speed_ratios",
    "speed_tables",
]

# The largest standard error with which an exponent is shown.
MAX_ERROR = 0.1

_Lines = Mapping[str, tuple[Floats, Floats]]


@style.applied
def derivative_costs(dims: Sequence[int], ours: Floats, theirs: Floats) -> Figure:
    """Draw the times of whole derivative tensors against the number of inputs.

    Times of JAX are drawn for comparison.

    Parameters
    ----------
    dims : sequence of int
        Numbers of inputs.
    ours, theirs : ndarray, shape (dims, orders)
        Times of paperlib and of JAX in seconds, NaN if not measured.

    Returns
    -------
    Figure
        Two panels: the times, and the ratio theirs / ours.

    Examples
    --------
    >>> seconds = np.array([[1e-5, 1e-4], [1e-4, 1e-2]])
    >>> len(derivative_costs([4, 16], seconds, 2 * seconds).axes)
    2
    """
    figure, (times, ratios) = style.panels(2, 3.0)
    for n, seconds in enumerate(ours.T):
        times.loglog(dims, seconds, "o-", color=f"C{n}", label=f"order {n + 1}")
    for n, seconds in enumerate(theirs.T):
        times.loglog(dims, seconds, color=f"C{n}", **style.COMPARED)
        ratios.loglog(dims, seconds / ours[:, n], "o-", color=f"C{n}")
    ratios.axhline(1, **style.UNITY)
    times.set_ylabel("seconds per tensor (dashed: JAX)")
    ratios.set_ylabel("times faster than JAX")
    _label_inputs((times, ratios), dims)
    style.shared_legend(times)
    return figure


def _label_inputs(axes: Sequence[Axes], dims: Sequence[int]) -> None:
    """Label the horizontal axis of each panel with the numbers of inputs.

    `dims` are these numbers, one for each tick.
    """
    for axis in axes:
        axis.set_xlabel("inputs d")
        axis.set_xticks(dims, [str(d) for d in dims])
        axis.minorticks_off()


@style.applied
def speed_ratios(ratios: Mapping[str, float]) -> Figure:
    """Draw speed ratios as horizontal bars.

    Parameters
    ----------
    ratios : mapping of str to float
        For each row by name, the ratio of the other time to the time of paperlib.
        Above one, paperlib is faster.

    Returns
    -------
    Figure
        Bars on a logarithmic axis, each with its ratio. Bars below one have another
        colour.

    Examples
    --------
    >>> speed_ratios({"order 1": 2.0, "order 2": 0.5})       # doctest: +ELLIPSIS
    <Figure size ... with 1 Axes>
    """
    figure, axis = style.panels(1, 0.32 * len(ratios) + 0.8)
    rows, values = style.named_rows(axis, list(ratios)), list(ratios.values())
    colors = ["C0" if value >= 1 else "C1" for value in values]
    axis.barh(rows, values, color=colors, height=0.6)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for row, value in zip(rows, values):
        text = f"{float(f'{value:.2g}'):,g}×"
        axis.annotate(
            text,
            (value, row),
            (3, 0),
            textcoords="offset points",
            va="center",
            bbox=white,
        )
    axis.axvline(1, **style.EQUAL)
    axis.set(
        xscale="log",
        xlabel="times faster",
        xlim=(0.5 * min(1, *values), 3 * max(values)),
    )
    return figure


@style.applied
def speed_tables(tables: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw tables of speed ratios as coloured cells.

    Parameters
    ----------
    tables : mapping of str to mapping of str to sequence of float
        For each panel by title and each row by name, the ratios of orders 1, 2, .., NaN
        if not measured.

    Returns
    -------
    Figure
        One panel for each table.

    Examples
    --------
    >>> one, two = {"tanh": [2.0, 5.0]}, {"tanh": [0.5, np.nan]}
    >>> len(speed_tables({"one": one, "two": two}).axes)
    2
    """
    most = max(map(len, tables.values()))
    figure, axes = style.panels(
        len(tables), 0.3 * most + 0.7, letters=False, sharey=True
    )
    for axis, (title, rows) in zip(axes, tables.items()):
        logs = np.log10(list(rows.values()))
        axis.imshow(logs, cmap="RdBu", vmin=-1, vmax=1, aspect="auto", alpha=0.7)
        for row, ratios in enumerate(rows.values()):
            _write_ratios(axis, row, ratios)
        orders = range(1, logs.shape[1] + 1)
        axis.set_xticks(range(logs.shape[1]), orders)
        axis.set_yticks(range(len(rows)), list(rows))
        axis.set(title=title, xlabel="order")
        axis.tick_params(length=0)
    return figure


def _write_ratios(axis: Axes, row: int, ratios: Sequence[float]) -> None:
    """Write the ratios into the cells of one row, with two significant digits.

    `row` is the vertical position of the row. Nothing is written for a ratio of NaN,
    which was not measured. The text is white in dark cells, those with a ratio above
    5.6 or below 1/5.6, and black in the others.
    """
    for column, ratio in enumerate(ratios):
        if np.isfinite(ratio):
            dark = abs(np.log10(ratio)) > 0.75
            axis.text(
                column,
                row,
                f"{float(f'{ratio:.2g}'):g}",
                ha="center",
                va="center",
                color="white" if dark else "black",
            )


def exponent(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Fit the exponent p of a power law ``y ~ x**p``.

    Parameters
    ----------
    x : array_like, shape (n,)
        Positive abscissae in increasing order.
    y : array_like, shape (n,)
        Positive values, NaN if not measured.

    Returns
    -------
    exponent : float
        The slope of log y against log x, fitted to the half of the measured points with
        the largest x, or to the last four points if this half has fewer.
    error : float
        The standard error of the exponent, from the scatter of the points about the
        line. It is large if the points do not follow a power law, and NaN if there are
        fewer than four points.

    Examples
    --------
    >>> p, error = exponent([1, 2, 4, 8], [1, 4, 16, 64])
    >>> round(p, 12), round(error, 12)
    (2.0, 0.0)
    """
    logs_x, logs_y = np.log(np.asarray([x, y], dtype=np.float64))
    measured = np.flatnonzero(np.isfinite(logs_y))
    upper = measured[-max(4, len(measured) // 2) :]
    points = logs_x[upper], logs_y[upper]
    if len(upper) < 4:
        return float(np.polyfit(*points, 1)[0]), np.nan
    line, covariance = np.polyfit(*points, 1, cov=True)
    return float(line[0]), float(np.sqrt(covariance[0, 0]))


@style.applied
def growth(panels: Mapping[str, _Lines], label: str = "seconds") -> Figure:
    """Draw the growth of quantities on logarithmic axes.

    The legends contain fitted exponents with their standard errors. A line whose
    exponent has a standard error above 0.1 has no exponent in its legend, because it
    has too few points or does not follow a power law.

    Parameters
    ----------
    panels : mapping of str to mapping of str to tuple of two ndarrays
        For each panel by the label of its horizontal axis, the arrays (x, y) of each
        line by name, shape (n,) each.
    label : str
        The label of the vertical axis of the first panel.

    Returns
    -------
    Figure
        One panel for each entry of `panels`.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0])
    >>> len(growth({"inputs": {"square": (x, x**2)}, "units": {"linear": (x, x)}}).axes)
    2
    """
    figure, axes = style.panels(len(panels), 3.1, sharey=True)
    for axis, (xlabel, lines) in zip(axes, panels.items()):
        for name, (x, y) in lines.items():
            power, error = exponent(x, y)
            if error <= MAX_ERROR:
                name += f"\n$\\propto x^{{{power:.2f} \\pm {error:.2f}}}$"
            axis.loglog(x, y, "o-", label=name)
        axis.set_xlabel(xlabel)
        # At most four labels, at the abscissae of the last line
        axis.set_xticks(list(x)[:: -(-len(x) // 4)])
        axis.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
        axis.minorticks_off()
        axis.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.1),
            borderaxespad=0,
            fontsize=6,
            handlelength=1.2,
        )
    axes[0].set_ylabel(label)
    return figure


@style.applied
def reach(
    dims: Sequence[int], sizes: Floats, tensors: _Lines, series: _Lines
) -> Figure:
    """Draw the memory and the time of whole derivative tensors.

    Times of series along directions are drawn for comparison.

    Parameters
    ----------
    dims : sequence of int
        Numbers of inputs.
    sizes : ndarray, shape (dims, orders)
        Sizes of the packed tensors of orders 1, 2, .. in bytes.
    tensors : mapping of str to tuple of two ndarrays
        For each line by name, the numbers of inputs and the times of whole tensors in
        seconds, shape (n,) each.
    series : mapping of str to tuple of two ndarrays
        The same for series along directions.

    Returns
    -------
    Figure
        Two panels: the sizes with a mark at 16 GiB, and the times.

    Examples
    --------
    >>> d = np.array([4.0, 16.0, 64.0])
    >>> sizes = np.stack([8 * d, 4 * d**2], axis=1)
    >>> tensors, series = {"order 2": (d, d**2)}, {"order 2": (d, d)}
    >>> len(reach([4, 16, 64], sizes, tensors, series).axes)
    2
    """
    figure, (memory, times) = style.panels(2, 3.0)
    for n, shade in enumerate(style.shades(sizes.shape[1])):
        memory.loglog(dims, sizes[:, n], color=shade, label=f"order {n + 1}")
    memory.axhspan(2**34, 1e24, color="0.5", alpha=0.15, linewidth=0)
    memory.annotate("more than 16 GiB", (dims[0], 2**34), (2, 3), **style.NOTE)
    # The cycle of colours runs on from the tensors to the series.
    for name, (d, seconds) in tensors.items():
        times.loglog(d, seconds, "o-", label=name)
    for name, (d, seconds) in series.items():
        times.loglog(d, seconds, label=name, **style.COMPARED)
    memory.set(ylabel="bytes, packed", ylim=(10, 1e24))
    times.set_ylabel("seconds")
    _label_inputs((memory, times), dims)
    for axis in (memory, times):
        axis.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=2,
            fontsize=6,
            handlelength=1.2,
        )
    return figure

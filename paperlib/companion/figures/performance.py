"""Draw figures of running times and memory."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
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

_Lines = Mapping[str, tuple[Floats, Floats]]


@style.applied
def derivative_costs(dims: Sequence[int], ours: Floats, theirs: Floats) -> Figure:
    """Draw the time of whole derivative tensors against the number of inputs, beside the time of JAX.

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
    >>> figure = derivative_costs([4, 16], seconds, 2 * seconds)
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 3.0))
    for n, seconds in enumerate(ours.T):
        axes[0].loglog(
            dims, seconds, "o-", color=f"C{n}", markersize=3, label=f"order {n + 1}"
        )
    for n, seconds in enumerate(theirs.T):
        axes[0].loglog(dims, seconds, "s--", color=f"C{n}", markersize=3, linewidth=0.9)
        axes[1].loglog(dims, seconds / ours[:, n], "o-", color=f"C{n}", markersize=3)
    axes[1].axhline(1, color="0.6", linewidth=0.7)
    axes[0].set(ylabel="seconds a tensor (dashed: JAX)")
    axes[1].set(ylabel="times faster than JAX")
    _against_inputs(axes, dims)
    style.legend_above(axes[0])
    return style.lettered(figure, axes)


def _against_inputs(axes: Sequence[Axes], dims: Sequence[int]) -> None:
    """Label the horizontal axis of each panel with the numbers of inputs."""
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
        For each row by name, how many times faster it is.

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
    figure, axis = plt.subplots(figsize=(style.WIDTH, 0.32 * len(ratios) + 0.8))
    rows, values = style.named_rows(axis, list(ratios)), list(ratios.values())
    axis.barh(
        rows,
        values,
        color=["C0" if value >= 1 else "C1" for value in values],
        height=0.6,
    )
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for row, value in zip(rows, values, strict=True):
        style.note(
            axis,
            f"{float(f'{value:.2g}'):,g}×",
            (value, row),
            (3, 0),
            va="center",
            fontsize=8,
            bbox=white,
        )
    axis.axvline(1, color="black", linewidth=0.8)
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
    >>> figure = speed_tables({"one": {"tanh": [2.0, 5.0]}, "two": {"tanh": [0.5, np.nan]}})
    >>> plt.close(figure)
    """
    most = max(map(len, tables.values()))
    figure, axes = plt.subplots(
        1, len(tables), figsize=(style.WIDTH, 0.3 * most + 0.7), sharey=True
    )
    for axis, (title, rows) in zip(axes, tables.items(), strict=True):
        values = np.array(list(rows.values()))
        axis.imshow(
            np.log10(values), cmap="RdBu", vmin=-1, vmax=1, aspect="auto", alpha=0.7
        )
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = {"color": "white"} if abs(np.log10(value)) > 0.75 else {}
                axis.text(
                    column,
                    row,
                    f"{float(f'{value:.2g}'):g}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    **dark,
                )
        axis.set_xticks(
            range(values.shape[1]), [str(n + 1) for n in range(values.shape[1])]
        )
        axis.set_yticks(range(len(rows)), list(rows))
        axis.set(title=title, xlabel="order")
        axis.tick_params(length=0)
    return figure


def exponent(x: ArrayLike, y: ArrayLike) -> float:
    """Fit the exponent p of a power law ``y ~ x**p``.

    Parameters
    ----------
    x : array_like, shape (n,)
        Positive abscissae in increasing order.
    y : array_like, shape (n,)
        Positive values, NaN if not measured.

    Returns
    -------
    float
        The slope of log y against log x, fitted to the upper half of the measured
        points, or to the last three if half are fewer.

    Examples
    --------
    >>> round(exponent([1, 2, 4, 8], [1, 4, 16, 64]), 12)
    2.0
    """
    logs = (
        np.log(np.asarray(x, dtype=np.float64)),
        np.log(np.asarray(y, dtype=np.float64)),
    )
    timed = np.flatnonzero(np.isfinite(logs[1]))
    timed = timed[-max(3, len(timed) // 2) :]
    return float(np.polyfit(logs[0][timed], logs[1][timed], 1)[0])


@style.applied
def growth(panels: Mapping[str, _Lines], label: str = "seconds") -> Figure:
    """Draw the growth of quantities on logarithmic axes, with fitted exponents in the legends.

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
    >>> figure = growth({"inputs": {"square": (x, x**2)}, "units": {"linear": (x, x)}})
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(style.WIDTH, 3.1), sharey=True)
    for axis, (against, lines) in zip(axes, panels.items(), strict=True):
        for k, (name, (x, y)) in enumerate(lines.items()):
            axis.loglog(
                x,
                y,
                "o-",
                color=f"C{k}",
                markersize=3,
                label=f"{name}\n$\\propto x^{{{exponent(x, y):.1f}}}$",
            )
        axis.set_xlabel(against)
        axis.set_xticks(list(x)[:: -(-len(x) // 4)])
        axis.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
        axis.minorticks_off()
        axis.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.07),
            borderaxespad=0,
            fontsize=6,
            handlelength=1.2,
        )
    axes[0].set_ylabel(label)
    return style.lettered(figure, axes)


@style.applied
def reach(
    dims: Sequence[int], sizes: Floats, tensors: _Lines, series: _Lines
) -> Figure:
    """Draw memory and time of whole derivative tensors, beside the time of series along directions.

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
    >>> figure = reach([4, 16, 64], np.stack([8 * d, 4 * d**2], axis=1), {"order 2": (d, d**2)}, {"order 2": (d, d)})
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 3.0))
    for n, shade in enumerate(style.shades(sizes.shape[1])):
        axes[0].loglog(dims, sizes[:, n], color=shade, label=f"order {n + 1}")
    axes[0].axhspan(2**34, 1e24, color="0.5", alpha=0.15, linewidth=0)
    style.note(axes[0], "more than 16 GiB", (dims[0], 2**34), (2, 3), fontsize=7)
    for k, (name, (d, seconds)) in enumerate(tensors.items()):
        axes[1].loglog(d, seconds, "o-", color=f"C{k}", markersize=3, label=name)
    for k, (name, (d, seconds)) in enumerate(series.items(), len(tensors)):
        axes[1].loglog(
            d, seconds, "s--", color=f"C{k}", markersize=3, linewidth=0.9, label=name
        )
    axes[0].set(ylabel="bytes, packed", ylim=(10, 1e24))
    axes[1].set(ylabel="seconds")
    _against_inputs(axes, dims)
    for axis in axes:
        axis.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=2,
            fontsize=6,
            handlelength=1.2,
        )
    return style.lettered(figure, axes)

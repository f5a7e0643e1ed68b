"""Figures of what things cost."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import ArrayLike

from paperlib._support.checks import Floats
from paperlib.companion.figures import style

__all__ = ["derivative_costs", "exponent", "growth", "reach", "speed_ratios", "speed_tables"]

_Lines = Mapping[str, tuple[Floats, Floats]]


@style.applied
def derivative_costs(dims: Sequence[int], ours: Floats, theirs: Floats) -> Figure:
    """Seconds for whole derivative tensors against the number of inputs, and the ratio to a peer.

    Arrays: ours, theirs (dims, orders), in seconds; NaN where nothing was timed.
    """
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 3.0))
    for n, seconds in enumerate(ours.T):
        axes[0].loglog(dims, seconds, "o-", color=f"C{n}", markersize=3, label=f"order {n + 1}")
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
    for axis in axes:
        axis.set_xlabel("inputs d")
        axis.set_xticks(dims, [str(d) for d in dims])
        axis.minorticks_off()


@style.applied
def speed_ratios(ratios: Mapping[str, float]) -> Figure:
    """How many times faster, as bars."""
    figure, axis = plt.subplots(figsize=(style.WIDTH, 0.32 * len(ratios) + 0.8))
    rows, values = style.named_rows(axis, list(ratios)), list(ratios.values())
    axis.barh(rows, values, color=["C0" if value >= 1 else "C1" for value in values], height=0.6)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for row, value in zip(rows, values, strict=True):
        style.note(axis, f"{float(f'{value:.2g}'):,g}×", (value, row), (3, 0), va="center", fontsize=8, bbox=white)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set(xscale="log", xlabel="times faster", xlim=(0.5 * min(1, *values), 3 * max(values)))
    return figure


@style.applied
def speed_tables(tables: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """How many times faster, a panel each: rows by name, and in them orders 1, 2, ..; NaN where nothing was timed."""
    most = max(map(len, tables.values()))
    figure, axes = plt.subplots(1, len(tables), figsize=(style.WIDTH, 0.3 * most + 0.7), sharey=True)
    for axis, (title, rows) in zip(axes, tables.items(), strict=True):
        values = np.array(list(rows.values()))
        axis.imshow(np.log10(values), cmap="RdBu", vmin=-1, vmax=1, aspect="auto", alpha=0.7)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = {"color": "white"} if abs(np.log10(value)) > 0.75 else {}
                axis.text(column, row, f"{float(f'{value:.2g}'):g}", ha="center", va="center", fontsize=8, **dark)
        axis.set_xticks(range(values.shape[1]), [str(n + 1) for n in range(values.shape[1])])
        axis.set_yticks(range(len(rows)), list(rows))
        axis.set(title=title, xlabel="order")
        axis.tick_params(length=0)
    return figure


def exponent(x: ArrayLike, y: ArrayLike) -> float:
    """The slope of log y against log x, over the upper half of what is not NaN, three at least.

    Examples
    --------
    >>> round(exponent([1, 2, 4, 8], [1, 4, 16, 64]), 12)
    2.0
    """
    logs = np.log(np.asarray(x, dtype=np.float64)), np.log(np.asarray(y, dtype=np.float64))
    timed = np.flatnonzero(np.isfinite(logs[1]))
    timed = timed[-max(3, len(timed) // 2) :]
    return float(np.polyfit(logs[0][timed], logs[1][timed], 1)[0])


@style.applied
def growth(panels: Mapping[str, _Lines], label: str = "seconds") -> Figure:
    """How quantities go with others, a panel each on logarithmic axes, lines named with their fitted exponents.

    Panels are named by what they are drawn against, and hold (x, y) by name; `label` is of the first one's vertical axis.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(style.WIDTH, 3.1), sharey=True)
    for axis, (against, lines) in zip(axes, panels.items(), strict=True):
        for k, (name, (x, y)) in enumerate(lines.items()):
            axis.loglog(x, y, "o-", color=f"C{k}", markersize=3, label=f"{name}\n$\\propto x^{{{exponent(x, y):.1f}}}$")
        axis.set_xlabel(against)
        axis.set_xticks(list(x)[:: -(-len(x) // 4)])
        axis.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
        axis.minorticks_off()
        axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.07), borderaxespad=0, fontsize=6, handlelength=1.2)
    axes[0].set_ylabel(label)
    return style.lettered(figure, axes)


@style.applied
def reach(dims: Sequence[int], sizes: Floats, tensors: _Lines, series: _Lines) -> Figure:
    """Bytes and seconds of whole tensors against those of series along directions.

    Arrays: sizes (dims, orders), bytes of packed tensors of orders 1, 2, ..; of tensors and series, by name, d and seconds.
    """
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 3.0))
    for n, shade in enumerate(style.shades(sizes.shape[1])):
        axes[0].loglog(dims, sizes[:, n], color=shade, label=f"order {n + 1}")
    axes[0].axhspan(2**34, 1e24, color="0.5", alpha=0.15, linewidth=0)
    style.note(axes[0], "more than 16 GiB", (dims[0], 2**34), (2, 3), fontsize=7)
    for k, (name, (d, seconds)) in enumerate(tensors.items()):
        axes[1].loglog(d, seconds, "o-", color=f"C{k}", markersize=3, label=name)
    for k, (name, (d, seconds)) in enumerate(series.items(), len(tensors)):
        axes[1].loglog(d, seconds, "s--", color=f"C{k}", markersize=3, linewidth=0.9, label=name)
    axes[0].set(ylabel="bytes, packed", ylim=(10, 1e24))
    axes[1].set(ylabel="seconds")
    _against_inputs(axes, dims)
    for axis in axes:
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=6, handlelength=1.2)
    return style.lettered(figure, axes)

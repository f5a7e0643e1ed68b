"""Figures of what things cost."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import EngFormatter

from paperlib.companion.figures.style import WIDTH, letter, styled

__all__ = ["derivative_costs", "growth", "reach", "speed_ratios"]


@styled
def derivative_costs(dims, ours, theirs):
    """Seconds for whole derivative tensors against the number of inputs, and the ratio to a peer.

    Parameters
    ----------
    dims : sequence of int
    ours, theirs : ndarray, shape (dims, orders)
        Seconds; NaN where nothing was timed.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    for n in range(ours.shape[1]):
        axes[0].loglog(dims, ours[:, n], "o-", color=f"C{n}", markersize=3, label=f"order {n + 1}")
    for n in range(theirs.shape[1]):
        axes[0].loglog(dims, theirs[:, n], "s--", color=f"C{n}", markersize=3, linewidth=0.9)
        axes[1].loglog(dims, theirs[:, n] / ours[:, n], "o-", color=f"C{n}", markersize=3)
    axes[1].axhline(1, color="0.6", linewidth=0.7)
    axes[0].set(ylabel="seconds a tensor (dashed: JAX)")
    axes[1].set(ylabel="times faster than JAX")
    for axis in axes:
        axis.set_xlabel("inputs d")
        axis.set_xticks(dims, [str(d) for d in dims])
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=ours.shape[1])
    letter(axes)
    return figure


@styled
def speed_ratios(ratios):
    """How many times faster, as bars.

    Parameters
    ----------
    ratios : dict of str to float

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 0.32 * len(ratios) + 0.8))
    rows, values = -np.arange(len(ratios)), list(ratios.values())
    axis.barh(rows, values, color=["C0" if value >= 1 else "C1" for value in values], height=0.6)
    for row, value in zip(rows, values, strict=True):
        told = f"{float(f'{value:.2g}'):,g}×"
        axis.annotate(
            told, (value, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set(xscale="log", xlabel="times faster", xlim=(0.5 * min(1, *values), 3 * max(values)))
    axis.set_yticks(rows, list(ratios))
    axis.tick_params(axis="y", length=0)
    return figure


@styled
def growth(panels, exponent, label="seconds"):
    """How quantities go with others, a panel each on logarithmic axes, lines named with their fitted exponents.

    Parameters
    ----------
    panels : dict of str to dict
        What a panel is drawn against -> {name: (x, y)}.
    exponent : callable
        (x, y) -> float.
    label : str
        Of the first panel's vertical axis.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.1), sharey=True)
    for axis, (against, lines) in zip(axes, panels.items(), strict=True):
        for k, (name, (x, y)) in enumerate(lines.items()):
            axis.loglog(x, y, "o-", color=f"C{k}", markersize=3, label=f"{name}\n$\\propto x^{{{exponent(x, y):.1f}}}$")
        axis.set_xlabel(against)
        axis.set_xticks(list(x)[:: -(-len(x) // 4)])
        axis.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
        axis.minorticks_off()
        axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.07), borderaxespad=0, fontsize=6, handlelength=1.2)
    axes[0].set_ylabel(label)
    letter(axes)
    return figure


@styled
def reach(dims, sizes, tensors, series):
    """Bytes and seconds of whole tensors against those of series along directions.

    Parameters
    ----------
    dims : sequence of int
    sizes : ndarray, shape (dims, orders)
        Bytes of packed tensors of orders 1, 2, ..
    tensors, series : dict of str to (d, seconds)

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    shades = plt.get_cmap("viridis_r")(np.linspace(0.12, 0.95, sizes.shape[1]))
    for n in range(sizes.shape[1]):
        axes[0].loglog(dims, sizes[:, n], color=shades[n], label=f"order {n + 1}")
    axes[0].axhspan(2**34, 1e24, color="0.5", alpha=0.15, linewidth=0)
    axes[0].annotate("more than 16 GiB", (dims[0], 2**34), xytext=(2, 3), textcoords="offset points", fontsize=7)
    for k, (name, (d, seconds)) in enumerate(tensors.items()):
        axes[1].loglog(d, seconds, "o-", color=f"C{k}", markersize=3, label=name)
    for k, (name, (d, seconds)) in enumerate(series.items()):
        axes[1].loglog(d, seconds, "s--", color=f"C{k + len(tensors)}", markersize=3, linewidth=0.9, label=name)
    axes[0].set(ylabel="bytes, packed", ylim=(10, 1e24))
    axes[1].set(ylabel="seconds")
    for axis in axes:
        axis.set_xlabel("inputs d")
        axis.set_xticks(dims, [str(d) for d in dims])
        axis.minorticks_off()
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=6, handlelength=1.2)
    letter(axes)
    return figure

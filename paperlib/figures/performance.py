"""Figures of what things cost."""

import matplotlib.pyplot as plt
import numpy as np

from paperlib.figures.style import WIDTH, letter, styled

__all__ = ["derivative_costs", "speed_ratios"]


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
        axis.annotate(f"{value:.2g}×", (value, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set(xscale="log", xlabel="times faster", xlim=(0.5, 2 * max(values)))
    axis.set_yticks(rows, list(ratios))
    axis.tick_params(axis="y", length=0)
    return figure

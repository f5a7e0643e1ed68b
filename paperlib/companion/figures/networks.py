"""Figures of trained networks: what they predict, and what their derivatives are."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from paperlib.companion.figures.style import WIDTH, hue, letter, styled

__all__ = ["optimizers", "overview", "trained_ensemble"]


@styled
def optimizers(names, fits, seconds, errors, orders=(2, 3)):
    """The error of learned tensors against training time, for optimisers and what is fitted.

    Parameters
    ----------
    names, fits : sequence of str
        Optimisers, and what they fit.
    seconds : ndarray, shape (optimisers, fits, budgets)
        Wall time of a training, for all of its members together.
    errors : ndarray, shape (optimisers, fits, budgets, all orders, members)
        Relative Frobenius errors.
    orders : sequence of int
        The orders drawn, one panel each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, len(orders), figsize=(WIDTH, 3.1), sharex=True)
    styles = dict(zip(fits, (("o", ":"), ("s", "--"), ("^", "-")), strict=False))
    for axis, order in zip(axes, orders, strict=True):
        for k, name in enumerate(names):
            for m, fit in enumerate(fits):
                marker, line = styles[fit]
                found = errors[k, m, :, order - 1]
                middle = np.median(found, axis=-1)
                spread = [middle - found.min(axis=-1), found.max(axis=-1) - middle]
                axis.errorbar(
                    seconds[k, m],
                    middle,
                    yerr=spread,
                    color=hue(k),
                    marker=marker,
                    linestyle=line,
                    markersize=3.5,
                    linewidth=1,
                    elinewidth=0.7,
                    label=f"{name}, {fit}",
                )
        axis.set(
            xscale="log", yscale="log", xlabel="training time (s), all members", ylabel=f"relative error, order {order}"
        )
        axis.axhline(1, color="0.7", linewidth=0.6)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(names))
    letter(axes)
    return figure


@styled
def overview(U, depths, exact, born, network, spread, trained):
    """The paper in one picture: a potential, and a_0 of it as it deepens, exact, by Born orders, and by networks.

    Parameters
    ----------
    U : ndarray, shape (d,)
        The potential at depth one.
    depths, exact, network, spread : ndarray, shape (n,)
        The ensemble's mean and its standard deviation over members.
    born : ndarray, shape (n, orders)
    trained : (float, float)
        Between these depths the networks were trained.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8), width_ratios=(1, 2))
    axes[0].stairs(U, np.linspace(0, 1, len(U) + 1), fill=True, color="C5", alpha=0.6)
    axes[0].set(xlabel="r / range", ylabel="U(r) at depth 1", xlim=(0, 1), ylim=(0, 1.05 * U.max()))
    axes[1].plot(depths, exact, color="black", linewidth=2.2, label="exact")
    for n in range(born.shape[1]):
        axes[1].plot(
            depths, born[:, n], color=f"C{(2, 3, 4)[n % 3]}", linestyle=("--", "-.", ":")[n % 3], label=f"Born {n + 1}"
        )
    axes[1].fill_between(depths, network - spread, network + spread, color=hue(1), alpha=0.25, linewidth=0)
    axes[1].plot(depths, network, color="C1", label="networks")
    axes[1].axvspan(*trained, color="0.93", linewidth=0, zorder=-1)
    axes[1].annotate(
        "trained here",
        (trained[1], 0),
        xytext=(-4, -4),
        textcoords="offset points",
        ha="right",
        va="top",
        color="0.3",
        fontsize=7,
    )
    axes[1].set(xlabel="depth", ylabel=r"$a_0$ / range", xlim=(0, depths[-1]))
    axes[1].legend(loc="lower left")
    letter(axes)
    return figure


@styled
def trained_ensemble(steps, loss, validation, exact, predicted):
    """Learning curves, predicted against exact a_0, and the relative error against a_0.

    Parameters
    ----------
    steps : ndarray, shape (epochs,)
    loss, validation : ndarray, shape (epochs, members)
        Mean squared errors in units of the target's variance.
    exact : ndarray, shape (n,)
    predicted : ndarray, shape (members, n)

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.5))
    for curves, color, name in ((loss, hue(0), "training"), (validation, hue(1), "held out")):
        rms = np.sqrt(curves)
        axes[0].fill_between(steps, rms.min(axis=1), rms.max(axis=1), color=color, alpha=0.25, linewidth=0)
        axes[0].semilogy(steps, np.median(rms, axis=1), color=color, label=name)
    axes[0].set(xlabel="steps", ylabel="rms error / spread of $a_0$", xlim=(0, steps[-1]))
    axes[0].legend()
    mean = predicted.mean(axis=0)
    axes[1].plot(exact, mean, ".", color="C0", markersize=1.5, rasterized=True)
    ends = np.array([exact.min(), exact.max()])
    axes[1].plot(ends, ends, color="black", linewidth=0.8)
    axes[1].set(xlabel=r"exact $a_0$ / range", ylabel=r"ensemble mean of $a_0$ / range")
    order = np.argsort(exact)
    errors = 100 * np.abs(predicted / exact - 1)[:, order]
    bins = np.array_split(np.arange(len(exact)), 20)
    centres = np.array([exact[order][rows].mean() for rows in bins])
    axes[2].semilogy(
        exact[order], 100 * np.abs(mean / exact - 1)[order], ".", color="0.8", markersize=1.5, rasterized=True, zorder=0
    )
    for number, member in enumerate(errors):
        axes[2].semilogy(
            centres,
            [member[rows].mean() for rows in bins],
            color="C1",
            linewidth=0.9,
            label="members" if not number else None,
        )
    averaged = 100 * np.abs(mean / exact - 1)[order]
    axes[2].semilogy(centres, [averaged[rows].mean() for rows in bins], color="C0", linewidth=2, label="ensemble mean")
    axes[2].set(
        xlabel=r"exact $a_0$ / range", ylabel="relative error (%)", ylim=(averaged[averaged > 0].min() * 30, None)
    )
    axes[2].legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none")
    for axis in axes[1:]:
        axis.xaxis.set_major_locator(MaxNLocator(4))
    letter(axes)
    return figure

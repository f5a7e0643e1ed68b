"""What a network computes of its features: slopes, interactions, and how much of it they are."""

import matplotlib.pyplot as plt
import numpy as np

from paperlib.companion.figures.style import WIDTH, hue, letter, styled

__all__ = ["interactions"]


@styled
def interactions(features, slopes, hessian, pairs, strengths, errors, unexplained):
    """A network's first and second order beside other measures of effects, and what an expansion leaves unexplained.

    Parameters
    ----------
    features : sequence of str
    slopes : three ndarrays, shape (d,)
        At the centre, their standard errors, and another measure of main effects on their scale.
    hessian : ndarray, shape (d, d)
        In the same units.
    pairs : sequence of str
        The strongest interactions, in turn.
    strengths : dict of str to ndarray, shape (pairs,)
        By measure; the first is drawn as bars.
    errors : ndarray, shape (pairs,)
        Standard errors of the first.
    unexplained : dict of str to ndarray, shape (members, orders)
        By centre, shares of the network's variation.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.4), width_ratios=(1, 1.15))
    axes = axes.ravel()
    _bars(axes[0], features, np.abs(slopes[0]), slopes[1])
    axes[0].plot(slopes[2], -np.arange(len(features)), "D", color="C1", markersize=4, label="permutation importance")
    axes[0].set(xlabel=r"main effect, $|g_i|\,\sigma_i$")
    axes[0].legend(loc="lower right")

    largest = np.abs(hessian).max()
    image = axes[1].imshow(hessian, cmap="RdBu_r", vmin=-largest, vmax=largest)
    ticks = range(len(features))
    axes[1].set_xticks(ticks, features, rotation=90)
    axes[1].set_yticks(ticks, features)
    figure.colorbar(image, ax=axes[1], shrink=0.85, label=r"$T_{ij}\,\sigma_i\sigma_j$")

    (first, values), *others = strengths.items()
    _bars(axes[2], pairs, values, errors, label=first)
    for number, (name, found) in enumerate(others, 1):
        axes[2].plot(found, -np.arange(len(pairs)), "sD"[number % 2], color=f"C{number}", markersize=4, label=name)
    axes[2].set(xlabel="strength of an interaction", ylim=(-len(pairs) - 2.7, 0.6))  # room for the legend
    axes[2].legend(loc="lower right")

    for number, (name, shares) in enumerate(unexplained.items()):
        orders = np.arange(1, shares.shape[1] + 1)
        axes[3].fill_between(orders, shares.min(axis=0), shares.max(axis=0), color=hue(number), alpha=0.2, linewidth=0)
        axes[3].semilogy(
            orders, shares.mean(axis=0), "os"[number % 2] + "-", color=f"C{number}", markersize=4, label=name
        )
    axes[3].set(xlabel="order of the expansion", ylabel="share left unexplained", xticks=orders)
    axes[3].legend()
    letter(axes)
    return figure


def _bars(axis, names, values, errors, **label):
    """Horizontal bars from the top down, each with its error."""
    rows = -np.arange(len(names))
    axis.barh(rows, values, xerr=errors, color=hue(0), alpha=0.55, height=0.65, error_kw={"linewidth": 0.9}, **label)
    axis.set_yticks(rows, names)
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(0, None)

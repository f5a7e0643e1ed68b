"""Draw figures of trained networks: their predictions, their derivatives, and the effects of their features."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paperlib._support.validation import Floats
from paperlib.companion.figures import style

__all__ = ["interactions", "optimizers", "overview", "retrainings", "trained_ensemble"]


@style.applied
def optimizers(
    names: Sequence[str],
    fits: Sequence[str],
    seconds: Floats,
    errors: Floats,
    orders: Sequence[int] = (2, 3),
) -> Figure:
    """Draw the error of learned tensors against training time, for several optimisers and fitted quantities.

    Parameters
    ----------
    names : sequence of str
        Names of the optimisers.
    fits : sequence of str
        Names of the fitted quantities, at most three.
    seconds : ndarray, shape (optimisers, fits, budgets)
        Training times of all members together, in seconds.
    errors : ndarray, shape (optimisers, fits, budgets, all orders, members)
        Relative errors of the learned tensors in the Frobenius norm.
    orders : sequence of int
        The orders to draw.

    Returns
    -------
    Figure
        One panel for each of `orders`, with the median and the range over members.

    Examples
    --------
    >>> seconds, errors = np.array([[[1.0, 2.0]]]), np.array([[[[[0.2, 0.3]] * 2, [[0.1, 0.2]] * 2]]])
    >>> figure = optimizers(["Adam"], ["values"], seconds, errors, orders=(1, 2))
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, len(orders), figsize=(style.WIDTH, 3.1), sharex=True)
    for axis, order in zip(axes, orders, strict=True):
        for k, name in enumerate(names):
            for m, (fit, line) in enumerate(zip(fits, ("o:", "s--", "^-"))):
                found = errors[k, m, :, order - 1]
                middle = np.median(found, axis=-1)
                spread = [middle - found.min(axis=-1), found.max(axis=-1) - middle]
                look = {
                    "color": style.hue(k),
                    "markersize": 3.5,
                    "linewidth": 1,
                    "elinewidth": 0.7,
                }
                axis.errorbar(
                    seconds[k, m],
                    middle,
                    spread,
                    fmt=line,
                    label=f"{name}, {fit}",
                    **look,
                )
        axis.set(xscale="log", yscale="log", xlabel="training time (s), all members")
        axis.set_ylabel(f"relative error, order {order}")
        axis.axhline(1, color="0.7", linewidth=0.6)
    style.legend_above(axes[0], len(names))
    return style.lettered(figure, axes)


@style.applied
def overview(
    U: Floats,
    depths: Floats,
    exact: Floats,
    born: Floats,
    network: Floats,
    spread: Floats,
    trained: tuple[float, float],
) -> Figure:
    """Draw a potential and its a_0 against the depth: exact, by orders of the Born series, and by networks.

    Parameters
    ----------
    U : ndarray, shape (d,)
        The potential at depth one.
    depths : ndarray, shape (n,)
        Depths of the potential.
    exact : ndarray, shape (n,)
        The exact scattering length, in units of the range.
    born : ndarray, shape (n, orders)
        Born approximations of the scattering length to orders 1, 2, .., in units of the
        range.
    network : ndarray, shape (n,)
        The mean prediction of the networks, in units of the range.
    spread : ndarray, shape (n,)
        The standard deviation of the predictions over the members.
    trained : tuple of two floats
        The smallest and the largest depth of the training data.

    Returns
    -------
    Figure
        Two panels. A grey band marks the depths of the training data.

    Examples
    --------
    >>> depths = np.linspace(0.1, 1.0, 4)
    >>> a0, born = -depths / 3, np.stack([-depths / 3], axis=1)
    >>> figure = overview(np.ones(8), depths, a0, born, a0, 0.1 * depths, (0.2, 0.8))
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 2.8), width_ratios=(1, 2))
    axes[0].stairs(U, np.linspace(0, 1, len(U) + 1), fill=True, color="C5", alpha=0.6)
    axes[0].set(
        xlabel="r / range",
        ylabel="U(r) at depth 1",
        xlim=(0, 1),
        ylim=(0, 1.05 * U.max()),
    )
    axes[1].plot(depths, exact, **style.EXACT)
    for n, values in enumerate(born.T):
        axes[1].plot(
            depths, values, ("C2--", "C3-.", "C4:")[n % 3], label=f"Born {n + 1}"
        )
    axes[1].fill_between(
        depths,
        network - spread,
        network + spread,
        color=style.hue(1),
        alpha=0.25,
        linewidth=0,
    )
    axes[1].plot(depths, network, color="C1", label="networks")
    axes[1].axvspan(*trained, color="0.93", linewidth=0, zorder=-1)
    style.note(
        axes[1],
        "trained here",
        (trained[1], 0),
        (-4, -4),
        ha="right",
        va="top",
        color="0.3",
        fontsize=7,
    )
    axes[1].set(xlabel="depth", ylabel=r"$a_0$ / range", xlim=(0, depths[-1]))
    axes[1].legend(loc="lower left")
    return style.lettered(figure, axes)


@style.applied
def trained_ensemble(
    steps: Floats, loss: Floats, validation: Floats, exact: Floats, predicted: Floats
) -> Figure:
    """Draw learning curves, predicted against exact scattering lengths, and relative errors of the predictions.

    Parameters
    ----------
    steps : ndarray, shape (epochs,)
        Training steps at which the losses were recorded.
    loss, validation : ndarray, shape (epochs, members)
        Mean squared errors on training and held-out data, in units of the variance of
        the target.
    exact : ndarray, shape (n,)
        Exact scattering lengths, in units of the range.
    predicted : ndarray, shape (members, n)
        Predicted scattering lengths, in units of the range.

    Returns
    -------
    Figure
        Three panels. Errors in the third are averaged over 20 bins of `exact`, or drawn
        as dots for the mean.

    Examples
    --------
    >>> steps, loss = np.arange(3), np.full((3, 2), 0.1)
    >>> exact = np.linspace(-2.0, -1.0, 40)
    >>> figure = trained_ensemble(steps, loss, loss, exact, np.stack([1.01 * exact, 0.98 * exact]))
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, 3, figsize=(style.WIDTH, 2.5))
    for curves, color, name in (
        (loss, style.hue(0), "training"),
        (validation, style.hue(1), "held out"),
    ):
        rms = np.sqrt(curves)
        axes[0].fill_between(
            steps,
            rms.min(axis=1),
            rms.max(axis=1),
            color=color,
            alpha=0.25,
            linewidth=0,
        )
        axes[0].semilogy(steps, np.median(rms, axis=1), color=color, label=name)
    axes[0].set(
        xlabel="steps", ylabel="rms error / spread of $a_0$", xlim=(0, steps[-1])
    )
    axes[0].legend()
    mean = predicted.mean(axis=0)
    ends = [exact.min(), exact.max()]
    axes[1].plot(exact, mean, ".", color="C0", markersize=1.5, rasterized=True)
    axes[1].plot(ends, ends, color="black", linewidth=0.8)
    axes[1].set(xlabel=r"exact $a_0$ / range", ylabel=r"ensemble mean of $a_0$ / range")
    order = np.argsort(exact)
    averaged = 100 * np.abs(mean / exact - 1)
    axes[2].semilogy(
        exact[order],
        averaged[order],
        ".",
        color="0.8",
        markersize=1.5,
        rasterized=True,
        zorder=0,
    )

    def binned(values: Floats) -> list[float]:
        return [part.mean() for part in np.array_split(values[order], 20)]

    for number, errors in enumerate(100 * np.abs(predicted / exact - 1)):
        label = None if number else "members"
        axes[2].semilogy(
            binned(exact), binned(errors), color="C1", linewidth=0.9, label=label
        )
    axes[2].semilogy(
        binned(exact), binned(averaged), color="C0", linewidth=2, label="ensemble mean"
    )
    axes[2].set(xlabel=r"exact $a_0$ / range", ylabel="relative error (%)")
    axes[2].set_ylim(averaged[averaged > 0].min() * 30, None)
    axes[2].legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none")
    for axis in axes[1:]:
        axis.xaxis.set_major_locator(MaxNLocator(4))
    return style.lettered(figure, axes)


@style.applied
def interactions(
    features: Sequence[str],
    slopes: Sequence[Floats],
    hessian: Floats,
    pairs: Sequence[str],
    strengths: Mapping[str, Floats],
    errors: Floats,
    unexplained: Mapping[str, Floats],
) -> Figure:
    """Compare first and second derivatives of a network with other measures of effects.

    Parameters
    ----------
    features : sequence of str
        Names of the features.
    slopes : sequence of three ndarrays, shape (d,) each
        Slopes at the expansion point, their standard errors, and another measure of
        main effects on the same scale.
    hessian : ndarray, shape (d, d)
        Second derivatives in the same units.
    pairs : sequence of str
        Names of the pairs of features.
    strengths : mapping of str to ndarray, shape (pairs,)
        Strengths of the interactions by name of the measure. The first measure is drawn
        as bars.
    errors : ndarray, shape (pairs,)
        Standard errors of the first measure.
    unexplained : mapping of str to ndarray, shape (members, orders)
        For each expansion point by name, the share of the network's variation that the
        expansion leaves unexplained.

    Returns
    -------
    Figure
        Four panels: main effects, Hessian, interactions, and unexplained shares.

    Examples
    --------
    >>> one, three = np.ones(2), np.ones(3)
    >>> names, shares = ["a", "b"], {"mean": np.array([[0.5, 0.1], [0.4, 0.2]])}
    >>> pairs, strengths = ["a, a", "a, b", "b, b"], {"Hessian": three, "other": three}
    >>> figure = interactions(names, [one, 0.1 * one, one], np.eye(2), pairs, strengths, 0.1 * three, shares)
    >>> plt.close(figure)
    """
    figure, grid = plt.subplots(
        2, 2, figsize=(style.WIDTH, 5.4), width_ratios=(1, 1.15)
    )
    axes = grid.ravel()
    rows = _bars(axes[0], features, np.abs(slopes[0]), slopes[1])
    axes[0].plot(
        slopes[2], rows, "D", color="C1", markersize=4, label="permutation importance"
    )
    axes[0].set(xlabel=r"main effect, $|g_i|\,\sigma_i$")
    axes[0].legend(loc="lower right")

    style.signed_image(axes[1], hessian, label=r"$T_{ij}\,\sigma_i\sigma_j$")
    axes[1].set_xticks(range(len(features)), features, rotation=90)
    axes[1].set_yticks(range(len(features)), features)

    (first, values), *others = strengths.items()
    rows = _bars(axes[2], pairs, values, errors, label=first)
    for number, (name, found) in enumerate(others, 1):
        axes[2].plot(
            found, rows, "sD"[number % 2], color=f"C{number}", markersize=4, label=name
        )
    # leave space for the legend
    axes[2].set(xlabel="strength of an interaction", ylim=(-len(pairs) - 2.7, 0.6))
    axes[2].legend(loc="lower right")

    for number, (name, shares) in enumerate(unexplained.items()):
        orders = np.arange(1, shares.shape[1] + 1)
        least, most = shares.min(axis=0), shares.max(axis=0)
        axes[3].fill_between(
            orders, least, most, color=style.hue(number), alpha=0.2, linewidth=0
        )
        line = ("o-", "s-")[number % 2]
        axes[3].semilogy(
            orders,
            shares.mean(axis=0),
            line,
            color=f"C{number}",
            markersize=4,
            label=name,
        )
    axes[3].set(
        xlabel="order of the expansion", ylabel="share left unexplained", xticks=orders
    )
    axes[3].legend()
    return style.lettered(figure, axes)


def _bars(
    axis: Axes, names: Sequence[str], values: Floats, errors: Floats, label: str = ""
) -> Floats:
    """Draw horizontal bars with error bars from the top down.

    `names`, `values` and `errors` have an entry for each bar. Return the vertical positions of the bars, shape
    (names,).
    """
    rows = style.named_rows(axis, names)
    axis.barh(
        rows,
        values,
        xerr=errors,
        color=style.hue(0),
        alpha=0.55,
        height=0.65,
        error_kw={"linewidth": 0.9},
        label=label,
    )
    axis.set_xlim(0, None)
    return rows


@style.applied
def retrainings(
    labels: Sequence[str], values: Sequence[Floats], bounds: Sequence[Sequence[float]]
) -> Figure:
    """Draw numbers over repeated trainings as multiples of the stored number, with their bounds.

    Parameters
    ----------
    labels : sequence of str
        Names of the numbers, one for each row.
    values : sequence of ndarray, shape (trainings,) each
        Values of each number over the trainings, in units of the stored value.
    bounds : sequence of sequence of float
        One or two bounds of each number, in units of the stored value.

    Returns
    -------
    Figure
        One row for each number. Thick lines span three standard deviations of the
        logarithm on either side.

    Examples
    --------
    >>> figure = retrainings(["error"], [np.array([0.9, 1.0, 1.1])], [[1.5]])
    >>> plt.close(figure)
    """
    figure, axis = plt.subplots(figsize=(style.WIDTH, 0.17 * len(labels) + 0.9))
    rows = style.named_rows(axis, labels, fontsize=6.5)
    for row, found, bound in zip(rows, values, bounds, strict=True):
        middle, width = np.log(found).mean(), np.log(found).std(ddof=1)
        axis.hlines(
            row,
            *np.exp([middle - 3 * width, middle + 3 * width]),
            color=style.hue(0),
            linewidth=3,
            alpha=0.25,
        )
        axis.plot(found, np.full(len(found), row), ".", color="C0", markersize=4)
        axis.plot(
            bound,
            np.full(len(bound), row),
            "|",
            color="C1",
            markersize=8,
            markeredgewidth=1.5,
        )
    axis.axvline(1, color="0.6", linewidth=0.7)
    axis.set(
        xscale="log", xlabel="in units of the stored number", ylim=(rows[-1] - 0.5, 0.5)
    )
    return figure

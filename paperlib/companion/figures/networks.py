"""Draw figures of trained networks: predictions, derivatives, and feature effects."""

from collections.abc import Mapping, Sequence

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
    """Draw the error of learned tensors against training time.

    Optimisers and fitted quantities are compared.

    Parameters
    ----------
    names : sequence of str
        Names of the optimisers.
    fits : sequence of str
        Names of the fitted quantities, at most three.
    seconds : ndarray, shape (optimisers, fits, budgets)
        Training times of all members together, in seconds.
    errors : ndarray, shape (optimisers, fits, budgets, all orders, members)
        Relative errors of the learned tensors in the Frobenius norm. The axis of all
        orders has the orders 1, 2, ..
    orders : sequence of int
        The orders to draw, at least two.

    Returns
    -------
    Figure
        One panel for each of `orders`, with the median and the range over members.

    Examples
    --------
    >>> seconds = np.array([[[1.0, 2.0]]])
    >>> errors = np.array([[[[[0.2, 0.3]] * 2, [[0.1, 0.2]] * 2]]])
    >>> len(optimizers(["Adam"], ["values"], seconds, errors, orders=(1, 2)).axes)
    2
    """
    figure, axes = style.panels(len(orders), 3.1, sharex=True)
    for axis, order in zip(axes, orders):
        for k, name in enumerate(names):
            for m, (fit, line) in enumerate(zip(fits, ("o:", "s--", "^-"))):
                members = errors[k, m, :, order - 1]
                middle = np.median(members, axis=-1)
                ends = [members.min(axis=-1), members.max(axis=-1)]
                axis.errorbar(
                    seconds[k, m],
                    middle,
                    np.abs(ends - middle),
                    fmt=line,
                    label=f"{name}, {fit}",
                    color=f"C{k}",
                    markersize=3.5,
                    linewidth=1,
                    elinewidth=0.7,
                )
        axis.set(xscale="log", yscale="log", xlabel="training time (s), all members")
        axis.set_ylabel(f"relative error, order {order}")
        axis.axhline(1, color="0.7", linewidth=0.6)
    style.shared_legend(axes[0], ncols=len(names))
    return figure


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
    """Draw a potential, and next to it its scattering length against the depth.

    The scattering length is drawn exactly, to the first orders of the Born series, and
    as networks predict it.

    Parameters
    ----------
    U : ndarray, shape (d,)
        The potential at depth one, not negative.
    depths : ndarray, shape (n,)
        Depths of the potential, positive and ascending. The axis begins at 0.
    exact : ndarray, shape (n,)
        The exact scattering length, in units of the range.
    born : ndarray, shape (n, orders)
        Born approximations of the scattering length to orders 1, 2, .., in units of the
        range.
    network : ndarray, shape (n,)
        The mean prediction of the networks, in units of the range.
    spread : ndarray, shape (n,)
        The standard deviation of the predictions over the members, in units of the
        range.
    trained : tuple of two floats
        The smallest and the largest depth of the training data.

    Returns
    -------
    Figure
        Two panels: U(r), and the scattering length. A coloured band is `network` plus
        or minus `spread`, and a grey band marks the depths of the training data.

    Examples
    --------
    >>> depths = np.linspace(0.1, 1.0, 4)
    >>> a0, born = -depths / 3, np.stack([-depths / 3], axis=1)
    >>> len(overview(np.ones(8), depths, a0, born, a0, 0.1 * depths, (0.2, 0.8)).axes)
    2
    """
    figure, (shape, lengths) = style.panels(2, 2.8, width_ratios=(1, 2))
    style.shells(shape, U, fill=True, color="C5", alpha=0.6)
    shape.set(
        xlabel="r / range",
        ylabel="U(r) at depth 1",
        xlim=(0, 1),
        ylim=(0, 1.05 * U.max()),
    )
    lengths.plot(depths, exact, **style.EXACT)
    for n, values in enumerate(born.T):
        line = ("C2--", "C3-.", "C4:")[n % 3]
        lengths.plot(depths, values, line, label=f"Born {n + 1}")
    style.band(lengths, depths, [network - spread, network + spread], "C1")
    lengths.plot(depths, network, color="C1", label="networks")
    lengths.axvspan(*trained, color="0.93", linewidth=0, zorder=-1)
    at = (trained[1], 0)
    lengths.annotate("trained here", at, (-4, -4), **style.LEFT_NOTE)
    lengths.set(xlabel="depth", ylabel=r"$a_0$ / range", xlim=(0, depths[-1]))
    lengths.legend(loc="lower left")
    return figure


@style.applied
def trained_ensemble(
    steps: Floats,
    loss: Floats,
    validation: Floats,
    exact: Floats,
    predicted: Floats,
    families: Sequence[str],
    ratios: Mapping[str, Floats],
) -> Figure:
    """Draw the learning curves of an ensemble and the errors of its predictions.

    Parameters
    ----------
    steps : ndarray, shape (epochs,)
        Training steps at which the losses were recorded.
    loss, validation : ndarray, shape (epochs, members)
        Mean squared errors on training and held-out data, in units of the variance of
        the target. Their square roots are drawn: a line for the median over members,
        and a band from the smallest to the largest.
    exact : ndarray, shape (n,)
        Exact scattering lengths, in units of the range.
    predicted : ndarray, shape (members, n)
        Predicted scattering lengths, in units of the range.
    families : sequence of str
        Names of the families of potentials.
    ratios : mapping of str to ndarray, shape (families, members)
        For each training by name, the errors of its networks on the families, in units
        of the error of another method.

    Returns
    -------
    Figure
        Three panels. The second has residuals: a dot for each sample and the mean over
        members, and lines for the root mean squares in 20 bins of `exact`, on both
        sides of zero. The third has the geometric mean of the ratios over the members,
        and their range.

    Examples
    --------
    >>> steps, loss = np.arange(3), np.full((3, 2), 0.1)
    >>> exact = np.linspace(-2.0, -1.0, 40)
    >>> predicted = np.stack([1.01 * exact, 0.98 * exact])
    >>> ratios = {"SOAP": np.array([[0.1, 0.2]])}
    >>> figure = trained_ensemble(
    ...     steps, loss, loss, exact, predicted, ["Gaussian"], ratios
    ... )
    >>> len(figure.axes)
    3
    """
    figure, axes = style.panels(3, 2.7, width_ratios=(1, 1, 1.1))
    losses, residuals, errors = axes
    for curves, color, name in (
        (loss, "C0", "training"),
        (validation, "C1", "held out"),
    ):
        rms = np.sqrt(curves)
        style.band(losses, steps, rms.T, color)
        losses.semilogy(steps, np.median(rms, axis=1), color=color, label=name)
    losses.set(xlabel="steps", ylabel="rms error / standard deviation")
    losses.set_xlim(0, steps[-1])
    losses.legend()
    _draw_residuals(residuals, exact, predicted)
    _draw_ratios(errors, families, ratios)
    return figure


def _draw_residuals(axis: Axes, exact: Floats, predicted: Floats) -> None:
    """Draw the residuals of all members and of their mean, in millionths.

    `exact` has shape (n,), and `predicted` has shape (members, n). A dot is the
    residual of the members' mean for one sample. Lines are root mean squares over 20
    bins of `exact`, which have equal numbers of samples, up to one. They are drawn on
    both sides of zero.
    """
    order = np.argsort(exact)

    def binned(values: Floats) -> Floats:
        return np.array([part.mean() for part in np.array_split(values[order], 20)])

    centres, mean = binned(exact), 1e6 * (predicted.mean(axis=0) - exact)
    style.dots(axis, exact, mean, "0.8", markersize=1.5, zorder=0)
    members = [np.sqrt(binned(row**2)) for row in 1e6 * (predicted - exact)]
    width = np.sqrt(binned(mean**2))
    for sign in (1, -1):
        lines = axis.plot(centres, sign * np.transpose(members), "C1", linewidth=0.9)
        [middle] = axis.plot(centres, sign * width, "C0", linewidth=2)
    lines[0].set_label("rms of a member")  # one entry of the legend for all members
    middle.set_label("rms of the mean")
    largest = 2.5 * np.max(members)
    axis.set(
        xlabel=r"exact $a_0$ / range",
        ylabel=r"residual of $a_0$ / range ($10^{-6}$)",
        ylim=(-largest, largest),
    )
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none")


def _draw_ratios(
    axis: Axes, families: Sequence[str], ratios: Mapping[str, Floats]
) -> None:
    """Draw ratios of errors, with a row for each family from the top down.

    `ratios` has an array of shape (families, members) for each training by name. A mark
    is the geometric mean over the members, and the line through it their range.
    """
    rows = style.named_rows(axis, families)
    for number, (name, values) in enumerate(ratios.items()):
        middle = np.exp(np.log(values).mean(axis=1))
        ends = np.array([values.min(axis=1), values.max(axis=1)])
        axis.errorbar(
            middle,
            rows - 0.18 * (number - (len(ratios) - 1) / 2),
            xerr=np.abs(ends - middle),
            fmt="osD^"[number % 4],
            color=f"C{number}",
            markersize=3.5,
            elinewidth=0.8,
            label=name,
        )
    axis.axvline(1, **style.UNITY)
    axis.set(xscale="log", xlabel="error / error of second Born")
    axis.set_ylim(rows[-1] - 0.5, 0.5)
    style.shared_legend(axis)


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
        Slopes at the expansion point, their standard errors, and the permutation
        importance of each feature on the same scale.
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
    >>> slopes, errors = [one, 0.1 * one, one], 0.1 * three
    >>> figure = interactions(
    ...     names, slopes, np.eye(2), pairs, strengths, errors, shares
    ... )
    >>> len(figure.axes)  # four panels and a colour bar
    5
    """
    figure, grid = style.panels(2, 5.4, rows=2, width_ratios=(1, 1.15))
    main, matrix, products, remainders = grid.flat
    rows = _bars(main, features, np.abs(slopes[0]), slopes[1])
    main.plot(
        slopes[2], rows, "D", color="C1", markersize=4, label="permutation importance"
    )
    main.set(xlabel=r"main effect, $|g_i|\,\sigma_i$")
    main.legend(loc="lower right")

    style.signed_image(matrix, hessian, label=r"$T_{ij}\,\sigma_i\sigma_j$")
    matrix.set_xticks(range(len(features)), features, rotation=90)
    matrix.set_yticks(range(len(features)), features)

    (first, values), *others = strengths.items()
    rows = _bars(products, pairs, values, errors, label=first)
    for number, (name, values) in enumerate(others, 1):
        mark = "sD"[number % 2]
        products.plot(values, rows, mark, color=f"C{number}", markersize=4, label=name)
    # leave space for the legend
    products.set(xlabel="strength of an interaction", ylim=(-len(pairs) - 2.7, 0.6))
    products.legend(loc="lower right")

    _draw_unexplained(remainders, unexplained)
    return figure


def _draw_unexplained(axis: Axes, unexplained: Mapping[str, Floats]) -> None:
    """Draw the shares that expansions leave unexplained against the order.

    `unexplained` has an array of shares, shape (members, orders), for each expansion
    point by name. Lines are means over the members, and bands reach from the least to
    the largest share.
    """
    for number, (name, shares) in enumerate(unexplained.items()):
        orders, color = np.arange(1, shares.shape[1] + 1), f"C{number}"
        style.band(axis, orders, shares, color, alpha=0.2)
        line = ("o-", "s-")[number % 2]
        axis.semilogy(
            orders, shares.mean(axis=0), line, color=color, markersize=4, label=name
        )
    axis.set(
        xlabel="order of the expansion", ylabel="share left unexplained", xticks=orders
    )
    axis.legend()


def _bars(
    axis: Axes, names: Sequence[str], values: Floats, errors: Floats, label: str = ""
) -> Floats:
    """Draw horizontal bars with error bars from the top down.

    `names`, `values` and `errors` have an entry for each bar. An error is half the
    length of the error bar. `label` is the name of all bars in a legend. Return the
    vertical positions of the bars, 0, -1, -2, .., shape (names,).
    """
    rows = style.named_rows(axis, names)
    axis.barh(
        rows,
        values,
        xerr=errors,
        alpha=0.55,
        height=0.65,
        error_kw={"linewidth": 0.9},
        label=label,
    )
    axis.set_xlim(0, None)
    return rows


@style.applied
def retrainings(
    labels: Sequence[str], values: Sequence[Floats], guards: Sequence[Sequence[float]]
) -> Figure:
    """Draw numbers over repeated trainings, in units of the stored number.

    Parameters
    ----------
    labels : sequence of str
        Meanings of the numbers, one for each row.
    values : sequence of ndarray, shape (trainings,) each
        Values of each number over the trainings, in units of the stored value.
    guards : sequence of sequence of float
        One or two guards of each number, in units of the stored value.

    Returns
    -------
    Figure
        One row for each number. Thick lines span three standard deviations of the
        logarithm on either side. A guard is a hollow triangle that points to the
        values that keep it.

    Examples
    --------
    >>> len(retrainings(["error"], [np.array([0.9, 1.0, 1.1])], [[1.5]]).axes)
    1
    """
    figure, axis = style.panels(1, 0.17 * len(labels) + 1.1)
    rows = style.named_rows(axis, labels, fontsize=6.5)
    logs = [np.log(trained) for trained in values]
    middle = np.array([each.mean() for each in logs])
    width = np.array([3 * each.std(ddof=1) for each in logs])
    ends = np.exp(middle - width), np.exp(middle + width)
    band: style.Look = {"linewidth": 3, "alpha": 0.25, "label": "3 standard deviations"}
    axis.hlines(rows, *ends, color="C0", **band)
    places = np.repeat(rows, [len(trained) for trained in values])
    axis.plot(np.concatenate(values), places, "C0.", markersize=4, label="trainings")
    hollow: style.Look = {"markeredgecolor": "0.45", "markerfacecolor": "none"}
    for row, guard in zip(rows, guards, strict=True):
        for each in guard:
            [last] = axis.plot([each], [row], "<" if each > 1 else ">", **hollow)
    last.set_label("guard (decides no claim)")  # one entry for all guards
    axis.axvline(1, **style.UNITY)
    axis.set(
        xscale="log", xlabel="in units of the stored number", ylim=(rows[-1] - 0.5, 0.5)
    )
    style.shared_legend(axis)
    return figure

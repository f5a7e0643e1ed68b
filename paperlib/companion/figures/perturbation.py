"""Draw figures of the series that networks learned, and of its range of validity."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paperlib._support.validation import Floats
from paperlib.companion.figures import style

__all__ = [
    "beyond_the_radius",
    "centres_of_expansion",
    "error_bars",
    "generality",
    "iterations",
    "learned_tensors",
    "lengths_of_training",
    "local_interpretation",
    "machine_learned_born",
    "protocols",
    "taylor_against_born",
]


@style.applied
def taylor_against_born(exact: Floats, learned: Mapping[str, Floats]) -> Figure:
    """Draw the differences between the Taylor terms of networks and the Born terms.

    Each dot is a potential.

    Parameters
    ----------
    exact : ndarray, shape (n, orders)
        Born terms of n potentials, in units of the range, not zero.
    learned : mapping of str to ndarray, shape (n, orders)
        Taylor terms of the networks by name, in units of the range.

    Returns
    -------
    Figure
        One panel for each order. The vertical coordinate is the relative difference.

    Examples
    --------
    >>> exact = -np.array([[0.1, 0.01], [0.2, 0.04]])
    >>> figure = taylor_against_born(exact, {"networks": 1.1 * exact})
    >>> plt.close(figure)
    """
    figure, axes = style.panels(len(exact.T), 2.7, sharey=True)
    for n, axis in enumerate(axes):
        for number, (name, terms) in enumerate(learned.items()):
            difference = np.abs(terms[:, n] / exact[:, n] - 1)
            color = f"C{1 - number}"
            style.dots(axis, exact[:, n], difference, color, label=name)
        axis.axhline(1, **style.RADIUS)
        axis.set(xlabel=rf"Born term $a^{{({n + 1})}}$", yscale="log")
        axis.set_xlim(1.05 * exact[:, n].min(), 0)
        axis.ticklabel_format(axis="x", style="sci", scilimits=(-2, 2))
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_ylabel("relative difference of the Taylor term")
    style.shared_legend(axes[0], markerscale=3)
    return figure


@style.applied
def lengths_of_training(
    lengths: Sequence[int], errors: Mapping[str, Floats], limit: float
) -> Figure:
    """Draw the errors of single networks against the number of training steps.

    Parameters
    ----------
    lengths : sequence of int
        Numbers of steps.
    errors : mapping of str to ndarray, shape (lengths, seeds, orders)
        Relative errors of the tensors of one network for each seed, by the name of the
        optimiser.
    limit : float
        An error that is marked by a horizontal line.

    Returns
    -------
    Figure
        One panel for each order. Lines are medians over the seeds, and bands extend
        from the first to the third quartile.

    Examples
    --------
    >>> figure = lengths_of_training([1, 2], {"SOAP": np.ones((2, 3, 1))}, 0.5)
    >>> plt.close(figure)
    """
    orders = next(iter(errors.values())).shape[-1]
    figure, _ = style.panels(orders, 2.7, sharey=True)
    for n, axis in enumerate(figure.axes):
        for number, (name, values) in enumerate(errors.items()):
            quartiles = np.quantile(values[:, :, n], (0.25, 0.5, 0.75), axis=1)
            color = f"C{number}"
            axis.loglog(lengths, quartiles[1], "o-", color=color, label=name)
            style.band(axis, np.asarray(lengths), quartiles, color, alpha=0.2)
        axis.axhline(limit, **style.RADIUS)
        axis.set(xlabel="steps", title=f"order {n + 1}")
    figure.axes[0].set_ylabel("relative error of the tensor")
    style.shared_legend(figure.axes[0])
    return figure


@style.applied
def error_bars(ratios: Mapping[str, Floats]) -> Figure:
    """Draw the true errors of learned terms in units of their standard errors.

    Parameters
    ----------
    ratios : mapping of str to ndarray, shape (n, orders)
        For each series by name, the error of each term of n potentials, divided by its
        standard error.

    Returns
    -------
    Figure
        One panel for each series. Each dot is a potential, and the band contains errors
        of at most two standard errors.

    Examples
    --------
    >>> figure = error_bars({"learned": np.array([[0.5, 3.0], [1.0, 2.0]])})
    >>> plt.close(figure)
    """
    figure, _ = style.panels(len(ratios), 2.7, sharey=True)
    for axis, (name, values) in zip(figure.axes, ratios.items()):
        least = 1e-2  # smaller errors are drawn here
        axis.axhspan(least, 2, color="0.9", linewidth=0)
        for n, column in enumerate(np.abs(values).T):
            shifts = n + 1 + np.linspace(-0.2, 0.2, len(column))
            style.dots(axis, shifts, np.maximum(column, least), f"C{n}")
        axis.set(yscale="log", xlabel="order", title=name)
        axis.set_xticks(range(1, 1 + values.shape[1]))
    figure.axes[0].set_ylabel("error / standard error")
    return figure


@style.applied
def local_interpretation(
    eigenvalues: Floats,
    network_errors: Floats,
    born_errors: Floats,
    depths: Floats,
    centre_errors: Mapping[str, Floats],
) -> Figure:
    """Draw the errors of low orders against the eigenvalue and the expansion point.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,)
        The largest Weinberg eigenvalue of each potential, positive, as of attractive
        potentials. The Born series converges where it is below 1.
    network_errors, born_errors : ndarray, shape (n, orders)
        Relative errors of a_0 as approximated to orders 1, 2, .. by the Taylor series
        of a network, and by the Born series.
    depths : ndarray, shape (m,)
        Depths of a square well.
    centre_errors : mapping of str to ndarray, shape (m,)
        Relative errors of a_0 by the second-order Taylor polynomial of a network, for
        each expansion point by name.

    Returns
    -------
    Figure
        Two panels. The first marks the radius of convergence.

    Examples
    --------
    >>> x = np.array([0.1, 0.5, 0.9])
    >>> errors = np.stack([x, x**2], axis=1)
    >>> figure = local_interpretation(x, errors, errors, x, {"U = 0": x**3})
    >>> plt.close(figure)
    """
    figure, (local, expanded) = style.panels(2, 3.0, width_ratios=(1.2, 1))
    order = np.argsort(eigenvalues)
    for n, (network, born) in enumerate(zip(network_errors.T, born_errors.T)):
        style.dots(local, eigenvalues, network, f"C{n}")
        local.loglog(
            eigenvalues[order],
            born[order],
            color=f"C{n}",
            linewidth=0.8,
            label=f"order {n + 1}",
        )
    local.axvline(1, **style.RADIUS)
    local.set(xlabel="largest Weinberg eigenvalue", ylabel=r"relative error of $a_0$")
    local.legend(title="dots networks, lines Born")
    for name, errors in centre_errors.items():
        expanded.semilogy(depths, errors, label=name)
    expanded.set(xlabel="depth of a square well", xlim=depths[[0, -1]])
    expanded.set_ylabel(r"relative error of $a_0$, second order")
    expanded.legend(title="expanded around")
    return figure


@style.applied
def centres_of_expansion(
    centres: Floats, errors: Mapping[str, Floats], means: Mapping[str, Floats]
) -> Figure:
    """Draw the errors of networks' derivatives against the centre of expansion.

    Parameters
    ----------
    centres : ndarray, shape (n,)
        The depths c of the square wells U_i = c at which derivatives are computed, in
        ascending order.
    errors : mapping of str to ndarray, shape (n, orders)
        Relative errors of the derivatives of orders 1, 2, .. for each ensemble by name.
    means : mapping of str to ndarray, shape (samples,)
        For the same names, the mean of U_i over the shells of each potential of a
        sample of the training potentials.

    Returns
    -------
    Figure
        One column of two panels for each ensemble: the errors, and the distribution of
        the means. The central 90 % of the means are shaded in both panels, and a
        vertical line marks U = 0.

    Examples
    --------
    >>> c, errors = np.array([-0.2, 0.0, 0.2]), np.array([[0.3, 2], [0.1, 1], [0.2, 2]])
    >>> figure = centres_of_expansion(c, {"networks": errors}, {"networks": c})
    >>> plt.close(figure)
    """
    layout = {"sharex": True, "sharey": "row", "height_ratios": (5, 1)}
    figure, axes = style.panels(
        len(errors), 3.4, rows=2, letters=False, squeeze=False, **layout
    )
    for (name, values), (upper, lower) in zip(errors.items(), axes.T):
        for n, curve in enumerate(values.T):
            upper.semilogy(centres, curve, color=f"C{n}", label=f"order {n + 1}")
        upper.axhline(1, **style.UNITY)
        upper.set_title(name)
        ends = (centres[0], centres[-1])
        lower.hist(means[name], 50, range=ends, color="0.55")
        for axis in (upper, lower):
            most = np.quantile(means[name], (0.05, 0.95))
            axis.axvspan(*most, color="0.9", zorder=0, label="90 % of the data")
            axis.axvline(0, **style.EQUAL, label="U = 0")
        lower.set(xlabel="centre c: all $U_i = c$", xlim=ends, yticks=[])
        lower.locator_params(axis="x", nbins=6)
    axes[0, 0].set_ylabel("relative error of the derivatives")
    axes[1, 0].set_ylabel("data")
    style.shared_legend(axes[0, 0])
    return figure


@style.applied
def iterations(errors: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Draw the errors of the learned tensors after each iteration.

    Parameters
    ----------
    errors : mapping of str to sequence of sequence of float
        For each protocol by name and each iteration k, the relative errors of the
        tensors of orders 1 to k.

    Returns
    -------
    Figure
        One panel for each protocol.

    Examples
    --------
    >>> rows = [[0.1], [0.1, 0.3]]
    >>> iterations({"signed": rows, "attractive": rows})       # doctest: +ELLIPSIS
    <Figure size ... with 2 Axes>
    """
    figure, axes = style.panels(len(errors), 2.8, sharey=True)
    for axis, (name, rows) in zip(axes, errors.items()):
        last = len(rows)
        for n in range(len(rows[-1])):
            values, color = [row[n] for row in rows[n:]], f"C{n}"
            mark = "os^Dv"[n % 5]
            axis.semilogy(
                range(n + 1, last + 1), values, color=color, marker=mark, markersize=4
            )
            end = (last, values[-1])
            axis.annotate(
                f"order {n + 1}",
                end,
                (6, 0),
                textcoords="offset points",
                va="center",
                color=color,
            )
        axis.set(xlabel=f"iterations, {name}", xticks=range(1, last + 1))
        axis.set_xlim(0.8, last + 1.0)
    axes[0].set_ylabel("relative error of the tensor")
    return figure


@style.applied
def learned_tensors(
    exact: Sequence[Floats], learned: Sequence[Floats], what: str, at: int
) -> Figure:
    """Draw learned tensors of orders 1 to 3 and their errors.

    The images have the orientation of a printed matrix: i, the row, increases downwards
    and j, the column, to the right.

    Parameters
    ----------
    exact, learned : sequence of three ndarrays, shapes (d,), (d, d) and (d, d)
        Tensors of orders 1 and 2, and the slice of the tensor of order 3 at the last
        index `at`.
    what : str
        The symbol of the tensors.
    at : int
        The last index of the slice, counted from 1.

    Returns
    -------
    Figure
        Two rows of three panels: the learned tensors, and the differences divided by
        the largest exact entry.

    Examples
    --------
    >>> exact = [np.ones(4), np.eye(4), np.eye(4)]
    >>> figure = learned_tensors(exact, [1.1 * tensor for tensor in exact], "B", 2)
    >>> plt.close(figure)
    """
    figure, axes = style.panels(3, 4.3, rows=2, letters=False)
    d = len(exact[0])
    curves, differences = axes[:, 0]
    curves.plot(range(1, d + 1), exact[0], **style.EXACT)
    curves.plot(range(1, d + 1), learned[0], color="C1", linewidth=1, label="learned")
    curves.legend()
    differences.plot(range(1, d + 1), _differences(exact[0], learned[0]), color="C1")
    differences.ticklabel_format(style="sci", scilimits=(0, 0), axis="y")
    plt.setp(axes[:, 0], xlabel="i", xlim=(1, d))
    for n in (1, 2):
        _draw_matrix(axes[0, n], learned[n])
        _draw_matrix(axes[1, n], _differences(exact[n], learned[n]))
    for n, indices in enumerate(("i", "{ij}", f"{{ij,{at}}}")):
        symbol = f"${what}_{indices}$"
        axes[0, n].set_title(f"{symbol}, learned")
        axes[1, n].set_title(f"(learned − exact) / max |{symbol}|")
    return figure


def _differences(exact: Floats, learned: Floats) -> Floats:
    """Return the difference of a learned and an exact tensor, divided by a number.

    The number is the largest magnitude of an entry of the exact tensor.
    """
    return (learned - exact) / np.abs(exact).max()


def _draw_matrix(axis: Axes, values: Floats) -> None:
    """Draw a matrix as an image with a colour bar, with indices that count from 1."""
    edges = (0.5, len(values) + 0.5)
    bar = style.signed_image(axis, values, extent=(*edges, *edges[::-1]))
    bar.formatter.set_powerlimits((0, 0))  # type: ignore[attr-defined]  # a ScalarFormatter
    axis.set(xlabel="j", ylabel="i")


@style.applied
def machine_learned_born(
    depths: Floats,
    a0: Floats,
    born: Floats,
    learned: Floats,
    errors: Floats,
    names: Sequence[str],
) -> Figure:
    """Draw machine-learned Born approximations of a_0 and their errors.

    Parameters
    ----------
    depths : ndarray, shape (n,)
        Depths of a Gaussian.
    a0 : ndarray, shape (n,)
        Exact scattering lengths, in units of the range.
    born, learned : ndarray, shape (n, orders)
        Exact and learned Born approximations of a_0, in units of the range.
    errors : ndarray, shape (m, orders)
        Relative errors of the learned approximations of m held-out potentials, with
        respect to the exact approximations of the same order.
    names : sequence of str
        A name for each order.

    Returns
    -------
    Figure
        Two panels: relative errors of a_0 against the depth, and the cumulative
        distribution of `errors`.

    Examples
    --------
    >>> x = np.linspace(0.1, 1.0, 8)
    >>> a0, errors = -x, np.array([[0.01], [0.02]])
    >>> born, learned = 1.1 * a0[:, None], 1.2 * a0[:, None]
    >>> figure = machine_learned_born(x, a0, born, learned, errors, ["first order"])
    >>> plt.close(figure)
    """
    figure, (against_exact, against_born) = style.panels(2, 2.9, width_ratios=(1.2, 1))
    born_errors = np.abs(born / a0[:, None] - 1)
    learned_errors = np.abs(learned / a0[:, None] - 1)
    for n, name in enumerate(names):
        color = f"C{n}"
        against_exact.loglog(
            depths, born_errors[:, n], color=color, linewidth=1, label=name
        )
        against_exact.plot(depths[::4], learned_errors[::4, n], "o", color=color)
    against_exact.set(
        xlabel="depth of a Gaussian",
        ylabel=r"relative error of $a_0$",
        xlim=depths[[0, -1]],
    )
    against_exact.legend(title="lines Born, dots learned")
    for ranked in np.sort(errors, axis=0).T:
        against_born.semilogx(ranked, np.linspace(0, 1, len(ranked)))
    against_born.set(
        xlabel="relative error, learned against Born",
        ylabel="share of held-out potentials",
        ylim=(0, 1),
    )
    return figure


@style.applied
def protocols(
    labels: Sequence[str],
    errors: Floats,
    names: Sequence[str] = ("order 1", "order 2", "order 3", "order 4"),
    xlabel: str = "relative error of the tensor",
) -> Figure:
    """Draw several errors for each of several protocols, or of several potentials.

    Parameters
    ----------
    labels : sequence of str
        Names of the protocols or of the potentials.
    errors : ndarray, shape (labels, names, members)
        Relative errors.
    names : sequence of str
        Names of the errors, at most four. By default they are those of tensors of
        orders 1, 2, ..
    xlabel : str
        The label of the horizontal axis.

    Returns
    -------
    Figure
        One row for each label. Marks are means over members. Lines reach from the best
        to the worst member.

    Examples
    --------
    >>> errors = np.array([[[0.1], [0.2]], [[0.01], [0.02]]])
    >>> figure = protocols(["values", "derivatives"], errors)
    >>> plt.close(figure)
    """
    figure, axis = style.panels(1, 0.24 * len(labels) + 0.9)
    rows = style.named_rows(axis, labels)
    for n, name in enumerate(names[: errors.shape[1]]):
        members, shifted, color = errors[:, n], rows + 0.24 - 0.16 * n, f"C{n}"
        least, most = members.min(axis=1), members.max(axis=1)
        axis.hlines(shifted, least, most, color=color, linewidth=1)
        axis.plot(
            members.mean(axis=1),
            shifted,
            "os^D"[n],
            color=color,
            markersize=3.5,
            label=name,
        )
    axis.axvline(1, **style.UNITY)
    for y in rows[:-1] - 0.5:
        axis.axhline(y, color="0.92", linewidth=0.6, zorder=0)
    axis.set(xscale="log", xlabel=xlabel, ylim=(rows[-1] - 0.5, 0.5))
    style.shared_legend(axis)
    return figure


@style.applied
def generality(panels: Mapping[str, Mapping[str, Floats]], limit: float) -> Figure:
    """Draw the errors of learned tensors against several choices of a training.

    Parameters
    ----------
    panels : mapping of str to mapping of str to ndarray, shape (orders, members)
        For each choice by name, which is the label of a horizontal axis, and for each
        of its values by name, the relative errors of the tensors of orders 1, 2, ..
    limit : float
        The relative error up to which an order counts as learned.

    Returns
    -------
    Figure
        One panel for each choice. Marks are means over members, and areas reach from
        the best to the worst member. A line marks the limit.

    Examples
    --------
    >>> errors = np.array([[0.01, 0.02], [0.1, 0.2]])
    >>> panels = {"layers": {"1": 2 * errors, "2": errors}, "d": {"16": errors}}
    >>> figure = generality(panels, 0.1)
    >>> plt.close(figure)
    """
    figure, axes = style.panels(len(panels), 2.7, sharey=True)
    for axis, (name, values) in zip(axes, panels.items()):
        x, errors = np.arange(float(len(values))), np.array(list(values.values()))
        for n, members in enumerate(errors.transpose(1, 2, 0)):
            mark, color = "os^D"[n % 4] + "-", f"C{n}"
            axis.semilogy(
                x, members.mean(axis=0), mark, color=color, label=f"order {n + 1}"
            )
            style.band(axis, x, members, color)
        axis.axhline(limit, **style.RADIUS)
        axis.set_xticks(x, list(values), rotation=60)
        axis.set_xlabel(name)
        axis.margins(x=0.1)
    axes[0].set_ylabel("relative error of the tensor")
    figure.align_xlabels()
    style.shared_legend(axes[0])
    return figure


@style.applied
def beyond_the_radius(
    shapes: Sequence[str],
    couplings: Floats,
    a0: Floats,
    curves: Mapping[str, Floats],
    largest: float,
) -> Figure:
    """Draw a_0 of several potentials through its first pole, with approximations.

    Parameters
    ----------
    shapes : sequence of str
        Names of at most seven potentials.
    couplings : ndarray, shape (n,)
        Factors of each potential, divided by the radius of convergence of its Born
        series.
    a0 : ndarray, shape (shapes, n)
        Exact scattering lengths. The unit may differ between the potentials.
    curves : mapping of str to ndarray, shape (shapes, n)
        Approximations of a_0 by name, in the same units.
    largest : float
        The largest magnitude of a_0 that is drawn.

    Returns
    -------
    Figure
        A panel for each potential, and a panel with the relative errors of the last
        approximation, in the colours of the names of the potentials.

    Examples
    --------
    >>> couplings = np.linspace(0.4, 2.0, 9)
    >>> a0 = (1 - np.tan(couplings) / couplings)[None]
    >>> curves = {"learned": 1.1 * a0}
    >>> figure = beyond_the_radius(["square well"], couplings, a0, curves, 20.0)
    >>> plt.close(figure)
    """
    figure, axes = style.panels(4, 4.4, rows=2, sharex=True)
    *lengths, errors = axes.flat
    for n, (axis, shape) in enumerate(zip(lengths, shapes)):
        axis.plot(couplings, style.broken_at_poles(a0[n], largest), **style.EXACT)
        for (name, values), line in zip(curves.items(), cycle(("--", "-.", ":"))):
            shown = style.broken_at_poles(values[n], largest)
            axis.plot(couplings, shown, line, label=name)
        axis.set(ylim=(-largest, largest), xlim=couplings[[0, -1]])
        axis.set_title(shape, color=f"C{n}")
        errors.semilogy(couplings, np.abs(values[n] / a0[n] - 1), color=f"C{n}")
    for axis in axes.flat:
        axis.axvline(1, **style.RADIUS)
    errors.set(title=f"error of {name}", ylim=(None, 10))
    plt.setp(axes[1], xlabel="coupling / radius")
    plt.setp(axes[:, 0], ylabel=r"$a_0$")
    style.shared_legend(lengths[0])
    return figure

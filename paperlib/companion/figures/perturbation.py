"""Draw figures of perturbation theory: the series that networks learned, and its range of validity."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from paperlib._support.validation import Floats
from paperlib.companion.figures import style

__all__ = [
    "beyond_the_radius",
    "iterations",
    "learned_tensors",
    "local_interpretation",
    "machine_learned_born",
    "protocols",
    "taylor_against_born",
]


@style.applied
def taylor_against_born(exact: Floats, learned: Mapping[str, Floats]) -> Figure:
    """Draw the Taylor terms of networks at U = 0 against the Born terms, one dot for each potential.

    Parameters
    ----------
    exact : ndarray, shape (n, orders)
        Born terms of n potentials, in units of the range.
    learned : mapping of str to ndarray, shape (n, orders)
        Taylor terms of the networks by name, in units of the range.

    Returns
    -------
    Figure
        One panel for each order.

    Examples
    --------
    >>> exact = -np.array([[0.1, 0.01], [0.2, 0.04]])
    >>> figure = taylor_against_born(exact, {"networks": 1.1 * exact})
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, len(exact.T), figsize=(style.WIDTH, 2.7))
    for n, axis in enumerate(axes):
        for number, (name, terms) in enumerate(learned.items()):
            axis.plot(
                exact[:, n],
                terms[:, n],
                ".",
                markersize=3,
                color=f"C{1 - number}",
                label=name,
                rasterized=True,
            )
        ends = [exact[:, n].min(), exact[:, n].max()]
        axis.plot(ends, ends, color="black", linewidth=0.8)
        axis.set(xlabel=rf"Born term $a^{{({n + 1})}}$", xlim=(1.05 * ends[0], 0))
        axis.ticklabel_format(style="sci", scilimits=(-2, 2))
        axis.locator_params(nbins=4)
    axes[0].set_ylabel("Taylor term of the networks")
    style.legend_above(axes[0], markerscale=3)
    return style.lettered(figure, axes)


@style.applied
def local_interpretation(
    eigenvalues: Floats,
    network_errors: Floats,
    born_errors: Floats,
    depths: Floats,
    centre_errors: Mapping[str, Floats],
) -> Figure:
    """Draw the error of low orders against the largest Weinberg eigenvalue, and for several expansion points.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,)
        The largest Weinberg eigenvalue of each potential.
    network_errors, born_errors : ndarray, shape (n, orders)
        Relative errors of a_0 by the first orders of a network and of the Born series.
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
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 3.0), width_ratios=(1.2, 1))
    order = np.argsort(eigenvalues)
    for n in range(network_errors.shape[1]):
        axes[0].loglog(
            eigenvalues,
            network_errors[:, n],
            ".",
            color=f"C{n}",
            markersize=3,
            rasterized=True,
        )
        axes[0].loglog(
            eigenvalues[order],
            born_errors[order, n],
            color=f"C{n}",
            linewidth=0.8,
            label=f"order {n + 1}",
        )
    axes[0].axvline(1, **style.RADIUS)
    axes[0].set(xlabel="largest Weinberg eigenvalue", ylabel=r"relative error of $a_0$")
    axes[0].legend(title="dots networks, lines Born", title_fontsize=7)
    for number, (name, errors) in enumerate(centre_errors.items()):
        axes[1].semilogy(depths, errors, color=f"C{number}", label=name)
    axes[1].set(xlabel="depth of a square well", xlim=(depths[0], depths[-1]))
    axes[1].set_ylabel(r"relative error of $a_0$, second order")
    axes[1].legend(title="expanded around", title_fontsize=7)
    return style.lettered(figure, axes)


@style.applied
def iterations(errors: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Draw the error of the tensor of each order after each iteration of the perturbation theory.

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
    figure, axes = plt.subplots(1, len(errors), figsize=(style.WIDTH, 2.8), sharey=True)
    for axis, (name, rows) in zip(axes, errors.items(), strict=True):
        last = len(rows)
        for n in range(len(rows[-1])):
            found = [row[n] for row in rows[n:]]
            axis.semilogy(
                range(n + 1, last + 1),
                found,
                color=f"C{n}",
                marker="os^Dv"[n % 5],
                markersize=4,
            )
            style.note(
                axis,
                f"order {n + 1}",
                (last, found[-1]),
                (6, 0),
                va="center",
                color=f"C{n}",
            )
        axis.set(xlabel=f"iterations, {name}", xticks=range(1, last + 1))
        axis.set_xlim(0.8, last + 1.0)
    axes[0].set_ylabel("relative error of the tensor")
    return style.lettered(figure, axes)


@style.applied
def learned_tensors(
    exact: Sequence[Floats], learned: Sequence[Floats], what: str, at: int
) -> Figure:
    """Draw learned tensors of orders 1 to 3 and their differences from the exact tensors.

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
    figure, axes = plt.subplots(2, 3, figsize=(style.WIDTH, 4.3))
    shells = np.arange(1, len(exact[0]) + 1)
    axes[0, 0].plot(shells, exact[0], **style.EXACT)
    axes[0, 0].plot(shells, learned[0], color="C1", linewidth=1, label="learned")
    axes[0, 0].legend()
    axes[1, 0].plot(
        shells, (learned[0] - exact[0]) / np.abs(exact[0]).max(), color="C1"
    )
    axes[1, 0].ticklabel_format(style="sci", scilimits=(0, 0), axis="y")
    plt.setp(axes[:, 0], xlabel="i", xlim=(1, len(shells)))
    edges = (0.5, len(shells) + 0.5)
    for column, (true, found) in zip(
        axes.T[1:], zip(exact[1:], learned[1:], strict=True), strict=True
    ):
        for axis, values in zip(
            column, (found, (found - true) / np.abs(true).max()), strict=True
        ):
            bar = style.signed_image(axis, values, extent=(*edges, *edges[::-1]))
            bar.formatter.set_powerlimits((0, 0))  # type: ignore[attr-defined]  # a ScalarFormatter
            axis.set(xlabel="j", ylabel="i")
    for (above, below), indices in zip(
        axes.T, ("i", "{ij}", f"{{ij,{at}}}"), strict=True
    ):
        above.set_title(f"${what}_{indices}$, learned", fontsize=8)
        below.set_title(f"(learned − exact) / max |${what}_{indices}$|", fontsize=8)
    return figure


@style.applied
def machine_learned_born(
    depths: Floats,
    a0: Floats,
    born: Floats,
    learned: Floats,
    errors: Floats,
    names: Sequence[str],
) -> Figure:
    """Draw machine-learned Born approximations of a_0 against the depth, and their errors on held-out potentials.

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
    >>> figure = machine_learned_born(x, a0, 1.1 * a0[:, None], 1.2 * a0[:, None], errors, ["first order"])
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 2.9), width_ratios=(1.2, 1))
    for n, name in enumerate(names):
        axes[0].loglog(
            depths, np.abs(born[:, n] / a0 - 1), color=f"C{n}", linewidth=1, label=name
        )
        axes[0].loglog(
            depths[::4],
            np.abs(learned[::4, n] / a0[::4] - 1),
            "o",
            color=f"C{n}",
            markersize=3,
        )
    axes[0].set(
        xlabel="depth of a Gaussian",
        ylabel=r"relative error of $a_0$",
        xlim=(depths[0], depths[-1]),
    )
    axes[0].legend(title="lines Born, dots learned", title_fontsize=7)
    for n, ranked in enumerate(np.sort(errors, axis=0).T):
        axes[1].semilogx(ranked, np.linspace(0, 1, len(ranked)), color=f"C{n}")
    axes[1].set(
        xlabel="relative error, learned against Born",
        ylabel="share of held-out potentials",
        ylim=(0, 1),
    )
    return style.lettered(figure, axes)


@style.applied
def protocols(labels: Sequence[str], errors: Floats) -> Figure:
    """Draw the errors of learned tensors for several protocols.

    Parameters
    ----------
    labels : sequence of str
        Names of the protocols.
    errors : ndarray, shape (protocols, orders, members)
        Relative errors of the tensors.

    Returns
    -------
    Figure
        One row for each protocol. Marks are means over members. Lines reach from the
        best to the worst member.

    Examples
    --------
    >>> figure = protocols(["values", "derivatives"], np.array([[[0.1, 0.2]], [[0.01, 0.02]]]))
    >>> plt.close(figure)
    """
    figure, axis = plt.subplots(figsize=(style.WIDTH, 0.24 * len(labels) + 0.9))
    rows = style.named_rows(axis, labels, fontsize=7)
    for n in range(errors.shape[1]):
        found, shifted = errors[:, n], rows + 0.24 - 0.16 * n
        axis.hlines(
            shifted,
            found.min(axis=1),
            found.max(axis=1),
            color=style.hue(n),
            linewidth=1,
        )
        axis.plot(
            found.mean(axis=1),
            shifted,
            "os^D"[n % 4],
            color=f"C{n}",
            markersize=3.5,
            label=f"order {n + 1}",
        )
    axis.axvline(1, color="0.6", linewidth=0.7)
    for y in rows[:-1] - 0.5:
        axis.axhline(y, color="0.92", linewidth=0.6, zorder=0)
    axis.set(
        xscale="log", xlabel="relative error of the tensor", ylim=(rows[-1] - 0.5, 0.5)
    )
    style.legend_above(axis)
    return figure


@style.applied
def beyond_the_radius(
    depths: Floats,
    a0: Floats,
    curves: Mapping[str, Floats],
    radius: float,
    largest: float,
) -> Figure:
    """Draw a_0 of a square well through its first pole: exact, by a learned series, and by its Padé approximants.

    Parameters
    ----------
    depths : ndarray, shape (n,)
        Depths of the square well.
    a0 : ndarray, shape (n,)
        Exact scattering lengths, in units of the range.
    curves : mapping of str to ndarray, shape (n,)
        Approximations of a_0 by name, in units of the range.
    radius : float
        The depth at which the Born series ceases to converge.
    largest : float
        The largest magnitude of a_0 that is drawn.

    Returns
    -------
    Figure
        Two panels: the scattering lengths, and the relative errors of the
        approximations.

    Examples
    --------
    >>> depths = np.linspace(1.0, 5.0, 9)
    >>> a0 = 1 - np.tan(np.sqrt(depths)) / np.sqrt(depths)
    >>> figure = beyond_the_radius(depths, a0, {"learned": 1.1 * a0}, np.pi**2 / 4, 20.0)
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 2.9))
    axes[0].plot(depths, style.broken_at_poles(a0, largest), **style.EXACT)
    for number, (name, values) in enumerate(curves.items()):
        line = f"C{number}" + ("--", "-.", ":", "-")[number % 4]
        axes[0].plot(depths, style.broken_at_poles(values, largest), line, label=name)
        axes[1].semilogy(depths, np.abs(values / a0 - 1), line)
    for axis in axes:
        axis.axvline(radius, **style.RADIUS)
        axis.set(xlabel="depth of a square well", xlim=(depths[0], depths[-1]))
    axes[0].set(ylabel=r"$a_0$ / range", ylim=(-largest, largest))
    axes[1].set(ylabel=r"relative error of $a_0$", ylim=(None, 10))
    style.legend_above(axes[0])
    return style.lettered(figure, axes)

"""Figures of perturbation theory: what networks have learned of a series, order by order, and how far it reaches."""

import matplotlib.pyplot as plt
import numpy as np

from paperlib.companion.figures.style import WIDTH, broken_at_poles, hue, letter, styled

__all__ = [
    "beyond_the_radius",
    "iterations",
    "learned_tensors",
    "leading_order",
    "local_interpretation",
    "machine_learned_born",
    "protocols",
    "taylor_against_born",
]


def _band(axis, x, errors, **style):
    """The median over the last axis, and a band to its least and largest."""
    axis.fill_between(x, errors.min(axis=-1), errors.max(axis=-1), color=style["color"], alpha=0.2, linewidth=0)
    axis.loglog(x, np.median(errors, axis=-1), **style)


@styled
def taylor_against_born(exact, learned):
    """Taylor terms of networks at U = 0 against Born terms, potential by potential, order by order.

    Parameters
    ----------
    exact : ndarray, shape (n, orders)
    learned : dict of str to ndarray, shape (n, orders)

    Returns
    -------
    matplotlib.figure.Figure
    """
    orders = exact.shape[1]
    figure, axes = plt.subplots(1, orders, figsize=(WIDTH, 2.7))
    for n, axis in enumerate(axes):
        for number, (name, terms) in enumerate(learned.items()):
            axis.plot(exact[:, n], terms[:, n], ".", markersize=3, color=f"C{1 - number}", label=name, rasterized=True)
        ends = np.array([exact[:, n].min(), exact[:, n].max()])
        axis.plot(ends, ends, color="black", linewidth=0.8)
        axis.set(xlabel=rf"Born term $a^{{({n + 1})}}$", xlim=(1.05 * ends[0], 0))
        axis.ticklabel_format(style="sci", scilimits=(-2, 2))
        axis.locator_params(nbins=4)
    axes[0].set_ylabel("Taylor term of the networks")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(learned), markerscale=3)
    letter(axes)
    return figure


@styled
def local_interpretation(eigenvalues, network_errors, born_errors, depths, centre_errors):
    """How far low orders reach: against the largest Weinberg eigenvalue, and from other centres.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,)
    network_errors, born_errors : ndarray, shape (n, orders)
        Relative errors of a_0 by the first orders of a network and of the Born series.
    depths : ndarray, shape (m,)
    centre_errors : dict of str to ndarray, shape (m,)
        By centre, relative errors of one order's Taylor polynomial of a network.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), width_ratios=(1.2, 1))
    order = np.argsort(eigenvalues)
    for n in range(network_errors.shape[1]):
        axes[0].loglog(eigenvalues, network_errors[:, n], ".", color=f"C{n}", markersize=3, rasterized=True)
        axes[0].loglog(eigenvalues[order], born_errors[order, n], color=f"C{n}", linewidth=0.8, label=f"order {n + 1}")
    axes[0].axvline(1, color="0.5", linewidth=0.8, linestyle=":")
    axes[0].set(xlabel="largest Weinberg eigenvalue", ylabel=r"relative error of $a_0$")
    axes[0].legend(title="dots networks, lines Born", title_fontsize=7)
    for number, (name, errors) in enumerate(centre_errors.items()):
        axes[1].semilogy(depths, errors, color=f"C{number}", label=name)
    axes[1].set(
        xlabel="depth of a square well", ylabel=r"relative error of $a_0$, second order", xlim=(depths[0], depths[-1])
    )
    axes[1].legend(title="expanded around", title_fontsize=7)
    letter(axes)
    return figure


@styled
def leading_order(steps, errors):
    """The error of each order's tensor against training steps, for several optimisers.

    Parameters
    ----------
    steps : ndarray, shape (budgets,)
    errors : dict of str to ndarray, shape (budgets, orders, members)
        Relative Frobenius errors, by optimiser.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, len(errors), figsize=(WIDTH, 2.8), sharey=True)
    for axis, (name, found) in zip(axes, errors.items(), strict=True):
        for n in range(found.shape[1]):
            _band(axis, steps, found[:, n], color=hue(n), marker="o", markersize=3, label=f"order {n + 1}")
        axis.axhline(1, color="0.6", linewidth=0.7)
        axis.set(xlabel=f"training steps, {name}")
    axes[0].set_ylabel("relative error of the tensor")
    axes[0].legend(loc="lower left")
    letter(axes)
    return figure


@styled
def iterations(errors):
    """The error of each order's tensor after each iteration.

    Parameters
    ----------
    errors : sequence of ndarray
        After iteration k, the errors of orders 1 to k.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = plt.subplots(figsize=(WIDTH / 2, 2.8))
    last = len(errors)
    for n in range(last):
        found = [row[n] for row in errors[n:]]
        axis.semilogy(range(n + 1, last + 1), found, color=f"C{n}", marker="os^Dv"[n % 5], markersize=4)
        axis.annotate(
            f"order {n + 1}", (last, found[-1]), xytext=(6, 0), textcoords="offset points", va="center", color=f"C{n}"
        )
    axis.set(xlabel="iterations", ylabel="relative error of the tensor", xticks=range(1, last + 1))
    axis.set_xlim(0.8, last + 1.0)
    return figure


@styled
def learned_tensors(exact, learned, what, at):
    """Tensors of orders 1 to 3 as they were learned, and below them what they miss of the exact ones.

    Parameters
    ----------
    exact, learned : ndarray, shapes (d,), (d, d) and (d, d)
        Orders 1 and 2, and the slice of order 3 with its last index held.
    what : str
        The tensors' symbol.
    at : int
        The index held, counted from 1.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 4.3))
    shells = np.arange(1, len(exact[0]) + 1)
    axes[0, 0].plot(shells, exact[0], color="black", linewidth=2.2, label="exact")
    axes[0, 0].plot(shells, learned[0], color="C1", linewidth=1, label="learned")
    axes[0, 0].legend()
    axes[1, 0].plot(shells, (learned[0] - exact[0]) / np.abs(exact[0]).max(), color="C1")
    axes[1, 0].ticklabel_format(style="sci", scilimits=(0, 0), axis="y")
    names = [rf"${what}_i$", rf"${what}_{{ij}}$", rf"${what}_{{ij,{at}}}$"]
    for row in axes:
        row[0].set(xlabel="i", xlim=(1, len(shells)))
    for column, (true, found) in enumerate(zip(exact[1:], learned[1:], strict=True), 1):
        size = np.abs(true).max()
        for axis, values in ((axes[0, column], found), (axes[1, column], (found - true) / size)):
            largest = np.abs(values).max()
            image = axis.imshow(
                values,
                cmap="RdBu_r",
                vmin=-largest,
                vmax=largest,
                extent=(0.5, len(shells) + 0.5, len(shells) + 0.5, 0.5),
            )
            bar = figure.colorbar(image, ax=axis, shrink=0.85)
            bar.formatter.set_powerlimits((0, 0))  # type: ignore[attr-defined]  # a ScalarFormatter
            axis.set(xlabel="j", ylabel="i")
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(f"{name}, learned", fontsize=8)
    for axis, name in zip(axes[1], names, strict=True):
        axis.set_title(f"(learned − exact) / max |{name}|", fontsize=8)
    return figure


@styled
def machine_learned_born(depths, a0, born, learned, errors, names):
    """Machine-learned approximations of a_0 as a potential deepens, and how far they are from the exact ones of their order.

    Parameters
    ----------
    depths, a0 : ndarray, shape (n,)
    born, learned : ndarray, shape (n, orders)
        Approximations of a_0 by the first orders.
    errors : ndarray, shape (m, orders)
        Of held-out potentials, relative, learned against exact approximation.
    names : sequence of str
        One an order.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9), width_ratios=(1.2, 1))
    for n, name in enumerate(names):
        axes[0].loglog(depths, np.abs(born[:, n] / a0 - 1), color=f"C{n}", linewidth=1, label=name)
        axes[0].loglog(depths[::4], np.abs(learned[::4, n] / a0[::4] - 1), "o", color=f"C{n}", markersize=3)
    axes[0].set(xlabel="depth of a Gaussian", ylabel=r"relative error of $a_0$", xlim=(depths[0], depths[-1]))
    axes[0].legend(title="lines Born, dots learned", title_fontsize=7)
    for n in range(errors.shape[1]):
        ranked = np.sort(errors[:, n])
        axes[1].semilogx(ranked, np.linspace(0, 1, len(ranked)), color=f"C{n}")
    axes[1].set(xlabel="relative error, learned against Born", ylabel="share of held-out potentials", ylim=(0, 1))
    letter(axes)
    return figure


@styled
def protocols(labels, errors):
    """Errors of learned tensors, one protocol a row: means as marks, from the best to the worst member as a line.

    Parameters
    ----------
    labels : sequence of str
    errors : ndarray, shape (rows, orders, members)

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 0.24 * len(labels) + 0.9))
    rows = -np.arange(len(labels), dtype=float)
    for n in range(errors.shape[1]):
        found, shifted = errors[:, n], rows + 0.24 - 0.16 * n
        axis.hlines(shifted, found.min(axis=1), found.max(axis=1), color=hue(n), linewidth=1)
        axis.plot(
            found.mean(axis=1),
            shifted,
            "os^D"[n % 4],
            color=f"C{n}",
            markersize=3.5,
            linestyle="",
            label=f"order {n + 1}",
        )
    axis.axvline(1, color="0.6", linewidth=0.7)
    for y in rows[:-1] - 0.5:
        axis.axhline(y, color="0.92", linewidth=0.6, zorder=0)
    axis.set(xscale="log", xlabel="relative error of the tensor", ylim=(rows[-1] - 0.5, 0.5))
    axis.set_yticks(rows, labels, fontsize=7)
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=errors.shape[1])
    return figure


@styled
def beyond_the_radius(depths, a0, curves, radius, largest):
    """a_0 through its first pole: exact, by a learned series, and by Padé approximants of it.

    Parameters
    ----------
    depths, a0 : ndarray, shape (n,)
    curves : dict of str to ndarray, shape (n,)
    radius : float
        The depth where the Born series ends.
    largest : float
        Of ``|a_0|``, that is drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
    styles = ("--", "-.", ":", "-")
    axes[0].plot(depths, broken_at_poles(a0, largest), color="black", linewidth=2.2, label="exact")
    for number, (name, values) in enumerate(curves.items()):
        style = {"color": f"C{number}", "linestyle": styles[number % 4]}
        axes[0].plot(depths, broken_at_poles(values, largest), label=name, **style)
        axes[1].semilogy(depths, np.abs(values / a0 - 1), **style)
    for axis in axes:
        axis.axvline(radius, color="0.5", linewidth=0.8, linestyle=":")
        axis.set(xlabel="depth of a square well", xlim=(depths[0], depths[-1]))
    axes[0].set(ylabel=r"$a_0$ / range", ylim=(-largest, largest))
    axes[1].set(ylabel=r"relative error of $a_0$", ylim=(None, 10))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(curves) + 1)
    letter(axes)
    return figure

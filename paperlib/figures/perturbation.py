"""Figures of perturbation theory: the terms of networks against those of the Born series, and how far they reach."""

import matplotlib.pyplot as plt
import numpy as np

from paperlib.figures.style import WIDTH, letter, styled

__all__ = ["local_interpretation", "taylor_against_born"]


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

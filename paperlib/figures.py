"""One function a figure: plain arrays in, a matplotlib Figure out, all in one style."""

from functools import wraps
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

__all__ = ["STYLE", "born_approximations", "born_tensors", "optimizers", "overview", "potentials_and_waves", "trained_ensemble"]

STYLE = str(files("paperlib") / "paper.mplstyle")
WIDTH = 7.1  # inches: the text width of a two-column journal


def _styled(draw):
    """Draw under the package's style, whatever the caller's is."""

    @wraps(draw)
    def styled(*args, **kwargs):
        with plt.style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return styled


def _letter(axes):
    """Letter the panels (a), (b), .. as a journal does."""
    for axis, letter in zip(axes, "abcdefgh", strict=False):
        axis.set_title(f"({letter})", loc="left", fontweight="bold")


def _steps(axis, U, **style):
    """A discretised potential, shell by shell."""
    axis.stairs(U, np.linspace(0, 1, len(U) + 1), baseline=None, **style)


def _broken_at_poles(values, largest):
    """Values with a gap wherever they leave the picture, so that no line is drawn across a pole."""
    return np.where(np.abs(values) > largest, np.nan, values)


@_styled
def potentials_and_waves(potentials, waves, lengths, depths, lengths_of_depth, resonances, lowest=-6, highest=6):
    """Potentials, their zero-energy wave functions, and a_0 against depth.

    Parameters
    ----------
    potentials : dict of str to ndarray, shape (d,)
    waves : dict of str to (r, u)
        Inside the range, scaled to u'(1) = 1.
    lengths : dict of str to float
        The scattering lengths.
    depths : ndarray, shape (n,)
    lengths_of_depth : dict of str to ndarray, shape (n,)
    resonances : sequence of float
        Depths at which a square well binds one state more.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.8), width_ratios=(1, 1.1, 1.3))
    for number, (name, U) in enumerate(potentials.items()):
        color = f"C{number}"
        _steps(axes[0], U, color=color, label=name, linewidth=1.3)
        r, u = waves[name]
        axes[1].plot(r, u, color=color)
        outside = np.array([1.0, 2.2])
        axes[1].plot(outside, outside - lengths[name], color=color)
        inward = np.array([lengths[name], 1.0])
        axes[1].plot(inward, inward - lengths[name], color=color, linestyle=":", linewidth=1)
        axes[1].plot(lengths[name], 0, "o", color=color, markersize=4)
    axes[0].set(xlabel="r / range", ylabel="U(r)", ylim=(0, None), xlim=(0, 1))
    figure.legend(loc="outside upper center", ncols=len(potentials))
    axes[1].axhline(0, color="0.6", linewidth=0.6)
    axes[1].axvline(1, color="0.6", linewidth=0.6, linestyle="--")
    axes[1].set(xlabel="r / range", ylabel="u(r),  scaled to u'(1) = 1")
    axes[1].annotate("range", (1, axes[1].get_ylim()[1]), ha="right", va="top", rotation=90, color="0.4", fontsize=7)
    for depth in resonances:
        axes[2].axvline(depth, color="0.75", linewidth=0.8, linestyle="--")
    for number, (name, values) in enumerate(lengths_of_depth.items()):
        axes[2].plot(depths, _broken_at_poles(values, 4 * highest), color=f"C{number}")
    axes[2].axhline(0, color="0.6", linewidth=0.6)
    axes[2].set(xlabel="depth", ylabel=r"$a_0$ / range", ylim=(lowest, highest), xlim=(0, depths[-1]))
    _letter(axes)
    return figure


@_styled
def born_approximations(couplings, exact, approximations, pade, pade_name, radius):
    """Born approximations and a Padé approximant against the exact a_0, and their errors.

    Parameters
    ----------
    couplings, exact : ndarray, shape (n,)
    approximations : ndarray, shape (n, orders)
        The partial sums of orders 1, 2, ..
    pade : ndarray, shape (n,)
    pade_name : str
    radius : float
        The coupling past which the series diverges.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
    orders = approximations.shape[1]
    shades = plt.get_cmap("viridis_r")(np.linspace(0.12, 0.95, orders))
    span = 1.15 * np.nanmax(np.abs(approximations[couplings <= radius]))
    axes[0].plot(couplings, _broken_at_poles(exact, 6 * span), color="black", linewidth=2.2, label="exact")
    for n in range(orders):
        axes[0].plot(couplings, approximations[:, n], color=shades[n], label=f"Born {n + 1}")
        error = np.abs(approximations[:, n] / exact - 1)
        axes[1].loglog(couplings, error, color=shades[n])
    axes[0].plot(couplings, _broken_at_poles(pade, 6 * span), color="C1", linestyle="--", label=pade_name)
    axes[1].loglog(couplings, np.abs(pade / exact - 1), color="C1", linestyle="--")
    for axis in axes:
        axis.axvline(radius, color="0.5", linewidth=0.8, linestyle=":")
    beside = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "top", "color": "0.3", "fontsize": 7}
    axes[0].annotate("radius of\nconvergence", (radius, 2.9 * span), **beside)
    axes[0].set(xlabel="depth", ylabel=r"$a_0$ / range", ylim=(-3 * span, 3 * span), xlim=(0, couplings[-1]))
    axes[1].set(xlabel="depth", ylabel=r"relative error of $a_0$", ylim=(1e-12, 1e3), xlim=(couplings[0], couplings[-1]))
    figure.legend(loc="outside upper center", ncols=orders + 2, handlelength=1.4, columnspacing=1.2)
    _letter(axes)
    return figure


@_styled
def born_tensors(first, second):
    """The first- and second-order Born tensors as pictures, in units that do not depend on d.

    Parameters
    ----------
    first : ndarray, shape (d,)
    second : ndarray, shape (d, d)

    Returns
    -------
    matplotlib.figure.Figure
    """
    d = len(first)
    r = (np.arange(d) + 0.5) / d
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9), width_ratios=(1, 1.15))
    axes[0].plot(r, -d * first, "o", color="C0", markersize=3.5, label=r"$-d\,B_i$")
    axes[0].plot(r, r**2, color="C1", label=r"$r^2$")
    axes[0].set(xlabel="r / range of shell i", ylabel="first order", xlim=(0, 1), ylim=(0, None))
    axes[0].legend(loc="upper left")
    picture = axes[1].imshow(-(d**2) * second, origin="lower", extent=(0, 1, 0, 1), vmin=0)
    figure.colorbar(picture, ax=axes[1], label=r"second order, $-d^2 B_{ij}$")
    axes[1].set(xlabel="r / range of shell i", ylabel="r / range of shell j")
    for spine in axes[1].spines.values():
        spine.set_visible(False)
    _letter(axes)
    return figure


@_styled
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
    for curves, color, name in ((loss, "C0", "training"), (validation, "C1", "held out")):
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
    axes[2].semilogy(exact[order], 100 * np.abs(mean / exact - 1)[order], ".", color="0.8", markersize=1.5, rasterized=True, zorder=0)
    for number, member in enumerate(errors):
        axes[2].semilogy(centres, [member[rows].mean() for rows in bins], color="C1", linewidth=0.9, label="members" if not number else None)
    averaged = 100 * np.abs(mean / exact - 1)[order]
    axes[2].semilogy(centres, [averaged[rows].mean() for rows in bins], color="C0", linewidth=2, label="ensemble mean")
    axes[2].set(xlabel=r"exact $a_0$ / range", ylabel="relative error (%)", ylim=(averaged[averaged > 0].min() * 30, None))
    axes[2].legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none")
    for axis in axes[1:]:
        axis.xaxis.set_major_locator(MaxNLocator(4))
    _letter(axes)
    return figure


@_styled
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
        axes[1].plot(depths, born[:, n], color=f"C{(2, 3, 4)[n % 3]}", linestyle=("--", "-.", ":")[n % 3], label=f"Born {n + 1}")
    axes[1].fill_between(depths, network - spread, network + spread, color="C1", alpha=0.25, linewidth=0)
    axes[1].plot(depths, network, color="C1", label="networks")
    axes[1].axvspan(*trained, color="0.93", linewidth=0, zorder=-1)
    axes[1].annotate("trained here", (trained[1], 0), xytext=(-4, -4), textcoords="offset points", ha="right", va="top", color="0.3", fontsize=7)
    axes[1].set(xlabel="depth", ylabel=r"$a_0$ / range", xlim=(0, depths[-1]))
    axes[1].legend(loc="lower left")
    _letter(axes)
    return figure


@_styled
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
                    seconds[k, m], middle, yerr=spread, color=f"C{k}", marker=marker, linestyle=line, markersize=3.5, linewidth=1,
                    elinewidth=0.7, label=f"{name}, {fit}",
                )
        axis.set(xscale="log", yscale="log", xlabel="training time (s), all members", ylabel=f"relative error, order {order}")
        axis.axhline(1, color="0.7", linewidth=0.6)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(names))
    _letter(axes)
    return figure

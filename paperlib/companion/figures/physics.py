"""Figures of the physics: potentials, waves, scattering lengths, the Born series."""

import matplotlib.pyplot as plt
import numpy as np

from paperlib.companion.figures.style import WIDTH, broken_at_poles, hue, letter, styled

__all__ = ["born_approximations", "born_tensors", "lost_digits", "potentials_and_waves"]


@styled
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
    axes[0].plot(couplings, broken_at_poles(exact, 6 * span), color="black", linewidth=2.2, label="exact")
    for n in range(orders):
        axes[0].plot(couplings, approximations[:, n], color=shades[n], label=f"Born {n + 1}")
        error = np.abs(approximations[:, n] / exact - 1)
        axes[1].loglog(couplings, error, color=shades[n])
    axes[0].plot(couplings, broken_at_poles(pade, 6 * span), color="C1", linestyle="--", label=pade_name)
    axes[1].loglog(couplings, np.abs(pade / exact - 1), color="C1", linestyle="--")
    for axis in axes:
        axis.axvline(radius, color="0.5", linewidth=0.8, linestyle=":")
    beside = {
        "xytext": (-4, 0),
        "textcoords": "offset points",
        "ha": "right",
        "va": "top",
        "color": "0.3",
        "fontsize": 7,
    }
    axes[0].annotate("radius of\nconvergence", (radius, 2.9 * span), **beside)
    axes[0].set(xlabel="depth", ylabel=r"$a_0$ / range", ylim=(-3 * span, 3 * span), xlim=(0, couplings[-1]))
    axes[1].set(
        xlabel="depth", ylabel=r"relative error of $a_0$", ylim=(1e-12, 1e3), xlim=(couplings[0], couplings[-1])
    )
    figure.legend(loc="outside upper center", ncols=orders + 2, handlelength=1.4, columnspacing=1.2)
    letter(axes)
    return figure


@styled
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
    letter(axes)
    return figure


@styled
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
        axes[0].stairs(U, np.linspace(0, 1, len(U) + 1), baseline=None, color=color, label=name, linewidth=1.3)
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
    for number, values in enumerate(lengths_of_depth.values()):
        axes[2].plot(depths, broken_at_poles(values, 4 * highest), color=f"C{number}")
    axes[2].axhline(0, color="0.6", linewidth=0.6)
    axes[2].set(xlabel="depth", ylabel=r"$a_0$ / range", ylim=(lowest, highest), xlim=(0, depths[-1]))
    letter(axes)
    return figure


@styled
def lost_digits(panels):
    """Errors of numbers that nearly cancel: this library's, and those of a plain way to the same number.

    Parameters
    ----------
    panels : dict of (str, str, str) to (x, ours, plain)
        Title, what it is drawn against and the name of the plain way -> that, and errors in units of rounding.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, grid = plt.subplots(2, -(-len(panels) // 2), figsize=(WIDTH, 4.5), sharey=True)
    for axis, ((title, against, name), (x, ours, plain)) in zip(grid.flat, panels.items(), strict=True):
        axis.plot(x, plain, "s-", color="C1", markersize=3, linewidth=0.9, gid="rounding")
        axis.plot(x, ours, "o-", color="C0", markersize=3, gid="rounding")
        axis.set(yscale="log", ylim=(0.05, 2.0**54), xlabel=against)
        axis.set_title(title, fontsize=8)
        # Where a legend fits best would hang on errors that another machine makes otherwise.
        for y, text, number in ((0.9, name, 1), (0.8, "paperlib", 0)):
            axis.text(0.03, y, text, transform=axis.transAxes, color=hue(number), fontsize=7)
        if np.max(x) / np.min(x) > 100:
            axis.set_xscale("log")
            axis.invert_xaxis()
    for axis in grid[:, 0]:
        axis.set_ylabel(r"relative error / $\epsilon$")
    letter(grid.flat)
    return figure

"""One potential: its wave, the orders of its scattering length, and where they end."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

from paperlib.companion.figures.style import WIDTH, broken_at_poles, letter, styled

__all__ = ["one_potential"]

OUTSIDE = np.array([1.0, 2.0])


@styled
def one_potential(
    potential, wave, a0, depth, depths, exact, born, networks, terms, learned, eigenvalue, *, moved_from=None
):
    """A potential and its zero-energy wave, a_0 against depth by orders, and the size of each order.

    Places and axes are fixed where they can be: what moves from one picture to the next is what the potential changed.

    Parameters
    ----------
    potential : ndarray, shape (d,)
    wave : (r, u)
        Inside the range, each of shape (m,); drawn to no scale, rising from the origin.
    a0 : float
        The scattering length of `potential`.
    depth : float
        The depth of `potential`, among `depths`.
    depths, exact : ndarray, shape (n,)
        a_0 of the same shape at other depths.
    born, networks : ndarray, shape (n, orders)
        Its approximations by the first orders of the Born series, and of what networks have learned of it.
    terms, learned : ndarray, shape (orders,)
        Of the Born series and of the networks, at `depth`.
    eigenvalue : float
        The largest Weinberg eigenvalue, by magnitude, at `depth`.
    moved_from : matplotlib.figure.Figure, optional
        A figure that this function made of as many shells and orders: it is changed and returned, which is faster.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = _frame(len(potential), len(terms)) if moved_from is None else moved_from
    shape, lengths, sizes = figure.axes
    height = np.abs(potential).max() or 1.0
    r, u = np.append(wave[0], OUTSIDE), np.append(wave[1], OUTSIDE - a0)
    _artist(shape, "potential").set_data(potential)
    _artist(shape, "wave").set_data(r, np.copysign(height / np.abs(u).max(), u[1]) * u)
    _artist(shape, "length").set_data([a0], [0])
    shape.set_ylim(-1.1 * height, 1.1 * height)

    lengths.set_xlim(depths[0], depths[-1])
    _artist(lengths, "exact").set_data(depths, broken_at_poles(exact, 40))
    for n, order in enumerate(sizes.get_xticks()):
        _artist(lengths, f"Born {order:.0f}").set_data(depths, born[:, n])
        _artist(lengths, f"networks {order:.0f}").set_data(depths[5::10], networks[5::10, n])
    _artist(lengths, "depth").set_xdata([depth, depth])
    radius = np.divide(depth, abs(eigenvalue), out=np.array(np.nan), where=eigenvalue != 0)
    for sign in (-1, 1):
        _artist(lengths, f"radius {sign}").set_xdata([sign * radius] * 2)

    for name, values in (("Born", terms), ("networks", learned)):
        _artist(sizes, name).set_offsets(np.column_stack([sizes.get_xticks(), np.abs(values)]))
    verdict = "converges" if abs(eigenvalue) < 1 else "diverges"
    title = f"a₀ = {a0:.4f} ranges,  largest Weinberg eigenvalue {eigenvalue:.3f}: the Born series {verdict}"
    figure.suptitle(title.replace("-", "−"), fontsize=9, y=0.985)
    return figure


def _artist(axis, name):
    return next(artist for artist in axis.get_children() if artist.get_gid() == name)


def _frame(d, orders):
    """The picture without its potential: every artist that moves, under its name."""
    # Places are given: to solve for them takes longer than to draw.
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.9), width_ratios=(1, 1.4, 1), layout="none")
    figure.subplots_adjust(left=0.06, right=0.995, bottom=0.14, top=0.79, wspace=0.33)
    shades = plt.get_cmap("viridis_r")(np.linspace(0.12, 0.95, orders))
    shape, lengths, sizes = axes

    shape.axhline(0, color="0.6", linewidth=0.6)
    shape.axvline(1, color="0.6", linewidth=0.6, linestyle="--")
    shape.stairs(np.zeros(d), np.linspace(0, 1, d + 1), fill=True, color="C5", alpha=0.6, gid="potential")
    shape.plot([], color="C0", gid="wave")
    shape.plot([], "o", color="black", markersize=4, gid="length")
    shape.set(xlabel="r / range", ylabel="U(r)", xlim=(-1, 2), xticks=(-1, 0, 1, 2))
    shape.locator_params(axis="y", nbins=4)
    shape.yaxis.set_label_coords(-0.14, 0.5)
    shape.text(0.03, 0.97, "line: u(r),\nno scale\ndot: a₀", transform=shape.transAxes, va="top", fontsize=7)

    (exact,) = lengths.plot([], color="black", linewidth=2.2, gid="exact")
    handles = [exact]
    for n, shade in enumerate(shades, 1):
        handles += lengths.plot([], color=shade, gid=f"Born {n}")
        lengths.plot([], "o", color=shade, markersize=2.5, gid=f"networks {n}")
    handles += lengths.plot([], "o", color="0.4", markersize=2.5)
    lengths.axvline(color="C1", linewidth=1, gid="depth")
    for sign in (-1, 1):
        lengths.axvline(color="0.4", linewidth=0.9, linestyle=":", gid=f"radius {sign}")
    handles.append(lengths.lines[-1])
    lengths.set(xlabel="depth", ylabel="a₀ / range", ylim=(-4, 4), yticks=(-4, -2, 0, 2, 4))
    lengths.locator_params(axis="x", nbins=4)

    number = np.arange(1, orders + 1)
    sizes.scatter(number, number, 60, facecolors="none", edgecolors=shades, linewidths=1.3, gid="Born")
    sizes.scatter(number, number, 8, color=shades, gid="networks")
    sizes.set(xlabel="order", ylabel="|term| / range", xticks=number, xlim=(0.5, orders + 0.5))
    sizes.set(yscale="log", ylim=(1e-6, 1e3))
    sizes.set_yticks([1e-6, 1e-3, 1, 1e3], ["10⁻⁶", "10⁻³", "1", "10³"])
    sizes.yaxis.set_minor_locator(NullLocator())

    names = ["exact", *(f"Born {n}" for n in number), "networks", "radius"]
    figure.legend(
        handles, names, loc="upper center", ncols=9, bbox_to_anchor=(0.5, 0.93), handlelength=1.4, columnspacing=1.2
    )
    # At a height that is given: to find one above all ticks, each is measured once more.
    with plt.rc_context({"axes.titley": 1.0}):
        letter(axes)
    return figure

"""Draw potentials, wave functions, scattering lengths, and the Born series."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paperlib._support.validation import Floats
from paperlib.companion.figures import style

__all__ = [
    "born_approximations",
    "born_tensors",
    "lost_digits",
    "one_potential",
    "potentials_and_waves",
]


@style.applied
def born_approximations(
    couplings: Floats,
    exact: Floats,
    approximations: Floats,
    pade: Floats,
    pade_name: str,
    radius: float,
) -> Figure:
    """Draw Born approximations and a Padé approximant of a_0 beside the exact a_0.

    Parameters
    ----------
    couplings : ndarray, shape (n,)
        Depths of the potential.
    exact : ndarray, shape (n,)
        Exact scattering lengths, in units of the range.
    approximations : ndarray, shape (n, orders)
        Partial sums of the Born series to orders 1, 2, .., in units of the range.
    pade : ndarray, shape (n,)
        Values of the Padé approximant, in units of the range.
    pade_name : str
        The label of the Padé approximant.
    radius : float
        The coupling beyond which the series diverges.

    Returns
    -------
    Figure
        Two panels: the scattering lengths, and the relative errors.

    Examples
    --------
    >>> depths = np.linspace(0.1, 3.0, 9)
    >>> a0 = 1 - np.tan(np.sqrt(depths)) / np.sqrt(depths)
    >>> first, pade = -depths[:, None] / 3, 1.01 * a0
    >>> figure = born_approximations(depths, a0, first, pade, "Padé", np.pi**2 / 4)
    >>> plt.close(figure)
    """
    figure, axes = style.panels(2, 2.9)
    lengths, errors = axes
    span = 1.15 * np.nanmax(np.abs(approximations[couplings <= radius]))
    lengths.plot(couplings, style.broken_at_poles(exact, 6 * span), **style.EXACT)
    for n, shade in enumerate(style.shades(approximations.shape[1])):
        sums = approximations[:, n]
        lengths.plot(couplings, sums, color=shade, label=f"Born {n + 1}")
        errors.loglog(couplings, np.abs(sums / exact - 1), color=shade)
    pade_drawn = style.broken_at_poles(pade, 6 * span)
    lengths.plot(couplings, pade_drawn, "C1--", label=pade_name)
    errors.loglog(couplings, np.abs(pade / exact - 1), "C1--")
    for axis in axes:
        axis.axvline(radius, **style.RADIUS)
    at = (radius, 2.9 * span)
    lengths.annotate("radius of\nconvergence", at, (-4, 0), **style.LEFT_NOTE)
    lengths.set(
        xlabel="depth",
        ylabel=r"$a_0$ / range",
        ylim=(-3 * span, 3 * span),
        xlim=(0, couplings[-1]),
    )
    errors.set(xlabel="depth", ylabel=r"relative error of $a_0$", ylim=(1e-12, 1e3))
    errors.set_xlim(couplings[[0, -1]])
    style.shared_legend(lengths, handlelength=1.4, columnspacing=1.2)
    return figure


@style.applied
def born_tensors(first: Floats, second: Floats) -> Figure:
    """Draw the Born tensors of first and second order.

    The tensors are scaled so that they do not depend on d. The image has the
    orientation of a printed matrix: i, the row, increases downwards and j, the column,
    to the right. Every picture of a tensor in this package has this orientation.

    Parameters
    ----------
    first : ndarray, shape (d,)
        The tensor of first order.
    second : ndarray, shape (d, d)
        The tensor of second order.

    Returns
    -------
    Figure
        Two panels: ``-d B_i`` beside ``r**2``, and ``-d**2 B_ij`` as an image.

    Examples
    --------
    >>> from paperlib import born
    >>> first, second = (born.born_tensor(n, 8).full() for n in (1, 2))
    >>> len(born_tensors(first, second).axes)   # two panels and a colour bar
    3
    """
    d = len(first)
    r = (np.arange(d) + 0.5) / d
    figure, (vector, matrix) = style.panels(2, 2.9, width_ratios=(1, 1.15))
    vector.plot(r, -d * first, "o", markersize=3.5, label=r"$-d\,B_i$")
    vector.plot(r, r**2, color="C1", label=r"$r^2$")
    vector.set(
        xlabel="r / range of shell i", ylabel="first order", xlim=(0, 1), ylim=(0, None)
    )
    vector.legend(loc="upper left")
    image = matrix.imshow(-(d**2) * second, extent=(0, 1, 1, 0), vmin=0)
    figure.colorbar(image, ax=matrix, label=r"second order, $-d^2 B_{ij}$")
    matrix.set(xlabel="r / range of shell j", ylabel="r / range of shell i")
    matrix.spines[:].set_visible(False)
    return figure


@style.applied
def potentials_and_waves(
    potentials: Mapping[str, Floats],
    waves: Mapping[str, tuple[Floats, Floats]],
    lengths: Mapping[str, float],
    depths: Floats,
    lengths_of_depth: Mapping[str, Floats],
    resonances: Sequence[float],
    lowest: float = -6,
    highest: float = 6,
) -> Figure:
    """Draw potentials, their zero-energy wave functions, and scattering lengths.

    Parameters
    ----------
    potentials : mapping of str to ndarray, shape (d,)
        Potentials by name.
    waves : mapping of str to tuple of two ndarrays
        For each potential, the distances in units of the range and u(r) inside the
        range, scaled to u'(1) = 1. Both arrays have the same length.
    lengths : mapping of str to float
        The scattering length of each potential, in units of the range.
    depths : ndarray, shape (n,)
        Depths of the potentials in the third panel.
    lengths_of_depth : mapping of str to ndarray, shape (n,)
        For each potential, the scattering length at `depths`, in units of the range.
    resonances : sequence of float
        Depths at which a square well binds one more state.
    lowest, highest : float
        The limits of the scattering length in the third panel, in units of the range.

    Returns
    -------
    Figure
        Three panels.

    Examples
    --------
    >>> r, depths = np.linspace(0, 1, 5), np.linspace(0.1, 2.0, 5)
    >>> U, wave, a0 = {"well": np.ones(4)}, {"well": (r, r)}, {"well": -0.5}
    >>> of_depth, resonances = {"well": -depths / 3}, [np.pi**2 / 4]
    >>> figure = potentials_and_waves(U, wave, a0, depths, of_depth, resonances)
    >>> plt.close(figure)
    """
    figure, axes = style.panels(3, 2.8, width_ratios=(1, 1.1, 1.3))
    shapes, functions, by_depth = axes
    for number, (name, U) in enumerate(potentials.items()):
        color = f"C{number}"
        style.shells(shapes, U, baseline=None, color=color, label=name, linewidth=1.3)
        _draw_wave(functions, waves[name], lengths[name], color)
    shapes.set(xlabel="r / range", ylabel="U(r)", ylim=(0, None), xlim=(0, 1))
    style.shared_legend(shapes)
    _draw_zero_and_range(functions)
    functions.set(xlabel="r / range", ylabel="u(r),  scaled to u'(1) = 1")
    functions.annotate(
        "range",
        (1, functions.get_ylim()[1]),
        ha="right",
        va="top",
        rotation=90,
        color="0.4",
        fontsize=7,
    )
    for depth in resonances:
        by_depth.axvline(depth, color="0.75", linewidth=0.8, linestyle="--")
    for values in lengths_of_depth.values():
        by_depth.plot(depths, style.broken_at_poles(values, 4 * highest))
    by_depth.axhline(0, **style.ZERO)
    by_depth.set(
        xlabel="depth",
        ylabel=r"$a_0$ / range",
        ylim=(lowest, highest),
        xlim=(0, depths[-1]),
    )
    return figure


def _draw_wave(axis: Axes, wave: tuple[Floats, Floats], a0: float, color: str) -> None:
    """Draw a zero-energy wave function, with a dot at the scattering length.

    `wave` has the distances from 0 to 1 and the function u(r) there, scaled to
    u'(1) = 1. `a0` is the scattering length a_0. Lengths are in units of the range.
    Outside the range the function is r - a_0, drawn up to r = 2.2. A dotted line
    continues it from r = 1 to its zero at r = a_0.
    """
    outside, inward = np.array([1.0, 2.2]), np.array([a0, 1.0])
    axis.plot(*wave, color=color)
    axis.plot(outside, outside - a0, color=color)
    axis.plot(inward, inward - a0, color=color, linestyle=":", linewidth=1)
    axis.plot(a0, 0, "o", color=color, markersize=4)


def _draw_zero_and_range(axis: Axes) -> None:
    """Draw a horizontal line at 0, and a dashed vertical line at r = 1, the range."""
    axis.axhline(0, **style.ZERO)
    axis.axvline(1, **style.ZERO, linestyle="--")


@style.applied
def lost_digits(
    panels: Mapping[tuple[str, str, str], tuple[Floats, Floats, Floats]],
) -> Figure:
    """Draw the errors of differences of nearly equal numbers, by two methods.

    Parameters
    ----------
    panels : mapping of tuple of three str to tuple of three ndarrays
        For each panel, (title, label of the horizontal axis, name of the
        straightforward method) -> (x, errors of paperlib, errors of the straightforward
        method). Arrays have shape (n,). Errors are relative, in units of the machine
        epsilon. The number of panels is even and at least four.

    Returns
    -------
    Figure
        Two rows of panels on logarithmic axes.

    Examples
    --------
    >>> x = np.array([1.0, 0.1])
    >>> cases = [(f"case {k}", "depth", "plain method") for k in range(4)]
    >>> figure = lost_digits({case: (x, x, 10 * x) for case in cases})
    >>> plt.close(figure)
    """
    columns = -(-len(panels) // 2)
    figure, grid = style.panels(columns, 4.5, rows=2, sharey=True)
    for axis, (titles, values) in zip(grid.flat, panels.items(), strict=True):
        title, xlabel, name = titles
        x, accurate, plain = values
        axis.plot(
            x,
            plain,
            "s-",
            color="C1",
            linewidth=0.9,
            gid=style.ROUNDING,
        )
        axis.plot(x, accurate, "o-", color="C0", gid=style.ROUNDING)
        axis.set(yscale="log", ylim=(0.05, 2.0**54), xlabel=xlabel)
        axis.set_title(title)
        # Text at fixed positions replaces a legend: matplotlib places a legend by the
        # data, and rounding errors differ between machines.
        style.corner_text(axis, 0.9, name, color="C1")
        style.corner_text(axis, 0.8, "paperlib", color="C0")
        if np.max(x) / np.min(x) > 100:
            axis.set_xscale("log")
            axis.invert_xaxis()
    plt.setp(grid[:, 0], ylabel=r"relative error / $\epsilon$")
    return figure


@style.applied
def one_potential(
    potential: Floats,
    wave: tuple[Floats, Floats],
    a0: float,
    depth: float,
    depths: Floats,
    exact: Floats,
    born: Floats,
    networks: Floats,
    terms: Floats,
    learned: Floats,
    eigenvalue: float,
) -> Figure:
    """Draw a potential, its wave function, and the orders of its scattering length.

    Parameters
    ----------
    potential : ndarray, shape (d,)
        The dimensionless potential in its shells, at `depth`.
    wave : tuple of two ndarrays
        Distances in units of the range and u(r) inside the range, scaled to u'(1) = 1.
        The curve is drawn in other units, such that it rises from the origin.
    a0 : float
        The scattering length at `depth`, in units of the range.
    depth : float
        The depth of `potential`, within the range of `depths`.
    depths : ndarray, shape (n,)
        Depths of the curves in the second panel.
    exact : ndarray, shape (n,)
        Exact scattering lengths at `depths`, in units of the range.
    born, networks : ndarray, shape (n, orders)
        Partial sums to orders 1, 2, .. at `depths`, in units of the range: of the Born
        series, drawn as lines, and of the series that the networks learned, of which
        every tenth value is drawn as a dot.
    terms, learned : ndarray, shape (orders,)
        Terms of orders 1, 2, .. at `depth`, in units of the range: of the Born series,
        and of the series that the networks learned. Their magnitudes are drawn.
    eigenvalue : float
        The Weinberg eigenvalue of largest magnitude at `depth`.

    Returns
    -------
    Figure
        Three panels. The title states whether the Born series converges.

    Examples
    --------
    >>> from paperlib import explorer
    >>> figure = one_potential(**vars(explorer.view("Yukawa")))
    >>> plt.close(figure)
    """
    figure, axes = style.panels(3, 2.9, width_ratios=(1, 1.4, 1))
    shape, lengths, sizes = axes
    _draw_potential(shape, potential, wave, a0)

    shades = style.shades(len(terms))
    lengths.plot(depths, style.broken_at_poles(exact, 40), **style.EXACT)
    for n, shade in enumerate(shades):
        lengths.plot(depths, born[:, n], color=shade, label=f"Born {n + 1}")
        lengths.plot(depths[5::10], networks[5::10, n], "o", color=shade)
    lengths.plot([], "o", color="0.4", label="networks")
    lengths.axvline(depth, color="C1", linewidth=1)
    # The eigenvalue is proportional to the depth, and is 1 in magnitude at the radius.
    radius = abs(depth / eigenvalue) if eigenvalue else np.nan
    for x, label in ((-radius, None), (radius, "radius of convergence")):
        lengths.axvline(x, **style.RADIUS, label=label)
    lengths.set(
        xlabel="depth",
        ylabel="a₀ / range",
        xlim=depths[[0, -1]],
        ylim=(-4, 4),
        yticks=(-4, -2, 0, 2, 4),
    )
    lengths.locator_params(axis="x", nbins=4)

    orders = np.arange(1, len(terms) + 1)
    sizes.scatter(
        orders, np.abs(terms), 60, facecolors="none", edgecolors=shades, linewidths=1.3
    )
    sizes.scatter(orders, np.abs(learned), 8, color=shades)
    sizes.set(xlabel="order", xticks=orders, xlim=(0.5, len(terms) + 0.5))
    sizes.set(ylabel="|term| / range", yscale="log", ylim=(1e-6, 1e3))

    verdict = "converges" if abs(eigenvalue) < 1 else "diverges"
    title = (
        f"a₀ = {a0:.4f} ranges,  "
        f"largest Weinberg eigenvalue {eigenvalue:.3f}: the Born series {verdict}"
    )
    figure.suptitle(title.replace("-", "−"))
    style.shared_legend(
        lengths, loc="outside lower center", handlelength=1.4, columnspacing=1.2
    )
    return figure


def _draw_potential(
    axis: Axes, potential: Floats, wave: tuple[Floats, Floats], a0: float
) -> None:
    """Draw a potential, its zero-energy wave function, and a dot at a_0.

    `potential` has one value for each shell. `wave` has the distances and u(r) inside
    the range, scaled to u'(1) = 1. Lengths are in units of the range. The drawn wave
    function is multiplied by a constant, so that it rises from the origin and its
    largest magnitude up to r = 2 is that of the potential.
    """
    height, outside = np.abs(potential).max() or 1.0, np.array([1.0, 2.0])
    r, u = np.append(wave[0], outside), np.append(wave[1], outside - a0)
    _draw_zero_and_range(axis)
    style.shells(axis, potential, fill=True, color="C5", alpha=0.6)
    axis.plot(r, np.copysign(height / np.abs(u).max(), u[1]) * u)
    axis.plot(a0, 0, "o", color="black", markersize=4)
    axis.set(
        xlabel="r / range",
        ylabel="U(r)",
        xlim=(-1, 2),
        xticks=(-1, 0, 1, 2),
        ylim=(-1.1 * height, 1.1 * height),
    )
    axis.locator_params(axis="y", nbins=4)
    style.corner_text(axis, 0.97, "line: u(r),\nno scale\ndot: a₀", va="top")

"""Compute exact S-wave scattering at zero energy, for u'' + U u = 0 with u(0) = 0.

Lengths are in units of the range. Beyond the range u is a straight line, and the
scattering length a_0 is the point where this line crosses the axis:

.. math:: a_0 = 1 - u(1)/u'(1)

All results are exact for the discretised potential, up to rounding. The methods need
no step size and no iteration.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.physics import shells

__all__ = [
    "bound_states",
    "effective_range",
    "scattering_length",
    "scattering_length_gradient",
    "scattering_length_hvp",
    "scattering_length_jet",
    "wave_function",
]

# Number of shells processed at a time, so that a block's edges and Stumpff functions
# take a few MiB.
_BLOCK = 1 << 17


def _sweep(
    derivatives: int, U: ArrayLike, v: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Return a_0, its gradient, and the product of its Hessian with v.

    The highest order of the derivatives to compute is `derivatives`, from 0 to 2. For U
    of shape (..., d), a_0 has shape (...), and each computed derivative has the shape
    of U. A derivative that is not computed has shape (0, d). The function first tries
    compiled code, `shells.swept`. If that returns False, NumPy computes the results.
    Raise a TypeError or a ValueError if U or v does not hold finite real numbers, or if
    v is needed and does not have the shape of U.
    """
    U = validation.shaped("U", U)
    d = U.shape[-1]
    empty = np.empty((0, d))
    v = empty if v is None else validation.alike("v", v, "U", U.shape)
    a0 = np.empty(U.shape[:-1])
    gradient = np.empty(U.shape) if derivatives > 0 else empty
    product = np.empty(U.shape) if derivatives > 1 else empty
    # The results have C order, so reshaping them returns views
    arrays: list[Floats] = [
        np.ascontiguousarray(array).reshape(-1, d)
        for array in (U, v, gradient, product)
    ]
    arrays.append(a0.reshape(-1))
    if not shells.swept(derivatives, *arrays):
        validation.finite("U", U)
        _sweep_in_numpy(derivatives, *arrays)
    return a0[()], gradient, product


@np.errstate(all="ignore")
def _sweep_in_numpy(
    derivatives: int,
    U: Floats,
    v: Floats,
    gradient: Floats,
    product: Floats,
    a0: Floats,
) -> None:
    """Fill a_0, its gradients, and the products of its Hessians with v, by NumPy.

    U has shape (n, d) and a0 has shape (n,). The other arrays have the shape of U, or
    no rows if `derivatives`, the highest order to compute, does not need them.
    """
    d = U.shape[-1]
    for rows, x in shells.blocks(U, _BLOCK // d):
        solution = shells.edges(x, order=5 if derivatives > 1 else 3)
        final = solution.q[-1]
        a0[rows] = solution.w[-1] / final / d
        if derivatives > 0:
            u, squares = _squares(solution)
            slopes = np.where(final == 0, np.inf, squares / (final * final))
            gradient[rows] = -slopes.T / d**3
        if derivatives > 1:
            dx = np.ascontiguousarray(v[rows].T) / d**2
            product[rows] = _hessian_vectors(solution, u, squares, x, dx).T / d**3


def scattering_length(U: ArrayLike) -> Floats:
    """Return the S-wave scattering length a_0.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts, U < 0 repels.

    Returns
    -------
    float or ndarray of float64, shape (...)
        The scattering lengths in units of the range. On a resonance, where u'(1) = 0,
        the result is a signed infinity or a huge value.

    Raises
    ------
    TypeError
        If U is not real.
    ValueError
        If U is a scalar, empty or not finite.

    Notes
    -----
    Away from resonances and from the zeros of a_0, the relative error is a few units of
    rounding at any depth. If U has the relative distance t from a resonance, the
    relative error is larger by a factor of 1/t.

    If numba is installed, batches of at least 500,000 shells run in compiled code,
    provided that ``|U|`` is at most d^2/16 and 100,000. All other batches run in NumPy.

    Examples
    --------
    >>> k = np.sqrt(2.0)
    >>> bool(abs(scattering_length(np.full(64, 2.0)) - (1 - np.tan(k) / k)) < 1e-13)
    True
    >>> scattering_length(np.ones((3, 5, 8))).shape
    (3, 5)
    """
    return _sweep(0, U)[0]


def scattering_length_gradient(U: ArrayLike) -> Floats:
    r"""Return the exact gradient of a_0 with respect to the shells of U.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts, U < 0 repels.

    Returns
    -------
    ndarray of float64, shape (..., d)
        The gradients in units of the range. They are never positive, and minus infinity
        on a resonance.

    Raises
    ------
    TypeError
        If U is not real.
    ValueError
        If U is a scalar, empty or not finite.

    Notes
    -----
    .. math:: \frac{\partial a_0}{\partial U_i}
              = -\int_{\text{shell } i} \left(\frac{u(r)}{u'(1)}\right)^2 dr

    Examples
    --------
    >>> scattering_length_gradient(np.zeros(2)).round(6)  # -(i^2 - i + 1/3)/d^3
    array([-0.041667, -0.291667])
    """
    return _sweep(1, U)[1]


def _squares(solution: shells.Edges) -> tuple[Floats, Floats]:
    """Return u at the left edges of the shells, and the integrals of u^2 over them.

    Both have shape (d, n), for n potentials of d shells. `solution` stores u divided by
    a power of two, which may differ from edge to edge. The returned u is divided by the
    power of its own edge. The integrals are those of the square of u divided by the
    power at r = 1, for all shells. They are in units of the thickness h of a shell.
    """
    q = solution.q[:-1]
    u = np.arange(len(q))[:, None] * q - solution.w[:-1]
    return u, np.ldexp(shells.square(u, q, solution.c), 2 * solution.to_end()[:-1])


def scattering_length_hvp(U: ArrayLike, v: ArrayLike) -> Floats:
    r"""Return the exact product of the Hessian of a_0 with v.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts, U < 0 repels.
    v : array_like of float, shape (..., d)
        Vectors that multiply the Hessians, one per potential.

    Returns
    -------
    ndarray of float64, shape (..., d)
        The products in units of the range. They are infinite or huge on a resonance.

    Raises
    ------
    TypeError
        If U or v is not real.
    ValueError
        If U or v is a scalar, empty or not finite, or if their shapes differ.

    See Also
    --------
    scattering_length_jet : Return a_0 and its gradient together with the product.

    Notes
    -----
    .. math:: \sum_j \frac{\partial^2 a_0}{\partial U_i \partial U_j} v_j
              = -2 \int_{\text{shell } i} \hat u\, \delta\hat u\, dr, \qquad
              \hat u = u/u'(1),

    where u is the zero-energy solution, and :math:`\delta\hat u` is the directional
    derivative of :math:`\hat u` along v. The code computes the gradient and the
    directional derivative of each step of the gradient together.

    Examples
    --------
    >>> U, v = np.array([0.3, 0.2]), np.array([1.0, -1.0])
    >>> t = 1e-4
    >>> change = scattering_length_gradient(U + t * v)
    >>> change -= scattering_length_gradient(U - t * v)
    >>> bool(np.allclose(scattering_length_hvp(U, v), change / (2 * t), rtol=1e-7))
    True
    """
    return scattering_length_jet(U, v)[2]


def scattering_length_jet(U: ArrayLike, v: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return a_0, its gradient, and the product of its Hessian with v, from one sweep.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts, U < 0 repels.
    v : array_like of float, shape (..., d)
        Vectors that multiply the Hessians, one per potential.

    Returns
    -------
    a0 : float or ndarray of float64, shape (...)
        The scattering lengths in units of the range.
    gradient : ndarray of float64, shape (..., d)
        The gradients in units of the range.
    product : ndarray of float64, shape (..., d)
        The Hessian-vector products in units of the range.

    Raises
    ------
    TypeError
        If U or v is not real.
    ValueError
        If U or v is a scalar, empty or not finite, or if their shapes differ.

    Examples
    --------
    >>> a0, gradient, product = scattering_length_jet(np.zeros((5, 3)), np.ones((5, 3)))
    >>> a0.shape, gradient.shape, product.shape
    ((5,), (5, 3), (5, 3))
    """
    return _sweep(2, U, v)


def _hessian_vectors(
    solution: shells.Edges, u: Floats, squares: Floats, x: Floats, dx: Floats
) -> Floats:
    """Return the Hessian-vector products of a_0 in units of h^3, shape (d, n).

    All arrays have shape (d, n), for n potentials of d shells of thickness h: u and
    `squares` are the results of `_squares` for `solution`, x is U h^2, and dx is v h^2,
    where v is the vector that multiplies the Hessian.
    """
    c = np.stack(solution.c, axis=1)  # c[i] holds the functions of shell i
    dw, dq = np.zeros_like(x[0]), np.zeros_like(x[0])
    change = np.empty_like(x)
    for i, q in enumerate(solution.q[:-1]):
        slopes = shells.stumpff_slopes(c[i])
        before = dq
        du, dw, dq = shells.tangent_across(
            i, u[i], q, dw, dq, dx[i], c[i], slopes[0], x[i] * c[i, 1:4]
        )
        change[i] = shells.tangent_of_square(u[i], q, du, before, dx[i], c[i], slopes)
        shift = solution.exponent[i] - solution.exponent[i + 1]
        dw, dq = np.ldexp(dw, shift), np.ldexp(dq, shift)
    change = np.ldexp(change, 2 * solution.to_end()[:-1])
    final = solution.q[-1]
    return (2 * squares * (dq / final) - change) / final**2


def effective_range(U: ArrayLike) -> Floats:
    r"""Return the effective range r_e of k cot(delta) = -1/a_0 + r_e k^2/2 + ..

    Here delta is the S-wave phase shift at the wave number k, in units of the inverse
    range.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts, U < 0 repels.

    Returns
    -------
    float or ndarray of float64, shape (...)
        The effective ranges in units of the range. The result is infinite where a_0 =
        0, also for U = 0, because the expansion does not exist there.

    Raises
    ------
    TypeError
        If U is not real.
    ValueError
        If U is a scalar, empty or not finite.

    Notes
    -----
    .. math:: r_e = 2 \int_0^1 \left[(1 - r/a_0)^2 - u(r)^2\right] dr, \qquad
              u(1) = 1 - 1/a_0

    Here u is the zero-energy solution, scaled to the given u(1). The integral is
    computed from the difference between u(r) and the straight line r u'(1), which is
    small for weak potentials. For such potentials r_e is of order 1/U and is computed
    without loss of digits.

    Examples
    --------
    >>> k = np.pi / 2  # the first resonance of the square well: r_e equals the range
    >>> bool(abs(effective_range(np.full(16, k**2)) - 1.0) < 1e-12)
    True
    """
    U = validation.real_array("U", U)
    return shells.evaluate(_effective_ranges, U, _BLOCK // U.shape[-1])


@np.errstate(all="ignore")
def _effective_ranges(x: Floats) -> Floats:
    """Return the effective ranges, shape (n,), for x = U h^2 of shape (d, n).

    There are n potentials of d shells of thickness h = 1/d. The result is in units of
    the range, and infinite where a_0 = 0.
    """
    d = len(x)
    solution = shells.edges(x, order=5)
    _, c1, c2, c3, c4, c5 = solution.c
    to_end = solution.to_end()
    w, q = np.ldexp(solution.w, to_end), np.ldexp(solution.q, to_end)
    loss = np.ldexp(solution.loss, to_end[:-1])
    slope, w_end = q[-1], w[-1]
    # q at each left edge minus q at r = 1, summed from small terms without cancellation
    excess = np.cumsum(loss[::-1], axis=0)[::-1]
    w, q, i = w[:-1], q[:-1], np.arange(d)[:, None]
    u = i * q - w
    bend = i * excess - w  # u minus the straight line i * slope
    linear = (
        bend * (2 * i * slope + bend)
        + i * slope * excess
        + bend * q
        + excess * (2 * slope + excess) / 3
    )
    curved = (
        u * u * (c3 + c1 * c2) / 2
        + u * q * c3 * (1 + c1)
        + q * q * (c5 + c4 + c2 * c3) / 2
    )
    # The integral of u^2 - r^2 u'(1)^2 over [0, 1], in units of h
    moment = (linear - x * curved).sum(axis=0)
    # w_end**2 could underflow
    r_e = 2 * ((w_end - d * slope) - moment / w_end / d) / w_end
    return np.where(w_end == 0, np.inf, r_e)


def bound_states(U: ArrayLike) -> NDArray[np.int64]:
    """Return the number of S-wave bound states.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts, U < 0 repels.

    Returns
    -------
    int64 or ndarray of int64, shape (...)
        The numbers of bound states.

    Raises
    ------
    TypeError
        If U is not real.
    ValueError
        If U is empty or not finite, or if it has more than 2^53 bound states, which
        would not be counted exactly.

    Notes
    -----
    By Levinson's theorem at zero energy, the number of bound states is the number of
    nodes of u(r) at r > 0. The nodes are counted within the range and on the straight
    line beyond it. On a resonance, rounding decides whether the state at threshold is
    counted.

    Examples
    --------
    >>> [int(bound_states(np.full(8, depth))) for depth in (2.0, 3.0, 30.0)]
    [0, 1, 2]
    """
    U = validation.real_array("U", U)
    return shells.evaluate(_count_states, U, _BLOCK // U.shape[-1], dtype=np.int64)


def _count_states(x: Floats) -> Floats:
    """Return the numbers of bound states, shape (n,), for x = U h^2 of shape (d, n).

    There are n potentials of d shells of thickness h = 1/d. Raise a ValueError if a
    potential has more than 2^53 nodes within the range.
    """
    solution = shells.edges(x)
    w, q = solution.w, solution.q
    u = np.arange(len(q))[:, None] * q - w
    left, right = u[:-1], u[1:]
    # A node on an edge is counted in the shell to its left, so u = 0 takes the sign of
    # u just after the edge.
    sign = np.where(left == 0, np.sign(q[:-1]), np.sign(left))
    crosses = sign != np.where(right == 0, np.sign(q[1:]), np.sign(right))
    k = np.sqrt(np.maximum(x, 0))
    turns = (np.arctan2(k * np.abs(left), sign * q[:-1]) + k) / np.pi
    nodes = np.floor(turns)
    # Rounding may put a node near an edge on the wrong side. The signs of u give the
    # parity of the count.
    odd = nodes % 2 != crosses % 2
    nodes += np.where(odd, np.where(turns - nodes > 0.5, 1, -1), 0)
    inside = np.where(k > 1, nodes, crosses).sum(axis=0)
    if inside.max() > 2**53:
        raise ValueError(
            "U: has more than 2^53 bound states, which float64 cannot count exactly; "
            "use a shallower potential"
        )
    return inside + (right[-1] * q[-1] < 0)


def wave_function(U: ArrayLike, points_per_shell: int = 8) -> tuple[Floats, Floats]:
    """Return the zero-energy solution u(r) of one potential at equally spaced points.

    Parameters
    ----------
    U : array_like of float, shape (d,)
        Dimensionless potential of d shells. U > 0 attracts, U < 0 repels.
    points_per_shell : int
        Number of points in each shell, at least 1.

    Returns
    -------
    r : ndarray of float64, shape (d * points_per_shell + 1,)
        The points from 0 to 1, in units of the range.
    u : ndarray of float64, shape (d * points_per_shell + 1,)
        The solution in units of the range, scaled to u'(1) = 1. Hence u = r - a_0
        beyond the range.

    Raises
    ------
    TypeError
        If U is not real, or `points_per_shell` is not an integer.
    ValueError
        If U is empty, not finite or not one-dimensional, if `points_per_shell` is below
        1, or if the arrays need more memory than is free.

    Examples
    --------
    >>> r, u = wave_function(np.full(4, 1.0))
    >>> bool(np.allclose(u, np.sin(r) / np.cos(1.0), rtol=1e-13))
    True
    """
    U = validation.real_array("U", U)
    if U.ndim != 1:
        raise ValueError(f"U: shape {U.shape}; must be one potential, shape (d,)")
    m = validation.integer("points_per_shell", points_per_shell, minimum=1)
    name = f"points_per_shell = {m}"
    validation.memory(name, 120 * len(U) * m, "use fewer points")
    # Dividing every shell into m does not change the potential, and the new edges are
    # the points.
    x = np.repeat(U, m)[:, None] / (len(U) * m) ** 2
    solution = shells.edges(x)
    to_end = solution.to_end()
    w, q = np.ldexp(solution.w, to_end)[:, 0], np.ldexp(solution.q, to_end)[:, 0]
    edge = np.arange(len(w))
    with np.errstate(divide="ignore", invalid="ignore"):
        return edge / (len(w) - 1), (edge * q - w) / (q[-1] * (len(w) - 1))

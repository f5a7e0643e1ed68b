r"""Propagate the zero-energy solution exactly across the shells of a potential.

Within a shell U is constant. The solution of u'' = -U u is then given by Stumpff's
functions,

.. math:: c_k(x) = \sum_{m \ge 0} \frac{(-x)^m}{(2m + k)!}, \qquad
          c_0 = \cos\sqrt x, \quad c_1 = \sin\sqrt x / \sqrt x, \quad
          c_k = 1/k! - x\, c_{k+2},

which are entire in x = U h^2, where h is the thickness of a shell. One formula is
therefore valid for attraction, for repulsion and for U = 0. The propagated variables
are w = r u' - u and q = h u' in place of u and u'. Both are constant where U = 0. The
small effect of a weak potential is therefore a sum of small numbers and never a
difference of large ones.

The functions `across`, `square` and their tangents define the effect of one shell, for
numbers and for arrays. Both the NumPy sweep and the compiled sweep are built from them.

References
----------
- Stiefel and Scheifele, Linear and Regular Celestial Mechanics (1971):
  https://doi.org/10.1007/978-3-642-65027-7
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import factorial
from typing import Any, NamedTuple

import numpy as np

from paperlib._support import chunks, jit, threads
from paperlib._support.validation import Floats

# exp(300) squared is still finite in float64, and for larger arguments cosh and sinh
# agree to all digits.
_MAX_EXPONENT = 300.0


def across(i: Any, w: Any, q: Any, xc: Any) -> tuple:
    """Propagate w = r u' - u and q = h u' across shell i, which begins at r = i h.

    The arguments w and q are the values at the left edge. The tuple xc holds x c_k(x)
    for k = 1, 2, 3, where c_k are the Stumpff functions and x = U h^2. Return u at the
    left edge, w and q at the right edge, and the decrease of q across the shell.

    Examples
    --------
    For U = 0, w and q are constant:

    >>> across(2, 0.5, 1.0, (0.0, 0.0, 0.0))
    (1.5, 0.5, 1.0, 0.0)
    """
    xc1, xc2, xc3 = xc
    u = i * q - w
    loss = xc1 * u + xc2 * q
    return u, w + (xc2 * u + xc3 * q - (i + 1) * loss), q - loss, loss


def tangent_across(
    i: Any, u: Any, q: Any, dw: Any, dq: Any, dx: Any, c: Any, c1_slope: Any, xc: Any
) -> tuple:
    """Return the differentials du, dw and dq of the results u, w and q of `across`.

    This is a Jacobian-vector product for shell i, without the component for the
    decrease of q. The arguments u = i q - w and q = h u' are the values at the left
    edge, dw and dq are the differentials of w and q at the left edge, and dx is the
    differential of x = U h^2. The sequence c holds the Stumpff functions c_0, c_1, ..
    of x, `c1_slope` is the derivative of c_1 with respect to x, and the tuple xc holds
    x c_k for k = 1, 2, 3. The returned du is at the left edge. The returned dw and dq
    are at the right edge.
    """
    c0, c1 = c[:2]
    xc1, xc2, xc3 = xc
    du = i * dq - dw
    loss = xc1 * du + xc2 * dq + dx * ((c0 + c1) * u + c1 * q) / 2
    gain = xc2 * du + xc3 * dq + dx * (c1 * u / 2 - c1_slope * q)
    return du, dw + (gain - (i + 1) * loss), dq - loss


def square(u: Any, q: Any, c: Any) -> Any:
    """Return the integral of u^2 over a shell, in units of its thickness h.

    The arguments u and q = h u' are the values at the left edge, and c holds the
    Stumpff functions c_0 .. c_3 of x = U h^2. The integral contains c_k(4x), which the
    doubling formulas express by c_k(x).

    Examples
    --------
    For U = 0, u grows from 1 to 2 across the shell if u = q = 1:

    >>> square(1.0, 1.0, (1.0, 1.0, 1 / 2, 1 / 6))  # 7/3
    2.3333333333333335
    """
    c0, c1, c2, c3 = c[:4]
    return u * u * (1 + c0 * c1) / 2 + u * q * c1 * c1 + q * q * (c3 + c1 * c2) / 2


def tangent_of_square(
    u: Any, q: Any, du: Any, dq: Any, dx: Any, c: Any, slopes: Any
) -> Any:
    """Return the differential of `square`, the integral of u^2 over a shell.

    The integral is in units of the thickness h of the shell. The arguments u and
    q = h u' are the values at the left edge, du and dq are their differentials, and dx
    is the differential of x = U h^2. The sequence c holds the Stumpff functions c_0 ..
    c_3 of x, and `slopes` the derivatives of c_1, c_2 and c_3 with respect to x.
    """
    c0, c1, c2, c3 = c[:4]
    c1_slope, c2_slope, c3_slope = slopes
    from_x = u * u * (c0 * c1_slope - c1 * c1 / 2) / 2 + 2 * u * q * c1 * c1_slope
    from_x = from_x + q * q * (c3_slope + c1_slope * c2 + c1 * c2_slope) / 2
    from_u = u * du * (1 + c0 * c1) + (du * q + u * dq) * c1 * c1
    from_uq = from_u + q * dq * (c3 + c1 * c2)
    return from_uq + dx * from_x


def stumpff_slopes(c: Any) -> tuple:
    """Return the derivatives of c_1, c_2 and c_3 with respect to x.

    The derivative of c_k is (k c_{k+2} - c_{k+1}) / 2. The sequence c holds the Stumpff
    functions c_0 .. c_5 of x.
    """
    c2, c3, c4, c5 = c[2:]
    return (c3 - c2) / 2, (2 * c4 - c3) / 2, (3 * c5 - c4) / 2


def stumpff(x: Floats, order: int) -> list[Floats]:
    """Return Stumpff's functions c_0 .. c_order of x, each of the shape of x.

    The order is at least 1. For x < -90,000 all functions are multiplied by one common
    factor, cosh(300)/cosh(sqrt(-x)), that keeps them finite. The differential equation
    of u is homogeneous, so the factor does not affect results that are independent of
    the scale of u.

    Examples
    --------
    >>> c0, c1 = stumpff(np.array([np.pi**2]), 1)
    >>> c0.round(12), c1.round(12) + 0.0
    (array([-1.]), array([0.]))
    """
    near = np.clip(x, -1.0, 1.0)
    series = []
    for k in (order - 1, order):
        total = np.zeros_like(near)
        # The next term, at most 1/20!, is below half an ulp of every c_k
        for m in reversed(range(10)):
            total *= -near
            total += 1 / factorial(2 * m + k)
        series.append(total)
    for k in reversed(range(order - 1)):
        series.insert(0, 1 / factorial(k) - near * series[1])
    far = np.abs(x) > 1.0
    if far.any():
        y = x[far]
        root = np.sqrt(np.abs(y))
        growth = np.minimum(root, _MAX_EXPONENT)
        functions = [
            np.where(y > 0, np.cos(root), np.cosh(growth)),
            np.where(y > 0, np.sin(root), np.sinh(growth)) / root,
        ]
        for n in range(order - 1):
            functions.append((1 / factorial(n) - functions[n]) / y)
        for target, values in zip(series, functions, strict=True):
            target[far] = values
    return series


def blocks(U: Floats, potentials: int) -> Iterator[tuple[slice, Floats]]:
    """Yield blocks (rows, x) of at most `potentials` potentials of U, shape (..., d).

    The slice `rows` selects n potentials of ``U.reshape(-1, d)``. The array x = U h^2,
    for shells of thickness h = 1/d, has shape (d, n), one column for each potential.

    Examples
    --------
    >>> [(rows.start, x.shape) for rows, x in blocks(np.ones((5, 3)), 2)]
    [(0, (3, 2)), (2, (3, 2)), (4, (3, 1))]
    """
    flat = U.reshape(-1, U.shape[-1])
    for rows in chunks.slices(len(flat), potentials):
        yield rows, np.ascontiguousarray(flat[rows].T) / U.shape[-1] ** 2


def evaluate(
    function: Callable, U: Floats, potentials: int, *columns: int, dtype: Any = float
) -> np.ndarray:
    """Apply a function to blocks of at most `potentials` potentials, and join results.

    U has shape (..., d). The function receives x = U h^2 of n potentials, shape (d, n),
    where h = 1/d is the thickness of a shell. It returns an array of shape (n,
    *columns). The result has the shape (..., *columns) and the given dtype.

    Examples
    --------
    >>> evaluate(lambda x: x.sum(axis=0), np.ones((2, 3, 5)), 4)
    array([[0.2, 0.2, 0.2],
           [0.2, 0.2, 0.2]])
    """
    result = np.empty((U.size // U.shape[-1], *columns), dtype)
    for rows, x in blocks(U, potentials):
        result[rows] = function(x)
    return result.reshape((*U.shape[:-1], *columns))[()]


class Edges(NamedTuple):
    """Hold the zero-energy solution u at all edges of d shells of thickness h.

    The edges are the left edges of the shells, and r = 1. The arrays w, q and
    `exponent` have shape (d + 1, n), with one row for each edge and one column for each
    potential: r u' - u = w 2^exponent and h u' = q 2^exponent. The array `loss` of
    shape (d, n) holds the decrease of q across each shell, before w and q at the right
    edge are divided by a power of two. The list c holds the Stumpff functions of x =
    U h^2, each of shape (d, n).
    """

    w: Floats
    q: Floats
    exponent: np.ndarray
    loss: Floats
    c: list[Floats]

    def to_end(self) -> np.ndarray:
        """Return the exponents e, shape (d + 1, n), for a common factor at all edges.

        The arrays w 2^e and q 2^e have the factor of the last edge, r = 1.
        """
        return self.exponent - self.exponent[-1]


def edges(x: Floats, order: int = 3) -> Edges:
    """Propagate the zero-energy solution with u(0) = 0, u'(0) = 1 from r = 0 to r = 1.

    The argument x = U h^2 has shape (d, n), for n potentials of d shells of thickness
    h. Return the solution at all edges, and Stumpff's functions c_0 .. c_order of x.
    The order is at least 3.

    Examples
    --------
    >>> final = edges(np.full((1, 1), 1.0))
    >>> bool(abs(final.w[-1, 0] / final.q[-1, 0] - (1 - np.tan(1))) < 1e-15)
    True
    """
    d, n = x.shape
    c = stumpff(x, order)
    xc = [x * function for function in c[1:4]]
    w, q, loss = np.zeros((d + 1, n)), np.empty((d + 1, n)), np.empty((d, n))
    exponent = np.zeros((d + 1, n), dtype=np.int64)
    q[0] = 1.0 / d
    # For |x| <= 1/4 and |U| <= 1e5 the solution grows by at most a factor cosh(316), so
    # it is not rescaled.
    deep = not (np.abs(x).max() <= 0.25 and np.abs(x).max() * d**2 <= 1e5)
    for i in range(d):
        shell = [values[i] for values in xc]
        _, w[i + 1], q[i + 1], loss[i] = across(i, w[i], q[i], shell)
        if deep:
            shift = np.frexp(np.maximum(np.abs(w[i + 1]), np.abs(q[i + 1])))[1]
            w[i + 1] = np.ldexp(w[i + 1], -shift)
            q[i + 1] = np.ldexp(q[i + 1], -shift)
            exponent[i + 1] = exponent[i] + shift
    return Edges(w, q, exponent, loss, c)


# The code below computes the same results with numba, several potentials at a time in
# the vector registers. It processes _LANES potentials together, so that their shells
# stay in cache. On one core the loop for a_0 is limited by the speed of the vector
# units, and the loops for derivatives by the memory that they read and write. Compiling
# takes about one or two seconds, once for each process and each highest derivative.
MAX_X = 1 / 16
"""Largest ``|U| h^2`` for which `_shallow_stumpff` is exact to rounding."""

_LANES = 32
_WORTH_COMPILING = 500_000  # smallest number of shells in the batch


def swept(derivatives: int, U: Floats, *arrays: Floats) -> bool:
    """Fill a_0, its gradient and Hessian-vector products by compiled code, if possible.

    Parameters
    ----------
    derivatives : int
        Highest order of the derivatives to compute, from 0 to 2.
    U : ndarray of float64, shape (n, d)
        The potentials. U and `arrays` are C-contiguous.
    arrays : ndarrays of float64
        The vectors v (n, d) that multiply the Hessians of a_0, then the results:
        gradients (n, d), products (n, d) and a_0 (n,). An array of derivatives that are
        not computed has no rows, and v has no rows unless the products are computed.

    Returns
    -------
    bool
        True if the results are valid. False if numba is not installed, if U has fewer
        than 500,000 entries, if ``|U|`` exceeds d^2/16 or 100,000, or if U has a NaN.
        The loop itself records the largest ``|U|`` and propagates a NaN to the results,
        because a check beforehand would take as long as the loop.
    """
    compile_sweep = partial(_compile_sweep, derivatives)
    sweep = jit.loop(("sweep", derivatives), compile_sweep, U.size, _WORTH_COMPILING)
    if sweep is None:
        return False
    n, d = U.shape
    parts = list(chunks.slices(n, max(_LANES, -(-n // (4 * threads.count())))))
    largest = np.zeros(len(parts))

    def sweep_part(number: int) -> None:
        rows = parts[number]
        sweep(U[rows], *(array[rows] for array in arrays), largest[number:])

    threads.in_parallel(sweep_part, range(len(parts)))
    shallow = largest.max() <= min(MAX_X, 1e5 / d**2)
    return bool(shallow) and not np.isnan(arrays[-1]).any()


def _compile_sweep(derivatives: int, numba: Any) -> Callable:
    """Compile the loop of `_sweep` with the module numba.

    The loop computes a_0 and its derivatives up to the order `derivatives`.
    """
    sweep = _sweep(derivatives, numba.njit(inline="always"))
    # A writable array also matches this type
    given = numba.types.Array(numba.float64, 2, "C", readonly=True)
    rows, column = numba.float64[:, ::1], numba.float64[::1]
    signature = numba.void(given, given, rows, rows, column, column)
    # "contract" permits fused multiply-add, and no other deviation from IEEE
    # arithmetic.
    return numba.njit(
        signature, nogil=True, error_model="numpy", fastmath={"contract"}
    )(sweep)


def _shallow_stumpff(x: Any) -> tuple:
    """Return c_0 .. c_5 of one number x with ``|x| <= MAX_X``.

    The first terms of the series sum_m (-x)^m / (2m + k)!, m = 0 .. 4, give c_k for k =
    4 and 5. The other functions follow from c_k = 1/k! - x c_{k+2}.
    """
    c4 = 1 / 40320 - x * (1 / 3628800 - x * (1 / 479001600))
    c4 = 1 / 24 - x * (1 / 720 - x * c4)
    c5 = 1 / 362880 - x * (1 / 39916800 - x * (1 / 6227020800))
    c5 = 1 / 120 - x * (1 / 5040 - x * c5)
    c2, c3 = 1 / 2 - x * c4, 1 / 6 - x * c5
    return 1 - x * c2, 1 - x * c3, c2, c3, c4, c5


def _sweep(derivatives: int, inline: Callable) -> Callable:
    """Return the loop that `_compile_sweep` compiles.

    The loop computes a_0 and its derivatives up to the order `derivatives`. The
    decorator `inline` compiles the formulas of one shell, such as `across`, into it.
    """
    stumpff, step, squared = map(inline, (_shallow_stumpff, across, square))
    slopes_of, change_step, change_of_square = map(
        inline, (stumpff_slopes, tangent_across, tangent_of_square)
    )

    def sweep(
        U: Floats, v: Floats, gradient: Floats, product: Floats, a0: Floats, top: Floats
    ) -> None:
        """Fill the results for U (n, d), and the largest ``|U| h^2`` in top[0].

        The results are the arrays `gradient` (n, d), `product` (n, d), the products of
        the Hessians with v (n, d), and `a0` (n,). A block of _LANES potentials is
        transposed first, so that the inner loop runs over potentials. The compiler
        vectorises this loop.
        """
        n, d = U.shape
        scale = 1.0 / d**2
        w, q = np.empty(_LANES), np.empty(_LANES)
        dw, dq = np.empty(_LANES), np.empty(_LANES)
        size = np.zeros(_LANES)
        x_of, dx_of = np.zeros((d, _LANES)), np.zeros((d, _LANES))
        squares, changes = np.empty((d, _LANES)), np.empty((d, _LANES))
        for start in range(0, n, _LANES):
            lanes = min(_LANES, n - start)
            for lane in range(lanes):
                for i in range(d):
                    x_of[i, lane] = U[start + lane, i] * scale
                    if derivatives > 1:
                        dx_of[i, lane] = v[start + lane, i] * scale
            w[:], q[:], dw[:], dq[:] = 0.0, 1.0 / d, 0.0, 0.0
            for i in range(d):
                left = float(i)
                for lane in range(_LANES):
                    x, p = x_of[i, lane], q[lane]
                    size[lane] = max(size[lane], abs(x))
                    c = stumpff(x)
                    xc2, xc3 = x * c[2], x * c[3]
                    xc = (x - x * xc3, xc2, xc3)
                    u, w[lane], q[lane], _ = step(left, w[lane], p, xc)
                    if derivatives > 0:
                        squares[i, lane] = squared(u, p, c)
                    if derivatives > 1:
                        dx, dp, slopes = dx_of[i, lane], dq[lane], slopes_of(c)
                        du, dw[lane], dq[lane] = change_step(
                            left, u, p, dw[lane], dp, dx, c, slopes[0], xc
                        )
                        changes[i, lane] = change_of_square(u, p, du, dp, dx, c, slopes)
            for lane in range(lanes):
                a0[start + lane] = w[lane] / (d * q[lane])
                if derivatives > 0:
                    factor = 1 / (q[lane] * q[lane] * d**3)
                    pull = 2 * dq[lane] / q[lane]
                    for i in range(d):
                        gradient[start + lane, i] = -factor * squares[i, lane]
                        if derivatives > 1:
                            change = pull * squares[i, lane] - changes[i, lane]
                            product[start + lane, i] = factor * change
        top[0] = size.max()

    return sweep

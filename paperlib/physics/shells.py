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
    """Propagate (w, q) across shell i = 0, 1, ..

    The arguments w and q are the values at the left edge. The tuple xc holds x c_1,
    x c_2 and x c_3, for x = U h^2 of the shell. Return u at the left edge, w and q at
    the right edge, and the decrease of q in the shell.
    """
    xc1, xc2, xc3 = xc
    u = i * q - w
    loss = xc1 * u + xc2 * q
    return u, w + (xc2 * u + xc3 * q - (i + 1) * loss), q - loss, loss


def tangent_across(
    i: Any, u: Any, q: Any, dw: Any, dq: Any, dx: Any, c: Any, c1_slope: Any, xc: Any
) -> tuple:
    """Return the changes of u, w and q in `across`.

    They belong to a change of x by dx, and to changes of w and q at the left edge by dw
    and dq. The arguments u and q are the values at the left edge, c holds the Stumpff
    functions of x, c1_slope is the derivative of c_1, and xc is the argument of
    `across`. The returned du belongs to the left edge, and the returned dw and dq
    belong to the right edge.
    """
    c0, c1 = c[:2]
    xc1, xc2, xc3 = xc
    du = i * dq - dw
    loss = xc1 * du + xc2 * dq + dx * ((c0 + c1) * u + c1 * q) / 2
    gain = xc2 * du + xc3 * dq + dx * (c1 * u / 2 - c1_slope * q)
    return du, dw + (gain - (i + 1) * loss), dq - loss


def square(u: Any, q: Any, c: Any) -> Any:
    """Return the integral of u^2 over a shell, in units of h.

    The arguments u and q are the values at the left edge, and c holds the Stumpff
    functions of x. The integral contains c_k(4x), which the doubling formulas express
    by c_k(x).
    """
    c0, c1, c2, c3 = c[:4]
    return u * u * (1 + c0 * c1) / 2 + u * q * c1 * c1 + q * q * (c3 + c1 * c2) / 2


def tangent_of_square(
    u: Any, q: Any, du: Any, dq: Any, dx: Any, c: Any, slopes: Any
) -> Any:
    """Return the change of `square` for changes of x by dx, of u by du and of q by dq.

    The derivatives of c_1, c_2 and c_3 are in `slopes`, as returned by
    `stumpff_slopes`.
    """
    c0, c1, c2, c3 = c[:4]
    c1_slope, c2_slope, c3_slope = slopes
    from_x = u * u * (c0 * c1_slope - c1 * c1 / 2) / 2 + 2 * u * q * c1 * c1_slope
    from_x = from_x + q * q * (c3_slope + c1_slope * c2 + c1 * c2_slope) / 2
    from_u = u * du * (1 + c0 * c1) + (du * q + u * dq) * c1 * c1
    from_uq = from_u + q * dq * (c3 + c1 * c2)
    return from_uq + dx * from_x


def stumpff_slopes(c: Any) -> tuple:
    """Return the derivatives c_k' = (k c_{k+2} - c_{k+1}) / 2 for k = 1, 2, 3."""
    c2, c3, c4, c5 = c[2:]
    return (c3 - c2) / 2, (2 * c4 - c3) / 2, (3 * c5 - c4) / 2


def stumpff(x: Floats, order: int) -> list[Floats]:
    """Return Stumpff's functions c_0 .. c_order of x, each of the shape of x.

    The order is at least 1.

    For x < -90,000 all functions are multiplied by one common factor that keeps them
    finite. The differential equation is homogeneous, so the factor does not affect
    results that are independent of the scale of u.

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
    """Yield (rows, x) over potentials U (..., d), taken `potentials` at a time.

    The slice `rows` selects potentials in C order. The array x = U h^2 has shape (d,
    n), one column per potential.

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
    """Return function(x) of potentials U (..., d), taken `potentials` at a time.

    The array x is that of `blocks`. For n potentials, `function` returns the shape (n,
    *columns), and the result has the shape (..., *columns).

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
    """Hold the regular solution at all edges, up to the factor 2^exponent.

    The edges are the left edges of the d shells, and r = 1.

    The arrays w, q and `exponent` have shape (d + 1, n), with one row per edge and one
    column per potential. The array `loss` of shape (d, n) holds q[i] - q[i+1] of shell
    i before rescaling. The list c holds the Stumpff functions of the shells, each of
    shape (d, n).
    """

    w: Floats
    q: Floats
    exponent: np.ndarray
    loss: Floats
    c: list[Floats]

    def to_end(self) -> np.ndarray:
        """Return the exponent of the factor that gives each edge the scale at r = 1."""
        return self.exponent - self.exponent[-1]


def edges(x: Floats, order: int = 3) -> Edges:
    """Propagate (w, q) = (0, h) from r = 0 to r = 1, and return all edges.

    The argument x = U h^2 has shape (d, n). Stumpff's functions are computed up to
    `order`, at least 3.

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


# The sweep compiled by numba holds potentials side by side in the vector registers. It
# processes _LANES potentials at a time, so that their shells stay in cache. On one core
# the loop for a_0 runs at the rate of the vector units. The loops for derivatives are
# limited by the memory that they read and write. Compiling takes about one or two
# seconds, once per process and loop.
MAX_X = 1 / 16
"""Largest ``|U| h^2`` for which `_shallow_stumpff` is exact to rounding."""

_LANES = 32
_WORTH_COMPILING = 500_000  # smallest number of shells in the batch


def swept(derivatives: int, U: Floats, *arrays: Floats) -> bool:
    """Fill a_0, gradients and Hessian-vector products by the compiled sweep, if valid.

    Parameters
    ----------
    derivatives : int
        Highest order of the derivatives to compute, from 0 to 2.
    U : ndarray of float64, shape (n, d)
        Potentials. U and `arrays` are C-contiguous.
    arrays : ndarrays of float64
        The directions v (n, d), then the results: gradients (n, d), products (n, d) and
        a_0 (n,). Derivatives that are not computed have no rows, and v has no rows
        unless the products are computed.

    Returns
    -------
    bool
        True if the results are valid. False if numba is not installed, if the batch is
        small, or if a potential is too deep or not finite. The loop itself records the
        largest ``|U| h^2`` and propagates a NaN to the result, because a check
        beforehand would take as long as the loop.
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
    """Compile `_sweep` by the module numba, for derivatives up to `derivatives`."""
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

    Five terms of the series sum_m (-x)^m / (2m + k)! give c_4 and c_5. The others
    follow from c_k = 1/k! - x c_{k+2}.
    """
    c4 = 1 / 40320 - x * (1 / 3628800 - x * (1 / 479001600))
    c4 = 1 / 24 - x * (1 / 720 - x * c4)
    c5 = 1 / 362880 - x * (1 / 39916800 - x * (1 / 6227020800))
    c5 = 1 / 120 - x * (1 / 5040 - x * c5)
    c2, c3 = 1 / 2 - x * c4, 1 / 6 - x * c5
    return 1 - x * c2, 1 - x * c3, c2, c3, c4, c5


def _sweep(derivatives: int, inline: Callable) -> Callable:
    """Return the sweep, to be compiled, for derivatives of orders 0 to `derivatives`.

    The formulas of one shell are compiled by `inline`.
    """
    stumpff, step, squared = map(inline, (_shallow_stumpff, across, square))
    slopes_of, change_step, change_of_square = map(
        inline, (stumpff_slopes, tangent_across, tangent_of_square)
    )

    def sweep(
        U: Floats, v: Floats, gradient: Floats, product: Floats, a0: Floats, top: Floats
    ) -> None:
        """Fill the results for U (n, d) and v, and ``max(|U| h^2)`` in top[0].

        A block of _LANES potentials is transposed first, so that the inner loop runs
        over potentials. The loop is then vectorised.
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

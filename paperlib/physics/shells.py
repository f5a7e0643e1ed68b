r"""The zero-energy solution, carried exactly across the shells of a potential.

Inside a shell U is constant and u'' = -U u is solved by Stumpff's functions,

.. math:: c_k(x) = \sum_{m \ge 0} \frac{(-x)^m}{(2m + k)!}, \qquad
          c_0 = \cos\sqrt x, \quad c_1 = \sin\sqrt x / \sqrt x, \quad c_k = 1/k! - x\, c_{k+2},

which are entire in x: one formula serves attraction, repulsion and the free shell. What is carried is not
(u, u') but w = r u' - u and q = h u' (h the thickness of a shell): both stay as they are where U = 0, so that
a weak potential's small effect is summed from small numbers and never found as a difference of large ones.
"""

from math import factorial

import numpy as np

__all__ = ["Edges", "blocks", "edges", "stumpff"]

from typing import NamedTuple

# exp(300) squared is still a finite double, and past it cosh and sinh agree to all digits.
_LARGEST_EXPONENT = 300.0


def stumpff(x, order):
    """Stumpff's functions c_0 .. c_order of x.

    Below x = -90,000 all of them are scaled by one common factor, so that they stay finite; the
    solution of a homogeneous equation does not feel it.

    Parameters
    ----------
    x : ndarray of float64, any shape
    order : int, at least 1

    Returns
    -------
    list of order + 1 ndarrays, each of x's shape

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
        for m in reversed(range(10)):  # 1/20! is below half a unit in the last place of every c_k here
            total *= -near
            total += 1 / factorial(2 * m + k)
        series.append(total)
    for k in reversed(range(order - 1)):
        series.insert(0, 1 / factorial(k) - near * series[1])
    far = np.abs(x) > 1.0
    if far.any():
        y = x[far]
        k = np.sqrt(np.abs(y))
        growth = np.minimum(k, _LARGEST_EXPONENT)
        functions = [
            np.where(y > 0, np.cos(k), np.cosh(growth)),
            np.where(y > 0, np.sin(k), np.sinh(growth)) / k,
        ]
        for n in range(order - 1):
            functions.append((1 / factorial(n) - functions[n]) / y)
        for target, values in zip(series, functions, strict=True):
            target[far] = values
    return series


def blocks(U, potentials):
    """Yield (rows, x = U h^2 of shape (d, n)) over potentials U of shape (N, d), so many at a time: bounded memory.

    Examples
    --------
    >>> [(rows.start, x.shape) for rows, x in blocks(np.ones((5, 3)), 2)]
    [(0, (3, 2)), (2, (3, 2)), (4, (3, 1))]
    """
    count, d = U.shape
    step = max(1, potentials)
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        yield rows, np.ascontiguousarray(U[rows].T) / d**2


class Edges(NamedTuple):
    """The regular solution at the left edges of the shells and at r = 1, up to the factor 2^exponent.

    Arrays have shape (d + 1, n): edge by edge, one column a potential. `loss[i]` is q[i] - q[i+1] of
    shell i before rescaling, shape (d, n); `c` holds the shells' Stumpff functions, each of shape (d, n).
    """

    w: np.ndarray
    q: np.ndarray
    exponent: np.ndarray
    loss: np.ndarray
    c: list


def edges(x, order=3):
    """Carry (w, q) = (0, h) from r = 0 to r = 1.

    Parameters
    ----------
    x : ndarray of float64, shape (d, n)
        U h^2, shell by shell, one column a potential.
    order : int
        Highest Stumpff function returned in `c`, at least 3.

    Returns
    -------
    Edges

    Notes
    -----
    Over shell i, from r = (i-1) h to i h, with u = (i-1) q - w at its left edge:

    ``loss = x c_1 u + x c_2 q``, then ``q -= loss`` and ``w += x c_2 u + x c_3 q - i loss``.

    Examples
    --------
    >>> final = edges(np.full((1, 1), 1.0))
    >>> bool(abs(final.w[-1, 0] / final.q[-1, 0] - (1 - np.tan(1))) < 1e-15)
    True
    """
    d, n = x.shape
    c = stumpff(x, order)
    xc1, xc2, xc3 = x * c[1], x * c[2], x * c[3]
    w, q, loss = np.zeros((d + 1, n)), np.empty((d + 1, n)), np.empty((d, n))
    exponent = np.zeros((d + 1, n), dtype=np.int64)
    q[0] = 1.0 / d
    # With |x| <= 1/4 and |U| <= 1e5 the solution grows by at most cosh(316): nothing to rescale.
    deep = not (np.abs(x).max() <= 0.25 and np.abs(x).max() * d**2 <= 1e5)
    for i in range(d):
        u = i * q[i] - w[i]
        loss[i] = xc1[i] * u + xc2[i] * q[i]
        w[i + 1] = w[i] + (xc2[i] * u + xc3[i] * q[i] - (i + 1) * loss[i])
        q[i + 1] = q[i] - loss[i]
        if deep:
            shift = np.frexp(np.maximum(np.abs(w[i + 1]), np.abs(q[i + 1])))[1]
            w[i + 1], q[i + 1] = np.ldexp(w[i + 1], -shift), np.ldexp(q[i + 1], -shift)
            exponent[i + 1] = exponent[i] + shift
    return Edges(w, q, exponent, loss, c)

"""Compute Padé approximants at coupling 1, of a series or of a quotient of two series.

The [m/n] approximant is a quotient of polynomials in the coupling, of degrees m and n,
whose power series begins with the coefficients of orders 0 to m + n of the given series
or quotient.

The linear equations for the denominator lose digits as the degrees grow. If they are
solved with the rounded terms of a series (`of_terms`), the accuracy stops improving at
some degree. The scattering length a_0 is the quotient of two power series that converge
everywhere. If the equations are solved with the coefficients of both (`of_quotient`),
the accuracy improves up to rounding.

References
----------
- Baker and Graves-Morris, Padé Approximants (1996):
  https://doi.org/10.1017/CBO9780511530074
"""

import numpy as np
from scipy.linalg import toeplitz

from paperlib._support.validation import Floats


def of_terms(terms: Floats, m: int, n: int) -> float:
    """Return the [m/n] approximant of a series, given its terms of orders 1 to m + n.

    The result is the value of the approximant at coupling 1. It is 0 if all terms are
    0. The series has no term of order 0. The coupling is first scaled so that the first
    and the last nonzero term have equal magnitudes. The equations for the coefficients
    q of the denominator are then solved by least squares, with the solution of smallest
    norm. The result is NaN if the quotient is 0/0.
    """
    if not terms.any():
        return 0.0
    largest = np.abs(terms).max()
    # The approximant is linear in the terms, so they may be scaled
    series = terms / largest
    nonzero = np.flatnonzero(series)
    with np.errstate(all="ignore"):
        first, last = nonzero[0], nonzero[-1]
        scale = np.abs(series[last] / series[first]) ** (1 / max(1, last - first))
        # Bound the scale so that its powers stay within float64. Terms steep enough to
        # reach it are hardly affected.
        scale = np.clip(scale, 10.0 ** (-250 / (m + n)), 10.0 ** (250 / (m + n)))
        powers = scale ** np.arange(m + n + 1)
        c = np.concatenate([[0.0], series]) / powers
    q = np.ones(n + 1)
    if n:
        # The product of the series c and the denominator has no terms of orders k =
        # m + 1 .. m + n. Each gives one equation. Its factor of q_j is
        # c_{k - j}.
        system = toeplitz(c, np.zeros(n + 1))[m + 1 :, 1:]
        q[1:] = np.linalg.lstsq(system, -c[m + 1 :], rcond=1e-14)[0]
    p = np.convolve(c, q)[: m + 1]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return p @ powers[: m + 1] / (q @ powers[: n + 1]) * largest


def of_quotient(w: Floats, q: Floats, m: int, n: int) -> float:
    """Return the [m/n] approximant P/Q of w/q, given the coefficients of w and q.

    The result is the value of P/Q at coupling 1. It is 0 if all coefficients of w are
    0. The arrays w and q hold the coefficients of orders 0 to m + n of two power series
    in the coupling. The polynomials P and Q, of degrees m and n, satisfy P q - Q w = 0
    up to order m + n, with Q_0 = 1. The rows and columns of these equations are scaled
    to similar magnitudes. The equations are then solved by least squares, with the
    solution of smallest norm.
    """
    if not w.any():
        return 0.0
    largest = np.abs(w).max()
    system = np.hstack(
        [toeplitz(q, np.zeros(m + 1)), -toeplitz(w / largest, np.zeros(n + 1))]
    )
    rows, columns = np.ones(m + n + 1), np.ones(m + n + 2)
    for _ in range(8):
        for scale, axis in ((rows, 1), (columns, 0)):
            sizes = np.abs(rows[:, None] * system * columns).max(axis=axis)
            divisor = np.sqrt(np.where(sizes > 0, sizes, 1))
            scale[:] = np.clip(scale / divisor, 1e-99, 1e99)
    system = rows[:, None] * system * columns
    # Q_0 = 1 is known, so its column, of index m + 1, moves to the right-hand side
    right_side = -system[:, m + 1] / columns[m + 1]
    others = np.delete(system, m + 1, axis=1)
    solution = np.linalg.lstsq(others, right_side, rcond=1e-15)[0]
    coefficients = np.delete(columns, m + 1) * solution
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        p, q_rest = coefficients[: m + 1], coefficients[m + 1 :]
        return p.sum() / (1 + q_rest.sum()) * largest

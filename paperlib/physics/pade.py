"""Padé approximants at coupling 1, of a series by its terms, or of a quotient of two series that converge everywhere.

The equations for the denominator lose digits as fast as the degrees grow. In a series' terms, rounded as they are, the higher
degrees are then no longer to be told apart; in numerator and denominator of a_0 they are, and nothing is lost.

References
----------
- Baker and Graves-Morris, Padé Approximants (1996): https://doi.org/10.1017/CBO9780511530074
"""

import numpy as np
from scipy.linalg import toeplitz

from paperlib._support.checks import Floats

__all__ = ["of_quotient", "of_terms"]


def of_terms(terms: Floats, m: int, n: int) -> float:
    """The [m/n] approximant of a series by its terms of orders 1 .. m + n; a NaN where it is 0/0.

    The equations for q are solved by least squares of smallest norm, after the coupling is scaled so that the terms neither
    grow nor fall.
    """
    if not terms.any():
        return 0.0
    largest = np.abs(terms).max()
    series = terms / largest  # the quotient is linear in the terms
    nonzero = np.flatnonzero(series)
    with np.errstate(all="ignore"):
        scale = np.abs(series[nonzero[-1]] / series[nonzero[0]]) ** (1 / max(1, nonzero[-1] - nonzero[0]))
        # No power of it may leave the doubles; terms that steep hardly feel it.
        scale = np.clip(scale, *(10.0 ** (exponent / (m + n)) for exponent in (-250, 250)))
        powers = scale ** np.arange(m + n + 1)
        c = np.concatenate([[0.0], series]) / powers
    q = np.ones(n + 1)
    if n:
        # Column j - 1 holds c_{k - j} in the rows k = m + 1 .. m + n.
        system = toeplitz(c, np.zeros(n + 1))[m + 1 :, 1:]
        q[1:] = np.linalg.lstsq(system, -c[m + 1 :], rcond=1e-14)[0]
    p = np.convolve(c, q)[: m + 1]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return p @ powers[: m + 1] / (q @ powers[: n + 1]) * largest


def of_quotient(w: Floats, q: Floats, m: int, n: int) -> float:
    """The [m/n] approximant P/Q of w/q, of which the coefficients of orders 0 .. m + n are given.

    P q - Q w = 0 to order m + n with Q_0 = 1, by least squares of smallest norm, after rows and columns are scaled to a size.
    """
    if not w.any():
        return 0.0
    largest = np.abs(w).max()
    system = np.hstack([toeplitz(q, np.zeros(m + 1)), -toeplitz(w / largest, np.zeros(n + 1))])
    rows, columns = np.ones(m + n + 1), np.ones(m + n + 2)
    for _ in range(8):
        for scale, axis in ((rows, 1), (columns, 0)):
            sizes = np.abs(rows[:, None] * system * columns).max(axis=axis)
            scale[:] = np.clip(scale / np.sqrt(np.where(sizes > 0, sizes, 1)), 1e-99, 1e99)
    system = rows[:, None] * system * columns
    known = -system[:, m + 1] / columns[m + 1]
    rest = np.delete(system, m + 1, axis=1)
    found = np.delete(columns, m + 1) * np.linalg.lstsq(rest, known, rcond=1e-15)[0]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return found[: m + 1].sum() / (1 + found[m + 1 :].sum()) * largest

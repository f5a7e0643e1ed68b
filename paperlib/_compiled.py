"""The one hot loop, compiled by numba where numba is installed: a_0 of many shallow potentials.

The plain form is `shells.edges`; the tests hold the two together. Compiling takes about a second, once a
process. One core runs the loop at the rate of its vector units; two run it at about a third of the
memory bandwidth.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec

import numpy as np

__all__ = ["LARGEST_X", "available", "scattering_lengths"]

LARGEST_X = 0.25
"""Largest |U| h^2 for which the six-term series of the loop is exact to rounding."""

_LANES = 32  # potentials side by side: four vector registers' worth, and the shells of all fit in cache


def available():
    """Whether numba is installed."""
    return find_spec("numba") is not None


@cache
def _kernel():
    import numba

    def kernel(U, a0):
        n, d = U.shape
        w, q, x_of = np.empty(_LANES), np.empty(_LANES), np.empty((d, _LANES))
        for start in range(0, n, _LANES):
            lanes = min(_LANES, n - start)
            for lane in range(lanes):
                for i in range(d):
                    x_of[i, lane] = U[start + lane, i] / d**2
            w[:] = 0.0
            q[:] = 1.0 / d
            for i in range(d):
                left, right = float(i), float(i + 1)
                for lane in range(_LANES):
                    x = x_of[i, lane]
                    xc2 = x * (1/2 - x * (1/24 - x * (1/720 - x * (1/40320 - x * (1/3628800 - x/479001600)))))
                    xc3 = x * (1/6 - x * (1/120 - x * (1/5040 - x * (1/362880 - x * (1/39916800 - x/6227020800)))))
                    u = left * q[lane] - w[lane]
                    loss = (x - x * xc3) * u + xc2 * q[lane]
                    w[lane] += xc2 * u + xc3 * q[lane] - right * loss
                    q[lane] -= loss
            for lane in range(lanes):
                a0[start + lane] = w[lane] / (d * q[lane])

    compiled = numba.njit("void(float64[:, ::1], float64[::1])", nogil=True, error_model="numpy")
    return compiled(kernel)


def scattering_lengths(U, a0):
    """Write a_0 of the potentials `U`, shape (n, d), C-contiguous, |U| h^2 <= LARGEST_X, into `a0`, shape (n,)."""
    kernel = _kernel()
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    step = max(_LANES, -(-len(U) // (4 * workers)))
    starts = range(0, len(U), step)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda start: kernel(U[start : start + step], a0[start : start + step]), starts))

"""The hot loops of the data, compiled by numba where numba is installed: a_0 of many shallow potentials, and its derivatives.

The plain forms are in `scattering`; the tests hold the two together. Potentials lie side by side in the vector
registers, a few dozen at a time, so that their shells stay in cache. Compiling takes about a second, once a process
and function. One core runs the loop of a_0 at the rate of its vector units; the loops for the derivatives are bound by
the memory that they read and write.
"""

from functools import cache
from importlib.util import find_spec

import numpy as np

from paperlib._support import cores

__all__ = ["LARGEST_X", "available", "gradients", "jets", "scattering_lengths"]

LARGEST_X = 1 / 16
"""Largest |U| h^2 for which the five-term series of the loops are exact to rounding."""

_LANES = 32


def available():
    """Whether numba is installed."""
    return find_spec("numba") is not None


def scattering_lengths(U, a0):
    """Write a_0 of the potentials `U`, shape (n, d), C-contiguous, into `a0`, shape (n,).

    Returns
    -------
    float
        The largest |U| h^2 met, not seeing NaN: above LARGEST_X what was written is not to be used.
    """
    return _in_parallel(_kernel("lengths"), U, a0)


def gradients(U, gradient):
    """Write the gradients of a_0 into `gradient`, shape (n, d); return as `scattering_lengths` does."""
    return _in_parallel(_kernel("slopes"), U, gradient)


def jets(U, v, a0, gradient, product):
    """Write a_0, its gradients, and the products of its Hessian with `v`, shape (n, d), from one sweep; return likewise."""
    return _in_parallel(_kernel("jets"), U, v, a0, gradient, product)


def _in_parallel(kernel, *arrays):
    """Run a kernel on slices of its arrays' rows, on every core: it holds no lock."""
    total = len(arrays[0])
    step = max(_LANES, -(-total // (4 * cores.count())))
    starts = range(0, total, step)
    largest = np.zeros(len(starts))

    def call(number):
        rows = slice(starts[number], starts[number] + step)
        kernel(*(array[rows] for array in arrays), largest[number : number + 1])

    cores.in_parallel(call, range(len(starts)))
    return float(largest.max())


@cache
def _kernel(name):
    """A loop, compiled when it is first asked for."""
    import numba

    inline = numba.njit(inline="always")

    @inline
    def stumpff_4_5(x):
        # sum_m (-x)^m / (2m + k)!, k = 4 and 5; the lower functions follow by c_k = 1/k! - x c_{k+2}.
        c4 = 1 / 24 - x * (1 / 720 - x * (1 / 40320 - x * (1 / 3628800 - x * (1 / 479001600))))
        c5 = 1 / 120 - x * (1 / 5040 - x * (1 / 362880 - x * (1 / 39916800 - x * (1 / 6227020800))))
        return c4, c5

    @inline
    def load(U, start, lanes, x_of):
        d = U.shape[1]
        scale = 1.0 / d**2
        for lane in range(lanes):
            for i in range(d):
                x_of[i, lane] = U[start + lane, i] * scale

    def lengths(U, a0, largest):
        n, d = U.shape
        w, q, size, x_of = np.empty(_LANES), np.empty(_LANES), np.zeros(_LANES), np.zeros((d, _LANES))
        for start in range(0, n, _LANES):
            lanes = min(_LANES, n - start)
            load(U, start, lanes, x_of)
            w[:] = 0.0
            q[:] = 1.0 / d
            for i in range(d):
                left, right = float(i), float(i + 1)
                for lane in range(_LANES):
                    x = x_of[i, lane]
                    size[lane] = max(size[lane], abs(x))
                    c4, c5 = stumpff_4_5(x)
                    xc2, xc3 = x * (1 / 2 - x * c4), x * (1 / 6 - x * c5)
                    u = left * q[lane] - w[lane]
                    loss = (x - x * xc3) * u + xc2 * q[lane]
                    w[lane] += xc2 * u + xc3 * q[lane] - right * loss
                    q[lane] -= loss
            for lane in range(lanes):
                a0[start + lane] = w[lane] / (d * q[lane])
        largest[0] = size.max()

    def slopes(U, gradient, largest):
        n, d = U.shape
        w, q, size = np.empty(_LANES), np.empty(_LANES), np.zeros(_LANES)
        x_of, square = np.zeros((d, _LANES)), np.empty((d, _LANES))
        for start in range(0, n, _LANES):
            lanes = min(_LANES, n - start)
            load(U, start, lanes, x_of)
            w[:] = 0.0
            q[:] = 1.0 / d
            for i in range(d):
                left, right = float(i), float(i + 1)
                for lane in range(_LANES):
                    x, p = x_of[i, lane], q[lane]
                    size[lane] = max(size[lane], abs(x))
                    c4, c5 = stumpff_4_5(x)
                    c2, c3 = 1 / 2 - x * c4, 1 / 6 - x * c5
                    c0, c1 = 1 - x * c2, 1 - x * c3
                    u = left * p - w[lane]
                    square[i, lane] = u * u * (1 + c0 * c1) / 2 + u * p * c1 * c1 + p * p * (c3 + c1 * c2) / 2
                    loss = x * (c1 * u + c2 * p)
                    w[lane] += x * (c2 * u + c3 * p) - right * loss
                    q[lane] = p - loss
            for lane in range(lanes):
                scale = -1 / (q[lane] * q[lane] * d**3)
                for i in range(d):
                    gradient[start + lane, i] = scale * square[i, lane]
        largest[0] = size.max()

    def jets(U, v, a0, gradient, product, largest):
        n, d = U.shape
        size = np.zeros(_LANES)
        w, q, dw, dq = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES), np.empty(_LANES)
        x_of, dx_of = np.zeros((d, _LANES)), np.zeros((d, _LANES))
        square, change = np.empty((d, _LANES)), np.empty((d, _LANES))
        for start in range(0, n, _LANES):
            lanes = min(_LANES, n - start)
            load(U, start, lanes, x_of)
            load(v, start, lanes, dx_of)
            w[:] = 0.0
            q[:] = 1.0 / d
            dw[:] = 0.0
            dq[:] = 0.0
            for i in range(d):
                left, right = float(i), float(i + 1)
                for lane in range(_LANES):
                    size[lane] = max(size[lane], abs(x_of[i, lane]))
                    x, dx, p, dp = x_of[i, lane], dx_of[i, lane], q[lane], dq[lane]
                    c4, c5 = stumpff_4_5(x)
                    c2, c3 = 1 / 2 - x * c4, 1 / 6 - x * c5
                    c0, c1 = 1 - x * c2, 1 - x * c3
                    c1_slope, c2_slope, c3_slope = (c3 - c2) / 2, (2 * c4 - c3) / 2, (3 * c5 - c4) / 2
                    u, du = left * p - w[lane], left * dp - dw[lane]
                    uu, up, pp = (1 + c0 * c1) / 2, c1 * c1, (c3 + c1 * c2) / 2
                    square[i, lane] = u * u * uu + u * p * up + p * p * pp
                    change[i, lane] = (
                        2 * u * du * uu
                        + (du * p + u * dp) * up
                        + 2 * p * dp * pp
                        + dx * (u * u * (c0 * c1_slope - up / 2) / 2 + 2 * u * p * c1 * c1_slope)
                        + dx * p * p * (c3_slope + c1_slope * c2 + c1 * c2_slope) / 2
                    )
                    loss = x * (c1 * u + c2 * p)
                    change_of_loss = x * (c1 * du + c2 * dp) + dx * ((c0 + c1) * u + c1 * p) / 2
                    w[lane] += x * (c2 * u + c3 * p) - right * loss
                    dw[lane] += x * (c2 * du + c3 * dp) + dx * (c1 * u / 2 - c1_slope * p) - right * change_of_loss
                    q[lane] = p - loss
                    dq[lane] = dp - change_of_loss
            for lane in range(lanes):
                scale = 1 / (q[lane] * q[lane] * d**3)
                pull = 2 * dq[lane] / q[lane]
                a0[start + lane] = w[lane] / (d * q[lane])
                for i in range(d):
                    gradient[start + lane, i] = -scale * square[i, lane]
                    product[start + lane, i] = scale * (pull * square[i, lane] - change[i, lane])
        largest[0] = size.max()

    rows, column = "float64[:, ::1]", "float64[::1]"
    loop, arrays = {
        "lengths": (lengths, (rows, column)),
        "slopes": (slopes, (rows, rows)),
        "jets": (jets, (rows, rows, column, rows, rows)),
    }[name]
    signature = f"void({', '.join(arrays)}, {column})"
    # A product and a sum may become one operation; nothing else of IEEE arithmetic is given up.
    return numba.njit(signature, nogil=True, error_model="numpy", fastmath={"contract"})(loop)

"""The activations that networks are trained with and their derivatives of any order in NumPy, (z, order) -> (order + 1, ...).

Learned tensors pass through these functions, so their last bits do not change. Each is made from an equation that its Taylor
coefficients solve by recursion. The equations are those of `bases`, in which all activations are given a second time.
"""

from math import factorial

import numpy as np
from scipy.special import expit, ndtr

from paperlib._support.validation import Floats

# Past it cosh(z)^2 would overflow; 1 - tanh(z)^2 stays at what it is there, 4e-304
TANH_FLAT = 350.0


def _scaled(coefficients: Floats) -> Floats:
    """Taylor coefficients -> derivatives, in place."""
    for k in range(2, len(coefficients)):
        coefficients[k] *= factorial(k)
    return coefficients


def _z_times(z: Floats, f: Floats) -> Floats:
    """Derivatives of z f(z) from those of f, in place: (z f)^(k) = z f^(k) + k f^(k-1)."""
    for k in range(len(f) - 1, 0, -1):
        f[k] = z * f[k] + k * f[k - 1]
    f[0] *= z
    return f


def sigmoid(z: Floats, order: int) -> Floats:
    s, w = np.empty((2, order + 1, *z.shape))
    s[0], w[0] = expit(z), expit(z) * expit(-z)
    for k in range(order):
        s[k + 1] = w[k] / (k + 1)
        if k + 1 < order:
            w[k + 1] = (w[k] - 2 * sum(w[i] * s[k - i] for i in range(k + 1))) / (k + 1)
    return _scaled(s)


def tanh(z: Floats, order: int) -> Floats:
    t, w = np.empty((2, order + 1, *z.shape))
    t[0] = np.tanh(z)
    growth = np.cosh(np.minimum(np.abs(z), TANH_FLAT))
    w[0] = 1 / (growth * growth)
    for k in range(order):
        t[k + 1] = w[k] / (k + 1)
        if k + 1 < order:
            w[k + 1] = sum(w[i] * t[k - i] for i in range(k + 1)) * (-2 / (k + 1))
    return _scaled(t)


def softplus(z: Floats, order: int) -> Floats:
    f = np.logaddexp(0, z)[None]
    return np.concatenate([f, sigmoid(z, order - 1)]) if order else f


def silu(z: Floats, order: int) -> Floats:
    return _z_times(z, sigmoid(z, order))


def gelu(z: Floats, order: int) -> Floats:
    cdf = np.empty((order + 1, *z.shape))
    cdf[0] = ndtr(z)
    if order > 0:
        # underflows from 39 on
        cdf[1] = np.exp(-(np.minimum(np.abs(z), 40) ** 2) / 2) / np.sqrt(2 * np.pi)
    for k in range(2, order + 1):
        cdf[k] = -z * cdf[k - 1] - (k - 2) * cdf[k - 2]
    return _z_times(z, cdf)


FUNCTIONS = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "silu": silu,
    "gelu": gelu,
}

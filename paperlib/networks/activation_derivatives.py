"""Derivatives of any order of the activations that networks are trained with, in NumPy.

Each function takes pre-activations z, an array of any shape (...), and the highest
order, and returns phi, phi', .., phi^(order), shape (order + 1, ...). It solves an
equation for the Taylor coefficients by recursion. The equations are those of `bases`,
which has all activations a second time. Learned tensors pass through these functions,
so their last bits must not change.
"""

from math import factorial

import numpy as np
from scipy.special import expit, ndtr

from paperlib._support.validation import Floats

# For larger |z|, cosh(z)^2 would overflow, and tanh'(z) keeps its value at 350, 4e-304
TANH_FLAT = 350.0


def _scaled(coefficients: Floats) -> Floats:
    """Multiply Taylor coefficients by k! in place and return them: the derivatives."""
    for k in range(2, len(coefficients)):
        coefficients[k] *= factorial(k)
    return coefficients


def _z_times(z: Floats, f: Floats) -> Floats:
    """Replace the derivatives of f by those of z f(z), and return them.

    (z f)^(k) = z f^(k) + k f^(k-1).
    """
    for k in range(len(f) - 1, 0, -1):
        f[k] = z * f[k] + k * f[k - 1]
    f[0] *= z
    return f


def sigmoid(z: Floats, order: int) -> Floats:
    """Return the derivatives of s(z) = 1/(1 + exp(-z)) from s' = w, w' = w - 2 w s."""
    s, w = np.empty((2, order + 1, *z.shape))
    s[0], w[0] = expit(z), expit(z) * expit(-z)
    for k in range(order):
        s[k + 1] = w[k] / (k + 1)
        if k + 1 < order:
            w[k + 1] = (w[k] - 2 * sum(w[i] * s[k - i] for i in range(k + 1))) / (k + 1)
    return _scaled(s)


def tanh(z: Floats, order: int) -> Floats:
    """Return the derivatives of t(z) = tanh z from t' = w, w' = -2 w t."""
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
    """Return the derivatives of log(1 + exp z), whose slope is the sigmoid."""
    f = np.logaddexp(0, z)[None]
    return np.concatenate([f, sigmoid(z, order - 1)]) if order else f


def silu(z: Floats, order: int) -> Floats:
    """Return the derivatives of z times the sigmoid of z."""
    return _z_times(z, sigmoid(z, order))


def gelu(z: Floats, order: int) -> Floats:
    """Return the derivatives of z Phi(z), with Phi the normal distribution function."""
    cdf = np.empty((order + 1, *z.shape))
    cdf[0] = ndtr(z)
    if order > 0:
        # The density underflows from 39 on
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

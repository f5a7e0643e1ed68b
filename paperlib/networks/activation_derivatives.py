"""Derivatives of any order of the activations that networks are trained with, in NumPy.

The module has five activations phi: tanh, sigmoid, softplus, silu and gelu. Each has a
function that takes pre-activations z, an array of any shape (...), and the highest
order, at least 0. It returns the array of phi, phi', .., phi^(order) at z, of shape
(order + 1, ...). tanh and sigmoid obey differential equations, which determine their
Taylor coefficients at z one after another. softplus uses the derivatives of its slope,
the sigmoid. gelu has a recursion for the derivatives of the normal distribution
function, and both gelu and silu multiply a function by z with the product rule.

The module `bases` has formulas for the same five activations, and for all others.
NumPy computes these five with the functions here, and the others with `bases`. Compiled
code computes all of them with `bases`. The five functions stay here because `bases`
computes the same numbers with another order of operations: the last bits of the Taylor
tensors of trained networks, which are stored, would change.
"""

from math import factorial

import numpy as np
from scipy.special import expit, ndtr

from paperlib._support.validation import Floats

# tanh'(z) = 1 / cosh(z)^2 is computed with |z| clipped at this value, where it is
# 4e-304. The square would overflow float64 for |z| > 355.
TANH_FLAT = 350.0


def _scaled(coefficients: Floats) -> Floats:
    """Convert Taylor coefficients f^(k) / k!, k = 0, 1, .., to the derivatives f^(k).

    The array is changed in place and returned. The first axis counts k.
    """
    for k in range(2, len(coefficients)):
        coefficients[k] *= factorial(k)
    return coefficients


def _z_times(z: Floats, f: Floats) -> Floats:
    """Convert the derivatives of a function f at z to those of the function z f(z).

    The array is changed in place and returned. Its first axis counts the derivatives
    k = 0, 1, .. By the product rule, (z f)^(k) = z f^(k) + k f^(k-1).
    """
    for k in range(len(f) - 1, 0, -1):
        f[k] = z * f[k] + k * f[k - 1]
    f[0] *= z
    return f


def sigmoid(z: Floats, order: int) -> Floats:
    """Return the derivatives of the sigmoid s(z) = 1 / (1 + exp(-z)), from order 0.

    Its slope w obeys w' = w - 2 w s. Here s[k] and w[k] are Taylor coefficients.
    """
    s, w = np.empty((2, order + 1, *z.shape))
    s[0], w[0] = expit(z), expit(z) * expit(-z)
    for k in range(order):
        s[k + 1] = w[k] / (k + 1)
        if k + 1 < order:
            w[k + 1] = (w[k] - 2 * sum(w[i] * s[k - i] for i in range(k + 1))) / (k + 1)
    return _scaled(s)


def tanh(z: Floats, order: int) -> Floats:
    """Return the derivatives of t(z) = tanh z, from order 0.

    Its slope w obeys w' = -2 w t. Here t[k] and w[k] are Taylor coefficients.
    """
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
    """Return the derivatives of log(1 + exp z), from order 0.

    Its slope is the sigmoid of z.
    """
    f = np.logaddexp(0, z)[None]
    return np.concatenate([f, sigmoid(z, order - 1)]) if order else f


def silu(z: Floats, order: int) -> Floats:
    """Return the derivatives of z times the sigmoid of z, from order 0."""
    return _z_times(z, sigmoid(z, order))


def gelu(z: Floats, order: int) -> Floats:
    """Return the derivatives of z Phi(z), from order 0.

    Phi is the distribution function of the standard normal distribution. In the code,
    cdf[k] is first the k-th derivative of Phi at z.
    """
    cdf = np.empty((order + 1, *z.shape))
    cdf[0] = ndtr(z)
    if order > 0:
        # The density of the normal distribution. It is 0 in float64 for |z| > 39.
        cdf[1] = np.exp(-(np.minimum(np.abs(z), 40) ** 2) / 2) / np.sqrt(2 * np.pi)
    # The density g obeys g' = -z g, so g^(n+1) = -z g^(n) - n g^(n-1) with n = k - 2
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

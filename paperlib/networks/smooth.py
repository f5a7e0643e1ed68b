"""Smooth functions of one number and their derivatives of any order, without cancellation: (z, order) -> (order + 1, ...).

Each is built from a solved equation, whose Taylor coefficients follow one another by recursion:

    logistic   s' = w,  w' = w (1 - 2 s)          sigmoid; softplus' = s; silu = z s
    hyperbolic t' = w,  w' = -2 t w               tanh; z - tanh z
    Gaussian   g' = -z g                          gelu = z Phi(z), Phi' = g
    chained    t' = w u',  w' = -2 t w u'         z (1 + t) / 2, t = tanh(u(z)), u a cubic; mish = z t, u the softplus
    hyperbola  f' r = f,  r^2 = z^2 + b           squareplus = (z + r) / 2

w = s (1 - s) and w = 1 - t^2 are carried beside s and t, because in the tails they are far smaller than the
rounding of s and t.
"""

from functools import cache
from math import factorial
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from paperlib._support.checks import Floats

__all__ = [
    "exp", "gelu", "gelu_tanh", "linear", "log_sigmoid", "mish", "sigmoid", "silu", "sin", "softplus", "squareplus", "tanh",
    "tanhshrink",
]  # fmt: skip

GELU_SCALE = np.sqrt(2.0 / np.pi)
GELU_CUBIC = 0.044715
TANH_FLAT = 350.0  # past it cosh(z)^2 would overflow; 1 - tanh(z)^2 stays at what it is there, 4e-304
GELU_FLAT = 30.0  # past it every derivative of tanh(u(z)) underflows


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


def softplus(z: Floats, order: int, beta: float = 1.0) -> Floats:
    f = np.logaddexp(0, beta * z)[None]
    f = np.concatenate([f, sigmoid(beta * z, order - 1)]) if order else f
    if beta == 1:
        return f
    return f * np.array([beta ** (k - 1) for k in range(order + 1)]).reshape(-1, *(1,) * z.ndim)


def silu(z: Floats, order: int) -> Floats:
    return _z_times(z, sigmoid(z, order))


def gelu(z: Floats, order: int) -> Floats:
    cdf = np.empty((order + 1, *z.shape))
    cdf[0] = ndtr(z)
    if order > 0:
        cdf[1] = np.exp(-(np.minimum(np.abs(z), 40) ** 2) / 2) / np.sqrt(2 * np.pi)  # underflows from 39 on
    for k in range(2, order + 1):
        cdf[k] = -z * cdf[k - 1] - (k - 2) * cdf[k - 2]
    return _z_times(z, cdf)


def _chained(t: Floats, w: Floats, slope: Floats) -> Floats:
    """Derivatives of t = tanh(u), filled in from t[0], w[0] = 1 - t^2 and the Taylor coefficients of u'."""
    for k in range(len(t) - 1):
        terms = min(k + 1, len(slope))
        t[k + 1] = sum(slope[i] * w[k - i] for i in range(terms)) / (k + 1)
        w[k + 1] = -2 * sum(t[i] * (k + 1 - i) * t[k + 1 - i] for i in range(k + 1)) / (k + 1)
    return _scaled(t)


def gelu_tanh(z: Floats, order: int) -> Floats:
    t, w = np.empty((2, order + 1, *z.shape))
    far, z = z, np.clip(z, -GELU_FLAT, GELU_FLAT)
    u = GELU_SCALE * (z + GELU_CUBIC * z**3)
    t[0], w[0] = np.tanh(u), 4 * expit(2 * u) * expit(-2 * u)
    slope = GELU_SCALE * np.stack([1 + 3 * GELU_CUBIC * z**2, 6 * GELU_CUBIC * z, np.full_like(z, 3 * GELU_CUBIC)])
    t = _chained(t, w, slope) / 2
    t[0] = expit(2 * u)  # (1 + t) / 2, where 1 + t would be rounding
    return _z_times(far, t)


def mish(z: Floats, order: int) -> Floats:
    t, w = np.empty((2, order + 1, *z.shape))
    e = np.exp(-np.abs(z))
    grown = np.where(
        z > 0, 1 + 2 * e, e * e + 2 * e
    )  # tanh(log(1 + exp(z))) = grown / (grown + 2), over exp(2 z) for z > 0
    whole = grown + np.where(z > 0, 2 * e * e, 2.0)
    t[0], w[0] = grown / whole, (2 * (1 + e) * np.where(z > 0, e, 1.0) / whole) ** 2
    orders = np.array([1 / factorial(k) for k in range(max(order, 1))]).reshape(-1, *(1,) * z.ndim)
    return _z_times(z, _chained(t, w, sigmoid(z, max(order, 1) - 1) * orders))


def log_sigmoid(z: Floats, order: int) -> Floats:
    signs = np.array([(-1.0) ** (k + 1) for k in range(order + 1)]).reshape(-1, *(1,) * z.ndim)
    return signs * softplus(-z, order)


def tanhshrink(z: Floats, order: int) -> Floats:
    t = -tanh(z, order)
    small = np.where(np.abs(z) < 0.5, z, 0.0)
    t[0] = np.where(np.abs(z) < 0.5, _shrunk(small), z + t[0])
    if order:
        t[1] = np.tanh(z) ** 2
    return t


@cache
def _tanh_series() -> list[float]:
    return [float(c) / factorial(k) for k, c in enumerate(tanh(np.zeros(()), 41))]


def _shrunk(z: Floats) -> Any:
    """z - tanh z of small z by its series, for the difference would be rounding."""
    return -sum(c * z**k for k, c in enumerate(_tanh_series()) if k > 1)


def squareplus(z: Floats, order: int, b: float = 4.0) -> Floats:
    """(z + r) / 2 with r^2 = z^2 + b; at -|z|, from where the other side is read off, since f(z) = z + f(-z)."""
    f, r = np.empty((2, order + 1, *z.shape))
    below = -np.abs(z)
    r[0] = np.hypot(z, np.sqrt(b))
    f[0] = b / (2 * (r[0] - below))
    for k in range(order):
        r[k + 1] = _root_step(r, below, k)
        f[k + 1] = (f[k] - sum((k + 1 - i) * f[k + 1 - i] * r[i] for i in range(1, k + 1))) / ((k + 1) * r[0])
    f, above = _scaled(f), z > 0
    f[1::2] = np.where(above, -f[1::2], f[1::2])
    f[0] = np.where(above, z + f[0], f[0])
    if order:
        f[1] = np.where(above, 1 + f[1], f[1])
    return f


def _root_step(r: Floats, z: Floats, k: int) -> Any:
    """The next Taylor coefficient of r = sqrt(z^2 + b), from r r' = z."""
    given = z if k == 0 else 1.0 if k == 1 else 0.0
    return (given - sum((k + 1 - i) * r[k + 1 - i] * r[i] for i in range(1, k + 1))) / ((k + 1) * r[0])


def sin(z: Floats, order: int) -> Floats:
    turns = (np.sin(z), np.cos(z), -np.sin(z), -np.cos(z))
    return np.stack([turns[k % 4] for k in range(order + 1)])


def exp(z: Floats, order: int) -> Floats:
    return np.repeat(np.exp(z)[None], order + 1, axis=0)


def linear(z: Floats, order: int) -> Floats:
    return np.stack([z, np.ones_like(z)] + [np.zeros_like(z)] * (order - 1))[: order + 1]

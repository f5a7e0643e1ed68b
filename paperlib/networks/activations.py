"""Activation functions phi and their derivatives of any order: the vertices' couplings.

A smooth activation is built from one of four solved equations, whose Taylor coefficients follow one another
by recursion:

    logistic   s' = w,  w' = w (1 - 2 s)          sigmoid; softplus' = s; silu = z s
    hyperbolic t' = w,  w' = -2 t w               tanh
    Gaussian   g' = -z g                          gelu = z Phi(z), Phi' = g
    chained    t' = w u',  w' = -2 t w u'         gelu_tanh = z (1 + t) / 2, t = tanh(u(z)), u a cubic

w = s (1 - s) and w = 1 - t^2 are carried beside s and t, because in the tails they are far smaller than the
rounding of s and t.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from math import factorial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, ndtr

from paperlib._support import checks
from paperlib._support.checks import Floats

__all__ = ["PIECEWISE", "SMOOTH", "TRAINABLE", "derivatives", "parse"]

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


def _sigmoid(z: Floats, order: int) -> Floats:
    s, w = np.empty((2, order + 1, *z.shape))
    s[0], w[0] = expit(z), expit(z) * expit(-z)
    for k in range(order):
        s[k + 1] = w[k] / (k + 1)
        if k + 1 < order:
            w[k + 1] = (w[k] - 2 * sum(w[i] * s[k - i] for i in range(k + 1))) / (k + 1)
    return _scaled(s)


def _tanh(z: Floats, order: int) -> Floats:
    t, w = np.empty((2, order + 1, *z.shape))
    t[0] = np.tanh(z)
    growth = np.cosh(np.minimum(np.abs(z), TANH_FLAT))
    w[0] = 1 / (growth * growth)
    for k in range(order):
        t[k + 1] = w[k] / (k + 1)
        if k + 1 < order:
            w[k + 1] = sum(w[i] * t[k - i] for i in range(k + 1)) * (-2 / (k + 1))
    return _scaled(t)


def _softplus(z: Floats, order: int) -> Floats:
    return np.concatenate([np.logaddexp(0, z)[None], _sigmoid(z, order - 1)]) if order else np.logaddexp(0, z)[None]


def _silu(z: Floats, order: int) -> Floats:
    return _z_times(z, _sigmoid(z, order))


def _gelu(z: Floats, order: int) -> Floats:
    cdf = np.empty((order + 1, *z.shape))
    cdf[0] = ndtr(z)
    if order > 0:
        cdf[1] = np.exp(-(np.minimum(np.abs(z), 40) ** 2) / 2) / np.sqrt(2 * np.pi)  # underflows from 39 on
    for k in range(2, order + 1):
        cdf[k] = -z * cdf[k - 1] - (k - 2) * cdf[k - 2]
    return _z_times(z, cdf)


def _gelu_tanh(z: Floats, order: int) -> Floats:
    t, w = np.empty((2, order + 1, *z.shape))
    far, z = z, np.clip(z, -GELU_FLAT, GELU_FLAT)
    u = GELU_SCALE * (z + GELU_CUBIC * z**3)
    t[0], w[0] = np.tanh(u), 4 * expit(2 * u) * expit(-2 * u)
    slope = GELU_SCALE * np.stack([1 + 3 * GELU_CUBIC * z**2, 6 * GELU_CUBIC * z, np.full_like(z, 3 * GELU_CUBIC)])
    for k in range(order):
        t[k + 1] = sum(slope[i] * w[k - i] for i in range(min(k, 2) + 1)) / (k + 1)
        w[k + 1] = -2 * sum(t[i] * (k + 1 - i) * t[k + 1 - i] for i in range(k + 1)) / (k + 1)
    t = _scaled(t) / 2
    t[0] = expit(2 * u)  # (1 + t) / 2, where 1 + t would be rounding
    return _z_times(far, t)


def _sin(z: Floats, order: int) -> Floats:
    turns = (np.sin(z), np.cos(z), -np.sin(z), -np.cos(z))
    return np.stack([turns[k % 4] for k in range(order + 1)])


def _exp(z: Floats, order: int) -> Floats:
    return np.repeat(np.exp(z)[None], order + 1, axis=0)


def _linear(z: Floats, order: int) -> Floats:
    return np.stack([z, np.ones_like(z)] + [np.zeros_like(z)] * (order - 1))[: order + 1]


# With TensorFlow's operations: value, slope, curvature and one derivative more; XLA drops what a training does not use.


def _tensors_tanh(tf: Any, z: Any) -> tuple:
    t = tf.tanh(z)
    slope = 1 - t * t
    return t, slope, -2 * t * slope, slope * (6 * t * t - 2)


def _tensors_sigmoid(tf: Any, z: Any) -> tuple:
    s = tf.sigmoid(z)
    slope = s * (1 - s)
    return s, slope, slope * (1 - 2 * s), slope * (1 - 6 * slope)


def _tensors_softplus(tf: Any, z: Any) -> tuple:
    return tf.math.softplus(z), *_tensors_sigmoid(tf, z)[:3]


def _tensors_silu(tf: Any, z: Any) -> tuple:
    s, slope, bend, more = _tensors_sigmoid(tf, z)
    return z * s, s + z * slope, 2 * slope + z * bend, 3 * bend + z * more


def _tensors_gelu(tf: Any, z: Any) -> tuple:
    density = tf.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    below = (1 + tf.math.erf(z / np.sqrt(2))) / 2
    return z * below, below + z * density, density * (2 - z * z), density * z * (z * z - 4)


class Smooth(NamedTuple):
    """A smooth activation: (z, order) -> all its derivatives, and (tf, z) -> the first four, if it can be trained with."""

    derivatives: Callable
    tensors: Callable | None = None


SMOOTH = {
    "tanh": Smooth(_tanh, _tensors_tanh),
    "sigmoid": Smooth(_sigmoid, _tensors_sigmoid),
    "softplus": Smooth(_softplus, _tensors_softplus),
    "gelu": Smooth(_gelu, _tensors_gelu),
    "gelu_tanh": Smooth(_gelu_tanh),
    "silu": Smooth(_silu, _tensors_silu),
    "sin": Smooth(_sin),
    "exp": Smooth(_exp),
    "linear": Smooth(_linear),
}
TRAINABLE = {name: smooth.tensors for name, smooth in sorted(SMOOTH.items()) if smooth.tensors}


def _elu(z: Floats, order: int, alpha: float) -> list[Floats]:
    return [alpha * np.expm1(z)] + [alpha * np.exp(z)] * order


def _celu(z: Floats, order: int, alpha: float) -> list[Floats]:
    # One exponential: the power alone may overflow where the derivative does not.
    return [alpha * np.expm1(z / alpha)] + [np.exp(z / alpha + (1 - k) * np.log(alpha)) for k in range(1, order + 1)]


def _leaky_relu(z: Floats, order: int, slope: float) -> Floats:
    return slope * _linear(z, order)


# What each is for z <= 0, beside z itself for z > 0; and the value of its parameter where none is given.
PIECEWISE: dict[str, tuple[Callable, float]] = {
    "relu": (_leaky_relu, 0.0),
    "elu": (_elu, 1.0),
    "celu": (_celu, 1.0),
    "leaky_relu": (_leaky_relu, 0.01),
}
PARAMETER = re.compile(r"(elu|celu|leaky_relu)\(([^()]+)\)")


def parse(name: str) -> tuple[str, float | None]:
    """Return (function's name, parameter or None).

    A ValueError if there is none of that name, or its parameter is not a finite number (above zero for celu).

    Parameters
    ----------
    name : str
        One of 'tanh', 'sigmoid', 'softplus', 'gelu', 'gelu_tanh', 'silu', 'sin', 'exp', 'linear', 'relu', 'elu',
        'celu', 'leaky_relu'. The last three take a parameter in parentheses: 'elu(0.5)'. Without it, alpha = 1 and the
        slope of leaky_relu is 0.01, as in PyTorch; Keras has 0.2 or 0.3, which `MLP.from_keras` writes out.

    Examples
    --------
    >>> parse("tanh"), parse("leaky_relu(0.2)"), parse("elu")
    (('tanh', None), ('leaky_relu', 0.2), ('elu', 1.0))
    """
    if not isinstance(name, str):
        checks.choice("activation", name, (*SMOOTH, *PIECEWISE))
    return _parse(name)


@lru_cache(maxsize=64)
def _parse(name: str) -> tuple[str, float | None]:
    match = PARAMETER.fullmatch(name)
    if match is None:
        checks.choice("activation", name, (*SMOOTH, *PIECEWISE))
        return name, PIECEWISE[name][1] if name in PIECEWISE else None
    try:
        parameter = float(match[2])
    except ValueError:
        parameter = np.nan
    if not np.isfinite(parameter) or (match[1] == "celu" and parameter <= 0):
        raise ValueError(
            f"activation = {checks.brief(name)}: its parameter must be a finite number{' > 0' * (match[1] == 'celu')}"
        )
    return match[1], parameter


def derivatives(name: str, z: ArrayLike, order: int, layer: int | None = None) -> Floats:
    """phi, phi', .., phi^(order) at z, shape (order + 1, ..., units).

    relu, elu, celu and leaky_relu have no derivative past the first where z = 0 exactly: a ValueError; value and slope
    are there those of the side z < 0, as in TensorFlow and PyTorch. The error stays within some 1e-14 of the largest
    value of that derivative, to order 8 and for ``|z| <= 50`` (tests, against 40-digit arithmetic). A result beyond the
    largest double is a ValueError too.

    Parameters
    ----------
    name : str
        See `parse`.
    z : array_like of float, shape (..., units)
        Pre-activations.
    order : int
        Highest derivative, from 0 to 170: past it n! is beyond the largest double.
    layer : int, optional
        Whose pre-activations they are, for the message about a kink.

    Examples
    --------
    >>> (derivatives("tanh", np.zeros(1), 5)[:, 0] + 0.0).tolist()     # z - z^3/3 + 2 z^5/15, times n!
    [0.0, 1.0, 0.0, -2.0, 0.0, 16.0]
    >>> derivatives("relu", np.array([1.0, 0.0]), 2, layer=3)
    Traceback (most recent call last):
    ...
    ValueError: order 2: neuron 1 of layer 3 sits at the kink of relu, z = 0; no derivative past the first
    """
    parse(name)
    z, order = checks.shaped("z", z, axes=0), checks.integer("order", order, minimum=0, limit=checks.SERIES_ORDER)
    checks.finite("z", z)
    with np.errstate(over="ignore", invalid="ignore"):
        return checks.representable("z", of_layer(name, z, order, layer), "take a lower order or a smaller z")


def of_layer(name: str, z: Floats, order: int, layer: int | None = None) -> Floats:
    """What `derivatives` returns, finite or not, of arguments that are not checked."""
    function, parameter = parse(name)
    if parameter is None:
        return SMOOTH[function].derivatives(z, order)
    if order > 1 and not z.all():
        neuron = int(np.argwhere(z == 0)[0, -1]) if z.ndim else 0
        place = f"neuron {neuron}" + (f" of layer {layer}" if layer is not None else "")
        raise ValueError(f"order {order}: {place} sits at the kink of {name}, z = 0; no derivative past the first")
    below = PIECEWISE[function][0](np.minimum(z, 0), order, parameter)
    return np.where(z > 0, _linear(z, order), np.stack(list(below)))

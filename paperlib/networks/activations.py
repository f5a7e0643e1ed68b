"""Activation functions phi and their derivatives of any order: the vertices' couplings. Names, and what each name is.

A smooth one is a function of `smooth`. The others are two functions that meet at z = 0, where they have a first derivative at
most. A layer whose neurons have different ones is spelled with counts, "tanh*8 + linear*3".
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from math import factorial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.networks import smooth

__all__ = ["PIECEWISE", "SMOOTH", "TRAINABLE", "Custom", "derivatives", "groups", "parse", "spelled"]

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
    "tanh": Smooth(smooth.tanh, _tensors_tanh),
    "sigmoid": Smooth(smooth.sigmoid, _tensors_sigmoid),
    "softplus": Smooth(smooth.softplus, _tensors_softplus),
    "gelu": Smooth(smooth.gelu, _tensors_gelu),
    "gelu_tanh": Smooth(smooth.gelu_tanh),
    "silu": Smooth(smooth.silu, _tensors_silu),
    "sin": Smooth(smooth.sin),
    "exp": Smooth(smooth.exp),
    "linear": Smooth(smooth.linear),
    "mish": Smooth(smooth.mish),
    "log_sigmoid": Smooth(smooth.log_sigmoid),
    "tanhshrink": Smooth(smooth.tanhshrink),
    "squareplus": Smooth(smooth.squareplus),
}
TRAINABLE = {name: each.tensors for name, each in sorted(SMOOTH.items()) if each.tensors}


def _identity(z: Floats, order: int, parameter: float) -> Floats:
    return smooth.linear(z, order)


def _elu(z: Floats, order: int, alpha: float) -> list[Floats]:
    return [alpha * np.expm1(z)] + [alpha * np.exp(z)] * order


def _celu(z: Floats, order: int, alpha: float) -> list[Floats]:
    # One exponential: the power alone may overflow where the derivative does not.
    return [alpha * np.expm1(z / alpha)] + [np.exp(z / alpha + (1 - k) * np.log(alpha)) for k in range(1, order + 1)]


def _leaky_relu(z: Floats, order: int, slope: float) -> Floats:
    return slope * smooth.linear(z, order)


def _selu_below(z: Floats, order: int, scale: float) -> list[Floats]:
    return _elu(z, order, scale * SELU_ALPHA)


def _selu_above(z: Floats, order: int, scale: float) -> Floats:
    return scale * smooth.linear(z, order)


def _softsign(z: Floats, order: int, side: float) -> list[Floats]:
    """z / (1 + |z|) where z has the sign of `side`."""
    size = 1 + np.abs(z)
    return [z / size] + [factorial(k) * (-side) ** (k + 1) / size ** (k + 1) for k in range(1, order + 1)]


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# What each is for z <= 0 and for z > 0, and the value of its parameter where none is given.
PIECEWISE: dict[str, tuple[Callable, Callable, float]] = {
    "relu": (_leaky_relu, _identity, 0.0),
    "elu": (_elu, _identity, 1.0),
    "celu": (_celu, _identity, 1.0),
    "leaky_relu": (_leaky_relu, _identity, 0.01),
    "selu": (_selu_below, _selu_above, SELU_SCALE),
    "softsign": (lambda z, order, _: _softsign(z, order, -1), lambda z, order, _: _softsign(z, order, 1), 0.0),
}
PARAMETER = re.compile(r"(elu|celu|leaky_relu|softplus|squareplus)\(([^()]+)\)")
POSITIVE = ("celu", "softplus", "squareplus")
COUNTED = re.compile(r"(.+)\*([1-9][0-9]*)")


class Custom(NamedTuple):
    """A function that is none of ours, by its Taylor coefficients: (z, order) -> phi, phi', phi''/2, .. (order + 1, ...)."""

    name: str
    coefficients: Callable[[Floats, int], ArrayLike]


def parse(name: str) -> tuple[str, float | None]:
    """Return (function's name, parameter or None).

    A ValueError if there is none of that name, or its parameter is not a finite number (above zero for celu, softplus and
    squareplus).

    Parameters
    ----------
    name : str
        One of 'tanh', 'sigmoid', 'softplus', 'gelu', 'gelu_tanh', 'silu', 'sin', 'exp', 'linear', 'mish', 'log_sigmoid',
        'tanhshrink', 'squareplus', 'relu', 'elu', 'celu', 'leaky_relu', 'selu', 'softsign'. Some take a parameter in
        parentheses: 'elu(0.5)', 'celu(2)', 'leaky_relu(0.2)', 'softplus(20)', 'squareplus(4)'. Without it, alpha, beta and the
        steepness are 1, b is 4, and the slope of leaky_relu is 0.01, as in PyTorch; Keras has 0.2 or 0.3, which
        `MLP.from_keras` writes out.

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
        return name, PIECEWISE[name][-1] if name in PIECEWISE else None
    try:
        parameter = float(match[2])
    except ValueError:
        parameter = np.nan
    if not np.isfinite(parameter) or (match[1] in POSITIVE and parameter <= 0):
        raise ValueError(
            f"activation = {checks.brief(name)}: its parameter must be a finite number{' > 0' * (match[1] in POSITIVE)}"
        )
    return match[1], parameter


def groups(name: str | Custom) -> tuple[tuple[str | Custom, int | None], ...]:
    """The activations of a layer's neurons: (name, how many), or one of all of them, (name, None).

    Examples
    --------
    >>> groups("tanh"), groups("tanh*8 + linear*3")
    ((('tanh', None),), (('tanh', 8), ('linear', 3)))
    """
    if isinstance(name, Custom):
        return ((name, None),)
    if not isinstance(name, str):
        parse(name)  # which says that it is none
    return _groups(name)


@lru_cache(maxsize=64)
def _groups(name: str) -> tuple[tuple[str, int | None], ...]:
    if "*" not in name:
        parse(name)
        return ((name, None),)
    found = []
    for part in name.split(" + "):
        match = COUNTED.fullmatch(part)
        if match is None:
            raise ValueError(f"activation = {checks.brief(name)}: {part!r} has no count; as in 'tanh*8 + linear*3'")
        parse(match[1])
        found.append((match[1], int(match[2])))
    return tuple(found)


def spelled(names: Sequence[str]) -> str:
    """The spelling of a layer whose neurons have these activations.

    Examples
    --------
    >>> spelled(["tanh", "tanh"]), spelled(["tanh", "tanh", "linear"])
    ('tanh', 'tanh*2 + linear*1')
    """
    runs = [(name, len(list(same))) for name, same in groupby(names)]
    return runs[0][0] if len(runs) == 1 else " + ".join(f"{name}*{count}" for name, count in runs)


def derivatives(name: str, z: ArrayLike, order: int, layer: int | None = None) -> Floats:
    """phi, phi', .., phi^(order) at z, shape (order + 1, ..., units).

    relu and the others that are two functions, met at z = 0, have no derivative past the first there: a ValueError; value
    and slope are those of the side z < 0, as in TensorFlow and PyTorch. The error stays within some 1e-14 of the largest
    value of that derivative, to order 8 and for ``|z| <= 50`` (tests, against 40-digit arithmetic). A result beyond the
    largest double is a ValueError too.

    Parameters
    ----------
    name : str
        See `parse`; with counts, "tanh*8 + linear*3", for neurons that have different ones.
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
    groups(name)
    z, order = checks.shaped("z", z, axes=0), checks.integer("order", order, minimum=0, limit=checks.SERIES_ORDER)
    checks.finite("z", z)
    with np.errstate(over="ignore", invalid="ignore"):
        return checks.representable("z", of_layer(name, z, order, layer), "take a lower order or a smaller z")


def of_layer(name: str | Custom, z: Floats, order: int, layer: int | None = None) -> Floats:
    """What `derivatives` returns, finite or not, of arguments that are not checked."""
    if isinstance(name, str) and name in SMOOTH:
        return SMOOTH[name].derivatives(z, order)
    begin, parts = 0, []
    for each, count in groups(name):
        end = z.shape[-1] if count is None and z.ndim else begin + (count or 0)
        parts.append(_of_group(each, z[..., begin:end] if count else z, order, layer, begin))
        begin = end
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _of_group(name: str | Custom, z: Floats, order: int, layer: int | None, first: int) -> Floats:
    if isinstance(name, Custom):
        factorials = np.array([float(factorial(k)) for k in range(order + 1)]).reshape(-1, *(1,) * z.ndim)
        return np.asarray(name.coefficients(z, order), dtype=np.float64) * factorials
    function, parameter = parse(name)
    if function in SMOOTH:
        return SMOOTH[function].derivatives(z, order, *(() if parameter is None else (parameter,)))
    if order > 1 and not z.all():
        neuron = first + int(np.argwhere(z == 0)[0, -1]) if z.ndim else 0
        place = f"neuron {neuron}" + (f" of layer {layer}" if layer is not None else "")
        raise ValueError(f"order {order}: {place} sits at the kink of {name}, z = 0; no derivative past the first")
    below, above, _ = PIECEWISE[function]
    sides = below(np.minimum(z, 0), order, parameter), above(np.maximum(z, 0), order, parameter)
    return np.where(z > 0, np.stack(list(sides[1])), np.stack(list(sides[0])))

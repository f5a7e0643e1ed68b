"""Activation functions phi and their derivatives of any order: their names, and the base function that each name stands for.

An activation is outer * base(inner * z) with a base of `bases`. Some bases have a kink at z = 0, where they have at most a first
derivative. A layer whose neurons have different activations is named with counts, "tanh*8 + linear*3".
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from math import factorial, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks import activation_derivatives, bases

__all__ = [
    "PIECEWISE",
    "SMOOTH",
    "Custom",
    "Scaled",
    "derivatives",
    "groups",
    "parse",
    "scaled",
    "spelled",
]

SMOOTH = (
    "tanh",
    "sigmoid",
    "softplus",
    "gelu",
    "gelu_tanh",
    "silu",
    "sin",
    "exp",
    "linear",
    "mish",
    "log_sigmoid",
    "tanhshrink",
    "squareplus",
)
PIECEWISE = ("relu", "elu", "celu", "leaky_relu", "selu", "softsign")
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
DEFAULTS = {
    "elu": 1.0,
    "celu": 1.0,
    "leaky_relu": 0.01,
    "softplus": 1.0,
    "squareplus": 4.0,
}
POSITIVE = ("celu", "softplus", "squareplus")
PARAMETER = re.compile(rf"({'|'.join(DEFAULTS)})\(([^()]+)\)")
COUNTED = re.compile(r"(.+)\*([1-9][0-9]*)")


class Scaled(NamedTuple):
    """The function outer * base(inner * z), with a base of `bases.BASES` and its parameter."""

    base: str
    parameter: float = 0.0
    inner: float = 1.0
    outer: float = 1.0


# The activations that are not bases themselves, as functions of their parameter.
SCALED: dict[str, Callable[[Any], Scaled]] = {
    "softplus": lambda beta: Scaled("softplus", 0.0, beta, 1 / beta),
    "log_sigmoid": lambda _: Scaled("softplus", 0.0, -1.0, -1.0),
    "squareplus": lambda b: Scaled("squareplus", 0.0, 2 / sqrt(b), sqrt(b) / 2),
    "relu": lambda _: Scaled("leaky_relu"),
    "leaky_relu": lambda slope: Scaled("leaky_relu", slope),
    "elu": lambda alpha: Scaled("elu", alpha),
    "celu": lambda alpha: Scaled("elu", 1.0, 1 / alpha, alpha),
    "selu": lambda _: Scaled("elu", SELU_ALPHA, 1.0, SELU_SCALE),
}


class Custom(NamedTuple):
    """An activation that is not built in, given by its Taylor coefficients.

    Parameters
    ----------
    name : str
    coefficients : callable
        (z, order) -> phi, phi', phi''/2, .., phi^(order)/order! at z, shape (order + 1,
        ...).
    """

    name: str
    coefficients: Callable[[Floats, int], ArrayLike]


def parse(name: str) -> tuple[str, float | None]:
    """Return (function's name, parameter or None).

    Parameters
    ----------
    name : str
        One of 'tanh', 'sigmoid', 'softplus', 'gelu', 'gelu_tanh', 'silu', 'sin', 'exp',
        'linear', 'mish', 'log_sigmoid', 'tanhshrink', 'squareplus', 'relu', 'elu',
        'celu', 'leaky_relu', 'selu', 'softsign'. Some take a parameter in parentheses:
        'elu(0.5)', 'celu(2)', 'leaky_relu(0.2)', 'softplus(20)', 'squareplus(4)'.
        Without it, alpha, beta and the steepness are 1, b is 4, and the slope of
        leaky_relu is 0.01, as in PyTorch; Keras has 0.2 or 0.3, which `MLP.from_keras`
        writes out.

    Returns
    -------
    (str, float or None)

    Raises
    ------
    ValueError
        If no activation has that name, or the parameter is not a finite number (above
        zero for celu, softplus, squareplus).

    Examples
    --------
    >>> parse("tanh"), parse("leaky_relu(0.2)"), parse("elu")
    (('tanh', None), ('leaky_relu', 0.2), ('elu', 1.0))
    """
    match = PARAMETER.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        validation.choice("activation", name, (*SMOOTH, *PIECEWISE))
        return name, DEFAULTS.get(name)
    try:
        parameter = float(match[2])
    except ValueError:
        parameter = np.nan
    if not np.isfinite(parameter) or (match[1] in POSITIVE and parameter <= 0):
        raise ValueError(
            f"activation = {validation.brief(name)}: its parameter must be a finite number{' > 0' * (match[1] in POSITIVE)}"
        )
    return match[1], parameter


def scaled(name: str) -> Scaled:
    """Return the base function and the scalings of an activation.

    Parameters
    ----------
    name : str
        See `parse`.

    Returns
    -------
    Scaled
        The activation is outer * base(inner * z). Its derivative of order k is outer *
        inner^k times the base's at inner * z.

    Examples
    --------
    >>> scaled("celu(2)")
    Scaled(base='elu', parameter=1.0, inner=0.5, outer=2.0)
    """
    function, parameter = parse(name)
    return SCALED.get(function, lambda _: Scaled(function))(parameter)


def groups(name: str | Custom) -> tuple[tuple[str | Custom, int | None], ...]:
    """Return the activations of a layer's neurons as (name, count) pairs, or as one pair (name, None) if all have the same.

    Examples
    --------
    >>> groups("tanh"), groups("tanh*8 + linear*3")
    ((('tanh', None),), (('tanh', 8), ('linear', 3)))
    """
    if isinstance(name, Custom):
        return ((name, None),)
    if not isinstance(name, str) or "*" not in name:
        parse(name)
        return ((name, None),)
    found = []
    for part in name.split(" + "):
        match = COUNTED.fullmatch(part)
        if match is None:
            raise ValueError(
                f"activation = {validation.brief(name)}: {part!r} has no count; as in 'tanh*8 + linear*3'"
            )
        parse(match[1])
        found.append((match[1], int(match[2])))
    return tuple(found)


def spelled(names: Sequence[str]) -> str:
    """Return the name of a layer whose neurons have these activations.

    Examples
    --------
    >>> spelled(["tanh", "tanh"]), spelled(["tanh", "tanh", "linear"])
    ('tanh', 'tanh*2 + linear*1')
    """
    runs = [(name, len(list(same))) for name, same in groupby(names)]
    return (
        runs[0][0]
        if len(runs) == 1
        else " + ".join(f"{name}*{count}" for name, count in runs)
    )


def derivatives(
    name: str, z: ArrayLike, order: int, layer: int | None = None
) -> Floats:
    """Return phi, phi', .., phi^(order) at z.

    relu and the other activations with a kink at z = 0 have no second derivative there;
    their value and slope at z = 0 are those of z < 0, as in TensorFlow and PyTorch. The
    error is about 1e-14 of the largest value of that derivative, to order 8 and for
    ``|z| <= 50`` (tests, against 40-digit arithmetic).

    Parameters
    ----------
    name : str
        See `parse`; with counts, "tanh*8 + linear*3", for neurons that have different
        ones.
    z : array_like of float, shape (..., units)
        Pre-activations.
    order : int
        Highest derivative, from 0 to 170; 171! overflows float64.
    layer : int, optional
        The number of the layer, for the message about a kink.

    Returns
    -------
    ndarray of float64, shape (order + 1, ..., units)

    Raises
    ------
    ValueError
        If a neuron sits at a kink (order 2 or higher), or a derivative overflows
        float64.

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
    z, order = (
        validation.shaped("z", z, axes=0),
        validation.integer("order", order, minimum=0, limit=validation.SERIES_ORDER),
    )
    validation.finite("z", z)
    with np.errstate(over="ignore", invalid="ignore"):
        return validation.representable(
            "z", of_layer(name, z, order, layer), "take a lower order or a smaller z"
        )


_groups, _scaled = lru_cache(groups), lru_cache(scaled)


def of_layer(
    name: str | Custom, z: Floats, order: int, layer: int | None = None
) -> Floats:
    """Return the result of `derivatives`, finite or not, without checks of the arguments."""
    begin, parts = 0, []
    for each, count in _groups(name):
        end = begin + count if count else None
        parts.append(
            _of_group(each, z[..., begin:end] if count else z, order, layer, begin)
        )
        begin = end or 0
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _of_group(
    name: str | Custom, z: Floats, order: int, layer: int | None, first: int
) -> Floats:
    if isinstance(name, Custom):
        factorials = np.array([float(factorial(k)) for k in range(order + 1)]).reshape(
            -1, *(1,) * z.ndim
        )
        return np.asarray(name.coefficients(z, order), dtype=np.float64) * factorials
    base, parameter, inner, outer = _scaled(name)
    if base in bases.KINKED and order > 1 and not z.all():
        neuron = first + int(np.argwhere(z == 0)[0, -1]) if z.ndim else 0
        place = f"neuron {neuron}" + (f" of layer {layer}" if layer is not None else "")
        raise ValueError(
            f"order {order}: {place} sits at the kink of {name}, z = 0; no derivative past the first"
        )
    direct = activation_derivatives.FUNCTIONS.get(base)
    f = (
        direct(inner * z, order)
        if direct
        else bases.derivatives(base, inner * z, order, parameter)
    )
    if inner == outer == 1:
        return f
    orders = np.arange(order + 1).reshape(-1, *(1,) * z.ndim)
    # In two steps, because inner^k alone may overflow where the derivative does not.
    return outer * (f * inner ** (orders // 2)) * inner ** (orders - orders // 2)

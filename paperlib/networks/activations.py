"""Names, values and derivatives of any order of activation functions phi.

An activation is outer * base(inner * z) with a base of `bases`. Some bases have a kink
at z = 0, where they have at most a first derivative. A layer whose neurons have
different activations is named with counts, "tanh*8 + linear*3".

To add an activation that is an existing base between two scalings, add a line to SCALED
and its name to SMOOTH or, if it has a kink, to PIECEWISE. A parameter in parentheses
needs a default in DEFAULTS. `bases` describes how to add a base.
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
    """The function outer * base(inner * z).

    Parameters
    ----------
    base : str
        A key of `bases.BASES`.
    parameter : float, default 0.0
        The parameter of the base, for example the slope of leaky_relu.
    inner : float, default 1.0
        The factor of z.
    outer : float, default 1.0
        The factor of the result.

    Examples
    --------
    >>> Scaled("softplus", inner=2.0, outer=0.5)
    Scaled(base='softplus', parameter=0.0, inner=2.0, outer=0.5)
    """

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
        The name in `repr` and in messages.
    coefficients : callable
        (z, order) -> phi, phi', phi''/2, .., phi^(order)/order! at z, shape
        (order + 1, ...).

    Examples
    --------
    The exponential function has the coefficients exp(z) / k!.

    >>> def coefficients(z, order):
    ...     return np.stack([np.exp(z) / factorial(k) for k in range(order + 1)])
    >>> Custom("my_exp", coefficients).name
    'my_exp'
    """

    name: str
    coefficients: Callable[[Floats, int], ArrayLike]


def parse(name: str) -> tuple[str, float | None]:
    """Split the name of an activation into function and parameter.

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
    function : str
        The name without the parameter.
    parameter : float or None
        The parameter or its default. None for functions without a parameter.

    Raises
    ------
    ValueError
        If no activation has that name, or the parameter is not a finite number (above
        zero for celu, softplus, squareplus).
    TypeError
        If the name is not a string.

    Examples
    --------
    >>> parse("tanh"), parse("leaky_relu(0.2)"), parse("elu")
    (('tanh', None), ('leaky_relu', 0.2), ('elu', 1.0))
    """
    match = PARAMETER.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        validation.choice("activation", name, (*SMOOTH, *PIECEWISE))
        return name, DEFAULTS.get(name)
    function, text = match.groups()
    try:
        parameter = float(text)
    except ValueError:
        parameter = np.nan
    positive = function in POSITIVE
    if not np.isfinite(parameter) or (positive and parameter <= 0):
        raise ValueError(
            f"activation = {validation.brief(name)}: its parameter must be a finite "
            f"number{' > 0' if positive else ''}"
        )
    return function, parameter


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
    """Return the activations of a layer's neurons with their counts.

    Parameters
    ----------
    name : str or Custom
        See `parse`. With counts, "tanh*8 + linear*3", for neurons that have different
        activations.

    Returns
    -------
    tuple of (str or Custom, int or None)
        The count is None if all neurons have the same activation.

    Raises
    ------
    ValueError
        If a name is unknown, or one of several has no count.
    TypeError
        If the name is not a string and not a Custom.

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
    counted = []
    for part in name.split(" + "):
        match = COUNTED.fullmatch(part)
        if match is None:
            raise ValueError(
                f"activation = {validation.brief(name)}: {part!r} has no count; must "
                "be as in 'tanh*8 + linear*3'"
            )
        parse(match[1])
        counted.append((match[1], int(match[2])))
    return tuple(counted)


def spelled(names: Sequence[str]) -> str:
    """Return the name of a layer whose neurons have these activations.

    Parameters
    ----------
    names : sequence of str
        The activation of each neuron.

    Returns
    -------
    str
        See `groups`.

    Examples
    --------
    >>> spelled(["tanh", "tanh"]), spelled(["tanh", "tanh", "linear"])
    ('tanh', 'tanh*2 + linear*1')
    """
    if len(set(names)) == 1:
        return names[0]
    return " + ".join(f"{name}*{len(list(same))}" for name, same in groupby(names))


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
        See `groups`.
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
    The coefficients of tanh z = z - z^3/3 + 2 z^5/15 times n! are:

    >>> (derivatives("tanh", np.zeros(1), 5)[:, 0] + 0.0).tolist()
    [0.0, 1.0, 0.0, -2.0, 0.0, 16.0]
    >>> derivatives("relu", np.array([1.0, 0.0]), 2, layer=3)
    Traceback (most recent call last):
    ...
    ValueError: order 2: neuron 1 of layer 3 sits at the kink of relu, z = 0; ...
    """
    groups(name)
    limit = validation.SERIES_ORDER
    order = validation.integer("order", order, minimum=0, limit=limit)
    z = validation.shaped("z", z, axes=0)
    validation.finite("z", z)
    with np.errstate(over="ignore", invalid="ignore"):
        return validation.representable(
            "z", of_layer(name, z, order, layer), "take a lower order or a smaller z"
        )


_groups, _scaled = lru_cache(groups), lru_cache(scaled)


def of_layer(
    name: str | Custom, z: Floats, order: int, layer: int | None = None
) -> Floats:
    """Return `derivatives`, finite or not, without checks of the arguments."""
    first, parts = 0, []
    for activation, count in _groups(name):
        end = first + count if count else None
        part = z[..., first:end] if count else z
        parts.append(_of_group(activation, part, order, layer, first))
        first = end or 0
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _of_group(
    name: str | Custom, z: Floats, order: int, layer: int | None, first: int
) -> Floats:
    """Return the derivatives for neurons that have the same activation.

    `first` is the index of the first of them in the layer.
    """
    column = (-1, *(1,) * z.ndim)
    if isinstance(name, Custom):
        factorials = np.array([float(factorial(k)) for k in range(order + 1)])
        coefficients = np.asarray(name.coefficients(z, order), dtype=np.float64)
        return coefficients * factorials.reshape(column)
    base, parameter, inner, outer = _scaled(name)
    if base in bases.KINKED and order > 1 and not z.all():
        neuron = first + int(np.argwhere(z == 0)[0, -1]) if z.ndim else 0
        place = "" if layer is None else f" of layer {layer}"
        raise ValueError(
            f"order {order}: neuron {neuron}{place} sits at the kink of {name}, z = 0; "
            "no derivative past the first"
        )
    if base in activation_derivatives.FUNCTIONS:
        f = activation_derivatives.FUNCTIONS[base](inner * z, order)
    else:
        f = bases.derivatives(base, inner * z, order, parameter)
    if inner == outer == 1:
        return f
    orders = np.arange(order + 1).reshape(column)
    # In two steps, because inner^k alone may overflow where the derivative does not.
    return outer * (f * inner ** (orders // 2)) * inner ** (orders - orders // 2)

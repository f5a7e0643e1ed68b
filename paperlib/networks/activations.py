"""Parse names of activations, and compute values and derivatives of any order.

An activation phi is a function of the pre-activation z of a neuron. Here it has the
form phi(z) = outer * base(inner * z) with two numbers, outer and inner, and one of the
functions of the module `bases`. For example, celu with the parameter 2 is
2 * elu(z / 2). Some activations have a *kink* at z = 0: they have no second derivative
there, and some of them, such as relu, have no first derivative there either.

The name of an activation may have a parameter in parentheses, "celu(2)". A layer whose
neurons have different activations is named by the activations in the order of the
neurons, with the number of neurons that have each: "tanh*8 + linear*3".

To add an activation of this form whose base exists, add an item to SCALED, and its name
to SMOOTH or, if it has a kink, to PIECEWISE. If its name may have a parameter, add the
default to DEFAULTS, and the name to POSITIVE if the parameter must be positive. The
docstring of `bases` describes how to add a base.
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
# The activations with a kink at z = 0
PIECEWISE = ("relu", "elu", "celu", "leaky_relu", "selu", "softsign")
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# The activations whose name may have a parameter in parentheses, and its default
DEFAULTS = {
    "elu": 1.0,
    "celu": 1.0,
    "leaky_relu": 0.01,
    "softplus": 1.0,
    "squareplus": 4.0,
}
# The activations whose parameter must be positive
POSITIVE = ("celu", "softplus", "squareplus")
# A name with a parameter, "elu(0.5)", and a name with a count, "tanh*8"
PARAMETER = re.compile(rf"({'|'.join(DEFAULTS)})\(([^()]+)\)")
COUNTED = re.compile(r"(.+)\*([1-9][0-9]*)")


class Scaled(NamedTuple):
    """The function outer * base(inner * z).

    Parameters
    ----------
    base : str
        The name of the base, a key of `bases.BASES`.
    parameter : float, default 0.0
        The second argument of the base, for example the slope of leaky_relu for z < 0.
        Bases without a parameter ignore it.
    inner : float, default 1.0
        The factor of z in the argument of the base.
    outer : float, default 1.0
        The factor of the base.

    Examples
    --------
    The function softplus(2 z) / 2:

    >>> Scaled("softplus", inner=2.0, outer=0.5)
    Scaled(base='softplus', parameter=0.0, inner=2.0, outer=0.5)
    """

    base: str
    parameter: float = 0.0
    inner: float = 1.0
    outer: float = 1.0


# For each activation that is not a base itself, a function that maps the parameter in
# its name to a Scaled. An activation without a parameter ignores the argument.
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
        The name that `repr` of a network and messages show.
    coefficients : callable
        ``coefficients(z, order)`` takes an array of pre-activations z, shape (...), and
        the highest order. It returns the Taylor coefficients of the activation phi at
        z: phi, phi', phi''/2, .., phi^(order)/order!, shape (order + 1, ...).

    Examples
    --------
    The exponential function has the Taylor coefficients exp(z) / k! at z.

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
        The parameter is alpha for elu and celu, beta for softplus, b for squareplus,
        and the slope for z < 0 for leaky_relu. Without parentheses, alpha and beta are
        1, b is 4, and the slope is 0.01, as in PyTorch.

    Returns
    -------
    function : str
        The name without the parameter.
    parameter : float or None
        The parameter or its default. None for functions without a parameter.

    Raises
    ------
    ValueError
        If no activation has that name, or the parameter is not a finite number. For
        celu, softplus and squareplus it must also be positive.
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
    """Return an activation as a function of the form outer * base(inner * z).

    Parameters
    ----------
    name : str
        Name of the activation, possibly with a parameter, for example "celu(2)".

    Returns
    -------
    Scaled
        The base, its parameter, and the factors inner and outer. The derivative of
        order k of the activation at z is outer * inner^k times the derivative of order
        k of the base at inner * z.

    Raises
    ------
    ValueError
        If no activation has that name, or its parameter is not allowed.
    TypeError
        If the name is not a string.

    Examples
    --------
    >>> scaled("celu(2)")
    Scaled(base='elu', parameter=1.0, inner=0.5, outer=2.0)
    """
    function, parameter = parse(name)
    return SCALED.get(function, lambda _: Scaled(function))(parameter)


def groups(name: str | Custom) -> tuple[tuple[str | Custom, int | None], ...]:
    """Return the groups of a layer: the activations of its neurons with their counts.

    A group consists of adjacent neurons that have the same activation.

    Parameters
    ----------
    name : str or Custom
        The activation of all neurons: a name such as "tanh" or "celu(2)", or a Custom.
        If the neurons have different activations, their names with the numbers of
        neurons that have them, in the order of the neurons: "tanh*8 + linear*3".

    Returns
    -------
    tuple of (str or Custom, int or None)
        For each group, its activation and its number of neurons. The number is None if
        `name` has no counts: the only group then consists of all neurons.

    Raises
    ------
    ValueError
        If a name is unknown, or one of several names has no count.
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
    """Return one name for the activations of all neurons of a layer.

    `groups` splits such a name into activations and counts again.

    Parameters
    ----------
    names : sequence of str
        The name of each neuron's activation, in the order of the neurons.

    Returns
    -------
    str
        The name of the activation if all neurons have the same. Otherwise the names
        with the numbers of adjacent neurons that have them.

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
    """Return the value and the derivatives of an activation phi at z.

    relu, leaky_relu, elu, celu, selu and softsign have a kink at z = 0. Their value and
    slope there are the limits for z -> 0 from below, as in TensorFlow and PyTorch, and
    higher derivatives raise an error there.

    Parameters
    ----------
    name : str or Custom
        The activation of all neurons: a name such as "tanh" or "celu(2)", or a Custom.
        If the neurons have different activations, their names with the numbers of
        neurons that have them, in the order of the neurons: "tanh*8 + linear*3".
    z : array_like of float, shape (..., units)
        Pre-activations. The last axis counts the neurons of the layer.
    order : int
        Order of the highest derivative, from 0 to 170, because 171! overflows float64.
    layer : int, optional
        The number of the layer. It appears in the error message about a kink.

    Returns
    -------
    ndarray of float64, shape (order + 1, ..., units)
        The arrays phi, phi', .., phi^(order), stacked along the first axis.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the name is unknown, `order` is out of range, z is not finite, a derivative
        overflows float64, or `order` is at least 2 and z is 0 for a neuron whose
        activation has a kink.

    Notes
    -----
    The tests compare with results of 40 digits, for derivatives to order 8 and
    ``|z| <= 50``. The error of a derivative is at most about 1e-14 of its largest
    absolute value in this range.

    Examples
    --------
    tanh z = z - z^3/3 + 2 z^5/15 - .. has the derivatives 0, 1, 0, -2, 0, 16 at z = 0:

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
    """Return the value and the derivatives of an activation at z.

    `z` are pre-activations, shape (..., units). `name` is the activation of all
    neurons, or "tanh*8 + linear*3" with counts. The result holds phi, phi', ..,
    phi^(order) along its first axis, and has the shape (order + 1, ..., units). The
    arguments are not checked, and entries of the result may be not finite. Raise a
    ValueError if `order` is at least 2 and z is 0 for a neuron whose activation has a
    kink. Its message contains the layer's number, `layer`, unless it is None.
    """
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
    """Return the value and the derivatives for a group of neurons with one activation.

    `z` are the pre-activations of the group, shape (..., neurons of the group). The
    result has shape (order + 1, ..., neurons of the group), with the value first.
    `first` is the index in the layer of the group's first neuron. Raise a ValueError if
    `order` is at least 2 and z is 0 for a neuron whose activation has a kink. Its
    message contains the number of the neuron, counted from 0 in the layer, and `layer`.
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
    # Derivative k is multiplied by inner^k in two steps, because inner^k alone may
    # overflow float64 where the product with the derivative does not.
    return outer * (f * inner ** (orders // 2)) * inner ** (orders - orders // 2)

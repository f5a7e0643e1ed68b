"""Check the requests of users, and translate them to numbered directions.

A user requests derivatives with respect to inputs and along named directions, or a
Laplacian with a metric. The checked request is called a key. A *direction* of a program
(see `program`) has a number instead of a name. A direction is constant if it is the
same at all centres, such as the unit vector of an input. Otherwise the user gives it
for each centre.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from math import prod
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP
from paperlib.taylor.program import Derivatives, Laplacian, Request

BYTES_OF_PAIR = 1000  # of a bilaplacian's program, for each pair of directions
# The largest number of sub-tuples of one tuple. Ten entries that all differ have 2^10.
MAX_SUB_INDICES = 1024

Index: TypeAlias = tuple[int | str | EllipsisType, ...]


@dataclass(frozen=True)
class LaplacianKey:
    """The request for a Laplacian or a bilaplacian.

    Parameters
    ----------
    power : int
        1 for the Laplacian, 2 for the bilaplacian.
    metric : bytes or None
        The float64 weights of the second derivatives as bytes, so that the key is
        hashable. None stands for the unit matrix.
    axes : int
        The number of axes of the metric: 1 for weights g_i, 2 for weights g_ij.
    """

    power: int
    metric: bytes | None = None
    axes: int = 0

    def __repr__(self) -> str:
        name = repr("laplacian" if self.power == 1 else "bilaplacian")
        return name if self.metric is None else f"{name}, metric of {self.axes} axes"


# The checked request of a user: the order of a whole tensor, or a tuple for each
# derivative, or a Laplacian
Key: TypeAlias = int | tuple[Index, ...] | LaplacianKey
# (request, slopes, names), the result of `translate`
Translation: TypeAlias = tuple[Request, Floats, tuple[str, ...]]


def with_hidden_layer(mlp: MLP) -> MLP:
    """Return a network with at least one hidden layer.

    To a network without hidden layers, a linear hidden layer is added, with one neuron
    for each output. It does not change the outputs. Any other network is returned
    itself.
    """
    if mlp.depth:
        return mlp
    identity, zeros = np.eye(mlp.outputs), np.zeros(mlp.outputs)
    return MLP([*mlp.weights, identity], [*mlp.biases, zeros], "linear")


def translate(mlp: MLP, key: Key) -> Translation:
    """Translate a user's request for one network to numbered directions.

    Parameters
    ----------
    mlp : MLP
        A network with at least one hidden layer.
    key : int, tuple of tuple, or LaplacianKey
        The checked request: an integer for a whole tensor of this order, at least 1; a
        tuple for each derivative; or a Laplacian.

    Returns
    -------
    request : Derivatives or Laplacian
        The same request along numbered directions. The constant directions have the
        first numbers. The directions that the user gives for each centre follow. For a
        tensor the constant directions are all inputs, and for a tuple of tuples those
        inputs that occur. A tensor of order 1 becomes the gradient of the network. The
        directions of a Laplacian are those of `_square_roots`, which are not unit
        vectors of inputs in general.
    slopes : ndarray of float64, shape (constant directions, units)
        The derivative of the first layer's pre-activations along each constant
        direction. `units` is the number of neurons of the first layer.
    names : tuple of str
        The names of the directions that the user gives for each centre.

    Raises
    ------
    ValueError
        If the program of a bilaplacian needs more memory than is free.
    """
    weight = mlp.weights[0]
    if isinstance(key, LaplacianKey):
        slopes, positive = _square_roots(weight, key)
        if key.power > 1:
            each = BYTES_OF_PAIR + 16 * max(map(len, mlp.biases))
            advice = "its bilaplacian needs a program for each pair of directions"
            validation.memory("mlp", len(slopes) ** 2 * each, advice)
        return Laplacian(len(slopes), positive, key.power), slopes, ()
    if isinstance(key, tuple):
        return _translate_indices(key, weight.T)
    if key > 1:
        return Derivatives(mlp.dim, key), weight.T, ()
    return Derivatives(mlp.dim, gradients=((),)), weight.T, ()


def _translate_indices(key: tuple[Index, ...], input_slopes: Floats) -> Translation:
    """Return the request, slopes and names for a key with a tuple per derivative.

    Parameters
    ----------
    key : tuple of tuple
        Each entry is a tuple of numbers of inputs and names of directions. If it also
        has a `...`, it asks for the gradient of the derivative along the others. All
        entries have a `...`, or none has one.
    input_slopes : ndarray of float64, shape (dim, units)
        The derivative of the first layer's pre-activations with respect to each input.

    Returns
    -------
    request : Derivatives
        The request along numbered directions. The inputs that occur in `key` are its
        first directions, in ascending order. The named directions follow, in the order
        in which they first occur.
    slopes : ndarray of float64, shape (inputs that occur, units)
        The rows of `input_slopes` of these inputs.
    names : tuple of str
        The names of the directions.
    """
    fixed = [[entry for entry in index if entry is not ...] for index in key]
    distinct: dict[Any, None] = dict.fromkeys(chain(*fixed))
    names = tuple(entry for entry in distinct if isinstance(entry, str))
    inputs = sorted(distinct.keys() - set(names))
    number = {entry: n for n, entry in enumerate((*inputs, *names))}
    indices = tuple(tuple(sorted(map(number.__getitem__, each))) for each in fixed)
    request = Derivatives(len(number), indices)
    if ... in key[0]:
        request = Derivatives(len(number), gradients=indices)
    return request, input_slopes[inputs], names


def _square_roots(weight: Floats, key: LaplacianKey) -> tuple[Floats, int]:
    """Return the directions and signs of a Laplacian with a metric.

    The Laplacian of the first layer needs W g W^T, where W is the layer's weights
    (`weight`, of shape (units, dim)) and g is the metric of `key`. This function
    returns vectors r_k with W g W^T = sum over k of s_k r_k r_k^T and signs s_k.

    Returns
    -------
    roots : array of float64, shape (vectors, units)
        The vectors r_k. There are at most `units` of each sign. If the metric is 0,
        there is one vector of zeros, with the sign +1.
    positive : int
        The number of vectors with the sign +1. They come first; all others have the
        sign -1.
    """
    vectors: Any = weight.T
    parts = [vectors]
    if key.metric is not None:
        metric = np.frombuffer(key.metric)
        if key.axes == 2:
            half = metric.reshape(len(vectors), -1) / 2
            metric, eigenvectors = np.linalg.eigh(half + half.T)
            vectors = eigenvectors.T @ vectors
        scaled = np.sqrt(np.abs(metric))[:, None] * vectors
        parts = [scaled[metric > 0], scaled[metric < 0]]
    parts = [
        np.linalg.qr(part, mode="r") if len(part) > len(weight) else part
        for part in parts
    ]
    roots = np.concatenate(parts)
    if not len(roots):
        return np.zeros((1, len(weight))), 1
    return roots, len(parts[0])


def laplacian_key(mlp: MLP, power: int, metric: ArrayLike | None) -> LaplacianKey:
    """Return the key of the Laplacian (`power` 1) or bilaplacian (`power` 2).

    Raise a TypeError or a ValueError if the metric does not hold finite numbers, does
    not have shape (dim,) or (dim, dim), or is given for a bilaplacian.
    """
    if metric is None:
        return LaplacianKey(power)
    g = validation.real_array("metric", metric, last=mlp.dim)
    if g.shape not in ((mlp.dim,), (mlp.dim, mlp.dim)):
        raise ValueError(
            f"metric: shape {g.shape}; must be {(mlp.dim,)} or {(mlp.dim, mlp.dim)}"
        )
    if power > 1:
        raise ValueError(
            "metric: given for a bilaplacian; must be given only for a Laplacian"
        )
    return LaplacianKey(power, g.tobytes(), g.ndim)


def check_indices(
    name: str, request: Any, dim: int, named: bool = False
) -> tuple[Index, ...]:
    """Check the indices of derivatives, and return them as a tuple of tuples.

    Parameters
    ----------
    name : str
        The name of the checked argument, for messages.
    request : iterable of iterable
        The indices of each derivative: numbers of inputs, from 0 to dim - 1.
    dim : int
        The number of inputs.
    named : bool
        If true, an entry may also be the name of a direction, and one entry of each
        item may be `...`, which requests a gradient.

    Returns
    -------
    tuple of tuple
        One tuple for each derivative, with its entries in the given order.

    Raises
    ------
    TypeError
        If an entry has another type.
    ValueError
        If there is no item, an entry is out of range, an item has no entry, more than
        20 entries or more than 1024 different sub-tuples, or only some items have a
        `...`.

    Examples
    --------
    >>> check_indices("request", [["v", 2], ["v", "v"]], 3, named=True)
    (('v', 2), ('v', 'v'))
    """
    items: list[Any] = validation.sequence(name, request)
    indices = [
        _check_index(f"{name}[{place}]", item, dim, named)
        for place, item in enumerate(items)
    ]
    if not indices:
        raise ValueError(f"{name} = (): must have at least one tuple")
    if len({... in index for index in indices}) > 1:
        raise ValueError(
            f"{name}: `...` is in some tuples; must be in all tuples or in none"
        )
    return tuple(indices)


def _check_index(name: str, item: Any, dim: int, named: bool) -> Index:
    """Check the indices of one derivative, and return them as a tuple.

    `name` is the name of the argument in messages, such as "indices[0]", and `dim` the
    number of inputs. Entries are numbers of inputs. If `named` is true, they may also
    be names of directions, and one may be `...`. Raise a TypeError or a ValueError if
    an entry is not allowed, there are none or more than 20, or they have more than 1024
    different sub-tuples.
    """
    entries: list[Any] = validation.sequence(name, item)
    index = tuple(
        entry
        if named and _is_name(entry)
        else validation.integer(name, entry, minimum=0, maximum=dim - 1)
        for entry in entries
    )
    counts = Counter(index)
    gradients = counts.pop(..., 0)
    sub_indices = prod(count + 1 for count in counts.values())
    if not 1 <= len(index) <= validation.TENSOR_ORDER or gradients > 1:
        gradient = ", with at most one `...`" if named else ""
        raise ValueError(
            f"{name} = {validation.brief(item)}: must be 1 to "
            f"{validation.TENSOR_ORDER} indices{gradient}"
        )
    if sub_indices > MAX_SUB_INDICES:
        raise ValueError(
            f"{name} = {validation.brief(item)}: the product of (count + 1) over its "
            f"different indices must be at most {MAX_SUB_INDICES}; is {sub_indices}"
        )
    return index


def _is_name(entry: Any) -> bool:
    """Return whether an entry is `...` or may be the name of a direction.

    A name is an identifier other than "at" and "self", because directions are keyword
    arguments of `Compiled.__call__`.
    """
    if isinstance(entry, str):
        return entry.isidentifier() and entry not in ("at", "self")
    return entry is ...

"""Check the requests of users, and write them in terms of numbered directions."""

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

BYTES_OF_PAIR = 1000  # of directions, in the program of a bilaplacian
MAX_SUB_INDICES = 1024  # of one multi-index: ten entries that all differ

Index: TypeAlias = tuple[int | str | EllipsisType, ...]


@dataclass(frozen=True)
class LaplacianKey:
    """The Laplacian (power 1) or bilaplacian (power 2).

    A metric of one or two axes is held as bytes, so that the key is hashable.
    """

    power: int
    metric: bytes | None = None
    axes: int = 0

    def __repr__(self) -> str:
        name = repr("laplacian" if self.power == 1 else "bilaplacian")
        return name if self.metric is None else f"{name}, metric of {self.axes} axes"


# A request in the words of users. An integer is the whole tensor of that order.
Key: TypeAlias = int | tuple[Index, ...] | LaplacianKey
Translation: TypeAlias = tuple[Request, Floats, tuple[str, ...]]  # see `translate`


def with_hidden_layer(mlp: MLP) -> MLP:
    """Return the network, with a linear hidden layer if it has none."""
    if mlp.depth:
        return mlp
    identity, zeros = np.eye(mlp.outputs), np.zeros(mlp.outputs)
    return MLP([*mlp.weights, identity], [*mlp.biases, zeros], "linear")


def translate(mlp: MLP, key: Key) -> Translation:
    """Return the request of a program for one network, and its directions.

    Parameters
    ----------
    mlp : MLP
        A network with at least one hidden layer.
    key : int, tuple of tuple, or LaplacianKey
        The checked request of a user.

    Returns
    -------
    request : Derivatives or Laplacian
        The same request along numbered directions: first the constant directions, then
        the directions that are given at each centre.
    slopes : ndarray of float64, shape (constant directions, units)
        The derivative of the first layer's z along each constant direction.
    names : tuple of str
        The names of the directions that are given at each centre.
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
    """Return the result of `translate` for chosen derivatives.

    Only the inputs that occur are directions of the program.
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
    """Return vectors r_k and the number of plus signs: sum_k +- r_k r_k^T = W g W^T.

    W is the first layer's weights, g is the metric. The vectors with a plus sign come
    first. The vectors of each sign are at most the layer's units.
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
    """Return the key of a Laplacian or bilaplacian; the metric is checked."""
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
    """Return the multi-indices of a request as a key.

    Parameters
    ----------
    name : str
        The name of the argument, for messages.
    request : iterable of iterable
        The multi-indices. Their entries are inputs from 0 to dim - 1.
    dim : int
        The number of inputs.
    named : bool
        If true, an entry may also be a direction's name, or `...` for a gradient.

    Returns
    -------
    tuple of tuple
    """
    items: list[Any] = validation.sequence(name, request)
    indices = [
        _check_index(f"{name}[{place}]", item, dim, named)
        for place, item in enumerate(items)
    ]
    if not indices:
        raise ValueError(f"{name} = (): must be one tuple or more")
    if len({... in index for index in indices}) > 1:
        raise ValueError(
            f"{name}: some tuples have a `...`; must be all tuples or no tuple"
        )
    return tuple(indices)


def _check_index(name: str, item: Any, dim: int, named: bool) -> Index:
    """Return one multi-index of `check_indices`."""
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
    allowed = 1 <= len(index) <= validation.TENSOR_ORDER
    if not allowed or sub_indices > MAX_SUB_INDICES or gradients > 1:
        gradient = ", and one `...` at most" if named else ""
        raise ValueError(
            f"{name} = {validation.brief(item)}: must be 1 to "
            f"{validation.TENSOR_ORDER} indices, "
            f"at most ten of them different{gradient}"
        )
    return index


def _is_name(entry: Any) -> bool:
    """Return whether an entry is `...` or the name of a keyword argument of a call."""
    if isinstance(entry, str):
        return entry.isidentifier() and entry not in ("at", "self")
    return entry is ...

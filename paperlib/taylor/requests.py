"""Check the requests of users, and write them in terms of numbered directions."""

from dataclasses import dataclass
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
SUB_INDICES = 1024  # of one multi-index: ten entries that all differ

Index: TypeAlias = tuple[int | str | EllipsisType, ...]


@dataclass(frozen=True)
class Sum:
    """The Laplacian (power 1) or bilaplacian (power 2), with a metric of one or two axes as bytes."""

    power: int
    metric: bytes | None = None
    axes: int = 0

    def __repr__(self) -> str:
        name = "laplacian" if self.power == 1 else "bilaplacian"
        return (
            repr(name)
            if self.metric is None
            else f"{name!r}, metric of {self.axes} axes"
        )


# An integer: the whole tensor of that order
Key: TypeAlias = int | tuple[Index, ...] | Sum


def with_hidden(mlp: MLP) -> MLP:
    """The network, with a linear hidden layer if it has none."""
    if mlp.depth:
        return mlp
    return MLP(
        [*mlp.weights, np.eye(mlp.outputs)],
        [*mlp.biases, np.zeros(mlp.outputs)],
        "linear",
    )


def written(mlp: MLP, key: Key) -> tuple[Request, Floats, tuple[str, ...]]:
    """Return a request for a program, the constant directions as slopes of the first layer, and the names of all others."""
    weight = mlp.weights[0]
    if isinstance(key, int):
        return (
            Derivatives(mlp.dim, key) if key > 1 else Derivatives(mlp.dim, (), ((),)),
            weight.T,
            (),
        )
    if isinstance(key, Sum):
        letters, positive = _square_roots(weight, key)
        if key.power > 1:
            nbytes = len(letters) ** 2 * (
                BYTES_OF_PAIR + 16 * max(map(len, mlp.biases))
            )
            validation.memory(
                "mlp",
                nbytes,
                "its bilaplacian needs a program for each pair of directions",
            )
        return Laplacian(len(letters), positive, key.power), letters, ()
    every = dict.fromkeys(entry for index in key for entry in index if entry is not ...)
    inputs, names = (
        sorted(entry for entry in every if isinstance(entry, int)),
        [e for e in every if isinstance(e, str)],
    )
    number = {entry: n for n, entry in enumerate([*inputs, *names])}
    indices = tuple(
        tuple(sorted(number[entry] for entry in index if entry is not ...))
        for index in key
    )
    request = (
        Derivatives(len(number), (), indices)
        if ... in key[0]
        else Derivatives(len(number), indices)
    )
    return request, weight.T[inputs], tuple(names)


def _square_roots(weight: Floats, key: Sum) -> tuple[Floats, int]:
    """Return vectors r_k and how many of them count as positive: sum_k +- r_k r_k^T = W g W^T.

    W are the first layer's weights, g is the metric. The number of vectors of each sign is at most the layer's number of units.
    """
    if key.metric is None:
        parts = [weight.T]
    else:
        metric = np.frombuffer(key.metric)
        vectors: Any = weight.T
        if key.axes == 2:
            whole = metric.reshape(len(vectors), -1) / 2
            metric, turns = np.linalg.eigh(whole + whole.T)
            vectors = turns.T @ vectors
        scaled = np.sqrt(np.abs(metric))[:, None] * vectors
        parts = [scaled[metric > 0], scaled[metric < 0]]
    parts = [
        np.asarray(np.linalg.qr(part, mode="r")) if len(part) > len(weight) else part
        for part in parts
    ]
    found = np.concatenate(parts)
    return (found, len(parts[0])) if len(found) else (np.zeros((1, len(weight))), 1)


def sum_of(mlp: MLP, power: int, metric: ArrayLike | None) -> Sum:
    """The key of a Laplacian or bilaplacian, its metric checked."""
    if metric is None:
        return Sum(power)
    g = validation.real_array("metric", metric, last=mlp.dim)
    if g.shape not in ((mlp.dim,), (mlp.dim, mlp.dim)):
        raise ValueError(
            f"metric: shape {g.shape}; must be {(mlp.dim,)} or {(mlp.dim, mlp.dim)}"
        )
    if power > 1:
        raise ValueError(
            "metric: given for a bilaplacian; must be given for a Laplacian alone"
        )
    return Sum(power, g.tobytes(), g.ndim)


def indices_of(
    name: str, given: Any, dim: int, named: bool = False
) -> tuple[Index, ...]:
    """The multi-indices of a request, checked; entries that are names or `...` only where `named`."""
    found: list[Index] = []
    tuples: list[Any] = validation.sequence(name, given)
    for place, each in enumerate(tuples):
        where, entries = f"{name}[{place}]", list[Any]()
        parts: list[Any] = validation.sequence(where, each)
        for entry in parts:
            if named and (
                entry is ...
                or (
                    isinstance(entry, str)
                    and entry.isidentifier()
                    and entry not in ("at", "self")
                )
            ):
                entries.append(entry)
            else:
                entries.append(
                    validation.integer(where, entry, minimum=0, maximum=dim - 1)
                )
        fixed = [entry for entry in entries if entry is not ...]
        subs = prod(fixed.count(entry) + 1 for entry in set(fixed))
        if (
            not 0 < len(entries) <= validation.TENSOR_ORDER
            or subs > SUB_INDICES
            or len(entries) - len(fixed) > 1
        ):
            allowed = f"must be 1 to {validation.TENSOR_ORDER} indices, of which at most ten differ"
            raise ValueError(
                f"{where} = {validation.brief(each)}: {allowed}{', and one `...` at most' if named else ''}"
            )
        found.append(tuple(entries))
    if not found:
        raise ValueError(f"{name} = (): must be one tuple or more")
    if len({... in entries for entries in found}) > 1:
        raise ValueError(
            f"{name}: some tuples have a `...` and some have none; must be alike"
        )
    return tuple(found)

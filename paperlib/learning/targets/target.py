r"""What is learned: a function of the potential, with as many of its derivatives as are known.

Perturbation theory and a reader's own problem come in by the same door: a `Target` gives the values of a batch of inputs
and, if it can, their gradients and the products of their Hessians with given directions.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from paperlib._support import checks, chunks
from paperlib._support.checks import Floats
from paperlib.taylor.symmetric import (
    SymmetricTensor,
    index_table,
    joined_positions,
    monomials,
    multiplicities,
    packed_position,
)

__all__ = ["FITS", "Target", "label", "orders_in_turn", "polynomial"]

# What a training may fit: each with those before it.
FITS = ("values", "gradients", "hessian_vectors", "third_derivatives")
# Those that a target gives itself; the last one is a difference of these.
_GIVEN = FITS[:3]


@dataclass(frozen=True)
class Target:
    """A scalar function of a batch of inputs, shape (n, d).

    Parameters
    ----------
    name : str
        Told apart by it: two targets of one name are taken to be one function.
    values : callable
        (n, d) -> (n,).
    gradients : callable, optional
        (n, d) -> (n, d).
    hessian_vectors : callable, optional
        Inputs and directions, each (n, d), -> (n, d).
    jet : callable, optional
        Inputs and directions -> values, gradients and Hessian-vector products, where one sweep gives all three.
    remainder : callable, optional
        Tensors of orders 1, 2, .. -> the Target that is left when they are taken off; for targets that know a better way
        than a difference.

    Examples
    --------
    >>> norm = Target("squared norm", values=lambda U: (U**2).sum(axis=1), gradients=lambda U: 2 * U)
    >>> norm.sampled("values", np.ones((2, 3)))
    array([3., 3.])
    >>> norm.sampled("hessian_vectors", np.ones((2, 3)), np.ones((2, 3)))
    Traceback (most recent call last):
    ...
    ValueError: target 'squared norm': has no hessian_vectors
    """

    name: str
    values: Callable
    gradients: Callable | None = None
    hessian_vectors: Callable | None = None
    jet: Callable | None = None
    remainder: Callable | None = None

    def __post_init__(self) -> None:
        checks.instance("name", self.name, str)
        for what in ("values", "gradients", "hessian_vectors", "jet", "remainder"):
            if what == "values" or getattr(self, what) is not None:
                checks.called(what, getattr(self, what))

    def minus(self, tensors: Sequence[SymmetricTensor]) -> "Target":
        """The target minus the polynomial of tensors of orders 1, 2, .., with those derivatives that it has."""
        tensors = orders_in_turn("tensors", tensors)
        if not tensors:
            return self
        if self.remainder is not None:
            return self.remainder(tensors)
        lower = polynomial(tensors)

        def difference(what: str) -> Callable | None:
            ours, theirs = getattr(self, what), getattr(lower, what)
            return None if ours is None else lambda *arguments: ours(*arguments) - theirs(*arguments)

        def jets(U: Floats, v: Floats) -> list[Floats]:
            pairs = zip(self.jet(U, v), lower.jet(U, v), strict=True)  # type: ignore[misc]  # taken only if there is one
            return [ours - theirs for ours, theirs in pairs]

        parts: Any = {what: difference(what) for what in _GIVEN}
        return Target(f"{self.name} less {label(tensors)}", **parts, jet=self.jet and jets)

    def sampled(self, what: str, *arguments: Floats) -> Floats:
        """`values`, `gradients` or `hessian_vectors` at a batch, checked.

        A ValueError names what is wrong: a derivative that the target lacks, another shape, a sample whose value is not
        finite.
        """
        function = getattr(self, checks.choice("what", what, _GIVEN))
        if function is None:
            raise ValueError(f"target {self.name!r}: has no {what}")
        arrays = [checks.real_array("x", array) for array in arguments]
        return self._checked(what, function(*arrays), arrays[0])

    def fitted(self, fit: str, U: Floats, v: Floats | None = None, *, depth: float = 1.0) -> list[Floats]:
        """What a training of this `fit` fits, at a batch and, from Hessian-vector products on, along v; each checked.

        D^3 f[v, v, .] is the central difference of Hessian-vector products at U plus and minus depth/1000 v: to about 1e-7
        for a v of unit length and a function that changes over `depth`, as exact as trainings in single precision can use.
        """
        names, U = FITS[: FITS.index(checks.choice("fit", fit, FITS)) + 1], checks.real_array("U", U)
        if len(names) < 3:
            return [self.sampled(what, U) for what in names]
        v = checks.real_array("v", v)
        if self.jet is None:
            results = [*(self.sampled(what, U) for what in FITS[:2]), self.sampled(FITS[2], U, v)]
        else:
            given: list[Any] = checks.sequence(f"target {self.name!r}: jet", self.jet(U, v))
            if len(given) != len(_GIVEN):
                raise ValueError(f"target {self.name!r}: jet gives {len(given)} results; must be {', '.join(_GIVEN)}")
            results = [self._checked(what, result, U) for what, result in zip(_GIVEN, given, strict=True)]
        if fit not in _GIVEN:
            step = checks.number("depth", depth, above=0) / 1000
            after, before = (self.sampled(FITS[2], U + to * v, v) for to in (step, -step))
            results.append((after - before) / (2 * step))
        return results

    def _checked(self, what: str, result: Any, U: Floats) -> Floats:
        expected = U.shape[:1] if what == "values" else U.shape
        result = np.asarray(result)
        if result.dtype.kind not in "iuf":
            raise TypeError(f"target {self.name!r}: {what} have dtype {result.dtype}; must be real numbers")
        result = result.astype(np.float64, copy=False)
        if result.shape != expected:
            raise ValueError(f"target {self.name!r}: {what} have shape {result.shape}; must be {expected}")
        if not np.isfinite(result).all():
            sample = int(np.argwhere(~np.isfinite(result))[0][0])
            raise ValueError(f"target {self.name!r}: {what} of sample {sample} are not finite")
        return result


def polynomial(tensors: Sequence[SymmetricTensor] | SymmetricTensor, name: str = "polynomial") -> Target:
    r"""A polynomial without constant term, given by its symmetric tensors, of any orders from 1 and one dimension.

    .. math:: f(x) = \sum_n T^{(n)}_{i_1 \dots i_n} x_{i_1} \cdots x_{i_n}

    Examples
    --------
    >>> square = polynomial([SymmetricTensor(2, 2, [1.0, 0.0, 1.0])])
    >>> square.values(np.array([[3.0, 4.0]])), square.gradients(np.array([[3.0, 4.0]]))
    (array([25.]), array([[6., 8.]]))
    """
    tensors = [tensors] if isinstance(tensors, SymmetricTensor) else checks.sequence("tensors", tensors)
    for number, tensor in enumerate(tensors):
        _scalar(f"tensors[{number}]", tensor, None)
    if not tensors or len({tensor.dim for tensor in tensors}) > 1:
        raise ValueError(f"tensors = {checks.brief(tensors)}: must be one or more, of one dimension")
    d = tensors[0].dim
    linear = sum((tensor.packed for tensor in tensors if tensor.order == 1), np.zeros(d))
    square = sum((2 * tensor.full() for tensor in tensors if tensor.order == 2), np.zeros((d, d)))
    higher = [(tensor.order, _pair_matrix(tensor)) for tensor in tensors if tensor.order > 2]

    # T(x, .., x, v, .) of every tensor above the second order, a list of them for each v.
    def contracted(x: Floats, *vectors: Floats) -> list[list[Floats]]:
        found = [_contract(n, A, x, *vectors) for n, A in higher]
        return [[each[k] for each in found] for k in range(len(vectors))]

    def value(x: Floats, along: list) -> Floats:
        return x @ linear + ((x @ square) * x).sum(axis=1) / 2 + sum((x * a).sum(axis=1) for a in along)

    def slope(x: Floats, along: list) -> Floats:
        return linear + x @ square + sum(n * a for (n, _), a in zip(higher, along, strict=True))

    def turn(v: Floats, along: list) -> Floats:
        return v @ square + sum(n * (n - 1) * a for (n, _), a in zip(higher, along, strict=True))

    def jet(x: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
        along_x, along_v = contracted(x, x, v)
        return value(x, along_x), slope(x, along_x), turn(v, along_v)

    functions = (
        lambda x: value(x, *contracted(x, x)),
        lambda x: slope(x, *contracted(x, x)),
        lambda x, v: turn(v, *contracted(x, v)),
        jet,
    )
    return Target(name, *(partial(_chunked, function, d) for function in functions))


def _pair_matrix(tensor: SymmetricTensor) -> Floats:
    """A of shape (monomials of order n - 2, pairs): monomials(x) A is the packed matrix T(x, .., x, . , .)."""
    rest, pairs = index_table(tensor.dim, tensor.order - 2), index_table(tensor.dim, 2)
    indices = np.empty((len(rest), len(pairs), tensor.order), dtype=np.int32)
    indices[..., : tensor.order - 2] = rest[:, None]
    indices[..., tensor.order - 2 :] = pairs
    indices.sort(axis=-1)
    matrix = tensor.packed[packed_position(tensor.dim, indices)]
    return matrix * multiplicities(tensor.dim, tensor.order - 2)[:, None]


def _contract(order: int, pair_matrix: Floats, x: Floats, *others: Floats) -> list[Floats]:
    """T(x, .., x, v, .) for a batch and each v of `others`; (n, d) -> (n, d)."""
    d = x.shape[1]
    packed = monomials(x, order - 2) @ pair_matrix
    matrices = packed[:, joined_positions(d, 2).ravel()].reshape(-1, d, d)
    return [(matrices @ v[:, :, None])[:, :, 0] for v in others]


def _chunked(function: Callable, d: int, *arrays: Floats) -> Any:
    """Apply a function of batches to 1,024 rows at a time: a matrix a row is what it takes in memory."""
    batches = [checks.real_array("x", array, last=d) for array in arrays]
    if any(batch.shape != batches[0].shape or batch.ndim != 2 for batch in batches):
        raise ValueError(f"x: shapes {', '.join(str(batch.shape) for batch in batches)}; must be (n, {d})")
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [function(*(batch[rows] for batch in batches)) for rows in chunks.slices(len(batches[0]), 1024)]
    several = isinstance(parts[0], tuple)
    columns = zip(*parts, strict=True) if several else iter([parts])
    whole = tuple(checks.representable("x", np.concatenate(column), "scale the inputs") for column in columns)
    return whole if several else whole[0]


def label(tensors: Sequence[SymmetricTensor]) -> str:
    """A name for a set of tensors that another set does not have."""
    digest = hashlib.sha256(b"".join(tensor.packed.tobytes() for tensor in tensors)).hexdigest()[:16]
    return f"orders 1 to {len(tensors)} ({digest})"


def orders_in_turn(name: str, tensors: Sequence[SymmetricTensor]) -> list[SymmetricTensor]:
    """`tensors` as a list, if they are scalar ones of orders 1, 2, .. and of one dimension."""
    tensors = checks.sequence(name, tensors)
    for number, tensor in enumerate(tensors, 1):
        _scalar(f"{name}[{number - 1}]", tensor, number)
        if tensor.dim != tensors[0].dim:
            raise ValueError(f"{name}[{number - 1}]: dim {tensor.dim}; must be {tensors[0].dim}, as {name}[0] has")
    return tensors


def _scalar(name: str, tensor: Any, order: int | None) -> None:
    """Refuse what is no tensor of one number an entry, or not of this order; None is any from 1."""
    message = f"{name} = {checks.brief(tensor)}: must be a scalar SymmetricTensor of order {order or '1 or higher'}"
    if not isinstance(tensor, SymmetricTensor):
        raise TypeError(message)
    if tensor.packed.ndim > 1 or (tensor.order < 1 if order is None else tensor.order != order):
        raise ValueError(message)

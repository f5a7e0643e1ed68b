"""Define a training target: a scalar function of the potential, with its known derivatives.

Perturbation theory and a reader's own problem use the same interface. A `Target` returns the values of a batch of
inputs and, if it can, their gradients and the products of their Hessians with given directions.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from paperlib._support import chunks, validation
from paperlib._support.validation import Floats
from paperlib.taylor.symmetric import (
    SymmetricTensor,
    index_table,
    joined_positions,
    monomials,
    multiplicities,
    packed_position,
)

# The quantities that a training can fit. A fit of one quantity includes the quantities
# before it.
FITS = ("values", "gradients", "hessian_vectors", "third_derivatives")
# The quantities that a target computes. The last one of FITS is a difference of
# Hessian-vector products.
_GIVEN = FITS[:3]


@dataclass(frozen=True)
class Target:
    """A scalar function of a batch of inputs, with its known derivatives.

    Parameters
    ----------
    name : str
        Name that identifies the function. Two targets with the same name are taken for
        the same function.
    values : callable
        Maps inputs of shape (n, d) to values of shape (n,).
    gradients : callable, optional
        Maps inputs of shape (n, d) to gradients of shape (n, d).
    hessian_vectors : callable, optional
        Maps inputs and directions, both of shape (n, d), to the products of Hessians
        and directions, shape (n, d).
    jet : callable, optional
        Maps inputs and directions to values, gradients and Hessian-vector products, if
        one pass computes all three.
    remainder : callable, optional
        Maps tensors of orders 1, 2, .. to the Target minus their polynomial, if a more
        accurate way than a difference is known.

    Raises
    ------
    TypeError
        If `name` is not a str or another argument is not callable.

    Examples
    --------
    >>> norm = Target("squared norm", values=lambda U: (U**2).sum(axis=1), gradients=lambda U: 2 * U)
    >>> norm.evaluate("values", np.ones((2, 3)))
    array([3., 3.])
    >>> norm.evaluate("hessian_vectors", np.ones((2, 3)), np.ones((2, 3)))
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
        validation.instance("name", self.name, str)
        for what in ("values", "gradients", "hessian_vectors", "jet", "remainder"):
            if what == "values" or getattr(self, what) is not None:
                validation.called(what, getattr(self, what))

    def subtract(self, tensors: Sequence[SymmetricTensor]) -> "Target":
        """Subtract the polynomial of tensors from the target.

        Parameters
        ----------
        tensors : sequence of SymmetricTensor
            Tensors of orders 1, 2, .. An empty sequence returns the target itself.

        Returns
        -------
        Target
            The remainder, with the derivatives that the target has.

        Raises
        ------
        TypeError
            If an item is not a SymmetricTensor.
        ValueError
            If the tensors are not scalar ones of orders 1, 2, .. and of one dimension.

        Examples
        --------
        >>> norm = Target("squared norm", values=lambda U: (U**2).sum(axis=1), gradients=lambda U: 2 * U)
        >>> rest = norm.subtract([SymmetricTensor(1, 2, [1.0, 0.0])])
        >>> rest.values(np.array([[3.0, 4.0]])), rest.hessian_vectors
        (array([22.]), None)
        """
        tensors = orders_in_turn("tensors", tensors)
        if not tensors:
            return self
        if self.remainder is not None:
            return self.remainder(tensors)
        lower = polynomial(tensors)

        def difference(what: str) -> Callable | None:
            ours, theirs = getattr(self, what), getattr(lower, what)
            return (
                None
                if ours is None
                else lambda *arguments: ours(*arguments) - theirs(*arguments)
            )

        def jets(U: Floats, v: Floats) -> list[Floats]:
            pairs = zip(self.jet(U, v), lower.jet(U, v), strict=True)  # type: ignore[misc]  # used only if there is one
            return [ours - theirs for ours, theirs in pairs]

        parts: Any = {what: difference(what) for what in _GIVEN}
        return Target(
            f"{self.name} less {label(tensors)}", **parts, jet=self.jet and jets
        )

    def evaluate(self, what: str, *arguments: Floats) -> Floats:
        """Evaluate one quantity at a batch of inputs, and check the result.

        Parameters
        ----------
        what : {"values", "gradients", "hessian_vectors"}
            The quantity.
        *arguments : ndarray of float64, shape (n, d)
            Inputs, and for Hessian-vector products also directions.

        Returns
        -------
        ndarray of float64, shape (n,) or (n, d)
            The values, or one of the other two quantities.

        Raises
        ------
        TypeError
            If the target returns something else than real numbers.
        ValueError
            If the target lacks the derivative, or returns another shape or a number
            that is not finite.

        Examples
        --------
        >>> norm = Target("squared norm", values=lambda U: (U**2).sum(axis=1), gradients=lambda U: 2 * U)
        >>> norm.evaluate("gradients", np.ones((2, 3))).shape
        (2, 3)
        """
        function = getattr(self, validation.choice("what", what, _GIVEN))
        if function is None:
            raise ValueError(f"target {self.name!r}: has no {what}")
        arrays = [validation.real_array("x", array) for array in arguments]
        return self._checked(what, function(*arrays), arrays[0])

    def evaluate_fit(
        self, fit: str, U: Floats, v: Floats | None = None, *, depth: float = 1.0
    ) -> list[Floats]:
        r"""Evaluate all quantities of a fit at a batch of inputs, and check them.

        Parameters
        ----------
        fit : {"values", "gradients", "hessian_vectors", "third_derivatives"}
            The fit; see `TrainingConfig`.
        U : ndarray of float64, shape (n, d)
            Inputs.
        v : ndarray of float64, shape (n, d), optional
            Directions, needed by "hessian_vectors" and "third_derivatives".
        depth : float
            Scale on which the function changes, used by "third_derivatives" alone.

        Returns
        -------
        list of ndarray of float64
            The values, shape (n,), and up to the fit the gradients, the Hessian-vector
            products and D^3 f[v, v, .], shape (n, d).

        Raises
        ------
        TypeError
            If the target returns something else than real numbers.
        ValueError
            If the target lacks a derivative, or returns another shape or a number that
            is not finite.

        Notes
        -----
        D^3 f[v, v, .] is the central difference of Hessian-vector products H v,

        .. math:: D^3 f[v, v, \cdot] \approx \frac{H(U + h v)\, v - H(U - h v)\, v}{2 h}, \quad h = \text{depth} / 1000.

        Its error is about 1e-7 for a v of unit length and a function that changes over
        `depth`. Trainings in single precision cannot use a higher accuracy.

        Examples
        --------
        >>> norm = Target("squared norm", values=lambda U: (U**2).sum(axis=1), gradients=lambda U: 2 * U)
        >>> [array.shape for array in norm.evaluate_fit("gradients", np.ones((2, 3)))]
        [(2,), (2, 3)]
        """
        names, U = (
            FITS[: FITS.index(validation.choice("fit", fit, FITS)) + 1],
            validation.real_array("U", U),
        )
        if len(names) < 3:
            return [self.evaluate(what, U) for what in names]
        v = validation.real_array("v", v)
        if self.jet is None:
            results = [
                *(self.evaluate(what, U) for what in FITS[:2]),
                self.evaluate(FITS[2], U, v),
            ]
        else:
            given: list[Any] = validation.sequence(
                f"target {self.name!r}: jet", self.jet(U, v)
            )
            if len(given) != len(_GIVEN):
                raise ValueError(
                    f"target {self.name!r}: jet gives {len(given)} results; must be {', '.join(_GIVEN)}"
                )
            results = [
                self._checked(what, result, U)
                for what, result in zip(_GIVEN, given, strict=True)
            ]
        if fit not in _GIVEN:
            step = validation.number("depth", depth, above=0) / 1000
            after, before = (
                self.evaluate(FITS[2], U + to * v, v) for to in (step, -step)
            )
            results.append((after - before) / (2 * step))
        return results

    def _checked(self, what: str, result: Any, U: Floats) -> Floats:
        """Return the result of a target as float64, after checking its type, its shape and that it is finite."""
        expected = U.shape[:1] if what == "values" else U.shape
        result = np.asarray(result)
        if result.dtype.kind not in "iuf":
            raise TypeError(
                f"target {self.name!r}: {what} have dtype {result.dtype}; must be real numbers"
            )
        result = result.astype(np.float64, copy=False)
        if result.shape != expected:
            raise ValueError(
                f"target {self.name!r}: {what} have shape {result.shape}; must be {expected}"
            )
        if not np.isfinite(result).all():
            sample = int(np.argwhere(~np.isfinite(result))[0][0])
            raise ValueError(
                f"target {self.name!r}: {what} of sample {sample} are not finite"
            )
        return result


def polynomial(
    tensors: Sequence[SymmetricTensor] | SymmetricTensor, name: str = "polynomial"
) -> Target:
    r"""Make a target from a polynomial without constant term, given by its symmetric tensors.

    Parameters
    ----------
    tensors : SymmetricTensor or sequence of SymmetricTensor
        Scalar tensors of one dimension d and of any orders from 1. Tensors of the same
        order are added.
    name : str
        Name that identifies the polynomial.

    Returns
    -------
    Target
        The polynomial with its gradients and Hessian-vector products.

    Raises
    ------
    TypeError
        If an item is not a SymmetricTensor.
    ValueError
        If `tensors` is empty, the dimensions differ, or a tensor is not scalar or has
        order 0.

    Notes
    -----
    .. math:: f(x) = \sum_n T^{(n)}_{i_1 \dots i_n} x_{i_1} \cdots x_{i_n}

    Examples
    --------
    >>> square = polynomial([SymmetricTensor(2, 2, [1.0, 0.0, 1.0])])
    >>> square.values(np.array([[3.0, 4.0]])), square.gradients(np.array([[3.0, 4.0]]))
    (array([25.]), array([[6., 8.]]))
    """
    tensors = (
        [tensors]
        if isinstance(tensors, SymmetricTensor)
        else validation.sequence("tensors", tensors)
    )
    for number, tensor in enumerate(tensors):
        _scalar(f"tensors[{number}]", tensor, None)
    if not tensors or len({tensor.dim for tensor in tensors}) > 1:
        raise ValueError(
            f"tensors = {validation.brief(tensors)}: must be one or more, of one dimension"
        )
    d = tensors[0].dim
    linear = sum(
        (tensor.packed for tensor in tensors if tensor.order == 1), np.zeros(d)
    )
    square = sum(
        (2 * tensor.full() for tensor in tensors if tensor.order == 2), np.zeros((d, d))
    )
    higher = [
        (tensor.order, _pair_matrix(tensor)) for tensor in tensors if tensor.order > 2
    ]

    # Return, for each v of `vectors`, the list of T(x, .., x, v, .) for every tensor
    # above the second order.
    def contracted(x: Floats, *vectors: Floats) -> list[list[Floats]]:
        found = [_contract(n, A, x, *vectors) for n, A in higher]
        return [[each[k] for each in found] for k in range(len(vectors))]

    def value(x: Floats, along: list) -> Floats:
        return (
            x @ linear
            + ((x @ square) * x).sum(axis=1) / 2
            + sum((x * a).sum(axis=1) for a in along)
        )

    def slope(x: Floats, along: list) -> Floats:
        return (
            linear
            + x @ square
            + sum(n * a for (n, _), a in zip(higher, along, strict=True))
        )

    def turn(v: Floats, along: list) -> Floats:
        return v @ square + sum(
            n * (n - 1) * a for (n, _), a in zip(higher, along, strict=True)
        )

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
    """Return A such that monomials(x) A is the packed matrix T(x, .., x, ., .) of a tensor of order n.

    A has shape (monomials of order n - 2, pairs of indices).
    """
    rest, pairs = index_table(tensor.dim, tensor.order - 2), index_table(tensor.dim, 2)
    indices = np.empty((len(rest), len(pairs), tensor.order), dtype=np.int32)
    indices[..., : tensor.order - 2] = rest[:, None]
    indices[..., tensor.order - 2 :] = pairs
    indices.sort(axis=-1)
    matrix = tensor.packed[packed_position(tensor.dim, indices)]
    return matrix * multiplicities(tensor.dim, tensor.order - 2)[:, None]


def _contract(
    order: int, pair_matrix: Floats, x: Floats, *others: Floats
) -> list[Floats]:
    """Return T(x, .., x, v, .) for each v of `others`; x, v and the results have shape (n, d)."""
    d = x.shape[1]
    packed = monomials(x, order - 2) @ pair_matrix
    matrices = packed[:, joined_positions(d, 2).ravel()].reshape(-1, d, d)
    return [(matrices @ v[:, :, None])[:, :, 0] for v in others]


def _chunked(function: Callable, d: int, *arrays: Floats) -> Any:
    """Apply a function of batches to at most 1,024 rows at a time, and concatenate the results.

    The function needs the memory of one d x d matrix for each row. `arrays` have the shape (n, d), and the function
    returns an array or a tuple of arrays.
    """
    batches = [validation.real_array("x", array, last=d) for array in arrays]
    if any(batch.shape != batches[0].shape or batch.ndim != 2 for batch in batches):
        raise ValueError(
            f"x: shapes {', '.join(str(batch.shape) for batch in batches)}; must be (n, {d})"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [
            function(*(batch[rows] for batch in batches))
            for rows in chunks.slices(len(batches[0]), 1024)
        ]
    several = isinstance(parts[0], tuple)
    columns = zip(*parts, strict=True) if several else iter([parts])
    whole = tuple(
        validation.representable("x", np.concatenate(column), "scale the inputs")
        for column in columns
    )
    return whole if several else whole[0]


def label(tensors: Sequence[SymmetricTensor]) -> str:
    """Return a name for a set of tensors, with a hash of their entries so that another set has another name."""
    digest = hashlib.sha256(
        b"".join(tensor.packed.tobytes() for tensor in tensors)
    ).hexdigest()[:16]
    return f"orders 1 to {len(tensors)} ({digest})"


def orders_in_turn(
    name: str, tensors: Sequence[SymmetricTensor]
) -> list[SymmetricTensor]:
    """Return `tensors` as a list, after checking that they are scalar, of orders 1, 2, .. and of one dimension."""
    tensors = validation.sequence(name, tensors)
    for number, tensor in enumerate(tensors, 1):
        _scalar(f"{name}[{number - 1}]", tensor, number)
        if tensor.dim != tensors[0].dim:
            raise ValueError(
                f"{name}[{number - 1}]: dim {tensor.dim}; must be {tensors[0].dim}, as {name}[0] has"
            )
    return tensors


def _scalar(name: str, tensor: Any, order: int | None) -> None:
    """Raise an error unless `tensor` is a SymmetricTensor of this order with one number per entry.

    The order None stands for any order from 1.
    """
    message = f"{name} = {validation.brief(tensor)}: must be a scalar SymmetricTensor of order {order or '1 or higher'}"
    if not isinstance(tensor, SymmetricTensor):
        raise TypeError(message)
    if tensor.packed.ndim > 1 or (
        tensor.order < 1 if order is None else tensor.order != order
    ):
        raise ValueError(message)

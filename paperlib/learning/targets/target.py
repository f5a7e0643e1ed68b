"""Define a training target: a scalar function with its known derivatives.

Perturbation theory and a reader's own problem use the same interface. A `Target`
returns the values of a batch of inputs and, if it has them, their gradients and the
products of their Hessians with given directions.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from paperlib._support import chunks, validation
from paperlib._support.validation import Floats
from paperlib.taylor.symmetric import SymmetricTensor

# The quantities that a training can fit. A fit of one quantity includes the quantities
# before it.
FITS = ("values", "gradients", "hessian_vectors", "third_derivatives")
# The quantities that the functions of a target return. The last quantity of FITS is
# computed as a difference of Hessian-vector products.
_FUNCTIONS = FITS[:3]


@dataclass(frozen=True)
class Target:
    """A scalar function of a batch of inputs, with its known derivatives.

    Parameters
    ----------
    name : str
        Name that identifies the function. Two targets with the same name must be the
        same function.
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
        Maps tensors of orders 1, 2, .. to the Target minus their polynomial, if that
        can be computed more accurately than as a difference.

    Raises
    ------
    TypeError
        If `name` is not a str or another argument is not callable.

    Examples
    --------
    >>> norm = Target("squared norm", lambda U: (U**2).sum(axis=1), lambda U: 2 * U)
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
        >>> norm = Target("norm", lambda U: (U**2).sum(axis=1), lambda U: 2 * U)
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

        def difference(name: str) -> Callable | None:
            whole, part = getattr(self, name), getattr(lower, name)
            if whole is None:
                return None
            return lambda *arguments: whole(*arguments) - part(*arguments)

        def jet(U: Floats, v: Floats) -> list[Floats]:
            # Called only if the target has a jet
            pairs = zip(self.jet(U, v), lower.jet(U, v), strict=True)  # type: ignore[misc]
            return [whole - part for whole, part in pairs]

        functions: Any = {name: difference(name) for name in _FUNCTIONS}
        name = f"{self.name} less {label(tensors)}"
        return Target(name, **functions, jet=self.jet and jet)

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
            If the target does not return real numbers.
        ValueError
            If the target lacks the derivative, or returns another shape or a number
            that is not finite.

        Examples
        --------
        >>> norm = Target("norm", lambda U: (U**2).sum(axis=1), lambda U: 2 * U)
        >>> norm.evaluate("gradients", np.ones((2, 3))).shape
        (2, 3)
        """
        function = getattr(self, validation.choice("what", what, _FUNCTIONS))
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
            If the target does not return real numbers.
        ValueError
            If the target lacks a derivative, or returns another shape or a number that
            is not finite.

        Notes
        -----
        D^3 f[v, v, .] is the central difference of Hessian-vector products H v,

        .. math:: D^3 f[v, v, \cdot]
                  \approx \frac{H(U + h v)\, v - H(U - h v)\, v}{2 h},
                  \quad h = \text{depth} / 1000.

        Its error is about 1e-7 for a v of unit length and a function that changes over
        `depth`. Trainings in single precision cannot use a higher accuracy.

        Examples
        --------
        >>> norm = Target("norm", lambda U: (U**2).sum(axis=1), lambda U: 2 * U)
        >>> [array.shape for array in norm.evaluate_fit("gradients", np.ones((2, 3)))]
        [(2,), (2, 3)]
        """
        names = FITS[: FITS.index(validation.choice("fit", fit, FITS)) + 1]
        U = validation.real_array("U", U)
        if len(names) < 3:
            return [self.evaluate(name, U) for name in names]
        v = validation.real_array("v", v)
        results = self._evaluate_jet(U, v)
        if fit == "third_derivatives":
            step = validation.number("depth", depth, above=0) / 1000
            after = self.evaluate("hessian_vectors", U + step * v, v)
            before = self.evaluate("hessian_vectors", U - step * v, v)
            results.append((after - before) / (2 * step))
        return results

    def _evaluate_jet(self, U: Floats, v: Floats) -> list[Floats]:
        """Return the checked values, gradients and Hessian-vector products along v."""
        if self.jet is None:
            return [
                self.evaluate("values", U),
                self.evaluate("gradients", U),
                self.evaluate("hessian_vectors", U, v),
            ]
        results: list = validation.sequence(
            f"target {self.name!r}: jet", self.jet(U, v)
        )
        if len(results) != len(_FUNCTIONS):
            raise ValueError(
                f"target {self.name!r}: jet returns {len(results)} results; "
                f"must be {', '.join(_FUNCTIONS)}"
            )
        return [
            self._checked(name, result, U)
            for name, result in zip(_FUNCTIONS, results, strict=True)
        ]

    def _checked(self, what: str, result: Any, U: Floats) -> Floats:
        """Return a quantity `what` at the inputs U as float64.

        Raise an error that names the target unless it is an array of finite real
        numbers in the right shape.
        """
        name = f"target {self.name!r}: {what}"
        expected = U.shape[:1] if what == "values" else U.shape
        result = np.asarray(result)
        if result.dtype.kind not in "iuf":
            raise TypeError(f"{name} have dtype {result.dtype}; must be real numbers")
        result = result.astype(np.float64, copy=False)
        if result.shape != expected:
            raise ValueError(f"{name} have shape {result.shape}; must be {expected}")
        if not np.isfinite(result).all():
            sample = int(np.argwhere(~np.isfinite(result))[0][0])
            raise ValueError(f"{name} of sample {sample} are not finite")
        return result


def polynomial(
    tensors: Sequence[SymmetricTensor] | SymmetricTensor, name: str = "polynomial"
) -> Target:
    r"""Make a target from the symmetric tensors of a polynomial without constant term.

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
    >>> square.values(np.array([[3.0, 4.0]]))
    array([25.])
    >>> square.gradients(np.array([[3.0, 4.0]]))
    array([[6., 8.]])
    """
    if isinstance(tensors, SymmetricTensor):
        tensors = [tensors]
    tensors = validation.sequence("tensors", tensors)
    for number, tensor in enumerate(tensors):
        _check_scalar(f"tensors[{number}]", tensor, None)
    if len({tensor.dim for tensor in tensors}) != 1:
        raise ValueError(
            f"tensors = {validation.brief(tensors)}: must be one tensor or more, "
            f"of one dimension"
        )
    whole = _Polynomial(tensors)
    functions = whole.values, whole.gradients, whole.hessian_vectors, whole.jet
    return Target(name, *(partial(_in_batches, f, whole.dim) for f in functions))


class _Polynomial:
    """The sum of symmetric tensors of one dimension d, contracted with points.

    The methods take points x and directions v of shape (n, d). The order of their
    operations determines the last bits of trained networks.
    """

    def __init__(self, tensors: Sequence[SymmetricTensor]) -> None:
        self.dim = tensors[0].dim
        self.linear = np.zeros(self.dim)
        self.square = np.zeros((self.dim, self.dim))
        self.higher = []
        for tensor in tensors:
            if tensor.order == 1:
                self.linear = self.linear + tensor.packed
            elif tensor.order == 2:
                self.square = self.square + 2 * tensor.full()
            else:
                self.higher.append(tensor)

    def values(self, x: Floats) -> Floats:
        return self._values(x, *self._contract(x, x))

    def gradients(self, x: Floats) -> Floats:
        return self._gradients(x, *self._contract(x, x))

    def hessian_vectors(self, x: Floats, v: Floats) -> Floats:
        return self._hessian_vectors(v, *self._contract(x, v))

    def jet(self, x: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
        along_x, along_v = self._contract(x, x, v)
        values, gradients = self._values(x, along_x), self._gradients(x, along_x)
        return values, gradients, self._hessian_vectors(v, along_v)

    def _contract(self, x: Floats, *vectors: Floats) -> list[list[Floats]]:
        """Return T(x, .., x, v, .) for each v of `vectors` and each higher tensor T."""
        along: list[list] = [[] for _ in vectors]
        for tensor in self.higher:
            matrices = tensor.contract(x, free=2)
            for products, v in zip(along, vectors, strict=True):
                products.append((matrices @ v[:, :, None])[:, :, 0])
        return along

    def _values(self, x: Floats, along_x: list) -> Floats:
        higher = sum((x * a).sum(axis=1) for a in along_x)
        return x @ self.linear + ((x @ self.square) * x).sum(axis=1) / 2 + higher

    def _gradients(self, x: Floats, along_x: list) -> Floats:
        pairs = zip(self.higher, along_x, strict=True)
        return self.linear + x @ self.square + sum(T.order * a for T, a in pairs)

    def _hessian_vectors(self, v: Floats, along_v: list) -> Floats:
        pairs = zip(self.higher, along_v, strict=True)
        higher = sum(T.order * (T.order - 1) * a for T, a in pairs)
        return v @ self.square + higher


def _in_batches(function: Callable, d: int, *arrays: Floats) -> Any:
    """Apply a function to at most 1,024 rows at a time, and concatenate the results.

    The function needs the memory of one d x d matrix for each row. `arrays` have the
    shape (n, d), and the function returns an array or a tuple of arrays.
    """
    arrays = tuple(validation.real_array("x", array, last=d) for array in arrays)
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise ValueError(f"x: shapes {', '.join(map(str, shapes))}; must be (n, {d})")
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [
            function(*(array[rows] for array in arrays))
            for rows in chunks.slices(shapes[0][0], 1024)
        ]
    if isinstance(parts[0], tuple):
        return tuple(map(_concatenated, zip(*parts, strict=True)))
    return _concatenated(parts)


def _concatenated(parts: Sequence[Floats]) -> Floats:
    return validation.representable("x", np.concatenate(parts), "scale the inputs")


def label(tensors: Sequence[SymmetricTensor]) -> str:
    """Return a name for tensors, with a hash of their entries."""
    entries = b"".join(tensor.packed.tobytes() for tensor in tensors)
    digest = hashlib.sha256(entries).hexdigest()[:16]
    return f"orders 1 to {len(tensors)} ({digest})"


def orders_in_turn(
    name: str, tensors: Sequence[SymmetricTensor]
) -> list[SymmetricTensor]:
    """Return an argument that must be tensors of orders 1, 2, .. as a list.

    The tensors must be scalar and of one dimension.
    """
    tensors = validation.sequence(name, tensors)
    for number, tensor in enumerate(tensors):
        _check_scalar(f"{name}[{number}]", tensor, number + 1)
        if tensor.dim != tensors[0].dim:
            raise ValueError(
                f"{name}[{number}]: dim {tensor.dim}; must be {tensors[0].dim}, "
                f"as of {name}[0]"
            )
    return tensors


def _check_scalar(name: str, tensor: Any, order: int | None) -> None:
    """Raise an error unless `tensor` is a scalar SymmetricTensor of this order.

    The order None allows any order from 1.
    """
    message = (
        f"{name} = {validation.brief(tensor)}: must be a scalar SymmetricTensor "
        f"of order {order or '1 or higher'}"
    )
    if not isinstance(tensor, SymmetricTensor):
        raise TypeError(message)
    expected = order or max(1, tensor.order)
    if tensor.packed.ndim > 1 or tensor.order != expected:
        raise ValueError(message)

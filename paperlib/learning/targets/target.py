"""Define a training target: a scalar function that networks learn, and its derivatives.

A `Target` computes the values of a function at a batch of inputs. It may also compute
its gradients, and the products of its Hessians with given directions. The physical
targets of this package and a user's own functions have the same interface.
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

# The quantities that a training can fit. A training that fits a quantity also fits the
# quantities before it in this list.
FITS = ("values", "gradients", "hessian_vectors", "third_derivatives")
# The quantities that functions of a target return. The last quantity of FITS is
# computed from a difference of Hessian-vector products.
_FUNCTIONS = FITS[:3]


@dataclass(frozen=True)
class Target:
    """A scalar function of d variables, evaluated at batches of inputs.

    Parameters
    ----------
    name : str
        Name of the function. Stored trainings are found by this name, so targets that
        are different functions must have different names.
    values : callable
        Maps n inputs, shape (n, d), to the n values of the function, shape (n,).
    gradients : callable, optional
        Maps n inputs, shape (n, d), to the gradients of the function, shape (n, d).
    hessian_vectors : callable, optional
        Maps n inputs and n directions, both of shape (n, d), to the products of the
        Hessian at each input and the direction of that input, shape (n, d).
    jet : callable, optional
        Maps n inputs and n directions to a tuple of the values, gradients and
        Hessian-vector products. It is called in place of the three other functions if
        all three results are needed, and is useful if it is faster.

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

    def __post_init__(self) -> None:
        validation.instance("name", self.name, str)
        for what in ("values", "gradients", "hessian_vectors", "jet"):
            if what == "values" or getattr(self, what) is not None:
                validation.called(what, getattr(self, what))

    def subtract(self, tensors: Sequence[SymmetricTensor]) -> "Target":
        """Subtract a polynomial, given by its symmetric tensors, from the target.

        The polynomial is the sum over n of the tensor of order n, contracted n times
        with the input.

        Parameters
        ----------
        tensors : sequence of SymmetricTensor
            Tensors of orders 1, 2, .. If there are none, the target itself is returned.

        Returns
        -------
        Target
            The function minus the polynomial. It has gradients, Hessian-vector products
            and a jet if the target has them.

        Raises
        ------
        TypeError
            If an item is not a SymmetricTensor.
        ValueError
            If the tensors do not have the orders 1, 2, .., their dimensions differ, or
            a tensor has an array in place of each entry.

        Examples
        --------
        The tensor of order 1 subtracts the first variable, 3. This target has no
        Hessian-vector products, and neither has the difference.

        >>> norm = Target("norm", lambda U: (U**2).sum(axis=1), lambda U: 2 * U)
        >>> rest = norm.subtract([SymmetricTensor(1, 2, [1.0, 0.0])])
        >>> rest.values(np.array([[3.0, 4.0]])), rest.hessian_vectors
        (array([22.]), None)
        """
        tensors = orders_in_turn("tensors", tensors)
        if not tensors:
            return self
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
            The quantity, which is the name of one of the target's functions.
        *arguments : ndarray of float64, shape (n, d)
            The inputs, and for "hessian_vectors" also one direction for each input.

        Returns
        -------
        ndarray of float64
            The values, shape (n,), or the gradients or Hessian-vector products, shape
            (n, d).

        Raises
        ------
        TypeError
            If the target does not return real numbers.
        ValueError
            If the target lacks the function, or the function returns an array of
            another shape or a number that is not finite.

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
            The last quantity to evaluate. The quantities before it in this list are
            evaluated too.
        U : ndarray of float64, shape (n, d)
            Inputs.
        v : ndarray of float64, shape (n, d), optional
            One direction for each input. It must be given if `fit` is "hessian_vectors"
            or "third_derivatives".
        depth : float
            Scale of U on which the function changes, positive. It sets the step of the
            difference that gives "third_derivatives".

        Returns
        -------
        list of ndarray of float64
            One to four arrays: the values of the function f, shape (n,); its gradients;
            the products of its Hessians with v; and the vectors D^3 f[v, v, .] of its
            third derivatives, twice along v. The last three have the shape (n, d).

        Raises
        ------
        TypeError
            If the target does not return real numbers.
        ValueError
            If the target lacks a quantity, or returns an array of another shape or a
            number that is not finite.

        Notes
        -----
        With the Hessian H(U) of f, the third derivatives are the central difference

        .. math:: D^3 f[v, v, \cdot]
                  \approx \frac{H(U + h v)\, v - H(U - h v)\, v}{2 h},
                  \quad h = \text{depth} / 1000.

        Their relative error is about 1e-7 for a v of unit length and a function that
        changes on the scale `depth`. Networks are trained in float32, which has the
        same precision.

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
        """Return values and gradients at U, and Hessian-vector products along v.

        One call of `jet` computes the three arrays if the target has this function,
        otherwise its three other functions do. Raise an error as `evaluate` does.
        """
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
        """Return `result`, the quantity `what` at the inputs U, as an array of float64.

        Raise an error that names the target unless `result` is an array of finite real
        numbers, of shape (n,) for values and (n, d) for other quantities.
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
        The tensors T, of one dimension d and of any orders from 1. Each entry must be a
        number. Several tensors may have the same order.
    name : str
        Name of the polynomial. Polynomials that are trained on must have different
        names.

    Returns
    -------
    Target
        The polynomial f as a function of inputs x, shape (n, d), with its gradients and
        Hessian-vector products.

    Raises
    ------
    TypeError
        If an item is not a SymmetricTensor.
    ValueError
        If `tensors` is empty, the dimensions differ, a tensor has order 0, or a tensor
        has an array in place of each entry.

    Notes
    -----
    The tensor T of order n contributes the term of order n,

    .. math:: f(x) = \sum_n T^{(n)}_{i_1 \dots i_n} x_{i_1} \cdots x_{i_n}

    Examples
    --------
    The tensor of order 2 with the entries T_11 = 1, T_12 = 0 and T_22 = 1:

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
            f"tensors = {validation.brief(tensors)}: must be at least one tensor, all "
            "of the same dim"
        )
    whole = _Polynomial(tensors)
    functions = whole.values, whole.gradients, whole.hessian_vectors, whole.jet
    return Target(name, *(partial(_in_batches, f, whole.dim) for f in functions))


class _Polynomial:
    """A polynomial of d variables without constant term, given by symmetric tensors.

    The methods take n inputs x and n directions v, both of shape (n, d). They must
    not change the order of their operations, because it determines the last bits of
    trained networks.

    Attributes
    ----------
    dim : int
        Number d of variables.
    linear : ndarray of float64, shape (d,)
        The sum of the tensors of order 1, the gradient at x = 0.
    square : ndarray of float64, shape (d, d)
        Twice the sum of the tensors of order 2, the Hessian at x = 0.
    higher : list of SymmetricTensor
        The tensors of orders from 3.
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
        """Contract the tensors of orders from 3 with x and vectors, up to one index.

        Each argument has the shape (n, d). For each v of `vectors`, return a list with
        one array of shape (n, d) for each tensor T of `higher`. If T has the order k,
        this is T contracted k - 2 times with x and once with v.
        """
        along: list[list] = [[] for _ in vectors]
        for tensor in self.higher:
            matrices = tensor.contract(x, free=2)
            for products, v in zip(along, vectors, strict=True):
                products.append((matrices @ v[:, :, None])[:, :, 0])
        return along

    def _values(self, x: Floats, along_x: list) -> Floats:
        """Return the values at x, shape (n,).

        `along_x` is the list that `_contract` returns for x: for each tensor of order
        k from 3, the tensor contracted k - 1 times with x.
        """
        higher = sum((x * a).sum(axis=1) for a in along_x)
        return x @ self.linear + ((x @ self.square) * x).sum(axis=1) / 2 + higher

    def _gradients(self, x: Floats, along_x: list) -> Floats:
        """Return the gradients at x, shape (n, d).

        `along_x` is the list that `_contract` returns for x: for each tensor of order
        k from 3, the tensor contracted k - 1 times with x.
        """
        pairs = zip(self.higher, along_x, strict=True)
        return self.linear + x @ self.square + sum(T.order * a for T, a in pairs)

    def _hessian_vectors(self, v: Floats, along_v: list) -> Floats:
        """Return the products of the Hessians at inputs x with v, shape (n, d).

        `along_v` is the list that `_contract` returns for x and v: for each tensor of
        order k from 3, the tensor contracted k - 2 times with x and once with v.
        """
        pairs = zip(self.higher, along_v, strict=True)
        higher = sum(T.order * (T.order - 1) * a for T, a in pairs)
        return v @ self.square + higher


def _in_batches(function: Callable, d: int, *arrays: Floats) -> Any:
    """Apply a function to at most 1,024 inputs at a time, and concatenate the results.

    The function needs the memory of one d x d matrix for each input. `arrays` are the
    inputs and possibly the directions, both of shape (n, d). The function returns an
    array or a tuple of arrays, whose first axis counts the inputs. Raise a ValueError
    if the shapes are different, or an entry of a result overflows float64.
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
    """Concatenate arrays along axis 0.

    Raise a ValueError if an entry is not finite.
    """
    return validation.representable("x", np.concatenate(parts), "scale the inputs")


def label(tensors: Sequence[SymmetricTensor]) -> str:
    """Return a name for tensors of orders 1, 2, .., with a hash of their entries.

    A target minus the polynomial of the tensors has a name that ends with this one.
    """
    entries = b"".join(tensor.packed.tobytes() for tensor in tensors)
    digest = hashlib.sha256(entries).hexdigest()[:16]
    return f"orders 1 to {len(tensors)} ({digest})"


def orders_in_turn(
    name: str, tensors: Sequence[SymmetricTensor]
) -> list[SymmetricTensor]:
    """Return an argument that must be tensors of orders 1, 2, .. as a list.

    The argument may be empty. Raise a TypeError if an item is not a SymmetricTensor,
    and a ValueError if item n does not have the order n, the dimensions differ, or the
    entries of a tensor are not numbers. `name` is the argument's name for messages.
    """
    tensors = validation.sequence(name, tensors)
    for number, tensor in enumerate(tensors):
        _check_scalar(f"{name}[{number}]", tensor, number + 1)
        if tensor.dim != tensors[0].dim:
            raise ValueError(
                f"{name}[{number}]: has dim {tensor.dim}; must have dim "
                f"{tensors[0].dim}, as {name}[0]"
            )
    return tensors


def _check_scalar(name: str, tensor: Any, order: int | None) -> None:
    """Raise an error unless `tensor` is a scalar SymmetricTensor of this order.

    The entries of a scalar tensor are numbers. Other tensors have an array in place of
    each entry. The order None allows any order from 1.
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

"""Taylor polynomials of a network, and its derivatives along one direction.

Let f be a network, `at` the centre of the polynomial, and v a direction, a vector with
one number for each input. Both results follow from the power series of f(at + t v) in
one variable t: its coefficient of t^n is D^n f(at)[v, .., v] / n!, the n-th derivative
along v, divided by n!. No tensor of derivatives is computed.

The power series is computed layer by layer. The series of a layer's pre-activations in
t is substituted into the Taylor series of the activation, which gives the series of the
layer's outputs (see `product_rule_loops.compose`). Multiplied by the weights, these are
the series of the next layer's pre-activations.

Derivatives along several different directions are in `operators`.
"""

from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import chunks, validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, SMALLER, activation_derivatives, expansion_point
from paperlib.taylor.centroid import keep_freed_memory
from paperlib.taylor.product_rule_loops import compose
from paperlib.taylor.symmetric import SymmetricTensor, without_warnings
from paperlib.taylor.tensors import derivative_tensor

CHUNK_BYTES = 2**22  # the series of the points that are computed together
MAX_UNSCALED_ORDER = 20  # above this order, directions are scaled against underflow


def _series(mlp: MLP, order: int, at: Floats, directions: Floats) -> Floats:
    """Return the coefficients of t^0, .., t^order in mlp(at + t v) for P directions v.

    Parameters
    ----------
    mlp : MLP
        The network.
    order : int
        The highest power of t.
    at : array of float64, shape (1, dim) or (P, dim)
        One centre for all directions, or one for each.
    directions : array of float64, shape (P, dim)
        The directions v.

    Returns
    -------
    array of float64, shape (order + 1, P, outputs)
    """
    scale = np.array([1.0 / factorial(k) for k in range(order + 1)])[:, None, None]
    y, slopes = at, directions[None][:order]
    for phi, weight in zip(activation_derivatives(mlp, at, order), mlp.weights):
        y = phi[0]
        # One product of two matrices is faster than one for each coefficient of t^n
        z = slopes.reshape(-1, slopes.shape[-1]) @ weight.T
        z = z.reshape(len(slopes), len(directions), len(weight))
        slopes = np.empty((order, *z.shape[1:]))
        compose(slopes, phi * scale, z)
    out = np.zeros((order + 1, len(directions), mlp.outputs))
    out[0] = y @ mlp.weights[-1].T + mlp.biases[-1]
    out[1 : 1 + len(slopes)] = slopes @ mlp.weights[-1].T
    return out


def _exponents(mlp: MLP, at: Floats, directions: Floats) -> np.ndarray:
    """Return the exponent e of the size of each direction, as a power of two.

    The size of a direction v is the largest |dz/dt| of a hidden neuron's pre-activation
    z at the point at + t v, at t = 0. It is from 2^e up to 2^(e + 1). If all slopes
    vanish, e is -1. `at` has shape (1, dim) or (P, dim), `directions` has shape
    (P, dim), and the result is an array of P integers.
    """
    slopes, largest = directions, np.zeros(len(directions))
    for phi, weight in zip(activation_derivatives(mlp, at, 1), mlp.weights):
        slopes = slopes @ weight.T
        largest = np.maximum(largest, np.abs(slopes).max(axis=-1))
        slopes = phi[1] * slopes
    return np.frexp(largest)[1] - 1


def _scaled_series(
    mlp: MLP, order: int, at: Floats, directions: Floats, factors: Floats
) -> Floats:
    """Return the coefficients of mlp(at + t v) in t, times a factor for each power.

    Above order 20 the coefficient of t^n, which contains 1/n! and the n-th power of v,
    may underflow although n! times the coefficient does not. There each direction v is
    divided by a power of two, 2^e, and the coefficient of t^n is multiplied by 2^(e n)
    at the end, together with the factor.

    Parameters
    ----------
    mlp : MLP
        The network.
    order : int
        The highest power of t.
    at : array of float64, shape (1, dim) or (P, dim)
        One centre for all directions, or one for each.
    directions : array of float64, shape (P, dim)
        The directions v.
    factors : array of float64, shape (order + 1,)
        The factor of the coefficient of each power.

    Returns
    -------
    array of float64, shape (P, outputs, order + 1)
    """
    if order <= MAX_UNSCALED_ORDER:
        series = _series(mlp, order, at, directions)
        return np.moveaxis(series, 0, -1) * factors
    exponents = _exponents(mlp, at, directions)[:, None]
    series = _series(mlp, order, at, np.ldexp(directions, -exponents))
    mantissas, powers = np.frexp(factors)
    powers = powers + exponents[:, None] * np.arange(order + 1)
    return np.ldexp(np.moveaxis(series, 0, -1) * mantissas, powers)


def _coefficients(
    mlp: MLP, order: int, directions: Floats, at: Floats, factors: Floats
) -> Floats:
    """Return the coefficients of mlp(at + t v) in t, times a factor for each power.

    The directions are processed in chunks whose series fit into the processor's cache.

    Parameters
    ----------
    mlp : MLP
        The network.
    order : int
        The highest power of t.
    directions, at : array of float64, shape (..., dim)
        The directions v and the centres. They broadcast with each other.
    factors : array of float64, shape (order + 1,)
        The factor of the coefficient of each power.

    Returns
    -------
    array of float64, shape (..., [outputs,] order + 1)
        The axis [outputs] is absent if the network has one output.
    """
    keep_freed_memory()
    every_direction, every_centre = np.broadcast_arrays(directions, at)
    points = every_direction.reshape(-1, mlp.dim)
    # One centre for all directions takes less time
    centres = at[None] if at.ndim == 1 else every_centre.reshape(-1, mlp.dim)
    out = np.empty((len(points), mlp.outputs, order + 1))
    widest = max(mlp.dim, *map(len, mlp.biases))
    for part in chunks.slices(len(points), CHUNK_BYTES // (8 * widest * (order + 1))):
        own = centres if len(centres) == 1 else centres[part]
        out[part] = _scaled_series(mlp, order, own, points[part], factors)
    out = out.reshape(*every_centre.shape[:-1], mlp.outputs, order + 1)
    return out[..., 0, :] if mlp.outputs == 1 else out


@without_warnings
def directional_derivatives(
    mlp: MLP, order: int, directions: ArrayLike, at: ArrayLike | None = None
) -> Floats:
    """Return all derivatives of a network along a direction, up to one order.

    Let f be the network, `at` a point, the centre, and v a direction. The derivative of
    order n is d^n/dt^n f(at + t v) at t = 0, also written D^n f(at)[v, .., v]. All n
    derivatives are along the same v. No tensor is computed. Time grows at most as the
    cube of the order.

    Parameters
    ----------
    mlp : MLP
        The network f.
    order : int
        The highest order, from 0 to 170.
    directions : array_like of float, shape (..., dim)
        The direction v, or a batch of directions, of any length. `dim` is the number of
        inputs.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres that broadcasts with `directions`. The default
        is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs,] order + 1)
        The derivatives of orders 0, 1, .., `order` on the last axis. The dots stand for
        the axes of the batch. The axis [outputs] is absent if the network has one
        output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an array is not finite or has another shape, the shapes do not broadcast,
        `order` is out of range, a result overflows float64, or a neuron's
        pre-activation is 0 where its activation has a kink, as relu has at 0 (order 2
        or higher).

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> directional_derivatives(mlp, 3, [[1.0, 0.0], [1.0, 1.0]])
    array([[ 1.,  1.,  1.,  1.],
           [ 1.,  3.,  9., 27.]])
    """
    at = expansion_point(mlp, at)
    order = validation.integer("order", order, minimum=0, limit=validation.SERIES_ORDER)
    directions = validation.real_array("directions", directions, last=mlp.dim)
    validation.broadcast("directions", directions, "at", at)
    factors = np.array([float(factorial(k)) for k in range(order + 1)])
    result = _coefficients(mlp, order, directions, at, factors)
    return validation.representable("directions, order", result, SMALLER)


@dataclass(frozen=True, eq=False)
class TaylorExpansion:
    """The Taylor polynomial of a network around a centre. `taylor_expand` returns it.

    The polynomial of order N of a network f around the centre `at` is the sum of
    D^n f(at)[x - at, .., x - at] / n! for n = 0, .., N. Here D^n f(at)[v, .., v] is the
    n-th derivative of f(at + t v) by t at t = 0. Call the object with points x.

    Parameters
    ----------
    mlp : MLP
        The network f.
    order : int
        The highest order N. It is not checked here.
    at : array of float64, shape (..., dim)
        The centre, or a batch of centres that broadcasts with the points. It is copied.

    Examples
    --------
    exp(x) is approximated by 1 + x + x^2/2:

    >>> mlp = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], "exp")
    >>> expansion = TaylorExpansion(mlp, 2, np.zeros(1))
    >>> expansion([[2.0], [0.0]])
    array([5., 1.])
    """

    mlp: MLP
    order: int
    at: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", validation.frozen_copy(self.at))

    @without_warnings
    def terms(self, x: ArrayLike) -> Floats:
        """Return each term of the polynomial at points.

        Term n is the n-th derivative of f(at + t (x - at)) by t at t = 0, divided by
        n!, where f is the network, `at` the centre and x a point. If the centre is the
        origin, term n is homogeneous of degree n in x: the n-th Born term of the
        network. No tensor is computed. Time grows at most as the cube of the order.

        Parameters
        ----------
        x : array_like of float, shape (..., dim)
            The point x, or a batch of points that broadcasts with `at`.

        Returns
        -------
        array of float64, shape (..., [outputs,] order + 1)
            The terms of orders 0, 1, .., `order` on the last axis. The axis [outputs]
            is absent if the network has one output.

        Raises
        ------
        TypeError
            If `x` is not an array of real numbers.
        ValueError
            If `x` is not finite or has another length, the shapes do not broadcast, or
            a term overflows float64.

        Examples
        --------
        >>> mlp = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], "exp")
        >>> taylor_expand(mlp, 2).terms([2.0])
        array([1., 2., 2.])
        """
        x = validation.real_array("x", x, last=self.mlp.dim)
        validation.broadcast("x", x, "at", self.at)
        ones = np.ones(self.order + 1)
        terms = _coefficients(self.mlp, self.order, x - self.at, self.at, ones)
        return validation.representable("x", terms, SMALLER)

    @without_warnings
    def __call__(self, x: ArrayLike) -> Floats:
        """Return the value of the polynomial at points, the sum of its terms.

        Parameters
        ----------
        x : array_like of float, shape (..., dim)
            The point, or a batch of points that broadcasts with `at`.

        Returns
        -------
        array of float64, shape (..., [outputs])
            The axis [outputs] is absent if the network has one output.

        Raises
        ------
        TypeError
            If `x` is not an array of real numbers.
        ValueError
            If `x` is not finite or has another length, the shapes do not broadcast, or
            a result overflows float64.

        Examples
        --------
        >>> mlp = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], "exp")
        >>> taylor_expand(mlp, 2)([[2.0], [0.0]])
        array([5., 1.])
        """
        return validation.representable("x", self.terms(x).sum(axis=-1), SMALLER)

    def tensor(self, n: int) -> SymmetricTensor:
        """Return the tensor of all partial derivatives of one order at the centre.

        Parameters
        ----------
        n : int
            The order of the derivatives, from 0 to `order`, and at most 20.

        Returns
        -------
        SymmetricTensor
            Its entries are the partial derivatives of order n. They lack the factor
            1/n! of the polynomial's terms.

        Raises
        ------
        TypeError
            If `n` is not an integer.
        ValueError
            If `n` is out of range, a derivative overflows float64, or the tensor needs
            more memory than is free.

        Examples
        --------
        >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")
        >>> taylor_expand(mlp, 2).tensor(2).packed
        array([1., 2., 4.])
        """
        highest = min(self.order, validation.TENSOR_ORDER)
        n = validation.integer("n", n, minimum=0, maximum=highest)
        return derivative_tensor(self.mlp, n, self.at)


@without_warnings
def taylor_expand(mlp: MLP, order: int, at: ArrayLike | None = None) -> TaylorExpansion:
    """Return the Taylor polynomial of a network around a centre.

    The polynomial of order N of a network f at the point x is the sum of
    D^n f(at)[x - at, .., x - at] / n! for n = 0, .., N. Here `at` is the centre, and
    D^n f(at)[v, .., v] is the n-th derivative of f(at + t v) by t at t = 0.

    Parameters
    ----------
    mlp : MLP
        The network f.
    order : int
        The highest order N, from 0 to 170.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    TaylorExpansion
        A function of the points x. Its method `terms` returns the term of each order,
        and its method `tensor` all partial derivatives of one order.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` is not finite or has another length, `order` is out of range, or a
        neuron's pre-activation at the centre is 0 where its activation has a kink, as
        relu has at 0 (order 2 or higher).

    Examples
    --------
    >>> mlp = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], "sin")
    >>> taylor_expand(mlp, 5).terms([2.0]).round(4)
    array([ 0.    ,  2.    ,  0.    , -1.3333,  0.    ,  0.2667])
    """
    at = expansion_point(mlp, at)
    order = validation.integer("order", order, minimum=0, limit=validation.SERIES_ORDER)
    # Raise an error about a kink here, not at the first use of the polynomial
    for _ in activation_derivatives(mlp, at, order):
        pass
    return TaylorExpansion(mlp, order, at)

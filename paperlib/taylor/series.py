"""The Taylor expansion of a network: propagators, vertices, derivative tensors, series along directions.

The derivatives of an MLP are sums of tree diagrams. Their edges are propagators P^(l<-m) = d z^l / d z^m,
their dots are vertices phi^(k)(z^l_j) with k legs. `diagrams` evaluates them one by one, `tensors` all at once.
"""

from dataclasses import dataclass
from math import factorial, prod

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import chunks, validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, SMALLER, activation_derivatives, expansion_point
from paperlib.taylor.product_rule_loops import compose
from paperlib.taylor.symmetric import SymmetricTensor, without_warnings
from paperlib.taylor.tensors import derivative_tensor

CHUNK_BYTES = 2**22
FEW = 20  # orders of a series whose coefficients keep their digits as they are


@without_warnings
def propagator(
    mlp: MLP, at: ArrayLike | None, to_layer: int, from_layer: int
) -> Floats:
    """Return P^(l<-m), the derivatives of the pre-activations of layer l by those of layer m.

    P^(l<-m) = d z^l / d z^m = W^l D^(l-1) W^(l-1) .. D^(m+1) W^(m+1) D^m,  D^k = diag
    phi'(z^k_j),  P^(l<-l) = 1.

    Layer 0 is the input, z^0 = x with D^0 = 1; layers 1 .. L are hidden; layer L + 1 is
    the output.

    Parameters
    ----------
    mlp : MLP
    at : array_like of float, shape (..., dim), or None for the origin
        Where to expand.
    to_layer, from_layer : int
        l and m, 0 <= m <= l <= L + 1.

    Returns
    -------
    array of float64, shape (..., units of l, units of m)

    Examples
    --------
    >>> mlp = MLP([[[1.0, -1.0], [2.0, 0.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.5]], "tanh")
    >>> propagator(mlp, None, 2, 0)                 # the gradient of the output at x = 0
    array([[ 3., -1.]])
    """
    at = expansion_point(mlp, at)
    to_layer = validation.integer(
        "to_layer", to_layer, minimum=0, maximum=mlp.depth + 1
    )
    from_layer = validation.integer(
        "from_layer", from_layer, minimum=0, maximum=to_layer
    )
    identity = np.eye((mlp.dim, *map(len, mlp.biases))[from_layer])
    chain = np.broadcast_to(identity, (*at.shape[:-1], *identity.shape))
    slopes = [
        np.ones(at.shape),
        *(phi[1] for phi in activation_derivatives(mlp, at, 1)),
    ]
    for layer in range(from_layer, to_layer):
        chain = mlp.weights[layer] @ (slopes[layer][..., None] * chain)
    return validation.representable("mlp, at", chain, SMALLER)


@without_warnings
def vertices(mlp: MLP, at: ArrayLike | None, legs: int) -> tuple[Floats, ...]:
    """Return phi^(k)(z^l_j), the vertex of k legs at each neuron j of each hidden layer l = 1 .. L.

    Parameters
    ----------
    mlp : MLP
    at : array_like of float, shape (..., dim), or None for the origin
    legs : int
        k from 1 to 170. One leg is the factor of a propagator; a diagram's vertices
        have two or more.

    Returns
    -------
    tuple of L arrays of float64, shapes (..., units of l)

    Raises
    ------
    ValueError
        If k >= 2 and a neuron with a kink sits at its kink, or if a result overflows
        float64.

    Examples
    --------
    >>> mlp = MLP([[[1.0], [2.0]], [[1.0, 1.0]]], [[0.5, 1.0], [0.0]], "tanh")
    >>> [v.round(4).tolist() for v in vertices(mlp, None, 2)]        # phi'' = -2 t (1 - t^2), t = tanh(z)
    [[-0.7269, -0.6397]]
    """
    at, legs = (
        expansion_point(mlp, at),
        validation.integer("legs", legs, minimum=1, limit=validation.SERIES_ORDER),
    )
    return tuple(
        validation.representable("mlp, at", phi[legs], SMALLER)
        for phi in activation_derivatives(mlp, at, legs)
    )


def _series(
    mlp: MLP, order: int, at: Floats, directions: Floats, work: Floats
) -> Floats:
    """Return the coefficients of t^n in mlp(at + t direction): at (1 or P, dim) -> (order + 1, P, outputs)."""
    scale = np.array([1.0 / factorial(k) for k in range(order + 1)])[:, None, None]
    y, slopes = at, directions[None][:order]
    for phi, weight in zip(activation_derivatives(mlp, at, order), mlp.weights):
        y = phi[0]
        shapes = [
            (orders, len(directions), len(weight)) for orders in (len(slopes), order)
        ]
        z, composed = (
            buffer[: prod(shape)].reshape(shape) for buffer, shape in zip(work, shapes)
        )
        np.matmul(
            slopes.reshape(-1, slopes.shape[-1]),
            weight.T,
            out=z.reshape(-1, len(weight)),
        )
        compose(composed, phi * scale, z)
        slopes = composed
    out = np.zeros((order + 1, len(directions), mlp.outputs))
    out[0] = y @ mlp.weights[-1].T + mlp.biases[-1]
    out[1 : 1 + len(slopes)] = slopes @ mlp.weights[-1].T
    return out


def _exponents(mlp: MLP, at: Floats, directions: Floats) -> np.ndarray:
    """Return e (P,) for directions (P, dim): the largest slope of a pre-activation is from 2^e to 2^(e + 1)."""
    slopes, largest = directions, np.zeros(len(directions))
    for phi, weight in zip(activation_derivatives(mlp, at, 1), mlp.weights):
        slopes = slopes @ weight.T
        largest = np.maximum(largest, np.abs(slopes).max(axis=-1))
        slopes = phi[1] * slopes
    return np.frexp(largest)[1] - 1


def _coefficients(
    mlp: MLP, order: int, directions: Floats, at: Floats, times: Floats | float = 1.0
) -> Floats:
    """Return `_series` times a number for each order, for any leading axes, (..., order + 1), in chunks that fit the cache."""
    batch = np.broadcast_shapes(at.shape[:-1], directions.shape[:-1])
    points = np.broadcast_to(directions, (*batch, mlp.dim)).reshape(-1, mlp.dim)
    centres = (
        at[None]
        if at.ndim == 1
        else np.broadcast_to(at, (*batch, mlp.dim)).reshape(-1, mlp.dim)
    )
    out = np.empty((len(points), mlp.outputs, order + 1))
    widest = max(mlp.dim, *map(len, mlp.biases))
    rows = min(len(points), max(1, CHUNK_BYTES // (8 * widest * (order + 1))))
    # For all chunks: to touch fresh memory costs more than the sums
    work = np.empty((2, rows * widest * order))
    for part in chunks.slices(len(points), rows):
        some, there = points[part], centres if len(centres) == 1 else centres[part]
        if order > FEW:
            # 1/n! times a small number to the power n underflows long before the
            # derivative does, so rescale directions.
            sizes = _exponents(mlp, there, some)[:, None]
            some = np.ldexp(some, -sizes)
        found = np.moveaxis(_series(mlp, order, there, some, work), 0, -1)
        if order > FEW:
            mantissas, exponents = np.frexp(times)
            out[part] = np.ldexp(
                found * mantissas, sizes[:, None] * np.arange(order + 1) + exponents
            )
        else:
            out[part] = found * times
    out = out.reshape(*batch, mlp.outputs, order + 1)
    return out[..., 0, :] if mlp.outputs == 1 else out


@without_warnings
def directional_derivatives(
    mlp: MLP, order: int, directions: ArrayLike, at: ArrayLike | None = None
) -> Floats:
    """Return the derivatives along directions, without any tensor.

    They are D^n f(at)[v, .., v] = d^n/dt^n f(at + t v) at t = 0, for n = 0 .. order. In
    each layer the truncated power series in t of the pre-activations is put into the
    series of the activation.

    Parameters
    ----------
    mlp : MLP
    order : int
        Highest order, from 0 to 170.
    directions : array_like of float, shape (..., dim)
    at : array_like of float, shape (..., dim), optional
        The centre, or centres that broadcast with `directions`; the origin if not
        given.

    Returns
    -------
    array of float64, shape (..., [outputs,] order + 1)

    Raises
    ------
    ValueError
        If order >= 2 and a neuron sits at a kink, or if a result overflows float64.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")
    >>> directional_derivatives(mlp, 3, [[1.0, 0.0], [1.0, 1.0]])
    array([[ 1.,  1.,  1.,  1.],
           [ 1.,  3.,  9., 27.]])
    """
    at, order = (
        expansion_point(mlp, at),
        validation.integer("order", order, minimum=0, limit=validation.SERIES_ORDER),
    )
    directions = validation.real_array("directions", directions, last=mlp.dim)
    validation.broadcast("directions", directions, "at", at)
    found = _coefficients(
        mlp,
        order,
        directions,
        at,
        np.array([float(factorial(k)) for k in range(order + 1)]),
    )
    return validation.representable("directions, order", found, SMALLER)


@dataclass(frozen=True, eq=False)
class TaylorExpansion:
    """The Taylor polynomial of a network around a centre, made by `taylor_expand`.

    `at`, of shape (..., dim), is the centre, or several, which then broadcast with the points.
    """

    mlp: MLP
    order: int
    at: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", validation.frozen_copy(self.at))

    @without_warnings
    def terms(self, x: ArrayLike) -> Floats:
        """Return the terms of the polynomial at x (..., dim), one for each order; shape (..., [outputs,] order + 1).

        Term n is D^n f(at)[x - at, .., x - at] / n!. At the origin it is homogeneous of degree n in x, the network's
        n-th order Born approximation. No tensor is built: cost and memory grow as the square of the order.
        """
        x = validation.real_array("x", x, last=self.mlp.dim)
        validation.broadcast("x", x, "at", self.at)
        return validation.representable(
            "x", _coefficients(self.mlp, self.order, x - self.at, self.at), SMALLER
        )

    @without_warnings
    def __call__(self, x: ArrayLike) -> Floats:
        """Return the polynomial at the point `x` (..., dim): the sum of its terms."""
        return validation.representable("x", self.terms(x).sum(axis=-1), SMALLER)

    def tensor(self, n: int) -> SymmetricTensor:
        """Return the n-th partial derivatives at the centre, n <= order and 20; see `derivative_tensor`."""
        highest = min(self.order, validation.TENSOR_ORDER)
        return derivative_tensor(
            self.mlp, validation.integer("n", n, minimum=0, maximum=highest), self.at
        )


@without_warnings
def taylor_expand(mlp: MLP, order: int, at: ArrayLike | None = None) -> TaylorExpansion:
    """Return the Taylor expansion of a network, f(x) = sum_n D^n f(at)[x - at, .., x - at] / n!

    The expansion is a function of x. `.terms(x)` returns the term of each order,
    `.tensor(n)` the derivatives of order n.

    Parameters
    ----------
    mlp : MLP
    order : int
        Highest order kept, from 0 to 170.
    at : array_like of float, shape (..., dim), optional
        The centre; the origin if not given.

    Returns
    -------
    TaylorExpansion

    Raises
    ------
    ValueError
        If order >= 2 and a neuron sits at a kink at the centre.

    Examples
    --------
    >>> expansion = taylor_expand(MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], "sin"), 5)
    >>> expansion.terms([2.0]).round(4)
    array([ 0.    ,  2.    ,  0.    , -1.3333,  0.    ,  0.2667])
    """
    at, order = (
        expansion_point(mlp, at),
        validation.integer("order", order, minimum=0, limit=validation.SERIES_ORDER),
    )
    for _ in activation_derivatives(
        mlp, at, order
    ):  # an expansion that cannot be taken is refused here, not at its first use
        pass
    return TaylorExpansion(mlp, order, at)

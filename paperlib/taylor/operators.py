r"""Chosen partial derivatives and differential operators of a network, without its tensors.

Each function is batched over centres. It computes the derivatives that it needs and no others: see `program`. What does not
depend on the centre is kept for each network (see `compilation`), so that a loop over calls pays for it once.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.networks.mlp import MLP
from paperlib.taylor.compilation import centres, check_shapes, evaluate, prepare
from paperlib.taylor.requests import Key, Sum, indices_of, sum_of

__all__ = ["bilaplacian", "hessian_vector", "laplacian", "mixed_derivative", "partials"]


def partials(mlp: MLP, indices: Sequence[Sequence[int]], at: ArrayLike | None = None) -> Floats:
    """Chosen partial derivatives, of one order or of several; shape (..., [outputs,] number of tuples).

    Nothing more is computed than they need: what tuples of one order have in common once, and of order n the derivatives
    of half of it. A ValueError if a neuron with a kink sits at a centre, for order 2 or higher.

    Parameters
    ----------
    mlp : MLP
    indices : sequence of sequence of int
        (0, 0, 2) asks for d^3 output / d x_0 d x_0 d x_2. From 1 to 20 indices each, of which at most ten differ.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of them; the origin if not given.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> partials(mlp, [(0,), (1, 1), (0, 1, 1, 1)])
    array([1., 4., 8.])
    """
    at = centres(mlp, at)
    return _evaluated(mlp, indices_of("indices", indices, mlp.dim), at)


def _evaluated(mlp: MLP, key: Key, at: Floats, *directions: Floats) -> Floats:
    return evaluate(mlp, key, prepare(mlp, key), at, directions)


def mixed_derivative(mlp: MLP, directions: Sequence[ArrayLike], at: ArrayLike | None = None) -> Floats:
    """The derivative along several directions, D^n f[v_1, .., v_n]; shape (..., [outputs]).

    Along one direction n times, `directional_derivatives` takes less. A ValueError if a neuron with a kink sits at a centre,
    for two directions or more.

    Parameters
    ----------
    mlp : MLP
    directions : sequence of array_like of float, each of shape (..., dim)
        One to ten, which broadcast with each other and with `at`.
    at : array_like of float, shape (..., dim), optional
        The centre, or centres; the origin if not given.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> mixed_derivative(mlp, [[1.0, 0.0], [1.0, 1.0]])              # f_xx + f_xy
    array(3.)
    """
    at = centres(mlp, at)
    given: list[Any] = checks.sequence("directions", directions)
    if not 1 <= len(given) <= 10:
        raise ValueError(f"directions: {len(given)} of them; must be 1 to 10")
    vectors = [checks.real_array(f"directions[{k}]", vector, last=mlp.dim) for k, vector in enumerate(given)]
    check_shapes(at, vectors)
    names = tuple(f"v{k}" for k in range(len(vectors)))
    return _evaluated(mlp, (names,), at, *vectors)[..., 0]


def hessian_vector(mlp: MLP, v: ArrayLike, at: ArrayLike | None = None) -> Floats:
    """The Hessian times a direction, D^2 f[v, .]; shape (..., [outputs,] dim). No Hessian is made.

    What the adjoint carries along v down to the inputs. A ValueError if a neuron with a kink sits at a centre.

    Parameters
    ----------
    mlp : MLP
    v : array_like of float, shape (..., dim)
    at : array_like of float, shape (..., dim), optional
        The centre, or centres that broadcast with v; the origin if not given.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> hessian_vector(mlp, [1.0, 1.0])
    array([3., 6.])
    """
    at, v = centres(mlp, at), checks.real_array("v", v, last=mlp.dim)
    checks.broadcast("v", v, "at", at)

    return _evaluated(mlp, (("v", ...),), at, v)[..., 0, :]


def laplacian(mlp: MLP, at: ArrayLike | None = None, metric: ArrayLike | None = None) -> Floats:
    r"""The sum of second derivatives, or one with weights; shape (..., [outputs]).

    .. math:: \Delta f = \sum_i \partial_i^2 f = \sum_{l, j} \lambda_j \varphi''(z_j) \sum_i (\partial_i z_j)^2

    over all hidden neurons: forward slopes and one adjoint, no second derivative of anything. A ValueError if a neuron with
    a kink sits at a centre.

    Parameters
    ----------
    mlp : MLP
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of them; the origin if not given.
    metric : array_like of float, shape (dim,) or (dim, dim), optional
        Weights g_i of the second derivatives, or g_ij of all of them, of which the symmetric part counts.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> laplacian(mlp), laplacian(mlp, metric=[1.0, -1.0])
    (array(5.), array(-3.))
    """
    at = centres(mlp, at)
    return _evaluated(mlp, sum_of(mlp, 1, metric), at)


def bilaplacian(mlp: MLP, at: ArrayLike | None = None) -> Floats:
    r"""The Laplacian of the Laplacian, the sum of the fourth derivatives by i, i, j and j; shape (..., [outputs]).

    By the centroid rule of order four, from second derivatives of pre-activations that are summed as they are formed. A
    ValueError if a neuron with a kink sits at a centre.

    Parameters
    ----------
    mlp : MLP
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of them; the origin if not given.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> bilaplacian(mlp)
    array(25.)
    """
    return _evaluated(mlp, Sum(2), centres(mlp, at))

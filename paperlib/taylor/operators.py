"""Chosen partial derivatives and differential operators of a network.

No tensors are computed, and no derivatives that are not needed (see `program`). Each
function accepts a batch of centres. The compiled request is cached for each network
(see `compilation`), so that a loop over calls compiles once.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP
from paperlib.taylor.compilation import array, centres, evaluate, prepare
from paperlib.taylor.requests import Key, LaplacianKey, check_indices, laplacian_key


def partial_derivatives(
    mlp: MLP, indices: Sequence[Sequence[int]], at: ArrayLike | None = None
) -> Floats:
    """Return chosen partial derivatives, of one order or of several orders.

    A derivative of order n is computed from derivatives of order n/2 at most.
    Derivatives that several results need are computed once.

    Parameters
    ----------
    mlp : MLP
        The network f.
    indices : sequence of sequence of int
        One tuple of input numbers for each derivative. (0, 0, 2) stands for the third
        derivative twice by x_0 and once by x_2. A tuple has 1 to 20 numbers, and at
        most ten different ones.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs,] number of tuples)

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` has another shape, an index is out of range, a neuron sits at the kink
        of its activation (order 2 or higher), or a derivative overflows float64.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> partial_derivatives(mlp, [(0,), (1, 1), (0, 1, 1, 1)])
    array([1., 4., 8.])
    """
    points = centres(mlp, at)
    return _evaluate(mlp, check_indices("indices", indices, mlp.dim), points)


def _evaluate(mlp: MLP, key: Key, at: Floats, *directions: Floats) -> Floats:
    return evaluate(mlp, key, prepare(mlp, key), at, directions)


def mixed_derivative(
    mlp: MLP, directions: Sequence[ArrayLike], at: ArrayLike | None = None
) -> Floats:
    """Return the derivative along several directions, D^n f(at)[v_1, .., v_n].

    If all directions are the same, `directional_derivatives` takes less time.

    Parameters
    ----------
    mlp : MLP
        The network f.
    directions : sequence of array_like of float, each of shape (..., dim)
        The directions v_1, .., v_n, from 1 to 10. They broadcast with `at`.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs])

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the shapes do not broadcast, a neuron sits at the kink of its activation (two
        directions or more), or the derivative overflows float64.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> mixed_derivative(mlp, [[1.0, 0.0], [1.0, 1.0]])    # f_xx + f_xy
    array(3.)
    """
    points = centres(mlp, at)
    items: list[Any] = validation.sequence("directions", directions)
    if not 1 <= len(items) <= 10:
        raise ValueError(f"directions: {len(items)} directions; must be 1 to 10")
    names = tuple(f"directions[{k}]" for k in range(len(items)))
    vectors = [array(name, item, mlp.dim) for name, item in zip(names, items)]
    return _evaluate(mlp, (names,), points, *vectors)[..., 0]


def hvp(mlp: MLP, v: ArrayLike, at: ArrayLike | None = None) -> Floats:
    """Return the product of the Hessian and a direction, without the Hessian.

    Parameters
    ----------
    mlp : MLP
        The network f.
    v : array_like of float, shape (..., dim)
        The direction, or directions, which broadcast with `at`.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs,] dim)

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the shapes do not broadcast, a neuron sits at the kink of its activation, or
        the product overflows float64.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> hvp(mlp, [1.0, 1.0])
    array([3., 6.])
    """
    points = centres(mlp, at)
    vector = array("v", v, mlp.dim)
    validation.broadcast("v", vector, "at", points)
    return _evaluate(mlp, (("v", ...),), points, vector)[..., 0, :]


def laplacian(
    mlp: MLP, at: ArrayLike | None = None, metric: ArrayLike | None = None
) -> Floats:
    r"""Return the Laplacian, or a weighted sum of second derivatives.

    .. math:: \Delta f = \sum_{i j} g_{i j}\, \partial_i \partial_j f

    The Laplacian of each layer is computed from that of the layer before, together with
    first derivatives along directions (the forward Laplacian). The number of directions
    is at most the number of units of the first layer.

    Parameters
    ----------
    mlp : MLP
        The network f.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.
    metric : array_like of float, shape (dim,) or (dim, dim), optional
        The weights g_ii, or all weights g_ij, of which the symmetric part matters. The
        default is the unit matrix.

    Returns
    -------
    array of float64, shape (..., [outputs])

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` or the metric has another shape, a neuron sits at the kink of its
        activation, or the sum overflows float64.

    References
    ----------
    - Li et al., A computational framework for neural network-based variational Monte
      Carlo with forward Laplacian (2024): https://arxiv.org/abs/2307.08214

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> laplacian(mlp), laplacian(mlp, metric=[1.0, -1.0])
    (array(5.), array(-3.))
    """
    points = centres(mlp, at)
    return _evaluate(mlp, laplacian_key(mlp, 1, metric), points)


def bilaplacian(mlp: MLP, at: ArrayLike | None = None) -> Floats:
    r"""Return the Laplacian of the Laplacian, a sum of fourth derivatives.

    .. math:: \Delta^2 f = \sum_{i j} \partial_i^2 \partial_j^2 f

    The computation is that of `laplacian`, with second derivatives for each pair of
    directions.

    Parameters
    ----------
    mlp : MLP
        The network f.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs])

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` has another shape, a neuron sits at the kink of its activation, the sum
        overflows float64, or it needs more memory than is free.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> bilaplacian(mlp)
    array(25.)
    """
    return _evaluate(mlp, LaplacianKey(2), centres(mlp, at))
